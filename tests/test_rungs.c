/* Every rung of the CPU quantization kernels against the reference, and against oracles that use other mathematics: a search
 * over the table of values in double precision, where ties and halves are exact, instead of rounding by added constants. Odd
 * shapes, and buffers that end at a page nobody may touch. */
#include "lib/formats/core/bnb.h"
#include "lib/formats/core/tta.h"
#include "lib/kernels/cpu/kernels.h"
#include "tests/support.h"

#include <math.h>
#include <stdlib.h>

enum { WIDEST = 4096 };

/* Calls test for each rung that this CPU has, the reference too; says which are missing. */
static void every_rung(void (*test)(const struct fp4_cpu_kernels *k, const char *name)) {
    for (int level = FP4_CPU_REF; level <= FP4_CPU_AVX512; level++) {
        const struct fp4_cpu_kernels *k = fp4_cpu_kernels_of((enum fp4_cpu_level)level);
        const char *name = fp4_cpu_level_name((enum fp4_cpu_level)level);
        if (k)
            test(k, name);
        else
            fprintf(stderr, "SKIPPED rungs: %s: this CPU lacks it\n", name);
    }
}

/* n floats that end (or begin) at a guard page. Values: normals, grid points, midpoints, their neighbours, zeros. */
struct buffer {
    float *x;
    size_t n;
    bool at_start;
};
static struct buffer guarded(size_t n, bool at_start) {
    return (struct buffer){guarded_alloc(n * sizeof(float) + (n == 0), at_start), n, at_start};
}
static void release(struct buffer b) { guarded_free(b.x, b.n * sizeof(float) + (b.n == 0), b.at_start); }

static void fill(struct buffer b, uint32_t step) {
    static const float special[] = {0.0f, -0.0f, 0.25f, -0.75f, 1.25f, 1.75f, -2.5f, 3.5f, 5.0f, 6.0f, -6.0f, 0x1p-149f, 100.0f};
    const struct fp4_random r = {.seed = 11, .stream = FP4_STREAM_TEST, .step = step};
    fp4_random_normal(&r, 0, b.n, b.x);
    for (size_t i = 0; i < b.n; i += 3) {
        float v = special[i / 3 % 13];
        b.x[i] = i % 2 ? v : fp4_from_bits(fp4_bits(v) + (uint32_t)(i % 5 == 0) - (uint32_t)(i % 7 == 0 && fp4_abs(v) > 0x1p-140f));
    }
}
static void fill_uniform(struct buffer b, uint32_t step) {
    const struct fp4_random r = {.seed = 12, .stream = FP4_STREAM_TEST, .step = step};
    fp4_random_uniform(&r, 0, b.n, b.x);
    for (size_t i = 0; i < b.n; i += 11)
        b.x[i] = i % 2 ? 0.0f : 1.0f - 0x1p-24f;
}

static const size_t lengths[] = {0, 1, 7, 8, 9, 15, 16, 17, 31, 32, 33, 48, 63, 100, 128, 255, 272, 1000, 4096};
enum { LENGTHS = sizeof lengths / sizeof *lengths };

/* ---- oracles ---- */

/* a ≥ 0 on the E2M1 grid by search; all comparisons are of exact doubles. */
static double e2m1_oracle(enum fp4_rounding rounding, double a, double u) {
    static const double grid[] = {0, 0.5, 1, 1.5, 2, 3, 4, 6};
    if (a >= 6)
        return 6;
    int low = 0;
    while (grid[low + 1] <= a)
        low++;
    double share = (a - grid[low]) / (grid[low + 1] - grid[low]);
    if (rounding == FP4_ROUND_STOCHASTIC)
        return grid[low + (u < share)];
    if (share == 0.5)
        return grid[rounding == FP4_ROUND_AWAY ? low + 1 : low + low % 2];
    return grid[low + (share > 0.5)];
}

