/* CPU backend: causal grouped-query attention in tiles of queries. A tile's scores [ROWS, keys it sees] are all of the T×T matrix
 * that exists at a time; the backward pass computes them again from the stored row maxima and reciprocal sums. */
#include <math.h>
#include <string.h>

#include "lib/backend/cpu.h"
#include "lib/backend/gemm.h"
#include "lib/kernels/cpu/nn_kernels.h"

enum { ROWS = 64 };

struct pass {
    const struct fp4_nn_kernels *k;
    struct fp4_attention a;
    size_t tiles, scratch_each;
    float scale, *scratch;
    const float *q, *key, *value, *out_in, *stats_in, *dout;
    float *out, *stats, *dq, *dk, *dv;
};

static float *scratch_of(const struct pass *p) {
    return p->scratch + (size_t)fp4_parallel_slot() * p->scratch_each;
}

static fp4_status begin(struct pass *p, size_t matrices) {
    size_t threads = (size_t)fp4_threads();
    p->k = fp4_nn_kernels();
    p->tiles = (p->a.Tq + ROWS - 1) / ROWS;
    p->scale = (float)(1.0 / sqrt((double)p->a.D));
    p->scratch_each = (matrices * ROWS * p->a.Tk + 15) / 16 * 16;
    return fp4_alloc(threads * p->scratch_each, sizeof *p->scratch, (void **)&p->scratch);
}

/* One tile of queries of one head: rows i0 … i0+n−1 see the keys before `seen`, the last row all of them. */
struct tile {
    size_t b, h, g, i0, n, seen;
    const float *q, *key, *value;
};
static struct tile tile_of(const struct pass *p, size_t b, size_t h, size_t index) {
    const struct fp4_attention *a = &p->a;
    struct tile t = {.b = b, .h = h, .g = h / (a->H / a->KV), .i0 = index * ROWS};
    t.n = a->Tq - t.i0 < ROWS ? a->Tq - t.i0 : ROWS;
    t.seen = a->Tk - a->Tq + t.i0 + t.n;
    t.q = p->q + (b * a->Tq + t.i0) * a->ldq + h * a->D;
    t.key = p->key + b * a->Tk * a->ldkv + t.g * a->D;
    t.value = p->value + b * a->Tk * a->ldkv + t.g * a->D;
    return t;
}
static float *stats_of(const struct pass *p, const struct tile *t, const float *stats, size_t row) {
    return (float *)stats + ((t->b * p->a.H + t->h) * p->a.Tq + t->i0 + row) * 2;
}

/* Dropout of row i's first n probabilities, or of what stands in their places. */
static void drop_row(const struct pass *p, const struct tile *t, size_t i, size_t n, float *x) {
    enum { PIECE = 512 };
    const struct fp4_dropout *d = &p->a.dropout;
    uint64_t row = ((uint64_t)t->b * p->a.H + t->h) * p->a.Tq + t->i0 + i;
    float u[PIECE];
    for (size_t j = 0; j < n; j += PIECE) {
        size_t count = n - j < PIECE ? n - j : PIECE;
        fp4_random_uniform(&d->random, row * p->a.Tk + j, count, u);
        p->k->drop(count, d->p, 1.0f / (1.0f - d->p), u, x + j, x + j);
    }
}

static void forward_tile(void *context, size_t task) {
    const struct pass *p = context;
    const struct fp4_attention *a = &p->a;
    /* the last tiles see most keys: they come first, so that threads end together */
    struct tile t = tile_of(p, task % (a->B * a->H) / a->H, task % a->H, p->tiles - 1 - task / (a->B * a->H));
    float *s = scratch_of(p);
    fp4_gemm_one(false, true, t.n, t.seen, a->D, 1.0f, t.q, a->ldq, t.key, a->ldkv, 0.0f, s, t.seen);
    for (size_t i = 0; i < t.n; i++) {
        float max, inverse;
        p->k->softmax(t.seen - t.n + i + 1, t.seen, p->scale, s + i * t.seen, &max, &inverse);
        if (p->stats) {
            float *row = stats_of(p, &t, p->stats, i);
            row[0] = max;
            row[1] = inverse;
        }
        if (a->dropout.p > 0)
            drop_row(p, &t, i, t.seen - t.n + i + 1, s + i * t.seen);
    }
    fp4_gemm_one(false, false, t.n, a->D, t.seen, 1.0f, s, t.seen, t.value, a->ldkv, 0.0f,
                 p->out + (t.b * a->Tq + t.i0) * a->H * a->D + t.h * a->D, a->H * a->D);
}

