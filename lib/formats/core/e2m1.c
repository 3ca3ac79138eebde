/* Fake quantization of formats whose blocks are ±E2M1(|x|·factor)·step, on the fastest kernels. */
#include "lib/formats/core/e2m1.h"
#include "lib/kernels/cpu/kernels.h"

enum { BLOCKS = FP4_SEGMENT / 16 };

void fp4_fake_e2m1(const struct fp4_tensor *t, fp4_e2m1_scales scales, size_t rows, size_t n, size_t stride, const float *x,
                   const float *u, float *y) {
    const struct fp4_cpu_kernels *kernels = fp4_cpu_kernels_now();
    float factor[BLOCKS], step[BLOCKS];
    size_t blocks = (n + t->block - 1) / t->block;
    kernels->block_max(rows, n, stride, t->block, x, factor);
    for (size_t j = 0; j < blocks && t->clip != 1.0f; j++)
        factor[j] *= t->clip;
    scales(t, blocks, factor, factor, step);
    kernels->e2m1(t->q.rounding, rows, n, stride, t->block, x, u, factor, step, y);
}
