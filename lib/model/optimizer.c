/* Gradients and AdamW. */
#include <math.h>

#include "lib/model/internal.h"

fp4_status fp4_model_enable_grad(struct fp4_model *m) {
    if (m->store)
        return fp4_fail(FP4_ERR_UNSUPPORTED, "gradients of weights that stay in their file: load them into memory (--weights-in memory)");
    if (!m->grad)
        FP4_TRY(m->be->alloc(m->n_stored, &m->grad));
    for (size_t i = 0; i < m->n_params; i++)
        m->params[i].grad = m->grad + (m->params[i].data - m->data);
    return fp4_model_zero_grad(m);
}

/* Lazily: the first product of the next pass overwrites. */
fp4_status fp4_model_zero_grad(struct fp4_model *m) {
    if (!m->grad)
        return fp4_fail(FP4_ERR_ARG, "gradients asked for: fp4_model_enable_grad comes first");
    for (size_t i = 0; i < m->n_params; i++)
        m->fresh[i] = true;
    return FP4_OK;
}

struct fp4_optimizer {
    struct fp4_model *model;
    float *moments; /* m, then v: each laid out as the parameters */
    size_t step;
};

fp4_status fp4_optimizer_create(struct fp4_model *m, struct fp4_optimizer **out) {
    struct fp4_optimizer *o;
    *out = NULL;
    FP4_TRY(FP4_NEW(o, 1));
    o->model = m;
    fp4_status status = m->be->alloc(2 * m->n_stored, &o->moments);
    if (status != FP4_OK) {
        fp4_free(o);
        return status;
    }
    *out = o;
    return FP4_OK;
}

void fp4_optimizer_free(struct fp4_optimizer *o) {
    if (!o)
        return;
    o->model->be->free(o->moments);
    fp4_free(o);
}

fp4_status fp4_optimizer_reset(struct fp4_optimizer *o) {
    o->step = 0;
    return o->model->be->zero(2 * o->model->n_stored, o->moments);
}

/* Parameters that only frozen linear layers use. A frozen tied head freezes the head's product, not the embedding. */
static bool is_frozen(const struct fp4_model *m, size_t param) {
    if (param == m->embed)
        return false;
    for (size_t i = 0; i < m->n_linear; i++)
        if (m->linear[i].param == param && m->linear[i].policy.frozen_weight)
            return true;
    return false;
}

static fp4_status gradient_norm(struct fp4_model *m, double *norm) {
    double sum = 0.0;
    for (size_t i = 0; i < m->n_params; i++)
        if (!is_frozen(m, i) && !m->fresh[i])
            FP4_TRY(m->be->sum_squares(m->params[i].elements, m->params[i].grad, &sum));
    *norm = sqrt(sum);
    return FP4_OK;
}

fp4_status fp4_optimizer_step(struct fp4_optimizer *o, const struct fp4_adamw *h, double max_norm, double *norm) {
    struct fp4_model *m = o->model;
    double global = 0.0, scale = 1.0;
    float *grad;
    if (!m->grad)
        return fp4_fail(FP4_ERR_ARG, "optimizer step without gradients: fp4_model_enable_grad comes first");
    if (norm || max_norm > 0.0)
        FP4_TRY(gradient_norm(m, &global));
    if (max_norm > 0.0 && max_norm / (global + 1e-6) < 1.0)
        scale = max_norm / (global + 1e-6);
    if (norm)
        *norm = global;
    o->step++;
    for (size_t i = 0; i < m->n_params; i++) {
        struct fp4_param *p = &m->params[i];
        float *moment = o->moments + (p->data - m->data);
        if (is_frozen(m, i))
            continue;
        FP4_TRY(fp4_grad_of(m, i, &grad));
        FP4_TRY(m->be->adamw(p->elements, p->data, grad, moment, moment + m->n_stored, h, o->step, (float)scale));
    }
    return FP4_OK;
}
