/* A linear layer's three products under its six-operand policy. */
#include "lib/model/internal.h"

#include <string.h>

/* The three products: which two operands, and whether the reduction runs along the columns of each as stored. */
static bool reduces_columns(enum fp4_operand which) {
    /* forward reduces n_in: columns of x and W. Input gradient reduces n_out: columns of dy, rows of W. Weight gradient
     * reduces tokens: rows of both. */
    return which == FP4_FWD_X || which == FP4_FWD_W || which == FP4_DGRAD_DY;
}
static enum fp4_operand partner(enum fp4_operand which) { return which % 2 ? which - 1 : which + 1; }

/* 16×16 blocks are the same on either axis; a transform has an axis. */
static bool along_stored(const struct fp4_quantizer *q, enum fp4_operand which) {
    return reduces_columns(which) || q->stored || (q->two_d && !q->hadamard);
}
/* Both operands of a product in the transformed basis: H Hᵀ = 1 cancels. Otherwise the transform is undone after quantizing. */
static bool cancels(const struct fp4_policy *p, enum fp4_operand which) {
    const struct fp4_quantizer *a = &p->operand[which], *b = &p->operand[partner(which)];
    return b->format && a->hadamard == b->hadamard && (reduces_columns(which) || !a->stored) &&
           (reduces_columns(partner(which)) || !b->stored);
}

/* A weight that both passes read through one quantizer, in one layout, is one quantized weight: the input gradient takes the forward pass's
 * draws of stochastic rounding. */
static enum fp4_operand address_of(const struct fp4_policy *p, enum fp4_operand which) {
    char forward[FP4_SPELLING_MAX], backward[FP4_SPELLING_MAX];
    if (which != FP4_DGRAD_W || !along_stored(&p->operand[which], which))
        return which;
    fp4_quantizer_spell(&p->operand[FP4_FWD_W], forward);
    fp4_quantizer_spell(&p->operand[FP4_DGRAD_W], backward);
    return strcmp(forward, backward) == 0 ? FP4_FWD_W : FP4_DGRAD_W;
}

fp4_status fp4_linear_operand(struct fp4_model *m, const struct fp4_linear *l, enum fp4_operand which, size_t rows, const float *x,
                              int scratch, struct fp4_prepared *out) {
    const struct fp4_quantizer *q = &l->policy.operand[which];
    bool weight = which == FP4_FWD_W || which == FP4_DGRAD_W;
    size_t cols = which == FP4_DGRAD_DY || which == FP4_WGRAD_DY ? l->n_out : l->n_in;
    if (weight)
        rows = l->n_out;
    *out = (struct fp4_prepared){x, cols, false};
    if (!q->format)
        return FP4_OK;
    struct fp4_random random = {.seed = m->pass.seed, .stream = FP4_STREAM_ROUND, .step = m->pass.step,
                                .layer = (uint32_t)(l - m->linear), .operand = (uint32_t)address_of(&l->policy, which)};
    float *y;
    FP4_TRY(fp4_scratch(m, scratch, rows * cols, &y));
    if (!along_stored(q, which)) {
        FP4_TRY(m->be->transpose(rows, cols, x, y));
        x = y;
        *out = (struct fp4_prepared){y, rows, true};
        size_t swap = rows;
        rows = cols;
        cols = swap;
    }
    out->p = y;
    FP4_TRY(m->be->quantize(q, rows, cols, x, y, &random));
    if (q->hadamard && !cancels(&l->policy, which))
        FP4_TRY(m->be->unrotate((size_t)q->hadamard, random.seed, rows, cols, y));
    return FP4_OK;
}

fp4_status fp4_linear_hook_call(struct fp4_model *m, const struct fp4_linear *l, size_t R, const float *x) {
    if (!m->hook)
        return FP4_OK;
    if (m->be->host_memory)
        return m->hook(m->hook_context, l, x, R);
    if (m->host.capacity < R * l->n_in) {
        fp4_free(m->host.p);
        m->host = (struct fp4_buffer){0};
        FP4_TRY(FP4_NEW(m->host.p, R * l->n_in));
        m->host.capacity = R * l->n_in;
    }
    FP4_TRY(m->be->download(R * l->n_in, x, m->host.p));
    return m->hook(m->hook_context, l, m->host.p, R);
}

fp4_status fp4_linear_forward(struct fp4_model *m, const struct fp4_linear *l, size_t R, const float *x, float *y, bool add) {
    struct fp4_prepared a, b;
    FP4_TRY(fp4_linear_hook_call(m, l, R, x));
    FP4_TRY(fp4_linear_operand(m, l, FP4_FWD_X, R, x, SCRATCH_A, &a));
    FP4_TRY(fp4_linear_operand(m, l, FP4_FWD_W, 0, m->params[l->param].data, SCRATCH_B, &b));
    FP4_TRY(m->be->gemm(false, true, R, l->n_out, l->n_in, 1.0f, a.p, a.ld, b.p, b.ld, add ? 1.0f : 0.0f, y, l->n_out));
    return l->bias == SIZE_MAX ? FP4_OK : m->be->add_bias(R, l->n_out, m->params[l->bias].data, y);
}

fp4_status fp4_grad_of(struct fp4_model *m, size_t param, float **grad) {
    *grad = m->params[param].grad;
    if (m->fresh[param]) {
        FP4_TRY(m->be->zero(m->params[param].elements, *grad));
        m->fresh[param] = false;
    }
    return FP4_OK;
}

fp4_status fp4_linear_weight_gradient(struct fp4_model *m, const struct fp4_linear *l, size_t R, const struct fp4_prepared *dy,
                                      const struct fp4_prepared *x) {
    float beta = m->fresh[l->param] ? 0.0f : 1.0f;
    m->fresh[l->param] = false;
    return m->be->gemm(!dy->transposed, x->transposed, l->n_out, l->n_in, R, 1.0f, dy->p, dy->ld, x->p, x->ld, beta,
                       m->params[l->param].grad, l->n_in);
}

fp4_status fp4_linear_backward(struct fp4_model *m, const struct fp4_linear *l, size_t R, const float *x, const float *dy, float *dx,
                               bool add) {
    struct fp4_prepared a, b;
    float *db;
    if (l->bias != SIZE_MAX) { /* biases learn even where the weight is frozen */
        FP4_TRY(fp4_grad_of(m, l->bias, &db));
        FP4_TRY(m->be->bias_backward(R, l->n_out, dy, db));
    }
    FP4_TRY(fp4_linear_operand(m, l, FP4_DGRAD_DY, R, dy, SCRATCH_A, &a));
    FP4_TRY(fp4_linear_operand(m, l, FP4_DGRAD_W, 0, m->params[l->param].data, SCRATCH_B, &b));
    FP4_TRY(m->be->gemm(false, b.transposed, R, l->n_in, l->n_out, 1.0f, a.p, a.ld, b.p, b.ld, add ? 1.0f : 0.0f, dx, l->n_in));
    if (l->policy.frozen_weight)
        return FP4_OK;
    FP4_TRY(fp4_linear_operand(m, l, FP4_WGRAD_DY, R, dy, SCRATCH_A, &a));
    FP4_TRY(fp4_linear_operand(m, l, FP4_WGRAD_X, R, x, SCRATCH_B, &b));
    return fp4_linear_weight_gradient(m, l, R, &a, &b);
}
