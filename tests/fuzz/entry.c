/* What libFuzzer calls. One program for all targets: it runs the one that it is named after. */
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "tests/fuzz/fuzz.h"

/* Processor time that one input may take, in this build with its sanitizers. The alarm of libFuzzer goes by the clock on the wall, which
 * on a busy machine says little: it is set high, for loops without an end. */
static const double CPU_SECONDS = 2;

static const struct fuzz_target *target;

int LLVMFuzzerInitialize(int *argc, char ***argv);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerInitialize(int *argc, char ***argv) {
    (void)argc;
    const char *name = strrchr((*argv)[0], '/');
    target = fuzz_find(name ? name + 1 : (*argv)[0]);
    if (!target) {
        fprintf(stderr, "%s: not the name of a fuzz target\n", (*argv)[0]);
        exit(2);
    }
    fp4_set_threads(1);
    return 0;
}

static double cpu_now(void) {
    struct timespec t;
    clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &t);
    return (double)t.tv_sec + 1e-9 * (double)t.tv_nsec;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    double start = cpu_now();
    target->run(data, size);
    double seconds = cpu_now() - start;
    if (seconds > CPU_SECONDS) {
        fprintf(stderr, "%s: %.1f s of processor time for an input of %zu bytes\n", target->name, seconds, size);
        abort();
    }
    return 0;
}
