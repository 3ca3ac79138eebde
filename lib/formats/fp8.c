/* FP8 E4M3 with one fp32 scale a tensor: s = amax/448. Own definition. */
#include "lib/formats/core/elements.h"
#include "lib/formats/core/format.h"

static void prepare(struct fp4_tensor *t) {
    t->tensor_scale = t->amax / 448.0f;
    if (t->tensor_scale == 0.0f)
        t->tensor_scale = 1.0f;
}

static void encode(const struct fp4_tensor *t, size_t n, const float *x, const float *u, uint8_t *codes, uint8_t *scale) {
    (void)u, (void)scale;
    for (size_t i = 0; i < n; i++)
        codes[i] = fp4_e4m3_encode(x[i] / t->tensor_scale);
}

static void decode(const struct fp4_tensor *t, size_t n, const uint8_t *codes, const uint8_t *scale, float *y) {
    (void)scale;
    for (size_t i = 0; i < n; i++)
        y[i] = fp4_e4m3_decode(codes[i]) * t->tensor_scale;
}

static const struct fp4_dialect dialects[] = {
    {"", "E4M3, one scale a tensor", "OCP 8-bit Floating Point Specification 1.0", FP4_MOD_STORED, NULL, prepare, encode, decode, NULL},
    {0}};

const struct fp4_format fp4_format_fp8 = {
    .name = "fp8",
    .summary = "E4M3 with one fp32 scale a tensor",
    .code_bits = 8,
    .tensor_scaled = true,
    .dialects = dialects,
};
