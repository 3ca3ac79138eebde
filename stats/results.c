/* The reader of results files, the trials' keys and the digest. */
#include "stats/results.h"

#include <dirent.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "lib/base/json.h"

enum { MAX_LINE = 16 << 20, MAX_FILE = 1 << 30 };

/* ---- canonical text and keys ---- */

fp4_status results_canonical(json_t *value, char **text) {
    *text = json_text(value, JSON_COMPACT | JSON_SORT_KEYS | JSON_ENCODE_ANY | JSON_REAL_PRECISION(17));
    return *text ? FP4_OK : fp4_fail(FP4_ERR_MEMORY, "no memory for a line of results, or text that is not UTF-8");
}

fp4_status results_key(json_t *trial, char hex[65]) {
    static const char *const parts[] = {"experiment", "model", "arm", "item", "seed", "replicate", "config"};
    json_t *identity = json_object();
    fp4_status status = identity ? FP4_OK : fp4_fail(FP4_ERR_MEMORY, "no memory for a trial's key");
    for (size_t i = 0; status == FP4_OK && i < sizeof parts / sizeof *parts; i++) {
        json_t *part = json_object_get(trial, parts[i]);
        if (!part)
            status = fp4_fail(FP4_ERR_FORMAT, "a trial without \"%s\"", parts[i]);
        else if (json_object_set(identity, parts[i], part) != 0)
            status = fp4_fail(FP4_ERR_MEMORY, "no memory for a trial's key");
    }
    char *text = NULL;
    if (status == FP4_OK)
        status = results_canonical(identity, &text);
    if (status == FP4_OK)
        status = fp4_sha256_buffer(text, strlen(text), hex);
    free(text);
    json_decref(identity);
    return status;
}

/* ---- one line ---- */

/* Jansson's parser recurses once a level: what a line may ask for is bounded before it is called. */
static bool too_deep(const char *line, size_t n) {
    size_t depth = 0;
    bool in_string = false;
    for (size_t i = 0; i < n; i++) {
        if (in_string) {
            if (line[i] == '\\')
                i++;
            else if (line[i] == '"')
                in_string = false;
        } else if (line[i] == '"') {
            in_string = true;
        } else if (line[i] == '{' || line[i] == '[') {
            if (++depth > RESULTS_MAX_DEPTH)
                return true;
        } else if ((line[i] == '}' || line[i] == ']') && depth > 0) {
            depth--;
        }
    }
    return false;
}

static bool is_string(json_t *o, const char *name) { return json_is_string(json_object_get(o, name)); }
static bool is_object(json_t *o, const char *name) { return json_is_object(json_object_get(o, name)); }

static bool is_number(json_t *o, const char *name) {
    json_t *v = json_object_get(o, name);
    return json_is_integer(v) && json_integer_value(v) >= 0 && json_integer_value(v) <= INT32_MAX;
}

/* What is wrong with a line of schema 1; NULL when nothing is. */
static const char *fault_of(json_t *o) {
    if (!json_is_object(o))
        return "not a JSON object";
    json_t *schema = json_object_get(o, "schema");
    if (!json_is_integer(schema))
        return "no schema number";
    if (json_integer_value(schema) != RESULTS_SCHEMA)
        return "written under another schema";
    if (!is_string(o, "type") || !is_string(o, "experiment"))
        return "no type or no experiment";
    const char *type = json_string_value(json_object_get(o, "type"));
    if (strcmp(type, "manifest") == 0)
        return json_is_array(json_object_get(o, "inputs")) && is_object(o, "machine") ? NULL : "a manifest without inputs or machine";
    if (strcmp(type, "trial") != 0)
        return "neither a trial nor a manifest";
    if (!is_string(o, "key") || !is_string(o, "model") || !is_string(o, "arm") || !is_string(o, "item"))
        return "a trial without key, model, arm or item";
    if (!is_number(o, "seed") || !is_number(o, "replicate"))
        return "a trial without seed or replicate from 0 to 2147483647";
    if (!is_object(o, "config") || !is_object(o, "outcome") || !is_object(o, "time"))
        return "a trial without config, outcome or time";
    char key[65];
    if (results_key(o, key) != FP4_OK)
        return "a trial whose key cannot be computed";
    return strcmp(key, json_string_value(json_object_get(o, "key"))) == 0 ? NULL : "the key is not that of the trial: the line was changed";
}

