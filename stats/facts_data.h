/* stats/facts_data.h: trials by their address, and what the sections of the report share. Inside stats/ only. */
#ifndef FP4LAB_STATS_FACTS_DATA_H
#define FP4LAB_STATS_FACTS_DATA_H

#include "stats/facts.h"
#include "stats/stats.h"

enum { SLOTS = 2, MAX_TASKS = 64, MAX_SEEDS = 32, MAX_ARMS = 48 };

/* An arm as the report names it; `series` is its colour in every figure. */
struct arm_label {
    const char *arm, *label;
    int series;
};

struct trial_query {
    const char *experiment, *model, *arm, *item; /* NULL: any */
    int seed, replicate;                         /* −1: any */
};
/* The next matching trial from *at on (borrowed; *at moves behind it); NULL: no more. */
json_t *trial_next(const struct results *r, const struct trial_query *q, size_t *at);
/* What stands in an object at a path of words joined by points ("outcome.draws.n"), borrowed: NULL when absent; as a text, ""; as a number, NAN. */
json_t *trial_node(json_t *trial, const char *path);
const char *trial_text(json_t *trial, const char *path);
double trial_number(json_t *trial, const char *path);
/* A count at a path, 0 when absent. What is no whole number from 0 to `most` fails the builder and gives 0: memory is taken in proportion to it. */
int64_t trial_count(struct facts *f, json_t *trial, const char *path, int64_t most);

/* Distinct values of a field ("arm", "item") among an experiment's trials: those of `order` (NULL-terminated) first, then others in the order of their
 * appearance. Returns how many, at most `most`. */
size_t trial_values(const struct results *r, const char *experiment, const char *model, const char *field, const char *const *order,
                    const char **values, size_t most);
/* The arms of an experiment: those of the list first, in its order. */
size_t trial_arms(const struct results *r, const char *experiment, const char *model, const struct arm_label *list, const char *arms[MAX_ARMS]);
/* The models of an experiment, best first: smollm2, selftrained, others. */
size_t trial_models(const struct results *r, const char *experiment, const char **models, size_t most);
/* A model's name for readers. */
const char *model_label(const char *model);
/* The label of an arm; its own name when it is not in the list. */
const char *arm_label(const struct arm_label *list, const char *arm);
bool arm_known(const struct arm_label *list, const char *arm);
int arm_series(const struct arm_label *list, const char *arm);
/* "NAME" for slot 0, "NAME_2" for slot 1. */
const char *slot_name(char *buffer, const char *name, size_t slot);
/* Holm's adjustment over those of p [n], n ≤ MAX_ARMS, that are finite; NAN for the others. */
void holm_of_finite(struct facts *f, size_t n, const double *p, double *adjusted);
/* Mean and t interval of n values; without an interval when n < 2. */
struct fact fact_mean(const double *x, size_t n, enum fact_style style, const char *method);
/* The same cut at the values that are possible. */
struct fact fact_mean_within(const double *x, size_t n, double least, double most, enum fact_style style, const char *method);

#endif
