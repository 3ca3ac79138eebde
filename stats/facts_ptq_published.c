/* Post-training quantization: methods against round-to-nearest with their claims, and the published tables beside ours. */
#include <math.h>
#include <string.h>

#include "stats/facts_ptq.h"

static const double ALPHA = 0.05;

/* ---- comparisons ---- */

static const struct comparison {
    const char *claim, *name, *arm, *against; /* claim: arm has the lower perplexity */
} COMPARISONS[] = {
    {"nvfp4_beats_mxfp4", "NVFP4 RTN against MXFP4 RTN", "rtn_nvfp4", "rtn_mxfp4"},
    {"nvfp4_beats_int4", "NVFP4 RTN against INT4 RTN", "rtn_nvfp4", "rtn_int4"},
    {"gptq_helps", "NVFP4 GPTQ against NVFP4 RTN", "gptq_nvfp4", "rtn_nvfp4"},
    {"four_over_six_helps", "NVFP4 four-over-six against NVFP4 RTN", "four_over_six_nvfp4", "rtn_nvfp4"},
    {"hadamard_helps_nvfp4", "NVFP4 Hadamard against NVFP4 RTN", "hadamard_nvfp4", "rtn_nvfp4"},
    {"hadamard_helps_mxfp4", "MXFP4 Hadamard against MXFP4 RTN", "hadamard_mxfp4", "rtn_mxfp4"},
};
enum { N_COMPARISONS = sizeof COMPARISONS / sizeof *COMPARISONS };

static void claim(struct facts *f, const struct comparison *c, const struct ptq_ratio *r, double holm) {
    static const char test[] = "t test of the log ratio, documents and replicates as clusters, two-sided, Holm over the family; without replicates no verdict";
    char in[FACT_KEY], key[FACT_KEY];
    enum verdict v = VERDICT_MISSING;
    if (r->there)
        v = isfinite(holm) ? verdict_positive(1 - r->ratio.value, holm, ALPHA) : VERDICT_INCONCLUSIVE;
    facts_claim(f, c->claim, v, test);
    facts_key(in, "claim:%s", c->claim);
    facts_key(key, "%s.change", c->claim);
    struct fact change = r->ratio, p = fact_point(holm, FACT_P);
    change.style = FACT_CHANGE;
    change.value -= 1;
    change.low -= 1;
    change.high -= 1;
    if (r->there)
        facts_number(f, key, in, &change);
    else
        facts_absent(f, key, in, "an arm was not run");
    facts_key(key, "%s.p", c->claim);
    if (isfinite(holm))
        facts_number(f, key, in, &p);
    else
        facts_absent(f, key, in, "no replicates");
}

static void error_cell(struct ptq_section *s, const char *key, double standard_error) {
    struct fact v = fact_point(standard_error, FACT_NOISE);
    if (isfinite(standard_error))
        table_fact(s->f, key, &v);
    else
        table_not_run(s->f, "too few documents or replicates");
}

void ptq_comparisons(struct ptq_section *s) {
    struct ptq_ratio r[N_COMPARISONS];
    double tested[N_COMPARISONS], holm[N_COMPARISONS];
    char key[FACT_KEY];
    for (size_t i = 0; i < N_COMPARISONS; i++) {
        r[i] = ptq_compare(s, COMPARISONS[i].arm, COMPARISONS[i].against);
        tested[i] = r[i].there && r[i].has_noise ? r[i].p : NAN;
    }
    holm_of_finite(s->f, N_COMPARISONS, tested, holm);
    table_begin(s->f, "ptq_comparisons",
                "<comparison|<ratio of perplexities|>standard error from documents|>standard error from replicates|>p|>p after Holm|<verdict");
    for (size_t i = 0; i < N_COMPARISONS; i++) {
        const struct comparison *c = &COMPARISONS[i];
        claim(s->f, c, &r[i], holm[i]);
        if (!r[i].there)
            continue;
        struct fact p = fact_point(r[i].p, FACT_P), adjusted = fact_point(holm[i], FACT_P);
        table_cell(s->f, "%s", c->name);
        table_fact(s->f, facts_key(key, "ptq.%s.ratio", c->claim), &r[i].ratio);
        error_cell(s, facts_key(key, "ptq.%s.text", c->claim), r[i].text);
        error_cell(s, facts_key(key, "ptq.%s.replicates", c->claim), r[i].replicates);
        table_fact(s->f, facts_key(key, "ptq.%s.p", c->claim), &p);
        table_fact(s->f, facts_key(key, "ptq.%s.holm", c->claim), &adjusted);
        table_cell(s->f, "%s", !isfinite(holm[i]) ? "no replicates, no verdict"
                                : holm[i] >= ALPHA ? "not told apart" : r[i].ratio.value < 1 ? "lower" : "higher");
        table_row(s->f);
    }
    table_end(s->f);
}

/* ---- the published tables ---- */

