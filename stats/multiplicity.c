/* Adjusted p-values for families of tests. */
#include "stats/internal.h"

struct ordered {
    double p;
    size_t place;
};

static int by_p(const void *a, const void *b) {
    const struct ordered *x = a, *y = b;
    if (x->p != y->p)
        return x->p < y->p ? -1 : 1;
    return (x->place > y->place) - (x->place < y->place);
}

static fp4_status sort_p(size_t n, const double *p, struct ordered **out) {
    for (size_t i = 0; i < n; i++)
        if (!(p[i] >= 0 && p[i] <= 1))
            return fp4_fail(FP4_ERR_ARG, "p-value %zu is not between 0 and 1", i + 1);
    FP4_TRY(FP4_NEW(*out, n));
    for (size_t i = 0; i < n; i++)
        (*out)[i] = (struct ordered){p[i], i};
    qsort(*out, n, sizeof **out, by_p);
    return FP4_OK;
}

fp4_status fp4_holm(size_t n, const double *p, double *adjusted) {
    struct ordered *order;
    FP4_TRY(sort_p(n, p, &order));
    double largest = 0;
    for (size_t i = 0; i < n; i++) {
        largest = fmax(largest, fmin(1, (double)(n - i) * order[i].p));
        adjusted[order[i].place] = largest;
    }
    fp4_free(order);
    return FP4_OK;
}

fp4_status fp4_benjamini_hochberg(size_t n, const double *p, double *adjusted) {
    struct ordered *order;
    FP4_TRY(sort_p(n, p, &order));
    double least = 1;
    for (size_t i = n; i-- > 0;) {
        least = fmin(least, (double)n / (double)(i + 1) * order[i].p);
        adjusted[order[i].place] = least;
    }
    fp4_free(order);
    return FP4_OK;
}
