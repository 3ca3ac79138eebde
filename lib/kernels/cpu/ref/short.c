/* Short products, baseline instruction set. */
#define SHORT_TABLE fp4_short_kernels_ref
#include "lib/kernels/cpu/short_template.h"
