/* Test-time adaptation: success by arm and task, entropy, comparisons of arms over tasks. */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "stats/facts_tta.h"

const struct arm_label TTA_ARMS[] = {
    {"base", "base", 1},
    {"base_greedy", "base, greedy", 8},
    {"tta", "TTA", 2},
    {"tta_slow", "TTA, small learning rate", 3},
    {"tta_fp4_v1", "TTA-FP4, first published code", 4},
    {"tta_fp4_v2", "TTA-FP4, later published code", 5},
    {"tta_fp4", "TTA-FP4, canonical NVFP4", 6},
    {"tta_fp4_slow", "TTA-FP4, canonical, small rate", 7},
    {"fp4_no_adapt", "NVFP4 without adaptation", 8},
    {"entropy_matched", "base at TTA's entropy", 9},
    {"entropy_matched_slow", "base at TTA's entropy, small rate", 9},
    {NULL, NULL, 0}};

static const char *const PROBABILITY[N_MEASURES] = {"outcome.p_sequence", "outcome.p_exact", "outcome.p_substring"};

enum { MAX_DRAWS = 10000 }; /* of one trial */

static void add_trial(struct tta_section *s, struct tta_arm *a, json_t *t) {
    int item = atoi(trial_text(t, "item"));
    if (item < 1 || item > MAX_TASKS)
        return;
    size_t k = (size_t)item - 1;
    a->n[k]++;
    for (int m = 0; m < N_MEASURES; m++)
        a->p[m][k] += trial_number(t, PROBABILITY[m]);
    int64_t draws = trial_count(s->f, t, "outcome.draws.n", MAX_DRAWS);
    a->draws[k] += draws;
    a->hits[k] += trial_count(s->f, t, "outcome.draws.substring", draws);
    json_t *entropy = trial_node(t, "outcome.entropy");
    size_t steps = json_array_size(entropy) < MAX_STEPS ? json_array_size(entropy) : MAX_STEPS;
    for (size_t i = 0; i < steps; i++)
        a->entropy[k][i] += json_number_value(json_array_get(entropy, i));
    a->steps = steps > a->steps ? steps : a->steps;
    s->prompt[k] = trial_text(t, "outcome.prompt");
    s->expected[k] = trial_text(t, "outcome.expected");
    if (k + 1 > s->n_tasks)
        s->n_tasks = k + 1;
}

static void finish_arm(struct tta_arm *a) {
    for (size_t k = 0; k < MAX_TASKS; k++) {
        if (!a->n[k])
            continue;
        for (int m = 0; m < N_MEASURES; m++)
            a->p[m][k] /= a->n[k];
        for (size_t i = 0; i < a->steps; i++)
            a->entropy[k][i] /= a->n[k];
    }
}

static void load(struct tta_section *s) {
    const char *names[MAX_ARMS];
    s->n_arms = trial_arms(s->f->results, "tta", s->model, TTA_ARMS, names);
    facts_broken(s->f, FP4_NEW(s->arms, s->n_arms));
    if (!s->arms)
        s->n_arms = 0;
    for (size_t i = 0; i < s->n_arms; i++) {
        struct tta_arm *a = &s->arms[i];
        a->name = names[i];
        struct trial_query q = {"tta", s->model, names[i], NULL, -1, -1};
        size_t at = 0;
        for (json_t *t; (t = trial_next(s->f->results, &q, &at));)
            add_trial(s, a, t);
        finish_arm(a);
    }
}

const struct tta_arm *tta_find(const struct tta_section *s, const char *name) {
    for (size_t i = 0; i < s->n_arms; i++)
        if (!strcmp(s->arms[i].name, name))
            return &s->arms[i];
    return NULL;
}

/* The values of the tasks that an arm has run. */
static size_t task_values(const struct tta_arm *a, enum tta_measure m, double *x) {
    size_t n = 0;
    for (size_t k = 0; k < MAX_TASKS; k++)
        if (a->n[k])
            x[n++] = a->p[m][k];
    return n;
}

static struct fact over_tasks(const struct tta_arm *a, enum tta_measure m) {
    double x[MAX_TASKS];
    size_t n = task_values(a, m, x);
    return fact_mean_within(x, n, 0, 1, FACT_PERCENT, "mean over tasks, t interval with tasks as the units, cut at 0 and 1");
}

/* The draws as the write-up pools them, and with the tasks as clusters. */
struct drawn {
    bool any;
    struct fact pooled, clustered, effect;
};

