/* CPU backend: embedding, norms, rotation. */
#include "lib/backend/cpu.h"
#include "lib/kernels/cpu/nn_kernels.h"

enum { ROWS = 16, COLUMNS = 64 }; /* of one task */

/* ---- embedding ---- */

struct lookup {
    const struct fp4_embedding *e;
    size_t R;
    const int32_t *tokens;
    const float *in;
    float *out;
};

/* factor [n] of channels first … of a token: scale·(1 ± 2⁻²³), the sign being the top bit of the addressed word. */
static void factors(const struct fp4_embedding *e, int32_t token, size_t first, size_t n, float *factor) {
    uint32_t words[COLUMNS];
    struct fp4_random random = {.seed = e->replicate, .stream = FP4_STREAM_PERTURB};
    if (e->replicate)
        fp4_random_words(&random, (uint64_t)token * e->d + first, n, words);
    for (size_t i = 0; i < n; i++)
        factor[i] = e->replicate ? e->scale * (words[i] >> 31 ? 1.0f - 0x1p-23f : 1.0f + 0x1p-23f) : e->scale;
}

static void embed_rows(void *context, size_t task) {
    const struct lookup *l = context;
    size_t d = l->e->d;
    for (size_t t = task * ROWS; t < end_of(task * ROWS, ROWS, l->R); t++)
        for (size_t c = 0; c < d; c += COLUMNS) {
            float factor[COLUMNS];
            size_t n = end_of(c, COLUMNS, d) - c;
            const float *row = l->in + (size_t)(l->e->rows ? l->e->rows : l->tokens)[t] * d + c;
            factors(l->e, l->tokens[t], c, n, factor);
            for (size_t i = 0; i < n; i++)
                l->out[t * d + c + i] = row[i] * factor[i];
        }
}
fp4_status fp4_cpu_embed(const struct fp4_embedding *e, size_t R, const int32_t *tokens, const float *table, float *y) {
    struct lookup l = {e, R, tokens, table, y};
    fp4_parallel_for(tasks_of(R, ROWS), embed_rows, &l);
    return FP4_OK;
}

/* Tasks are columns, so that tokens that occur twice are added in order. */
static void embed_columns(void *context, size_t task) {
    const struct lookup *l = context;
    size_t d = l->e->d, c = task * COLUMNS, n = end_of(c, COLUMNS, d) - c;
    for (size_t t = 0; t < l->R; t++) {
        if (l->e->has_pad && l->tokens[t] == l->e->pad)
            continue;
        float factor[COLUMNS], *row = l->out + (size_t)l->tokens[t] * d + c;
        factors(l->e, l->tokens[t], c, n, factor);
        for (size_t i = 0; i < n; i++)
            row[i] += l->in[t * d + c + i] * factor[i];
    }
}
fp4_status fp4_cpu_embed_backward(const struct fp4_embedding *e, size_t R, const int32_t *tokens, const float *dy, float *dtable) {
    struct lookup l = {e, R, tokens, dy, dtable};
    fp4_parallel_for(tasks_of(e->d, COLUMNS), embed_columns, &l);
    return FP4_OK;
}

/* ---- RMSNorm and LayerNorm ---- */

struct norm {
    const struct fp4_nn_kernels *k;
    size_t R, d;
    const float *x, *w, *b, *mean_in, *rstd_in, *dy;
    float eps, *y, *mean, *rstd, *dw, *db;
};

static void norm_rows(void *context, size_t task) {
    const struct norm *n = context;
    for (size_t t = task * ROWS; t < end_of(task * ROWS, ROWS, n->R); t++)
        n->rstd[t] = n->k->norm(n->d, n->x + t * n->d, n->w, n->eps, n->y + t * n->d);
}
fp4_status fp4_cpu_norm(size_t R, size_t d, const float *x, const float *w, float eps, float *y, float *rstd) {
    struct norm n = {.k = fp4_nn_kernels(), .R = R, .d = d, .x = x, .w = w, .eps = eps, .y = y, .rstd = rstd};
    fp4_parallel_for(tasks_of(R, ROWS), norm_rows, &n);
    return FP4_OK;
}

