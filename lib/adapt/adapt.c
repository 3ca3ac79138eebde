/* Entropy minimisation at test time: the loop of WRITEUPS.md A. */
#include "fp4lab/adapt.h"

#include <math.h>

struct fp4_adapt_options fp4_adapt_published(void) {
    return (struct fp4_adapt_options){
        .steps = 10, .adamw = {.lr = 1e-4, .beta1 = 0.9, .beta2 = 0.999, .eps = 1e-8, .weight_decay = 0.01}, .seed = 1};
}

static void set_step(struct fp4_model *m, uint32_t seed, size_t step, bool training) {
    struct fp4_pass pass = {.seed = seed, .step = (uint32_t)step, .training = training};
    fp4_model_set_pass(m, &pass);
}

static fp4_status last_entropy(struct fp4_model *m, const int32_t *tokens, size_t n, double *entropy) {
    size_t n_vocab = fp4_model_config(m)->n_vocab;
    float *logits;
    FP4_TRY(FP4_NEW(logits, n_vocab));
    fp4_status status = fp4_model_logits(m, tokens, n, 1, logits);
    if (status == FP4_OK)
        *entropy = fp4_logits_entropy(logits, n_vocab, 1);
    fp4_free(logits);
    return status;
}

fp4_status fp4_adapt(struct fp4_model *m, struct fp4_optimizer *optimizer, const int32_t *tokens, size_t n,
                     const struct fp4_adapt_options *options, struct fp4_adapt_trace *trace) {
    FP4_TRY(fp4_optimizer_reset(optimizer));
    for (size_t step = 0; step < options->steps; step++) {
        double norm;
        set_step(m, options->seed, step, options->training);
        FP4_TRY(fp4_model_zero_grad(m));
        FP4_TRY(fp4_model_entropy_backward(m, tokens, n, &trace->entropy[step], &trace->loss[step], NULL));
        FP4_TRY(fp4_optimizer_step(optimizer, &options->adamw, 0, &norm)); /* 0: the write-up does not clip */
        if (step == 0)
            trace->grad_norm = norm;
        if (!isfinite(trace->entropy[step]) || !isfinite(norm))
            return fp4_fail(FP4_ERR_NUMERIC, "adaptation: entropy or gradient is not finite at step %zu", step);
    }
    set_step(m, options->seed, options->steps, false);
    FP4_TRY(last_entropy(m, tokens, n, &trace->entropy[options->steps]));
    if (!isfinite(trace->entropy[options->steps]))
        return fp4_fail(FP4_ERR_NUMERIC, "adaptation: the entropy after the last step is not finite");
    return FP4_OK;
}

double fp4_entropy_matched_temperature(const float *logits, size_t n_vocab, double entropy) {
    double low = log(1e-6), high = log(1e6);
    for (;;) {
        double middle = low + (high - low) / 2;
        if (middle <= low || middle >= high)
            return exp(middle);
        if (fp4_logits_entropy(logits, n_vocab, exp(middle)) < entropy)
            low = middle;
        else
            high = middle;
    }
}
