/* The plan: trials in a fixed order, their keys, what the manifest says. */
#include "experiments/run_internal.h"
#include "stats/results.h"

#include <stdlib.h>
#include <string.h>

static fp4_status no_memory(void) { return fp4_fail(FP4_ERR_MEMORY, "no memory for the plan"); }

fp4_status run_plan_begin(struct run_plan *plan, const char *experiment) {
    *plan = (struct run_plan){.experiment = experiment,
                              .keys = json_object(),
                              .inputs = json_array(),
                              .missing = json_array(),
                              .settings = json_object()};
    return plan->keys && plan->inputs && plan->missing && plan->settings ? FP4_OK : no_memory();
}

void run_plan_end(struct run_plan *plan) {
    for (size_t i = 0; i < plan->n; i++) {
        struct run_trial *t = &plan->entries[i].trial;
        fp4_free((void *)(uintptr_t)t->model);
        fp4_free((void *)(uintptr_t)t->arm);
        fp4_free((void *)(uintptr_t)t->item);
        json_decref(t->config);
    }
    fp4_free(plan->entries);
    fp4_free(plan->needs);
    json_decref(plan->keys);
    json_decref(plan->inputs);
    json_decref(plan->missing);
    json_decref(plan->settings);
    *plan = (struct run_plan){0};
}

fp4_status run_plan_line(const struct run_plan *plan, const struct run_entry *e, json_t **line) {
    const struct run_trial *t = &e->trial;
    *line = json_pack("{s:s, s:i, s:s, s:s, s:s, s:s, s:i, s:i, s:O}", "type", "trial", "schema", RESULTS_SCHEMA, "experiment",
                      plan->experiment, "model", t->model, "arm", t->arm, "item", t->item, "seed", t->seed, "replicate", t->replicate,
                      "config", t->config);
    if (!*line)
        return no_memory();
    return e->key[0] == 0 || json_object_set_new(*line, "key", json_string(e->key)) == 0 ? FP4_OK : no_memory();
}

static fp4_status add_key(struct run_plan *plan, struct run_entry *e, size_t index) {
    json_t *line;
    FP4_TRY(run_plan_line(plan, e, &line));
    fp4_status status = results_key(line, e->key);
    json_decref(line);
    FP4_TRY(status);
    if (json_object_get(plan->keys, e->key))
        return fp4_fail(FP4_ERR_ARG, "%s, arm %s, item %s, seed %d is planned twice", e->trial.model, e->trial.arm, e->trial.item, e->trial.seed);
    return json_object_set_new(plan->keys, e->key, json_integer((json_int_t)index)) == 0 ? FP4_OK : no_memory();
}

fp4_status run_add(struct run_plan *plan, const struct run_trial *t) {
    fp4_status status = t->config ? FP4_RESERVE(plan->entries, plan->n, plan->n + 1, &plan->room) : no_memory();
    if (status != FP4_OK) {
        json_decref(t->config);
        return status;
    }
    struct run_entry *e = &plan->entries[plan->n++]; /* from here on run_plan_end frees it */
    *e = (struct run_entry){.trial = *t};
    e->trial.model = e->trial.arm = e->trial.item = NULL;
    char *copy;
    FP4_TRY(fp4_strdup(t->model, &copy));
    e->trial.model = copy;
    FP4_TRY(fp4_strdup(t->arm, &copy));
    e->trial.arm = copy;
    FP4_TRY(fp4_strdup(t->item, &copy));
    e->trial.item = copy;
    return add_key(plan, e, plan->n - 1);
}

fp4_status run_input(struct run_plan *plan, const char *name, const char *source, const char *licence, const char *sha256) {
    json_t *o = json_pack("{s:s, s:s, s:s, s:s}", "name", name, "source", source, "licence", licence, "sha256", sha256);
    return o && json_array_append_new(plan->inputs, o) == 0 ? FP4_OK : no_memory();
}

fp4_status run_missing(struct run_plan *plan, const char *name, const char *why) {
    json_t *o = json_pack("{s:s, s:s}", "name", name, "why", why);
    return o && json_array_append_new(plan->missing, o) == 0 ? FP4_OK : no_memory();
}

fp4_status run_setting(struct run_plan *plan, const char *name, json_t *value) {
    return value && json_object_set_new(plan->settings, name, value) == 0 ? FP4_OK : no_memory();
}

