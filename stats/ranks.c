/* Exact rank tests and the intervals that belong to them. */
#include "stats/internal.h"

/* Equality in a comparison with α/2 counts as reached. */
static const double slack = 1e-12;

/* ---- signed ranks ---- */

/* probability [sum + 1] of twice the rank sum of the positive differences: each rank is in or out with probability ½. */
static fp4_status signed_rank_distribution(size_t n, const int64_t *rank2, size_t sum, double **probability) {
    FP4_TRY(FP4_NEW(*probability, sum + 1));
    double *p = *probability;
    size_t reached = 0;
    p[0] = 1;
    for (size_t i = 0; i < n; i++) {
        size_t r = (size_t)rank2[i];
        reached += r;
        for (size_t s = reached + 1; s-- > 0;)
            p[s] = 0.5 * (p[s] + (s >= r ? p[s - r] : 0));
    }
    return FP4_OK;
}

static fp4_status signed_ranks(size_t n, const double *d, struct fp4_wilcoxon *out) {
    double *size, *probability = NULL;
    int64_t *rank2 = NULL;
    bool tied;
    size_t sum = 0, positive = 0;
    FP4_TRY(FP4_NEW(size, n));
    for (size_t i = 0; i < n; i++)
        size[i] = fabs(d[i]);
    fp4_status status = FP4_NEW(rank2, n);
    if (status == FP4_OK)
        status = fp4_doubled_midranks(n, size, rank2, &tied);
    for (size_t i = 0; i < n && status == FP4_OK; i++) {
        sum += (size_t)rank2[i];
        positive += d[i] > 0 ? (size_t)rank2[i] : 0;
    }
    if (status == FP4_OK)
        status = signed_rank_distribution(n, rank2, sum, &probability);
    if (status == FP4_OK) {
        out->v = 0.5 * (double)positive;
        out->p_less = fmin(1, fp4_sum(positive + 1, probability));
        out->p_greater = fmin(1, fp4_sum(sum - positive + 1, probability + positive));
        out->p = fmin(1, 2 * fmin(out->p_less, out->p_greater));
    }
    fp4_free(probability);
    fp4_free(rank2);
    fp4_free(size);
    return status;
}

fp4_status fp4_wilcoxon_signed_rank(size_t n, const double *x, const double *y, struct fp4_wilcoxon *out) {
    double *d;
    size_t kept = 0;
    FP4_TRY(FP4_NEW(d, n));
    for (size_t i = 0; i < n; i++) {
        double rounded = nearbyint((y ? x[i] - y[i] : x[i]) * 1e9);
        if (rounded != 0)
            d[kept++] = rounded;
    }
    *out = (struct fp4_wilcoxon){0, 1, 1, 1, (int64_t)kept};
    fp4_status status = fp4_check_finite(kept, d);
    if (status == FP4_OK && kept > 1000)
        status = fp4_fail(FP4_ERR_UNSUPPORTED, "exact signed ranks of %zu differences: more than 1000", kept);
    if (status == FP4_OK && kept > 0)
        status = signed_ranks(kept, d, out);
    fp4_free(d);
    return status;
}

/* ---- Mann-Whitney ---- */

/* counts [most + 1]: in how many ways `chosen` of the n doubled ranks have each sum. Exact to rounding: the total, at most
 * C(200, 100), is a double. ways [chosen + 1, most + 1] is built up rank by rank. */
static fp4_status allocation_counts(size_t n, size_t chosen, const int64_t *rank2, size_t most, double **counts) {
    double *ways;
    size_t width = most + 1;
    FP4_TRY(FP4_NEW(ways, (chosen + 1) * width));
    fp4_status status = FP4_NEW(*counts, width);
    ways[0] = 1;
    for (size_t i = 0; i < n && status == FP4_OK; i++) {
        size_t r = (size_t)rank2[i];
        for (size_t k = (i + 1 < chosen ? i + 1 : chosen); k >= 1; k--) {
            double *to = ways + k * width;
            const double *from = ways + (k - 1) * width;
            for (size_t s = r; s <= most; s++)
                to[s] += from[s - r];
        }
    }
    if (status == FP4_OK)
        memcpy(*counts, ways + chosen * width, width * sizeof **counts);
    fp4_free(ways);
    return status;
}

/* Twice the largest rank sum of `chosen` of n: the last ranks. */
static size_t most_of(size_t n, size_t chosen) {
    return chosen * (2 * n - chosen + 1);
}

struct allocation {
    size_t nx, ny;
    double *counts; /* by twice the rank sum of x */
    size_t most;
    double total;
};

static fp4_status allocate(size_t nx, size_t ny, const int64_t *rank2, struct allocation *out) {
    *out = (struct allocation){nx, ny, NULL, most_of(nx + ny, nx), 0};
    FP4_TRY(allocation_counts(nx + ny, nx, rank2, out->most, &out->counts));
    out->total = fp4_sum(out->most + 1, out->counts);
    return FP4_OK;
}

static void mann_whitney_p(const struct allocation *a, size_t sum2, bool tied, struct fp4_mann_whitney *out) {
    /* 2U = sum2 − nx(nx+1); twice its centre is nx·ny. */
    int64_t offset = (int64_t)(a->nx * (a->nx + 1)), centre = (int64_t)(a->nx * a->ny), away = llabs((int64_t)sum2 - offset - centre);
    double less = 0, greater = 0, both = 0;
    for (size_t s = 0; s <= a->most; s++) {
        less += s <= sum2 ? a->counts[s] : 0;
        greater += s >= sum2 ? a->counts[s] : 0;
        both += llabs((int64_t)s - offset - centre) >= away ? a->counts[s] : 0;
    }
    out->u = 0.5 * (double)((int64_t)sum2 - offset);
    out->p_less = fmin(1, less / a->total);
    out->p_greater = fmin(1, greater / a->total);
    out->p = tied ? fmin(1, both / a->total) : fmin(1, 2 * fmin(out->p_less, out->p_greater));
}

