/* Forward pass. */
#include <math.h>

#include "lib/model/internal.h"

static fp4_status check_tokens(const struct fp4_model *m, const int32_t *tokens, size_t n, size_t T) {
    if (n == 0 || T == 0)
        return fp4_fail(FP4_ERR_ARG, "no tokens: at least one is needed");
    if (T > m->config.n_ctx)
        return fp4_fail(FP4_ERR_ARG, "%zu tokens in a sequence: this model's context is %zu", T, m->config.n_ctx);
    for (size_t i = 0; i < n; i++)
        if (tokens[i] < 0 || (size_t)tokens[i] >= m->config.n_vocab)
            return fp4_fail(FP4_ERR_ARG, "token %d at position %zu: the vocabulary has %zu", tokens[i], i, m->config.n_vocab);
    return FP4_OK;
}

struct fp4_embedding fp4_embedding_of(const struct fp4_model *m) {
    const struct fp4_config *c = &m->config;
    return (struct fp4_embedding){.d = fp4_model_width(m), .scale = c->arch == FP4_ARCH_WRITEUP_D ? (float)sqrt((double)c->n_embd) : 1.0f,
                                  .replicate = m->pass.replicate, .has_pad = c->has_pad, .pad = c->pad_id};
}

/* Tokens of R / T sequences at positions first … → the first block's `in`. */
static fp4_status forward_embed(struct fp4_model *m, const int32_t *tokens, size_t R, size_t T, size_t first) {
    struct fp4_embedding e = fp4_embedding_of(m);
    float *x = m->arena.block[0].in, *rows = m->arena.word ? m->arena.word : x;
    const float *table;
    FP4_TRY(fp4_weights_embedding(m, tokens, R, &table, &e.rows));
    FP4_TRY(m->be->embed(&e, R, tokens, table, rows));
    if (m->project_in != SIZE_MAX)
        FP4_TRY(fp4_linear_forward(m, &m->linear[m->project_in], R, rows, x, false));
    return m->positions == SIZE_MAX ? FP4_OK : m->be->add_positions(R, T, first + OPT_POSITION_OFFSET, m->config.n_embd, m->params[m->positions].data, x);
}

struct fp4_attention fp4_attention_of(const struct fp4_model *m, size_t layer, size_t B, size_t T) {
    const struct fp4_config *c = &m->config;
    size_t D = c->head_dim, width = c->n_head * D, kv = c->n_kv_head * D, all = width + 2 * kv;
    bool packed = fp4_packed(c);
    return (struct fp4_attention){B, T, T, c->n_head, c->n_kv_head, D, packed ? all : width, packed ? all : kv, fp4_drop_of(m, layer, DROP_PROBABILITIES)};
}

static fp4_status rotate(struct fp4_model *m, const struct fp4_attention *s, const struct fp4_block_acts *a, size_t first) {
    size_t R = s->B * s->Tq;
    if (!fp4_rotary(&m->config))
        return FP4_OK;
    FP4_TRY(m->be->rotate(R, s->Tq, first, s->H, s->D, s->ldq, m->cosine, m->sine, false, a->q));
    return m->be->rotate(R, s->Tq, first, s->KV, s->D, s->ldkv, m->cosine, m->sine, false, a->k);
}

/* Attention over this pass's keys, or over the cache's with these appended. */
static fp4_status attend(struct fp4_model *m, size_t layer, struct fp4_attention *s, const struct fp4_block_acts *a, struct fp4_cache *cache) {
    size_t kv = s->KV * s->D;
    FP4_TRY(rotate(m, s, a, cache ? cache->used : 0));
    if (!cache)
        return m->be->attention(s, a->q, a->k, a->v, a->attention, a->stats);
    FP4_TRY(m->be->copy_rows(s->Tq, kv, a->k, s->ldkv, cache->k[layer] + cache->used * kv, kv));
    FP4_TRY(m->be->copy_rows(s->Tq, kv, a->v, s->ldkv, cache->v[layer] + cache->used * kv, kv));
    s->Tk = cache->used + s->Tq;
    s->ldkv = kv;
    return m->be->attention(s, a->q, cache->k[layer], cache->v[layer], a->attention, NULL);
}

static fp4_status project_qkv(struct fp4_model *m, const struct fp4_block *b, const struct fp4_block_acts *a, size_t R) {
    if (b->qkv != SIZE_MAX)
        return fp4_linear_forward(m, &m->linear[b->qkv], R, a->x1, a->q, false);
    FP4_TRY(fp4_linear_forward(m, &m->linear[b->q], R, a->x1, a->q, false));
    FP4_TRY(fp4_linear_forward(m, &m->linear[b->k], R, a->x1, a->k, false));
    return fp4_linear_forward(m, &m->linear[b->v], R, a->x1, a->v, false);
}

/* sum = stream + dropout(x Wᵀ + b) */
static fp4_status add_branch(struct fp4_model *m, size_t linear, enum fp4_drop_site site, size_t R, const float *x, const float *stream, float *sum) {
    const struct fp4_linear *l = &m->linear[linear];
    struct fp4_dropout drop = fp4_drop_of(m, l->layer, site);
    size_t n = R * l->n_out;
    if (sum != stream)
        FP4_TRY(m->be->copy(n, stream, sum));
    if (drop.p == 0)
        return fp4_linear_forward(m, l, R, x, sum, true);
    FP4_TRY(fp4_linear_forward(m, l, R, x, m->arena.branch, false));
    FP4_TRY(m->be->drop(&drop, n, m->arena.branch, m->arena.branch));
    return m->be->add(n, m->arena.branch, sum);
}

