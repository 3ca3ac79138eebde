/* Training: the published tables beside ours, and what is claimed about the arms. */
#include <math.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>

#include "stats/facts_train.h"

static const double ALPHA = 0.05;
static const double MARGIN = 0.02; /* accuracy of the frozen net against the bigram counts */

/* ---- the published course of training ---- */

/* The point of a curve at a share of the steps. */
static json_t *point_at(const struct train_arm *a, double share) {
    json_t *curve = a ? trial_node(a->trial[0], "outcome.curve") : NULL, *best = NULL;
    double target = share * (a ? trial_number(a->trial[0], "outcome.steps") : 0), distance = INFINITY;
    for (size_t i = 0; i < json_array_size(curve); i++) {
        json_t *p = json_array_get(curve, i);
        double d = fabs(trial_number(p, "step") - target);
        if (d < distance) {
            distance = d;
            best = p;
        }
    }
    return best;
}

static void course_cell(struct train_section *s, const char *arm, double share, bool error) {
    char loss[FACT_TEXT], accuracy[FACT_TEXT], quant[FACT_TEXT], interval[FACT_TEXT];
    json_t *p = point_at(train_find(s, arm), share);
    if (!p) {
        table_not_run(s->f, "arm or data set not selected");
        return;
    }
    struct fact l = fact_point(trial_number(p, "eval_loss"), FACT_LOSS), a = fact_point(trial_number(p, "accuracy"), FACT_LOSS);
    struct fact q = fact_point(trial_number(p, "quant_error"), FACT_SMALL);
    fact_text(&l, loss, interval);
    fact_text(&a, accuracy, interval);
    fact_text(&q, quant, interval);
    if (error && isfinite(q.value))
        table_cell(s->f, "%s / %s / %s", loss, accuracy, quant);
    else
        table_cell(s->f, "%s / %s", loss, accuracy);
}

static void course_table(struct train_section *clean, struct train_section *leaky) {
    struct facts *f = clean->f;
    const char *step;
    json_t *node;
    char path[FACT_KEY];
    table_begin(f, "train_published",
                ">published step|<published, BF16: loss / accuracy|>perplexity|<published, FP4: loss / accuracy / error|>perplexity|<as "
                "published, here, the same share of the steps: BF16|<FP4|<as specified, here: BF16|<NVFP4 recipe");
    double last = (double)json_object_size(published_node(f, "train.steps")), row = 0;
    json_object_foreach(published_node(f, "train.steps"), step, node) {
        double share = ++row / last;
        table_cell(f, "%s", step);
        const char *loss = published_text(f, facts_key(path, "train.steps.%s.bf16_loss", step));
        table_cell(f, "%s / %s", loss, published_text(f, facts_key(path, "train.steps.%s.bf16_accuracy", step)));
        table_published(f, facts_key(path, "train.steps.%s.bf16_ppl", step));
        loss = published_text(f, facts_key(path, "train.steps.%s.fp4_loss", step));
        const char *accuracy = published_text(f, facts_key(path, "train.steps.%s.fp4_accuracy", step));
        table_cell(f, "%s / %s / %s", loss, accuracy, published_text(f, facts_key(path, "train.steps.%s.fp4_error", step)));
        table_published(f, facts_key(path, "train.steps.%s.fp4_ppl", step));
        course_cell(leaky, "bf16_nopos", share, false);
        course_cell(leaky, "fp4_frozen_nopos", share, true);
        course_cell(clean, "bf16", share, false);
        course_cell(clean, "nvfp4", share, true);
        table_row(f);
    }
    table_end(f);
}

/* The counterpart of a published quantity; NAN: none. */
static struct fact counterpart(struct train_section *s, const char *what, const char *arm) {
    const struct train_arm *a = train_find(s, arm), *plain = train_find(s, "bf16");
    if (strstr(arm, "frozen") && !a)
        a = train_find(s, "fp4_frozen_nopos");
    if (!strcmp(arm, "bf16") && !a)
        a = train_find(s, "bf16_nopos");
    plain = plain ? plain : train_find(s, "bf16_nopos");
    if (!a)
        return fact_point(NAN, FACT_PLAIN);
    double n_params = trial_number(a->trial[0], "outcome.n_params"), n_trained = trial_number(a->trial[0], "outcome.n_trained");
    if (!strcmp(what, "seconds"))
        return fact_point(a->seconds, FACT_SECONDS);
    if (!strcmp(what, "n_params"))
        return fact_point(n_params, FACT_COUNT);
    if (!strcmp(what, "n_trained"))
        return fact_point(n_trained, FACT_COUNT);
    if (!strcmp(what, "n_frozen"))
        return fact_point(n_params - n_trained, FACT_COUNT);
    if (!strcmp(what, "bigram"))
        return fact_point(a->accuracy[0], FACT_PERCENT);
    return plain ? fact_point(1 - a->peak / plain->peak, FACT_CHANGE) : fact_point(NAN, FACT_PLAIN);
}

