/* Adaptation: entropy, and what one arm adds to another over the same tasks. */
#include <math.h>
#include <string.h>

#include "stats/facts_tta.h"
#include "stats/internal.h"

static const double ALPHA = 0.05;
static const double MARGIN = 0.05; /* of the equivalence claim, as a share */

/* ---- entropy ---- */

static size_t entropy_at(const struct tta_arm *a, size_t step, double *x) {
    size_t n = 0;
    for (size_t k = 0; k < MAX_TASKS; k++)
        if (a->n[k])
            x[n++] = a->entropy[k][step];
    return n;
}

static void entropy_table(struct tta_section *s) {
    char key[FACT_KEY];
    table_begin(s->f, slot_name(key, "tta_entropy", s->slot),
                "<arm|entropy before, nats|after the first step|after the last step|>tasks below a tenth of the start");
    for (size_t i = 0; i < s->n_arms; i++) {
        const struct tta_arm *a = &s->arms[i];
        if (a->steps < 2)
            continue;
        double first[MAX_TASKS], x[MAX_TASKS], low = 0;
        size_t n = entropy_at(a, 0, first);
        table_cell(s->f, "%s", arm_label(TTA_ARMS, a->name));
        size_t steps[3] = {0, 1, a->steps - 1};
        const char *names[3] = {"before", "first_step", "last_step"};
        for (int j = 0; j < 3; j++) {
            entropy_at(a, steps[j], x);
            struct fact v = fact_mean_within(x, n, 0, INFINITY, FACT_LOSS, "mean over tasks, t interval with tasks as the units, cut at 0");
            table_fact(s->f, facts_key(key, "%s.%s.entropy_%s", s->prefix, a->name, names[j]), &v);
        }
        for (size_t k = 0; k < n; k++)
            low += x[k] < first[k] / 10;
        struct fact v = fact_point(low, FACT_COUNT);
        v.n = n;
        table_fact(s->f, facts_key(key, "%s.%s.collapsed", s->prefix, a->name), &v);
        table_row(s->f);
    }
    table_end(s->f);
}

static void entropy_figure(struct tta_section *s) {
    char key[FACT_KEY];
    bool any = false;
    size_t blocks = 0;
    slot_name(key, "tta_entropy", s->slot);
    for (size_t i = 0; i < s->n_arms; i++)
        any = any || s->arms[i].steps > 1;
    if (!any) {
        figure_missing(s->f, key, "no arm that adapts was run");
        return;
    }
    figure_begin(s->f, key, "# blocks: label, then series, step, median, lower and upper quartile over tasks");
    for (size_t i = 0; i < s->n_arms; i++) {
        const struct tta_arm *a = &s->arms[i];
        if (a->steps < 2)
            continue;
        if (blocks++)
            figure_row(s->f, "\n");
        figure_row(s->f, "\"%s\"", arm_label(TTA_ARMS, a->name));
        for (size_t step = 0; step < a->steps; step++) {
            double x[MAX_TASKS];
            size_t n = entropy_at(a, step, x);
            fp4_sort_doubles(n, x);
            figure_row(s->f, "%d\t%zu\t%.6g\t%.6g\t%.6g", arm_series(TTA_ARMS, a->name), step, x[n / 2], x[n / 4], x[n - 1 - n / 4]);
        }
    }
    figure_end(s->f);
}

void tta_entropy(struct tta_section *s) {
    entropy_table(s);
    entropy_figure(s);
}

/* ---- comparisons ---- */

static const struct comparison {
    const char *name, *first, *second, *claim; /* first − second; claim: that it is positive */
} COMPARISONS[] = {
    {"TTA against base", "tta", "base", "tta_beats_base"},
    {"TTA against base at the same entropy", "tta", "entropy_matched", "tta_beats_matched"},
    {"TTA, small rate, against base", "tta_slow", "base", "tta_slow_beats_base"},
    {"TTA, small rate, against base at the same entropy", "tta_slow", "entropy_matched_slow", NULL},
    {"base, greedy, against base", "base_greedy", "base", NULL},
    {"TTA-FP4, first code, against base", "tta_fp4_v1", "base", NULL},
    {"TTA-FP4, later code, against base", "tta_fp4_v2", "base", NULL},
    {"TTA-FP4, canonical, against base", "tta_fp4", "base", "tta_fp4_beats_base"},
    {"TTA-FP4, canonical, against TTA", "tta_fp4", "tta", NULL},
    {"TTA-FP4, small rate, against TTA, small rate", "tta_fp4_slow", "tta_slow", NULL},
    {"NVFP4 without adaptation against base", "fp4_no_adapt", "base", NULL},
};
enum { N_COMPARISONS = sizeof COMPARISONS / sizeof *COMPARISONS, TTA_AGAINST_BASE = 0, FP4_AGAINST_TTA = 8 };

struct difference {
    bool there;
    size_t n;
    double d[MAX_TASKS], p, holm;
    struct fact mean;
};

static struct difference differ(const struct tta_section *s, const struct comparison *c, enum tta_measure m) {
    struct difference r = {.p = NAN, .holm = NAN};
    const struct tta_arm *a = tta_find(s, c->first), *b = tta_find(s, c->second);
    for (size_t k = 0; a && b && k < MAX_TASKS; k++)
        if (a->n[k] && b->n[k])
            r.d[r.n++] = a->p[m][k] - b->p[m][k];
    struct fp4_sign_flip flip;
    if (r.n < 2 || fp4_sign_flip(r.n, r.d, 100000, 1, &flip) != FP4_OK)
        return r;
    r.there = true;
    r.p = flip.p;
    r.mean = fact_mean(r.d, r.n, FACT_POINTS, "mean difference over tasks, t interval with tasks as the units");
    return r;
}

