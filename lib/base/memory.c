/* Checked sizes and aligned memory. */
#include "lib/base/memory.h"

#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

/* From LARGE on, memory comes in huge pages where the kernel lends them on advice: weights are touched page by page at once, and
 * faults of 4 KiB would take longer than reading them. */
enum { ALIGNMENT = 64, HUGE = 2 << 20, LARGE = 2 * HUGE };

bool fp4_size_mul(size_t a, size_t b, size_t *out) {
    size_t product;
    if (__builtin_mul_overflow(a, b, &product))
        return false;
    *out = product;
    return true;
}

bool fp4_size_add(size_t a, size_t b, size_t *out) {
    size_t sum;
    if (__builtin_add_overflow(a, b, &sum))
        return false;
    *out = sum;
    return true;
}

static _Thread_local size_t fail_at; /* 0: never */
static _Thread_local bool failed;

void memory_fail_at(size_t n) {
    fail_at = n;
    failed = false;
}

bool memory_has_failed(void) { return failed; }

bool memory_fails(void) {
    if (fail_at == 0 || --fail_at > 0)
        return false;
    return failed = true;
}

fp4_status fp4_alloc(size_t n, size_t size, void **out) {
    size_t bytes, padded;
    *out = NULL;
    if (!fp4_size_mul(n, size, &bytes) || !fp4_size_add(bytes, HUGE, &padded))
        return fp4_fail(FP4_ERR_MEMORY, "allocation of %zu x %zu bytes overflows", n, size);
    size_t alignment = bytes < LARGE ? ALIGNMENT : HUGE;
    padded = (bytes / alignment + (bytes % alignment != 0 || bytes == 0)) * alignment; /* aligned_alloc wants a multiple */
    void *p = memory_fails() ? NULL : aligned_alloc(alignment, padded);
    if (!p)
        return fp4_fail(FP4_ERR_MEMORY, "out of memory: %zu bytes wanted", bytes);
    if (bytes >= LARGE)
        madvise(p, padded, MADV_HUGEPAGE); /* advice: without it the same memory in small pages */
    memset(p, 0, bytes);
    *out = p;
    return FP4_OK;
}

fp4_status fp4_reserve(void **list, size_t used, size_t want, size_t size, size_t *room) {
    enum { LEAST = 16 };
    size_t wider = *room < SIZE_MAX / 2 ? 2 * *room : want;
    void *longer;
    if (*list && want <= *room)
        return FP4_OK;
    wider = wider < want ? want : wider;
    wider = wider < LEAST ? LEAST : wider;
    FP4_TRY(fp4_alloc(wider, size, &longer));
    if (used)
        memcpy(longer, *list, used * size);
    fp4_free(*list);
    *list = longer;
    *room = wider;
    return FP4_OK;
}

void fp4_free(void *p) { free(p); }

fp4_status fp4_strdup(const char *s, char **out) {
    size_t n = strlen(s) + 1;
    FP4_TRY(FP4_NEW(*out, n));
    memcpy(*out, s, n);
    return FP4_OK;
}
