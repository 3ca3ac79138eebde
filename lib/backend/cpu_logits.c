/* CPU backend: what is done to rows of logits. */
#include <math.h>

#include "lib/backend/cpu.h"
#include "lib/kernels/cpu/nn_kernels.h"

struct rows {
    const struct fp4_nn_kernels *k;
    size_t V;
    float *logits;
    const float *in, *reference;
    const int32_t *targets;
    float gradient;
    double *loss, *nll, *kl;
    uint8_t *hit;
};

static void cross_entropy_row(void *context, size_t t) {
    const struct rows *r = context;
    float *row = r->logits + t * r->V;
    int32_t best, target = r->targets[t];
    r->loss[t] = 0.0;
    r->hit[t] = 0;
    if (target < 0) {
        if (r->gradient != 0.0f)
            r->k->scale(r->V, 0.0f, row);
        return;
    }
    float max = r->k->maximum(r->V, row, &best), own = row[target];
    double sum = r->k->exp_sum(r->V, row, max);
    r->loss[t] = log(sum) + (double)max - (double)own;
    r->hit[t] = best == target;
    if (r->gradient != 0.0f) {
        r->k->exp_scale(r->V, row, max, (float)((double)r->gradient / sum));
        /* (p − 1)·gradient from the target's own exponential, in double: p may be near 1 */
        row[target] = (float)((double)r->gradient * (exp((double)own - (double)max) / sum - 1.0));
    }
}

fp4_status fp4_cpu_cross_entropy(size_t R, size_t V, float *logits, const int32_t *targets, float gradient, double *loss, size_t *correct) {
    struct rows r = {.k = fp4_nn_kernels(), .V = V, .logits = logits, .targets = targets, .gradient = gradient};
    FP4_TRY(FP4_NEW(r.loss, R));
    fp4_status status = FP4_NEW(r.hit, R);
    if (status == FP4_OK) {
        fp4_parallel_for(R, cross_entropy_row, &r);
        for (size_t t = 0; t < R; t++) {
            *loss += r.loss[t];
            if (correct)
                *correct += r.hit[t];
        }
    }
    fp4_free(r.loss);
    fp4_free(r.hit);
    return status;
}

static void score_row(void *context, size_t t) {
    const struct rows *r = context;
    const float *x = r->in + t * r->V;
    int32_t best, best_reference;
    float max = r->k->maximum(r->V, x, &best);
    double lse = log(r->k->exp_sum_wide(r->V, x, max)) + (double)max;
    if (r->nll)
        r->nll[t] = lse - (double)x[r->targets[t]];
    if (!r->reference)
        return;
    const float *y = r->reference + t * r->V;
    float max_reference = r->k->maximum(r->V, y, &best_reference);
    double lse_reference = log(r->k->exp_sum_wide(r->V, y, max_reference)) + (double)max_reference;
    if (r->kl)
        r->kl[t] = r->k->divergence(r->V, y, lse_reference, x, lse);
    if (r->hit)
        r->hit[t] = best == best_reference;
}

fp4_status fp4_cpu_score(size_t R, size_t V, const float *logits, const float *reference, const int32_t *targets, double *nll,
                         double *kl, uint8_t *top1) {
    struct rows r = {.k = fp4_nn_kernels(), .V = V, .in = logits, .reference = reference, .targets = targets, .nll = nll, .kl = kl,
                     .hit = top1};
    fp4_parallel_for(R, score_row, &r);
    return FP4_OK;
}

/* L = −Σ p ln(p + ε): ∂L/∂z_j = p_j·(g_j − Σ p g), g = −(ln(p + ε) + p/(p + ε)). ε is the write-up's guard, 1e-8. */
fp4_status fp4_cpu_entropy(size_t V, const float *logits, double *entropy, double *loss, float *dlogits) {
    const double guard = 1e-8;
    double *p;
    int32_t best;
    FP4_TRY(FP4_NEW(p, V));
    float max = fp4_nn_kernels()->maximum(V, logits, &best);
    double lse = log(fp4_nn_kernels()->exp_sum_wide(V, logits, max)) + (double)max, mean = 0.0;
    *entropy = *loss = 0.0;
    for (size_t i = 0; i < V; i++) {
        double lp = (double)logits[i] - lse;
        p[i] = exp(lp);
        *entropy -= p[i] > 0.0 ? p[i] * lp : 0.0;
        *loss -= p[i] * log(p[i] + guard);
        mean -= p[i] * (log(p[i] + guard) + p[i] / (p[i] + guard));
    }
    for (size_t i = 0; i < V; i++)
        dlogits[i] = (float)(p[i] * (-(log(p[i] + guard) + p[i] / (p[i] + guard)) - mean));
    fp4_free(p);
    return FP4_OK;
}
