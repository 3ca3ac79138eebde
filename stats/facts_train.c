/* Training: loss, accuracy, quantization error, time and memory by arm; the curves. */
#include "stats/facts_train.h"

#include <math.h>
#include <string.h>

const struct arm_label TRAIN_ARMS[] = {{"bf16", "BF16", 1},
                                       {"nvfp4", "NVFP4 recipe", 5},
                                       {"fp4_weight_ste", "FP4 weights, straight-through", 6},
                                       {"fp4_frozen", "FP4 weights, frozen as published", 2},
                                       {"bf16_nopos", "BF16, no positions", 8},
                                       {"fp4_frozen_nopos", "FP4 frozen, no positions", 3},
                                       {"bigram", "bigram counts", 7},
                                       {"unigram", "unigram counts", 4},
                                       {NULL, NULL, 0}};
static const char *const ITEMS[] = {"bible", "generated", "bible_leaky"};
enum { N_ITEMS = 3, MAX_POINTS = 512 };

static bool is_baseline(const char *arm) {
    return !strcmp(arm, "bigram") || !strcmp(arm, "unigram");
}

static const char *data_label(const char *item) {
    return !strcmp(item, "bible") ? "the King James Bible, split by documents"
           : !strcmp(item, "bible_leaky") ? "the King James Bible, split as published" : !strcmp(item, "generated") ? "the generated corpus" : item;
}

static void load_arm(struct train_section *s, struct train_arm *a, const char *name) {
    struct trial_query q = {"train", NULL, name, s->item, -1, -1};
    size_t at = 0;
    a->name = name;
    for (json_t *t; a->n < MAX_SEEDS && (t = trial_next(s->f->results, &q, &at)); a->n++) {
        json_t *curve = trial_node(t, "outcome.curve");
        size_t points = json_array_size(curve);
        a->trial[a->n] = t;
        a->seed[a->n] = (int)trial_number(t, "seed"); /* the reader has seen to its range */
        a->loss[a->n] = trial_number(t, "outcome.final.loss");
        a->accuracy[a->n] = trial_number(t, "outcome.final.accuracy");
        a->clean_loss[a->n] = trial_number(t, "outcome.final.clean_loss");
        a->clean_accuracy[a->n] = trial_number(t, "outcome.final.clean_accuracy");
        a->error_first[a->n] = trial_number(json_array_get(curve, 0), "quant_error");
        a->error_last[a->n] = points ? trial_number(json_array_get(curve, points - 1), "quant_error") : NAN;
        a->seconds += trial_number(t, "time.seconds");
        a->tokens_per_second += trial_number(t, "time.tokens_per_second");
        a->peak += trial_number(t, "time.peak_rss_bytes");
        double floor = trial_number(t, "outcome.entropy_floor");
        if (isfinite(floor))
            s->floor = floor;
    }
    a->seconds /= (double)a->n;
    a->tokens_per_second /= (double)a->n;
    a->peak /= (double)a->n;
}

void train_load(struct train_section *s, struct facts *f, const char *item) {
    *s = (struct train_section){.f = f, .item = item, .floor = NAN};
    const char *names[MAX_ARMS];
    size_t n = trial_arms(f->results, "train", NULL, TRAIN_ARMS, names);
    facts_broken(f, FP4_NEW(s->arms, n));
    for (size_t i = 0; s->arms && i < n; i++) {
        struct trial_query q = {"train", NULL, names[i], item, -1, -1};
        size_t at = 0;
        if (trial_next(f->results, &q, &at))
            load_arm(s, &s->arms[s->n_arms++], names[i]);
    }
}

void train_unload(struct train_section *s) {
    fp4_free(s->arms);
    s->arms = NULL;
    s->n_arms = 0;
}

const struct train_arm *train_find(const struct train_section *s, const char *name) {
    for (size_t i = 0; i < s->n_arms; i++)
        if (!strcmp(s->arms[i].name, name))
            return &s->arms[i];
    return NULL;
}

