/* The hand-written matchers against PCRE2 on the patterns themselves; tokenizers inside GGUF files. */
#define PCRE2_CODE_UNIT_WIDTH 8
#include <pcre2.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "fp4lab/text.h"
#include "lib/text/pieces.h"
#include "lib/text/utf8.h"
#include "tests/support.h"

/* White_Space spelled out: PCRE2's own \s is another set. */
#define WHITE "\\x{9}-\\x{D}\\x{20}\\x{85}\\x{A0}\\x{1680}\\x{2000}-\\x{200A}\\x{2028}\\x{2029}\\x{202F}\\x{205F}\\x{3000}"
#define SPACES "[" WHITE "]+(?![^" WHITE "])|[" WHITE "]+"
#define GPT2 "'s|'t|'re|'ve|'m|'ll|'d| ?\\p{L}+| ?\\p{N}+| ?[^" WHITE "\\p{L}\\p{N}]+|" SPACES
#define LLAMA3(digits) \
    "(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\\r\\n\\p{L}\\p{N}]?\\p{L}+|\\p{N}" digits "| ?[^" WHITE "\\p{L}\\p{N}]+[\\r\\n]*|[" WHITE "]*[\\r\\n]+|" SPACES

static const char *const patterns[] = {[PIECES_GPT2] = GPT2, [PIECES_GPT2_DIGITS] = GPT2, [PIECES_LLAMA3] = LLAMA3("{1,3}"), [PIECES_QWEN2] = LLAMA3("")};
static uint8_t *classes;
static pcre2_code *pattern[PIECES_QWEN2 + 1];
static pcre2_match_data *match;

static void set_up(void) {
    int error;
    PCRE2_SIZE where;
    must(FP4_NEW(classes, PIECES_TABLE));
    must(pieces_classes(classes));
    for (int kind = PIECES_GPT2; kind <= PIECES_QWEN2; kind++) {
        pattern[kind] = pcre2_compile((PCRE2_SPTR)patterns[kind], PCRE2_ZERO_TERMINATED, PCRE2_UTF | PCRE2_UCP, &error, &where, NULL);
        cr_assert_not_null(pattern[kind]);
    }
    match = pcre2_match_data_create(8, NULL);
}

static void tear_down(void) {
    fp4_free(classes);
    pcre2_match_data_free(match);
    for (int kind = PIECES_GPT2; kind <= PIECES_QWEN2; kind++)
        pcre2_code_free(pattern[kind]);
}

/* Walks [start, stop) as a text of its own with PCRE2 and holds the pieces to its matches. */
static void same_stretch(struct pieces *p, const uint8_t *text, size_t start, size_t stop) {
    for (size_t at = start; at < stop;) {
        size_t from, to;
        cr_assert_gt(pcre2_match(pattern[p->kind], text + start, stop - start, at - start, PCRE2_ANCHORED, match, NULL), 0);
        const PCRE2_SIZE *found = pcre2_get_ovector_pointer(match);
        cr_assert(pieces_next(p, &from, &to));
        cr_assert_eq(from, at);
        cr_assert_eq(to, start + found[1], "piece at %zu of \"%.*s\"", at, (int)stop, (const char *)text);
        at = to;
    }
}

static bool is_number(const uint8_t *text, size_t n, size_t *length) {
    uint32_t code;
    *length = utf8_next(text, n, &code);
    return code < PIECES_TABLE && classes[code] == PIECES_NUMBER;
}

static void same_pieces(const uint8_t *text, size_t n, enum pieces_kind kind) {
    struct pieces p = {.classes = classes, .text = text, .end = n, .kind = kind};
    bool digits = kind == PIECES_GPT2_DIGITS;
    size_t from, to;
    for (size_t at = 0; at < n;) {
        size_t length, stop = at;
        if (digits && is_number(text + at, n - at, &length)) {
            cr_assert(pieces_next(&p, &from, &to));
            cr_assert_eq(from, at);
            cr_assert_eq(to, at + length);
            at = to;
            continue;
        }
        while (stop < n && !(digits && is_number(text + stop, n - stop, &length)))
            stop += digits ? length : n - stop;
        same_stretch(&p, text, at, stop);
        at = stop;
    }
    cr_assert_not(pieces_next(&p, &from, &to));
}

