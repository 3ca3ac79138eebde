/* Parallel loops over independent tasks, by OpenMP. */
#include "fp4lab/base.h"

#include <omp.h>
#include <unistd.h>

static int threads; /* 0: not set yet */

void fp4_set_threads(int n) {
    if (n <= 0) {
        long online = sysconf(_SC_NPROCESSORS_ONLN);
        n = online > 0 ? (int)online : 1;
    }
    threads = n;
}

int fp4_threads(void) {
    if (threads == 0)
        fp4_set_threads(0);
    return threads;
}

void fp4_parallel_for(size_t n_tasks, void (*body)(void *context, size_t task), void *context) {
    int n = fp4_threads();
    if ((size_t)n > n_tasks)
        n = (int)n_tasks;
    if (n <= 1 || omp_in_parallel()) {
        for (size_t task = 0; task < n_tasks; task++)
            body(context, task);
        return;
    }
#pragma omp parallel for schedule(dynamic, 1) num_threads(n)
    for (size_t task = 0; task < n_tasks; task++)
        body(context, task);
}