size_t train_pairs(const struct train_arm *a, const struct train_arm *b, size_t what, double *d) {
    size_t n = 0;
    for (size_t i = 0; a && b && i < a->n; i++)
        for (size_t j = 0; j < b->n; j++)
            if (a->seed[i] == b->seed[j]) {
                d[n++] = ((const double *)((const char *)a + what))[i] - ((const double *)((const char *)b + what))[j];
                break; /* one partner each, though replicates may share a seed: no more pairs than trials of a */
            }
    return n;
}

/* ---- tables ---- */

static void error_cells(struct train_section *s, const struct train_arm *a) {
    char key[FACT_KEY];
    if (!isfinite(a->error_first[0]) || !isfinite(a->error_last[0])) {
        table_cell(s->f, "nothing quantized");
        table_cell(s->f, "nothing quantized");
        return;
    }
    double first = 0, last = 0;
    for (size_t i = 0; i < a->n; i++) {
        first += a->error_first[i] / (double)a->n;
        last += a->error_last[i] / (double)a->n;
    }
    struct fact v = fact_point(first, FACT_SMALL), w = fact_point(last, FACT_SMALL);
    table_fact(s->f, facts_key(key, "train.%s.%s.error_first", s->item, a->name), &v);
    table_fact(s->f, facts_key(key, "train.%s.%s.error_last", s->item, a->name), &w);
}

static void cost_cells(struct train_section *s, const struct train_arm *a) {
    static const char *const names[] = {"trained", "parameters", "seconds", "speed", "peak"};
    char key[FACT_KEY];
    struct fact v[5] = {fact_point(trial_number(a->trial[0], "outcome.n_trained"), FACT_COUNT),
                        fact_point(trial_number(a->trial[0], "outcome.n_params"), FACT_COUNT), fact_point(a->seconds, FACT_SECONDS),
                        fact_point(a->tokens_per_second, FACT_COUNT), fact_point(a->peak, FACT_BYTES)};
    for (int i = 0; i < 5; i++) {
        if (isfinite(v[i].value) && (i == 2 || !is_baseline(a->name)))
            table_fact(s->f, facts_key(key, "train.%s.%s.%s", s->item, a->name, names[i]), &v[i]);
        else
            table_cell(s->f, is_baseline(a->name) ? "counts only" : "not recorded");
    }
}

static void gap_cell(struct train_section *s, const struct train_arm *a) {
    double d[MAX_SEEDS];
    char key[FACT_KEY];
    const char *reference = strstr(a->name, "_nopos") ? "bf16_nopos" : "bf16";
    size_t n = train_pairs(a, train_find(s, reference), offsetof(struct train_arm, loss), d);
    struct fact v = fact_mean(d, n, FACT_DELTA, "paired by seed, t");
    if (!strcmp(a->name, reference) || is_baseline(a->name))
        table_cell(s->f, is_baseline(a->name) ? "not paired" : "is the reference");
    else if (n)
        table_fact(s->f, facts_key(key, "train.%s.%s.gap", s->item, a->name), &v);
    else
        table_not_run(s->f, "no BF16 run of the same seeds");
}

/* What the nets of the leaky split know of documents that none of their windows touched. */
static void clean_table(struct train_section *s) {
    static const char name[] = "train_clean";
    char key[FACT_KEY];
    if (!s->n_arms) {
        table_missing(s->f, name, "the published split was not run");
        return;
    }
    table_begin(s->f, name, "<arm|>loss, published split|>loss, untouched documents|>accuracy, published split|>accuracy, untouched documents");
    for (size_t i = 0; i < s->n_arms; i++) {
        const struct train_arm *a = &s->arms[i];
        if (!isfinite(a->clean_loss[0]))
            continue;
        struct fact v[4] = {fact_mean(a->loss, a->n, FACT_LOSS, "mean over seeds, t"), fact_mean(a->clean_loss, a->n, FACT_LOSS, "mean over seeds, t"),
                            fact_mean_within(a->accuracy, a->n, 0, 1, FACT_PERCENT, "mean over seeds, t"),
                            fact_mean_within(a->clean_accuracy, a->n, 0, 1, FACT_PERCENT, "mean over seeds, t")};
        static const char *const names[] = {"leaky_loss", "clean_loss", "leaky_accuracy", "clean_accuracy"};
        table_cell(s->f, "%s", arm_label(TRAIN_ARMS, a->name));
        for (int k = 0; k < 4; k++)
            table_fact(s->f, facts_key(key, "train.%s.%s", a->name, names[k]), &v[k]);
        table_row(s->f);
    }
    table_end(s->f);
}