static struct drawn draws_of(struct tta_section *s, const struct tta_arm *a) {
    struct drawn d = {0};
    int64_t n = 0, x = 0;
    size_t clusters = 0, at = 0;
    for (size_t k = 0; k < MAX_TASKS; k++) {
        n += a->draws[k];
        x += a->hits[k];
        clusters += a->draws[k] > 0;
    }
    struct fp4_interval w;
    if (n == 0 || fp4_wilson(x, n, 0.95, &w) != FP4_OK)
        return d;
    d.any = true;
    double p = (double)x / (double)n;
    d.pooled = fact_interval(p, w.lower, w.upper, (size_t)n, FACT_PERCENT, "Wilson over all draws pooled, as published");
    d.clustered = fact_point(p, FACT_PERCENT);
    d.effect = fact_point(NAN, FACT_FACTOR);
    double *y;
    int64_t *label;
    facts_broken(s->f, FP4_NEW(y, (size_t)n));
    facts_broken(s->f, FP4_NEW(label, (size_t)n));
    struct fp4_cluster_mean c;
    for (size_t k = 0; y && label && k < MAX_TASKS; k++)
        for (int64_t i = 0; i < a->draws[k]; i++, at++) {
            y[at] = i < a->hits[k];
            label[at] = (int64_t)k;
        }
    if (y && label && clusters >= 2 && fp4_cluster_mean(at, y, label, 0.95, &c) == FP4_OK) {
        d.clustered = fact_interval(p, fmax(c.ci.lower, 0), fmin(c.ci.upper, 1), clusters, FACT_PERCENT,
                                    "mean with tasks as clusters, CR1, t");
        d.effect = fact_point(c.design_effect, FACT_FACTOR);
        d.effect.method = "(clustered error / independent error) squared";
    }
    fp4_free(y);
    fp4_free(label);
    return d;
}

static void published_cell(struct tta_section *s, const char *arm, const char *version) {
    char path[FACT_KEY];
    facts_key(path, "tta.arms.%s.%s", arm, version);
    if (!published_node(s->f, path)) {
        table_cell(s->f, "no such arm");
        return;
    }
    char interval[FACT_KEY];
    facts_key(interval, "tta.intervals.%s", arm);
    bool has = strcmp(version, "readme") == 0 && published_node(s->f, interval);
    table_cell(s->f, has ? "%s %s" : "%s", published_text(s->f, path), has ? published_text(s->f, interval) : "");
}

/* Every published arm has its row in the first model's table even when it was not run. */
static bool is_published(const struct tta_section *s, const char *arm) {
    char path[FACT_KEY];
    return s->slot == 0 && published_node(s->f, facts_key(path, "tta.arms.%s", arm));
}

static void arm_row(struct tta_section *s, const char *name) {
    struct facts *f = s->f;
    const struct tta_arm *a = tta_find(s, name);
    char key[FACT_KEY];
    table_cell(f, "%s", arm_label(TTA_ARMS, name));
    if (s->slot == 0) {
        published_cell(s, name, "readme");
        published_cell(s, name, "later");
    }
    if (!a) {
        for (int i = 0; i < 5; i++)
            table_not_run(f, s->n_arms ? "arm not selected" : "no trials of adaptation");
        table_row(f);
        return;
    }
    struct drawn d = draws_of(s, a);
    if (d.any) {
        table_fact(f, facts_key(key, "%s.%s.pooled", s->prefix, name), &d.pooled);
        table_fact(f, facts_key(key, "%s.%s.clustered", s->prefix, name), &d.clustered);
        table_fact(f, facts_key(key, "%s.%s.design_effect", s->prefix, name), &d.effect);
    } else {
        for (int i = 0; i < 3; i++)
            table_not_run(f, "no draws");
    }
    struct fact exact = over_tasks(a, EXACT), sequence = over_tasks(a, SEQUENCE);
    table_fact(f, facts_key(key, "%s.%s.exact", s->prefix, name), &exact);
    table_fact(f, facts_key(key, "%s.%s.sequence", s->prefix, name), &sequence);
    table_row(f);
}

static void arms_table(struct tta_section *s) {
    char name[FACT_KEY];
    table_begin(s->f, slot_name(name, "tta_arms", s->slot),
                s->slot == 0 ? "<arm|published, write-up|published, later report|as published, here: draws, substring rule, pooled "
                               "Wilson|the same draws, tasks as clusters|>design effect|as specified, here: first token|as "
                               "specified, here: whole answer"
                             : "<arm|as published: draws, substring rule, pooled Wilson|the same draws, tasks as clusters|>design "
                               "effect|as specified: first token|as specified: whole answer");
    for (const struct arm_label *known = TTA_ARMS; known->arm; known++)
        if (tta_find(s, known->arm) || is_published(s, known->arm))
            arm_row(s, known->arm);
    for (size_t i = 0; i < s->n_arms; i++)
        if (!arm_known(TTA_ARMS, s->arms[i].name))
            arm_row(s, s->arms[i].name);
    table_end(s->f);
}

