/* CPU backend: operations on ranges of elements, and the optimizer. Ranges are cut into tasks of a fixed size. */
#include <math.h>
#include <string.h>

#include "lib/backend/cpu.h"
#include "lib/kernels/cpu/nn_kernels.h"

enum { GRAIN = 1 << 15 }; /* elements a task: 128 KiB of each array */

struct range {
    const struct fp4_nn_kernels *k;
    size_t n;
    const float *a, *b, *c;
    float *x, *y, *z;
    float factor;
    enum fp4_activation activation;
    const struct fp4_adamw_scalars *scalars;
    double *sums;
};

static void over(size_t n, void (*body)(void *, size_t), struct range *r) {
    r->k = fp4_nn_kernels();
    r->n = n;
    fp4_parallel_for((n + GRAIN - 1) / GRAIN, body, r);
}

#define RANGE                                                 \
    struct range *r = context;                                \
    size_t i = task * GRAIN, n = r->n - i < GRAIN ? r->n - i : GRAIN

static void do_activate(void *context, size_t task) { RANGE; r->k->activate[r->activation](n, r->a + i, r->x + i); }
static void do_activate_backward(void *context, size_t task) {
    RANGE;
    r->k->activate_backward[r->activation](n, r->a + i, r->b + i, r->x + i);
}
static void do_silu_mul(void *context, size_t task) { RANGE; r->k->silu_mul(n, r->a + i, r->b + i, r->x + i); }
static void do_silu_mul_backward(void *context, size_t task) {
    RANGE;
    r->k->silu_mul_backward(n, r->a + i, r->b + i, r->c + i, r->x + i, r->y + i);
}
static void do_add(void *context, size_t task) { RANGE; r->k->add(n, r->a + i, r->x + i); }
static void do_scale(void *context, size_t task) { RANGE; r->k->scale(n, r->factor, r->x + i); }
static void do_copy(void *context, size_t task) { RANGE; memcpy(r->x + i, r->a + i, n * sizeof *r->x); }
static void do_zero(void *context, size_t task) { RANGE; memset(r->x + i, 0, n * sizeof *r->x); }
static void do_adamw(void *context, size_t task) {
    RANGE;
    r->k->adamw(n, r->x + i, r->a + i, r->y + i, r->z + i, r->scalars);
}
static void do_sum_squares(void *context, size_t task) { RANGE; r->sums[task] = r->k->sum_squares(n, r->a + i); }

fp4_status fp4_cpu_activate(enum fp4_activation f, size_t n, const float *x, float *y) {
    over(n, do_activate, &(struct range){.a = x, .x = y, .activation = f});
    return FP4_OK;
}
fp4_status fp4_cpu_activate_backward(enum fp4_activation f, size_t n, const float *x, const float *dy, float *dx) {
    over(n, do_activate_backward, &(struct range){.a = x, .b = dy, .x = dx, .activation = f});
    return FP4_OK;
}
fp4_status fp4_cpu_silu_mul(size_t n, const float *gate, const float *up, float *y) {
    over(n, do_silu_mul, &(struct range){.a = gate, .b = up, .x = y});
    return FP4_OK;
}
fp4_status fp4_cpu_silu_mul_backward(size_t n, const float *gate, const float *up, const float *dy, float *dgate, float *dup) {
    over(n, do_silu_mul_backward, &(struct range){.a = gate, .b = up, .c = dy, .x = dgate, .y = dup});
    return FP4_OK;
}
fp4_status fp4_cpu_add(size_t n, const float *x, float *y) {
    over(n, do_add, &(struct range){.a = x, .x = y});
    return FP4_OK;
}
fp4_status fp4_cpu_scale(size_t n, float a, float *x) {
    over(n, do_scale, &(struct range){.x = x, .factor = a});
    return FP4_OK;
}
fp4_status fp4_cpu_copy(size_t n, const float *from, float *to) {
    over(n, do_copy, &(struct range){.a = from, .x = to});
    return FP4_OK;
}
fp4_status fp4_cpu_zero(size_t n, float *p) {
    over(n, do_zero, &(struct range){.x = p});
    return FP4_OK;
}

fp4_status fp4_cpu_sum_squares(size_t n, const float *x, double *sum) {
    size_t tasks = (n + GRAIN - 1) / GRAIN;
    double *sums;
    FP4_TRY(FP4_NEW(sums, tasks));
    over(n, do_sum_squares, &(struct range){.a = x, .sums = sums});
    for (size_t i = 0; i < tasks; i++)
        *sum += sums[i];
    fp4_free(sums);
    return FP4_OK;
}

/* 1 − β and the bias corrections are taken in double: 1 − 0.999f is off by 1e-5. */
static struct fp4_adamw_scalars scalars_of(const struct fp4_adamw *h, size_t step, float gradient_scale) {
    return (struct fp4_adamw_scalars){
        .decay = (float)(1.0 - h->lr * h->weight_decay),
        .beta1 = (float)h->beta1,
        .one_minus_beta1 = (float)(1.0 - h->beta1),
        .beta2 = (float)h->beta2,
        .one_minus_beta2 = (float)(1.0 - h->beta2),
        .step = (float)(h->lr / (1.0 - pow(h->beta1, (double)step))),
        .root2 = (float)(1.0 / sqrt(1.0 - pow(h->beta2, (double)step))),
        .eps = (float)h->eps,
        .gradient_scale = gradient_scale,
    };
}

fp4_status fp4_cpu_adamw(size_t n, float *p, const float *g, float *m, float *v, const struct fp4_adamw *h, size_t step,
                         float gradient_scale) {
    struct fp4_adamw_scalars s = scalars_of(h, step, gradient_scale);
    over(n, do_adamw, &(struct range){.a = g, .x = p, .y = m, .z = v, .scalars = &s});
    return FP4_OK;
}

void fp4_adamw_update(size_t n, float *p, const float *g, float *m, float *v, const struct fp4_adamw *h, size_t step,
                      float gradient_scale) {
    struct fp4_adamw_scalars s = scalars_of(h, step, gradient_scale);
    fp4_nn_kernels()->adamw(n, p, g, m, v, &s);
}