fp4_status run_memory(struct run_plan *plan, const char *model, const struct fp4_memory *m) {
    struct run_needs *more;
    FP4_TRY(FP4_NEW(more, plan->n_needs + 1));
    if (plan->n_needs)
        memcpy(more, plan->needs, plan->n_needs * sizeof *more);
    snprintf(more[plan->n_needs].model, sizeof more->model, "%s", model);
    more[plan->n_needs].memory = *m;
    fp4_free(plan->needs);
    plan->needs = more;
    plan->n_needs++;
    return FP4_OK;
}

static bool is_left(const struct run_plan *plan, const struct run_options *o, const char *model) {
    for (size_t i = 0; i < plan->n; i++)
        if (!plan->entries[i].done && run_in_shard(o, i) && strncmp(plan->entries[i].trial.model, model, sizeof plan->needs->model - 1) == 0)
            return true;
    return false;
}

fp4_status run_plan_fits(const struct run_plan *plan, const struct run_options *o) {
    for (size_t i = 0; i < plan->n_needs && !o->load.ignore_memory; i++)
        if (is_left(plan, o, plan->needs[i].model))
            FP4_TRY(fp4_memory_check(plan->needs[i].model, &plan->needs[i].memory));
    return FP4_OK;
}

bool run_selected(const char *list, const char *name) {
    if (!list)
        return true;
    size_t n = strlen(name);
    for (const char *p = list;; p++) {
        size_t length = strcspn(p, ",");
        if (length == n && memcmp(p, name, n) == 0)
            return true;
        p += length;
        if (!*p)
            return false;
    }
}

fp4_status run_check(const char *what, const char *list, const char *const *known, size_t n) {
    for (const char *p = list; p; p++) {
        size_t length = strcspn(p, ","), i = 0;
        while (i < n && !(strlen(known[i]) == length && memcmp(p, known[i], length) == 0))
            i++;
        if (i == n) {
            char all[768] = "";
            for (size_t k = 0, at = 0; k < n && at < sizeof all; k++)
                at += (size_t)snprintf(all + at, sizeof all - at, "%s%s", k ? ", " : "", known[k]);
            return fp4_fail(FP4_ERR_ARG, "unknown %s '%.*s'; known: %s", what, (int)(length < 80 ? length : 80), p, all);
        }
        p += length;
        if (!*p)
            break;
    }
    return FP4_OK;
}

bool run_in_shard(const struct run_options *o, size_t i) { return i % (size_t)o->n_shards == (size_t)o->shard - 1; }

void run_duration(double seconds, char text[32]) {
    if (seconds < 60)
        snprintf(text, 32, "%.0f s", seconds);
    else if (seconds < 3600)
        snprintf(text, 32, "%.0f min %.0f s", (double)(int)(seconds / 60), seconds - 60 * (int)(seconds / 60));
    else
        snprintf(text, 32, "%.1f h", seconds / 3600);
}

/* Names of models are paths, which may hold anything. */
enum { SHOWN = 1024 };

void run_plan_print(const struct run_plan *plan, const struct run_options *o, FILE *out) {
    double left = 0;
    size_t planned = 0, there = 0;
    char name[SHOWN], why[SHOWN];
    fprintf(out, "# key\tmodel\tarm\titem\tseed\treplicate\tseconds\tstate\n");
    for (size_t i = 0; i < plan->n; i++) {
        const struct run_entry *e = &plan->entries[i];
        if (!run_in_shard(o, i))
            continue;
        fprintf(out, "%.12s\t%s\t%s\t%s\t%d\t%d\t%.2f\t%s\n", e->key, fp4_escape_text(e->trial.model, name, SHOWN), e->trial.arm, e->trial.item, e->trial.seed,
                e->trial.replicate, e->trial.estimate, e->done ? "there" : "to run");
        planned++;
        there += e->done;
        left += e->done ? 0 : e->trial.estimate;
    }
    char text[32];
    run_duration(left, text);
    fprintf(out, "# %zu trials, %zu of them there; the rest takes about %s\n", planned, there, text);
    for (size_t k = 0; k < plan->n_needs; k++) {
        char needed[256];
        fp4_memory_describe(&plan->needs[k].memory, needed, sizeof needed);
        fprintf(out, "# memory: %s: %s needed, %.2f GiB available\n", fp4_escape_text(plan->needs[k].model, name, SHOWN), needed,
                (double)plan->needs[k].memory.available / (1 << 30));
    }
    size_t i;
    json_t *m;
    json_array_foreach(plan->missing, i, m)
        fprintf(out, "# missing: %s: %s\n", fp4_escape_text(json_string_value(json_object_get(m, "name")), name, SHOWN),
                fp4_escape_text(json_string_value(json_object_get(m, "why")), why, SHOWN));
}
