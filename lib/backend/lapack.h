/* lib/backend/lapack.h: dense factorisations through OpenBLAS's LAPACK. */
#ifndef FP4LAB_BACKEND_LAPACK_H
#define FP4LAB_BACKEND_LAPACK_H

#include "fp4lab/base.h"

/* a [n,n] symmetric positive definite, row-major → U in a's upper triangle (row-major), a⁻¹ = Uᵀ U; the lower triangle is undefined after.
 * FP4_ERR_NUMERIC when a is not positive definite. */
fp4_status fp4_inverse_cholesky_upper(size_t n, double *a);

#endif
