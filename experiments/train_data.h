/* experiments/train_data.h: training and evaluation windows of the training experiment, and the n-gram baselines on them. */
#ifndef FP4LAB_EXPERIMENTS_TRAIN_DATA_H
#define FP4LAB_EXPERIMENTS_TRAIN_DATA_H

#include "fp4lab/text.h"

struct train_data {
    int32_t *train;         /* [n_train] */
    size_t n_train, n_vocab;
    bool leaky;             /* windows at stride 1 of the training tokens, split at random (WRITEUPS.md D, defect 2) */
    size_t context;
    uint32_t split_seed;
    int32_t *eval_inputs, *eval_targets; /* [n_eval, context] */
    int32_t *clean_inputs, *clean_targets; /* leaky only: [n_eval, context] of documents that no training window touches; else NULL */
    size_t n_eval;
    double entropy_floor;   /* mean exact −ln p of the evaluation targets under their source; NaN when not known */
};

/* item: generated (its own words), bible or bible_leaky. tokenizer NULL: bytes are the tokens of prose. Clean splits are by document; `n_train` tokens at
 * most are taken. */
fp4_status train_data_open(const char *item, struct fp4_tokenizer *tokenizer, size_t n_train, size_t n_eval, size_t context,
                           struct train_data *out);
void train_data_close(struct train_data *d);
/* Inputs and targets [batch, context] of update `step`: window starts addressed by (seed, step, row); a leaky split draws from its
 * training windows only. */
void train_data_batch(const struct train_data *d, uint32_t seed, uint32_t step, size_t batch, int32_t *inputs, int32_t *targets);
/* Add-one smoothed unigram (order 1) or bigram (order 2) of the training tokens: mean loss and accuracy on windows, inputs and targets [n_eval, context]. */
fp4_status train_data_ngram(const struct train_data *d, const int32_t *inputs, const int32_t *targets, int order, double *loss, double *accuracy);

#endif