fp4_status fp4_cpu_attention(const struct fp4_attention *a, const float *q, const float *k, const float *v, float *out, float *stats) {
    struct pass p = {.a = *a, .q = q, .key = k, .value = v, .out = out, .stats = stats};
    FP4_TRY(begin(&p, 1));
    fp4_parallel_for(a->B * a->H * p.tiles, forward_tile, &p);
    fp4_free(p.scratch);
    return FP4_OK;
}

/* With P the probabilities: dV += Pᵀ dO, dP = dO Vᵀ, dS = P∘(dP − rowsum(dO∘O))/√D, dQ = dS K, dK += dSᵀ Q. Under dropout M: dV from P∘M and
 * dP∘M in place of dP; the row sum is the same, for it is that of (P∘M)∘dP. */
static void backward_tile(const struct pass *p, const struct tile *t) {
    const struct fp4_attention *a = &p->a;
    size_t width = a->H * a->D, at = (t->b * a->Tq + t->i0) * width + t->h * a->D;
    float *s = scratch_of(p), *ds = s + ROWS * t->seen;
    float *dk = p->dk + (t->key - p->key), *dv = p->dv + (t->value - p->value);
    fp4_gemm_one(false, true, t->n, t->seen, a->D, 1.0f, t->q, a->ldq, t->key, a->ldkv, 0.0f, s, t->seen);
    fp4_gemm_one(false, true, t->n, t->seen, a->D, 1.0f, p->dout + at, width, t->value, a->ldkv, 0.0f, ds, t->seen);
    for (size_t i = 0; i < t->n; i++) {
        const float *stats = stats_of(p, t, p->stats_in, i);
        size_t count = t->seen - t->n + i + 1;
        float dot = p->k->dot(a->D, p->dout + at + i * width, p->out_in + at + i * width);
        p->k->softmax_again(count, t->seen, p->scale, s + i * t->seen, stats[0], stats[1]);
        if (a->dropout.p > 0)
            drop_row(p, t, i, count, ds + i * t->seen);
        p->k->softmax_backward(t->seen, s + i * t->seen, ds + i * t->seen, dot, p->scale);
        if (a->dropout.p > 0)
            drop_row(p, t, i, count, s + i * t->seen);
    }
    fp4_gemm_one(true, false, t->seen, a->D, t->n, 1.0f, s, t->seen, p->dout + at, width, 1.0f, dv, a->ldkv);
    fp4_gemm_one(true, false, t->seen, a->D, t->n, 1.0f, ds, t->seen, t->q, a->ldq, 1.0f, dk, a->ldkv);
    fp4_gemm_one(false, false, t->n, a->D, t->seen, 1.0f, ds, t->seen, t->key, a->ldkv, 0.0f, p->dq + (t->q - p->q), a->ldq);
}

/* One sequence and key-value head: all that adds to its dk and dv, in order. */
static void backward_group(void *context, size_t task) {
    const struct pass *p = context;
    const struct fp4_attention *a = &p->a;
    size_t b = task / a->KV, g = task % a->KV, group = a->H / a->KV;
    for (size_t j = 0; j < a->Tk; j++) {
        memset(p->dk + (b * a->Tk + j) * a->ldkv + g * a->D, 0, a->D * sizeof *p->dk);
        memset(p->dv + (b * a->Tk + j) * a->ldkv + g * a->D, 0, a->D * sizeof *p->dv);
    }
    for (size_t h = g * group; h < (g + 1) * group; h++)
        for (size_t index = 0; index < p->tiles; index++) {
            struct tile t = tile_of(p, b, h, index);
            backward_tile(p, &t);
        }
}

fp4_status fp4_cpu_attention_backward(const struct fp4_attention *a, const float *q, const float *k, const float *v, const float *out,
                                      const float *stats, const float *dout, float *dq, float *dk, float *dv) {
    struct pass p = {.a = *a, .q = q, .key = k, .value = v, .out_in = out, .stats_in = stats, .dout = dout, .dq = dq, .dk = dk, .dv = dv};
    if (a->Tq != a->Tk)
        return fp4_fail(FP4_ERR_ARG, "attention backward: %zu queries but %zu keys", a->Tq, a->Tk);
    FP4_TRY(begin(&p, 2));
    fp4_parallel_for(a->B * a->KV, backward_group, &p);
    fp4_free(p.scratch);
    return FP4_OK;
}
