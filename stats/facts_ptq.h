/* stats/facts_ptq.h: what the files of the post-training section share. */
#ifndef FP4LAB_STATS_FACTS_PTQ_H
#define FP4LAB_STATS_FACTS_PTQ_H

#include "stats/facts_data.h"

/* One arm on one text: document sums of each replicate. */
struct ptq_arm {
    const char *name;
    size_t n_replicates, n_documents;
    struct fp4_cluster_sum *documents; /* [n_replicates, n_documents] */
    double *ppl;                       /* [n_replicates] */
    double kl_mean, kl_median, kl_p99, top1, seconds; /* means over replicates */
    double noise;                      /* standard deviation of ln ppl between replicates; NAN with one */
    json_t *trial;                     /* its first */
};

/* Perplexity of b over that of a, with the sampling of documents and the noise between replicates in its interval. */
struct ptq_ratio {
    bool there;
    struct fact ratio;
    double p;          /* ratio = 1, two-sided; NAN when not defined */
    bool has_noise;    /* both sides have replicates, or none to have */
    double text, replicates; /* standard errors of the log ratio by source */
};

/* A model on a text. */
struct ptq_section {
    struct facts *f;
    size_t slot;
    const char *model, *text, *prefix; /* "ptq", "ptq2" */
    size_t n_arms;
    struct ptq_arm *arms;
    double tokens;
};

extern const struct arm_label PTQ_ARMS[];

void ptq_load(struct ptq_section *s);
void ptq_free(struct ptq_section *s);
const struct ptq_arm *ptq_find(const struct ptq_section *s, const char *name);
struct ptq_ratio ptq_compare(const struct ptq_section *s, const char *arm, const char *against);
bool ptq_weights_only(const char *arm);
/* Mean of ln ppl over an arm's replicates. */
double ptq_log_mean(const struct ptq_arm *a);

/* facts_ptq_published.c: the published tables beside ours; s->n_arms may be 0. */
void ptq_published(struct ptq_section *s);
/* Methods against round-to-nearest, and the claims (first model). */
void ptq_comparisons(struct ptq_section *s);

#endif
