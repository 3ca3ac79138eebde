/* Dense fp32 products of the shapes that the models use: y [T,N] = x [T,K] W [N,K]ᵀ. */
#include "bench/list.h"

#include "lib/backend/gemm.h"

struct product {
    size_t t, n, k;
    float *x, *w, *y;
};

static fp4_status product_setup(const struct bench *b, void **state) {
    struct product *p;
    FP4_TRY(FP4_NEW(p, 1));
    p->t = b->size[0], p->n = b->size[1], p->k = b->size[2];
    FP4_TRY(bench_normal(p->t * p->k, 1, &p->x));
    FP4_TRY(bench_normal(p->n * p->k, 2, &p->w));
    FP4_TRY(FP4_NEW(p->y, p->t * p->n));
    *state = p;
    return FP4_OK;
}

static fp4_status product_run(void *state) {
    struct product *p = state;
    fp4_gemm(false, true, p->t, p->n, p->k, 1.0f, p->x, p->k, p->w, p->k, 0.0f, p->y, p->n);
    return FP4_OK;
}

fp4_status bench_add_gemm(const struct bench_options *o, struct bench_list *list) {
    /* One prompt and one window of SmolLM2's gate layer, and a square. */
    static const size_t shapes[][3] = {{20, 1536, 576}, {2048, 1536, 576}, {1024, 1024, 1024}};
    for (int threads = 1;; threads = o->threads) {
        for (size_t i = 0; i < sizeof shapes / sizeof shapes[0]; i++) {
            const size_t *s = shapes[i], divide = o->small ? 4 : 1;
            struct bench b = {.threads = threads, .setup = product_setup, .run = product_run, .item = "calls"};
            b.size[0] = s[0] / (i ? divide : 1), b.size[1] = s[1] / divide, b.size[2] = s[2] / divide;
            double t = (double)b.size[0], n = (double)b.size[1], k = (double)b.size[2];
            b.flops = 2.0 * t * n * k;
            b.bytes = sizeof(float) * (t * k + n * k + t * n);
            bench_name(&b, "gemm/%zux%zux%zu/threads:%d", b.size[0], b.size[1], b.size[2], threads);
            FP4_TRY(bench_add(list, &b));
        }
        if (threads == o->threads)
            return FP4_OK;
    }
}
