/* Forward pass. */
#include <math.h>

#include "lib/model/internal.h"

fp4_status fp4_check_tokens(const struct fp4_model *m, const int32_t *tokens, size_t n, size_t T) {
    if (n == 0 || T == 0)
        return fp4_fail(FP4_ERR_ARG, "no tokens: at least one is needed");
    if (T > m->config.n_ctx)
        return fp4_fail(FP4_ERR_ARG, "%zu tokens in a sequence: this model's context is %zu", T, m->config.n_ctx);
    for (size_t i = 0; i < n; i++)
        if (tokens[i] < 0 || (size_t)tokens[i] >= m->config.n_vocab)
            return fp4_fail(FP4_ERR_ARG, "token %d at position %zu: the vocabulary has %zu", tokens[i], i, m->config.n_vocab);
    return FP4_OK;
}

fp4_status fp4_forward_embed(struct fp4_model *m, const int32_t *tokens, size_t R, float *x) {
    struct fp4_embedding e = {.d = m->config.n_embd, .scale = 1.0f, .replicate = m->pass.replicate};
    if (m->config.arch == FP4_ARCH_WRITEUP_D)
        e.scale = (float)sqrt((double)m->config.n_embd);
    const float *table;
    FP4_TRY(fp4_weights_embedding(m, tokens, R, &table, &e.rows));
    return m->be->embed(&e, R, tokens, table, x);
}

static fp4_status rotate(struct fp4_model *m, const struct fp4_block_acts *a, size_t R, size_t T, size_t first) {
    const struct fp4_config *c = &m->config;
    size_t D = c->head_dim, ldq = (c->n_head + (a->gate ? 0 : 2 * c->n_kv_head)) * D, ldk = a->gate ? c->n_kv_head * D : ldq;
    if (c->no_positions)
        return FP4_OK;
    FP4_TRY(m->be->rotate(R, T, first, c->n_head, D, ldq, m->cosine, m->sine, false, a->q));
    return m->be->rotate(R, T, first, c->n_kv_head, D, ldk, m->cosine, m->sine, false, a->k);
}

/* Attention over this pass's keys, or over the cache's with these appended. */
static fp4_status attend(struct fp4_model *m, size_t layer, const struct fp4_block_acts *a, size_t B, size_t T, struct fp4_cache *cache) {
    const struct fp4_config *c = &m->config;
    size_t D = c->head_dim, kv = c->n_kv_head * D, ldq = c->n_head * D + (a->gate ? 0 : 2 * kv), ldkv = a->gate ? kv : ldq;
    struct fp4_attention shape = {B, T, T, c->n_head, c->n_kv_head, D, ldq, ldkv};
    if (!cache)
        return m->be->attention(&shape, a->q, a->k, a->v, a->attention, a->stats);
    FP4_TRY(m->be->copy_rows(T, kv, a->k, ldkv, cache->k[layer] + cache->used * kv, kv));
    FP4_TRY(m->be->copy_rows(T, kv, a->v, ldkv, cache->v[layer] + cache->used * kv, kv));
    shape.Tk = cache->used + T;
    shape.ldkv = kv;
    return m->be->attention(&shape, a->q, cache->k[layer], cache->v[layer], a->attention, NULL);
}

static fp4_status project_qkv(struct fp4_model *m, const struct fp4_block *b, const struct fp4_block_acts *a, size_t R) {
    if (b->qkv != SIZE_MAX)
        return fp4_linear_forward(m, &m->linear[b->qkv], R, a->norm1, a->q, false);
    FP4_TRY(fp4_linear_forward(m, &m->linear[b->q], R, a->norm1, a->q, false));
    FP4_TRY(fp4_linear_forward(m, &m->linear[b->k], R, a->norm1, a->k, false));
    return fp4_linear_forward(m, &m->linear[b->v], R, a->norm1, a->v, false);
}

static fp4_status mlp(struct fp4_model *m, const struct fp4_block *b, const struct fp4_block_acts *a, size_t R, float *out) {
    size_t n = R * m->config.n_ff;
    if (b->gate != SIZE_MAX)
        FP4_TRY(fp4_linear_forward(m, &m->linear[b->gate], R, a->norm2, a->gate, false));
    FP4_TRY(fp4_linear_forward(m, &m->linear[b->up], R, a->norm2, a->up, false));
    FP4_TRY(b->gate != SIZE_MAX ? m->be->silu_mul(n, a->gate, a->up, a->act) : m->be->silu(n, a->up, a->act));
    return fp4_linear_forward(m, &m->linear[b->down], R, a->act, out, true);
}

