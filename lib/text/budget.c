/* What one call may cost, by thread. */
#include "lib/text/budget.h"

#include <math.h>
#include <time.h>

static const double seconds_per_byte = 2e-6;
/* Unicode's normalization forms make up to 18 bytes of one (UAX 15), byte fallback 3; what tokenizers in use add besides is a few bytes a text. */
enum { GROWTH = 64, ALWAYS = 1 << 16 };

static _Thread_local struct {
    const char *name;
    double seconds, began, all;
    size_t bytes, most;
} budget;

void budget_begin(const char *name, size_t bytes, double seconds) {
    size_t most;
    budget.name = name;
    budget.seconds = budget.all = seconds + seconds_per_byte * (double)bytes;
    budget.began = budget_clock();
    budget.bytes = bytes;
    budget.most = fp4_size_mul(bytes, GROWTH, &most) && fp4_size_add(most, ALWAYS, &most) ? most : SIZE_MAX;
}

void budget_end(void) { budget.name = NULL; }

const char *budget_name(void) { return budget.name ? budget.name : "tokenizer"; }

fp4_status budget_text(size_t bytes) {
    if (!budget.name || bytes <= budget.most)
        return FP4_OK;
    return fp4_fail(FP4_ERR_FORMAT, "%s: it makes more than %zu bytes of a text of %zu", budget.name, budget.most,
                    budget.bytes);
}

fp4_status budget_time(void) {
    if (!budget.name || budget_clock() - budget.began <= budget.all)
        return FP4_OK;
    return fp4_fail(FP4_ERR_FORMAT, "%s: it takes too long with a text of %zu bytes", budget.name, budget.bytes);
}

double budget_clock(void) {
    struct timespec t;
    clock_gettime(CLOCK_THREAD_CPUTIME_ID, &t);
    return (double)t.tv_sec + 1e-9 * (double)t.tv_nsec;
}

double budget_seconds(void) { return budget.name ? budget.seconds : INFINITY; }
void budget_spend(double seconds) { budget.seconds -= seconds; }
