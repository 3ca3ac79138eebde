/* Byte-level BPE against golden/tokenizers: streams, torture lines, decoding; GGUF against tokenizer.json; files that lie. */
#include <jansson.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "fp4lab/text.h"
#include "tests/support.h"

static json_t *load_json(const char *path) {
    json_error_t error;
    json_t *root = json_load_file(path, JSON_ALLOW_NUL, &error);
    cr_assert_not_null(root, "%s: %s", path, error.text);
    return root;
}

static size_t open_named(const char *name, struct fp4_tokenizer **t) {
    char relative[300];
    snprintf(relative, sizeof relative, "tokenizers/%s/tokenizer.json", name);
    fp4_status status = fp4_tokenizer_open(golden_file(relative), t);
    if (status == FP4_ERR_UNSUPPORTED) {
        fprintf(stderr, "SKIPPED tokenizers/%s: %s\n", name, fp4_last_error());
        return 0;
    }
    cr_assert_eq(status, FP4_OK, "%s", fp4_last_error());
    return 1;
}

/* All tokenizers of the folder; those that are not supported stay NULL and are printed. */
struct set {
    json_t *names;
    struct fp4_tokenizer *t[32];
    const char *name[32];
    size_t n, supported;
};

static struct set open_all(void) {
    struct set s = {.names = load_json(golden_file("tokenizers/tokenizers.json"))};
    const char *name;
    json_t *facts;
    json_object_foreach(s.names, name, facts) {
        cr_assert_lt(s.n, 32);
        s.name[s.n] = name;
        if (open_named(name, &s.t[s.n])) {
            s.supported++;
            cr_assert_eq(fp4_tokenizer_vocab(s.t[s.n]), (size_t)json_integer_value(json_object_get(facts, "vocab")), "%s", name);
        }
        s.n++;
    }
    cr_assert_gt(s.supported, 0);
    return s;
}

static void close_all(struct set *s) {
    for (size_t i = 0; i < s->n; i++)
        fp4_tokenizer_close(s->t[i]);
    json_decref(s->names);
}

static struct fp4_tokenizer *by_name(const struct set *s, const char *name) {
    for (size_t i = 0; i < s->n; i++)
        if (strcmp(s->name[i], name) == 0)
            return s->t[i];
    cr_assert_fail("%s: not in tokenizers.json", name);
    return NULL;
}

static size_t unhex(const char *hex, char *out) {
    size_t n = strlen(hex) / 2;
    for (size_t i = 0; i < n; i++) {
        unsigned int byte;
        cr_assert_eq(sscanf(hex + 2 * i, "%2x", &byte), 1);
        out[i] = (char)byte;
    }
    out[n] = 0;
    return n;
}

static void same_ids(const json_t *want, const int32_t *ids, size_t n, const char *where) {
    cr_assert_eq(n, json_array_size(want), "%s: %zu ids, expected %zu", where, n, json_array_size(want));
    for (size_t i = 0; i < n; i++)
        cr_assert_eq(ids[i], json_integer_value(json_array_get(want, i)), "%s: id %zu", where, i);
}

static void same_text(const json_t *want, const char *text, size_t bytes, const char *where) {
    cr_assert_eq(bytes, json_string_length(want), "%s: %zu bytes, expected %zu", where, bytes, json_string_length(want));
    cr_assert_eq(memcmp(text, json_string_value(want), bytes), 0, "%s: another text", where);
}

/* One line of torture.jsonl under one tokenizer. Returns the number of comparisons. */
static size_t torture_line(const json_t *line, const struct fp4_tokenizer *t, const char *name) {
    const char *hex = json_string_value(json_object_get(line, "hex"));
    char *text = malloc(strlen(hex) / 2 + 1), *back, *fixed, where[200];
    size_t bytes = unhex(hex, text), n, back_bytes, fixed_bytes, compared = 2;
    int32_t *ids;
    snprintf(where, sizeof where, "torture line %d, %s", (int)json_integer_value(json_object_get(line, "i")), name);
    must(fp4_tokenize(t, text, bytes, false, &ids, &n));
    same_ids(json_object_get(line, name), ids, n, where);
    must(fp4_detokenize(t, ids, n, false, &back, &back_bytes));
    must(fp4_utf8_repair(back, back_bytes, &fixed, &fixed_bytes));
    const json_t *decoded = json_object_get(json_object_get(line, "decode"), name);
    same_text(decoded ? decoded : json_object_get(line, "text"), fixed, fixed_bytes, where);
    fp4_free(ids);
    fp4_free(back);
    fp4_free(fixed);
    const json_t *special = json_object_get(json_object_get(line, "special"), name);
    must(fp4_tokenize(t, text, bytes, true, &ids, &n));
    same_ids(special ? special : json_object_get(line, name), ids, n, where);
    compared += special != NULL;
    fp4_free(ids);
    free(text);
    return compared;
}

