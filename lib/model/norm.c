/* The two norms. */
#include "lib/model/internal.h"

fp4_status fp4_norm_forward(struct fp4_model *m, const struct fp4_norm *n, size_t R, const float *x, float *y, float *mean, float *rstd) {
    const float *w = m->params[n->weight].data;
    size_t d = m->config.n_embd;
    if (n->bias == SIZE_MAX)
        return m->be->norm(R, d, x, w, m->config.norm_eps, y, rstd);
    return m->be->layer_norm(R, d, x, w, m->params[n->bias].data, m->config.norm_eps, y, mean, rstd);
}

fp4_status fp4_norm_backward(struct fp4_model *m, const struct fp4_norm *n, size_t R, const float *x, const float *mean, const float *rstd,
                             const float *dy, float *dx) {
    const float *w = m->params[n->weight].data;
    size_t d = m->config.n_embd;
    float *dw, *db;
    FP4_TRY(fp4_grad_of(m, n->weight, &dw));
    if (n->bias == SIZE_MAX)
        return m->be->norm_backward(R, d, x, w, rstd, dy, dx, dw);
    FP4_TRY(fp4_grad_of(m, n->bias, &db));
    return m->be->layer_norm_backward(R, d, x, w, mean, rstd, dy, dx, dw, db);
}
