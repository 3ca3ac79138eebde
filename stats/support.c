/* Sums, ranks and checks that the methods share. */
#include "stats/internal.h"

fp4_status fp4_check_conf(double conf) {
    if (!(conf > 0 && conf < 1))
        return fp4_fail(FP4_ERR_ARG, "confidence %g is not between 0 and 1", conf);
    return FP4_OK;
}

fp4_status fp4_check_finite(size_t n, const double *x) {
    for (size_t i = 0; i < n; i++)
        if (!isfinite(x[i]))
            return fp4_fail(FP4_ERR_NUMERIC, "observation %zu is not a finite number", i + 1);
    return FP4_OK;
}

double fp4_sum(size_t n, const double *x) {
    double sum = 0, lost = 0;
    for (size_t i = 0; i < n; i++) {
        double next = sum + x[i];
        lost += fabs(sum) >= fabs(x[i]) ? (sum - next) + x[i] : (x[i] - next) + sum;
        sum = next;
    }
    return sum + lost;
}

double fp4_mean(size_t n, const double *x) {
    double mean = fp4_sum(n, x) / (double)n, deviation = 0;
    for (size_t i = 0; i < n; i++)
        deviation += x[i] - mean;
    return mean + deviation / (double)n;
}

static int ascending(const void *a, const void *b) {
    double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

void fp4_sort_doubles(size_t n, double *x) {
    qsort(x, n, sizeof *x, ascending);
}

/* A value sorts by itself, then by its place. */
struct keyed {
    double key;
    size_t place;
};

static int by_key(const void *a, const void *b) {
    const struct keyed *x = a, *y = b;
    if (x->key != y->key)
        return x->key < y->key ? -1 : 1;
    return (x->place > y->place) - (x->place < y->place);
}

fp4_status fp4_doubled_midranks(size_t n, const double *key, int64_t *rank2, bool *tied) {
    struct keyed *order;
    FP4_TRY(FP4_NEW(order, n));
    for (size_t i = 0; i < n; i++)
        order[i] = (struct keyed){key[i], i};
    qsort(order, n, sizeof *order, by_key);
    *tied = false;
    for (size_t first = 0, last; first < n; first = last + 1) {
        for (last = first; last + 1 < n && order[last + 1].key == order[first].key; last++)
            *tied = true;
        for (size_t i = first; i <= last; i++)
            rank2[order[i].place] = (int64_t)(first + 1 + last + 1);
    }
    fp4_free(order);
    return FP4_OK;
}

struct fp4_interval fp4_around(double center, double half) {
    return (struct fp4_interval){center - half, center + half};
}

double fp4_t_two_sided(double t, double df) {
    return fmin(1, 2 * fp4_t_upper(fabs(t), df));
}