static size_t decode_line(const json_t *line, const struct fp4_tokenizer *t, size_t number) {
    const json_t *list = json_object_get(line, "ids"), *hex = json_object_get(line, "hex");
    size_t n = json_array_size(list), bytes, fixed_bytes;
    int32_t *ids = calloc(n + 1, sizeof *ids);
    char *text, *fixed, where[64];
    snprintf(where, sizeof where, "decode line %zu", number);
    for (size_t i = 0; i < n; i++)
        ids[i] = (int32_t)json_integer_value(json_array_get(list, i));
    must(fp4_detokenize(t, ids, n, false, &text, &bytes));
    if (hex) {
        char *want = malloc(json_string_length(hex) / 2 + 1);
        cr_assert_eq(unhex(json_string_value(hex), want), bytes, "%s: length", where);
        cr_assert_eq(memcmp(want, text, bytes), 0, "%s: bytes", where);
        free(want);
    }
    must(fp4_utf8_repair(text, bytes, &fixed, &fixed_bytes));
    same_text(json_object_get(line, "text"), fixed, fixed_bytes, where);
    fp4_free(text);
    fp4_free(fixed);
    must(fp4_detokenize(t, ids, n, true, &text, &bytes));
    must(fp4_utf8_repair(text, bytes, &fixed, &fixed_bytes));
    same_text(json_object_get(line, "text_skip_special"), fixed, fixed_bytes, where);
    fp4_free(text);
    fp4_free(fixed);
    free(ids);
    return 2;
}

/* Calls body for every line of a JSON Lines file. */
static size_t each_line(const char *relative, const struct set *s, size_t (*body)(const json_t *, const struct set *, size_t)) {
    FILE *f = fopen(golden_file(relative), "r");
    cr_assert_not_null(f);
    char *line = NULL;
    size_t room = 0, number = 0, compared = 0;
    while (getline(&line, &room, f) > 0) {
        json_error_t error;
        json_t *object = json_loads(line, JSON_ALLOW_NUL, &error);
        cr_assert_not_null(object, "%s line %zu: %s", relative, number + 1, error.text);
        compared += body(object, s, number++);
        json_decref(object);
    }
    free(line);
    fclose(f);
    cr_assert_gt(number, 0);
    return compared;
}

static size_t torture_body(const json_t *line, const struct set *s, size_t number) {
    size_t compared = 0;
    (void)number;
    for (size_t i = 0; i < s->n; i++)
        if (s->t[i] && json_object_get(line, s->name[i]))
            compared += torture_line(line, s->t[i], s->name[i]);
    return compared;
}

static size_t decode_body(const json_t *line, const struct set *s, size_t number) {
    struct fp4_tokenizer *t = by_name(s, json_string_value(json_object_get(line, "tokenizer")));
    return t ? decode_line(line, t, number) : 0;
}

Test(tokenizer, torture) {
    struct set s = open_all();
    golden_count("tokenizers", each_line("tokenizers/torture.jsonl", &s, torture_body));
    close_all(&s);
}

Test(tokenizer, decode) {
    struct set s = open_all();
    golden_count("tokenizers", each_line("tokenizers/decode.jsonl", &s, decode_body));
    close_all(&s);
}

/* ---- streams ---- */

/* WikiText-2 from the asset folders, or from data/ beside the golden folder. */
static char *wiki(size_t *bytes) {
    char path[4096], *text;
    if (fp4_asset_find("wiki.test.raw", path, sizeof path) != FP4_OK) {
        const char *golden = golden_folder();
        snprintf(path, sizeof path, "%s/../data/wiki.test.raw", golden ? golden : "..");
        if (access(path, R_OK) != 0)
            skip_test("tokenizers/streams", "wiki.test.raw is in no asset folder; set FP4LAB_ASSETS_FROM");
    }
    must(fp4_read_file(path, (size_t)64 << 20, &text, bytes));
    return text;
}

/* "\n\n".join(lines), a line being kept with its newline, or emptied when it is all white space. */
static char *joined(const char *raw, size_t bytes, size_t *out_bytes) {
    char *out = malloc(3 * bytes + 1);
    size_t n = 0;
    for (size_t at = 0; at < bytes;) {
        const char *newline = memchr(raw + at, '\n', bytes - at);
        size_t stop = newline ? (size_t)(newline - raw) + 1 : bytes;
        if (at)
            n += (size_t)sprintf(out + n, "\n\n");
        size_t solid = at;
        while (solid < stop && strchr(" \t\r\n\v\f", raw[solid]))
            solid++;
        if (solid < stop) {
            memcpy(out + n, raw + at, stop - at);
            n += stop - at;
        }
        at = stop;
    }
    *out_bytes = n;
    return out;
}

