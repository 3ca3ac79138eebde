/* Tokenizer files that lie, small tokenizers made by hand, broken UTF-8, an oracle for merging. */
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "fp4lab/text.h"
#include "tests/support.h"

/* Opens a tokenizer.json of the given text. */
static fp4_status open_text(const char *json, struct fp4_tokenizer **t) {
    char path[] = "/tmp/fp4lab-tokenizer-XXXXXX";
    int fd = mkstemp(path);
    cr_assert_geq(fd, 0);
    close(fd);
    must(fp4_write_file(path, json, strlen(json)));
    fp4_status status = fp4_tokenizer_open(path, t);
    unlink(path);
    return status;
}

#define BYTE_LEVEL "{\"type\":\"ByteLevel\",\"add_prefix_space\":false,\"use_regex\":true}"
#define DOCUMENT(normalizer, pre, added, model) \
    "{\"normalizer\":" normalizer ",\"pre_tokenizer\":" pre ",\"added_tokens\":[" added "],\"model\":{\"type\":\"BPE\"," model "}}"
#define SMALL "\"vocab\":{\"a\":0,\"b\":1,\"ab\":2,\"aa\":3,\"aaa\":4,\"<x>\":5},\"merges\":[\"a a\",[\"a\",\"b\"],\"aa a\"]"

static void ids_are(const struct fp4_tokenizer *t, const char *text, bool special, const char *want) {
    int32_t *ids;
    size_t n;
    char got[400] = "", *end = got;
    must(fp4_tokenize(t, text, strlen(text), special, &ids, &n));
    for (size_t i = 0; i < n; i++)
        end += sprintf(end, "%s%d", i ? " " : "", (int)ids[i]);
    cr_assert_str_eq(got, want, "\"%s\": %s, expected %s", text, got, want);
    fp4_free(ids);
}

Test(tokenizer_files, merges_in_order_of_rank) {
    struct fp4_tokenizer *t;
    must(open_text(DOCUMENT("null", BYTE_LEVEL, "{\"id\":5,\"content\":\"<x>\",\"special\":true}", SMALL), &t));
    cr_assert_eq(fp4_tokenizer_vocab(t), 6);
    ids_are(t, "ab", false, "2");
    ids_are(t, "aab", false, "3 1");
    ids_are(t, "aaa", false, "4");
    ids_are(t, "aaaa", false, "3 3");
    ids_are(t, "aaaaab", false, "3 3 2");
    ids_are(t, "a<x>b", true, "0 5 1");
    ids_are(t, "a<x>b", false, "0 1"); /* the bytes < x > have no tokens: dropped, and the pieces keep a and b apart */
    ids_are(t, "", true, "");
    cr_assert(fp4_token_is_special(t, 5));
    cr_assert_not(fp4_token_is_special(t, 0));
    cr_assert_not(fp4_token_is_special(t, -1));
    cr_assert_not(fp4_token_is_special(t, 6));
    fp4_tokenizer_close(t);
}

/* The tokenizers library's ids: a byte without a token is the unknown token where the file has one. */
Test(tokenizer_files, bytes_without_a_token) {
    static const struct {
        const char *model, *ids;
    } cases[] = {{"\"unk_token\":\"<x>\",", "0 5 5 1 5"}, {"\"unk_token\":\"<x>\",\"fuse_unk\":true,", "0 5 1 5"}, {"\"unk_token\":null,", "2"}};
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        char json[1000];
        struct fp4_tokenizer *t;
        snprintf(json, sizeof json, DOCUMENT("null", "{\"type\":\"ByteLevel\",\"add_prefix_space\":false,\"use_regex\":false}", "", "%s" SMALL), cases[i].model);
        must(open_text(json, &t));
        ids_are(t, "azzbz", false, cases[i].ids);
        fp4_tokenizer_close(t);
    }
}

Test(tokenizer_files, added_text_is_always_a_token_and_the_longest_wins) {
    struct fp4_tokenizer *t;
    must(open_text(DOCUMENT("null", BYTE_LEVEL,
                            "{\"id\":6,\"content\":\"b b\",\"special\":false},{\"id\":7,\"content\":\"b b b\",\"special\":false}", SMALL),
                   &t));
    ids_are(t, "ab ba", false, "0 6 0");
    ids_are(t, "b b b b", false, "7 1");
    char *text;
    size_t bytes;
    must(fp4_detokenize(t, (int32_t[]){6, 2}, 2, true, &text, &bytes));
    cr_assert_str_eq(text, "b bab");
    fp4_free(text);
    cr_assert_eq(fp4_detokenize(t, (int32_t[]){8}, 1, true, &text, &bytes), FP4_ERR_ARG);
    cr_assert_eq(fp4_detokenize(t, (int32_t[]){-1}, 1, true, &text, &bytes), FP4_ERR_ARG);
    fp4_tokenizer_close(t);
}