static fp4_status bad_line(const char *path, size_t number, const char *fault) {
    return fp4_fail(FP4_ERR_FORMAT, "%s:%zu: %s; move the file away or name another folder", path, number, fault);
}

static fp4_status walk_line(const char *path, size_t number, const char *line, size_t n, results_line visit, void *context) {
    if (n > MAX_LINE)
        return bad_line(path, number, "a line of more than 16 MiB");
    if (too_deep(line, n))
        return bad_line(path, number, "nested too deeply");
    json_error_t error;
    json_t *o = json_parse(line, n, JSON_REJECT_DUPLICATES, &error);
    if (!o) {
        char fault[JSON_ERROR_TEXT_LENGTH + 32];
        snprintf(fault, sizeof fault, "not JSON at byte %d: %s", error.position, error.text);
        return bad_line(path, number, fault);
    }
    const char *fault = fault_of(o);
    fp4_status status = fault ? bad_line(path, number, fault) : visit ? visit(context, o) : FP4_OK;
    json_decref(o);
    return status;
}

fp4_status results_parse(const char *path, const void *bytes, size_t size, results_line visit, void *context, size_t *whole) {
    if (whole)
        *whole = 0;
    fp4_status status = FP4_OK;
    const char *text = bytes;
    size_t at = 0;
    for (size_t number = 1; status == FP4_OK && at < size; number++) {
        const char *end = memchr(text + at, '\n', size - at);
        if (!end)
            break; /* torn: the writer was killed before the newline */
        size_t n = (size_t)(end - text) - at;
        status = walk_line(path, number, text + at, n, visit, context);
        at += n + 1;
    }
    if (status == FP4_OK && whole)
        *whole = at;
    return status;
}

fp4_status results_walk(const char *path, results_line visit, void *context, size_t *whole) {
    if (whole)
        *whole = 0;
    struct stat info;
    if (stat(path, &info) != 0 && errno == ENOENT)
        return FP4_OK;
    char *text;
    size_t size;
    FP4_TRY(fp4_read_file(path, MAX_FILE, &text, &size)); /* not a map: an experiment may be about to drop a torn line */
    fp4_status status = results_parse(path, text, size, visit, context, whole);
    fp4_free(text);
    return status;
}

/* ---- several files ---- */

struct loading {
    struct results *out;
    json_t *seen; /* object: key → true */
    const char *path;
};

static fp4_status keep_line(void *context, json_t *object) {
    struct loading *l = context;
    if (strcmp(json_string_value(json_object_get(object, "type")), "manifest") == 0)
        return json_array_append(l->out->manifests, object) == 0 ? FP4_OK : fp4_fail(FP4_ERR_MEMORY, "no memory for results");
    const char *key = json_string_value(json_object_get(object, "key"));
    if (json_object_get(l->seen, key))
        return fp4_fail(FP4_ERR_FORMAT, "%s: trial %.12s… (%s, %s, item %s) appears twice in these results; name each run's folder once", l->path,
                        key, json_string_value(json_object_get(object, "model")), json_string_value(json_object_get(object, "arm")),
                        json_string_value(json_object_get(object, "item")));
    if (json_object_set_new(l->seen, key, json_true()) != 0 || json_array_append_new(l->out->origins, json_string_nocheck(l->path)) != 0 ||
        json_array_append(l->out->trials, object) != 0)
        return fp4_fail(FP4_ERR_MEMORY, "no memory for results");
    return FP4_OK;
}

static fp4_status load_file(struct loading *l, const char *path) {
    size_t whole = 0;
    struct stat info;
    if (stat(path, &info) != 0)
        return fp4_fail(FP4_ERR_IO, "%s: %s; run an experiment first", path, strerror(errno));
    l->path = path;
    FP4_TRY(results_walk(path, keep_line, l, &whole));
    l->out->files++;
    l->out->torn += (size_t)info.st_size > whole;
    return FP4_OK;
}

