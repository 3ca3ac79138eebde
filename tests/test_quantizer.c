/* Quantizers as values: spelling, packed storage, edges, threads. Over everything that fp4_formats_all lists. */
#include "lib/formats/core/elements.h"
#include "lib/formats/core/format.h"
#include "tests/support.h"

#include "fp4lab/policy.h"

#include <float.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

/* Calls visit for every format, dialect and combination of modifiers that a spelling can name (one size of each transform
 * and group). */
static void every_quantizer(void (*visit)(const char *spelling, const struct fp4_quantizer *q)) {
    static const char *const optional[][4] = {{"", ",2d"}, {"", ",away", ",sr"}, {"", ",had32"}, {"", ",g64"}, {"", ",clip0.75"}, {"", ",stored"}};
    size_t visited = 0;
    for (const struct fp4_format *const *f = fp4_formats_all; *f; f++)
        for (const struct fp4_dialect *d = (*f)->dialects; d->name; d++)
            for (int pick = 0; pick < 2 * 3 * 2 * 2 * 2 * 2; pick++) {
                char spelling[FP4_SPELLING_MAX];
                int rest = pick;
                snprintf(spelling, sizeof spelling, "%s%s%s", (*f)->name, *d->name ? ":" : "", d->name);
                for (size_t i = 0; i < sizeof optional / sizeof *optional; i++) {
                    int choices = i == 1 ? 3 : 2;
                    strncat(spelling, optional[i][rest % choices], sizeof spelling - strlen(spelling) - 1);
                    rest /= choices;
                }
                struct fp4_quantizer q;
                if (fp4_quantizer_parse(spelling, &q) == FP4_OK) {
                    visit(spelling, &q);
                    visited++;
                }
            }
    cr_assert_gt(visited, 100);
}

static const struct fp4_random address = {.seed = 3, .stream = FP4_STREAM_ROUND, .step = 1, .layer = 2, .operand = 4};

static float *normals(size_t n, uint32_t step) {
    const struct fp4_random r = {.seed = 5, .stream = FP4_STREAM_TEST, .step = step};
    float *x = malloc((n + 1) * sizeof *x);
    fp4_random_normal(&r, 0, n, x);
    return x;
}

/* ---- spelling ---- */

static void spells_back(const char *spelling, const struct fp4_quantizer *q) {
    char once[FP4_SPELLING_MAX], twice[FP4_SPELLING_MAX];
    struct fp4_quantizer again;
    fp4_quantizer_spell(q, once);
    must(fp4_quantizer_parse(once, &again));
    fp4_quantizer_spell(&again, twice);
    cr_assert_str_eq(once, twice, "%s", spelling);
    cr_assert(q->format == again.format && q->dialect == again.dialect && q->rounding == again.rounding && q->two_d == again.two_d &&
                  q->hadamard == again.hadamard && q->group == again.group && q->clip == again.clip && q->stored == again.stored,
              "%s spelled %s is another quantizer", spelling, once);
}
Test(quantizer, spelling_is_canonical) { every_quantizer(spells_back); }

Test(quantizer, spelling_examples) {
    static const char *const pairs[][2] = {
        {"none", "none"}, {"nvfp4", "nvfp4:te"}, {"nvfp4:te,had16,sr", "nvfp4:te,sr,had16"}, {"int4:sym7", "int4:sym7,g128"},
        {"int4:sym7,g32,away", "int4:sym7,away,g32"}, {"mxfp4,clip0.9500", "mxfp4:floor,clip0.95"}, {"nvfp4:te,clip1", "nvfp4:te"},
        {"nf4:cuda,stored", "nf4:cuda"}, {"nvfp4:te,stored,2d", "nvfp4:te,2d,stored"}, {"fp8", "fp8"}, {"bf16", "bf16"}};
    for (size_t i = 0; i < sizeof pairs / sizeof *pairs; i++) {
        struct fp4_quantizer q;
        char spelling[FP4_SPELLING_MAX];
        must(fp4_quantizer_parse(pairs[i][0], &q));
        fp4_quantizer_spell(&q, spelling);
        cr_assert_str_eq(spelling, pairs[i][1]);
    }
}

