/* Tokenizer files made to take time or memory: each is answered within a second of CPU time and in little memory, and a message names
 * the file. SentencePiece models that are cut or damaged. */
#include <jansson.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "fp4lab/text.h"
#include "lib/text/tokenizer.h"
#include "tests/folders.h"
#include "tests/support.h"

enum { TEXT_BYTES = 60000 };

static double cpu_seconds(void) {
    struct timespec t;
    clock_gettime(CLOCK_THREAD_CPUTIME_ID, &t);
    return (double)t.tv_sec + 1e-9 * (double)t.tv_nsec;
}

#if defined(__SANITIZE_ADDRESS__)
enum { SLOWER = 15 };
#else
enum { SLOWER = 1 };
#endif

static char text_a[TEXT_BYTES], text_mixed[TEXT_BYTES];

static void set_up(void) {
    memset(text_a, 'a', sizeof text_a);
    for (size_t i = 0; i < sizeof text_mixed; i++)
        text_mixed[i] = "ab b a  b"[i % 9];
}

/* Opens the bytes and tokenizes both texts, within the time. Returns the first failure. */
static fp4_status answer(const char *name, const void *data, size_t size) {
    struct fp4_tokenizer *t;
    double start = cpu_seconds();
    fp4_status status = tokenizer_parse(name, data, size, &t);
    const char *texts[] = {text_a, text_mixed};
    for (int i = 0; i < 2 && status == FP4_OK; i++) {
        int32_t *ids;
        size_t n;
        status = fp4_tokenize(t, texts[i], TEXT_BYTES, true, &ids, &n);
        fp4_free(ids);
    }
    double seconds = cpu_seconds() - start;
    fp4_tokenizer_close(t);
    cr_assert_lt(seconds, 2.0 * SLOWER, "%s: %.1f s", name, seconds); /* two texts, a second each */
    return status;
}

static fp4_status answer_json(const char *name, json_t *document) {
    char *text = json_dumps(document, JSON_COMPACT);
    fp4_status status = answer(name, text, strlen(text));
    free(text);
    json_decref(document);
    return status;
}

static json_t *document(json_t *normalizer, json_t *split, json_t *added) {
    json_t *level = json_pack("{s:s,s:b,s:b}", "type", "ByteLevel", "add_prefix_space", 0, "use_regex", 0);
    json_t *list = split ? json_pack("[o,o]", split, level) : json_pack("[o]", level);
    return json_pack("{s:o,s:{s:s,s:o},s:o,s:{s:s,s:{s:i,s:i,s:i},s:[]}}", "normalizer", normalizer ? normalizer : json_null(), "pre_tokenizer", "type",
                     "Sequence", "pretokenizers", list, "added_tokens", added ? added : json_array(), "model", "type", "BPE", "vocab", "a", 0, "b", 1,
                     "aa", 2, "merges");
}

static const char *const exploding[] = {"(x+x+)+y|(a+a+)+y", "(?:a|aa)+c", "((a*)*)*b(?<=c)", "[a-z]*1", "(?:[a-z]+1|)*2", "(?:a?){30}a{30}b",
                                        "(?=(a+))(?=(a+b))a{2}", "(?<=a)(?:a|b|ab)*c", "a(?:.*c){8}", "a*a*a*a*a*c"};

Test(tokenizer_hostile, patterns_that_explode_are_named, .init = set_up) {
    for (size_t i = 0; i < sizeof exploding / sizeof exploding[0]; i++) {
        char name[64];
        snprintf(name, sizeof name, "file-%zu", i);
        json_t *step = json_pack("{s:s,s:{s:s},s:s,s:s}", "type", i % 2 ? "Split" : "Replace", "pattern", "Regex", exploding[i], "behavior", "Isolated",
                                 "content", "x");
        cr_assert_eq(answer_json(name, document(i % 2 ? NULL : step, i % 2 ? step : NULL, NULL)), FP4_ERR_FORMAT, "%s", exploding[i]);
        cr_assert_not_null(strstr(fp4_last_error(), exploding[i]), "%s", fp4_last_error());
        cr_assert_eq(strncmp(fp4_last_error(), name, strlen(name)), 0, "%s", fp4_last_error());
    }
}