/* All arms with both intervals of the published rule, and the whole answer. */
static void arms_figure(struct tta_section *s) {
    char name[FACT_KEY];
    figure_begin(s->f, slot_name(name, "tta_arms", s->slot), "label\tpooled\tlow\thigh\tclustered_low\tclustered_high\twhole\tlow\thigh");
    for (size_t i = 0; i < s->n_arms; i++) {
        struct drawn d = draws_of(s, &s->arms[i]);
        struct fact w = over_tasks(&s->arms[i], SEQUENCE);
        figure_row(s->f, "%s\t%.6g\t%.6g\t%.6g\t%.6g\t%.6g\t%.6g\t%.6g\t%.6g", arm_label(TTA_ARMS, s->arms[i].name), 100 * d.pooled.value,
                   100 * d.pooled.low, 100 * d.pooled.high, 100 * d.clustered.low, 100 * d.clustered.high, 100 * w.value, 100 * w.low,
                   100 * w.high);
    }
    figure_end(s->f);
}

/* ---- tasks ---- */

static double share(const struct tta_arm *a, enum tta_measure m, size_t k) {
    return a && a->n[k] ? a->p[m][k] : NAN;
}

static void share_cell(struct tta_section *s, const struct tta_arm *a, enum tta_measure m, size_t k) {
    double p = share(a, m, k);
    if (isfinite(p))
        table_cell(s->f, "%.2f", p);
    else
        table_not_run(s->f, a ? "task not selected" : s->n_arms ? "arm not selected" : "no trials of adaptation");
}

static void task_cell(struct facts *f, size_t number, const char *prompt, const char *expected) {
    table_cell(f, "%zu: %s \xe2\x86\x92%s", number, prompt, expected);
}

/* The published shares of each task beside ours by the same rule. */
static void published_tasks_table(struct tta_section *s) {
    static const char *const versions[] = {"readme", "later"}, *const arms[] = {"base", "tta", "fp4"};
    static const char *const ours[] = {"base", "tta", "tta_fp4_v1", "tta_fp4_v2"};
    const char *task;
    json_t *node;
    table_begin(s->f, "tta_tasks_published",
                "<task|>published, write-up: base|>TTA|>TTA-FP4|>published, later report: base|>TTA|>TTA-FP4|>here, substring "
                "rule: base|>TTA|>TTA-FP4, first code|>TTA-FP4, later code");
    json_object_foreach(published_node(s->f, "tta.tasks"), task, node) {
        char path[FACT_KEY];
        size_t k = (size_t)atoi(task) - 1;
        const char *prompt = published_text(s->f, facts_key(path, "tta.tasks.%s.prompt", task));
        task_cell(s->f, k + 1, prompt, published_text(s->f, facts_key(path, "tta.tasks.%s.expected", task)));
        for (int v = 0; v < 2; v++)
            for (int a = 0; a < 3; a++)
                table_published(s->f, facts_key(path, "tta.tasks.%s.%s.%s", task, versions[v], arms[a]));
        for (size_t a = 0; a < sizeof ours / sizeof *ours; a++)
            share_cell(s, tta_find(s, ours[a]), SUBSTRING, k < MAX_TASKS ? k : 0);
        table_row(s->f);
    }
    table_end(s->f);
}

/* Whole answer, every arm that was run. */
static void tasks_table(struct tta_section *s) {
    char name[FACT_KEY], columns[1024] = "<task";
    for (size_t i = 0; i < s->n_arms; i++) {
        strncat(columns, "|>", sizeof columns - strlen(columns) - 1);
        strncat(columns, arm_label(TTA_ARMS, s->arms[i].name), sizeof columns - strlen(columns) - 1);
    }
    table_begin(s->f, slot_name(name, "tta_tasks", s->slot), columns);
    for (size_t k = 0; k < s->n_tasks; k++) {
        if (!s->prompt[k])
            continue;
        task_cell(s->f, k + 1, s->prompt[k], s->expected[k]);
        for (size_t i = 0; i < s->n_arms; i++)
            share_cell(s, &s->arms[i], SEQUENCE, k);
        table_row(s->f);
    }
    table_end(s->f);
}