/* Refused with a message that says what there is. */
Test(quantizer, spelling_refusals) {
    static const char *const bad[][2] = {
        {"", "nvfp4"}, {"fp5", "nvfp4"}, {"nvfp4:tee", "torchao"}, {"nvfp4:", "torchao"}, {"bf16:x", "without a name"},
        {"nvfp4:te,foo", "2d"}, {"nvfp4:te,", "2d"}, {"nvfp4:te,sr,away", "away"}, {"nvfp4:te,sr,sr", "sr"}, {"nvfp4:te,had8", "had16"},
        {"nvfp4:te,had", "had16"}, {"nvfp4:te,g32", "stored"}, {"mxfp4:floor,2d", "away"}, {"int4:sym7,g20", "multiple of 16"},
        {"int4:sym7,g-16", "gN"}, {"int4:sym7,g8192", "multiple of 16"}, {"nvfp4:te,clip0", "above 0"}, {"nvfp4:te,clip1.5", "above 0"},
        {"nvfp4:te,clipx", "clipF"}, {"nvfp4:te,clip0.5z", "above 0"}, {"nvfp4:fouroversix,sr", "2d"}, {"nf4:cuda,sr", "stored"},
        {"nvfp4:te,stored,had16", "reduction"}, {"none,sr", "nvfp4"}, {"fp8,2d", "stored"}, {"nvfp4:te,2d,2d", "twice"},
        {"nvfp4:te,had99999999999999999999", "had16"}};
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        struct fp4_quantizer q;
        cr_assert_eq(fp4_quantizer_parse(bad[i][0], &q), FP4_ERR_ARG, "\"%s\" was taken", bad[i][0]);
        cr_assert_not_null(strstr(fp4_last_error(), bad[i][1]), "\"%s\": \"%s\" does not say %s", bad[i][0], fp4_last_error(), bad[i][1]);
    }
    char longest[400];
    memset(longest, 'a', sizeof longest - 1);
    longest[sizeof longest - 1] = 0;
    struct fp4_quantizer q;
    cr_assert_eq(fp4_quantizer_parse(longest, &q), FP4_ERR_ARG);
}

Test(quantizer, list_names_every_dialect) {
    char *text = NULL;
    size_t size = 0;
    FILE *out = open_memstream(&text, &size);
    fp4_quantizer_list(out);
    fclose(out);
    for (const struct fp4_format *const *f = fp4_formats_all; *f; f++)
        for (const struct fp4_dialect *d = (*f)->dialects; d->name; d++) {
            char name[80];
            snprintf(name, sizeof name, "\n  %s%s%s ", (*f)->name, *d->name ? ":" : "", d->name);
            cr_assert_not_null(strstr(text, name), "%s", name);
            cr_assert(*d->summary && *d->source);
        }
    free(text);
}

/* ---- packed storage ---- */

static const size_t shapes[][2] = {{1, 1}, {1, 15}, {3, 16}, {2, 17}, {5, 33}, {16, 16}, {17, 31}, {33, 96}, {40, 160}, {2, 4128}};

static void same_packed(const char *spelling, const struct fp4_quantizer *q) {
    bool int4 = strcmp(q->format->name, "int4") == 0; /* has no code for −0 */
    for (size_t s = 0; s < sizeof shapes / sizeof *shapes; s++) {
        size_t rows = shapes[s][0], cols = shapes[s][1], n = rows * cols;
        if (q->hadamard && cols % (size_t)q->hadamard != 0)
            continue;
        float *x = normals(n, (uint32_t)s), *fake = malloc(n * sizeof *fake), *y = malloc(n * sizeof *y);
        struct fp4_qtensor packed;
        x[n / 2] = -0.0f;
        must(fp4_fake_quantize(q, rows, cols, x, fake, &address));
        must(fp4_quantize(q, rows, cols, x, &address, &packed));
        must(fp4_dequantize(&packed, y));
        for (size_t i = 0; i < n; i++)
            cr_assert(fp4_bits(y[i]) == fp4_bits(fake[i]) || (int4 && y[i] == 0.0f && fake[i] == 0.0f),
                      "%s, %zu x %zu, element %zu (%a): fake %a, packed %a", spelling, rows, cols, i, (double)x[i], (double)fake[i],
                      (double)y[i]);
        size_t bits = (size_t)q->format->code_bits, least = (n * bits + 7) / 8;
        cr_assert(packed.data_bytes >= least && packed.data_bytes <= least + rows, "%s: %zu bytes of codes", spelling, packed.data_bytes);
        cr_assert_geq(fp4_qtensor_bytes(&packed), packed.data_bytes + packed.scale_bytes);
        must(fp4_fake_quantize(q, rows, cols, x, x, &address)); /* in place */
        cr_assert_arr_eq(x, fake, n * sizeof *x, "%s: not the same in place", spelling);
        fp4_qtensor_free(&packed);
        free(x), free(fake), free(y);
    }
}
Test(quantizer, packed_storage_is_fake_quantization) { every_quantizer(same_packed); }