/* What this machine has for a row: an arm's perplexity and ratio, or why not. */
static void here_cell(struct ptq_section *s, const char *row, const char *arm_field, const char *why_field) {
    struct facts *f = s->f;
    char path[FACT_KEY];
    facts_key(path, "%s.%s", row, why_field);
    if (published_node(f, path)) {
        table_not_run(f, published_text(f, path));
        return;
    }
    const char *name = published_text(f, facts_key(path, "%s.%s", row, arm_field));
    const struct ptq_arm *a = ptq_find(s, name);
    struct ptq_ratio r = ptq_compare(s, name, "unquantized");
    if (!a || !r.there) {
        table_not_run(f, "the arm is not among these results");
        return;
    }
    struct fact ppl = fact_point(exp(ptq_log_mean(a)), FACT_PPL);
    char text[FACT_TEXT], interval[FACT_TEXT], ratio[FACT_TEXT];
    fact_text(&ppl, text, interval);
    fact_text(&r.ratio, ratio, interval);
    if (strcmp(name, "unquantized") == 0)
        table_cell(f, "%s", text);
    else
        table_cell(f, "%s; ratio %s %s", text, ratio, interval);
}

/* A published perplexity with its ratio to the first row's. */
static void ppl_cell(struct facts *f, const char *rows, const char *row, const char *column) {
    char path[FACT_KEY], first[FACT_KEY];
    facts_key(path, "%s.%s.%s", rows, row, column);
    facts_key(first, "%s.01.%s", rows, column);
    struct fact ratio = fact_point(published_number(f, path) / published_number(f, first), FACT_RATIO);
    char text[FACT_TEXT], interval[FACT_TEXT];
    fact_text(&ratio, text, interval);
    if (strcmp(row, "01") == 0)
        table_published(f, path);
    else
        table_cell(f, "%s; ratio %s", published_text(f, path), text);
}

static void adacodec_table(struct ptq_section *s) {
    const char *row;
    json_t *node;
    char path[FACT_KEY];
    table_begin(s->f, "adacodec", "<method|<published, Llama-2-7B|<published, Llama-3-8B|<as published, here|<as specified, here");
    json_object_foreach(published_node(s->f, "adacodec.rows"), row, node) {
        table_published(s->f, facts_key(path, "adacodec.rows.%s.name", row));
        ppl_cell(s->f, "adacodec.rows", row, "llama2_7b");
        ppl_cell(s->f, "adacodec.rows", row, "llama3_8b");
        here_cell(s, facts_key(path, "adacodec.rows.%s", row), "arm_published", "why_published");
        here_cell(s, facts_key(path, "adacodec.rows.%s", row), "arm", "why_specified");
        table_row(s->f);
    }
    table_end(s->f);
}

/* The counterpart of a published statement: the measured reduction of size where there is one. */
static void statement_cell(struct ptq_section *s, const char *row, bool specified) {
    char path[2 * FACT_KEY];
    snprintf(path, sizeof path, "%s.why", row);
    const char *why = published_text(s->f, path);
    snprintf(path, sizeof path, "%s.arm", row);
    const struct ptq_arm *a = published_node(s->f, path) ? ptq_find(s, published_text(s->f, path)) : NULL;
    if (!specified || !a) {
        table_not_run(s->f, why);
        return;
    }
    struct fact v = fact_point(1 - trial_number(a->trial, "outcome.packed_bytes") / trial_number(a->trial, "outcome.unquantized_bytes"), FACT_PERCENT);
    char text[FACT_TEXT], interval[FACT_TEXT];
    fact_text(&v, text, interval);
    table_cell(s->f, "%s of the linear weights, measured (%s)", text, arm_label(PTQ_ARMS, a->name));
}

static void tinyml_table(struct ptq_section *s) {
    const char *row;
    json_t *node;
    char path[FACT_KEY];
    table_begin(s->f, "tinyml", "<method|<published perplexity, OPT-350M|<published size|<as published, here|<as specified, here");
    json_object_foreach(published_node(s->f, "tinyml.rows"), row, node) {
        table_published(s->f, facts_key(path, "tinyml.rows.%s.name", row));
        ppl_cell(s->f, "tinyml.rows", row, "ppl");
        table_published(s->f, facts_key(path, "tinyml.rows.%s.size", row));
        here_cell(s, facts_key(path, "tinyml.rows.%s", row), "arm_published", "why_published");
        here_cell(s, facts_key(path, "tinyml.rows.%s", row), "arm", "why_specified");
        table_row(s->f);
    }
    json_object_foreach(published_node(s->f, "tinyml.claims"), row, node) {
        table_published(s->f, facts_key(path, "tinyml.claims.%s.name", row));
        table_published(s->f, facts_key(path, "tinyml.claims.%s.value", row));
        table_cell(s->f, "the same sentence");
        for (int i = 0; i < 2; i++)
            statement_cell(s, facts_key(path, "tinyml.claims.%s", row), i == 1);
        table_row(s->f);
    }
    table_end(s->f);
}

static void practice_table(struct ptq_section *s) {
    const char *row;
    json_t *node;
    char path[FACT_KEY];
    table_begin(s->f, "practice_ptq", "<method|<published, Llama-2-7B|<published, Llama-3.1-8B|<here");
    json_object_foreach(published_node(s->f, "practice.ptq"), row, node) {
        table_published(s->f, facts_key(path, "practice.ptq.%s.name", row));
        ppl_cell(s->f, "practice.ptq", row, "llama2_7b");
        ppl_cell(s->f, "practice.ptq", row, "llama31_8b");
        here_cell(s, facts_key(path, "practice.ptq.%s", row), "arm", "why");
        table_row(s->f);
    }
    table_end(s->f);
}

void ptq_published(struct ptq_section *s) {
    adacodec_table(s);
    tinyml_table(s);
    practice_table(s);
}