static int is_results_name(const struct dirent *e) {
    size_t n = strlen(e->d_name);
    return n > 6 && e->d_name[0] != '.' && strcmp(e->d_name + n - 6, ".jsonl") == 0;
}

static int by_name(const struct dirent **a, const struct dirent **b) { return strcmp((*a)->d_name, (*b)->d_name); }

static fp4_status load_folder(struct loading *l, const char *folder) {
    struct dirent **names = NULL;
    int n = scandir(folder, &names, is_results_name, by_name);
    fp4_status status = n < 0    ? fp4_fail(FP4_ERR_IO, "%s: cannot list: %s", folder, strerror(errno))
                        : n == 0 ? fp4_fail(FP4_ERR_IO, "%s: no results (*.jsonl) in this folder; run an experiment first", folder)
                                 : FP4_OK;
    for (int i = 0; i < n; i++) {
        char path[4096];
        int length = snprintf(path, sizeof path, "%s/%s", folder, names[i]->d_name);
        if (status == FP4_OK && (length < 0 || (size_t)length >= sizeof path))
            status = fp4_fail(FP4_ERR_ARG, "%s: path too long", folder);
        if (status == FP4_OK)
            status = load_file(l, path);
        free(names[i]);
    }
    free(names);
    return status;
}

fp4_status results_load(const char *const *paths, size_t n_paths, struct results *out) {
    *out = (struct results){.trials = json_array(), .manifests = json_array(), .origins = json_array()};
    struct loading l = {.out = out, .seen = json_object()};
    fp4_status status = out->trials && out->manifests && out->origins && l.seen ? FP4_OK : fp4_fail(FP4_ERR_MEMORY, "no memory for results");
    for (size_t i = 0; status == FP4_OK && i < n_paths; i++) {
        struct stat info;
        bool folder = stat(paths[i], &info) == 0 && S_ISDIR(info.st_mode);
        status = folder ? load_folder(&l, paths[i]) : load_file(&l, paths[i]);
    }
    json_decref(l.seen);
    if (status != FP4_OK)
        results_free(out);
    return status;
}

void results_free(struct results *r) {
    json_decref(r->trials);
    json_decref(r->manifests);
    json_decref(r->origins);
    *r = (struct results){0};
}

const char *results_origin(const struct results *r, const json_t *trial) {
    size_t i;
    json_t *other;
    json_array_foreach(r->trials, i, other) if (other == trial && json_array_get(r->origins, i))
        return json_string_value(json_array_get(r->origins, i));
    return "results";
}

/* ---- digest ---- */

static int by_text(const void *a, const void *b) { return strcmp(*(char *const *)a, *(char *const *)b); }

static fp4_status digest_line(json_t *trial, char **text) {
    json_t *bare = json_copy(trial);
    if (!bare)
        return fp4_fail(FP4_ERR_MEMORY, "no memory for a digest");
    bool whole = json_object_size(bare) == json_object_size(trial); /* json_copy does not say when a field was lost */
    json_object_del(bare, "time");
    json_object_del(bare, "machine");
    fp4_status status = whole ? results_canonical(bare, text) : fp4_fail(FP4_ERR_MEMORY, "no memory for a digest");
    json_decref(bare);
    return status;
}

fp4_status results_digest(const struct results *r, char hex[65]) {
    size_t n = json_array_size(r->trials), done = 0;
    char **lines;
    FP4_TRY(FP4_NEW(lines, n));
    fp4_status status = FP4_OK;
    for (; status == FP4_OK && done < n; done++)
        status = digest_line(json_array_get(r->trials, done), &lines[done]);
    struct fp4_sha256 h;
    if (status == FP4_OK)
        status = fp4_sha256_begin(&h);
    if (status == FP4_OK) {
        qsort(lines, n, sizeof *lines, by_text);
        for (size_t i = 0; i < n; i++) {
            fp4_sha256_update(&h, lines[i], strlen(lines[i]));
            fp4_sha256_update(&h, "\n", 1);
        }
        fp4_sha256_end(&h, hex);
    }
    for (size_t i = 0; i < done; i++)
        free(lines[i]);
    fp4_free(lines);
    return status;
}
