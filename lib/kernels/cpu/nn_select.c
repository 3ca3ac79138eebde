/* Chooses the rung of the transformer's kernels. */
#include "lib/kernels/cpu/nn_kernels.h"
#include "lib/kernels/cpu/short_kernels.h"

const struct fp4_nn_kernels *fp4_nn_kernels_of(enum fp4_cpu_level level) {
    switch (level) {
    case FP4_CPU_AVX512: return &fp4_nn_kernels_avx512;
    case FP4_CPU_AVX2: return &fp4_nn_kernels_avx2;
    case FP4_CPU_REF: break;
    }
    return &fp4_nn_kernels_ref;
}

const struct fp4_nn_kernels *fp4_nn_kernels(void) { return fp4_nn_kernels_of(fp4_cpu_level()); }

const struct fp4_short_kernels *fp4_short_kernels_of(enum fp4_cpu_level level) {
    switch (level) {
    case FP4_CPU_AVX512: return &fp4_short_kernels_avx512;
    case FP4_CPU_AVX2: return &fp4_short_kernels_avx2;
    case FP4_CPU_REF: break;
    }
    return &fp4_short_kernels_ref;
}