Test(tokenizer_hostile, texts_that_grow_are_refused, .init = set_up) {
    json_t *steps = json_array();
    for (int i = 0; i < 8; i++)
        json_array_append_new(steps, json_pack("{s:s,s:{s:s},s:s}", "type", "Replace", "pattern", "String", "a", "content",
                                               "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa"));
    cr_assert_eq(answer_json("grows", document(json_pack("{s:s,s:o}", "type", "Sequence", "normalizers", steps), NULL, NULL)), FP4_ERR_FORMAT);
    cr_assert_not_null(strstr(fp4_last_error(), "grows: normalizer.normalizers["), "%s", fp4_last_error());
    cr_assert_lt(fp4_peak_rss(), (size_t)512 << 20);
}

/* Each begins like the next; two that agree for tens of thousands of bytes and differ at the end; white space taken on both sides. */
Test(tokenizer_hostile, added_tokens_that_almost_match, .init = set_up) {
    json_t *many = json_array(), *last = json_array();
    char text[340] = "aa";
    for (int i = 0; i < 330; i++) {
        strcat(text, "a");
        json_array_append_new(many, json_pack("{s:i,s:s,s:b,s:b,s:b}", "id", 3 + i, "content", text, "normalized", i % 2, "lstrip", i % 3 == 0, "rstrip", i % 5 == 0));
    }
    cr_assert_eq(answer_json("many", document(NULL, NULL, many)), FP4_OK);
    for (int i = 0; i < 2; i++) {
        size_t n = 28000 + 1000 * (size_t)i;
        char *almost = malloc(n + 2);
        memset(almost, 'a', n);
        strcpy(almost + n, i ? "b" : "c");
        json_array_append_new(last, json_pack("{s:i,s:s,s:b}", "id", 3 + i, "content", almost, "single_word", 1));
        free(almost);
    }
    cr_assert_eq(answer_json("almost", document(NULL, NULL, last)), FP4_OK);
}

/* Steps that are no patterns are named by their file. */
Test(tokenizer_hostile, a_long_prefix_is_refused, .init = set_up) {
    char prefix[3000];
    struct fp4_tokenizer *t;
    int32_t *ids;
    size_t n;
    memset(prefix, 'a', sizeof prefix);
    json_t *d = document(json_pack("{s:s,s:s%}", "type", "Prepend", "prepend", prefix, sizeof prefix), NULL, NULL);
    char *json = json_dumps(d, 0);
    must(tokenizer_parse("prefix", json, strlen(json), &t));
    cr_assert_eq(fp4_tokenize(t, "ab", 2, true, &ids, &n), FP4_ERR_FORMAT);
    cr_assert_eq(strncmp(fp4_last_error(), "prefix: ", 8), 0, "%s", fp4_last_error());
    fp4_tokenizer_close(t);
    free(json);
    json_decref(d);
}

/* Each blank becomes 60 letters, which have no merges: within what a text may grow to, and many tokens. */
Test(tokenizer_hostile, more_tokens_than_a_text_has, .init = set_up) {
    json_t *step = json_pack("{s:s,s:{s:s},s:s}", "type", "Replace", "pattern", "String", " ", "content", "abababababababababababababababababababababababababababababab");
    cr_assert_eq(answer_json("many", document(step, NULL, NULL)), FP4_ERR_FORMAT);
    cr_assert_not_null(strstr(fp4_last_error(), "many: it makes "), "%s", fp4_last_error());
    cr_assert_not_null(strstr(fp4_last_error(), "tokens of a text of 60000 bytes"), "%s", fp4_last_error());
}

static struct fp4_tokenizer *with_decoders(const char *name, json_t *steps) {
    struct fp4_tokenizer *t;
    json_t *d = json_pack("{s:[],s:{s:s,s:o},s:{s:s,s:{s:i,s:i,s:i,s:i},s:[]}}", "added_tokens", "decoder", "type", "Sequence", "decoders", steps, "model", "type",
                          "BPE", "vocab", "a", 0, "b", 1, "<0xC3>", 2, "<0xA9>", 3, "merges");
    char *json = json_dumps(d, 0);
    must(tokenizer_parse(name, json, strlen(json), &t));
    free(json);
    json_decref(d);
    return t;
}

