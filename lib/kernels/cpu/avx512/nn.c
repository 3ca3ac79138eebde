/* The transformer's kernels, AVX-512. */
#define NN_TABLE fp4_nn_kernels_avx512
#include "lib/kernels/cpu/nn_template.h"