static void comparison_row(struct tta_section *s, size_t i, const struct difference *whole, const struct difference *sub) {
    char key[FACT_KEY];
    const struct comparison *c = &COMPARISONS[i];
    const struct fact p = fact_point(whole->p, FACT_P), holm = fact_point(whole->holm, FACT_P), p_sub = fact_point(sub->p, FACT_P);
    table_cell(s->f, "%s", c->name);
    table_fact(s->f, facts_key(key, "%s.%s_minus_%s", s->prefix, c->first, c->second), &whole->mean);
    table_fact(s->f, facts_key(key, "%s.%s_minus_%s.p", s->prefix, c->first, c->second), &p);
    table_fact(s->f, facts_key(key, "%s.%s_minus_%s.holm", s->prefix, c->first, c->second), &holm);
    table_fact(s->f, facts_key(key, "%s.%s_minus_%s.substring", s->prefix, c->first, c->second), &sub->mean);
    table_fact(s->f, facts_key(key, "%s.%s_minus_%s.substring_p", s->prefix, c->first, c->second), &p_sub);
    table_row(s->f);
}

/* The numbers a claim's words may use, there or absent. */
static void claim_numbers(struct facts *f, const char *claim, const struct difference *d, double p_value, const char *method) {
    char key[FACT_KEY], in[FACT_KEY];
    facts_key(in, "claim:%s", claim);
    if (!d || !d->there) {
        facts_absent(f, facts_key(key, "%s.difference", claim), in, "an arm was not run");
        facts_absent(f, facts_key(key, "%s.p", claim), in, "an arm was not run");
        return;
    }
    struct fact p = fact_point(p_value, FACT_P);
    p.method = method;
    facts_number(f, facts_key(key, "%s.difference", claim), in, &d->mean);
    facts_number(f, facts_key(key, "%s.p", claim), in, &p);
}

static void positive_claim(struct facts *f, const char *claim, const struct difference *d, double p, const char *test) {
    bool there = d && d->there;
    facts_claim(f, claim, there ? verdict_positive(d->mean.value, p, ALPHA) : VERDICT_MISSING, test);
    claim_numbers(f, claim, d, p, test);
}

static void equivalence_claim(struct facts *f, const struct difference *d) {
    static const char test[] = "two one-sided t tests over tasks of the difference in whole-answer success";
    struct fp4_tost_paired t = {.p = NAN};
    enum verdict v = VERDICT_MISSING;
    if (d && d->there && fp4_tost_paired(d->n, d->d, NULL, -MARGIN, MARGIN, ALPHA, &t) == FP4_OK)
        v = verdict_equivalent(d->mean.low, d->mean.high, MARGIN, t.p, ALPHA);
    facts_claim(f, "fp4_equals_tta", v, test);
    claim_numbers(f, "fp4_equals_tta", d, t.p, test);
    struct fact margin = fact_point(MARGIN, FACT_PERCENT);
    facts_number(f, "fp4_equals_tta.margin", "claim:fp4_equals_tta", &margin);
}

static void claims(struct facts *f, const struct difference *whole, const struct difference *sub) {
    for (size_t i = 0; i < N_COMPARISONS; i++)
        if (COMPARISONS[i].claim)
            positive_claim(f, COMPARISONS[i].claim, whole ? &whole[i] : NULL, whole ? whole[i].holm : NAN,
                           "exact sign-flip permutation over tasks of whole-answer success, two-sided, Holm over all comparisons");
    equivalence_claim(f, whole ? &whole[FP4_AGAINST_TTA] : NULL);
    positive_claim(f, "tta_beats_base_substring", sub ? &sub[TTA_AGAINST_BASE] : NULL, sub ? sub[TTA_AGAINST_BASE].p : NAN,
                   "exact sign-flip permutation over tasks of success by the substring rule, two-sided");
}

void tta_comparisons(struct tta_section *s) {
    struct difference whole[N_COMPARISONS], sub[N_COMPARISONS];
    double p[N_COMPARISONS], holm[N_COMPARISONS];
    char name[FACT_KEY];
    for (size_t i = 0; i < N_COMPARISONS; i++) {
        whole[i] = differ(s, &COMPARISONS[i], SEQUENCE);
        sub[i] = differ(s, &COMPARISONS[i], SUBSTRING);
        p[i] = whole[i].p; /* NAN: not there */
    }
    holm_of_finite(s->f, N_COMPARISONS, p, holm);
    for (size_t i = 0; i < N_COMPARISONS; i++)
        whole[i].holm = holm[i];
    table_begin(s->f, slot_name(name, "tta_comparisons", s->slot),
                "<comparison|whole answer, difference|>sign-flip p|>p after Holm|substring rule, difference|>sign-flip p");
    for (size_t i = 0; i < N_COMPARISONS; i++)
        if (whole[i].there)
            comparison_row(s, i, &whole[i], &sub[i]);
    table_end(s->f);
    if (s->slot == 0)
        claims(s->f, whole, sub);
}

void tta_no_claims(struct facts *f) {
    claims(f, NULL, NULL);
}
