/* Quantization kernels for AVX-512 (F, BW, DQ, VL): one register holds a block of 16. */
#include "lib/kernels/cpu/kernels.h"

#include <immintrin.h>

#define V_LANES 16
typedef __m512 vec;
typedef __m512i veci;

static inline vec v_load(const float *p) { return _mm512_loadu_ps(p); }
static inline void v_store(float *p, vec v) { _mm512_storeu_ps(p, v); }
static inline void v_int_store(uint32_t *p, veci v) { _mm512_storeu_si512(p, v); }
static inline vec v_set(float x) { return _mm512_set1_ps(x); }
static inline veci v_int_set(int x) { return _mm512_set1_epi32(x); }
static inline veci v_to_int(vec v) { return _mm512_castps_si512(v); }
static inline vec v_from_int(veci v) { return _mm512_castsi512_ps(v); }
static inline vec v_and(vec a, vec b) { return _mm512_and_ps(a, b); }
static inline vec v_or(vec a, vec b) { return _mm512_or_ps(a, b); }
static inline vec v_xor(vec a, vec b) { return _mm512_xor_ps(a, b); }
static inline vec v_add(vec a, vec b) { return _mm512_add_ps(a, b); }
static inline vec v_sub(vec a, vec b) { return _mm512_sub_ps(a, b); }
static inline vec v_mul(vec a, vec b) { return _mm512_mul_ps(a, b); }
static inline vec v_div(vec a, vec b) { return _mm512_div_ps(a, b); }
/* The second operand when one of them is NaN. */
static inline vec v_min(vec a, vec b) { return _mm512_min_ps(a, b); }
static inline vec v_max(vec a, vec b) { return _mm512_max_ps(a, b); }
static inline veci v_int_and(veci a, veci b) { return _mm512_and_si512(a, b); }
static inline veci v_int_xor(veci a, veci b) { return _mm512_xor_si512(a, b); }
static inline veci v_int_add(veci a, veci b) { return _mm512_add_epi32(a, b); }
static inline veci v_int_max(veci a, veci b) { return _mm512_max_epi32(a, b); }
static inline float v_reduce_max(vec v) { return _mm512_reduce_max_ps(v); }

/* v + d in the lanes where a == b (a < b), v − d where a < b. */
static inline vec v_add_where_equal(vec v, vec a, vec b, vec d) {
    return _mm512_mask_add_ps(v, _mm512_cmp_ps_mask(a, b, _CMP_EQ_OQ), v, d);
}
static inline vec v_add_where_less(vec v, vec a, vec b, vec d) {
    return _mm512_mask_add_ps(v, _mm512_cmp_ps_mask(a, b, _CMP_LT_OQ), v, d);
}
static inline vec v_sub_where_less(vec v, vec a, vec b, vec d) {
    return _mm512_mask_sub_ps(v, _mm512_cmp_ps_mask(a, b, _CMP_LT_OQ), v, d);
}

/* Where a < b: the bits of c, else 0; yes, else no. Where x is NaN: yes, else no. */
static inline vec v_and_where_less(vec a, vec b, vec c) { return _mm512_maskz_mov_ps(_mm512_cmp_ps_mask(a, b, _CMP_LT_OQ), c); }
static inline vec v_select_less(vec a, vec b, vec yes, vec no) {
    return _mm512_mask_mov_ps(no, _mm512_cmp_ps_mask(a, b, _CMP_LT_OQ), yes);
}
static inline vec v_select_nan(vec x, vec yes, vec no) { return _mm512_mask_mov_ps(no, _mm512_cmp_ps_mask(x, x, _CMP_UNORD_Q), yes); }
static inline veci v_int_upper_half(veci a) { return _mm512_srli_epi32(a, 16); }

/* Lane i becomes lane i xor 1, 2, 4, 8; sign bits of the lanes whose index has bit h. */
static inline vec v_swap1(vec v) { return _mm512_permute_ps(v, 0xB1); }
static inline vec v_swap2(vec v) { return _mm512_permute_ps(v, 0x4E); }
static inline vec v_swap4(vec v) { return _mm512_shuffle_f32x4(v, v, 0xB1); }
static inline vec v_swap8(vec v) { return _mm512_shuffle_f32x4(v, v, 0x4E); }
static inline veci v_int_iota(void) { return _mm512_setr_epi32(0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15); }
static inline veci v_lane_signs(int h) {
    return _mm512_maskz_set1_epi32(_mm512_test_epi32_mask(v_int_iota(), v_int_set(h)), (int)0x80000000u);
}

