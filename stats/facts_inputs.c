/* What the results were computed from: inputs, what was missing and why, machines, settings, digest. */
#include <stdlib.h>
#include <string.h>

#include "stats/facts_data.h"

/* Paths of one machine have no place in a report: of each word that is an absolute path the last part stays. */
static void without_paths(char *out, size_t size, const char *text) {
    size_t n = 0;
    bool start = true;
    while (*text && n + 1 < size) {
        if (start && *text == '/') {
            size_t length = strcspn(text, " \t,;:()'\"");
            const char *last = text;
            for (size_t i = 0; i < length; i++)
                if (text[i] == '/' && i + 1 < length)
                    last = text + i + 1;
            while (last < text + length && n + 1 < size)
                out[n++] = *last++;
            text += length;
        } else {
            start = strchr(" \t(='\":", *text) != NULL;
            out[n++] = *text++;
        }
    }
    out[n] = '\0';
}

/* Entries of all manifests, each name once, in their order. */
static json_t *collect(struct facts *f, const char *field) {
    json_t *found = json_array(), *m, *e, *other;
    size_t i, j, k;
    json_array_foreach(f->results->manifests, i, m) {
        json_array_foreach(json_object_get(m, field), j, e) {
            bool there = false;
            json_array_foreach(found, k, other) there = there || !strcmp(trial_text(other, "name"), trial_text(e, "name"));
            if (!there)
                json_array_append(found, e);
        }
    }
    return found;
}

static void inputs_table(struct facts *f) {
    json_t *inputs = collect(f, "inputs"), *e;
    char source[512];
    size_t i;
    table_begin(f, "inputs", "<name|<source|<licence|<sha256");
    json_array_foreach(inputs, i, e) {
        without_paths(source, sizeof source, trial_text(e, "source"));
        const char *sha = trial_text(e, "sha256");
        table_cell(f, "%s", trial_text(e, "name"));
        table_cell(f, "%s", source);
        table_cell(f, "%s", trial_text(e, "licence"));
        table_cell(f, "%s", *sha ? sha : "made by this suite from its seed");
        table_row(f);
    }
    table_end(f);
    facts_flag(f, "has.smollm2", false);
    json_array_foreach(inputs, i, e) if (!strcmp(trial_text(e, "name"), "smollm2"))
        json_object_set_new(json_object_get(f->root, "flags"), "has.smollm2", json_true());
    json_decref(inputs);
}

static void missing_table(struct facts *f) {
    json_t *missing = collect(f, "missing"), *inputs = collect(f, "inputs"), *e, *there;
    char why[512];
    size_t i, j, rows = 0;
    table_begin(f, "missing", "<input|<why it was not there");
    json_array_foreach(missing, i, e) {
        bool had = false; /* in another experiment or a later run */
        json_array_foreach(inputs, j, there) had = had || !strcmp(trial_text(e, "name"), trial_text(there, "name"));
        if (had)
            continue;
        without_paths(why, sizeof why, trial_text(e, "why"));
        table_cell(f, "%s", trial_text(e, "name"));
        table_cell(f, "%s", why);
        table_row(f);
        rows++;
    }
    if (rows)
        table_end(f);
    else
        table_missing(f, "missing", "no input was missing");
    json_decref(missing);
    json_decref(inputs);
}

/* The machines that the trials ran on; the date of a run is left out, so that equal results give an equal report. */
static void machines_table(struct facts *f) {
    static const char *const fields[] = {"cpu", "cores", "threads", "memory_bytes", "blas_core", "rung", "compiler", "version", "git"};
    char seen[64][1024];
    size_t n_seen = 0, i;
    json_t *m;
    table_begin(f, "machines", "<experiment|<profile|>seed|<processor|>cores|>threads|>memory|<BLAS core|<rung|<compiler|<version|<commit");
    json_array_foreach(f->results->manifests, i, m) {
        char line[1024];
        int at = snprintf(line, sizeof line, "%s|%s|%.0f", trial_text(m, "experiment"), trial_text(m, "profile"), trial_number(m, "seed"));
        json_t *machine = json_object_get(m, "machine");
        for (size_t k = 0; k < sizeof fields / sizeof *fields && at < (int)sizeof line; k++) {
            json_t *v = json_object_get(machine, fields[k]);
            if (!strcmp(fields[k], "memory_bytes"))
                at += snprintf(line + at, sizeof line - (size_t)at, "|%.1f GB", json_number_value(v) * 1e-9);
            else if (json_is_number(v))
                at += snprintf(line + at, sizeof line - (size_t)at, "|%.0f", json_number_value(v));
            else
                at += snprintf(line + at, sizeof line - (size_t)at, "|%s", json_is_string(v) && *json_string_value(v) ? json_string_value(v) : "not recorded");
        }
        bool again = false;
        for (size_t k = 0; k < n_seen; k++)
            again = again || !strcmp(seen[k], line);
        if (again || n_seen == 64)
            continue;
        memcpy(seen[n_seen++], line, sizeof line);
        char *rest = line, *cell;
        while ((cell = strsep(&rest, "|")))
            table_cell(f, "%s", cell);
        table_row(f);
    }
    table_end(f);
}

/* How many trials each experiment has, by model and arm. */
static void trials_table(struct facts *f) {
    static const char *const experiments[] = {"tta", "ptq", "train"};
    table_begin(f, "trials", "<experiment|<model|>arms|>items|>trials");
    for (int e = 0; e < 3; e++) {
        const char *models[8], *values[MAX_ARMS];
        size_t n = trial_models(f->results, experiments[e], models, 8);
        for (size_t m = 0; m < n; m++) {
            struct trial_query q = {experiments[e], models[m], NULL, NULL, -1, -1};
            size_t at = 0, count = 0;
            while (trial_next(f->results, &q, &at))
                count++;
            table_cell(f, "%s", experiments[e]);
            table_cell(f, "%s", models[m]);
            table_cell(f, "%zu", trial_values(f->results, experiments[e], models[m], "arm", NULL, values, MAX_ARMS));
            table_cell(f, "%zu", trial_values(f->results, experiments[e], models[m], "item", NULL, values, MAX_ARMS));
            table_cell(f, "%zu", count);
            table_row(f);
        }
    }
    table_end(f);
}

void facts_inputs(struct facts *f) {
    char hex[65];
    const char *profile = trial_text(json_array_get(f->results->manifests, 0), "profile");
    facts_broken(f, results_digest(f->results, hex));
    if (f->status != FP4_OK)
        return;
    facts_word(f, "digest", hex);
    facts_word(f, "profile", *profile ? profile : "default");
    facts_flag(f, "is.smoke", !strcmp(profile, "smoke"));
    struct fact n = fact_point((double)json_array_size(f->results->trials), FACT_COUNT);
    facts_number(f, "n_trials", NULL, &n);
    facts_flag(f, "is.torn", f->results->torn > 0);
    inputs_table(f);
    missing_table(f);
    machines_table(f);
    trials_table(f);
}