/* The nearest E4M3 value ≥ 0, ties to the even code, by search over all 127 codes in integers: values are multiples of 2⁻⁹. */
static double e4m3_oracle(double v) {
    double best = 0, distance = INFINITY;
    for (int code = 0; code < 127; code++) {
        int e = code / 8, m = code % 8;
        double value = e ? ldexp(8 + m, e - 10) : ldexp(m, -9), d = fabs(value - v);
        if (d < distance || (d == distance && code % 2 == 0)) {
            best = value;
            distance = d;
        }
    }
    return best;
}

static void same(const char *rung, const char *what, size_t i, float ours, float wanted) {
    cr_assert_eq(fp4_bits(ours), fp4_bits(wanted), "%s: %s[%zu] is %a, not %a", rung, what, i, (double)ours, (double)wanted);
}

/* ---- maxima ---- */

static void maxima(const struct fp4_cpu_kernels *k, const char *rung) {
    for (size_t l = 0; l < LENGTHS; l++)
        for (int at_start = 0; at_start < 2; at_start++) {
            struct buffer x = guarded(lengths[l], at_start);
            fill(x, (uint32_t)l);
            double largest = 0;
            for (size_t i = 0; i < x.n; i++)
                largest = fmax(largest, fabs((double)x.x[i]));
            cr_assert_eq(fp4_bits((float)largest), k->amax_bits(x.n, x.x), "%s: amax of %zu", rung, x.n);
            if (x.n) {
                x.x[x.n / 2] = NAN;
                cr_assert_gt(k->amax_bits(x.n, x.x), 0x7f800000u, "%s: NaN among %zu", rung, x.n);
            }
            release(x);
        }
}
Test(rungs, amax) { every_rung(maxima); }

static void block_maxima(const struct fp4_cpu_kernels *k, const char *rung) {
    static const size_t blocks[] = {16, 32, 64, 128};
    for (size_t l = 1; l < LENGTHS; l++)
        for (size_t rows = 1; rows <= 16; rows += 5)
            for (int b = 0; b < 4; b++) {
                size_t n = lengths[l], stride = n + 3, block = blocks[b], count = (n + block - 1) / block;
                struct buffer x = guarded((rows - 1) * stride + n, false), out = guarded(count, false);
                fill(x, (uint32_t)l);
                k->block_max(rows, n, stride, block, x.x, out.x);
                for (size_t j = 0; j < count; j++) {
                    double largest = 0;
                    for (size_t r = 0; r < rows; r++)
                        for (size_t i = j * block; i < n && i < (j + 1) * block; i++)
                            largest = fmax(largest, fabs((double)x.x[r * stride + i]));
                    same(rung, "block maximum", j, out.x[j], (float)largest);
                }
                release(x), release(out);
            }
}
Test(rungs, block_max) { every_rung(block_maxima); }

/* ---- NVFP4 te ---- */

static void te_scales(const struct fp4_cpu_kernels *k, const char *rung) {
    static const float amaxes[] = {0.0f, 1.0f, 2688.0f, 3.7f, 0x1p-149f, 0x1p-120f, 3e38f};
    for (size_t a = 0; a < sizeof amaxes / sizeof *amaxes; a++)
        for (size_t l = 0; l < LENGTHS - 6; l++) {
            struct buffer b = guarded(lengths[l], false), step = guarded(lengths[l], false);
            struct fp4_te te = fp4_te_constants(amaxes[a], 2688.0f);
            float kept[128];
            for (size_t j = 0; j < b.n; j++) { /* from amax down through subnormal scales to 0, and E4M3 midpoints */
                b.x[j] = amaxes[a] * (float)(j % 3 ? exp2(-(double)j / 2) : (8.5 + (double)(j % 8)) / 448.0);
                kept[j] = b.x[j];
            }
            k->te_scales(&te, b.n, b.x, b.x, step.x);
            for (size_t j = 0; j < b.n; j++) {
                float scale = (float)e4m3_oracle((double)fminf(kept[j] * te.sixth, FP4_FLT_MAX));
                same(rung, "factor", j, b.x[j], fminf(1.0f / (scale * te.decode), FP4_FLT_MAX));
                same(rung, "step", j, step.x[j], (scale * te.amax) * te.inverse);
            }
            release(b), release(step);
        }
}
Test(rungs, te_scales) { every_rung(te_scales); }

