/* BF16: fp32 rounded to 8 significant bits, nearest even. No scales; infinities and NaN pass. */
#include "lib/formats/core/elements.h"
#include "lib/formats/core/format.h"
#include "lib/kernels/cpu/kernels.h"

static void encode(const struct fp4_tensor *t, size_t n, const float *x, const float *u, uint8_t *codes, uint8_t *scale) {
    (void)t, (void)u, (void)scale;
    for (size_t i = 0; i < n; i++) {
        uint16_t code = fp4_bf16_encode(x[i]);
        memcpy(codes + 2 * i, &code, sizeof code);
    }
}

static void decode(const struct fp4_tensor *t, size_t n, const uint8_t *codes, const uint8_t *scale, float *y) {
    (void)t, (void)scale;
    for (size_t i = 0; i < n; i++) {
        uint16_t code;
        memcpy(&code, codes + 2 * i, sizeof code);
        y[i] = fp4_bf16_decode(code);
    }
}

static void fake(const struct fp4_tensor *t, size_t rows, size_t n, size_t stride, const float *x, const float *u, float *y) {
    (void)t, (void)u;
    for (size_t r = 0; r < rows; r++)
        fp4_cpu_kernels_now()->bf16(n, x + r * stride, y + r * stride);
}

static const struct fp4_dialect dialects[] = {
    {"", "nearest even, no scale", "IEEE 754 arithmetic on the upper half of a binary32", FP4_MOD_STORED, NULL, NULL, encode, decode, fake},
    {0}};

const struct fp4_format fp4_format_bf16 = {
    .name = "bf16",
    .summary = "the upper 16 bits of fp32, rounded",
    .code_bits = 16,
    .dialects = dialects,
};