Test(tokenizer_files, what_is_not_supported_is_named) {
    static const struct {
        const char *json;
        fp4_status status;
        const char *names;
    } cases[] = {
        {DOCUMENT("{\"type\":\"Nmt\"}", BYTE_LEVEL, "", SMALL), FP4_ERR_UNSUPPORTED, "normalizer: Nmt"},
        {DOCUMENT("{\"type\":\"Sequence\",\"normalizers\":[{\"type\":\"NFC\"},{\"type\":\"Precompiled\"}]}", BYTE_LEVEL, "", SMALL), FP4_ERR_UNSUPPORTED,
         "normalizer.normalizers[1]: Precompiled"},
        {DOCUMENT("null", "{\"type\":\"BertPreTokenizer\"}", "", SMALL), FP4_ERR_UNSUPPORTED, "pre_tokenizer: BertPreTokenizer"},
        {DOCUMENT("null", "{\"type\":\"Sequence\",\"pretokenizers\":[" BYTE_LEVEL ",{\"type\":\"Digits\"}]}", "", SMALL), FP4_ERR_UNSUPPORTED,
         "pre_tokenizer.pretokenizers[1]"},
        {DOCUMENT("null", "{\"type\":\"ByteLevel\",\"use_regex\":1}", "", SMALL), FP4_ERR_FORMAT, "pre_tokenizer.use_regex"},
        {DOCUMENT("null", "{\"type\":\"Split\",\"pattern\":{\"Regex\":\"[[:alpha:]]\"},\"behavior\":\"Isolated\"}", "", SMALL), FP4_ERR_UNSUPPORTED,
         "pre_tokenizer.pattern: a class within a class"},
        {DOCUMENT("null", "{\"type\":\"Split\",\"pattern\":{\"Regex\":\"(a\"},\"behavior\":\"Isolated\"}", "", SMALL), FP4_ERR_FORMAT, "(a"},
        {DOCUMENT("null", "{\"type\":\"Split\",\"pattern\":{\"String\":\"a\"},\"behavior\":\"Other\"}", "", SMALL), FP4_ERR_FORMAT, "behavior Other"},
        {DOCUMENT("null", "{\"type\":\"Split\",\"pattern\":\"a\",\"behavior\":\"Isolated\"}", "", SMALL), FP4_ERR_FORMAT, "pre_tokenizer.pattern"},
        {DOCUMENT("null", BYTE_LEVEL, "{\"id\":9,\"content\":\"<x>\"}", SMALL), FP4_ERR_FORMAT, "another id than in model.vocab"},
        {DOCUMENT("null", BYTE_LEVEL, "{\"id\":0,\"content\":\"new\"}", SMALL), FP4_ERR_FORMAT, "id 0 is both"},
        {DOCUMENT("null", BYTE_LEVEL, "", "\"vocab\":{\"a\":0,\"b\":0},\"merges\":[]"), FP4_ERR_FORMAT, "id 0 is both"},
        {DOCUMENT("null", BYTE_LEVEL, "", "\"vocab\":{\"a\":0,\"a\":1},\"merges\":[]"), FP4_ERR_FORMAT, "duplicate"},
        {DOCUMENT("null", BYTE_LEVEL, "", "\"byte_fallback\":1," SMALL), FP4_ERR_FORMAT, "byte_fallback"},
        {DOCUMENT("null", BYTE_LEVEL, "", "\"byte_fallback\":true,\"vocab\":{\"a\":0,\"<0xC4>\":1,\"<0x80>\":2},\"merges\":[]"), FP4_ERR_UNSUPPORTED, "byte_fallback with ByteLevel"},
        {DOCUMENT("null", BYTE_LEVEL, "", "\"dropout\":0.1," SMALL), FP4_ERR_UNSUPPORTED, "dropout"},
        {DOCUMENT("null", BYTE_LEVEL, "", "\"end_of_word_suffix\":\"</w>\"," SMALL), FP4_ERR_UNSUPPORTED, "end_of_word_suffix"},
        {DOCUMENT("null", BYTE_LEVEL, "", "\"unk_token\":\"none\"," SMALL), FP4_ERR_FORMAT, "unk_token"},
        {"{\"model\":{\"type\":\"Unigram\"}}", FP4_ERR_UNSUPPORTED, "Unigram"},
        {DOCUMENT("null", BYTE_LEVEL, "", "\"vocab\":{\"a\":0},\"merges\":[\"a\"]"), FP4_ERR_FORMAT, "merge 0"},
        {DOCUMENT("null", BYTE_LEVEL, "", "\"vocab\":{\"a\":0},\"merges\":[\"a a a\"]"), FP4_ERR_FORMAT, "merge 0"},
        {DOCUMENT("null", BYTE_LEVEL, "", "\"vocab\":{\"a\":0},\"merges\":[[\"a\"]]"), FP4_ERR_FORMAT, "merge 0"},
        {DOCUMENT("null", BYTE_LEVEL, "", "\"vocab\":{\"a\":0},\"merges\":[\"a a\"]"), FP4_ERR_FORMAT, "not in the vocabulary"},
        {DOCUMENT("null", BYTE_LEVEL, "", "\"vocab\":{\"a\":0,\"aa\":1},\"merges\":[\"a a\",\"a a\"]"), FP4_ERR_FORMAT, "twice"},
        {DOCUMENT("null", BYTE_LEVEL, "", "\"vocab\":{\"a\":70000000},\"merges\":[]"), FP4_ERR_FORMAT, "id of token"},
        {DOCUMENT("null", BYTE_LEVEL, "", "\"vocab\":{\"a\":-1},\"merges\":[]"), FP4_ERR_FORMAT, "id of token"},
        {DOCUMENT("null", BYTE_LEVEL, "", "\"vocab\":{\"a\":\"0\"},\"merges\":[]"), FP4_ERR_FORMAT, "id of token"},
        {DOCUMENT("null", BYTE_LEVEL, "", "\"vocab\":{},\"merges\":[]"), FP4_ERR_FORMAT, "0 tokens"},
        {DOCUMENT("null", BYTE_LEVEL, "", "\"vocab\":[],\"merges\":[]"), FP4_ERR_FORMAT, "no vocab"},
        {"{\"model\":", FP4_ERR_FORMAT, "not JSON"},
        {"", FP4_ERR_FORMAT, "not JSON"},
        {"GGUF", FP4_ERR_FORMAT, ""},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        struct fp4_tokenizer *t;
        cr_assert_eq(open_text(cases[i].json, &t), cases[i].status, "case %zu: %s", i, fp4_last_error());
        cr_assert_null(t);
        cr_assert_not_null(strstr(fp4_last_error(), cases[i].names), "case %zu: \"%s\" does not name %s", i, fp4_last_error(), cases[i].names);
    }
}

