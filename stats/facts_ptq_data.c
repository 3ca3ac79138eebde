/* Post-training quantization: arms, replicates and document sums from the trials, and ratios between arms. */
#include <math.h>
#include <string.h>

#include "stats/facts_ptq.h"

const struct arm_label PTQ_ARMS[] = {
    {"unquantized", "unquantized", 1},
    {"rtn_w_nvfp4", "NVFP4 weights only, RTN", 5},
    {"rtn_w_mxfp4", "MXFP4 weights only, RTN", 2},
    {"rtn_w_int4", "INT4 weights only, RTN", 6},
    {"rtn_nvfp4", "NVFP4 W4A4, RTN", 5},
    {"four_over_six_nvfp4", "NVFP4 W4A4, four-over-six", 5},
    {"gptq_nvfp4", "NVFP4 W4A4, GPTQ", 5},
    {"hadamard_nvfp4", "NVFP4 W4A4, Hadamard", 5},
    {"gptq_hadamard_nvfp4", "NVFP4 W4A4, GPTQ + Hadamard", 5},
    {"adacodec_quantizer", "NVFP4 W4A4, AdaCodec's quantizer", 5},
    {"rtn_mxfp4", "MXFP4 W4A4, RTN", 2},
    {"gptq_mxfp4", "MXFP4 W4A4, GPTQ", 2},
    {"hadamard_mxfp4", "MXFP4 W4A4, Hadamard", 2},
    {"rtn_int4", "INT4 W4A4, RTN", 6},
    {NULL, NULL, 0}};

bool ptq_weights_only(const char *arm) {
    return strstr(arm, "_w_") != NULL;
}

/* The documents of one trial into row `r`; false when they are not those of the arm's first trial. */
static bool read_documents(struct ptq_arm *a, size_t r, json_t *clusters) {
    size_t i;
    json_t *c;
    if (json_array_size(clusters) != a->n_documents)
        return false;
    json_array_foreach(clusters, i, c) {
        struct fp4_cluster_sum *d = &a->documents[r * a->n_documents + i];
        *d = (struct fp4_cluster_sum){trial_number(c, "n"), trial_number(c, "nll")};
        if (!(d->n >= 1) || !isfinite(d->sum) || (r > 0 && d->n != a->documents[i].n))
            return false;
    }
    return true;
}

static void load_arm(struct ptq_section *s, struct ptq_arm *a, const char *name) {
    struct trial_query q = {"ptq", s->model, name, s->text, -1, -1};
    size_t at = 0, count = 0;
    a->name = name;
    while (trial_next(s->f->results, &q, &at))
        count++;
    at = 0;
    a->trial = trial_next(s->f->results, &q, &at);
    a->n_documents = json_array_size(trial_node(a->trial, "outcome.clusters"));
    size_t n_sums = 0;
    facts_broken(s->f, fp4_size_mul(count, a->n_documents, &n_sums) ? FP4_NEW(a->documents, n_sums) : FP4_ERR_MEMORY);
    facts_broken(s->f, FP4_NEW(a->ppl, count));
    if (!a->documents || !a->ppl)
        return;
    at = 0;
    for (json_t *t; (t = trial_next(s->f->results, &q, &at));) {
        if (!read_documents(a, a->n_replicates, trial_node(t, "outcome.clusters"))) {
            facts_broken(s->f, fp4_fail(FP4_ERR_FORMAT, "%s: ptq, arm %s on %s: its replicates saw different documents",
                                         results_origin(s->f->results, t), name, s->text));
            return;
        }
        a->ppl[a->n_replicates++] = trial_number(t, "outcome.ppl");
        a->kl_mean += trial_number(t, "outcome.kl_mean") / (double)count;
        a->kl_median += trial_number(t, "outcome.kl_median") / (double)count;
        a->kl_p99 += trial_number(t, "outcome.kl_p99") / (double)count;
        a->top1 += trial_number(t, "outcome.top1") / (double)count;
        a->seconds += trial_number(t, "time.seconds") / (double)count;
    }
}

double ptq_log_mean(const struct ptq_arm *a) {
    double mean = 0;
    for (size_t r = 0; r < a->n_replicates; r++)
        mean += log(a->ppl[r]) / (double)a->n_replicates;
    return mean;
}