static void e2m1(const struct fp4_cpu_kernels *k, const char *rung) {
    for (size_t l = 1; l < LENGTHS; l++)
        for (int rounding = FP4_ROUND_EVEN; rounding <= FP4_ROUND_STOCHASTIC; rounding++)
            for (size_t rows = 1; rows <= 3; rows += 2) {
                size_t n = lengths[l], stride = n + (rows > 1 ? 2 : 0), block = l % 2 ? 16 : 32, blocks = (n + block - 1) / block;
                struct buffer x = guarded((rows - 1) * stride + n, l % 3 == 0), u = guarded(rows * n, false);
                struct buffer factor = guarded(blocks, false), step = guarded(blocks, false), y = guarded(x.n, false);
                fill(x, 7), fill_uniform(u, 8);
                for (size_t j = 0; j < blocks; j++) {
                    factor.x[j] = j % 4 == 3 ? INFINITY : j % 4 == 2 ? 0.37f : 1.0f;
                    step.x[j] = 0.1f + (float)j;
                }
                bool random = rounding == FP4_ROUND_STOCHASTIC;
                k->e2m1((enum fp4_rounding)rounding, rows, n, stride, block, x.x, random ? u.x : NULL, factor.x, step.x, y.x);
                for (size_t r = 0; r < rows; r++)
                    for (size_t i = 0; i < n; i++) {
                        float in = x.x[r * stride + i], f = factor.x[i / block];
                        double a = in == 0.0f ? 0 : (double)(fabsf(in) * f); /* the product is fp32 by definition */
                        float q = (float)e2m1_oracle((enum fp4_rounding)rounding, a, (double)u.x[r * n + i]);
                        same(rung, "element", r * stride + i, y.x[r * stride + i], copysignf(q * step.x[i / block], in));
                    }
                release(x), release(u), release(factor), release(step), release(y);
            }
}
Test(rungs, e2m1) { every_rung(e2m1); }

/* Every 512th magnitude and its neighbours: every binade, all grid points, midpoints and the ulps around them. */
static void e2m1_sweep(const struct fp4_cpu_kernels *k, const char *rung) {
    static float x[WIDEST], y[WIDEST];
    float factor[WIDEST / 16], step[WIDEST / 16];
    for (size_t j = 0; j < WIDEST / 16; j++)
        factor[j] = step[j] = 1.0f;
    for (int rounding = FP4_ROUND_EVEN; rounding <= FP4_ROUND_AWAY; rounding++)
        for (uint32_t base = 0; base < 0x7f800000u / 512; base += WIDEST) {
            for (uint32_t i = 0; i < WIDEST; i++)
                x[i] = fp4_from_bits((base + i) * 512 - (i % 3 == 1 && base + i) + (i % 3 == 2));
            k->e2m1((enum fp4_rounding)rounding, 1, WIDEST, WIDEST, 16, x, NULL, factor, step, y);
            for (uint32_t i = 0; i < WIDEST; i++)
                if (isfinite(x[i]))
                    same(rung, "magnitude", i, y[i], (float)e2m1_oracle((enum fp4_rounding)rounding, (double)x[i], 0));
        }
}
Test(rungs, e2m1_every_binade) { every_rung(e2m1_sweep); }

static void e2m1_quotient(const struct fp4_cpu_kernels *k, const char *rung) {
    for (size_t l = 1; l < LENGTHS; l++)
        for (int of_x = 0; of_x < 2; of_x++) {
            size_t n = lengths[l], blocks = (n + 15) / 16;
            struct buffer x = guarded(n, false), factor = guarded(blocks, false), scale = guarded(blocks, false), y = guarded(n, false);
            fill(x, 3);
            for (size_t j = 0; j < blocks; j++) {
                factor.x[j] = j % 3 == 2 ? 0.0f : 0.9f;
                scale.x[j] = j % 3 == 2 ? 0.0f : 208.0f;
            }
            k->e2m1_quotient(of_x, 3.3f, 1536.0f, n, 16, x.x, factor.x, scale.x, y.x);
            for (size_t i = 0; i < n; i++) {
                float product = x.x[i] * factor.x[i / 16], q = (float)e2m1_oracle(FP4_ROUND_EVEN, (double)fabsf(product), 0);
                q = (of_x ? signbit(x.x[i]) != 0 : product < 0.0f) ? -q : q;
                same(rung, "quotient", i, y.x[i], ((q * scale.x[i / 16]) * 3.3f) / 1536.0f);
            }
            release(x), release(factor), release(scale), release(y);
        }
}
Test(rungs, e2m1_quotient) { every_rung(e2m1_quotient); }