Test(quantizer, packed_bytes) {
    static const struct {
        const char *spelling;
        size_t bytes; /* of 32 × 256 */
    } cases[] = {{"nvfp4:te", 4096 + 512 + 4}, {"nvfp4:te,2d", 4096 + 32 + 4}, {"mxfp4:floor", 4096 + 256}, {"int4:sym7", 4096 + 64 * 4},
                 {"int4:sym7,g32", 4096 + 256 * 4}, {"nf4:cuda", 4096 + 128 * 4}, {"fp8", 8192 + 4}, {"bf16", 16384}};
    float *x = normals(32 * 256, 0);
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct fp4_quantizer q;
        struct fp4_qtensor packed;
        must(fp4_quantizer_parse(cases[i].spelling, &q));
        must(fp4_quantize(&q, 32, 256, x, NULL, &packed));
        cr_assert_eq(fp4_qtensor_bytes(&packed), cases[i].bytes, "%s: %zu bytes", cases[i].spelling, fp4_qtensor_bytes(&packed));
        fp4_qtensor_free(&packed);
    }
    free(x);
}

/* ---- edges ---- */

static void zeros_stay(const char *spelling, const struct fp4_quantizer *q) {
    enum { ROWS = 18, COLS = 96, N = ROWS * COLS };
    static float x[N], y[N];
    for (size_t i = 0; i < N; i++)
        x[i] = i % 3 ? 0.0f : -0.0f;
    must(fp4_fake_quantize(q, ROWS, COLS, x, y, &address));
    for (size_t i = 0; i < N; i++)
        cr_assert(y[i] == 0.0f, "%s: a zero of an all-zero tensor became %a", spelling, (double)y[i]);
    x[5] = 0x1p-149f; /* the smallest number that is not zero: scales of every kind underflow or overflow */
    must(fp4_fake_quantize(q, ROWS, COLS, x, y, &address));
    for (size_t i = 0; i < N; i++)
        cr_assert(isfinite(y[i]), "%s: %a in a tensor of one subnormal", spelling, (double)y[i]);
}
Test(quantizer, zeros_stay_zeros) { every_quantizer(zeros_stay); }

static void refuses_nan(const char *spelling, const struct fp4_quantizer *q) {
    float x[32] = {1.0f}, y[32];
    bool scaled = strcmp(q->format->name, "bf16") != 0;
    x[7] = NAN;
    cr_assert_eq(fp4_fake_quantize(q, 1, 32, x, y, &address), scaled ? FP4_ERR_NUMERIC : FP4_OK, "%s", spelling);
    x[7] = -INFINITY;
    cr_assert_eq(fp4_fake_quantize(q, 1, 32, x, y, &address), scaled ? FP4_ERR_NUMERIC : FP4_OK, "%s", spelling);
}
Test(quantizer, nan_and_infinity_are_errors) { every_quantizer(refuses_nan); }

