/* Eight floats as doubles, for the templates of nn and short. GCC 12 makes five instructions of __builtin_convertvector at this size
 * where AVX-512 has one. */
#ifndef FP4LAB_KERNELS_CPU_WIDEN_H
#define FP4LAB_KERNELS_CPU_WIDEN_H

#include <string.h>

#ifdef __AVX512F__
#include <immintrin.h>
#endif

typedef float vf8 __attribute__((vector_size(32)));
typedef double vd __attribute__((vector_size(64)));

static inline __attribute__((always_inline)) vd load_widened(const float *p) {
    vf8 v;
    memcpy(&v, p, sizeof v);
#ifdef __AVX512F__
    return (vd)_mm512_cvtps_pd((__m256)v);
#else
    return __builtin_convertvector(v, vd);
#endif
}

#endif
