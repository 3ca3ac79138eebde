/* MXFP4: E2M1 elements in blocks of 32 with an E8M0 scale. The dialects are rules for the scale's exponent.
 * Source: OCP Microscaling Formats 1.0, section 6.3 (floor); cuBLAS (rceil); torchao, compressed-tensors (even). */
#include "lib/formats/core/e2m1.h"

#include <math.h>

typedef uint8_t (*rule)(float b);

/* The exponent less two: 6 = 1.5·2^2. */
static uint8_t less_two(uint32_t exponent) { return (uint8_t)(exponent > 2 ? exponent - 2 : 0); }
static uint8_t floor_rule(float b) { return less_two(fp4_e8m0_floor(b)); }
/* The exponent of fp4_e8m0_even, but not held at 254: from 1.75·2^127 on it is 255 and the byte 253, as in torchao. */
static uint8_t even_rule(float b) { return less_two((fp4_bits(b) + (1u << 21)) >> 23); }
static uint8_t rceil_rule(float b) {
    uint32_t bits = fp4_bits(b / 6.0f);
    return (uint8_t)((bits >> 23) + ((bits & 0x007fffffu) != 0));
}

/* 2^k for −127 ≤ k ≤ 127; −127 is a subnormal. */
static float power(int k) { return k == -127 ? 0x1p-127f : fp4_from_bits((uint32_t)(k + 127) << 23); }

static uint8_t block_scale(const struct fp4_tensor *t, float b) { return (*(const rule *)t->dialect->parameters)(b); }

static void encode(const struct fp4_tensor *t, size_t n, const float *x, const float *u, uint8_t *codes, uint8_t *scale) {
    *scale = block_scale(t, fp4_block_amax(t, n, x));
    float factor = power(127 - *scale);
    for (size_t i = 0; i < n; i++)
        codes[i] = (uint8_t)(fp4_e2m1_encode(fp4_abs(x[i]) * factor, t->q.rounding, u ? u[i] : 0.0f) | (signbit(x[i]) ? 8 : 0));
}

static void decode(const struct fp4_tensor *t, size_t n, const uint8_t *codes, const uint8_t *scale, float *y) {
    (void)t;
    float step = power(*scale - 127);
    for (size_t i = 0; i < n; i++)
        y[i] = fp4_e2m1_decode(codes[i]) * step;
}

static void scales(const struct fp4_tensor *t, size_t blocks, const float *maximum, float *factor, float *step) {
    for (size_t j = 0; j < blocks; j++) {
        int byte = block_scale(t, maximum[j]);
        factor[j] = power(127 - byte);
        step[j] = power(byte - 127);
    }
}

static void fake(const struct fp4_tensor *t, size_t rows, size_t n, size_t stride, const float *x, const float *u, float *y) {
    fp4_fake_e2m1(t, scales, rows, n, stride, x, u, y);
}

static const rule floor_ = floor_rule, rceil_ = rceil_rule, even_ = even_rule;

#define DIALECT(name, summary, source) \
    {#name, summary, source, FP4_E2M1_MODIFIERS, &name##_, NULL, encode, decode, fake}

static const struct fp4_dialect dialects[] = {
    DIALECT(floor, "exponent of the block maximum, rounded down", "OCP Microscaling Formats 1.0, section 6.3"),
    DIALECT(rceil, "exponent of maximum/6, rounded up: nothing saturates", "cuBLAS; PTX cvt.rp to ue8m0"),
    DIALECT(even, "exponent goes up from 1.75 times a power of two", "torchao 0.18.0, compressed-tensors 0.20.0"),
    {0}};

const struct fp4_format fp4_format_mxfp4 = {
    .name = "mxfp4",
    .summary = "E2M1, blocks of 32 with a power-of-two scale",
    .block = 32,
    .scale_bytes = 1,
    .code_bits = 4,
    .dialects = dialects,
};