static void other_table(struct train_section *clean, struct train_section *leaky) {
    struct facts *f = clean->f;
    struct train_section *sections[2] = {leaky, clean};
    const char *row;
    json_t *node;
    char path[FACT_KEY], text[FACT_TEXT], interval[FACT_TEXT];
    table_begin(f, "train_published_other", "<quantity|>published|>as published, here|>as specified, here");
    json_object_foreach(published_node(f, "train.other"), row, node) {
        table_published(f, facts_key(path, "train.other.%s.name", row));
        table_published(f, facts_key(path, "train.other.%s.value", row));
        const char *what = published_text(f, facts_key(path, "train.other.%s.fact", row));
        const char *arm = published_text(f, facts_key(path, "train.other.%s.arm", row));
        for (int i = 0; i < 2; i++) {
            struct fact v = counterpart(sections[i], what, arm);
            fact_text(&v, text, interval);
            if (isfinite(v.value))
                table_cell(f, "%s%s", text, !strncmp(what, "memory", 6) ? " of peak memory" : !strcmp(what, "bigram") ? " for bigram counts" : "");
            else
                table_not_run(f, "arm or data set not selected");
        }
        table_row(f);
    }
    table_end(f);
}

/* A gap, and what it is of the loss of the arm it is measured from. */
static void relative_cell(struct facts *f, const struct fact *gap, const struct train_arm *plain) {
    char text[FACT_TEXT], interval[FACT_TEXT], share[FACT_TEXT], none[FACT_TEXT];
    struct fact loss = fact_mean(plain->loss, plain->n, FACT_LOSS, NULL), relative = fact_point(gap->value / loss.value, FACT_CHANGE);
    fact_text(gap, text, interval);
    fact_text(&relative, share, none);
    table_cell(f, "%s %s, %s of the BF16 loss", text, interval, share);
}

static void practice_table(struct train_section *s) {
    struct facts *f = s->f;
    const char *row;
    json_t *node;
    char path[FACT_KEY], text[FACT_TEXT], interval[FACT_TEXT];
    double d[MAX_SEEDS];
    const struct train_arm *a = train_find(s, "nvfp4"), *plain = train_find(s, "bf16");
    size_t n = train_pairs(a, plain, offsetof(struct train_arm, loss), d);
    table_begin(f, "practice_train", "<recipe|>published gap, nats|>of the BF16 loss|<here");
    table_cell(f, "BF16 (loss, not gap)");
    table_published(f, "practice.bf16_loss");
    table_cell(f, "is the reference");
    table_cell(f, "see the table of arms");
    table_row(f);
    json_object_foreach(published_node(f, "practice.train"), row, node) {
        table_published(f, facts_key(path, "practice.train.%s.name", row));
        table_published(f, facts_key(path, "practice.train.%s.gap", row));
        struct fact share = fact_point(published_number(f, path) / published_number(f, "practice.bf16_loss"), FACT_CHANGE);
        fact_text(&share, text, interval);
        table_cell(f, "%s", text);
        facts_key(path, "practice.train.%s.why", row);
        struct fact gap = fact_mean(d, n, FACT_DELTA, "paired by seed, t");
        bool other = published_node(f, path);
        const char *word = published_text(f, other ? path : facts_key(path, "practice.train.%s.arm", row));
        if (other)
            table_not_run(f, word);
        else if (n && !strcmp(word, "nvfp4"))
            relative_cell(f, &gap, plain);
        else
            table_not_run(f, "arm not selected");
        table_row(f);
    }
    table_end(f);
}

void train_published(struct train_section *clean, struct train_section *leaky) {
    course_table(clean, leaky);
    other_table(clean, leaky);
    practice_table(clean);
}

/* ---- claims ---- */

struct difference {
    const char *claim;
    struct fact mean;
    double p, holm;
};

static struct difference difference(const char *claim, const struct train_arm *a, const struct train_arm *b, size_t what, enum fact_style style) {
    double d[MAX_SEEDS];
    struct difference r = {claim, fact_point(NAN, style), NAN, NAN};
    size_t n = train_pairs(a, b, what, d);
    struct fp4_t_test t;
    if (n && isfinite(d[0]))
        r.mean = fact_mean(d, n, style, "paired by seed, t");
    if (n >= 2 && fp4_t_paired(n, d, NULL, 0.95, &t) == FP4_OK)
        r.p = isfinite(t.p) ? t.p : NAN;
    return r;
}

/* The same nets on validation windows of the published split, and on documents that no training window touched. */
static struct difference leak(const struct train_arm *a) {
    struct train_arm clean;
    if (!a)
        return difference("split_leaks", NULL, NULL, 0, FACT_POINTS);
    clean = *a;
    memcpy(clean.accuracy, a->clean_accuracy, sizeof clean.accuracy);
    return difference("split_leaks", a, &clean, offsetof(struct train_arm, accuracy), FACT_POINTS);
}