static fp4_status mlp(struct fp4_model *m, const struct fp4_block *b, const struct fp4_block_acts *a, size_t R) {
    size_t n = R * m->config.n_ff;
    if (b->gate != SIZE_MAX)
        FP4_TRY(fp4_linear_forward(m, &m->linear[b->gate], R, a->x2, a->gate, false));
    FP4_TRY(fp4_linear_forward(m, &m->linear[b->up], R, a->x2, a->up, false));
    return b->gate != SIZE_MAX ? m->be->silu_mul(n, a->gate, a->up, a->act) : m->be->activate(m->config.activation, n, a->up, a->act);
}

/* From block[layer].in to the next block's `in`, or `last`. */
static fp4_status forward_block(struct fp4_model *m, size_t layer, size_t B, size_t T, struct fp4_cache *cache) {
    const struct fp4_block *b = &m->block[layer];
    const struct fp4_block_acts *a = &m->arena.block[layer];
    struct fp4_attention shape = fp4_attention_of(m, layer, B, T);
    bool after = m->config.norm_after;
    size_t R = B * T;
    float *out = layer + 1 < m->config.n_layer ? m->arena.block[layer + 1].in : m->arena.last;
    FP4_TRY(fp4_weights_enter(m, layer));
    if (!after)
        FP4_TRY(fp4_norm_forward(m, &b->norm1, R, a->in, a->x1, a->mean1, a->rstd1));
    FP4_TRY(project_qkv(m, b, a, R));
    FP4_TRY(attend(m, layer, &shape, a, cache));
    FP4_TRY(add_branch(m, b->o, DROP_ATTENTION, R, a->attention, a->in, after ? a->sum1 : a->mid));
    if (after)
        FP4_TRY(fp4_norm_forward(m, &b->norm1, R, a->sum1, a->mid, a->mean1, a->rstd1));
    else
        FP4_TRY(fp4_norm_forward(m, &b->norm2, R, a->mid, a->x2, a->mean2, a->rstd2));
    FP4_TRY(mlp(m, b, a, R));
    FP4_TRY(add_branch(m, b->down, DROP_MLP, R, a->act, a->mid, after ? a->sum2 : out));
    return after ? fp4_norm_forward(m, &b->norm2, R, a->sum2, out, a->mean2, a->rstd2) : FP4_OK;
}

/* From the last block to what the head reads. */
static fp4_status finish(struct fp4_model *m, size_t R) {
    const struct fp4_arena *a = &m->arena;
    if (m->final_norm.weight != SIZE_MAX)
        FP4_TRY(fp4_norm_forward(m, &m->final_norm, R, a->last, a->normed, a->mean, a->rstd));
    return m->project_out == SIZE_MAX ? FP4_OK : fp4_linear_forward(m, &m->linear[m->project_out], R, a->normed, a->hidden, false);
}

fp4_status fp4_forward(struct fp4_model *m, const int32_t *tokens, size_t B, size_t T, bool grad, struct fp4_cache *cache) {
    size_t first = cache ? cache->used : 0, R;
    if (!fp4_size_mul(B, T, &R))
        return fp4_fail(FP4_ERR_ARG, "%zu sequences of %zu tokens are too many", B, T);
    FP4_TRY(check_tokens(m, tokens, R, T));
    FP4_TRY(fp4_arena_prepare(m, B, T, grad));
    FP4_TRY(fp4_rotary_prepare(m, first + T));
    m->arena.dropping = m->pass.training && !cache;
    FP4_TRY(forward_embed(m, tokens, R, T, first));
    for (size_t i = 0; i < m->config.n_layer; i++)
        FP4_TRY(forward_block(m, i, B, T, cache));
    return finish(m, R);
}

fp4_status fp4_model_hidden(struct fp4_model *m, const int32_t *tokens, size_t n, float *hidden) {
    FP4_TRY(fp4_forward(m, tokens, 1, n, false, NULL));
    return m->be->download(n * fp4_model_width(m), m->arena.hidden, hidden);
}

fp4_status fp4_model_embed(struct fp4_model *m, const int32_t *tokens, size_t n, float *hidden) {
    FP4_TRY(check_tokens(m, tokens, n, n));
    FP4_TRY(fp4_arena_prepare(m, 1, n, false));
    FP4_TRY(forward_embed(m, tokens, n, n, 0));
    return m->be->download(n * m->config.n_embd, m->arena.block[0].in, hidden);
}

fp4_status fp4_model_block(struct fp4_model *m, size_t layer, size_t n, float *hidden) {
    size_t count = n * m->config.n_embd;
    if (layer >= m->config.n_layer || n == 0 || n > m->config.n_ctx)
        return fp4_fail(FP4_ERR_ARG, "block %zu of %zu, %zu tokens of at most %zu", layer, m->config.n_layer, n, m->config.n_ctx);
    FP4_TRY(fp4_arena_prepare(m, 1, n, false));
    FP4_TRY(fp4_rotary_prepare(m, n));
    m->arena.dropping = false;
    FP4_TRY(m->be->upload(count, hidden, m->arena.block[layer].in));
    FP4_TRY(forward_block(m, layer, 1, n, NULL));
    return m->be->download(count, m->arena.last, hidden); /* without gradients all blocks share one buffer */
}
