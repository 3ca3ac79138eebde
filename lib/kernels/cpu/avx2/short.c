/* Short products, AVX2. */
#define SHORT_TABLE fp4_short_kernels_avx2
#include "lib/kernels/cpu/short_template.h"
