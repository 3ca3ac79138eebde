/* The transformer's kernels, baseline instruction set. */
#define NN_TABLE fp4_nn_kernels_ref
#include "lib/kernels/cpu/nn_template.h"
