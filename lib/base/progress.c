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

/* VmHWM of proc(5), which fp4_reset_peak_rss can lower; ru_maxrss never falls. */
size_t fp4_peak_rss(void) {
    char line[128];
    size_t kib = 0;
    FILE *f = fopen("/proc/self/status", "re");
    while (f && fgets(line, sizeof line, f))
        if (sscanf(line, "VmHWM: %zu kB", &kib) == 1)
            break;
    if (f)
        fclose(f);
    if (kib == 0) {
        struct rusage usage;
        getrusage(RUSAGE_SELF, &usage);
        kib = (size_t)usage.ru_maxrss;
    }
    return kib * 1024;
}

void fp4_reset_peak_rss(void) {
    FILE *f = fopen("/proc/self/clear_refs", "we");
    if (f) {
        fputs("5", f); /* proc(5): resets the peak resident set size */
        fclose(f);
    }
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
