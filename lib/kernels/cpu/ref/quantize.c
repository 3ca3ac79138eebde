/* Quantization kernels in plain C: the reference rung. */
#include "lib/formats/core/tta.h"
#include "lib/kernels/cpu/kernels.h"

static uint32_t amax_bits(size_t n, const float *x) {
    uint32_t largest = 0;
    for (size_t i = 0; i < n; i++) {
        uint32_t bits = fp4_bits(x[i]) & 0x7fffffffu;
        largest = bits > largest ? bits : largest;
    }
    return largest;
}

static void block_max(size_t rows, size_t n, size_t stride, size_t block, const float *x, float *b) {
    for (size_t j = 0; j * block < n; j++) {
        size_t width = n - j * block < block ? n - j * block : block;
        uint32_t largest = 0;
        for (size_t r = 0; r < rows; r++) {
            uint32_t bits = amax_bits(width, x + r * stride + j * block);
            largest = bits > largest ? bits : largest;
        }
        b[j] = fp4_from_bits(largest);
    }
}

static void te_scales(const struct fp4_te *te, size_t blocks, const float *b, float *factor, float *step) {
    for (size_t j = 0; j < blocks; j++) {
        float scale = fp4_e4m3_decode(fp4_te_scale(te, b[j]));
        factor[j] = fp4_te_factor(te, scale);
        step[j] = fp4_te_step(te, scale);
    }
}

static float e2m1_round(enum fp4_rounding rounding, float a, float u) {
    return rounding == FP4_ROUND_EVEN   ? fp4_e2m1_even(a)
           : rounding == FP4_ROUND_AWAY ? fp4_e2m1_away(a)
                                        : fp4_e2m1_stochastic(a, u);
}

static void e2m1(enum fp4_rounding rounding, size_t rows, size_t n, size_t stride, size_t block, const float *x, const float *u,
                 const float *factor, const float *step, float *y) {
    for (size_t r = 0; r < rows; r++)
        for (size_t i = 0; i < n; i++) {
            float value = x[r * stride + i], a = value == 0.0f ? 0.0f : fp4_abs(value) * factor[i / block];
            float q = e2m1_round(rounding, a, u ? u[r * n + i] : 0.0f);
            y[r * stride + i] = fp4_with_sign(q * step[i / block], value);
        }
}

static void int4(struct fp4_int_grid grid, size_t n, size_t block, const float *x, const float *u, const float *scale, float *y) {
    for (size_t i = 0; i < n; i++) {
        float s = scale[i / block];
        y[i] = fp4_int4_round(x[i] / s, grid.low, grid.rounding, u ? u[i] : 0.0f) * s;
    }
}

static void e2m1_quotient(bool sign_of_x, float amax, float limit, size_t n, size_t block, const float *x, const float *factor,
                          const float *scale, float *y) {
    for (size_t i = 0; i < n; i++) {
        float product = x[i] == 0.0f ? x[i] : x[i] * factor[i / block], q = fp4_e2m1_even(fp4_abs(product));
        bool negative = sign_of_x ? fp4_bits(x[i]) >> 31 : product < 0.0f;
        y[i] = (((negative ? -q : q) * scale[i / block]) * amax) / limit;
    }
}

static void six_four(const struct fp4_six_four *c, size_t blocks, const float *b, float *scale6, float *factor6, float *scale4,
                     float *factor4) {
    for (size_t j = 0; j < blocks; j++) {
        uint8_t six, four;
        fp4_six_four_scales(c, b[j], &six, &four);
        scale6[j] = fp4_e4m3_decode(six);
        scale4[j] = fp4_e4m3_decode(four);
        factor6[j] = fp4_six_four_factor(c, scale6[j]);
        factor4[j] = fp4_six_four_factor(c, scale4[j]);
    }
}

static void block_error(enum fp4_block_error kind, size_t n, const float *x, const float *y, float *error) {
    for (size_t i = 0; i < n; i++) {
        float d = y[i] - x[i], *e = &error[i / 16];
        if (i % 16 == 0)
            *e = 0.0f;
        *e = kind == FP4_ERROR_MSE ? *e + d * d : kind == FP4_ERROR_MAE ? *e + fp4_abs(d) : fp4_max(fp4_abs(d), *e);
    }
}

static void tta(float ts, size_t n, size_t block, const float *x, const float *u, const float *scale, float *y) {
    for (size_t i = 0; i < n; i++) {
        float a = x[i] == 0.0f ? 0.0f : (fp4_abs(x[i]) / ts) * scale[i / block];
        float q = fp4_tta_round(a, u ? u[i] - 0.5f : 0.0f);
        y[i] = ((x[i] < 0.0f ? -q : q) / scale[i / block]) * ts;
    }
}

static void table(const struct fp4_value_table *t, size_t n, size_t block, const float *x, const float *absmax, float *y) {
    for (size_t i = 0; i < n; i++) {
        float largest = absmax[i / block], v = x[i] * (1.0f / (t->clamp ? fp4_max(largest, 1e-38f) : largest));
        if (t->clamp)
            v = fp4_max(fp4_min(v, 1.0f), -1.0f);
        if (t->magnitudes)
            v = fp4_abs(v);
        float value = t->values[0];
        for (int j = 0; j < t->n; j++)
            value = t->boundaries[j] < v ? t->values[j + 1] : value;
        y[i] = (t->magnitudes && x[i] < 0.0f ? -value : value) * largest;
    }
}

static void bf16(size_t n, const float *x, float *y) {
    for (size_t i = 0; i < n; i++)
        y[i] = fp4_bf16_decode(fp4_bf16_encode(x[i]));
}

static void hadamard(size_t n, size_t groups, const float *sign, float root, bool inverse, float *x) {
    for (size_t g = 0; g < groups; g++, x += n) {
        for (size_t i = 0; i < n && !inverse; i++)
            x[i] *= sign[i];
        for (size_t h = 1; h < n; h *= 2)
            for (size_t i = 0; i < n; i++)
                if (!(i & h)) {
                    float a = x[i], c = x[i + h];
                    x[i] = a + c;
                    x[i + h] = a - c;
                }
        for (size_t i = 0; i < n; i++)
            x[i] = inverse ? (x[i] * root) * sign[i] : x[i] * root;
    }
}

const struct fp4_cpu_kernels fp4_cpu_kernels_ref = {
    .amax_bits = amax_bits,
    .block_max = block_max,
    .te_scales = te_scales,
    .e2m1 = e2m1,
    .e2m1_quotient = e2m1_quotient,
    .six_four = six_four,
    .block_error = block_error,
    .tta = tta,
    .table = table,
    .bf16 = bf16,
    .int4 = int4,
    .hadamard = hadamard,
    .uniform = fp4_random_uniform,
};
