/* lib/base/memory.h: making allocations fail, for tests. Internal. */
#ifndef FP4LAB_BASE_MEMORY_H
#define FP4LAB_BASE_MEMORY_H

#include "fp4lab/base.h"

/* The n-th allocation of this thread from now on fails, once; 0: none. */
void memory_fail_at(size_t n);
/* Whether the failure that was asked for has come. */
bool memory_has_failed(void);
/* Asked by whoever allocates: true when this one has to fail. */
bool memory_fails(void);

#endif