/* Scales against the search over E4M3's codes, factors in the order of the definition. */
static void six_four(const struct fp4_cpu_kernels *k, const char *rung) {
    for (size_t l = 0; l < LENGTHS - 6; l++)
        for (int te = 0; te < 2; te++) {
            struct buffer b = guarded(lengths[l], false), out[4];
            for (int o = 0; o < 4; o++)
                out[o] = guarded(b.n, false);
            for (size_t j = 0; j < b.n; j++) /* down to scales that underflow to 0, and E4M3 midpoints */
                b.x[j] = j % 5 == 4 ? 0.0f : (float)(j % 3 ? 3.0 * exp2(-(double)j / 2) : 3.0 * (8.5 + (double)(j % 8)) / 256.0);
            const struct fp4_six_four c = {te, 6.0f, 1536.0f / 3.0f, 1.0f / (1536.0f / 3.0f)};
            k->six_four(&c, b.n, b.x, out[0].x, out[1].x, out[2].x, out[3].x);
            for (size_t j = 0; j < b.n; j++)
                for (int four = 0; four < 2; four++) {
                    float v = (b.x[j] / 6.0f) * c.encode, scale = (float)e4m3_oracle((double)fminf(four ? v * 1.5f : v, 448.0f));
                    float factor = te ? fminf(1.0f / (scale * c.decode), FP4_FLT_MAX) : scale == 0.0f ? 0.0f : 1.0f / (scale * c.decode);
                    same(rung, four ? "scale to 4" : "scale to 6", j, out[2 * four].x[j], scale);
                    same(rung, four ? "factor to 4" : "factor to 6", j, out[2 * four + 1].x[j], factor);
                }
            for (int o = 0; o < 4; o++)
                release(out[o]);
            release(b);
        }
}
Test(rungs, six_four) { every_rung(six_four); }

/* Values of many sizes make the order of a sum visible. */
static void block_errors(const struct fp4_cpu_kernels *k, const char *rung) {
    for (size_t l = 0; l < LENGTHS; l++)
        for (int kind = FP4_ERROR_MSE; kind <= FP4_ERROR_ABSMAX; kind++) {
            size_t n = lengths[l], blocks = (n + 15) / 16;
            struct buffer x = guarded(n, false), y = guarded(n, false), error = guarded(blocks, false);
            fill(x, (uint32_t)l);
            fill(y, (uint32_t)l + 100);
            k->block_error((enum fp4_block_error)kind, n, x.x, y.x, error.x);
            for (size_t j = 0; j < blocks; j++) {
                float sum = 0.0f;
                for (size_t i = 16 * j; i < n && i < 16 * j + 16; i++) {
                    float d = y.x[i] - x.x[i];
                    sum = kind == FP4_ERROR_ABSMAX ? fmaxf(fabsf(d), sum) : sum + (kind == FP4_ERROR_MSE ? d * d : fabsf(d));
                }
                same(rung, "block error", j, error.x[j], sum);
            }
            release(x), release(y), release(error);
        }
}
Test(rungs, block_error) { every_rung(block_errors); }

/* ---- INT4, the adaptation write-up, tables, BF16 ---- */

