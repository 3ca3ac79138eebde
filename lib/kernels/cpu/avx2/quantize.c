/* Quantization kernels for AVX2: eight lanes, two registers a block of 16. */
#include "lib/kernels/cpu/kernels.h"

#include <immintrin.h>

#define V_LANES 8
typedef __m256 vec;
typedef __m256i veci;

static inline vec v_load(const float *p) { return _mm256_loadu_ps(p); }
static inline void v_store(float *p, vec v) { _mm256_storeu_ps(p, v); }
static inline void v_int_store(uint32_t *p, veci v) { _mm256_storeu_si256((__m256i *)p, v); }
static inline vec v_set(float x) { return _mm256_set1_ps(x); }
static inline veci v_int_set(int x) { return _mm256_set1_epi32(x); }
static inline veci v_to_int(vec v) { return _mm256_castps_si256(v); }
static inline vec v_from_int(veci v) { return _mm256_castsi256_ps(v); }
static inline vec v_and(vec a, vec b) { return _mm256_and_ps(a, b); }
static inline vec v_or(vec a, vec b) { return _mm256_or_ps(a, b); }
static inline vec v_xor(vec a, vec b) { return _mm256_xor_ps(a, b); }
static inline vec v_add(vec a, vec b) { return _mm256_add_ps(a, b); }
static inline vec v_sub(vec a, vec b) { return _mm256_sub_ps(a, b); }
static inline vec v_mul(vec a, vec b) { return _mm256_mul_ps(a, b); }
static inline vec v_div(vec a, vec b) { return _mm256_div_ps(a, b); }
/* The second operand when one of them is NaN. */
static inline vec v_min(vec a, vec b) { return _mm256_min_ps(a, b); }
static inline vec v_max(vec a, vec b) { return _mm256_max_ps(a, b); }
static inline veci v_int_and(veci a, veci b) { return _mm256_and_si256(a, b); }
static inline veci v_int_xor(veci a, veci b) { return _mm256_xor_si256(a, b); }
static inline veci v_int_add(veci a, veci b) { return _mm256_add_epi32(a, b); }
static inline veci v_int_max(veci a, veci b) { return _mm256_max_epi32(a, b); }
static inline float v_reduce_max(vec v) {
    __m128 m = _mm_max_ps(_mm256_castps256_ps128(v), _mm256_extractf128_ps(v, 1));
    m = _mm_max_ps(m, _mm_movehl_ps(m, m));
    return _mm_cvtss_f32(_mm_max_ss(m, _mm_shuffle_ps(m, m, 1)));
}

/* v + d in the lanes where a == b (a < b), v − d where a < b. */
static inline vec v_add_where_equal(vec v, vec a, vec b, vec d) {
    return _mm256_blendv_ps(v, _mm256_add_ps(v, d), _mm256_cmp_ps(a, b, _CMP_EQ_OQ));
}
static inline vec v_add_where_less(vec v, vec a, vec b, vec d) {
    return _mm256_blendv_ps(v, _mm256_add_ps(v, d), _mm256_cmp_ps(a, b, _CMP_LT_OQ));
}
static inline vec v_sub_where_less(vec v, vec a, vec b, vec d) {
    return _mm256_blendv_ps(v, _mm256_sub_ps(v, d), _mm256_cmp_ps(a, b, _CMP_LT_OQ));
}

/* Where a < b: the bits of c, else 0; yes, else no. Where x is NaN: yes, else no. */
static inline vec v_and_where_less(vec a, vec b, vec c) { return _mm256_and_ps(_mm256_cmp_ps(a, b, _CMP_LT_OQ), c); }
static inline vec v_select_less(vec a, vec b, vec yes, vec no) { return _mm256_blendv_ps(no, yes, _mm256_cmp_ps(a, b, _CMP_LT_OQ)); }
static inline vec v_select_nan(vec x, vec yes, vec no) { return _mm256_blendv_ps(no, yes, _mm256_cmp_ps(x, x, _CMP_UNORD_Q)); }
static inline veci v_int_upper_half(veci a) { return _mm256_srli_epi32(a, 16); }

