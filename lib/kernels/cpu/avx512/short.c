/* Short products, AVX-512. */
#define SHORT_TABLE fp4_short_kernels_avx512
#include "lib/kernels/cpu/short_template.h"