Test(tokenizer_files, a_truncated_file_is_an_error_and_no_crash) {
    const char *whole = DOCUMENT("null", BYTE_LEVEL, "{\"id\":5,\"content\":\"<x>\",\"special\":true}", SMALL);
    for (size_t n = 0; n < strlen(whole); n++) {
        char *cut = strndup(whole, n);
        struct fp4_tokenizer *t;
        cr_assert_neq(open_text(cut, &t), FP4_OK, "cut at %zu", n);
        free(cut);
    }
}

/* Random bytes changed, doubled or left out: opened or refused; what opens, works. */
Test(tokenizer_files, damaged_files_are_refused_or_work) {
    const char *whole = DOCUMENT("null", BYTE_LEVEL, "{\"id\":5,\"content\":\"<x>\",\"special\":true}", SMALL);
    size_t n = strlen(whole), opened = 0;
    struct fp4_random r = {.seed = 6, .stream = FP4_STREAM_TEST};
    for (uint32_t trial = 0; trial < 400; trial++) {
        char *text = strdup(whole);
        uint32_t word[6];
        r.step = trial;
        fp4_random_words(&r, 0, 6, word);
        for (uint32_t k = 0; k <= trial % 3; k++) {
            size_t at = word[2 * k] % n;
            text[at] = "0123456789\",:[]{}ab-e. "[word[2 * k + 1] % 23];
        }
        struct fp4_tokenizer *t;
        if (open_text(text, &t) == FP4_OK) {
            int32_t *ids;
            size_t count;
            must(fp4_tokenize(t, "aab <x> 12 ba", 13, true, &ids, &count));
            for (size_t i = 0; i < count; i++)
                cr_assert_lt((size_t)ids[i], fp4_tokenizer_vocab(t));
            fp4_free(ids);
            fp4_tokenizer_close(t);
            opened++;
        }
        free(text);
    }
    cr_assert(opened > 0 && opened < 400);
}

Test(tokenizer_files, missing_files) {
    struct fp4_tokenizer *t;
    cr_assert_eq(fp4_tokenizer_open("/nonexistent/tokenizer.json", &t), FP4_ERR_IO);
    cr_assert_eq(fp4_tokenizer_open("/proc/self/fd", &t), FP4_ERR_IO);
}

/* The definition, read literally: merge the pair of lowest rank, leftmost among equals, until none is left. One piece
 * of letters; tokens are single letters a–d and all pairs and triples made in a random order. */