static void check_stream(const struct set *s, const json_t *stream, const char *text, size_t bytes) {
    char hex[65];
    must(fp4_sha256_buffer(text, bytes, hex));
    cr_assert_str_eq(hex, json_string_value(json_object_get(stream, "sha256")));
    for (size_t i = 0; i < s->n; i++) {
        const json_t *facts = json_object_get(stream, s->name[i]);
        if (!s->t[i] || !facts)
            continue;
        char relative[300];
        snprintf(relative, sizeof relative, "tokenizers/%s", json_string_value(json_object_get(facts, "file")));
        struct fp4_map want;
        int32_t *ids;
        size_t n;
        double start = fp4_now();
        must(fp4_map_open(golden_file(relative), &want));
        must(fp4_tokenize(s->t[i], text, bytes, false, &ids, &n));
        fprintf(stderr, "%s: %zu tokens, %.1f MB/s\n", relative, n, (double)bytes / 1e6 / (fp4_now() - start));
        cr_assert_eq(n, want.size / 2, "%s: %zu ids, expected %zu", relative, n, want.size / 2);
        for (size_t k = 0; k < n; k++)
            cr_assert_eq(ids[k], want.data[2 * k] | want.data[2 * k + 1] << 8, "%s: id %zu", relative, k);
        char *back;
        size_t back_bytes;
        must(fp4_detokenize(s->t[i], ids, n, false, &back, &back_bytes));
        cr_assert_eq(back_bytes, bytes);
        cr_assert_eq(memcmp(back, text, bytes), 0, "%s: the text does not come back", relative);
        golden_count("tokenizers", 1);
        fp4_free(back);
        fp4_free(ids);
        fp4_map_close(&want);
    }
}

Test(tokenizer, streams) {
    struct set s = open_all();
    json_t *streams = load_json(golden_file("tokenizers/streams.json"));
    size_t bytes, joined_bytes;
    char *raw = wiki(&bytes), *both = joined(raw, bytes, &joined_bytes);
    check_stream(&s, json_object_get(streams, "wiki.raw"), raw, bytes);
    check_stream(&s, json_object_get(streams, "wiki.joined"), both, joined_bytes);
    free(both);
    fp4_free(raw);
    json_decref(streams);
    close_all(&s);
}

/* ---- GGUF ---- */

static struct fp4_tokenizer *reference;
static struct fp4_tokenizer *from_gguf;

static size_t same_under_both(const json_t *line, const struct set *s, size_t number) {
    const char *hex = json_string_value(json_object_get(line, "hex"));
    char *text = malloc(strlen(hex) / 2 + 1);
    size_t bytes = unhex(hex, text);
    (void)s;
    for (int special = 0; special < 2; special++) {
        int32_t *a, *b;
        size_t na, nb;
        must(fp4_tokenize(reference, text, bytes, special, &a, &na));
        must(fp4_tokenize(from_gguf, text, bytes, special, &b, &nb));
        cr_assert_eq(na, nb, "line %zu", number);
        cr_assert_eq(memcmp(a, b, na * sizeof *a), 0, "line %zu", number);
        fp4_free(a);
        fp4_free(b);
    }
    free(text);
    return 1;
}

Test(tokenizer, gguf_equals_json) {
    char path[4096];
    if (fp4_asset_find("SmolLM2-135M-Instruct.Q4_1.gguf", path, sizeof path) != FP4_OK)
        skip_test("tokenizer of the GGUF", fp4_last_error());
    must(fp4_tokenizer_open(golden_file("tokenizers/smollm2/tokenizer.json"), &reference));
    must(fp4_tokenizer_open(path, &from_gguf));
    cr_assert_eq(fp4_tokenizer_vocab(reference), fp4_tokenizer_vocab(from_gguf));
    for (int32_t id = 0; (size_t)id < fp4_tokenizer_vocab(reference); id++)
        cr_assert_eq(fp4_token_is_special(reference, id), fp4_token_is_special(from_gguf, id), "id %d", id);
    each_line("tokenizers/torture.jsonl", NULL, same_under_both);
    size_t bytes;
    char *raw = wiki(&bytes);
    int32_t *a, *b;
    size_t na, nb;
    must(fp4_tokenize(reference, raw, bytes, false, &a, &na));
    must(fp4_tokenize(from_gguf, raw, bytes, false, &b, &nb));
    cr_assert_eq(na, nb);
    cr_assert_eq(memcmp(a, b, na * sizeof *a), 0);
    fp4_free(a);
    fp4_free(b);
    fp4_free(raw);
    fp4_tokenizer_close(reference);
    fp4_tokenizer_close(from_gguf);
}
