/* Post-training quantization: perplexity, its ratio and its noise, KL divergence, bytes; the figures. */
#include "stats/facts_ptq.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

static const char *const TEXTS[] = {"wikitext2", "bible", "gcide", "generated", NULL};

static const char *text_label(const char *text) {
    return !strcmp(text, "wikitext2") ? "WikiText-2" : !strcmp(text, "bible") ? "the King James Bible" : !strcmp(text, "gcide") ? "GCIDE"
           : !strcmp(text, "generated") ? "the generated corpus" : text;
}

static void point_cell(struct ptq_section *s, const char *arm, const char *what, double value, enum fact_style style) {
    char key[FACT_KEY];
    struct fact v = fact_point(value, style);
    if (isfinite(value))
        table_fact(s->f, facts_key(key, "%s.%s.%s", s->prefix, arm, what), &v);
    else
        table_cell(s->f, "is the reference");
}

static void ratio_cell(struct ptq_section *s, const struct ptq_arm *a, const char *what) {
    char key[FACT_KEY];
    struct ptq_ratio r = ptq_compare(s, a->name, "unquantized");
    if (!strcmp(a->name, "unquantized"))
        table_cell(s->f, "is the reference");
    else if (r.there)
        table_fact(s->f, facts_key(key, "%s.%s.%s", s->prefix, a->name, what), &r.ratio);
    else
        table_not_run(s->f, "no unquantized arm");
}

static void noise_cell(struct ptq_section *s, const struct ptq_arm *a) {
    char key[FACT_KEY];
    struct fact v = fact_point(a->noise, FACT_NOISE);
    v.n = a->n_replicates;
    v.method = "standard deviation of ln perplexity between replicates";
    if (isfinite(a->noise))
        table_fact(s->f, facts_key(key, "%s.%s.noise", s->prefix, a->name), &v);
    else
        table_not_run(s->f, "one replicate");
}

static void main_table(struct ptq_section *s) {
    char name[FACT_KEY];
    table_begin(s->f, slot_name(name, "ptq_main", s->slot),
                "<arm|>perplexity|<ratio to unquantized|>noise between replicates|>KL mean, nats|>KL median|>KL, 99 "
                "%|>same top token|>packed weights|>share of 16 bit|>seconds");
    for (size_t i = 0; i < s->n_arms; i++) {
        const struct ptq_arm *a = &s->arms[i];
        double packed = trial_number(a->trial, "outcome.packed_bytes"), plain = trial_number(a->trial, "outcome.unquantized_bytes");
        table_cell(s->f, "%s", arm_label(PTQ_ARMS, a->name));
        point_cell(s, a->name, "ppl", exp(ptq_log_mean(a)), FACT_PPL);
        ratio_cell(s, a, "ratio");
        noise_cell(s, a);
        point_cell(s, a->name, "kl_mean", a->kl_mean, FACT_SMALL);
        point_cell(s, a->name, "kl_median", a->kl_median, FACT_SMALL);
        point_cell(s, a->name, "kl_p99", a->kl_p99, FACT_SMALL);
        point_cell(s, a->name, "top1", a->top1, FACT_PERCENT);
        point_cell(s, a->name, "packed", packed > 0 ? packed : NAN, FACT_BYTES); /* the reference is not packed */
        point_cell(s, a->name, "share", packed / plain, FACT_PERCENT);
        point_cell(s, a->name, "seconds", a->seconds, FACT_PLAIN);
        table_row(s->f);
    }
    table_end(s->f);
}

/* Calibration tokens, disclosed. */
static void calibration_table(struct ptq_section *s) {
    char name[FACT_KEY];
    table_begin(s->f, slot_name(name, "ptq_calibration", s->slot), "<arm|<text|>first token|>tokens|<sha256 of the tokens");
    for (size_t i = 0; i < s->n_arms; i++) {
        json_t *c = trial_node(s->arms[i].trial, "outcome.calibration");
        if (!json_is_object(c))
            continue;
        table_cell(s->f, "%s", arm_label(PTQ_ARMS, s->arms[i].name));
        table_cell(s->f, "%s", text_label(trial_text(c, "text")));
        table_cell(s->f, "%.0f", trial_number(c, "first"));
        table_cell(s->f, "%.0f", trial_number(c, "n"));
        table_cell(s->f, "%s", trial_text(c, "sha256"));
        table_row(s->f);
    }
    table_end(s->f);
}