static json_t *replace_all_of(const char *from, const char *to) {
    return json_pack("{s:s,s:{s:s},s:s}", "type", "Replace", "pattern", "String", from, "content", to);
}

/* What one token may cost, a table of many may not: their texts share time and memory. */
Test(tokenizer_hostile, texts_of_tokens_share_one_budget) {
    enum { N = 60000 };
    static int32_t ids[N];
    static size_t end[N];
    char longer[1000 + 1], *texts, *alone;
    size_t n;
    memset(longer, 'b', 1000);
    longer[1000] = 0;
    json_t *slow = json_array();
    for (int i = 0; i < 3; i++) /* 216000 of them, and then none */
        json_array_append_new(slow, replace_all_of("a", "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa"));
    json_array_append_new(slow, json_pack("{s:s,s:s,s:I,s:i}", "type", "Strip", "content", "a", "start", (json_int_t)1 << 60, "stop", 0));
    struct fp4_tokenizer *t[] = {with_decoders("long", json_pack("[o]", replace_all_of("a", longer))), with_decoders("slow", slow)};
    for (int i = 0; i < 2; i++) {
        double start = cpu_seconds();
        must(fp4_token_texts(t[i], ids, 4, &texts, end));
        fp4_free(texts);
        cr_assert_eq(fp4_token_texts(t[i], ids, N, &texts, end), FP4_ERR_FORMAT);
        cr_assert_null(texts);
        cr_assert_eq(strncmp(fp4_last_error(), i ? "slow:" : "long:", 5), 0, "%s", fp4_last_error());
        cr_assert_lt(cpu_seconds() - start, 1.0 * SLOWER);
        must(fp4_detokenize(t[i], ids, 1, false, &alone, &n));
        fp4_free(alone);
        fp4_tokenizer_close(t[i]);
    }
    cr_assert_lt(fp4_peak_rss(), (size_t)512 << 20);
}

/* Each is what it is alone: a byte that is no text by itself, a blank in front that a text does not keep. */
Test(tokenizer_hostile, texts_of_tokens_are_those_of_each_alone) {
    static const int32_t ids[] = {1, 2, 3, 0, 0};
    struct fp4_tokenizer *t = with_decoders("fine", json_pack("[o,{s:s},{s:s},{s:s,s:s,s:i,s:i}]", replace_all_of("b", " x"), "type", "ByteFallback", "type", "Fuse",
                                                              "type", "Strip", "content", " ", "start", 1, "stop", 0));
    size_t end[5], start = 0, bytes;
    char *texts, *alone;
    must(fp4_token_texts(t, ids, 5, &texts, end));
    for (size_t i = 0; i < 5; start = end[i++]) {
        must(fp4_detokenize(t, &ids[i], 1, false, &alone, &bytes));
        cr_assert_eq(end[i] - start, bytes);
        cr_assert_arr_eq(texts + start, alone, bytes);
        fp4_free(alone);
    }
    cr_assert_str_eq(texts, "x\xEF\xBF\xBD\xEF\xBF\xBD" "aa");
    fp4_free(texts);
    cr_assert_eq(fp4_token_texts(t, (int32_t[]){1, 4}, 2, &texts, end), FP4_ERR_ARG);
    must(fp4_token_texts(t, ids, 0, &texts, end));
    fp4_free(texts);
    fp4_tokenizer_close(t);
}

/* Each run is short enough, and there are many. */
Test(tokenizer_hostile, many_runs_of_marks) {
    enum { RUN = 4000, RUNS = 200 };
    struct fp4_tokenizer *t;
    json_t *d = document(json_pack("{s:s}", "type", "NFC"), NULL, NULL);
    char *json = json_dumps(d, 0), *text = malloc((2 * RUN + 1) * RUNS), *end = text;
    must(tokenizer_parse("runs", json, strlen(json), &t));
    for (int k = 0; k < RUNS; k++) {
        *end++ = 'a';
        for (int i = 0; i < RUN / 2; i++, end += 4)
            memcpy(end, "\xCC\x81\xCC\xA7", 4);
    }
    int32_t *ids;
    size_t n;
    double start = cpu_seconds();
    cr_assert_eq(fp4_tokenize(t, text, (size_t)(end - text), true, &ids, &n), FP4_ERR_ARG);
    cr_assert_lt(cpu_seconds() - start, 1.0 * SLOWER);
    cr_assert_eq(strncmp(fp4_last_error(), "runs: the text cannot be normalized", 35), 0, "%s", fp4_last_error());
    fp4_tokenizer_close(t);
    free(text);
    free(json);
    json_decref(d);
}

