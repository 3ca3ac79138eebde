/* The quantizer of the test-time adaptation write-up (A), later version: E2M1 in blocks of 16 of the flattened memory, tensor scale
 * amax/(6·240), and a block scale that stays in fp32. Source: Tomer-Barak/TTA-FP4 0658131, src/fp4_quantization.py. */
#include "lib/formats/core/tta.h"
#include "lib/kernels/cpu/kernels.h"

enum { BLOCK = 16 };

static void prepare(struct fp4_tensor *t) { t->tensor_scale = t->amax / 1440.0f; }

/* Zeros stay zeros in an all-zero tensor, where the code has NaN. */
static float normalized(const struct fp4_tensor *t, float x) { return x == 0.0f ? 0.0f : fp4_abs(x) / t->tensor_scale; }

/* Of the largest normalised |x| of a block, which is the normalised largest |x|: division is monotone. */
static float block_scale_of(const struct fp4_tensor *t, float b) {
    float scale = (1.0f / normalized(t, b)) * 6.0f;
    return scale > 0.0f && scale <= FP4_FLT_MAX ? scale : 1.0f;
}

static void encode(const struct fp4_tensor *t, size_t n, const float *x, const float *u, uint8_t *codes, uint8_t *scale) {
    float b = 0.0f;
    for (size_t i = 0; i < n; i++)
        b = fp4_max(fp4_abs(x[i]), b);
    float block_scale = block_scale_of(t, b);
    memcpy(scale, &block_scale, sizeof block_scale);
    for (size_t i = 0; i < n; i++)
        codes[i] = fp4_tta_code(x[i], normalized(t, x[i]) * block_scale, u ? u[i] - 0.5f : 0.0f);
}

static void decode(const struct fp4_tensor *t, size_t n, const uint8_t *codes, const uint8_t *scale, float *y) {
    float block_scale;
    memcpy(&block_scale, scale, sizeof block_scale);
    for (size_t i = 0; i < n; i++)
        y[i] = (fp4_e2m1_decode(codes[i]) / block_scale) * t->tensor_scale;
}

static void fake(const struct fp4_tensor *t, size_t rows, size_t n, size_t stride, const float *x, const float *u, float *y) {
    const struct fp4_cpu_kernels *kernels = fp4_cpu_kernels_now();
    float scale[FP4_SEGMENT / BLOCK];
    kernels->block_max(rows, n, stride, BLOCK, x, scale);
    for (size_t j = 0; j * BLOCK < n; j++)
        scale[j] = block_scale_of(t, scale[j]);
    kernels->tta(t->tensor_scale, n, BLOCK, x, u, scale, y);
}

static const struct fp4_dialect dialects[] = {{"", "the TTA write-up's later version",
                                               "Tomer-Barak/TTA-FP4 0658131, src/fp4_quantization.py",
                                               FP4_MOD_SR | FP4_MOD_STORED, NULL, prepare, encode, decode, fake},
                                              {0}};

const struct fp4_format fp4_format_tta_v2 = {
    .name = "tta_v2",
    .summary = "E2M1, blocks of 16 of the flattened memory, fp32 block scale, tensor scale amax/1440",
    .block = BLOCK,
    .scale_bytes = 4,
    .code_bits = 4,
    .flat = true,
    .tensor_scaled = true,
    .dialects = dialects,
};
