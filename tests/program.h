/* tests/program.h: running the built programs as a user does. */
#ifndef FP4LAB_TESTS_PROGRAM_H
#define FP4LAB_TESTS_PROGRAM_H

#include <limits.h>

#include "fp4lab/base.h"

struct outcome {
    int status;
    char *out, *err; /* malloc'ed; outcome_free */
    double cpu_seconds;
    size_t peak_rss; /* bytes; the kernel counts the test's own at the time of the fork in */
};

/* Path of a program beside the folder of the test binaries; skips the test when it is not built. */
void program_path(const char *name, char path[PATH_MAX]);
/* An unlinked temporary file. */
int scratch_file(void);
/* The whole of a file as text; closes it. free() it. */
char *slurp(int fd);
/* Runs a program of the build with standard output into `out` (read back and closed). argv[0] is its name. One that a signal ends, or
 * that has not ended after a minute, fails the test. */
struct outcome program_run(char *const *argv, int out);
void outcome_free(struct outcome o);

#endif
