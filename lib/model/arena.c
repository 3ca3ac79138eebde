/* Memory of a pass: activations in one allocation, scratch buffers, rotary tables. */
#include <math.h>

#include "lib/model/internal.h"

/* First measures (memory NULL), then hands out. */
struct bump {
    float *memory;
    size_t used;
    bool overflow;
};
static float *take(struct bump *b, size_t rows, size_t cols) {
    size_t n, end;
    if (!fp4_size_mul(rows, cols, &n) || !fp4_size_add(n, 15, &n) || !fp4_size_add(b->used, n / 16 * 16, &end)) {
        b->overflow = true;
        return NULL;
    }
    float *p = b->memory ? b->memory + b->used : NULL;
    b->used = end;
    return p;
}

/* q, k, v: three buffers, or slices of one. */
static void lay_qkv(const struct fp4_config *c, struct bump *b, size_t R, float **q, float **k, float **v) {
    size_t width = c->n_head * c->head_dim, kv = c->n_kv_head * c->head_dim;
    *q = take(b, R, width + (fp4_packed(c) ? 2 * kv : 0));
    if (fp4_packed(c)) {
        *k = *q ? *q + width : NULL;
        *v = *q ? *k + kv : NULL;
    } else {
        *k = take(b, R, kv);
        *v = take(b, R, kv);
    }
}

static void lay_block(const struct fp4_config *c, struct bump *b, size_t R, bool grad, struct fp4_block_acts *a) {
    size_t d = c->n_embd;
    a->in = take(b, R, d);
    a->mid = grad ? take(b, R, d) : a->in;
    if (c->norm_after) {
        a->sum1 = grad ? take(b, R, d) : a->in;
        a->sum2 = grad ? take(b, R, d) : a->in;
        a->x1 = a->in;
        a->x2 = a->mid;
    } else {
        a->sum1 = a->in;
        a->sum2 = a->mid;
        a->x1 = take(b, R, d);
        a->x2 = grad ? take(b, R, d) : a->x1;
    }
    a->rstd1 = take(b, R, 1);
    a->rstd2 = take(b, R, 1);
    a->mean1 = fp4_layer_norm(c) ? take(b, R, 1) : NULL;
    a->mean2 = fp4_layer_norm(c) ? take(b, R, 1) : NULL;
    lay_qkv(c, b, R, &a->q, &a->k, &a->v);
    a->attention = take(b, R, c->n_head * c->head_dim);
    a->stats = grad ? take(b, R, 2 * c->n_head) : NULL;
    a->gate = fp4_gated(c) ? take(b, R, c->n_ff) : NULL;
    a->up = take(b, R, c->n_ff);
    a->act = grad ? take(b, R, c->n_ff) : a->up;
}

static void lay_gradients(const struct fp4_config *c, struct bump *b, size_t R, struct fp4_arena *a) {
    size_t d = c->n_embd;
    a->dx = take(b, R, d);
    a->dnorm = take(b, R, d);
    a->dhidden = take(b, R, c->n_word ? c->n_word : d);
    lay_qkv(c, b, R, &a->dq, &a->dk, &a->dv);
    a->dattention = take(b, R, c->n_head * c->head_dim);
    a->dgate = fp4_gated(c) ? take(b, R, c->n_ff) : NULL;
    a->dup = take(b, R, c->n_ff);
    a->dword = c->n_word ? take(b, R, c->n_word) : NULL;
    a->dbranch = c->dropout > 0 ? take(b, R, d) : NULL;
}

static void lay(const struct fp4_config *c, struct bump *b, size_t R, bool grad, struct fp4_arena *a) {
    for (size_t i = 0; i < c->n_layer; i++)
        if (grad || i == 0)
            lay_block(c, b, R, grad, &a->block[i]);
        else
            a->block[i] = a->block[0];
    a->last = grad ? take(b, R, c->n_embd) : a->block[0].in;
    a->normed = c->norm_after || c->no_final_norm ? a->last : take(b, R, c->n_embd);
    a->hidden = c->n_word ? take(b, R, c->n_word) : a->normed;
    a->rstd = take(b, R, 1);
    a->mean = fp4_layer_norm(c) ? take(b, R, 1) : NULL;
    a->word = c->n_word ? take(b, R, c->n_word) : NULL;
    a->branch = c->dropout > 0 ? take(b, R, c->n_embd) : NULL;
    if (grad)
        lay_gradients(c, b, R, a);
}