/* The Hodges-Lehmann estimate and its interval; plain: the distribution without ties. */
static fp4_status shift_interval(const struct allocation *plain, const double *x, const double *y, double conf, struct fp4_mann_whitney *out) {
    size_t pairs = plain->nx * plain->ny, offset = plain->nx * (plain->nx + 1), k = 0;
    double *d, alpha = 1 - conf, below = 0, through = plain->counts[offset] / plain->total;
    FP4_TRY(FP4_NEW(d, pairs));
    for (size_t i = 0; i < plain->nx; i++)
        for (size_t j = 0; j < plain->ny; j++)
            d[i * plain->ny + j] = x[i] - y[j];
    fp4_sort_doubles(pairs, d);
    /* smallest k ≥ 1 with P(U ≤ k) ≥ α/2; below = P(U ≤ k − 1) */
    do {
        k++;
        below = through;
        through += plain->counts[offset + 2 * k] / plain->total;
    } while (through < alpha / 2 * (1 - slack) && k < pairs);
    out->rank_low = (int64_t)k;
    out->shift = 0.5 * (d[(pairs - 1) / 2] + d[pairs / 2]);
    out->ci = (struct fp4_interval){d[k - 1], d[pairs - k]};
    out->achieved_conf = 1 - 2 * below;
    fp4_free(d);
    return FP4_OK;
}

/* rank2 [nx + ny] is overwritten by the untied ranks once the observed ones are used. */
static fp4_status mann_whitney(size_t nx, const double *x, size_t ny, const double *y, double conf, const double *pooled, int64_t *rank2,
                               struct fp4_mann_whitney *out) {
    bool tied;
    size_t sum2 = 0;
    struct allocation observed, plain;
    FP4_TRY(fp4_doubled_midranks(nx + ny, pooled, rank2, &tied));
    for (size_t i = 0; i < nx; i++)
        sum2 += (size_t)rank2[i];
    FP4_TRY(allocate(nx, ny, rank2, &observed));
    mann_whitney_p(&observed, sum2, tied, out);
    fp4_free(observed.counts);
    for (size_t i = 0; i < nx + ny; i++)
        rank2[i] = 2 * (int64_t)(i + 1);
    FP4_TRY(allocate(nx, ny, rank2, &plain));
    fp4_status status = shift_interval(&plain, x, y, conf, out);
    fp4_free(plain.counts);
    return status;
}

fp4_status fp4_mann_whitney(size_t nx, const double *x, size_t ny, const double *y, double conf, struct fp4_mann_whitney *out) {
    double *pooled;
    int64_t *rank2 = NULL;
    FP4_TRY(fp4_check_conf(conf));
    if (nx < 1 || ny < 1)
        return fp4_fail(FP4_ERR_ARG, "both samples need an observation");
    if (nx > 200 || ny > 200 || nx + ny > 200)
        return fp4_fail(FP4_ERR_UNSUPPORTED, "exact Mann-Whitney of %zu and %zu observations: more than 200 together", nx, ny);
    FP4_TRY(fp4_check_finite(nx, x));
    FP4_TRY(fp4_check_finite(ny, y));
    FP4_TRY(FP4_NEW(pooled, nx + ny));
    memcpy(pooled, x, nx * sizeof *x);
    memcpy(pooled + nx, y, ny * sizeof *y);
    fp4_status status = FP4_NEW(rank2, nx + ny);
    if (status == FP4_OK)
        status = mann_whitney(nx, x, ny, y, conf, pooled, rank2, out);
    fp4_free(rank2);
    fp4_free(pooled);
    return status;
}

/* ---- median ---- */

fp4_status fp4_median_ci(size_t n, const double *y, double conf, struct fp4_median *out) {
    double *sorted;
    FP4_TRY(fp4_check_conf(conf));
    if (n < 1)
        return fp4_fail(FP4_ERR_ARG, "a median needs an observation");
    FP4_TRY(fp4_check_finite(n, y));
    FP4_TRY(FP4_NEW(sorted, n));
    memcpy(sorted, y, n * sizeof *y);
    fp4_sort_doubles(n, sorted);
    size_t r = 0;
    while (pbinom((double)r, (double)n, 0.5, 1, 0) < (1 - conf) / 2 * (1 - slack))
        r++;
    if (r == 0)
        r = 1;
    out->median = 0.5 * (sorted[(n - 1) / 2] + sorted[n / 2]);
    out->rank_low = (int64_t)r;
    out->rank_high = (int64_t)(n + 1 - r);
    out->ci = (struct fp4_interval){sorted[r - 1], sorted[n - r]};
    out->achieved_conf = 1 - 2 * pbinom((double)r - 1, (double)n, 0.5, 1, 0);
    /* achieved ≥ conf, asked of the tail so that equality is seen with a relative slack */
    out->reached = pbinom((double)r - 1, (double)n, 0.5, 1, 0) <= (1 - conf) / 2 * (1 + slack);
    fp4_free(sorted);
    return FP4_OK;
}
