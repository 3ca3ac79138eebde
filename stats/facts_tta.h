/* stats/facts_tta.h: what the files of the adaptation section share. */
#ifndef FP4LAB_STATS_FACTS_TTA_H
#define FP4LAB_STATS_FACTS_TTA_H

#include "stats/facts_data.h"

enum tta_measure { SEQUENCE, EXACT, SUBSTRING, N_MEASURES };
enum { MAX_STEPS = 64 };

/* One arm of one model: means over seeds for each task, and the drawn counts by the published rule. */
struct tta_arm {
    const char *name;
    int n[MAX_TASKS]; /* trials of a task, 0: not run */
    double p[N_MEASURES][MAX_TASKS];
    int64_t draws[MAX_TASKS], hits[MAX_TASKS];
    size_t steps; /* entries of entropy */
    double entropy[MAX_TASKS][MAX_STEPS];
};

struct tta_section {
    struct facts *f;
    size_t slot;
    const char *model, *prefix; /* "tta", "tta2" */
    size_t n_arms, n_tasks;
    struct tta_arm *arms;
    const char *prompt[MAX_TASKS], *expected[MAX_TASKS];
};

extern const struct arm_label TTA_ARMS[];

const struct tta_arm *tta_find(const struct tta_section *s, const char *name);
/* Entropy by step: a table and a figure. */
void tta_entropy(struct tta_section *s);
/* Differences between arms over the tasks, with the claims that rest on them (first model only). */
void tta_comparisons(struct tta_section *s);
/* Keys of all claims when nothing was run. */
void tta_no_claims(struct facts *f);

#endif
