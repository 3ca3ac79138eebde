/* Element formats: single values to codes and back. Nearest even and saturating unless said otherwise; what infinities,
 * NaN and zeros become is said at each function (and in golden/formats/README.md, elements). Decoding is exact.
 *
 * Rounding adds and subtracts 1.5·2^k: in fp32 with one rounding to nearest even per operation the sum is rounded to a
 * multiple of 2^(k−23)·2, ties to the even multiple, whatever the compiler vectorises (-ffp-contract=off, no fast-math). */
#ifndef FP4LAB_FORMATS_ELEMENTS_H
#define FP4LAB_FORMATS_ELEMENTS_H

#include "fp4lab/formats.h"

#include <string.h>

#define FP4_FLT_MAX 0x1.fffffep127f

static inline uint32_t fp4_bits(float x) {
    uint32_t b;
    memcpy(&b, &x, sizeof b);
    return b;
}
static inline float fp4_from_bits(uint32_t b) {
    float x;
    memcpy(&x, &b, sizeof x);
    return x;
}
static inline float fp4_abs(float x) { return fp4_from_bits(fp4_bits(x) & 0x7fffffffu); }
static inline float fp4_min(float a, float b) { return a < b ? a : b; }
static inline float fp4_max(float a, float b) { return a > b ? a : b; }
/* magnitude ≥ 0 with the sign bit of x. */
static inline float fp4_with_sign(float magnitude, float x) {
    return fp4_from_bits(fp4_bits(magnitude) | (fp4_bits(x) & 0x80000000u));
}
/* Nearest integer, ties to even, for |x| < 2^22; larger values lose nothing that their callers keep (they saturate). */
static inline float fp4_rint(float x) {
    return fp4_abs(x) < 0x1p22f ? (x + 0x1.8p23f) - 0x1.8p23f : x;
}

/* ---- E2M1: 0 0.5 1 1.5 2 3 4 6 ---- */

/* a ≥ 0 or NaN → the grid value (NaN → 6); *step is the grid's spacing above a value of a's binade. */
static inline float fp4_e2m1_nearest(float a, float *step) {
    a = a < 6.0f ? a : 6.0f;
    uint32_t exponent = fp4_bits(a > 1.0f ? a : 1.0f) & 0x7f800000u;
    float magic = fp4_from_bits(exponent + (22u << 23) + 0x00400000u);
    *step = fp4_from_bits(exponent - (1u << 23));
    return (a + magic) - magic;
}
static inline float fp4_e2m1_even(float a) {
    float step;
    return fp4_e2m1_nearest(a, &step);
}
static inline float fp4_e2m1_away(float a) {
    float step, q = fp4_e2m1_nearest(a, &step);
    return a < 6.0f && a - q == 0.5f * step ? q + step : q;
}
/* Up iff u < (a − lo)/(hi − lo): the quotient is exact, the spacing being a power of two. */
static inline float fp4_e2m1_stochastic(float a, float u) {
    float step, q = fp4_e2m1_nearest(a, &step);
    a = a < 6.0f ? a : 6.0f;
    float low = q > a ? q - step : q;
    return u < (a - low) / step ? low + step : low;
}
/* Grid value ≥ 0 → 0 … 7. */
static inline uint8_t fp4_e2m1_magnitude_code(float q) {
    return (uint8_t)(q < 1.0f ? (uint32_t)(q + q) : (fp4_bits(q) >> 22) - 252);
}
extern const float fp4_e2m1_values[16];

/* Infinity → ±6, NaN of either sign → 0x7, −0 and negative values that round to zero → 0x8. */
uint8_t fp4_e2m1_encode(float x, enum fp4_rounding rounding, float u);
static inline float fp4_e2m1_decode(uint8_t code) { return fp4_e2m1_values[code & 15]; }

/* ---- INT4: low … 7 ---- */

/* y = x/scale. The result has the sign of y, zeros too: −0 is lost in the code only. Stochastic: up iff u < y − ⌊y⌋. */
static inline float fp4_int4_round(float y, float low, enum fp4_rounding rounding, float u) {
    float in = fp4_max(fp4_min(y, 8.0f), -9.0f); /* just outside of the grid: the nearest integer still saturates */
    float q = fp4_rint(in);
    if (rounding == FP4_ROUND_AWAY && fp4_abs(in - q) == 0.5f && fp4_abs(q) < fp4_abs(in))
        q += fp4_with_sign(1.0f, in);
    if (rounding == FP4_ROUND_STOCHASTIC) {
        float below = q > in ? q - 1.0f : q;
        q = u < in - below ? below + 1.0f : below;
    }
    return fp4_with_sign(fp4_abs(fp4_max(fp4_min(q, 7.0f), low)), y);
}

/* ---- 8 and 16 bit ---- */

uint8_t fp4_e4m3_encode(float x);      /* beyond 448 and infinity → ±448, NaN → 0x7f */
float fp4_e4m3_decode(uint8_t code);   /* 0x7f, 0xff: NaN */
uint8_t fp4_e5m2_encode(float x);      /* beyond 57344 and infinity → ±57344, NaN → 0x7f */
uint8_t fp4_e5m2_encode_ieee(float x); /* |x| ≥ 61440 → infinity, NaN → 0x7f */
float fp4_e5m2_decode(uint8_t code);
uint8_t fp4_ue4m3_encode(float x);     /* negative values and −0 → 0, otherwise as E4M3 */
float fp4_ue4m3_decode(uint8_t code);  /* ignores bit 7 */
uint8_t fp4_ue5m3_encode(float x);     /* no sign, bias 15, largest 0xfe = 114688 (infinity too), negative → 0, NaN → 0xff */
float fp4_ue5m3_decode(uint8_t code);

/* E8M0 of |x|: byte b is 2^(b−127). Infinity and overflow → 254, NaN → 255. */
uint8_t fp4_e8m0_floor(float x);   /* the largest power of two ≤ |x|; below 2⁻¹²⁷ → 0 */
uint8_t fp4_e8m0_ceil(float x);    /* the smallest ≥ |x|; 0 → 0 */
uint8_t fp4_e8m0_nearest(float x); /* by value, 1.5·2^k up */
uint8_t fp4_e8m0_even(float x);    /* (bits + 2²¹) ≫ 23: up from 1.75·2^k, the MX "even" rule for E2M1 */
float fp4_e8m0_decode(uint8_t code);

uint16_t fp4_bf16_encode(float x); /* IEEE; NaN stays a NaN of its sign */
static inline float fp4_bf16_decode(uint16_t code) { return fp4_from_bits((uint32_t)code << 16); }
float fp4_fp16_round(float x);     /* to the nearest half-precision value, overflow to infinity */
static inline float fp4_fp16_decode(uint16_t code) { /* NaN keeps its payload */
    uint32_t sign = (uint32_t)(code & 0x8000) << 16, exponent = code >> 10 & 31, mantissa = code & 1023;
    if (exponent == 0) /* zero and subnormals: mantissa · 2⁻²⁴ */
        return fp4_from_bits(sign | fp4_bits((float)mantissa * 0x1p-24f));
    return fp4_from_bits(sign | (exponent == 31 ? 0x7f800000u : (exponent + 112) << 23) | mantissa << 13);
}

#endif
