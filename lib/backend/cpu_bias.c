/* CPU backend: biases, learned positions, dropout. Tasks are cut by shape, sums run in row order. */
#include "lib/backend/cpu.h"
#include "lib/kernels/cpu/nn_kernels.h"

enum { ROWS = 16, COLUMNS = 64, GRAIN = 1 << 12 };

/* R rows of d elements, and a table of T rows that they meet in turn: which of the two `in` and `out` are is the task's. */
struct rows {
    const struct fp4_nn_kernels *k;
    size_t R, T, d;
    const float *in;
    float *out;
};

static void add_rows(void *context, size_t task) {
    const struct rows *r = context;
    for (size_t t = task * ROWS; t < end_of(task * ROWS, ROWS, r->R); t++)
        r->k->add(r->d, r->in + t % r->T * r->d, r->out + t * r->d);
}
fp4_status fp4_cpu_add_bias(size_t R, size_t n, const float *b, float *y) {
    struct rows r = {fp4_nn_kernels(), R, 1, n, b, y};
    fp4_parallel_for(tasks_of(R, ROWS), add_rows, &r);
    return FP4_OK;
}
fp4_status fp4_cpu_add_positions(size_t R, size_t T, size_t first, size_t d, const float *table, float *x) {
    struct rows r = {fp4_nn_kernels(), R, T, d, table + first * d, x};
    fp4_parallel_for(tasks_of(R, ROWS), add_rows, &r);
    return FP4_OK;
}

static void sum_columns(void *context, size_t task) {
    const struct rows *r = context;
    size_t c = task * COLUMNS;
    r->k->column_sums(r->R, end_of(c, COLUMNS, r->d) - c, r->d, r->in + c, r->out + c);
}
fp4_status fp4_cpu_bias_backward(size_t R, size_t n, const float *dy, float *db) {
    struct rows r = {fp4_nn_kernels(), R, 1, n, dy, db};
    fp4_parallel_for(tasks_of(n, COLUMNS), sum_columns, &r);
    return FP4_OK;
}

/* One position: all sequences, in order. */
static void sum_position(void *context, size_t t) {
    const struct rows *r = context;
    for (size_t row = t; row < r->R; row += r->T)
        r->k->add(r->d, r->in + row * r->d, r->out + t * r->d);
}
fp4_status fp4_cpu_positions_backward(size_t R, size_t T, size_t first, size_t d, const float *dx, float *dtable) {
    struct rows r = {fp4_nn_kernels(), R, T, d, dx, dtable + first * d};
    fp4_parallel_for(T, sum_position, &r);
    return FP4_OK;
}

struct dropping {
    const struct fp4_nn_kernels *k;
    const struct fp4_dropout *d;
    size_t n;
    const float *x;
    float *y;
};
static void drop_range(void *context, size_t task) {
    const struct dropping *r = context;
    float u[GRAIN];
    size_t i = task * GRAIN, n = end_of(i, GRAIN, r->n) - i;
    fp4_random_uniform(&r->d->random, i, n, u);
    r->k->drop(n, r->d->p, 1.0f / (1.0f - r->d->p), u, r->x + i, r->y + i);
}
fp4_status fp4_cpu_drop(const struct fp4_dropout *d, size_t n, const float *x, float *y) {
    struct dropping r = {fp4_nn_kernels(), d, n, x, y};
    fp4_parallel_for(tasks_of(n, GRAIN), drop_range, &r);
    return FP4_OK;
}
