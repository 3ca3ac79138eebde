/* The quantizer of the test-time adaptation write-up (A) as its README version ran: E2M1 in blocks of 32 of the flattened memory,
 * scale 2^⌊log2(6/b)⌋ with a logarithm that is first rounded to fp32. It ran with stochastic rounding: tta_v1,sr.
 * Source: Tomer-Barak/TTA-FP4 b894179, src/fp4_quantization.py. */
#include "lib/formats/core/tta.h"
#include "lib/kernels/cpu/kernels.h"

#include <math.h>

enum { BLOCK = 32 };

/* e of the block's scale 2^e; 0 where 6/b is not in (0, ∞). */
static int exponent(float b) {
    float v = (1.0f / b) * 6.0f;
    return v > 0.0f && v <= FP4_FLT_MAX ? (int)floorf((float)log2((double)v)) : 0;
}

static void encode(const struct fp4_tensor *t, size_t n, const float *x, const float *u, uint8_t *codes, uint8_t *scale) {
    (void)t;
    float b = 0.0f;
    for (size_t i = 0; i < n; i++)
        b = fp4_max(fp4_abs(x[i]), b);
    int e = exponent(b);
    *scale = (uint8_t)(127 - e);
    float factor = ldexpf(1.0f, e);
    for (size_t i = 0; i < n; i++)
        codes[i] = fp4_tta_code(x[i], fp4_abs(x[i]) * factor, u ? u[i] - 0.5f : 0.0f);
}

static void decode(const struct fp4_tensor *t, size_t n, const uint8_t *codes, const uint8_t *scale, float *y) {
    (void)t;
    float factor = ldexpf(1.0f, 127 - *scale);
    for (size_t i = 0; i < n; i++)
        y[i] = fp4_e2m1_decode(codes[i]) / factor;
}

static void fake(const struct fp4_tensor *t, size_t rows, size_t n, size_t stride, const float *x, const float *u, float *y) {
    (void)t;
    const struct fp4_cpu_kernels *kernels = fp4_cpu_kernels_now();
    float scale[FP4_SEGMENT / BLOCK];
    kernels->block_max(rows, n, stride, BLOCK, x, scale);
    for (size_t j = 0; j * BLOCK < n; j++)
        scale[j] = ldexpf(1.0f, exponent(scale[j]));
    kernels->tta(1.0f, n, BLOCK, x, u, scale, y);
}

static const struct fp4_dialect dialects[] = {{"", "the TTA write-up's first version; ran as tta_v1,sr",
                                               "Tomer-Barak/TTA-FP4 b894179, src/fp4_quantization.py",
                                               FP4_MOD_SR | FP4_MOD_STORED, NULL, NULL, encode, decode, fake},
                                              {0}};

const struct fp4_format fp4_format_tta_v1 = {
    .name = "tta_v1",
    .summary = "E2M1, blocks of 32 of the flattened memory, power-of-two scale",
    .block = BLOCK,
    .scale_bytes = 1,
    .code_bits = 4,
    .flat = true,
    .dialects = dialects,
};
