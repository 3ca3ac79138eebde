/* From hidden states to logits, losses and scores, a bounded number of rows at a time. */
#include "lib/model/internal.h"

fp4_status fp4_head_begin(struct fp4_model *m, size_t R, const float *hidden, struct fp4_head *h) {
    const struct fp4_linear *l = &m->linear[m->head];
    FP4_TRY(fp4_weights_head(m));
    FP4_TRY(fp4_linear_hook_call(m, l, R, hidden));
    FP4_TRY(fp4_linear_operand(m, l, FP4_FWD_X, R, hidden, SCRATCH_HEAD_X, &h->x));
    return fp4_linear_operand(m, l, FP4_FWD_W, 0, m->params[l->param].data, SCRATCH_HEAD_W, &h->w);
}

fp4_status fp4_head_logits(struct fp4_model *m, const struct fp4_head *h, size_t first, size_t n, float *logits) {
    return m->be->gemm(false, true, n, m->config.n_vocab, fp4_model_width(m), 1.0f, h->x.p + first * h->x.ld, h->x.ld, h->w.p, h->w.ld, 0.0f,
                       logits, m->config.n_vocab);
}

static size_t rows_of(size_t first, size_t end) { return end - first < HEAD_ROWS ? end - first : HEAD_ROWS; }

static fp4_status logits_buffer(struct fp4_model *m, size_t R, float **logits) {
    return fp4_scratch(m, SCRATCH_LOGITS, (R < HEAD_ROWS ? R : HEAD_ROWS) * m->config.n_vocab, logits);
}

fp4_status fp4_model_logits(struct fp4_model *m, const int32_t *tokens, size_t n, size_t n_last, float *logits) {
    struct fp4_head head;
    float *chunk;
    size_t V = m->config.n_vocab;
    if (n_last == 0 || n_last > n)
        return fp4_fail(FP4_ERR_ARG, "logits of the last %zu of %zu positions", n_last, n);
    FP4_TRY(fp4_forward(m, tokens, 1, n, false, NULL));
    FP4_TRY(fp4_head_begin(m, n, m->arena.hidden, &head));
    FP4_TRY(logits_buffer(m, n_last, &chunk));
    for (size_t first = n - n_last, done = 0; first < n; first += HEAD_ROWS, done += HEAD_ROWS) {
        size_t rows = rows_of(first, n);
        FP4_TRY(fp4_head_logits(m, &head, first, rows, chunk));
        FP4_TRY(m->be->download(rows * V, chunk, logits + done * V));
    }
    return FP4_OK;
}

/* Logits of the reference's hidden states (host) through this model's head, rows first … */
static fp4_status reference_logits(struct fp4_model *m, const struct fp4_score *s, size_t first, size_t rows, float **out) {
    size_t d = fp4_model_width(m);
    const struct fp4_linear *l = &m->linear[m->head];
    struct fp4_head head = {.w = {m->params[l->param].data, d, false}};
    float *x;
    FP4_TRY(fp4_scratch(m, SCRATCH_A, HEAD_ROWS * d, &x));
    FP4_TRY(fp4_scratch(m, SCRATCH_REFERENCE, HEAD_ROWS * m->config.n_vocab, out));
    FP4_TRY(m->be->upload(rows * d, s->reference + first * d, x));
    head.x = (struct fp4_prepared){x, d, false};
    return fp4_head_logits(m, &head, 0, rows, *out);
}

fp4_status fp4_model_score(struct fp4_model *m, const int32_t *tokens, size_t n, struct fp4_score *s) {
    const struct fp4_policy *p = &m->linear[m->head].policy;
    struct fp4_head head;
    float *chunk, *reference = NULL;
    if (n < 2)
        return fp4_fail(FP4_ERR_ARG, "a window of %zu tokens: at least two are needed", n);
    if (s->reference && (p->operand[FP4_FWD_X].format || p->operand[FP4_FWD_W].format))
        return fp4_fail(FP4_ERR_ARG, "scores against a reference: the head must be unquantized");
    FP4_TRY(fp4_forward(m, tokens, 1, n, false, NULL));
    if (s->hidden)
        FP4_TRY(m->be->download(n * fp4_model_width(m), m->arena.hidden, s->hidden));
    FP4_TRY(fp4_head_begin(m, n, m->arena.hidden, &head));
    FP4_TRY(logits_buffer(m, n - 1, &chunk));
    for (size_t first = 0; first < n - 1; first += HEAD_ROWS) {
        size_t rows = rows_of(first, n - 1);
        FP4_TRY(fp4_head_logits(m, &head, first, rows, chunk));
        if (s->reference)
            FP4_TRY(reference_logits(m, s, first, rows, &reference));
        FP4_TRY(m->be->score(rows, m->config.n_vocab, chunk, reference, tokens + first + 1, s->nll ? s->nll + first : NULL,
                             s->kl ? s->kl + first : NULL, s->top1 ? s->top1 + first : NULL));
    }
    return FP4_OK;
}

/* ---- losses ---- */

static fp4_status check_targets(const struct fp4_model *m, const int32_t *targets, size_t R, size_t *counted) {
    *counted = 0;
    for (size_t i = 0; i < R; i++) {
        if (targets[i] >= 0 && (size_t)targets[i] >= m->config.n_vocab)
            return fp4_fail(FP4_ERR_ARG, "target %d at position %zu: the vocabulary has %zu", targets[i], i, m->config.n_vocab);
        *counted += targets[i] >= 0;
    }
    return *counted ? FP4_OK : fp4_fail(FP4_ERR_ARG, "no target counts");
}