Test(quantizer, arguments) {
    struct fp4_quantizer q;
    float x[64] = {1.0f}, y[64];
    struct fp4_qtensor packed;
    must(fp4_quantizer_parse("nvfp4:te,sr", &q));
    cr_assert_eq(fp4_fake_quantize(&q, 4, 16, x, y, NULL), FP4_ERR_ARG);
    must(fp4_quantizer_parse("nvfp4:te,had16", &q));
    cr_assert_eq(fp4_fake_quantize(&q, 2, 24, x, y, NULL), FP4_ERR_ARG);
    must(fp4_quantizer_parse("nvfp4:te", &q));
    cr_assert_eq(fp4_quantize(&q, SIZE_MAX / 2, 4, x, NULL, &packed), FP4_ERR_ARG);
    must(fp4_fake_quantize(&q, 0, 16, x, y, NULL));
    q.dialect = 99;
    cr_assert_eq(fp4_fake_quantize(&q, 1, 16, x, y, NULL), FP4_ERR_ARG);
    memset(&q, 0, sizeof q); /* zero-initialised: none */
    cr_assert(fp4_quantizer_is_none(&q));
    must(fp4_fake_quantize(&q, 4, 16, x, y, NULL));
    cr_assert_arr_eq(x, y, sizeof x);
    cr_assert_eq(fp4_quantize(&q, 4, 16, x, NULL, &packed), FP4_ERR_ARG);
}

/* The ends of the rules' bytes, as golden/formats/README.md has them; torchao 0.18.0 gives the same for floor and even. */
Test(quantizer, mxfp4_bytes_at_the_ends) {
    static const struct {
        const char *spelling;
        float largest;
        int byte;
    } cases[] = {{"mxfp4:floor", FLT_MAX, 252},     {"mxfp4:even", FLT_MAX, 253},      {"mxfp4:rceil", FLT_MAX, 253},
                 {"mxfp4:even", 0x1.cp127f, 253},   {"mxfp4:even", 0x1.bffffep127f, 252}, {"mxfp4:rceil", 0x1.8p127f, 252},
                 {"mxfp4:floor", 0x1p-124f, 1},     {"mxfp4:floor", 0x1p-125f, 0},     {"mxfp4:even", 0x1.cp-125f, 1},
                 {"mxfp4:even", 0x1.bffffep-125f, 0}, {"mxfp4:rceil", 0x1p-149f, 0},   {"mxfp4:even", 0x1p-149f, 0}};
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        float x[32] = {[3] = -cases[i].largest};
        struct fp4_quantizer q;
        struct fp4_qtensor packed;
        must(fp4_quantizer_parse(cases[i].spelling, &q));
        must(fp4_quantize(&q, 1, 32, x, NULL, &packed));
        cr_assert_eq(packed.scales[0], cases[i].byte, "%s of %a: %d", cases[i].spelling, (double)cases[i].largest, packed.scales[0]);
        fp4_qtensor_free(&packed);
    }
}

/* A short last block, and a partial tile, are blocks of their own: the same as that part quantized alone, given the same
 * tensor scale (amax stands in the part). */
Test(quantizer, partial_blocks_stand_alone) {
    static const char *const spellings[] = {"nvfp4:te", "nvfp4:fouroversix", "mxfp4:rceil", "int4:sym7,g16", "nvfp4:te,2d", "nvfp4:adacodec"};
    enum { ROWS = 21, COLS = 41 };
    for (size_t s = 0; s < sizeof spellings / sizeof *spellings; s++) {
        struct fp4_quantizer q;
        must(fp4_quantizer_parse(spellings[s], &q));
        size_t block = q.group ? (size_t)q.group : q.format->block, last = COLS / block * block, width = COLS - last;
        float *x = normals(ROWS * COLS, 9), y[ROWS * COLS], part[ROWS * COLS];
        size_t from = q.two_d ? 16 : 0, rows = ROWS - from;
        x[(ROWS - 1) * COLS + COLS - 1] = 20.0f;
        for (size_t r = 0; r < rows; r++)
            memcpy(part + r * width, x + (from + r) * COLS + last, width * sizeof *x);
        must(fp4_fake_quantize(&q, ROWS, COLS, x, y, NULL));
        must(fp4_fake_quantize(&q, rows, width, part, part, NULL));
        for (size_t r = 0; r < rows; r++)
            cr_assert_arr_eq(part + r * width, y + (from + r) * COLS + last, width * sizeof *x, "%s, row %zu", spellings[s], r);
        free(x);
    }
}