Test(tokenizer_hostile, marks_in_a_row) {
    struct fp4_tokenizer *t;
    json_t *d = document(json_pack("{s:s}", "type", "NFC"), NULL, NULL);
    char *json = json_dumps(d, 0), *text = malloc(80002);
    must(tokenizer_parse("marks", json, strlen(json), &t));
    text[0] = 'a';
    for (size_t i = 0; i < 20000; i++)
        memcpy(text + 1 + 4 * i, "\xCC\x81\xCC\xA7", 4); /* two classes: every pair has to be exchanged */
    int32_t *ids;
    size_t n;
    cr_assert_eq(fp4_tokenize(t, text, 80001, true, &ids, &n), FP4_ERR_ARG);
    must(fp4_tokenize(t, text, 4001, true, &ids, &n));
    fp4_free(ids);
    fp4_tokenizer_close(t);
    free(text);
    free(json);
    json_decref(d);
}

/* ---- SentencePiece ---- */

static void put_varint(struct bytes *b, uint64_t value) {
    do {
        char byte = (char)((value & 0x7F) | (value > 0x7F ? 0x80 : 0));
        must(bytes_add(b, &byte, 1));
        value >>= 7;
    } while (value);
}

static void put_message(struct bytes *b, uint32_t number, const struct bytes *message) {
    put_varint(b, number << 3 | 2);
    put_varint(b, message->n);
    must(bytes_add(b, message->data, message->n));
}

static void put_piece(struct bytes *b, const char *text, size_t n, float score, uint64_t type) {
    struct bytes piece = {0};
    put_message(&piece, 1, &(struct bytes){(char *)(uintptr_t)text, n, n});
    put_varint(&piece, 2 << 3 | 5);
    must(bytes_add(&piece, (const char *)&score, 4));
    put_varint(&piece, 3 << 3);
    put_varint(&piece, type);
    put_message(b, 1, &piece);
    fp4_free(piece.data);
}

static void put_number(struct bytes *b, uint32_t message, uint32_t field, uint64_t value) {
    struct bytes inner = {0};
    put_varint(&inner, field << 3);
    put_varint(&inner, value);
    put_message(b, message, &inner);
    fp4_free(inner.data);
}

enum { BPE = 2, UNKNOWN = 2, CONTROL = 3, NORMAL = 1 };

static struct bytes small_model(void) {
    struct bytes b = {0};
    put_piece(&b, "<unk>", 5, 0, UNKNOWN);
    put_piece(&b, "<s>", 3, 0, CONTROL);
    put_piece(&b, "\xE2\x96\x81" "ab", 5, -1, NORMAL);
    put_piece(&b, "ab", 2, -2, NORMAL);
    put_piece(&b, "\xE2\x96\x81", 3, -3, NORMAL);
    put_piece(&b, "b", 1, -4, NORMAL);
    put_number(&b, 2, 3, BPE);
    put_number(&b, 3, 4, 0); /* remove_extra_whitespaces false */
    return b;
}

/* a is no piece, and yet merges: SentencePiece's merging asks for the text alone. */
Test(tokenizer_model, characters_that_are_no_pieces_merge) {
    struct bytes b = small_model();
    struct fp4_tokenizer *t;
    int32_t *ids;
    size_t n;
    must(tokenizer_parse("small", b.data, b.n, &t));
    must(fp4_tokenize(t, "ab a bxy", 8, true, &ids, &n));
    cr_assert_eq(n, 6);
    cr_assert_eq(memcmp(ids, (int32_t[]){2, 4, 0, 4, 5, 0}, sizeof(int32_t) * 6), 0);
    fp4_free(ids);
    const int32_t *begin;
    cr_assert_eq(fp4_tokenizer_begin(t, &begin), 1);
    cr_assert_eq(begin[0], 1);
    fp4_tokenizer_close(t);
    fp4_free(b.data);
}