/* Lane i becomes lane i xor 1, 2, 4; sign bits of the lanes whose index has bit h. */
static inline vec v_swap1(vec v) { return _mm256_permute_ps(v, 0xB1); }
static inline vec v_swap2(vec v) { return _mm256_permute_ps(v, 0x4E); }
static inline vec v_swap4(vec v) { return _mm256_permute2f128_ps(v, v, 1); }
static inline veci v_int_iota(void) { return _mm256_setr_epi32(0, 1, 2, 3, 4, 5, 6, 7); }
static inline veci v_lane_signs(int h) {
    veci bit = _mm256_and_si256(v_int_iota(), v_int_set(h));
    return _mm256_and_si256(_mm256_cmpeq_epi32(bit, v_int_set(h)), v_int_set((int)0x80000000u));
}

/* Products of the even lanes, 64 bits each; moves between even and odd lanes. */
static inline veci v_int_mul_even(veci a, veci b) { return _mm256_mul_epu32(a, b); }
static inline veci v_int_odd_to_even(veci a) { return _mm256_srli_epi64(a, 32); }
static inline veci v_int_even_to_odd(veci a) { return _mm256_slli_epi64(a, 32); }
static inline veci v_int_blend_odd(veci even, veci odd) { return _mm256_blend_epi32(even, odd, 0xAA); }
static inline vec v_uniform(veci word) { return _mm256_mul_ps(_mm256_cvtepi32_ps(_mm256_srli_epi32(word, 8)), v_set(0x1p-24f)); }

/* out[4i + k] = lane i of the k-th vector: 4×4 transposes inside of the 128-bit halves, then the halves. */
static inline void v_store4(float *out, vec a, vec b, vec c, vec d) {
    vec ab0 = _mm256_unpacklo_ps(a, b), ab1 = _mm256_unpackhi_ps(a, b), cd0 = _mm256_unpacklo_ps(c, d), cd1 = _mm256_unpackhi_ps(c, d);
    vec r0 = _mm256_shuffle_ps(ab0, cd0, 0x44), r1 = _mm256_shuffle_ps(ab0, cd0, 0xEE);
    vec r2 = _mm256_shuffle_ps(ab1, cd1, 0x44), r3 = _mm256_shuffle_ps(ab1, cd1, 0xEE);
    v_store(out, _mm256_permute2f128_ps(r0, r1, 0x20));
    v_store(out + 8, _mm256_permute2f128_ps(r2, r3, 0x20));
    v_store(out + 16, _mm256_permute2f128_ps(r0, r1, 0x31));
    v_store(out + 24, _mm256_permute2f128_ps(r2, r3, 0x31));
}

/* Rows become columns: 4×4 transposes inside of the 128-bit lanes, then of these. */
static inline void v_transpose(vec v[8]) {
    for (int i = 0; i < 8; i += 4) {
        vec ab0 = _mm256_unpacklo_ps(v[i], v[i + 1]), ab1 = _mm256_unpackhi_ps(v[i], v[i + 1]);
        vec cd0 = _mm256_unpacklo_ps(v[i + 2], v[i + 3]), cd1 = _mm256_unpackhi_ps(v[i + 2], v[i + 3]);
        v[i] = _mm256_shuffle_ps(ab0, cd0, 0x44);
        v[i + 1] = _mm256_shuffle_ps(ab0, cd0, 0xEE);
        v[i + 2] = _mm256_shuffle_ps(ab1, cd1, 0x44);
        v[i + 3] = _mm256_shuffle_ps(ab1, cd1, 0xEE);
    }
    for (int i = 0; i < 4; i++) {
        vec a = v[i], b = v[i + 4];
        v[i] = _mm256_permute2f128_ps(a, b, 0x20);
        v[i + 4] = _mm256_permute2f128_ps(a, b, 0x31);
    }
}

#define QUANTIZE_TABLE fp4_cpu_kernels_avx2
#include "lib/kernels/cpu/quantize_template.h"