static void int4(const struct fp4_cpu_kernels *k, const char *rung) {
    for (size_t l = 1; l < LENGTHS; l++)
        for (int rounding = FP4_ROUND_EVEN; rounding <= FP4_ROUND_STOCHASTIC; rounding++) {
            size_t n = lengths[l], block = 32, blocks = (n + block - 1) / block;
            struct buffer x = guarded(n, false), u = guarded(n, false), scale = guarded(blocks, false), y = guarded(n, false);
            struct fp4_int_grid grid = {.low = l % 2 ? -7.0f : -8.0f, .rounding = (enum fp4_rounding)rounding};
            fill(x, 5), fill_uniform(u, 6);
            for (size_t j = 0; j < blocks; j++)
                scale.x[j] = j % 2 ? 0.5f : 0.31f;
            k->int4(grid, n, block, x.x, rounding == FP4_ROUND_STOCHASTIC ? u.x : NULL, scale.x, y.x);
            for (size_t i = 0; i < n; i++) {
                double v = (double)(x.x[i] / scale.x[i / block]), below = floor(v), share = v - below;
                double q = rounding == FP4_ROUND_STOCHASTIC ? below + ((double)u.x[i] < share)
                           : share != 0.5                   ? below + (share > 0.5)
                           : rounding == FP4_ROUND_AWAY     ? below + (v > 0)
                                                            : below + (fmod(below, 2) != 0);
                q = fmax(fmin(q, 7), (double)grid.low);
                same(rung, "integer", i, y.x[i], copysignf((float)fabs(q), x.x[i]) * scale.x[i / block]);
            }
            release(x), release(u), release(scale), release(y);
        }
}
Test(rungs, int4) { every_rung(int4); }

static void tta(const struct fp4_cpu_kernels *k, const char *rung) {
    for (size_t l = 1; l < LENGTHS; l++)
        for (int random = 0; random < 2; random++) {
            size_t n = lengths[l], blocks = (n + 15) / 16;
            struct buffer x = guarded(n, false), u = guarded(n, false), scale = guarded(blocks, false), y = guarded(n, false);
            float ts = random ? 1.0f : 0.013f;
            fill(x, 5), fill_uniform(u, 6);
            for (size_t j = 0; j < blocks; j++)
                scale.x[j] = j % 2 ? 2.0f : 0.0371f;
            k->tta(ts, n, 16, x.x, random ? u.x : NULL, scale.x, y.x);
            for (size_t i = 0; i < n; i++) { /* the published formula, with the C library's rint */
                float a = (fabsf(x.x[i]) / ts) * scale.x[i / 16], noise = random ? u.x[i] - 0.5f : 0.0f;
                float q = a < 2 ? rintf(2 * a + noise) / 2 : a < 4 ? rintf(a + noise) : 2 * rintf(a / 2 + noise);
                q = fminf(fabsf(q), 6);
                same(rung, "tta", i, y.x[i], ((x.x[i] < 0 ? -q : q) / scale.x[i / 16]) * ts);
            }
            release(x), release(u), release(scale), release(y);
        }
}
Test(rungs, tta) { every_rung(tta); }

static void table(const struct fp4_cpu_kernels *k, const char *rung) {
    static const float boundaries[15] = {-0.9f, -0.7f, -0.5f, -0.4f, -0.3f, -0.2f, -0.1f, 0.0f, 0.1f, 0.2f, 0.3f, 0.4f, 0.5f, 0.7f, 0.9f};
    for (size_t l = 1; l < LENGTHS; l++)
        for (int form = 0; form < 2; form++) {
            struct fp4_value_table t = {.boundaries = form ? boundaries + 8 : boundaries, .n = form ? 7 : 15, .magnitudes = form, .clamp = !form};
            size_t n = lengths[l], blocks = (n + 63) / 64;
            struct buffer x = guarded(n, false), absmax = guarded(blocks, false), y = guarded(n, false);
            for (int place = 0; place < 16; place++)
                t.values[place] = form ? 0.1f * (float)place : 0.13f * (float)(place - 7);
            fill(x, 4);
            for (size_t j = 0; j < blocks; j++)
                absmax.x[j] = j % 3 == 2 ? 0.0f : 2.5f;
            for (size_t i = 0; i < n; i++)
                if (absmax.x[i / 64] == 0.0f)
                    x.x[i] = 0.0f;
            k->table(&t, n, 64, x.x, absmax.x, y.x);
            for (size_t i = 0; i < n; i++) {
                float largest = absmax.x[i / 64], v = x.x[i] * (1.0f / (form ? largest : fmaxf(largest, 1e-38f)));
                int place = 0;
                while (place < t.n && t.boundaries[place] < (form ? fabsf(v) : v)) /* sorted: the first that is not below */
                    place++;
                same(rung, "table", i, y.x[i], (form && x.x[i] < 0 ? -t.values[place] : t.values[place]) * largest);
            }
            release(x), release(absmax), release(y);
        }
}
Test(rungs, table) { every_rung(table); }