/* From block[layer].in to the next block's `in`, or `last`. */
fp4_status fp4_forward_block(struct fp4_model *m, size_t layer, size_t B, size_t T, struct fp4_cache *cache) {
    const struct fp4_config *c = &m->config;
    const struct fp4_backend *be = m->be;
    const struct fp4_block *b = &m->block[layer];
    const struct fp4_block_acts *a = &m->arena.block[layer];
    size_t R = B * T, d = c->n_embd;
    float *out = layer + 1 < c->n_layer ? m->arena.block[layer + 1].in : m->arena.last;
    FP4_TRY(fp4_weights_enter(m, layer));
    FP4_TRY(be->norm(R, d, a->in, m->params[b->norm1].data, c->norm_eps, a->norm1, a->rstd1));
    FP4_TRY(project_qkv(m, b, a, R));
    FP4_TRY(rotate(m, a, R, T, cache ? cache->used : 0));
    FP4_TRY(attend(m, layer, a, B, T, cache));
    if (a->mid != a->in)
        FP4_TRY(be->copy(R * d, a->in, a->mid));
    FP4_TRY(fp4_linear_forward(m, &m->linear[b->o], R, a->attention, a->mid, true));
    FP4_TRY(be->norm(R, d, a->mid, m->params[b->norm2].data, c->norm_eps, a->norm2, a->rstd2));
    if (out != a->mid)
        FP4_TRY(be->copy(R * d, a->mid, out));
    return mlp(m, b, a, R, out);
}

fp4_status fp4_forward(struct fp4_model *m, const int32_t *tokens, size_t B, size_t T, bool grad, struct fp4_cache *cache) {
    const struct fp4_config *c = &m->config;
    size_t first = cache ? cache->used : 0, R;
    if (!fp4_size_mul(B, T, &R))
        return fp4_fail(FP4_ERR_ARG, "%zu sequences of %zu tokens are too many", B, T);
    FP4_TRY(fp4_check_tokens(m, tokens, R, T));
    FP4_TRY(fp4_arena_prepare(m, B, T, grad));
    FP4_TRY(fp4_rotary_prepare(m, first + T));
    FP4_TRY(fp4_forward_embed(m, tokens, R, m->arena.block[0].in));
    for (size_t i = 0; i < c->n_layer; i++)
        FP4_TRY(fp4_forward_block(m, i, B, T, cache));
    return m->be->norm(R, c->n_embd, m->arena.last, m->params[m->final_norm].data, c->norm_eps, m->arena.hidden, m->arena.rstd);
}

fp4_status fp4_model_hidden(struct fp4_model *m, const int32_t *tokens, size_t n, float *hidden) {
    FP4_TRY(fp4_forward(m, tokens, 1, n, false, NULL));
    return m->be->download(n * m->config.n_embd, m->arena.hidden, hidden);
}

fp4_status fp4_model_embed(struct fp4_model *m, const int32_t *tokens, size_t n, float *hidden) {
    FP4_TRY(fp4_check_tokens(m, tokens, n, n));
    FP4_TRY(fp4_arena_prepare(m, 1, n, false));
    FP4_TRY(fp4_forward_embed(m, tokens, n, m->arena.block[0].in));
    return m->be->download(n * m->config.n_embd, m->arena.block[0].in, hidden);
}

fp4_status fp4_model_block(struct fp4_model *m, size_t layer, size_t n, float *hidden) {
    size_t count = n * m->config.n_embd;
    if (layer >= m->config.n_layer || n == 0 || n > m->config.n_ctx)
        return fp4_fail(FP4_ERR_ARG, "block %zu of %zu, %zu tokens of at most %zu", layer, m->config.n_layer, n, m->config.n_ctx);
    FP4_TRY(fp4_arena_prepare(m, 1, n, false));
    FP4_TRY(fp4_rotary_prepare(m, n));
    FP4_TRY(m->be->upload(count, hidden, m->arena.block[layer].in));
    FP4_TRY(fp4_forward_block(m, layer, 1, n, NULL));
    return m->be->download(count, m->arena.last, hidden); /* without gradients all blocks share one buffer */
}