static void put_number(struct facts *f, const char *claim, const char *name, const struct fact *v) {
    char key[FACT_KEY], in[FACT_KEY];
    facts_key(key, "%s.%s", claim, name);
    facts_key(in, "claim:%s", claim);
    if (isfinite(v->value))
        facts_number(f, key, in, v);
    else
        facts_absent(f, key, in, "an arm was not run, or too few seeds");
}

static void difference_claim(struct facts *f, const struct difference *d) {
    struct fact p = fact_point(d->holm, FACT_P);
    facts_claim(f, d->claim, verdict_positive(d->mean.value, d->holm, ALPHA), "t test paired by seed, two-sided, Holm over the four comparisons of training");
    put_number(f, d->claim, "difference", &d->mean);
    put_number(f, d->claim, "p", &p);
}

/* Is the frozen net as accurate as counting pairs of tokens? */
static void bigram_claim(struct train_section *s) {
    const struct train_arm *frozen = train_find(s, "fp4_frozen_nopos"), *bigram = train_find(s, "bigram");
    frozen = frozen ? frozen : train_find(s, "fp4_frozen");
    double d[MAX_SEEDS];
    struct fact mean = fact_point(NAN, FACT_POINTS), net = mean, counts = fact_point(bigram ? bigram->accuracy[0] : NAN, FACT_PERCENT);
    struct fact margin = fact_point(MARGIN, FACT_PERCENT);
    struct fp4_tost_paired t = {.p = NAN};
    enum verdict v = VERDICT_MISSING;
    if (frozen && bigram) {
        for (size_t i = 0; i < frozen->n; i++)
            d[i] = frozen->accuracy[i] - bigram->accuracy[0];
        mean = fact_mean(d, frozen->n, FACT_POINTS, "mean over seeds, t");
        net = fact_mean(frozen->accuracy, frozen->n, FACT_PERCENT, "mean over seeds, t");
        if (frozen->n >= 2 && fp4_tost_paired(frozen->n, d, NULL, -MARGIN, MARGIN, ALPHA, &t) == FP4_OK)
            v = verdict_equivalent(mean.low, mean.high, MARGIN, t.p, ALPHA);
    }
    facts_claim(s->f, "frozen_is_bigram", v, "two one-sided t tests over seeds of the difference in accuracy");
    put_number(s->f, "frozen_is_bigram", "difference", &mean);
    put_number(s->f, "frozen_is_bigram", "frozen", &net);
    put_number(s->f, "frozen_is_bigram", "bigram", &counts);
    put_number(s->f, "frozen_is_bigram", "margin", &margin);
}

/* A quantization error that does not move shows weights that do not move. */
static void constant_claim(struct train_section *s) {
    const struct train_arm *frozen = train_find(s, "fp4_frozen");
    frozen = frozen ? frozen : train_find(s, "fp4_frozen_nopos");
    const struct train_arm *moving = train_find(s, "fp4_weight_ste");
    double change = NAN, moved = NAN;
    for (size_t i = 0; frozen && i < frozen->n; i++)
        change = fmax(change, fabs(frozen->error_last[i] / frozen->error_first[i] - 1));
    for (size_t i = 0; moving && i < moving->n; i++)
        moved = fmax(moved, fabs(moving->error_last[i] / moving->error_first[i] - 1));
    facts_claim(s->f, "frozen_error_constant", !isfinite(change) ? VERDICT_MISSING : change < 1e-6 ? VERDICT_SUPPORTED : VERDICT_REFUTED,
                "largest relative change of the quantization error over the run is below one part in a million");
    struct fact c = fact_point(change, FACT_NOISE), m = fact_point(moved, FACT_NOISE);
    put_number(s->f, "frozen_error_constant", "change", &c);
    put_number(s->f, "frozen_error_constant", "moving", &m);
}

void train_claims(struct train_section *clean, struct train_section *leaky) {
    struct facts *f = clean->f;
    const size_t loss = offsetof(struct train_arm, loss);
    struct difference d[4] = {
        difference("ste_beats_frozen", train_find(clean, "fp4_frozen"), train_find(clean, "fp4_weight_ste"), loss, FACT_DELTA),
        difference("nvfp4_costs", train_find(clean, "nvfp4"), train_find(clean, "bf16"), loss, FACT_DELTA),
        difference("positions_help", train_find(clean, "bf16_nopos"), train_find(clean, "bf16"), loss, FACT_DELTA),
        leak(train_find(leaky, "bf16_nopos"))};
    double p[4], holm[4];
    for (int i = 0; i < 4; i++)
        p[i] = d[i].p;
    holm_of_finite(f, 4, p, holm);
    for (int i = 0; i < 4; i++) {
        d[i].holm = holm[i];
        difference_claim(f, &d[i]);
    }
    bigram_claim(clean);
    constant_claim(clean);
}
