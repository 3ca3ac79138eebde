/* The builder behind facts.h: numbers, words, claims; what a published number is; writing it all down. */
#include "lib/base/json.h"
#include "stats/facts_data.h"

#include <math.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

void facts_broken(struct facts *f, fp4_status status) {
    if (f->status != FP4_OK || status == FP4_OK)
        return;
    f->status = status;
    snprintf(f->why, sizeof f->why, "%s", fp4_last_error());
}

/* Stores a new value under key of a section; twice the same key is a mistake of the caller. */
static void store(struct facts *f, const char *section, const char *key, json_t *value) {
    if (f->status != FP4_OK) {
        json_decref(value);
        return;
    }
    json_t *s = json_object_get(f->root, section);
    if (value && json_object_get(s, key)) {
        json_decref(value);
        facts_broken(f, fp4_fail(FP4_ERR_ARG, "facts: %s '%s' is set twice", section, key));
    } else if (!value || json_object_set_new(s, key, value) != 0) {
        facts_broken(f, fp4_fail(FP4_ERR_MEMORY, "facts: cannot store %s '%s'", section, key));
    }
}

fp4_status facts_begin(struct facts *f, const struct results *results, json_t *published, json_t *bench) {
    *f = (struct facts){.results = results, .published = published, .bench = bench};
    json_watch();
    f->root = json_pack("{s:{},s:{},s:{},s:{},s:{},s:{}}", "numbers", "words", "flags", "claims", "tables", "figures");
    f->files = json_object();
    f->used = json_object();
    if (!f->root || !f->files || !f->used)
        facts_broken(f, fp4_fail(FP4_ERR_MEMORY, "facts: no memory"));
    return f->status;
}

void facts_free(struct facts *f) {
    json_decref(f->published);
    json_decref(f->bench);
    json_decref(f->root);
    json_decref(f->files);
    json_decref(f->used);
    json_decref(f->lines);
    fp4_free(f->line);
    *f = (struct facts){0};
}

void facts_all(struct facts *f) {
    facts_inputs(f);
    facts_tta(f);
    facts_ptq(f);
    facts_train(f);
    facts_speed(f);
}

const char *facts_key(char *buffer, const char *format, ...) {
    va_list a;
    va_start(a, format);
    vsnprintf(buffer, FACT_KEY, format, a);
    va_end(a);
    return buffer;
}

void facts_number(struct facts *f, const char *key, const char *in, const struct fact *v) {
    char text[FACT_TEXT], interval[FACT_TEXT];
    fact_text(v, text, interval);
    json_t *o = json_pack("{s:s,s:s*,s:s*,s:s*}", "text", text, "interval", interval[0] ? interval : NULL, "method",
                          v->method, "in", in);
    if (o && isfinite(v->value))
        json_object_set_new(o, "value", json_real(v->value));
    if (o && interval[0]) {
        json_object_set_new(o, "low", json_real(v->low));
        json_object_set_new(o, "high", json_real(v->high));
    }
    for (int less = 0; o && fact_is_signed(v->style) && isfinite(v->value) && less < 2; less++) {
        fact_size(v, less, text);
        json_object_set_new(o, less ? "less" : "more", json_string(text));
    }
    if (o && v->n)
        json_object_set_new(o, "n", json_integer((json_int_t)v->n));
    store(f, "numbers", key, o);
}

void facts_absent(struct facts *f, const char *key, const char *in, const char *why) {
    store(f, "numbers", key, json_pack("{s:s,s:s,s:s*}", "text", "not available", "why", why, "in", in));
}

void facts_word(struct facts *f, const char *key, const char *text) {
    char safe[512];
    facts_escape(text, safe, sizeof safe);
    store(f, "words", key, json_string(safe));
}

void facts_flag(struct facts *f, const char *key, bool value) {
    store(f, "flags", key, json_boolean(value));
}

const char *verdict_name(enum verdict v) {
    static const char *const names[] = {"supported", "refuted", "inconclusive", "missing"};
    return names[v];
}

enum verdict verdict_positive(double estimate, double p, double alpha) {
    if (!isfinite(estimate) || !isfinite(p))
        return VERDICT_MISSING;
    if (!(p < alpha) || estimate == 0)
        return VERDICT_INCONCLUSIVE;
    return estimate > 0 ? VERDICT_SUPPORTED : VERDICT_REFUTED;
}

enum verdict verdict_equivalent(double low, double high, double margin, double tost_p, double alpha) {
    if (!isfinite(low) || !isfinite(high))
        return VERDICT_MISSING;
    if (tost_p < alpha || (isnan(tost_p) && low > -margin && high < margin))
        return VERDICT_SUPPORTED;
    return low >= margin || high <= -margin ? VERDICT_REFUTED : VERDICT_INCONCLUSIVE;
}

void facts_claim(struct facts *f, const char *key, enum verdict v, const char *test) {
    store(f, "claims", key, json_pack("{s:s,s:s}", "verdict", verdict_name(v), "test", test));
}

json_t *published_node(struct facts *f, const char *path) {
    return trial_node(f->published, path);
}

const char *published_text(struct facts *f, const char *path) {
    json_t *at = published_node(f, path);
    if (!json_is_string(at)) {
        facts_broken(f, fp4_fail(FP4_ERR_FORMAT, "published.json: no text at '%s'; add it", path));
        return "";
    }
    json_object_set_new(f->used, path, json_true());
    return json_string_value(at);
}

double published_number(struct facts *f, const char *path) {
    char text[64], *end;
    snprintf(text, sizeof text, "%s", published_text(f, path));
    double v = strtod(text, &end);
    if (end == text)
        facts_broken(f, fp4_fail(FP4_ERR_FORMAT, "published.json: '%s' at '%s' is no number", text, path));
    return strncmp(end, " %", 2) == 0 ? v / 100 : v;
}

/* Each text below `at` must have been put into a table: a published number that the report does not show is a fault. */
static void check_used(struct facts *f, json_t *at, const char *path) {
    const char *key;
    json_t *value;
    json_object_foreach(at, key, value) {
        char inner[2 * FACT_KEY];
        snprintf(inner, sizeof inner, "%s%s%s", path, *path ? "." : "", key);
        if (json_is_object(value))
            check_used(f, value, inner);
        else if (!json_object_get(f->used, inner))
            facts_broken(f, fp4_fail(FP4_ERR_FORMAT, "published.json: '%s' stands in no table of the report", inner));
    }
}

static fp4_status write_in(const char *folder, const char *name, const char *text) {
    char path[4096];
    snprintf(path, sizeof path, "%s/%s", folder, name);
    return fp4_write_file(path, text, strlen(text));
}

fp4_status facts_write(struct facts *f, const char *folder) {
    check_used(f, f->published, "");
    if (f->status != FP4_OK)
        return fp4_fail(f->status, "%s", f->why);
    FP4_TRY(json_whole("facts"));
    FP4_TRY(fp4_make_dirs(folder));
    const char *name;
    json_t *text;
    json_object_foreach(f->files, name, text) FP4_TRY(write_in(folder, name, json_string_value(text)));
    char *dump = json_text(f->root, JSON_INDENT(1) | JSON_SORT_KEYS | JSON_REAL_PRECISION(17));
    if (!dump)
        return fp4_fail(FP4_ERR_MEMORY, "facts.json: cannot be written as JSON");
    fp4_status s = write_in(folder, "facts.json", dump);
    free(dump);
    return s;
}