/* Products of the even lanes, 64 bits each; moves between even and odd lanes. */
static inline veci v_int_mul_even(veci a, veci b) { return _mm512_mul_epu32(a, b); }
static inline veci v_int_odd_to_even(veci a) { return _mm512_srli_epi64(a, 32); }
static inline veci v_int_even_to_odd(veci a) { return _mm512_slli_epi64(a, 32); }
static inline veci v_int_blend_odd(veci even, veci odd) { return _mm512_mask_mov_epi32(even, 0xAAAA, odd); }
static inline vec v_uniform(veci word) { return _mm512_mul_ps(_mm512_cvtepi32_ps(_mm512_srli_epi32(word, 8)), v_set(0x1p-24f)); }

/* out[4i + k] = lane i of the k-th vector: 4×4 transposes inside of the 128-bit lanes, then of these. */
static inline void v_store4(float *out, vec a, vec b, vec c, vec d) {
    vec ab0 = _mm512_unpacklo_ps(a, b), ab1 = _mm512_unpackhi_ps(a, b), cd0 = _mm512_unpacklo_ps(c, d), cd1 = _mm512_unpackhi_ps(c, d);
    vec r0 = _mm512_shuffle_ps(ab0, cd0, 0x44), r1 = _mm512_shuffle_ps(ab0, cd0, 0xEE);
    vec r2 = _mm512_shuffle_ps(ab1, cd1, 0x44), r3 = _mm512_shuffle_ps(ab1, cd1, 0xEE);
    vec p0 = _mm512_shuffle_f32x4(r0, r1, 0x44), p1 = _mm512_shuffle_f32x4(r2, r3, 0x44);
    vec p2 = _mm512_shuffle_f32x4(r0, r1, 0xEE), p3 = _mm512_shuffle_f32x4(r2, r3, 0xEE);
    v_store(out, _mm512_shuffle_f32x4(p0, p1, 0x88));
    v_store(out + 16, _mm512_shuffle_f32x4(p0, p1, 0xDD));
    v_store(out + 32, _mm512_shuffle_f32x4(p2, p3, 0x88));
    v_store(out + 48, _mm512_shuffle_f32x4(p2, p3, 0xDD));
}

/* Rows become columns: 4×4 transposes inside of the 128-bit lanes, then of these. */
static inline void v_transpose(vec v[16]) {
    for (int i = 0; i < 16; i += 4) {
        vec ab0 = _mm512_unpacklo_ps(v[i], v[i + 1]), ab1 = _mm512_unpackhi_ps(v[i], v[i + 1]);
        vec cd0 = _mm512_unpacklo_ps(v[i + 2], v[i + 3]), cd1 = _mm512_unpackhi_ps(v[i + 2], v[i + 3]);
        v[i] = _mm512_shuffle_ps(ab0, cd0, 0x44);
        v[i + 1] = _mm512_shuffle_ps(ab0, cd0, 0xEE);
        v[i + 2] = _mm512_shuffle_ps(ab1, cd1, 0x44);
        v[i + 3] = _mm512_shuffle_ps(ab1, cd1, 0xEE);
    }
    for (int i = 0; i < 4; i++) {
        vec ab0 = _mm512_shuffle_f32x4(v[i], v[i + 4], 0x44), ab1 = _mm512_shuffle_f32x4(v[i], v[i + 4], 0xEE);
        vec cd0 = _mm512_shuffle_f32x4(v[i + 8], v[i + 12], 0x44), cd1 = _mm512_shuffle_f32x4(v[i + 8], v[i + 12], 0xEE);
        v[i] = _mm512_shuffle_f32x4(ab0, cd0, 0x88);
        v[i + 4] = _mm512_shuffle_f32x4(ab0, cd0, 0xDD);
        v[i + 8] = _mm512_shuffle_f32x4(ab1, cd1, 0x88);
        v[i + 12] = _mm512_shuffle_f32x4(ab1, cd1, 0xDD);
    }
}

#define QUANTIZE_TABLE fp4_cpu_kernels_avx512
#include "lib/kernels/cpu/quantize_template.h"
