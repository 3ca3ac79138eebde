/* Results files as they come, and the facts computed from them. For the facts each trial's key is put right first: a stranger can do that too. */
#include <jansson.h>
#include <stdlib.h>
#include <string.h>

#include "stats/facts.h"
#include "tests/fuzz/fuzz.h"

static fp4_status visit(void *context, json_t *object) {
    size_t *lines = context;
    char *text, key[65];
    ++*lines;
    if (results_canonical(object, &text) == FP4_OK)
        free(text);
    if (strcmp(json_string_value(json_object_get(object, "type")), "trial") == 0)
        fuzz_promise(results_key(object, key) == FP4_OK && strcmp(key, json_string_value(json_object_get(object, "key"))) == 0);
    return FP4_OK;
}

void fuzz_results(const uint8_t *data, size_t size) {
    size_t whole, lines = 0;
    if (results_parse(FUZZ_NAME, data, size, visit, &lines, &whole) != FP4_OK) {
        fuzz_promise_message();
        return;
    }
    fuzz_promise(whole <= size && (whole == 0 || data[whole - 1] == '\n') && (lines > 0) == (whole > 0));
}

static void put_key_right(json_t *object) {
    char key[65];
    if (json_is_object(object) && results_key(object, key) == FP4_OK)
        json_object_set_new(object, "key", json_string(key));
}

static fp4_status keep(void *context, json_t *object) {
    struct results *r = context;
    bool trial = strcmp(json_string_value(json_object_get(object, "type")), "trial") == 0;
    json_array_append(trial ? r->trials : r->manifests, object);
    return FP4_OK;
}

/* Each line that is JSON, with its key put right, through the reader. */
static void gather(const uint8_t *data, size_t size, struct results *r) {
    for (size_t at = 0; at < size;) {
        const uint8_t *end = memchr(data + at, '\n', size - at);
        size_t n = end ? (size_t)(end - data) - at : size - at;
        json_t *line = json_loadb((const char *)data + at, n, JSON_REJECT_DUPLICATES, NULL);
        put_key_right(line);
        char *text = line ? json_dumps(line, JSON_COMPACT) : NULL;
        json_decref(line);
        if (text) {
            size_t length = strlen(text);
            text[length] = '\n'; /* in place of its zero */
            results_parse(FUZZ_NAME, text, length + 1, keep, r, NULL);
            free(text);
        }
        at += n + 1;
    }
}

void fuzz_facts(const uint8_t *data, size_t size) {
    static json_t *published;
    struct results r = {.trials = json_array(), .manifests = json_array()};
    struct facts f;
    if (!published)
        published = json_load_file("stats/published.json", 0, NULL);
    fuzz_promise(published != NULL); /* run from the top of the tree */
    gather(data, size, &r);
    facts_begin(&f, &r, json_incref(published), NULL);
    facts_all(&f);
    facts_free(&f);
    results_free(&r);
}