/* One row a task, and the mean over tasks with its interval as the last. */
static void tasks_figure(struct tta_section *s) {
    static const char *const arms[] = {"base", "tta", "tta_fp4", "entropy_matched"};
    char name[FACT_KEY], label[FACT_KEY];
    slot_name(name, "tta_success", s->slot);
    figure_begin(s->f, name, "task, then for base, TTA, TTA-FP4, base at TTA's entropy: whole answer, low, high; substring rule, low, high");
    for (size_t k = 0; k <= s->n_tasks; k++) {
        bool mean = k == s->n_tasks;
        if (!mean && !s->prompt[k])
            continue;
        char row[1024];
        snprintf(label, sizeof label, mean ? "mean of tasks" : "%zu \xe2\x86\x92%.40s", k + 1, mean ? "" : s->expected[k]);
        size_t at = (size_t)snprintf(row, sizeof row, "%s", label);
        for (size_t i = 0; i < sizeof arms / sizeof *arms; i++) {
            const struct tta_arm *a = tta_find(s, arms[i]);
            for (int m = SEQUENCE; m <= SUBSTRING; m += SUBSTRING - SEQUENCE) {
                struct fact v = mean && a ? over_tasks(a, (enum tta_measure)m) : fact_point(mean ? NAN : share(a, (enum tta_measure)m, k), FACT_PERCENT);
                at += (size_t)snprintf(row + at, sizeof row - at, "\t%.6g\t%.6g\t%.6g", 100 * v.value, 100 * v.low, 100 * v.high);
            }
        }
        figure_row(s->f, "%s", row);
    }
    figure_end(s->f);
}

static void one_model(struct facts *f, size_t slot, const char *model) {
    struct tta_section s = {.f = f, .slot = slot, .model = model, .prefix = slot ? "tta2" : "tta"};
    load(&s);
    arms_table(&s);
    arms_figure(&s);
    tasks_table(&s);
    tasks_figure(&s);
    if (slot == 0)
        published_tasks_table(&s);
    tta_entropy(&s);
    tta_comparisons(&s);
    fp4_free(s.arms);
}

static void nothing(struct facts *f, size_t slot, const char *why) {
    static const char *const tables[] = {"tta_arms", "tta_tasks", "tta_entropy", "tta_comparisons"};
    static const char *const figures[] = {"tta_arms", "tta_success", "tta_entropy"};
    char key[FACT_KEY];
    for (size_t i = slot == 0; i < sizeof tables / sizeof *tables; i++) /* the first model's table of arms has the published numbers */
        table_missing(f, slot_name(key, tables[i], slot), why);
    for (size_t i = 0; i < sizeof figures / sizeof *figures; i++)
        figure_missing(f, slot_name(key, figures[i], slot), why);
}

static size_t count_tasks(const struct results *r, const char *model) {
    const char *items[MAX_TASKS];
    return trial_values(r, "tta", model, "item", NULL, items, MAX_TASKS);
}

/* Most steps that an adapting trial of the model took. */
static double most_steps(const struct results *r, const char *model) {
    size_t i, most = 0;
    json_t *trial;
    json_array_foreach(r->trials, i, trial) {
        const char *name = json_string_value(json_object_get(trial, "model"));
        size_t n = json_array_size(json_object_get(json_object_get(trial, "outcome"), "loss"));
        if (name && strcmp(name, model) == 0 && n > most)
            most = n;
    }
    return (double)most;
}

void facts_tta(struct facts *f) {
    const char *models[SLOTS];
    size_t n = trial_models(f->results, "tta", models, SLOTS);
    struct tta_section none = {.f = f, .prefix = "tta"};
    for (size_t slot = 0; slot < n; slot++)
        one_model(f, slot, models[slot]);
    if (n == 0) { /* the published columns stand all the same */
        nothing(f, 0, "the results hold no adaptation trials");
        arms_table(&none);
        published_tasks_table(&none);
        tta_no_claims(f);
    }
    if (n < 2)
        nothing(f, 1, "no second model was run");
    struct fact tasks = fact_point((double)count_tasks(f->results, n ? models[0] : ""), FACT_COUNT);
    facts_number(f, "tta.tasks", NULL, &tasks);
    struct fact steps = fact_point(most_steps(f->results, n ? models[0] : ""), FACT_COUNT);
    facts_number(f, "tta.steps", NULL, &steps);
    steps.value = most_steps(f->results, n > 1 ? models[1] : "");
    facts_number(f, "tta2.steps", NULL, &steps);
    facts_flag(f, "has.tta", n > 0);
    facts_flag(f, "has.tta2", n > 1);
    facts_word(f, "tta.model", n > 0 ? model_label(models[0]) : "no model");
    facts_word(f, "tta2.model", n > 1 ? model_label(models[1]) : "no second model");
}
