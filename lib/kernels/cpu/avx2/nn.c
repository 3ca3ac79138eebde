/* The transformer's kernels, AVX2. */
#define NN_TABLE fp4_nn_kernels_avx2
#include "lib/kernels/cpu/nn_template.h"