fp4_status fp4_model_evaluate(struct fp4_model *m, const int32_t *inputs, const int32_t *targets, size_t B, size_t T, double *loss, double *accuracy) {
    struct fp4_head head;
    float *chunk;
    size_t counted, correct = 0, R = B * T;
    double sum = 0.0;
    FP4_TRY(fp4_forward(m, inputs, B, T, false, NULL)); /* checks B·T */
    FP4_TRY(check_targets(m, targets, R, &counted));
    FP4_TRY(fp4_head_begin(m, R, m->arena.hidden, &head));
    FP4_TRY(logits_buffer(m, R, &chunk));
    for (size_t first = 0; first < R; first += HEAD_ROWS) {
        size_t rows = rows_of(first, R);
        FP4_TRY(fp4_head_logits(m, &head, first, rows, chunk));
        FP4_TRY(m->be->cross_entropy(rows, m->config.n_vocab, chunk, targets + first, 0.0f, &sum, &correct));
    }
    if (loss)
        *loss = sum / (double)counted;
    if (accuracy)
        *accuracy = (double)correct / (double)counted;
    return FP4_OK;
}

/* The head's backward products for rows first … first+n−1 of R. Its weight and hidden states are quantized once, as whole tensors;
 * the gradient of the logits exists chunk by chunk, and so does its tensor scale. */
static fp4_status head_backward(struct fp4_model *m, const struct fp4_prepared *w, const struct fp4_prepared *x, size_t first, size_t n,
                                const float *dlogits) {
    const struct fp4_linear *l = &m->linear[m->head];
    struct fp4_prepared dy, rows = *x;
    size_t d = l->n_in;
    FP4_TRY(fp4_linear_operand(m, l, FP4_DGRAD_DY, n, dlogits, SCRATCH_B, &dy));
    FP4_TRY(m->be->gemm(false, w->transposed, n, d, l->n_out, 1.0f, dy.p, dy.ld, w->p, w->ld, 0.0f, m->arena.dhidden + first * d, d));
    if (l->policy.frozen_weight)
        return FP4_OK;
    FP4_TRY(fp4_linear_operand(m, l, FP4_WGRAD_DY, n, dlogits, SCRATCH_B, &dy));
    rows.p += rows.transposed ? first : first * rows.ld;
    return fp4_linear_weight_gradient(m, l, n, &dy, &rows);
}

/* The head's operands of the backward products. */
static fp4_status head_backward_begin(struct fp4_model *m, size_t R, struct fp4_prepared *w, struct fp4_prepared *x) {
    const struct fp4_linear *l = &m->linear[m->head];
    FP4_TRY(fp4_linear_operand(m, l, FP4_DGRAD_W, 0, m->params[l->param].data, SCRATCH_HEAD_WT, w));
    return fp4_linear_operand(m, l, FP4_WGRAD_X, R, m->arena.hidden, SCRATCH_HEAD_XT, x);
}

static fp4_status need_grad(const struct fp4_model *m) {
    return m->grad ? FP4_OK : fp4_fail(FP4_ERR_ARG, "gradients asked for: fp4_model_enable_grad comes first");
}

fp4_status fp4_model_loss_backward(struct fp4_model *m, const int32_t *inputs, const int32_t *targets, size_t B, size_t T, float scale,
                                   double *loss) {
    struct fp4_head head;
    struct fp4_prepared w, x;
    float *chunk;
    size_t counted, R = B * T;
    double sum = 0.0;
    FP4_TRY(need_grad(m));
    FP4_TRY(fp4_forward(m, inputs, B, T, true, NULL));
    FP4_TRY(check_targets(m, targets, R, &counted));
    FP4_TRY(fp4_head_begin(m, R, m->arena.hidden, &head));
    FP4_TRY(head_backward_begin(m, R, &w, &x));
    FP4_TRY(logits_buffer(m, R, &chunk));
    for (size_t first = 0; first < R; first += HEAD_ROWS) {
        size_t rows = rows_of(first, R);
        FP4_TRY(fp4_head_logits(m, &head, first, rows, chunk));
        FP4_TRY(m->be->cross_entropy(rows, m->config.n_vocab, chunk, targets + first, (float)((double)scale / (double)counted), &sum, NULL));
        FP4_TRY(head_backward(m, &w, &x, first, rows, chunk));
    }
    if (loss)
        *loss = sum / (double)counted;
    return fp4_backward(m, inputs, B, T);
}

fp4_status fp4_model_entropy_backward(struct fp4_model *m, const int32_t *tokens, size_t n, double *entropy, double *loss, float *logits) {
    struct fp4_head head;
    struct fp4_prepared w, x;
    float *row;
    size_t d = fp4_model_width(m), V = m->config.n_vocab;
    double h, guarded;
    FP4_TRY(need_grad(m));
    FP4_TRY(fp4_forward(m, tokens, 1, n, true, NULL));
    FP4_TRY(fp4_head_begin(m, n, m->arena.hidden, &head));
    FP4_TRY(head_backward_begin(m, n, &w, &x));
    FP4_TRY(fp4_scratch(m, SCRATCH_LOGITS, 2 * V, &row));
    FP4_TRY(fp4_head_logits(m, &head, n - 1, 1, row));
    if (logits)
        FP4_TRY(m->be->download(V, row, logits));
    FP4_TRY(m->be->entropy(V, row, &h, &guarded, row + V));
    FP4_TRY(m->be->zero((n - 1) * d, m->arena.dhidden));
    FP4_TRY(head_backward(m, &w, &x, n - 1, 1, row + V));
    if (entropy)
        *entropy = h;
    if (loss)
        *loss = guarded;
    return fp4_backward(m, tokens, 1, n);
}
