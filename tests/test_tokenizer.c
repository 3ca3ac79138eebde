/* Tokenizers against golden/tokenizers, in each form of file that there is: streams, torture lines, decoding. */
#include <jansson.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "fp4lab/io.h"
#include "fp4lab/text.h"
#include "tests/support.h"

static json_t *load_json(const char *path) {
    json_error_t error;
    json_t *root = json_load_file(path, JSON_ALLOW_NUL, &error);
    cr_assert_not_null(root, "%s: %s", path, error.text);
    return root;
}

/* Every tokenizer of the folder in every form: its tokenizer.json, what data/NAME beside the golden folder holds, and a GGUF file. */
struct set {
    json_t *names;
    struct {
        const char *name, *form;
        struct fp4_tokenizer *t;
        size_t compared;
    } of[64];
    size_t n;
};

static void open_form(struct set *s, const char *name, const char *form, const char *path, size_t vocab) {
    cr_assert_lt(s->n, 64);
    s->of[s->n].name = name;
    s->of[s->n].form = form;
    must(fp4_tokenizer_open(path, &s->of[s->n].t));
    cr_assert_eq(fp4_tokenizer_vocab(s->of[s->n].t), vocab, "%s", path);
    s->n++;
}

/* SmolLM2's GGUF file is a form of the folder's smollm2 while that has as many tokens. */
static bool has_tokens(const char *path, size_t vocab) {
    struct fp4_checkpoint *c;
    must(fp4_checkpoint_open(path, &c));
    const struct fp4_meta *tokens = fp4_gguf_meta_find(c, "tokenizer.ggml.tokens");
    bool yes = tokens && tokens->length == vocab;
    fp4_checkpoint_close(c);
    return yes;
}

static struct set open_all(void) {
    struct set s = {.names = load_json(golden_file("tokenizers/tokenizers.json"))};
    const char *name;
    json_t *facts;
    json_object_foreach(s.names, name, facts) {
        char path[4096];
        size_t vocab = (size_t)json_integer_value(json_object_get(facts, "vocab"));
        snprintf(path, sizeof path, "tokenizers/%s/tokenizer.json", name);
        open_form(&s, name, "tokenizer.json", golden_file(path), vocab);
        snprintf(path, sizeof path, "%s/../data/%s", golden_folder(), name);
        if (access(path, R_OK) == 0)
            open_form(&s, name, "folder of data", path, vocab);
        if (strcmp(name, "smollm2") == 0 && fp4_asset_find("SmolLM2-135M-Instruct.Q4_1.gguf", path, sizeof path) == FP4_OK && has_tokens(path, vocab))
            open_form(&s, name, "GGUF", path, vocab);
    }
    cr_assert_gt(s.n, 0);
    return s;
}