static void norm_back_rows(void *context, size_t task) {
    const struct norm *n = context;
    for (size_t t = task * ROWS; t < end_of(task * ROWS, ROWS, n->R); t++)
        n->k->norm_backward(n->d, n->x + t * n->d, n->w, n->rstd_in[t], n->dy + t * n->d, n->y + t * n->d);
}
static void norm_back_columns(void *context, size_t task) {
    const struct norm *n = context;
    size_t c = task * COLUMNS;
    n->k->norm_backward_weight(n->R, end_of(c, COLUMNS, n->d) - c, n->d, n->x + c, n->rstd_in, n->dy + c, n->dw + c);
}
fp4_status fp4_cpu_norm_backward(size_t R, size_t d, const float *x, const float *w, const float *rstd, const float *dy, float *dx,
                                 float *dw) {
    struct norm n = {.k = fp4_nn_kernels(), .R = R, .d = d, .x = x, .w = w, .rstd_in = rstd, .dy = dy, .y = dx, .dw = dw};
    fp4_parallel_for(tasks_of(R, ROWS), norm_back_rows, &n);
    fp4_parallel_for(tasks_of(d, COLUMNS), norm_back_columns, &n);
    return FP4_OK;
}

static void layer_norm_rows(void *context, size_t task) {
    const struct norm *n = context;
    for (size_t t = task * ROWS; t < end_of(task * ROWS, ROWS, n->R); t++)
        n->rstd[t] = n->k->layer_norm(n->d, n->x + t * n->d, n->w, n->b, n->eps, n->y + t * n->d, &n->mean[t]);
}
fp4_status fp4_cpu_layer_norm(size_t R, size_t d, const float *x, const float *w, const float *b, float eps, float *y, float *mean,
                              float *rstd) {
    struct norm n = {.k = fp4_nn_kernels(), .R = R, .d = d, .x = x, .w = w, .b = b, .eps = eps, .y = y, .mean = mean, .rstd = rstd};
    fp4_parallel_for(tasks_of(R, ROWS), layer_norm_rows, &n);
    return FP4_OK;
}

static void layer_norm_back_rows(void *context, size_t task) {
    const struct norm *n = context;
    for (size_t t = task * ROWS; t < end_of(task * ROWS, ROWS, n->R); t++)
        n->k->layer_norm_backward(n->d, n->x + t * n->d, n->w, n->mean_in[t], n->rstd_in[t], n->dy + t * n->d, n->y + t * n->d);
}
static void layer_norm_back_columns(void *context, size_t task) {
    const struct norm *n = context;
    size_t c = task * COLUMNS, count = end_of(c, COLUMNS, n->d) - c;
    n->k->layer_norm_backward_weight(n->R, count, n->d, n->x + c, n->mean_in, n->rstd_in, n->dy + c, n->dw + c);
    n->k->column_sums(n->R, count, n->d, n->dy + c, n->db + c);
}
fp4_status fp4_cpu_layer_norm_backward(size_t R, size_t d, const float *x, const float *w, const float *mean, const float *rstd,
                                       const float *dy, float *dx, float *dw, float *db) {
    struct norm n = {.k = fp4_nn_kernels(), .R = R, .d = d, .x = x, .w = w, .mean_in = mean, .rstd_in = rstd, .dy = dy, .y = dx, .dw = dw, .db = db};
    fp4_parallel_for(tasks_of(R, ROWS), layer_norm_back_rows, &n);
    fp4_parallel_for(tasks_of(d, COLUMNS), layer_norm_back_columns, &n);
    return FP4_OK;
}

/* ---- rotation ---- */

struct rotation {
    const struct fp4_nn_kernels *k;
    size_t R, T, first, heads, D, ld;
    const float *cosine, *sine;
    bool inverse;
    float *x;
};
static void rotate_rows(void *context, size_t task) {
    const struct rotation *r = context;
    size_t half = r->D / 2;
    for (size_t t = task * ROWS; t < end_of(task * ROWS, ROWS, r->R); t++) {
        size_t at = (r->first + t % r->T) * half;
        for (size_t h = 0; h < r->heads; h++) {
            float *x = r->x + t * r->ld + h * r->D;
            r->k->rotate(half, x, x + half, r->cosine + at, r->sine + at, r->inverse);
        }
    }
}
fp4_status fp4_cpu_rotate(size_t R, size_t T, size_t first, size_t heads, size_t D, size_t ld, const float *cosine, const float *sine,
                          bool inverse, float *x) {
    struct rotation r = {fp4_nn_kernels(), R, T, first, heads, D, ld, cosine, sine, inverse, x};
    fp4_parallel_for(tasks_of(R, ROWS), rotate_rows, &r);
    return FP4_OK;
}