Test(tokenizer_files, heap_merging_equals_the_definition) {
    char json[8000] = "", *end = json, names[64][4];
    int left[64], right[64], n_names = 4, n_merges = 0;
    struct fp4_random r = {.seed = 5, .stream = FP4_STREAM_TEST};
    uint32_t word[4096];
    fp4_random_words(&r, 0, 4096, word);
    for (int i = 0; i < 4; i++)
        sprintf(names[i], "%c", 'a' + i);
    for (int k = 0; n_merges < 40 && k < 1000; k++) {
        int a = (int)(word[2 * k] % (uint32_t)n_names), b = (int)(word[2 * k + 1] % (uint32_t)n_names);
        bool fresh = strlen(names[a]) + strlen(names[b]) <= 3;
        char made[8];
        snprintf(made, sizeof made, "%.3s%.3s", names[a], names[b]);
        for (int i = 0; i < n_names && fresh; i++)
            fresh = strcmp(names[i], made) != 0;
        if (!fresh)
            continue;
        memcpy(names[n_names++], made, sizeof names[0]);
        left[n_merges] = a;
        right[n_merges++] = b;
    }
    end += sprintf(end, "{\"pre_tokenizer\":" BYTE_LEVEL ",\"model\":{\"type\":\"BPE\",\"vocab\":{");
    for (int i = 0; i < n_names; i++)
        end += sprintf(end, "%s\"%s\":%d", i ? "," : "", names[i], i);
    end += sprintf(end, "},\"merges\":[");
    for (int i = 0; i < n_merges; i++)
        end += sprintf(end, "%s[\"%s\",\"%s\"]", i ? "," : "", names[left[i]], names[right[i]]);
    sprintf(end, "]}}");
    struct fp4_tokenizer *t;
    must(open_text(json, &t));
    for (int trial = 0; trial < 400; trial++) {
        char text[64];
        int want[64], n = 1 + trial % 60;
        for (int i = 0; i < n; i++) {
            want[i] = (int)(word[(trial * 7 + i * 13) % 4096] >> 9 & 3);
            text[i] = (char)('a' + want[i]);
        }
        int total = n;
        for (int rank = 0; rank < n_merges;) {
            int at = 0;
            while (at + 1 < n && (want[at] != left[rank] || want[at + 1] != right[rank]))
                at++;
            if (at + 1 >= n) {
                rank++;
                continue;
            }
            want[at] = 4 + rank;
            memmove(want + at + 1, want + at + 2, (size_t)(n - at - 2) * sizeof *want);
            n--;
            rank = 0;
        }
        int32_t *ids;
        size_t got;
        must(fp4_tokenize(t, text, (size_t)total, false, &ids, &got));
        cr_assert_eq(got, (size_t)n, "%.*s", total, text);
        for (int i = 0; i < n; i++)
            cr_assert_eq(ids[i], want[i], "%.*s at %d", total, text, i);
        fp4_free(ids);
    }
    fp4_tokenizer_close(t);
}

Test(tokenizer_files, broken_utf8_is_repaired_part_by_part) {
    /* Unicode 15, table 3-8, and its neighbours. */
    static const char *const cases[][2] = {
        {"\x61\xF1\x80\x80\xE1\x80\xC2\x62\x80\x63\x80\xBF\x64", "a\xEF\xBF\xBD\xEF\xBF\xBD\xEF\xBF\xBD" "b\xEF\xBF\xBD" "c\xEF\xBF\xBD\xEF\xBF\xBD" "d"},
        {"\xC0\xAF\xE0\x80\xBF", "\xEF\xBF\xBD\xEF\xBF\xBD\xEF\xBF\xBD\xEF\xBF\xBD\xEF\xBF\xBD"},
        {"\xED\xA0\x80", "\xEF\xBF\xBD\xEF\xBF\xBD\xEF\xBF\xBD"},
        {"\xF4\x91\x92\x93\xFF\x41", "\xEF\xBF\xBD\xEF\xBF\xBD\xEF\xBF\xBD\xEF\xBF\xBD\xEF\xBF\xBD" "A"},
        {"\xF0\x9F\x98", "\xEF\xBF\xBD"},
        {"\xC3\xA9\xE2\x82\xAC\xF0\x9F\x98\x80", "\xC3\xA9\xE2\x82\xAC\xF0\x9F\x98\x80"},
        {"", ""},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        char *out;
        size_t n;
        must(fp4_utf8_repair(cases[i][0], strlen(cases[i][0]), &out, &n));
        cr_assert_eq(n, strlen(cases[i][1]), "case %zu: %zu bytes", i, n);
        cr_assert_str_eq(out, cases[i][1], "case %zu", i);
        fp4_free(out);
    }
}