Test(quantizer, threads_do_not_matter) {
    static const char *const spellings[] = {"nvfp4:te,sr", "nvfp4:te,2d,sr", "nvfp4:fouroversix", "mxfp4:even,had64", "tta_v1,sr", "bnbfp4:cuda", "int4:div7_5"};
    enum { ROWS = 70, COLS = 4480, N = ROWS * COLS };
    float *x = normals(N, 2), *one = malloc(N * sizeof *one), *many = malloc(N * sizeof *many);
    for (size_t s = 0; s < sizeof spellings / sizeof *spellings; s++) {
        struct fp4_quantizer q;
        must(fp4_quantizer_parse(spellings[s], &q));
        fp4_set_threads(1);
        must(fp4_fake_quantize(&q, ROWS, COLS, x, one, &address));
        for (int threads = 2; threads <= 7; threads += threads == 3 ? 4 : 1) {
            fp4_set_threads(threads);
            must(fp4_fake_quantize(&q, ROWS, COLS, x, many, &address));
            cr_assert_arr_eq(one, many, N * sizeof *one, "%s with %d threads", spellings[s], threads);
        }
    }
    free(x), free(one), free(many);
}

/* Stochastic rounding: unbiased, and its numbers are addressed by the element. */
Test(quantizer, stochastic_rounding_is_unbiased) {
    enum { N = 1 << 16 };
    struct fp4_quantizer q;
    must(fp4_quantizer_parse("nvfp4:te,sr", &q));
    float *x = malloc(N * sizeof *x), *y = malloc(N * sizeof *y);
    for (size_t i = 0; i < N; i++)
        x[i] = i % 16 == 0 ? 6.0f : 2.3f; /* scale 1, up to the rounding of the tensor scale */
    must(fp4_fake_quantize(&q, N / 64, 64, x, y, &address));
    double sum = 0;
    size_t n = 0;
    for (size_t i = 0; i < N; i++)
        if (i % 16) {
            sum += (double)y[i];
            n++;
        }
    /* A step of 1 taken with probability 0.3: standard deviation sqrt(0.21/n), five of them. */
    cr_assert_float_eq(sum / (double)n, 2.3, 5.0 * sqrt(0.21 / (double)n) + 1e-5);
    free(x), free(y);
}

Test(quantizer, hadamard_keeps_products) {
    enum { K = 64 };
    float *a = normals(K, 1), *b = normals(K, 2), sign[32], other[32];
    double before = 0, after = 0;
    for (size_t i = 0; i < K; i++)
        before += (double)a[i] * (double)b[i];
    fp4_hadamard_signs(7, 32, sign);
    fp4_hadamard_signs(8, 32, other);
    cr_assert_neq(memcmp(sign, other, sizeof sign), 0);
    must(fp4_hadamard(32, 1, K, sign, a));
    must(fp4_hadamard(32, 1, K, sign, b));
    for (size_t i = 0; i < K; i++)
        after += (double)a[i] * (double)b[i];
    cr_assert_float_eq(before, after, 1e-4);
    cr_assert_eq(fp4_hadamard(24, 1, 48, sign, a), FP4_ERR_ARG);
    cr_assert_eq(fp4_hadamard(32, 1, 48, sign, a), FP4_ERR_ARG);
    free(a), free(b);
}

Test(quantizer, forward_policy) {
    struct fp4_quantizer x, w;
    must(fp4_quantizer_parse("nvfp4:te", &x));
    must(fp4_quantizer_parse("mxfp4:even", &w));
    struct fp4_policy policy = fp4_policy_forward(&x, &w);
    cr_assert_eq(policy.operand[FP4_FWD_X].format, x.format);
    cr_assert_eq(policy.operand[FP4_FWD_W].format, w.format);
    for (int i = FP4_DGRAD_DY; i < FP4_OPERANDS; i++)
        cr_assert(fp4_quantizer_is_none(&policy.operand[i]));
    cr_assert_not(policy.frozen_weight);
}