static void item_table(struct train_section *s) {
    char key[FACT_KEY], name[FACT_KEY];
    facts_key(name, "train_%s", s->item);
    if (!s->n_arms) {
        table_missing(s->f, name, "this data set was not run");
        return;
    }
    table_begin(s->f, name,
                "<arm|>seeds|>loss at the end, nats a token|>gap to BF16|>accuracy|>quantization error at the start|>at the end|>parameters "
                "trained|>of|>time|>tokens a second|>peak memory");
    for (size_t i = 0; i < s->n_arms; i++) {
        const struct train_arm *a = &s->arms[i];
        struct fact loss = fact_mean(a->loss, a->n, FACT_LOSS, "mean over seeds, t"), accuracy = fact_mean_within(a->accuracy, a->n, 0, 1, FACT_PERCENT, "mean over seeds, t");
        table_cell(s->f, "%s", arm_label(TRAIN_ARMS, a->name));
        table_cell(s->f, "%zu", a->n);
        table_fact(s->f, facts_key(key, "train.%s.%s.loss", s->item, a->name), &loss);
        gap_cell(s, a);
        table_fact(s->f, facts_key(key, "train.%s.%s.accuracy", s->item, a->name), &accuracy);
        error_cells(s, a);
        cost_cells(s, a);
        table_row(s->f);
    }
    if (isfinite(s->floor)) {
        struct fact floor = fact_point(s->floor, FACT_LOSS);
        table_cell(s->f, "the source itself (exact)");
        table_cell(s->f, "none");
        table_fact(s->f, facts_key(key, "train.%s.floor", s->item), &floor);
        for (int i = 0; i < 9; i++)
            table_cell(s->f, "does not apply");
        table_row(s->f);
    }
    table_end(s->f);
}

/* ---- figures ---- */

/* Mean, least and greatest over seeds of a field at the i-th point; false when no seed has it. */
static bool at_point(const struct train_arm *a, size_t i, const char *field, double *step, double *mean, double *low, double *high) {
    double sum = 0;
    size_t n = 0;
    for (size_t k = 0; k < a->n; k++) {
        json_t *p = json_array_get(trial_node(a->trial[k], "outcome.curve"), i);
        double v = trial_number(p, field);
        if (!isfinite(v))
            continue;
        *low = n ? fmin(*low, v) : v;
        *high = n ? fmax(*high, v) : v;
        *step = trial_number(p, "step");
        sum += v;
        n++;
    }
    *mean = sum / (double)n;
    return n > 0;
}

static size_t curve_block(struct train_section *s, const struct train_arm *a, const char *field, const char *title, int offset, size_t blocks) {
    double step, mean, low, high;
    size_t rows = 0, points = json_array_size(trial_node(a->trial[0], "outcome.curve"));
    for (size_t i = 0; i < points && i < MAX_POINTS; i++) {
        if (!at_point(a, i, field, &step, &mean, &low, &high))
            continue;
        if (!rows++) {
            if (blocks)
                figure_row(s->f, "\n");
            figure_row(s->f, "\"%s\"", title);
        }
        figure_row(s->f, "%d\t%.6g\t%.6g\t%.6g\t%.6g", offset + arm_series(TRAIN_ARMS, a->name), step, mean, low, high);
    }
    return blocks + (rows > 0);
}

static size_t line_block(struct train_section *s, const char *title, int series, double y, double last, size_t blocks) {
    if (!isfinite(y))
        return blocks;
    if (blocks)
        figure_row(s->f, "\n");
    figure_row(s->f, "\"%s\"\n%d\t0\t%.6g\t%.6g\t%.6g\n%d\t%.6g\t%.6g\t%.6g\t%.6g", title, series, y, y, y, series, last, y, y, y);
    return blocks + 1;
}