static void bf16(const struct fp4_cpu_kernels *k, const char *rung) {
    struct buffer x = guarded(WIDEST + 5, false), y = guarded(WIDEST + 5, false);
    for (uint32_t seed = 0; seed < 64; seed++) {
        const struct fp4_random r = {.seed = seed, .stream = FP4_STREAM_TEST};
        fp4_random_words(&r, 0, x.n, (uint32_t *)x.x); /* any bit pattern: NaN, infinities, subnormals */
        for (size_t i = 0; i < x.n; i += 2) /* halfway */
            x.x[i] = fp4_from_bits((fp4_bits(x.x[i]) & 0xffff0000u) | 0x8000u);
        k->bf16(x.n, x.x, y.x);
        for (size_t i = 0; i < x.n; i++) {
            float down = fp4_from_bits(fp4_bits(x.x[i]) & 0xffff0000u), up = fp4_from_bits((fp4_bits(x.x[i]) & 0xffff0000u) + 0x10000u);
            cr_assert_eq(fp4_bits(y.x[i]) & 0xffffu, 0);
            if (isnan(x.x[i])) {
                cr_assert(isnan(y.x[i]), "%s: %08x lost its NaN", rung, fp4_bits(x.x[i]));
                continue;
            }
            if (!isfinite(x.x[i]) || !isfinite(up))
                continue; /* the last binade rounds to infinity by the same carry; doubles below cannot say so */
            double low = fabs((double)x.x[i] - (double)down), high = fabs((double)up - (double)x.x[i]);
            bool take_up = high < low || (high == low && (fp4_bits(down) & 0x10000u));
            same(rung, "bf16", i, y.x[i], take_up ? up : down);
        }
    }
    release(x), release(y);
}
Test(rungs, bf16) { every_rung(bf16); }

/* ---- Hadamard, Philox ---- */

static void hadamard(const struct fp4_cpu_kernels *k, const char *rung) {
    for (size_t n = 16; n <= 128; n *= 2)
        for (size_t groups = 1; groups <= 3; groups++)
            for (int inverse = 0; inverse < 2; inverse++) {
                struct buffer x = guarded(groups * n, groups == 2), sign = guarded(n, false);
                float kept[3 * 128], reference[3 * 128], root = (float)(1.0 / sqrt((double)n));
                fill(x, (uint32_t)n);
                fp4_hadamard_signs((uint32_t)n, n, sign.x);
                memcpy(kept, x.x, groups * n * sizeof *kept);
                memcpy(reference, x.x, groups * n * sizeof *kept);
                k->hadamard(n, groups, sign.x, root, inverse, x.x);
                fp4_cpu_kernels_ref.hadamard(n, groups, sign.x, root, inverse, reference);
                for (size_t i = 0; i < groups * n; i++) {
                    double sum = 0, bound = 0; /* the matrix itself, H[i][j] = (−1)^popcount(i & j), in double */
                    for (size_t j = 0; j < n; j++) {
                        double term = (double)kept[i / n * n + j] * (inverse ? 1.0 : (double)sign.x[j]);
                        sum += __builtin_popcount((unsigned int)(i % n & j)) % 2 ? -term : term;
                        bound += fabs(term);
                    }
                    sum *= (inverse ? (double)sign.x[i % n] : 1.0) / sqrt((double)n);
                    /* log2 n additions, one product and the rounded root, half an ulp each of what the sum can reach. */
                    cr_assert_float_eq((double)x.x[i], sum, (2 + log2((double)n)) * 0x1p-24 * bound / sqrt((double)n) + 1e-45,
                                       "%s: n = %zu, element %zu", rung, n, i);
                    same(rung, "hadamard", i, x.x[i], reference[i]);
                }
                release(x), release(sign);
            }
}
Test(rungs, hadamard) { every_rung(hadamard); }

