/* experiments/tta.h: the parts of the adaptation experiment (WRITEUPS.md A; outcome as in SCHEMA.md). */
#ifndef FP4LAB_EXPERIMENTS_TTA_H
#define FP4LAB_EXPERIMENTS_TTA_H

#include "experiments/run.h"
#include "experiments/source.h"
#include "fp4lab/adapt.h"

/* ---- arms: tta_arms.c ---- */

enum tta_kind { TTA_BASE, TTA_GREEDY, TTA_ADAPT, TTA_MATCHED };
struct tta_arm {
    const char *name, *summary;
    enum tta_kind kind;
    double lr;                  /* adapting arms; for TTA_MATCHED: of the adaptation whose entropy is matched */
    const char *operand[FP4_OPERANDS]; /* spellings; NULL: none */
    bool head;                  /* the policy holds for the head too */
    bool untied;                /* the head is a parameter of its own */
    bool stochastic;            /* its outcome depends on the seed beyond the draws, without dropout too */
};
extern const struct tta_arm tta_arms[];
extern const size_t tta_n_arms;
fp4_status tta_arm_policy(const struct tta_arm *arm, struct fp4_policy *out);

/* ---- the loaded model: tta_model.c ---- */

/* One model at a time, tied as in its file or with a head of its own; snapshot and optimizer are made when an arm first needs them. */
struct tta_model {
    struct source source;
    bool open, untied;
    char hash[65];              /* of all weights as loaded */
    struct fp4_optimizer *optimizer;
    struct fp4_snapshot *snapshot;
};
/* What adaptation needs of it, at the most. */
extern const struct fp4_use tta_use;
fp4_status tta_model_use(struct tta_model *t, const char *name, bool untied, const struct fp4_load *load);
fp4_status tta_model_ready(struct tta_model *t); /* for adaptation: gradients, moments, snapshot */
/* Copies the weights back and proves it; FP4_ERR_NUMERIC when the hash differs. */
fp4_status tta_model_restore(struct tta_model *t);
void tta_model_close(struct tta_model *t);

/* ---- a trial: tta_trial.c ---- */

enum { TTA_TOP_K = 50, TTA_DRAWS = 100 };
extern const double tta_temperature; /* 0.7 */

struct tta_work {
    const struct tta_arm *arm;
    const struct fp4_corpus_task *item;
    int number;                 /* of the item, from 1 */
    size_t steps;
    double dropout;             /* of the model: adaptation runs in training mode, as published */
    double scale;               /* of the model: source_scale */
    bool begins;                /* the model's tokenizer puts tokens in front of the prompt */
};
/* Whether the outcome depends on the seed beyond the draws. */
bool tta_stochastic(const struct tta_work *w);
struct tta_state {
    struct run_options options;
    struct tta_work *work;      /* trials point into it */
    size_t n_work, room;
    struct tta_model model;
    char matched_model[1024];   /* whose adapted entropies are remembered: */
    double matched[2][FP4_CORPUS_TASKS + 1]; /* [lr 1e-4, other][item]; NaN: not known yet */
};
/* Everything that determines the outcome. New reference, NULL when out of memory. */
json_t *tta_config(const struct tta_work *w, const char *model);
fp4_status tta_trial(void *state, const struct run_trial *t, json_t *outcome, json_t *time);

#endif