/* Ratios of every text of the model side by side. */
static void texts_table(struct facts *f, size_t slot, const char *model, const char *const *texts, size_t n_texts) {
    char name[FACT_KEY], columns[512] = "<arm", prefix[FACT_KEY];
    struct ptq_section s[8] = {0};
    for (size_t t = 0; t < n_texts; t++) {
        s[t] = (struct ptq_section){.f = f, .slot = slot, .model = model, .text = texts[t], .prefix = slot ? "ptq2" : "ptq"};
        ptq_load(&s[t]);
        strncat(columns, "|<", sizeof columns - strlen(columns) - 1);
        strncat(columns, text_label(texts[t]), sizeof columns - strlen(columns) - 1);
    }
    table_begin(f, slot_name(name, "ptq_texts", slot), columns);
    for (size_t i = 0; PTQ_ARMS[i].arm; i++) {
        bool any = false;
        for (size_t t = 0; t < n_texts; t++)
            any = any || ptq_find(&s[t], PTQ_ARMS[i].arm);
        if (!any || !strcmp(PTQ_ARMS[i].arm, "unquantized"))
            continue;
        table_cell(f, "%s", PTQ_ARMS[i].label);
        for (size_t t = 0; t < n_texts; t++) {
            const struct ptq_arm *a = ptq_find(&s[t], PTQ_ARMS[i].arm);
            if (a)
                ratio_cell(&s[t], a, facts_key(prefix, "ratio_%s", texts[t]));
            else
                table_not_run(f, "not planned on this text");
        }
        table_row(f);
    }
    table_end(f);
    for (size_t t = 0; t < n_texts; t++)
        ptq_free(&s[t]);
}

/* ---- figures ---- */

struct dot {
    const struct ptq_arm *arm;
    struct ptq_ratio ratio;
    double megabytes, label; /* label: where its name stands, in ln ratio */
};

static int by_ratio(const void *a, const void *b) {
    double x = ((const struct dot *)a)->ratio.ratio.value, y = ((const struct dot *)b)->ratio.ratio.value;
    return (x > y) - (x < y);
}

/* Names of dots that stand close are moved upwards, each above the one below. */
static void bytes_figure(struct ptq_section *s) {
    struct dot d[MAX_ARMS];
    size_t n = 0;
    char name[FACT_KEY];
    for (size_t i = 0; i < s->n_arms && n < MAX_ARMS; i++) {
        d[n] = (struct dot){&s->arms[i], ptq_compare(s, s->arms[i].name, "unquantized"), trial_number(s->arms[i].trial, "outcome.packed_bytes") * 1e-6, 0};
        n += d[n].ratio.there && strcmp(s->arms[i].name, "unquantized") != 0;
    }
    qsort(d, n, sizeof *d, by_ratio);
    double reach = n ? log(d[n - 1].ratio.ratio.value * 1.05 / 0.98) : 0, least = d[0].megabytes, most = least;
    for (size_t i = 0; i < n; i++) {
        least = fmin(least, d[i].megabytes);
        most = fmax(most, d[i].megabytes);
    }
    for (size_t i = 0; i < n; i++) {
        d[i].label = log(d[i].ratio.ratio.value);
        for (size_t j = 0; j < i; j++)
            if (fabs(d[i].megabytes - d[j].megabytes) <= 0.5 * (most - least))
                d[i].label = fmax(d[i].label, d[j].label + 0.035 * fmax(reach, 0.12));
    }
    figure_begin(s->f, slot_name(name, "ptq_bytes", s->slot), "arm\tpacked MB\tratio\tlow\thigh\tseries\tweights only\tlabel");
    for (size_t i = 0; i < n; i++) {
        const struct fact *r = &d[i].ratio.ratio;
        figure_row(s->f, "%s\t%.6g\t%.6g\t%.6g\t%.6g\t%d\t%d\t%.6g", arm_label(PTQ_ARMS, d[i].arm->name), d[i].megabytes, r->value, r->low,
                   r->high, arm_series(PTQ_ARMS, d[i].arm->name), ptq_weights_only(d[i].arm->name), exp(d[i].label));
    }
    figure_end(s->f);
}

static void ratio_figure(struct ptq_section *s) {
    char name[FACT_KEY];
    size_t rows = 0;
    slot_name(name, "ptq_ratio", s->slot);
    for (size_t i = 0; i < s->n_arms; i++)
        rows += strcmp(s->arms[i].name, "unquantized") != 0 && ptq_compare(s, s->arms[i].name, "unquantized").there;
    if (!rows) {
        figure_missing(s->f, name, "no quantized arm, or no unquantized one to compare with");
        figure_missing(s->f, slot_name(name, "ptq_bytes", s->slot), "no quantized arm, or no unquantized one to compare with");
        return;
    }
    figure_begin(s->f, name, "arm\tratio\tlow\thigh\tseries\tweights only");
    for (size_t i = 0; i < s->n_arms; i++) {
        struct ptq_ratio r = ptq_compare(s, s->arms[i].name, "unquantized");
        if (r.there && strcmp(s->arms[i].name, "unquantized") != 0)
            figure_row(s->f, "%s\t%.6g\t%.6g\t%.6g\t%d\t%d", arm_label(PTQ_ARMS, s->arms[i].name), r.ratio.value, r.ratio.low, r.ratio.high,
                       arm_series(PTQ_ARMS, s->arms[i].name), ptq_weights_only(s->arms[i].name));
    }
    figure_end(s->f);
    bytes_figure(s);
}