Test(pieces, equal_the_regular_expression, .init = set_up, .fini = tear_down) {
    /* Characters that the alternatives turn on, and others from all over. */
    static const uint32_t alphabet[] = {' ',    ' ',    ' ',    '\n',   '\r',   '\t',   '\'',   's',    't',    'r',    'e',    'v',     'l',     'm',     'd',
                                        'S',    'L',    'V',    'e',    'E',    'a',    '1',    '2',    '3',    '!',    '.',    0x17F,  0xE9,   0x0301, 0x4E2D, 0x0663, 0xBD,    0x2167,  0x3000,  0xA0,
                                        0x200B, 0x180E, 0x1C,   0x85,   0xFEFF, 0x2028, 0x1F600, 0x1D7D8, 0x20000, 0xE0001, 0x10FFFD};
    struct fp4_random r = {.seed = 9, .stream = FP4_STREAM_TEST};
    for (uint32_t trial = 0; trial < 6000; trial++) {
        uint8_t text[128];
        uint32_t word[24];
        size_t n = 0, length = 1 + trial % 24;
        r.step = trial;
        fp4_random_words(&r, 0, length, word);
        for (size_t i = 0; i < length; i++)
            n += utf8_put(alphabet[word[i] % (sizeof alphabet / sizeof alphabet[0])], text + n);
        for (int kind = PIECES_GPT2; kind <= PIECES_QWEN2; kind++)
            same_pieces(text, n, kind);
    }
}

/* The classes of every code point, one at a time. */
Test(pieces, classes_of_all_code_points, .init = set_up, .fini = tear_down) {
    int error;
    PCRE2_SIZE where;
    pcre2_code *one = pcre2_compile((PCRE2_SPTR) "([" WHITE "])|(\\p{L})|(\\p{N})", PCRE2_ZERO_TERMINATED, PCRE2_UTF | PCRE2_UCP, &error, &where, NULL);
    pcre2_match_data *found = pcre2_match_data_create_from_pattern(one, NULL);
    pcre2_jit_compile(one, PCRE2_JIT_COMPLETE);
    for (uint32_t code = 0; code <= 0x10FFFF; code++) {
        if (code >= 0xD800 && code <= 0xDFFF)
            continue;
        uint8_t text[4];
        size_t n = utf8_put(code, text);
        uint32_t back;
        cr_assert_eq(utf8_next(text, n, &back), n);
        cr_assert_eq(back, code);
        int groups = pcre2_match(one, text, n, 0, PCRE2_NO_UTF_CHECK, found, NULL);
        int want = groups < 0 ? PIECES_OTHER : groups == 2 ? PIECES_SPACE : groups == 3 ? PIECES_LETTER : PIECES_NUMBER;
        cr_assert_eq(code < PIECES_TABLE ? classes[code] : PIECES_OTHER, want, "U+%04X", code);
    }
    pcre2_match_data_free(found);
    pcre2_code_free(one);
}

/* Broken UTF-8 right before memory that cannot be read: every byte lands in one piece, none beyond is touched. */
Test(pieces, broken_text_ends_where_it_ends, .init = set_up, .fini = tear_down) {
    struct fp4_random r = {.seed = 10, .stream = FP4_STREAM_TEST};
    for (uint32_t trial = 0; trial < 300; trial++) {
        size_t n = 1 + trial % 19, at = 0, from, to;
        uint8_t *text = guarded_alloc(n, false);
        uint32_t word[20];
        r.step = trial;
        fp4_random_words(&r, 0, n, word);
        for (size_t i = 0; i < n; i++)
            text[i] = (uint8_t)(word[i] >> 24 | (word[i] & 0xC0));
        struct pieces p = {.classes = classes, .text = text, .end = n, .kind = PIECES_GPT2 + trial % 4};
        while (pieces_next(&p, &from, &to)) {
            cr_assert_eq(from, at);
            cr_assert(to > from && to <= n);
            at = to;
        }
        cr_assert_eq(at, n);
        guarded_free(text, n, false);
    }
}

/* ---- GGUF ---- */

struct bytes {
    uint8_t data[4096];
    size_t n;
};

static void put(struct bytes *b, uint64_t value, size_t size) {
    for (size_t i = 0; i < size; i++)
        b->data[b->n++] = (uint8_t)(value >> (8 * i));
}

static void put_text(struct bytes *b, const char *s) {
    put(b, strlen(s), 8);
    memcpy(b->data + b->n, s, strlen(s));
    b->n += strlen(s);
}

static void put_string(struct bytes *b, const char *key, const char *value) {
    put_text(b, key);
    put(b, 8, 4); /* GGUF_TYPE_STRING */
    put_text(b, value);
}

