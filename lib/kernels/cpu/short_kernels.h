/* Products of a few rows with a large matrix, summed in float64.
 *
 * With few rows (a prompt, one token) a product waits for memory, not for arithmetic, so double precision costs nothing; it
 * removes most of the rounding noise of a forward pass: entropies of SmolLM2's prompts come five times closer to float64 than with fp32
 * sums (tests/test_smollm2.c). Products of two floats are exact in double: fused or not, on every rung, the bits are the
 * same, and these files are compiled with contraction allowed. */
#ifndef FP4LAB_KERNELS_CPU_SHORT_H
#define FP4LAB_KERNELS_CPU_SHORT_H

#include "fp4lab/formats.h"

/* C[m,n] = alpha·A[m,k]·op(B) + beta·C for one piece of columns; one thread. beta = 0 does not read C. */
struct fp4_short_kernels {
    /* B [n,k], rows as dot products: eight sums and a fixed tree. */
    void (*nt)(size_t m, size_t n, size_t k, float alpha, const float *a, size_t lda, const float *b, size_t ldb, float beta, float *c,
               size_t ldc);
    /* B [k,n]: one sum an element, in the order of k. n ≤ FP4_SHORT_COLUMNS. */
    void (*nn)(size_t m, size_t n, size_t k, float alpha, const float *a, size_t lda, const float *b, size_t ldb, float beta, float *c,
               size_t ldc);
};
enum { FP4_SHORT_ROWS = 32, FP4_SHORT_COLUMNS = 128 };

extern const struct fp4_short_kernels fp4_short_kernels_ref, fp4_short_kernels_avx2, fp4_short_kernels_avx512;
const struct fp4_short_kernels *fp4_short_kernels_of(enum fp4_cpu_level level);

#endif
