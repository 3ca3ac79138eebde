/* Progress lines on a terminal's stderr; clock and memory of the process. */
#include "fp4lab/base.h"

#include <sys/resource.h>
#include <time.h>
#include <unistd.h>

double fp4_now(void) {
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + 1e-9 * (double)t.tv_nsec;
}

size_t fp4_peak_rss(void) {
    struct rusage usage;
    getrusage(RUSAGE_SELF, &usage);
    return (size_t)usage.ru_maxrss * 1024; /* Linux counts in KiB */
}

void fp4_progress_begin(struct fp4_progress *p, const char *label, double total) {
    *p = (struct fp4_progress){label, total, fp4_now(), 0, isatty(STDERR_FILENO) != 0};
}

void fp4_progress_update(struct fp4_progress *p, double done) {
    double now = fp4_now();
    if (!p->on || now - p->last_drawn < 0.1)
        return;
    p->last_drawn = now;
    double share = p->total > 0 ? done / p->total : 0, elapsed = now - p->start;
    char bar[31];
    for (int i = 0; i < 30; i++)
        bar[i] = (double)i < share * 30 ? '#' : '.';
    bar[30] = 0;
    fprintf(stderr, "\r%-28.28s [%s] %3.0f %%  %.0f s", p->label, bar, 100 * share, elapsed);
    if (share > 0.02)
        fprintf(stderr, ", %.0f s left ", elapsed * (1 - share) / share);
    fflush(stderr);
}

void fp4_progress_end(struct fp4_progress *p) {
    if (p->on)
        fprintf(stderr, "\r\033[K");
    p->on = false;
}