/* Each replicate's distance from its arm's mean, in per cent of perplexity. */
static void noise_figure(struct ptq_section *s) {
    char name[FACT_KEY];
    bool any = false;
    slot_name(name, "ptq_noise", s->slot);
    for (size_t i = 0; i < s->n_arms; i++)
        any = any || s->arms[i].n_replicates > 1;
    if (!any) {
        figure_missing(s->f, name, "no arm has more than one replicate");
        return;
    }
    figure_begin(s->f, name, "arm\trow\tdeviation\tstandard deviation\tseries");
    for (size_t i = 0, row = 0; i < s->n_arms; i++) {
        const struct ptq_arm *a = &s->arms[i];
        double mean = ptq_log_mean(a);
        for (size_t r = 0; r < a->n_replicates && a->n_replicates > 1; r++)
            figure_row(s->f, "%s\t%zu\t%.6g\t%.6g\t%d", arm_label(PTQ_ARMS, a->name), row, 100 * (log(a->ppl[r]) - mean), 100 * a->noise,
                       arm_series(PTQ_ARMS, a->name));
        row += a->n_replicates > 1;
    }
    figure_end(s->f);
}

/* ---- the section ---- */

/* The widest noise of W4A4 and of weights-only arms. */
static void noise_facts(struct ptq_section *s) {
    double widest[2] = {NAN, NAN};
    for (size_t i = 0; i < s->n_arms; i++) {
        bool weights = ptq_weights_only(s->arms[i].name);
        if (strcmp(s->arms[i].name, "unquantized") != 0 && isfinite(s->arms[i].noise))
            widest[weights] = fmax(widest[weights], s->arms[i].noise);
    }
    const char *keys[2] = {"ptq.noise_w4a4", "ptq.noise_weights"};
    for (int i = 0; i < 2; i++) {
        struct fact v = fact_point(widest[i], FACT_NOISE);
        if (isfinite(widest[i]))
            facts_number(s->f, keys[i], NULL, &v);
        else
            facts_absent(s->f, keys[i], NULL, "fewer than two replicates");
    }
}

static void one_model(struct facts *f, size_t slot, const char *model) {
    const char *texts[8], *best = NULL;
    size_t n_texts = trial_values(f->results, "ptq", model, "item", TEXTS, texts, 8);
    double most = -1;
    for (size_t t = 0; t < n_texts; t++) { /* the text with the most scored tokens leads */
        struct trial_query q = {"ptq", model, NULL, texts[t], -1, -1};
        size_t at = 0;
        double tokens = trial_number(trial_next(f->results, &q, &at), "outcome.n_tokens");
        if (tokens > most) {
            most = tokens;
            best = texts[t];
        }
    }
    struct ptq_section s = {.f = f, .slot = slot, .model = model, .text = best ? best : texts[0], .prefix = slot ? "ptq2" : "ptq"};
    ptq_load(&s);
    main_table(&s);
    calibration_table(&s);
    texts_table(f, slot, model, texts, n_texts);
    ratio_figure(&s);
    noise_figure(&s);
    if (slot == 0) {
        ptq_comparisons(&s);
        ptq_published(&s);
        noise_facts(&s);
        struct fact n = fact_point(s.tokens, FACT_COUNT), window = fact_point(trial_number(s.arms[0].trial, "outcome.window"), FACT_COUNT), replicates = fact_point((double)s.arms[s.n_arms - 1].n_replicates, FACT_COUNT);
        facts_number(f, "ptq.tokens", NULL, &n);
        facts_number(f, "ptq.window", NULL, &window);
        facts_number(f, "ptq.replicates", NULL, &replicates);
    }
    facts_word(f, slot ? "ptq2.text" : "ptq.text", text_label(s.text));
    facts_word(f, slot ? "ptq2.model" : "ptq.model", model_label(model));
    ptq_free(&s);
}

static void nothing(struct facts *f, size_t slot, const char *why) {
    static const char *const tables[] = {"ptq_main", "ptq_calibration", "ptq_texts"};
    static const char *const figures[] = {"ptq_ratio", "ptq_bytes", "ptq_noise"};
    char key[FACT_KEY];
    for (size_t i = 0; i < sizeof tables / sizeof *tables; i++)
        table_missing(f, slot_name(key, tables[i], slot), why);
    for (size_t i = 0; i < sizeof figures / sizeof *figures; i++)
        figure_missing(f, slot_name(key, figures[i], slot), why);
    facts_word(f, slot ? "ptq2.text" : "ptq.text", "no text");
    facts_word(f, slot ? "ptq2.model" : "ptq.model", "no model");
}

void facts_ptq(struct facts *f) {
    const char *models[SLOTS];
    size_t n = trial_models(f->results, "ptq", models, SLOTS);
    struct ptq_section none = {.f = f, .prefix = "ptq"};
    for (size_t slot = 0; slot < n; slot++)
        one_model(f, slot, models[slot]);
    if (n == 0) {
        nothing(f, 0, "the results hold no trials of post-training quantization");
        ptq_comparisons(&none);
        ptq_published(&none);
        noise_facts(&none);
        facts_absent(f, "ptq.tokens", NULL, "not run");
        facts_absent(f, "ptq.window", NULL, "not run");
        facts_absent(f, "ptq.replicates", NULL, "not run");
    }
    if (n < 2)
        nothing(f, 1, "no second model was run");
    facts_flag(f, "has.ptq", n > 0);
    facts_flag(f, "has.ptq2", n > 1);
}
