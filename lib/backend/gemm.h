/* lib/backend/gemm.h: dense fp32 matrix products through OpenBLAS. Row-major; leading dimensions in elements. */
#ifndef FP4LAB_BACKEND_GEMM_H
#define FP4LAB_BACKEND_GEMM_H

#include "fp4lab/base.h"

/* C[m,n] = alpha · op(A)[m,k] · op(B)[k,n] + beta · C, op = transposition where asked. C is cut into tiles by its shape alone, each
 * computed by one thread in OpenBLAS's order: same bits for any number of threads. fp4_blas_init must have succeeded. */
void fp4_gemm(bool transpose_a, bool transpose_b, size_t m, size_t n, size_t k, float alpha, const float *a, size_t lda,
              const float *b, size_t ldb, float beta, float *c, size_t ldc);
/* The same in the calling thread and as one call: for use inside a parallel loop. */
void fp4_gemm_one(bool transpose_a, bool transpose_b, size_t m, size_t n, size_t k, float alpha, const float *a, size_t lda,
                  const float *b, size_t ldb, float beta, float *c, size_t ldc);

#endif