Test(tokenizer_model, the_highest_score_goes_first_and_the_leftmost_of_equals) {
    struct bytes b = small_model();
    struct fp4_tokenizer *t;
    int32_t *ids;
    size_t n;
    put_piece(&b, "c", 1, -7, NORMAL);
    put_piece(&b, "bc", 2, -6, NORMAL);
    put_piece(&b, "cc", 2, -6, NORMAL);
    must(tokenizer_parse("small", b.data, b.n, &t));
    must(fp4_tokenize(t, "abc bccc", 8, true, &ids, &n));
    cr_assert_eq(n, 5);
    cr_assert_eq(memcmp(ids, (int32_t[]){2, 6, 4, 7, 8}, sizeof(int32_t) * 5), 0); /* ▁ab c ▁ bc cc */
    fp4_free(ids);
    fp4_tokenizer_close(t);
    fp4_free(b.data);
}

Test(tokenizer_model, what_is_not_supported_is_named) {
    static const struct {
        uint32_t message, field;
        uint64_t value;
        const char *names;
    } cases[] = {{2, 3, 1, "trainer_spec.model_type UNIGRAM"}, {2, 3, 4, "model_type CHAR"},       {2, 3, 9, "model_type"},
                 {2, 24, 1, "treat_whitespace_as_suffix"},     {3, 5, 0, "escape_whitespaces"},    {2, 40, 99, "unk_id"},
                 {1, 3, 4, "piece 6 has no text"},              {2, 40, UINT64_MAX, "unk_id"}};
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        struct bytes b = small_model();
        struct fp4_tokenizer *t;
        put_number(&b, cases[i].message, cases[i].field, cases[i].value);
        cr_assert_neq(tokenizer_parse("case", b.data, b.n, &t), FP4_OK, "case %zu", i);
        cr_assert_not_null(strstr(fp4_last_error(), cases[i].names), "case %zu: %s", i, fp4_last_error());
        fp4_free(b.data);
    }
    struct bytes b = small_model();
    struct fp4_tokenizer *t;
    put_message(&b, 3, &(struct bytes){.data = "\x12\x01X", .n = 3});
    cr_assert_eq(tokenizer_parse("case", b.data, b.n, &t), FP4_ERR_UNSUPPORTED);
    cr_assert_not_null(strstr(fp4_last_error(), "precompiled_charsmap"), "%s", fp4_last_error());
    fp4_free(b.data);
}

/* Cut anywhere, and every byte changed in turn: refused, or a tokenizer that works. */
Test(tokenizer_model, damaged, .init = set_up) {
    struct bytes whole = small_model();
    size_t opened = 0;
    for (size_t i = 0; i < 5 * whole.n; i++) {
        struct bytes b = {0};
        struct fp4_tokenizer *t;
        must(bytes_add(&b, whole.data, i < whole.n ? i : whole.n));
        if (i >= whole.n)
            b.data[i % whole.n] = (char)(b.data[i % whole.n] + "\x01\x7F\x80\x40"[i / whole.n - 1]);
        if (tokenizer_parse("damaged", b.data, b.n, &t) == FP4_OK) {
            int32_t *ids;
            size_t n;
            must(fp4_tokenize(t, "ab \xF0\x9F\x98\x80 ba<s>", 13, true, &ids, &n));
            for (size_t k = 0; k < n; k++)
                cr_assert_lt((size_t)ids[k], fp4_tokenizer_vocab(t));
            fp4_free(ids);
            fp4_tokenizer_close(t);
            opened++;
        }
        fp4_free(b.data);
    }
    cr_assert(opened > 0 && opened < 4 * whole.n);
    fp4_free(whole.data);
}

Test(tokenizer_model, pieces_that_take_time, .init = set_up) {
    static char longest[29002];
    memset(longest, 'a', sizeof longest);
    struct bytes giant = small_model(), many = small_model();
    put_piece(&giant, longest, 29000, -5, NORMAL);
    put_piece(&giant, longest, 29001, -6, NORMAL);
    for (size_t n = 1; n < 330; n++)
        put_piece(&many, longest, n, -10 - (float)n, NORMAL);
    cr_assert_eq(answer("giant", giant.data, giant.n), FP4_OK);
    cr_assert_eq(answer("many", many.data, many.n), FP4_OK);
    fp4_free(giant.data);
    fp4_free(many.data);
}
