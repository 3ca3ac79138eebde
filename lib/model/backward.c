/* Backward pass: from the gradient of what the head read to every parameter's. */
#include "lib/model/internal.h"

/* Gradient of a half's output from that of the sum it was added to: dropped out alike. */
static fp4_status branch_gradient(struct fp4_model *m, size_t linear, enum fp4_drop_site site, size_t R, const float **dy) {
    struct fp4_dropout drop = fp4_drop_of(m, m->linear[linear].layer, site);
    *dy = m->arena.dx;
    if (drop.p == 0)
        return FP4_OK;
    *dy = m->arena.dbranch;
    return m->be->drop(&drop, R * m->config.n_embd, m->arena.dx, m->arena.dbranch);
}

/* Norm after: dx becomes the gradient of the norm's input. */
static fp4_status norm_after_backward(struct fp4_model *m, const struct fp4_norm *n, size_t R, const float *x, const float *mean,
                                      const float *rstd) {
    struct fp4_arena *g = &m->arena;
    FP4_TRY(m->be->zero(R * m->config.n_embd, g->dnorm));
    FP4_TRY(fp4_norm_backward(m, n, R, x, mean, rstd, g->dx, g->dnorm));
    float *swap = g->dx;
    g->dx = g->dnorm;
    g->dnorm = swap;
    return FP4_OK;
}

/* dx: gradient of the residual stream after the block, which is also that of the MLP's output; the MLP's share is added to it. */
static fp4_status mlp_backward(struct fp4_model *m, const struct fp4_block *b, const struct fp4_block_acts *a, size_t R) {
    struct fp4_arena *g = &m->arena;
    size_t n = R * m->config.n_ff;
    bool after = m->config.norm_after;
    const float *dy;
    if (after)
        FP4_TRY(norm_after_backward(m, &b->norm2, R, a->sum2, a->mean2, a->rstd2));
    float *dx = after ? g->dx : g->dnorm;
    FP4_TRY(branch_gradient(m, b->down, DROP_MLP, R, &dy));
    FP4_TRY(fp4_linear_backward(m, &m->linear[b->down], R, a->act, dy, g->dup, false));
    if (b->gate != SIZE_MAX) {
        FP4_TRY(m->be->silu_mul_backward(n, a->gate, a->up, g->dup, g->dgate, g->dup));
        FP4_TRY(fp4_linear_backward(m, &m->linear[b->gate], R, a->x2, g->dgate, dx, after));
        FP4_TRY(fp4_linear_backward(m, &m->linear[b->up], R, a->x2, g->dup, dx, true));
    } else {
        FP4_TRY(m->be->activate_backward(m->config.activation, n, a->up, g->dup, g->dup));
        FP4_TRY(fp4_linear_backward(m, &m->linear[b->up], R, a->x2, g->dup, dx, after));
    }
    return after ? FP4_OK : fp4_norm_backward(m, &b->norm2, R, a->mid, a->mean2, a->rstd2, g->dnorm, g->dx);
}

static fp4_status qkv_backward(struct fp4_model *m, const struct fp4_block *b, const struct fp4_block_acts *a, size_t R, float *dx, bool add) {
    struct fp4_arena *g = &m->arena;
    if (b->qkv != SIZE_MAX)
        return fp4_linear_backward(m, &m->linear[b->qkv], R, a->x1, g->dq, dx, add);
    FP4_TRY(fp4_linear_backward(m, &m->linear[b->q], R, a->x1, g->dq, dx, add));
    FP4_TRY(fp4_linear_backward(m, &m->linear[b->k], R, a->x1, g->dk, dx, true));
    return fp4_linear_backward(m, &m->linear[b->v], R, a->x1, g->dv, dx, true);
}

static fp4_status attention_backward(struct fp4_model *m, size_t layer, size_t B, size_t T) {
    const struct fp4_block *b = &m->block[layer];
    struct fp4_arena *g = &m->arena;
    const struct fp4_block_acts *a = &g->block[layer];
    struct fp4_attention s = fp4_attention_of(m, layer, B, T);
    size_t R = B * T;
    bool after = m->config.norm_after;
    const float *dy;
    if (after)
        FP4_TRY(norm_after_backward(m, &b->norm1, R, a->sum1, a->mean1, a->rstd1));
    FP4_TRY(branch_gradient(m, b->o, DROP_ATTENTION, R, &dy));
    FP4_TRY(fp4_linear_backward(m, &m->linear[b->o], R, a->attention, dy, g->dattention, false));
    FP4_TRY(m->be->attention_backward(&s, a->q, a->k, a->v, a->attention, a->stats, g->dattention, g->dq, g->dk, g->dv));
    if (fp4_rotary(&m->config)) {
        FP4_TRY(m->be->rotate(R, T, 0, s.H, s.D, s.ldq, m->cosine, m->sine, true, g->dq));
        FP4_TRY(m->be->rotate(R, T, 0, s.KV, s.D, s.ldkv, m->cosine, m->sine, true, g->dk));
    }
    FP4_TRY(qkv_backward(m, b, a, R, after ? g->dx : g->dnorm, after));
    return after ? FP4_OK : fp4_norm_backward(m, &b->norm1, R, a->in, a->mean1, a->rstd1, g->dnorm, g->dx);
}

/* From dhidden to dx, the gradient of the residual stream after the last block. */
static fp4_status finish_backward(struct fp4_model *m, size_t R) {
    struct fp4_arena *g = &m->arena;
    size_t n = R * m->config.n_embd;
    const float *dy = g->dhidden;
    if (m->project_out != SIZE_MAX) {
        FP4_TRY(fp4_linear_backward(m, &m->linear[m->project_out], R, g->normed, g->dhidden, g->dnorm, false));
        dy = g->dnorm;
    }
    if (m->final_norm.weight == SIZE_MAX)
        return m->be->copy(n, dy, g->dx);
    FP4_TRY(m->be->zero(n, g->dx));
    return fp4_norm_backward(m, &m->final_norm, R, g->last, g->mean, g->rstd, dy, g->dx);
}

static fp4_status embed_backward(struct fp4_model *m, const int32_t *tokens, size_t R, size_t T) {
    struct fp4_embedding e = fp4_embedding_of(m);
    struct fp4_arena *g = &m->arena;
    const float *dy = g->dx;
    float *dw;
    if (m->positions != SIZE_MAX) {
        FP4_TRY(fp4_grad_of(m, m->positions, &dw));
        FP4_TRY(m->be->positions_backward(R, T, OPT_POSITION_OFFSET, m->config.n_embd, g->dx, dw));
    }
    if (m->project_in != SIZE_MAX) {
        FP4_TRY(fp4_linear_backward(m, &m->linear[m->project_in], R, g->word, g->dx, g->dword, false));
        dy = g->dword;
    }
    FP4_TRY(fp4_grad_of(m, m->embed, &dw));
    return m->be->embed_backward(&e, R, tokens, dy, dw);
}

fp4_status fp4_backward(struct fp4_model *m, const int32_t *tokens, size_t B, size_t T) {
    size_t R = B * T;
    FP4_TRY(finish_backward(m, R));
    for (size_t i = m->config.n_layer; i-- > 0;) {
        FP4_TRY(mlp_backward(m, &m->block[i], &m->arena.block[i], R));
        FP4_TRY(attention_backward(m, i, B, T));
    }
    return embed_backward(m, tokens, R, T);
}
