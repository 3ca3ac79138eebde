/* experiments/train_run.h: one run of the training experiment: the training write-up's net (WRITEUPS.md D) under a recipe. */
#ifndef FP4LAB_EXPERIMENTS_TRAIN_RUN_H
#define FP4LAB_EXPERIMENTS_TRAIN_RUN_H

#include <jansson.h>

#include "experiments/train_data.h"

struct train_setup {
    size_t n_embd, n_layer, n_head, n_ff, context, batch, accumulate, steps, n_train, n_train_leaky, n_eval, evaluations; /* evaluations + 1 points of the curve */
    double lr;      /* peak: linear warm-up over 5 % of the updates, then cosine to a tenth */
    int seeds;      /* for the plan */
    double dropout; /* 0.1 as published, after attention and MLP; 0: none */
    bool tokenizer; /* prose in SmolLM2's tokens, else in bytes */
};

/* What determines a run beside its data and seed; NULL without memory. New reference. */
json_t *train_config(const struct train_setup *s, const char *recipe, bool no_positions);
/* The net for a vocabulary. */
struct fp4_config train_model_config(const struct train_setup *s, size_t n_vocab, bool no_positions);
/* Trains from random weights of `seed`; fills outcome (curve, final, n_params, n_trained, steps, batch, context) and time, as in SCHEMA.md. Every number in outcome is the
 * same for any number of threads. FP4_ERR_NUMERIC: a loss is not finite. save: a folder that the trained net is written into, over one that is there;
 * NULL: it is not kept. */
fp4_status train_run(const struct train_setup *s, const struct train_data *data, const char *recipe, bool no_positions, uint32_t seed, const char *save,
                     json_t *outcome, json_t *time);
/* Learning rate of update `step`. */
double train_rate(const struct train_setup *s, size_t step);

#endif
