/* lib/base/json.h: Jansson without its silent failures: 2.14 drops a character of a string when the parser's buffer cannot grow (and may then
 * end the program by an assertion), and a field when an object is copied without memory, and goes on. Here its allocations are watched. Internal. */
#ifndef FP4LAB_BASE_JSON_H
#define FP4LAB_BASE_JSON_H

#include <jansson.h>

#include "fp4lab/base.h"

/* json_loadb; NULL, and "out of memory" in *error (which must not be NULL), when any allocation failed on the way. */
json_t *json_parse(const void *bytes, size_t n, size_t flags, json_error_t *error);
/* Why a parse failed: FP4_ERR_MEMORY or FP4_ERR_FORMAT. */
fp4_status json_fault(const json_error_t *error);
/* json_dumps; NULL when any allocation failed on the way. free() it. */
char *json_text(const json_t *value, size_t flags);

/* Around many calls whose failures one by one are not looked at: what this thread builds from here on … */
void json_watch(void);
/* … FP4_ERR_MEMORY when an allocation of Jansson has failed since then: the values are not whole. */
fp4_status json_whole(const char *what);

#endif