static void put_strings(struct bytes *b, const char *key, size_t n, const char *const *values) {
    put_text(b, key);
    put(b, 9, 4); /* GGUF_TYPE_ARRAY */
    put(b, 8, 4);
    put(b, n, 8);
    for (size_t i = 0; i < n; i++)
        put_text(b, values[i]);
}

/* A GGUF file without tensors. types_n: how many token types it claims. */
static fp4_status open_gguf(const char *model, const char *pre, size_t n_merges, const char *const *merges, size_t types_n, struct fp4_tokenizer **t) {
    static const char *const tokens[] = {"a", "b", "ab", "<x>"};
    static const uint32_t types[] = {1, 1, 1, 3, 1};
    struct bytes b = {.n = 0};
    char path[] = "/tmp/fp4lab-gguf-XXXXXX";
    put(&b, 0x46554747, 4);
    put(&b, 3, 4);
    put(&b, 0, 8);
    put(&b, 5, 8);
    put_string(&b, "tokenizer.ggml.model", model);
    put_string(&b, "tokenizer.ggml.pre", pre);
    put_strings(&b, "tokenizer.ggml.tokens", 4, tokens);
    put_strings(&b, "tokenizer.ggml.merges", n_merges, merges);
    put_text(&b, "tokenizer.ggml.token_type");
    put(&b, 9, 4);
    put(&b, 5, 4); /* INT32 */
    put(&b, types_n, 8);
    for (size_t i = 0; i < types_n; i++)
        put(&b, types[i], 4);
    while (b.n % 32)
        put(&b, 0, 1);
    int fd = mkstemp(path);
    cr_assert_geq(fd, 0);
    close(fd);
    must(fp4_write_file(path, b.data, b.n));
    fp4_status status = fp4_tokenizer_open(path, t);
    unlink(path);
    return status;
}

Test(gguf_tokenizer, small) {
    struct fp4_tokenizer *t;
    int32_t *ids;
    size_t n;
    must(open_gguf("gpt2", "gpt-2", 1, (const char *const[]){"a b"}, 4, &t));
    must(fp4_tokenize(t, "ab<x>ba", 7, true, &ids, &n));
    cr_assert_eq(n, 4);
    cr_assert_eq(memcmp(ids, (int32_t[]){2, 3, 1, 0}, 16), 0);
    cr_assert(fp4_token_is_special(t, 3));
    fp4_free(ids);
    fp4_tokenizer_close(t);
}

Test(gguf_tokenizer, pre_tokenizers_by_name) {
    static const char *const names[] = {"gpt-2", "phi-2", "olmo", "smollm", "starcoder", "refact", "llama-bpe", "llama3", "llama-v3", "qwen2", "default"};
    for (size_t i = 0; i < sizeof names / sizeof names[0]; i++) {
        struct fp4_tokenizer *t;
        int32_t *ids;
        size_t n;
        must(open_gguf("gpt2", names[i], 1, (const char *const[]){"a b"}, 4, &t));
        must(fp4_tokenize(t, "bab", 3, true, &ids, &n));
        cr_assert_eq(n, 2, "%s", names[i]);
        cr_assert_eq(memcmp(ids, (int32_t[]){1, 2}, 8), 0, "%s", names[i]);
        fp4_free(ids);
        fp4_tokenizer_close(t);
    }
}

Test(gguf_tokenizer, what_it_cannot_be) {
    struct fp4_tokenizer *t;
    cr_assert_eq(open_gguf("bert", "default", 0, NULL, 4, &t), FP4_ERR_UNSUPPORTED);
    cr_assert_not_null(strstr(fp4_last_error(), "tokenizer.ggml.model bert"), "%s", fp4_last_error());
    cr_assert_eq(open_gguf("gpt2", "tekken", 0, NULL, 4, &t), FP4_ERR_UNSUPPORTED);
    cr_assert_not_null(strstr(fp4_last_error(), "tokenizer.ggml.pre tekken"), "%s", fp4_last_error());
    cr_assert_eq(open_gguf("llama", "default", 0, NULL, 4, &t), FP4_ERR_FORMAT);
    cr_assert_not_null(strstr(fp4_last_error(), "tokenizer.ggml.scores"), "%s", fp4_last_error());
    cr_assert_eq(open_gguf("gpt2", "smollm", 0, NULL, 3, &t), FP4_ERR_FORMAT);
    cr_assert_eq(open_gguf("gpt2", "smollm", 1, (const char *const[]){"a c"}, 4, &t), FP4_ERR_FORMAT);
    cr_assert_eq(open_gguf("gpt2", "smollm", 1, (const char *const[]){"ab"}, 4, &t), FP4_ERR_FORMAT);
    cr_assert_null(t);
}