/* Standard deviation of the logs: relative noise, whatever the perplexity. */
static double log_noise(const struct ptq_arm *a) {
    double mean = ptq_log_mean(a), sum = 0;
    if (a->n_replicates < 2)
        return NAN;
    for (size_t r = 0; r < a->n_replicates; r++)
        sum += pow(log(a->ppl[r]) - mean, 2);
    return sqrt(sum / (double)(a->n_replicates - 1));
}

void ptq_load(struct ptq_section *s) {
    const char *names[MAX_ARMS];
    size_t n = trial_arms(s->f->results, "ptq", s->model, PTQ_ARMS, names);
    facts_broken(s->f, FP4_NEW(s->arms, n));
    for (size_t i = 0; s->arms && i < n; i++) {
        struct trial_query q = {"ptq", s->model, names[i], s->text, -1, -1};
        size_t at = 0;
        if (!trial_next(s->f->results, &q, &at))
            continue;
        struct ptq_arm *a = &s->arms[s->n_arms++];
        load_arm(s, a, names[i]);
        a->noise = log_noise(a);
    }
    if (s->n_arms)
        s->tokens = trial_number(s->arms[0].trial, "outcome.n_tokens");
}

void ptq_free(struct ptq_section *s) {
    for (size_t i = 0; i < s->n_arms; i++) {
        fp4_free(s->arms[i].documents);
        fp4_free(s->arms[i].ppl);
    }
    fp4_free(s->arms);
    s->arms = NULL;
    s->n_arms = 0;
}

const struct ptq_arm *ptq_find(const struct ptq_section *s, const char *name) {
    for (size_t i = 0; i < s->n_arms; i++)
        if (!strcmp(s->arms[i].name, name))
            return &s->arms[i];
    return NULL;
}

/* A text of one document: what is left to know is the noise between replicates. */
static struct ptq_ratio one_document(const struct ptq_arm *b, const struct ptq_arm *a, size_t n) {
    struct ptq_ratio r = {.p = NAN, .text = NAN, .replicates = NAN};
    double d[MAX_SEEDS], sum = 0;
    n = n < MAX_SEEDS ? n : MAX_SEEDS;
    for (size_t i = 0; i < n; i++) {
        d[i] = log(b->ppl[i]) - log(a->ppl[a->n_replicates > 1 ? i : 0]);
        sum += d[i];
    }
    r.there = n > 0;
    r.ratio = fact_point(exp(sum / (double)n), FACT_RATIO);
    struct fp4_t_test t;
    if (n >= 2 && fp4_t_paired(n, d, NULL, 0.95, &t) == FP4_OK) {
        r.ratio = fact_interval(exp(t.difference), exp(t.ci.lower), exp(t.ci.upper), n, FACT_RATIO, "replicates only: the text is one document");
        r.replicates = t.se;
    }
    return r;
}

struct ptq_ratio ptq_compare(const struct ptq_section *s, const char *arm, const char *against) {
    struct ptq_ratio r = {.p = NAN, .text = NAN, .replicates = NAN};
    const struct ptq_arm *b = ptq_find(s, arm), *a = ptq_find(s, against);
    if (!a || !b || a->n_documents != b->n_documents)
        return r;
    size_t n = b->n_replicates < a->n_replicates ? b->n_replicates : a->n_replicates;
    size_t n_a = a->n_replicates > 1 ? n : 1;
    if (a->n_replicates == 1)
        n = b->n_replicates;
    struct fp4_perplexity_replicated p;
    if (a->n_documents < 2 || fp4_perplexity_ratio_replicated(a->n_documents, n_a, a->documents, n, b->documents, 0.95, &p) != FP4_OK) {
        r = one_document(b, a, n);
    } else {
        r.there = true;
        r.ratio = fact_interval(p.ratio, p.ci.lower, p.ci.upper, s->tokens >= 0 && s->tokens < 0x1p53 ? (size_t)s->tokens : 0, FACT_RATIO,
                                n > 1 ? "documents as clusters and replicates, two-way, t" : "documents as clusters, t; one replicate");
        r.p = p.log_ratio.p;
        r.text = p.log_ratio.se_clusters;
        r.replicates = p.log_ratio.se_replicates;
    }
    r.has_noise = n > 1;
    return r;
}
