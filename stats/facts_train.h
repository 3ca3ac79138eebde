/* stats/facts_train.h: what the files of the training section share. */
#ifndef FP4LAB_STATS_FACTS_TRAIN_H
#define FP4LAB_STATS_FACTS_TRAIN_H

#include "stats/facts_data.h"

/* One arm on one data set, a value a seed. */
struct train_arm {
    const char *name;
    size_t n;
    int seed[MAX_SEEDS];
    double loss[MAX_SEEDS], accuracy[MAX_SEEDS];
    double clean_loss[MAX_SEEDS], clean_accuracy[MAX_SEEDS]; /* of the leaky split's nets on untouched documents; NAN elsewhere */
    double error_first[MAX_SEEDS], error_last[MAX_SEEDS]; /* quantization error; NAN: nothing quantized */
    double seconds, tokens_per_second, peak;              /* means over seeds */
    json_t *trial[MAX_SEEDS];
};

struct train_section {
    struct facts *f;
    const char *item;
    size_t n_arms;
    struct train_arm *arms;
    double floor; /* exact entropy of the source; NAN: not known */
};

extern const struct arm_label TRAIN_ARMS[];

/* n_arms is 0 when the item has no trials. */
void train_load(struct train_section *s, struct facts *f, const char *item);
void train_unload(struct train_section *s);
const struct train_arm *train_find(const struct train_section *s, const char *name);
/* Differences a − b of the seeds that both have; returns how many. `what`: offset of loss or accuracy in struct train_arm. */
size_t train_pairs(const struct train_arm *a, const struct train_arm *b, size_t what, double *d);

/* facts_train_published.c: published tables beside ours, and the claims. `clean` is the main data set, `leaky` the published split. */
void train_published(struct train_section *clean, struct train_section *leaky);
void train_claims(struct train_section *clean, struct train_section *leaky);

#endif
