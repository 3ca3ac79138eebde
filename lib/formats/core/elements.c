/* Element formats. One generic rounding to a small binary format; what differs are limits and special values.
 * Sources: OCP 8-bit Floating Point Specification 1.0 (E4M3, E5M2), OCP Microscaling Formats 1.0 (E2M1, E8M0). */
#include "lib/formats/core/elements.h"

#include <math.h>

const float fp4_e2m1_values[16] = {0.0f,  0.5f,  1.0f,  1.5f,  2.0f,  3.0f,  4.0f,  6.0f,
                                   -0.0f, -0.5f, -1.0f, -1.5f, -2.0f, -3.0f, -4.0f, -6.0f};

uint8_t fp4_e2m1_encode(float x, enum fp4_rounding rounding, float u) {
    if (isnan(x))
        return 0x7;
    float a = fp4_abs(x);
    float q = rounding == FP4_ROUND_EVEN   ? fp4_e2m1_even(a)
              : rounding == FP4_ROUND_AWAY ? fp4_e2m1_away(a)
                                           : fp4_e2m1_stochastic(a, u);
    return (uint8_t)(fp4_e2m1_magnitude_code(q) | (signbit(x) ? 8 : 0));
}

/* |x| (no NaN) to the code of a format with `mantissa` bits and `bias`, as if its exponents went on for ever: the caller
 * saturates. The carry of a rounding into the next binade is the code's own carry. */
static uint32_t small_float(float x, int mantissa, int bias) {
    uint32_t bits = fp4_bits(x) & 0x7fffffffu;
    if (bits < (uint32_t)(128 - bias) << 23) /* below 2^(1−bias): subnormal codes are multiples of 2^(1−bias−mantissa) */
        return (uint32_t)fp4_rint(fp4_abs(x) * fp4_from_bits((uint32_t)(127 + bias - 1 + mantissa) << 23));
    int drop = 23 - mantissa;
    uint32_t half_less_one = (1u << (drop - 1)) - 1, odd = (bits >> drop) & 1;
    return ((bits + half_less_one + odd) >> drop) - ((uint32_t)(127 - bias) << mantissa);
}

static uint8_t with_sign(uint32_t code, float x) { return (uint8_t)(code | (signbit(x) ? 0x80 : 0)); }

static float small_float_value(uint32_t code, int mantissa, int bias) {
    uint32_t exponent = code >> mantissa, fraction = code & ((1u << mantissa) - 1);
    if (exponent == 0)
        return ldexpf((float)fraction, 1 - bias - mantissa);
    return ldexpf((float)(fraction | (1u << mantissa)), (int)exponent - bias - mantissa);
}

uint8_t fp4_e4m3_encode(float x) {
    if (isnan(x))
        return 0x7f;
    uint32_t code = small_float(fp4_min(fp4_abs(x), 448.0f), 3, 7);
    return with_sign(code, x);
}
float fp4_e4m3_decode(uint8_t code) {
    uint32_t magnitude = code & 0x7f; /* inline, without ldexpf: every block needs it */
    float value = magnitude == 0x7f ? NAN : magnitude < 8 ? (float)magnitude * 0x1p-9f : fp4_from_bits((magnitude << 20) + (120u << 23));
    return code & 0x80 ? -value : value;
}

uint8_t fp4_e5m2_encode(float x) {
    if (isnan(x))
        return 0x7f;
    return with_sign(small_float(fp4_min(fp4_abs(x), 57344.0f), 2, 15), x);
}
uint8_t fp4_e5m2_encode_ieee(float x) {
    if (isnan(x))
        return 0x7f;
    return with_sign(fp4_abs(x) >= 61440.0f ? 0x7c : small_float(x, 2, 15), x);
}
float fp4_e5m2_decode(uint8_t code) {
    uint32_t magnitude = code & 0x7f;
    float value = magnitude > 0x7c ? NAN : magnitude == 0x7c ? INFINITY : small_float_value(magnitude, 2, 15);
    return code & 0x80 ? -value : value;
}

uint8_t fp4_ue4m3_encode(float x) { return isnan(x) ? 0x7f : signbit(x) ? 0 : fp4_e4m3_encode(x); }
float fp4_ue4m3_decode(uint8_t code) { return fp4_e4m3_decode(code & 0x7f); }

uint8_t fp4_ue5m3_encode(float x) {
    if (isnan(x))
        return 0xff;
    return signbit(x) ? 0 : (uint8_t)small_float(fp4_min(x, 114688.0f), 3, 15);
}
float fp4_ue5m3_decode(uint8_t code) { return code == 0xff ? NAN : small_float_value(code, 3, 15); }

/* Shared ends of the E8M0 rules. */
static uint8_t e8m0(float x, uint32_t exponent) {
    if (isnan(x))
        return 255;
    return (uint8_t)(exponent < 254 ? exponent : 254);
}

uint8_t fp4_e8m0_floor(float x) {
    uint32_t bits = fp4_bits(fp4_abs(x));
    if (bits < 0x00800000u) /* subnormals: 2⁻¹²⁷ = 2²² units is byte 0, as is all below */
        return 0;
    return e8m0(x, bits >> 23);
}
uint8_t fp4_e8m0_ceil(float x) {
    uint32_t bits = fp4_bits(fp4_abs(x));
    if (bits < 0x00800000u)
        return bits > 0x00400000u;
    return e8m0(x, (bits >> 23) + ((bits & 0x007fffffu) != 0));
}
uint8_t fp4_e8m0_nearest(float x) {
    uint32_t bits = fp4_bits(fp4_abs(x));
    if (bits < 0x00800000u) /* the middle of 2⁻¹²⁷ and 2⁻¹²⁶ is 1.5·2²² units */
        return bits >= 0x00600000u;
    return e8m0(x, (bits + 0x00400000u) >> 23);
}
uint8_t fp4_e8m0_even(float x) { return e8m0(x, (fp4_bits(fp4_abs(x)) + (1u << 21)) >> 23); }
float fp4_e8m0_decode(uint8_t code) { return code == 255 ? NAN : ldexpf(1.0f, (int)code - 127); }

uint16_t fp4_bf16_encode(float x) {
    uint32_t bits = fp4_bits(x);
    if (isnan(x))
        return (uint16_t)((bits >> 16) | 0x0040u);
    return (uint16_t)((bits + 0x7fffu + ((bits >> 16) & 1)) >> 16);
}

float fp4_fp16_round(float x) {
    float a = fp4_abs(x);
    if (!(a < 65520.0f)) /* the middle of 65504 and 65536 rounds to even, up */
        return isnan(x) ? x : fp4_with_sign(INFINITY, x);
    uint32_t exponent = fp4_bits(fp4_max(a, 0x1p-14f)) & 0x7f800000u; /* 11 significant bits, at least 2⁻²⁴ apart */
    float magic = fp4_from_bits(exponent + (13u << 23) + 0x00400000u);
    return fp4_with_sign((a + magic) - magic, x);
}
