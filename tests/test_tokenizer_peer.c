/* Against the tokenizers library and SentencePiece themselves, where Python has them: files of every kind with vocabularies trained on the
 * spot, random texts, random ids. FP4LAB_PEER_TEXTS: texts for each kind (default 40); FP4LAB_PEER_SEED. */
#include <jansson.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "fp4lab/text.h"
#include "tests/folders.h"
#include "tests/support.h"

static size_t unhex(const char *hex, char *out) {
    size_t n = strlen(hex) / 2;
    for (size_t i = 0; i < n; i++) {
        char pair[3] = {hex[2 * i], hex[2 * i + 1], 0};
        out[i] = (char)strtoul(pair, NULL, 16);
    }
    out[n] = 0;
    return n;
}

/* "1,2,3" of a list of ids, for messages. */
static char *spell(const int32_t *ids, size_t n) {
    static char buffer[2][4000];
    static int turn;
    char *text = buffer[turn ^= 1];
    size_t used = 0;
    text[0] = 0;
    for (size_t i = 0; i < n && used < 3900; i++)
        used += (size_t)snprintf(text + used, 4000 - used, "%s%d", i ? "," : "", (int)ids[i]);
    return text;
}

static int32_t *list_of(const json_t *list, size_t *n) {
    *n = json_array_size(list);
    int32_t *ids = malloc((*n + 1) * sizeof *ids);
    for (size_t i = 0; i < *n; i++)
        ids[i] = (int32_t)json_integer_value(json_array_get(list, i));
    return ids;
}

static void same_ids(const struct fp4_tokenizer *t, const char *text, size_t bytes, bool special, const json_t *list, const char *where) {
    size_t n, n_want;
    int32_t *ids, *want = list_of(list, &n_want);
    must(fp4_tokenize(t, text, bytes, special, &ids, &n));
    cr_assert(n == n_want && memcmp(ids, want, n * sizeof *ids) == 0, "%s, %s, \"%s\": %s, expected %s", where, special ? "special" : "plain", text,
              spell(ids, n), spell(want, n_want));
    fp4_free(ids);
    free(want);
}

static void same_text(const struct fp4_tokenizer *t, const int32_t *ids, size_t n, bool skip, const char *hex, const char *where) {
    char *raw, *text, *want = malloc(strlen(hex) / 2 + 1);
    size_t bytes, n_want = unhex(hex, want);
    must(fp4_detokenize(t, ids, n, skip, &raw, &bytes));
    must(fp4_utf8_repair(raw, bytes, &text, &bytes));
    cr_assert(bytes == n_want && memcmp(text, want, bytes) == 0, "%s, decoding%s %s: \"%s\", expected \"%s\"", where, skip ? " skipping" : "", spell(ids, n), text, want);
    fp4_free(raw);
    fp4_free(text);
    free(want);
}

/* Returns the number of comparisons. */
static size_t compare_case(const struct fp4_tokenizer *t, const json_t *c, const char *where) {
    const char *hex = json_string_value(json_object_get(c, "hex"));
    char *text = malloc(strlen(hex) / 2 + 1);
    size_t bytes = unhex(hex, text), n;
    same_ids(t, text, bytes, false, json_object_get(c, "plain"), where);
    same_ids(t, text, bytes, true, json_object_get(c, "special"), where);
    int32_t *list = list_of(json_object_get(c, "ids"), &n);
    same_text(t, list, n, false, json_string_value(json_object_get(c, "decoded")), where);
    same_text(t, list, n, true, json_string_value(json_object_get(c, "skipped")), where);
    free(list);
    free(text);
    return 4;
}

static void same_around(const struct fp4_tokenizer *t, const json_t *list, const char *where) {
    const int32_t *begin, *end;
    size_t n_begin = fp4_tokenizer_begin(t, &begin), n_end = fp4_tokenizer_end(t, &end);
    cr_assert_eq(n_begin + n_end, json_array_size(list), "%s: tokens around a text", where);
    for (size_t i = 0; i < n_begin + n_end; i++)
        cr_assert_eq(i < n_begin ? begin[i] : end[i - n_begin], json_integer_value(json_array_get(list, i)), "%s: token %zu around a text", where, i);
}

/* SentencePiece's cases know no mode special and no random ids. */
static size_t compare_pieces(const struct fp4_tokenizer *t, const json_t *c, const char *where) {
    const char *hex = json_string_value(json_object_get(c, "hex"));
    char *text = malloc(strlen(hex) / 2 + 1);
    size_t bytes = unhex(hex, text), n;
    same_ids(t, text, bytes, false, json_object_get(c, "plain"), where);
    free(text);
    const char *decoded = json_string_value(json_object_get(c, "decoded"));
    if (!decoded)
        return 1;
    int32_t *list = list_of(json_object_get(c, "plain"), &n);
    same_text(t, list, n, false, decoded, where);
    free(list);
    return 2;
}

static size_t compare_kind(const char *folder, const char *kind) {
    char path[300], where[120], *line = NULL;
    size_t room = 0, compared = 0, number = 0;
    struct fp4_tokenizer *t;
    snprintf(path, sizeof path, "%s/%s", folder, kind);
    must(fp4_tokenizer_open(path, &t));
    snprintf(path, sizeof path, "%s/%s/cases.jsonl", folder, kind);
    FILE *f = fopen(path, "r");
    cr_assert_not_null(f);
    for (; getline(&line, &room, f) > 0; number++) {
        json_t *c = json_loads(line, 0, NULL);
        cr_assert_not_null(c);
        snprintf(where, sizeof where, "%s line %zu", kind, number + 1);
        if (json_object_get(c, "around"))
            same_around(t, json_object_get(c, "around"), where);
        else
            compared += json_object_get(c, "special") ? compare_case(t, c, where) : compare_pieces(t, c, where);
        json_decref(c);
    }
    free(line);
    fclose(f);
    fp4_tokenizer_close(t);
    return compared;
}

static void compare_all(const char *what, const char *script, const char *more) {
    char folder[FOLDER_MAX];
    const char *seed = getenv("FP4LAB_PEER_SEED"), *texts = getenv("FP4LAB_PEER_TEXTS");
    size_t compared = 0, kinds = 0;
    folder_make(folder);
    char *list = python_output(what, script, (const char *const[]){folder, seed ? seed : "1", texts ? texts : "40", more, NULL});
    for (char *rest = list, *kind; (kind = strtok_r(rest, "\n", &rest)); kinds++)
        compared += compare_kind(folder, kind);
    cr_assert_gt(kinds, 0);
    fprintf(stderr, "%s: %zu comparisons over %zu kinds\n", what, compared, kinds);
    free(list);
}

Test(tokenizer_peer, tokenizers_library_gives_the_same, .timeout = 3000) {
    compare_all("tokenizer.json against the tokenizers library", "peer_tokenizers.py", NULL);
}

Test(tokenizer_peer, sentencepiece_gives_the_same, .timeout = 3000) {
    char model[4096];
    const char *golden = golden_folder();
    snprintf(model, sizeof model, "%s/../data/llama2/tokenizer.model", golden ? golden : "..");
    compare_all("tokenizer.model and GGUF against SentencePiece", "peer_sentencepiece.py", access(model, R_OK) == 0 ? model : NULL);
}