static void uniform(const struct fp4_cpu_kernels *k, const char *rung) {
    const struct fp4_random r = {.seed = 0xdeadbeef, .stream = FP4_STREAM_ROUND, .step = 0xfffffff0u, .layer = 77, .operand = 5};
    static const uint64_t firsts[] = {0, 1, 2, 3, 4, 1021, 4096, (uint64_t)4 * 0xfffffffcu};
    for (size_t f = 0; f < sizeof firsts / sizeof *firsts; f++)
        for (size_t l = 0; l < LENGTHS; l++) {
            struct buffer u = guarded(lengths[l], false);
            k->uniform(&r, firsts[f], u.n, u.x);
            for (size_t i = 0; i < u.n; i++) {
                uint64_t element = firsts[f] + i;
                uint32_t counter[4] = {(uint32_t)(element / 4), r.step, r.layer, r.operand}, key[2] = {r.seed, r.stream}, word[4];
                fp4_philox4x32(counter, key, 10, word);
                same(rung, "uniform", i, u.x[i], (float)ldexp((double)(word[element % 4] >> 8), -24));
            }
            release(u);
        }
}
Test(rungs, uniform) { every_rung(uniform); }

/* ---- whole quantizers, and the choice of a rung ---- */

static const struct fp4_random address = {.seed = 3, .stream = FP4_STREAM_ROUND, .step = 1};

Test(rungs, fake_quantization_is_the_same_on_every_rung) {
    static const char *const spellings[] = {"nvfp4:te",    "nvfp4:te,sr", "nvfp4:te,away",     "nvfp4:te,2d",       "nvfp4:te,2d,sr",
                                            "nvfp4:te,had32", "nvfp4:torchao", "nvfp4:fouroversix", "nvfp4:te_4over6", "nvfp4:fouroversix_absmax",
                                            "mxfp4:floor", "mxfp4:even,sr", "int4:sym7",        "int4:div7_5,sr",    "tta_v1,sr",
                                            "tta_v2",      "nf4:cuda",    "nf4:cpu",            "bnbfp4:cuda",       "bnbfp4:cpu", "bf16"};
    static const size_t shapes[][2] = {{1, 32}, {19, 96}, {33, 4128}};
    for (size_t s = 0; s < sizeof spellings / sizeof *spellings; s++)
        for (size_t shape = 0; shape < 3; shape++) {
            struct fp4_quantizer q;
            size_t rows = shapes[shape][0], cols = shapes[shape][1];
            struct buffer x = guarded(rows * cols, false), y = guarded(rows * cols, false);
            float *first = malloc(x.n * sizeof *first);
            must(fp4_quantizer_parse(spellings[s], &q));
            fill(x, (uint32_t)shape);
            for (int level = FP4_CPU_REF; level <= (int)fp4_cpu_detect(); level++) {
                must(fp4_cpu_select(fp4_cpu_level_name((enum fp4_cpu_level)level)));
                must(fp4_fake_quantize(&q, rows, cols, x.x, level == FP4_CPU_REF ? first : y.x, &address));
                for (size_t i = 0; i < x.n && level != FP4_CPU_REF; i++)
                    same(fp4_cpu_level_name((enum fp4_cpu_level)level), spellings[s], i, y.x[i], first[i]);
            }
            free(first);
            release(x), release(y);
        }
}

Test(rungs, selection) {
    must(fp4_cpu_select("ref"));
    cr_assert_eq(fp4_cpu_level(), FP4_CPU_REF);
    cr_assert_eq(fp4_cpu_select("sse"), FP4_ERR_ARG);
    cr_assert_not_null(strstr(fp4_last_error(), "avx512"));
    cr_assert_eq(fp4_cpu_level(), FP4_CPU_REF, "a refused name changed the rung");
    setenv("FP4LAB_CPU", "nonsense", 1);
    cr_assert_eq(fp4_cpu_select(NULL), FP4_ERR_ARG);
    unsetenv("FP4LAB_CPU");
    must(fp4_cpu_select(NULL));
    cr_assert_eq(fp4_cpu_level(), fp4_cpu_detect());
}