static void close_all(struct set *s) {
    size_t total = 0;
    for (size_t i = 0; i < s->n; i++) {
        fprintf(stderr, "%s, %s: %zu comparisons\n", s->of[i].name, s->of[i].form, s->of[i].compared);
        total += s->of[i].compared;
        fp4_tokenizer_close(s->of[i].t);
    }
    cr_assert_gt(total, 0);
    golden_count("tokenizers", total);
    json_decref(s->names);
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
static size_t torture_line(const json_t *line, const struct fp4_tokenizer *t, const char *name, const char *form) {
    const char *hex = json_string_value(json_object_get(line, "hex"));
    char *text = malloc(strlen(hex) / 2 + 1), *back, *fixed, where[200];
    size_t bytes = unhex(hex, text), n, back_bytes, fixed_bytes, compared = 2;
    int32_t *ids;
    snprintf(where, sizeof where, "torture line %d, %s (%s)", (int)json_integer_value(json_object_get(line, "i")), name, form);
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

static size_t decode_line(const json_t *line, const struct fp4_tokenizer *t, const char *form, size_t number) {
    const json_t *list = json_object_get(line, "ids"), *hex = json_object_get(line, "hex");
    size_t n = json_array_size(list), bytes, fixed_bytes;
    int32_t *ids = calloc(n + 1, sizeof *ids);
    char *text, *fixed, where[64];
    snprintf(where, sizeof where, "decode line %zu (%s)", number, form);
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
static void each_line(const char *relative, struct set *s, void (*body)(const json_t *, struct set *, size_t)) {
    FILE *f = fopen(golden_file(relative), "r");
    cr_assert_not_null(f);
    char *line = NULL;
    size_t room = 0, number = 0;
    while (getline(&line, &room, f) > 0) {
        json_error_t error;
        json_t *object = json_loads(line, JSON_ALLOW_NUL, &error);
        cr_assert_not_null(object, "%s line %zu: %s", relative, number + 1, error.text);
        body(object, s, number++);
        json_decref(object);
    }
    free(line);
    fclose(f);
    cr_assert_gt(number, 0);
}

static void torture_body(const json_t *line, struct set *s, size_t number) {
    (void)number;
    for (size_t i = 0; i < s->n; i++)
        if (json_object_get(line, s->of[i].name))
            s->of[i].compared += torture_line(line, s->of[i].t, s->of[i].name, s->of[i].form);
}

static void decode_body(const json_t *line, struct set *s, size_t number) {
    const char *name = json_string_value(json_object_get(line, "tokenizer"));
    for (size_t i = 0; i < s->n; i++)
        if (strcmp(s->of[i].name, name) == 0)
            s->of[i].compared += decode_line(line, s->of[i].t, s->of[i].form, number);
}

Test(tokenizer, torture) {
    struct set s = open_all();
    each_line("tokenizers/torture.jsonl", &s, torture_body);
    close_all(&s);
}

Test(tokenizer, decode) {
    struct set s = open_all();
    each_line("tokenizers/decode.jsonl", &s, decode_body);
    close_all(&s);
}

/* ---- streams ---- */

/* WikiText-2 from the asset folders, or from data/ beside the golden folder. */
static void wiki(char **text, size_t *bytes) {
    char path[4096];
    if (fp4_asset_find("wiki.test.raw", path, sizeof path) != FP4_OK) {
        const char *golden = golden_folder();
        snprintf(path, sizeof path, "%s/../data/wiki.test.raw", golden ? golden : "..");
        if (access(path, R_OK) != 0)
            skip_test("tokenizers/streams", "wiki.test.raw is in no asset folder; set FP4LAB_ASSETS_FROM");
    }
    must(fp4_read_file(path, (size_t)64 << 20, text, bytes));
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

/* Whether the text comes back from its ids: not through a Unicode normalizer, nor with bytes that are no letter of a byte-level vocabulary
 * (README, smollm2). */
static bool lossless(const char *name, const char *text, size_t n) {
    char relative[300];
    snprintf(relative, sizeof relative, "tokenizers/%s/tokenizer.json", name);
    json_t *root = load_json(golden_file(relative)), *vocab = json_object_get(json_object_get(root, "model"), "vocab");
    char *normalizer = json_dumps(json_object_get(root, "normalizer"), JSON_ENCODE_ANY), *cut = json_dumps(json_object_get(root, "pre_tokenizer"), JSON_ENCODE_ANY);
    bool all = !strstr(normalizer, "\"NF"), bytes = strstr(cut, "\"ByteLevel\"") != NULL;
    unsigned int next = 0x100;
    for (unsigned int byte = 0; byte < 256 && bytes; byte++) {
        bool itself = (byte >= 33 && byte <= 126) || (byte >= 161 && byte <= 172) || byte >= 174;
        unsigned int letter = itself ? byte : next++;
        char spelled[3] = {(char)(letter < 0x80 ? letter : 0xC0 | letter >> 6), (char)(letter < 0x80 ? 0 : 0x80 | (letter & 0x3F)), 0};
        all &= json_object_get(vocab, spelled) || !memchr(text, (int)byte, n);
    }
    free(normalizer);
    free(cut);
    json_decref(root);
    return all;
}

static void check_stream(struct set *s, const char *name, const json_t *stream, const char *text, size_t bytes) {
    char hex[65];
    must(fp4_sha256_buffer(text, bytes, hex));
    cr_assert_str_eq(hex, json_string_value(json_object_get(stream, "sha256")), "%s: the text at hand is another one", name);
    for (size_t i = 0; i < s->n; i++) {
        const json_t *facts = json_object_get(stream, s->of[i].name);
        const struct fp4_tokenizer *t = s->of[i].t;
        if (!facts)
            continue;
        char relative[300];
        snprintf(relative, sizeof relative, "tokenizers/%s", json_string_value(json_object_get(facts, "file")));
        struct fp4_map want;
        int32_t *ids;
        size_t n;
        double start = fp4_now();
        must(fp4_map_open(golden_file(relative), &want));
        must(fp4_tokenize(t, text, bytes, false, &ids, &n));
        fprintf(stderr, "%s (%s): %zu tokens, %.1f MB/s\n", relative, s->of[i].form, n, (double)bytes / 1e6 / (fp4_now() - start));
        cr_assert_eq(n, want.size / 2, "%s: %zu ids, expected %zu", relative, n, want.size / 2);
        for (size_t k = 0; k < n; k++)
            cr_assert_eq(ids[k], want.data[2 * k] | want.data[2 * k + 1] << 8, "%s: id %zu", relative, k);
        char *back;
        size_t back_bytes;
        must(fp4_detokenize(t, ids, n, false, &back, &back_bytes));
        bool same = back_bytes == bytes && memcmp(back, text, bytes) == 0;
        cr_assert(same || !lossless(s->of[i].name, text, bytes), "%s: the text does not come back", relative);
        s->of[i].compared += n;
        fp4_free(back);
        fp4_free(ids);
        fp4_map_close(&want);
    }
}

Test(tokenizer, streams) {
    struct set s = open_all();
    json_t *streams = load_json(golden_file("tokenizers/streams.json")), *stream;
    const char *name;
    size_t bytes, joined_bytes;
    char *raw, *both;
    wiki(&raw, &bytes);
    both = joined(raw, bytes, &joined_bytes);
    json_object_foreach(streams, name, stream) {
        bool whole = strcmp(name, "wiki.raw") == 0;
        cr_assert(whole || strcmp(name, "wiki.joined") == 0, "%s: a stream that the README does not define", name);
        check_stream(&s, name, stream, whole ? raw : both, whole ? bytes : joined_bytes);
    }
    free(both);
    fp4_free(raw);
    json_decref(streams);
    close_all(&s);
}