static double last_step(const struct train_section *s) {
    double last = 0;
    for (size_t i = 0; i < s->n_arms; i++)
        if (!is_baseline(s->arms[i].name))
            last = fmax(last, trial_number(s->arms[i].trial[0], "outcome.steps"));
    return last;
}

static void loss_figure(struct train_section *s) {
    char name[FACT_KEY];
    facts_key(name, "train_loss-%s", s->item);
    double last = last_step(s);
    if (!s->n_arms || !(last > 0)) {
        figure_missing(s->f, name, "this data set was not run");
        return;
    }
    size_t blocks = 0;
    figure_begin(s->f, name, "# blocks: title, then series, step, mean, least and greatest evaluation loss over seeds; series below 0: a line of reference; above 100: training loss, above 200: loss on untouched documents");
    for (size_t i = 0; i < s->n_arms; i++)
        blocks = curve_block(s, &s->arms[i], "eval_loss", arm_label(TRAIN_ARMS, s->arms[i].name), 0, blocks);
    const struct train_arm *bigram = train_find(s, "bigram"), *unigram = train_find(s, "unigram");
    blocks = line_block(s, "unigram counts", -2, unigram ? unigram->loss[0] : NAN, last, blocks);
    blocks = line_block(s, "bigram counts", -1, bigram ? bigram->loss[0] : NAN, last, blocks);
    blocks = line_block(s, "entropy of the source", -3, s->floor, last, blocks);
    for (size_t i = 0; i < s->n_arms; i++) { /* what the optimizer saw */
        if (!is_baseline(s->arms[i].name))
            blocks = curve_block(s, &s->arms[i], "train_loss", arm_label(TRAIN_ARMS, s->arms[i].name), 100, blocks);
        blocks = curve_block(s, &s->arms[i], "clean_loss", arm_label(TRAIN_ARMS, s->arms[i].name), 200, blocks);
    }
    figure_end(s->f);
}

static void error_figure(struct train_section *s) {
    char name[FACT_KEY];
    size_t blocks = 0;
    bool any = false;
    facts_key(name, "train_error-%s", s->item);
    for (size_t i = 0; i < s->n_arms; i++)
        any = any || isfinite(s->arms[i].error_last[0]);
    if (!any) {
        figure_missing(s->f, name, s->n_arms ? "no arm with quantized weights was run" : "this data set was not run");
        return;
    }
    figure_begin(s->f, name, "# blocks: title, then series, step, mean, least and greatest quantization error over seeds");
    for (size_t i = 0; i < s->n_arms; i++)
        blocks = curve_block(s, &s->arms[i], "quant_error", arm_label(TRAIN_ARMS, s->arms[i].name), 0, blocks);
    figure_end(s->f);
}

void facts_train(struct facts *f) {
    struct train_section s[N_ITEMS];
    for (int i = 0; i < N_ITEMS; i++) {
        train_load(&s[i], f, ITEMS[i]);
        item_table(&s[i]);
        loss_figure(&s[i]);
    }
    clean_table(&s[2]);
    struct train_section *clean = s[0].n_arms ? &s[0] : &s[1];
    error_figure(&s[0]);
    error_figure(&s[1]);
    train_published(clean, &s[2]);
    train_claims(clean, &s[2]);
    facts_flag(f, "has.train", clean->n_arms > 0);
    const char *tokens = clean->n_arms ? trial_text(clean->arms[0].trial[0], "config.tokens") : "";
    facts_word(f, "train.tokens", !strcmp(tokens, "bytes") ? "bytes for tokens" : !strcmp(tokens, "smollm2") ? "SmolLM2's tokens"
                                  : *tokens ? tokens : "tokens of a kind that is not recorded");
    facts_word(f, "train.data", clean->n_arms ? data_label(clean->item) : "no data");
    for (int i = 0; i < N_ITEMS; i++)
        train_unload(&s[i]);
}