fp4_status fp4_arena_floats(struct fp4_model *m, size_t B, size_t T, bool grad, size_t *floats) {
    struct bump b = {0};
    size_t R;
    if (!fp4_size_mul(B, T, &R))
        return fp4_fail(FP4_ERR_ARG, "%zu sequences of %zu tokens are too many", B, T);
    lay(&m->config, &b, R, grad, &m->arena);
    if (b.overflow)
        return fp4_fail(FP4_ERR_ARG, "%zu sequences of %zu tokens are too many", B, T);
    *floats = b.used;
    return FP4_OK;
}

fp4_status fp4_arena_prepare(struct fp4_model *m, size_t B, size_t T, bool grad) {
    struct fp4_arena *a = &m->arena;
    size_t used = 0;
    if (a->memory && a->B == B && a->T == T && a->grad == grad)
        return FP4_OK;
    a->B = a->T = 0; /* what was laid out is gone from here on */
    FP4_TRY(fp4_arena_floats(m, B, T, grad, &used));
    if (used > a->capacity) {
        m->be->free(a->memory);
        a->memory = NULL;
        a->capacity = 0;
        FP4_TRY(m->be->alloc(used, &a->memory));
        a->capacity = used;
    }
    struct bump b = {.memory = a->memory};
    lay(&m->config, &b, B * T, grad, a);
    a->B = B;
    a->T = T;
    a->grad = grad;
    return FP4_OK;
}

static fp4_status grow(const struct fp4_backend *be, struct fp4_buffer *b, size_t n) {
    if (n <= b->capacity)
        return FP4_OK;
    be->free(b->p);
    *b = (struct fp4_buffer){0};
    FP4_TRY(be->alloc(n, &b->p));
    b->capacity = n;
    return FP4_OK;
}

fp4_status fp4_scratch(struct fp4_model *m, int use, size_t n, float **out) {
    FP4_TRY(grow(m->be, &m->scratch[use], n));
    *out = m->scratch[use].p;
    return FP4_OK;
}

void fp4_arena_release(struct fp4_model *m) {
    m->be->free(m->arena.memory);
    for (size_t i = 0; i < SCRATCH_COUNT; i++)
        m->be->free(m->scratch[i].p);
    m->be->free(m->cosine);
    m->be->free(m->sine);
    fp4_free(m->host.p);
}

/* Frequency of channel pair c. Llama: θ^(−2c/D), divided as rope scaling says. The write-up's net: θ^(−c/(D/4 − 1)) for c < D/4, else 0. */
static double frequency(const struct fp4_config *c, size_t channel) {
    if (c->arch != FP4_ARCH_WRITEUP_D)
        return pow(c->rope_theta, -2.0 * (double)channel / (double)c->head_dim) / fp4_rope_divisor(c, channel);
    size_t quarter = c->head_dim / 4;
    if (channel >= quarter)
        return 0.0;
    return quarter > 1 ? pow(c->rope_theta, -(double)channel / (double)(quarter - 1)) : 1.0;
}

fp4_status fp4_rotary_prepare(struct fp4_model *m, size_t positions) {
    if (!fp4_rotary(&m->config) || positions <= m->rotations)
        return FP4_OK;
    size_t half = m->config.head_dim / 2, n = positions * half;
    float *host;
    m->be->free(m->cosine);
    m->be->free(m->sine);
    m->cosine = m->sine = NULL;
    m->rotations = 0;
    FP4_TRY(m->be->alloc(n, &m->cosine));
    FP4_TRY(m->be->alloc(n, &m->sine));
    FP4_TRY(FP4_NEW(host, 2 * n));
    /* the write-up's net turns the other way */
    double sense = m->config.arch == FP4_ARCH_WRITEUP_D ? -1.0 : 1.0;
    for (size_t i = 0; i < n; i++) {
        double angle = (double)(i / half) * frequency(&m->config, i % half);
        host[i] = (float)cos(angle);
        host[n + i] = (float)(sense * sin(angle));
    }
    fp4_status status = m->be->upload(n, host, m->cosine);
    if (status == FP4_OK)
        status = m->be->upload(n, host + n, m->sine);
    fp4_free(host);
    if (status == FP4_OK)
        m->rotations = positions;
    return status;
}
