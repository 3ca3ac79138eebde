/* Backward pass: from the gradient of the last hidden states to every parameter's. */
#include <math.h>

#include "lib/model/internal.h"

/* dmid: gradient of the residual stream after the block, which is also that of the MLP's output; the MLP's share is added to it. */
static fp4_status mlp_backward(struct fp4_model *m, const struct fp4_block *b, const struct fp4_block_acts *a, size_t R) {
    struct fp4_arena *g = &m->arena;
    size_t n = R * m->config.n_ff, d = m->config.n_embd;
    float *dw;
    FP4_TRY(fp4_linear_backward(m, &m->linear[b->down], R, a->act, g->dx, g->dup, false));
    if (b->gate != SIZE_MAX) {
        FP4_TRY(m->be->silu_mul_backward(n, a->gate, a->up, g->dup, g->dgate, g->dup));
        FP4_TRY(fp4_linear_backward(m, &m->linear[b->gate], R, a->norm2, g->dgate, g->dnorm, false));
        FP4_TRY(fp4_linear_backward(m, &m->linear[b->up], R, a->norm2, g->dup, g->dnorm, true));
    } else {
        FP4_TRY(m->be->silu_backward(n, a->up, g->dup, g->dup));
        FP4_TRY(fp4_linear_backward(m, &m->linear[b->up], R, a->norm2, g->dup, g->dnorm, false));
    }
    FP4_TRY(fp4_grad_of(m, b->norm2, &dw));
    return m->be->norm_backward(R, d, a->mid, m->params[b->norm2].data, a->rstd2, g->dnorm, g->dx, dw);
}

static fp4_status attention_backward(struct fp4_model *m, const struct fp4_block *b, const struct fp4_block_acts *a, size_t B, size_t T) {
    const struct fp4_config *c = &m->config;
    struct fp4_arena *g = &m->arena;
    bool packed = b->qkv != SIZE_MAX;
    size_t R = B * T, D = c->head_dim, kv = c->n_kv_head * D, ldq = c->n_head * D + (packed ? 2 * kv : 0), ldkv = packed ? ldq : kv;
    struct fp4_attention shape = {B, T, T, c->n_head, c->n_kv_head, D, ldq, ldkv};
    float *dw;
    FP4_TRY(fp4_linear_backward(m, &m->linear[b->o], R, a->attention, g->dx, g->dattention, false));
    FP4_TRY(m->be->attention_backward(&shape, a->q, a->k, a->v, a->attention, a->stats, g->dattention, g->dq, g->dk, g->dv));
    if (!c->no_positions) {
        FP4_TRY(m->be->rotate(R, T, 0, c->n_head, D, ldq, m->cosine, m->sine, true, g->dq));
        FP4_TRY(m->be->rotate(R, T, 0, c->n_kv_head, D, ldkv, m->cosine, m->sine, true, g->dk));
    }
    if (packed) {
        FP4_TRY(fp4_linear_backward(m, &m->linear[b->qkv], R, a->norm1, g->dq, g->dnorm, false));
    } else {
        FP4_TRY(fp4_linear_backward(m, &m->linear[b->q], R, a->norm1, g->dq, g->dnorm, false));
        FP4_TRY(fp4_linear_backward(m, &m->linear[b->k], R, a->norm1, g->dk, g->dnorm, true));
        FP4_TRY(fp4_linear_backward(m, &m->linear[b->v], R, a->norm1, g->dv, g->dnorm, true));
    }
    FP4_TRY(fp4_grad_of(m, b->norm1, &dw));
    return m->be->norm_backward(R, c->n_embd, a->in, m->params[b->norm1].data, a->rstd1, g->dnorm, g->dx, dw);
}

fp4_status fp4_backward(struct fp4_model *m, const int32_t *tokens, size_t B, size_t T) {
    const struct fp4_config *c = &m->config;
    struct fp4_arena *g = &m->arena;
    struct fp4_embedding e = {.d = c->n_embd, .scale = 1.0f, .replicate = m->pass.replicate};
    size_t R = B * T;
    float *dw;
    if (c->arch == FP4_ARCH_WRITEUP_D)
        e.scale = (float)sqrt((double)c->n_embd);
    FP4_TRY(m->be->zero(R * c->n_embd, g->dx));
    FP4_TRY(fp4_grad_of(m, m->final_norm, &dw));
    FP4_TRY(m->be->norm_backward(R, c->n_embd, g->last, m->params[m->final_norm].data, g->rstd, g->dhidden, g->dx, dw));
    for (size_t i = c->n_layer; i-- > 0;) {
        FP4_TRY(mlp_backward(m, &m->block[i], &g->block[i], R));
        FP4_TRY(attention_backward(m, &m->block[i], &g->block[i], B, T));
    }
    FP4_TRY(fp4_grad_of(m, m->embed, &dw));
    return m->be->embed_backward(&e, R, tokens, g->dx, dw);
}
