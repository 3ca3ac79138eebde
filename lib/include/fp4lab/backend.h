/* fp4lab/backend.h: the table of operations that models are written against (lib/backend/backend.h), and the CPU's dense products. */
#ifndef FP4LAB_BACKEND_H
#define FP4LAB_BACKEND_H

#include "fp4lab/base.h"

struct fp4_backend; /* lib/backend/backend.h; the CPU's is fp4_backend_cpu() */
const struct fp4_backend *fp4_backend_cpu(void);

/* Loads OpenBLAS with the best core for this CPU (FP4LAB_BLAS_CORE overrides; Debian's 0.3.21 does not know Zen 4/5 and takes
 * Haswell's kernels), one thread inside: threads are ours. Called on first use; call it at start to see the error. */
fp4_status fp4_blas_init(void);
const char *fp4_blas_core(void); /* "SkylakeX", as OpenBLAS reports it */

/* AdamW (Loshchilov & Hutter 2019), decoupled decay on all parameters: p ← p(1 − lr·wd); m, v; p −= lr/(1−β₁ᵏ)·m/(√v/√(1−β₂ᵏ)+ε). */
struct fp4_adamw { double lr, beta1, beta2, eps, weight_decay; };
/* AdamW on plain arrays, for tests and for other users: step counts from 1. */
void fp4_adamw_update(size_t n, float *p, const float *g, float *m, float *v, const struct fp4_adamw *h, size_t step, float gradient_scale);

#endif
