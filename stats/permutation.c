/* The sign-flip permutation test. */
#include "stats/internal.h"

struct tally {
    uint64_t less, greater, both, total;
};

static void count(struct tally *t, double sum, double observed, double tolerance) {
    t->less += sum <= observed + tolerance;
    t->greater += sum >= observed - tolerance;
    t->both += fabs(sum) >= fabs(observed) - tolerance;
    t->total++;
}

/* sums [2^n] of all signs of d [n]; each is one addition away from a shorter one, so rounding stays below n ulp. */
static void all_signs(size_t n, const double *d, double *sums) {
    sums[0] = 0;
    for (size_t i = 0; i < n; i++)
        for (size_t s = (size_t)1 << i; s-- > 0;) {
            sums[s + ((size_t)1 << i)] = sums[s] + d[i];
            sums[s] -= d[i];
        }
}

static fp4_status enumerate(size_t n, const double *d, double observed, double tolerance, struct tally *t) {
    double *sums;
    size_t first = n / 2, rows = (size_t)1 << first, columns = (size_t)1 << (n - first);
    FP4_TRY(FP4_NEW(sums, rows + columns));
    all_signs(first, d, sums);
    all_signs(n - first, d + first, sums + rows);
    for (size_t i = 0; i < rows; i++)
        for (size_t j = 0; j < columns; j++)
            count(t, sums[i] + sums[rows + j], observed, tolerance);
    fp4_free(sums);
    return FP4_OK;
}

/* Draw b takes the signs from the bits of words 0 … of step b. */
static fp4_status draw(size_t n, const double *d, size_t n_draws, uint32_t seed, double observed, double tolerance, struct tally *t) {
    size_t n_words = (n + 31) / 32;
    uint32_t *words;
    FP4_TRY(FP4_NEW(words, n_words));
    struct fp4_random r = {.seed = seed, .stream = FP4_STREAM_BOOTSTRAP, .operand = 3};
    for (size_t b = 0; b < n_draws; b++) {
        r.step = (uint32_t)b;
        fp4_random_words(&r, 0, n_words, words);
        double sum = 0;
        for (size_t i = 0; i < n; i++)
            sum += words[i / 32] >> (i % 32) & 1 ? d[i] : -d[i];
        count(t, sum, observed, tolerance);
    }
    fp4_free(words);
    return FP4_OK;
}

fp4_status fp4_sign_flip(size_t n, const double *d, size_t n_draws, uint32_t seed, struct fp4_sign_flip *out) {
    if (n < 1)
        return fp4_fail(FP4_ERR_ARG, "a sign-flip test needs a difference");
    FP4_TRY(fp4_check_finite(n, d));
    bool exact = n <= 20;
    if (!exact && (n_draws < 1 || n_draws > UINT32_MAX))
        return fp4_fail(FP4_ERR_ARG, "%zu differences are too many to enumerate, so draws are needed: 1 to 2^32-1", n);
    double observed = fp4_sum(n, d), size = 0;
    for (size_t i = 0; i < n; i++)
        size += fabs(d[i]);
    struct tally t = {0};
    /* Equal sums differ by rounding: they tie within this. */
    double tolerance = 1e-12 * size;
    FP4_TRY(exact ? enumerate(n, d, observed, tolerance, &t) : draw(n, d, n_draws, seed, observed, tolerance, &t));
    double extra = exact ? 0 : 1, total = (double)t.total + extra;
    *out = (struct fp4_sign_flip){observed / (double)n, ((double)t.both + extra) / total, ((double)t.less + extra) / total,
                                  ((double)t.greater + extra) / total, exact, (int64_t)t.total};
    return FP4_OK;
}
