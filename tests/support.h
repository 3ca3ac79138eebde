/* tests/support.h: what the suites share. Criterion's classic cr_assert_* macros only (the cr_assert(gt(...)) forms of 2.4.1 pass wrongly). */
#ifndef FP4LAB_TESTS_SUPPORT_H
#define FP4LAB_TESTS_SUPPORT_H

#include <criterion/criterion.h>

#include "fp4lab/base.h"

/* 1 in a build with ASan: GCC says so by a macro, Clang by a feature. */
#if defined __SANITIZE_ADDRESS__
#define SANITIZED 1
#elif defined __has_feature
#if __has_feature(address_sanitizer)
#define SANITIZED 1
#endif
#endif
#if !defined SANITIZED
#define SANITIZED 0
#endif

/* Asserts success and shows the library's message otherwise. */
#define must(expression) cr_assert_eq((expression), FP4_OK, "%s", fp4_last_error())

/* The folder of reference vectors: $FP4LAB_GOLDEN, else ../shared/golden. NULL when it is absent. */
const char *golden_folder(void);
/* Path of a file in it (static buffer, one for each of the last 8 calls); skips the running test, with its name printed, when the
 * folder or the file is absent. */
const char *golden_file(const char *relative);
/* Prints "SKIPPED name: why", which ci/test counts and shows, and ends the test as skipped. */
void skip_test(const char *what, const char *why) __attribute__((noreturn));
/* Skips the running test when the asset cache has not this text (fp4_documents_open). */
void need_text(const char *name);
/* Prints "VECTORS folder count": ci/test adds these up. */
void golden_count(const char *folder, size_t vectors);

/* A buffer of `bytes` that ends right before (or, with at_start, begins right after) an inaccessible page. */
void *guarded_alloc(size_t bytes, bool at_start);
void guarded_free(void *p, size_t bytes, bool at_start);

#endif
