/* fp4lab/adapt.h: test-time adaptation by entropy minimisation (WRITEUPS.md A), its controls, and what a model's answer is worth.
 *
 * Quantization is the model's: set policies and pass before calling (fp4_model_set_policy). Success probabilities follow from the
 * logits exactly; nothing here samples but the draws, and these are addressed. */
#ifndef FP4LAB_ADAPT_H
#define FP4LAB_ADAPT_H

#include "fp4lab/model.h"

/* ---- adaptation ---- */

struct fp4_adapt_options {
    size_t steps;
    struct fp4_adamw adamw; /* decay acts on all parameters */
    uint32_t seed;          /* of stochastic rounding and dropout; step k of the trace uses {seed, k} */
    bool training;          /* steps run in training mode (struct fp4_pass), as published; the entropy after the last never does */
};
/* As published: 10 steps, lr 1e-4, betas (0.9, 0.999), eps 1e-8, decay 0.01. */
struct fp4_adapt_options fp4_adapt_published(void);

struct fp4_adapt_trace {
    double *entropy; /* [steps + 1]: of the last position before each step (as the step sees it) and after the last, nats */
    double *loss;    /* [steps]: −Σ p·ln(p + 1e-8) before each step */
    double grad_norm;/* 2-norm of the first step's gradient over all trained parameters */
};

/* Minimises the entropy of the last position of tokens [n] by `steps` AdamW steps from fresh moments. Weights are changed; take a
 * snapshot before. On return the model's pass is {seed, steps}: later passes round as the last entropy of the trace did.
 * FP4_ERR_NUMERIC: entropy or gradient is not finite. */
fp4_status fp4_adapt(struct fp4_model *m, struct fp4_optimizer *optimizer, const int32_t *tokens, size_t n,
                     const struct fp4_adapt_options *options, struct fp4_adapt_trace *trace);

/* ---- control: sharpening alone ---- */

/* T at which softmax(logits/T) has the given entropy, by bisection to the last bit of log T in [1e-6, 1e6] (entropy grows with T). An
 * entropy that no T of that range reaches gives the nearer end. */
double fp4_entropy_matched_temperature(const float *logits, size_t n_vocab, double entropy);

/* ---- success ---- */

struct fp4_adapt_task {
    const int32_t *prompt, *expected;
    size_t n_prompt, n_expected; /* ≥ 1 */
    const uint8_t *substring;    /* [n_vocab]: 1 where the published rule counts the token as a success */
};
/* The published rule: `text`, stripped and lower-cased, contains `expected`, stripped and lower-cased (ASCII). */
bool fp4_substring_success(const char *text, const char *expected);

struct fp4_adapt_sampling {
    double temperature; /* 0: greedy */
    int top_k;          /* 0: all */
    size_t n_draws;
    struct fp4_random random; /* address of the draws; element = draw · 64 + token */
};
struct fp4_adapt_success {
    double entropy;     /* last position, temperature 1 */
    double p_first_t1;  /* of the first expected token, temperature 1, no cut */
    double p_exact, p_substring, p_sequence;
    size_t draws_exact, draws_substring, draws_sequence;
    bool greedy_match;
};
/* What the model as it stands makes of a task. greedy [n_expected]: its greedy continuation. Each position is computed by a pass
 * over exactly the tokens before it: quantizers with a tensor scale see no later token. n_expected ≤ 64 (FP4_ERR_ARG). */
fp4_status fp4_adapt_measure(struct fp4_model *m, const struct fp4_adapt_task *task, const struct fp4_adapt_sampling *sampling,
                             struct fp4_adapt_success *out, int32_t *greedy);

#endif
