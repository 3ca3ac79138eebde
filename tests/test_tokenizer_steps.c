/* Each step of a tokenizer.json by itself, over one small vocabulary: the ids are those of the tokenizers library 0.23.3. The older form of
 * two files. Patterns in Oniguruma's dialect. */
#include <stdlib.h>
#include <string.h>

#include "fp4lab/text.h"
#include "lib/text/pattern.h"
#include "lib/text/tokenizer.h"
#include "tests/folders.h"
#include "tests/support.h"

#define SPACE "\xE2\x96\x81"
#define VOCABULARY                                                                                                               \
    "\"vocab\":{\"<unk>\":0,\"a\":1,\"b\":2,\"" SPACE "\":3,\"ab\":4,\"" SPACE "a\":5,\"" SPACE "ab\":6,\"<0xC3>\":7,\"<0xA9>\":8," \
    "\"1\":9,\"bb\":10,\"\xC3\xA9\":11,\"a" SPACE "\":12,\"s\":13},"                                                             \
    "\"merges\":[[\"a\",\"b\"],[\"" SPACE "\",\"a\"],[\"" SPACE "\",\"ab\"],[\"b\",\"b\"],[\"a\",\"" SPACE "\"]]"
#define METASPACE(scheme, split) "\"pre_tokenizer\":{\"type\":\"Metaspace\",\"replacement\":\"" SPACE "\",\"prepend_scheme\":\"" scheme "\",\"split\":" split "}"
#define SPLIT(pattern, behavior, invert) \
    "\"pre_tokenizer\":{\"type\":\"Split\",\"pattern\":{" pattern "},\"behavior\":\"" behavior "\",\"invert\":" invert "}"
#define ADDED(text, flags) "\"added_tokens\":[{\"id\":14,\"content\":\"" text "\"," flags "}]"
#define SPECIAL "\"special\":true,\"normalized\":false"

static const struct {
    const char *text, *root, *model, *ids;
} cases[] = {
    {"ab a ba", METASPACE("always", "true"), "", "6,5,3,2,1"},
    {"ab a ba", METASPACE("never", "true"), "", "4,5,3,2,1"},
    {"ab a ba", "\"pre_tokenizer\":{\"type\":\"Metaspace\",\"replacement\":\"" SPACE "\",\"add_prefix_space\":true}", "", "6,5,3,2,1"},
    {"<s>ab<s> ab", METASPACE("first", "false") "," ADDED("<s>", SPECIAL), "", "14,4,14,6"},
    {"111a b a b", METASPACE("never", "false"), "", "9,9,9,12,2,5,3,2"}, /* a token holds U+2581 after another character: nothing may be cut there */
    {"a\xC3\xA9 xxb", "\"normalizer\":null", "\"byte_fallback\":true", "1,11,0,0,0,2"},
    {"a\xE4\xB8\xADxxb", "\"normalizer\":null", "\"fuse_unk\":true", "1,0,2"},
    {"a\xE4\xB8\xADxxb", "\"normalizer\":null", "\"fuse_unk\":false", "1,0,0,0,2"},
    {"abbab", SPLIT("\"String\":\"b\"", "Isolated", "false"), "", "1,2,2,1,2"},
    {"abbab", SPLIT("\"String\":\"b\"", "Removed", "false"), "", "1,1"},
    {"abbab", SPLIT("\"String\":\"b\"", "MergedWithPrevious", "false"), "", "4,2,4"},
    {"abbab", SPLIT("\"String\":\"a\"", "MergedWithNext", "false"), "", "4,2,4"},
    {"abbab", SPLIT("\"String\":\"b\"", "Contiguous", "false"), "", "1,10,1,2"},
    {"abbab", SPLIT("\"Regex\":\"b+\"", "Removed", "true"), "", "10,2"},
    {"\xC2\xBC a\xCC\x81" "b", SPLIT("\"Regex\":\"\\\\w+\"", "Isolated", "false"), "", "0,0,1,0,2"},
    {"ab11ab", "\"pre_tokenizer\":{\"type\":\"Digits\",\"individual_digits\":false}", "", "4,9,9,4"},
    {"abab", "\"pre_tokenizer\":null", "\"ignore_merges\":true", "4,4"},
    {"A\xCC\x81" "B",
     "\"normalizer\":{\"type\":\"Sequence\",\"normalizers\":[{\"type\":\"NFD\"},{\"type\":\"Lowercase\"},{\"type\":\"Replace\",\"pattern\":{\"Regex\":"
     "\"\\\\u0301\"},\"content\":\"s\"}]}",
     "", "1,13,2"},
    {"e\xCC\x81" "b", "\"normalizer\":{\"type\":\"NFC\"}", "", "11,2"},
    {"a <m> b<m>s", ADDED("<m>", SPECIAL ",\"lstrip\":true,\"rstrip\":true"), "", "1,14,2,14,13"},
    {"b<m>s <m>!", ADDED("<m>", SPECIAL ",\"single_word\":true"), "", "2,0,0,0,13,0,14,0"},
    {"b<m>", ADDED("<m>", SPECIAL ",\"single_word\":true"), "", "2,0,0,0"},
    {"AB", "\"normalizer\":{\"type\":\"Lowercase\"}," ADDED("Ab", "\"normalized\":true"), "", "14"}};

static void ids_are(const struct fp4_tokenizer *t, const char *text, bool special, const char *want, const char *where) {
    int32_t *ids;
    size_t n;
    char got[400] = "", *end = got;
    must(fp4_tokenize(t, text, strlen(text), special, &ids, &n));
    for (size_t i = 0; i < n; i++)
        end += sprintf(end, "%s%d", i ? "," : "", (int)ids[i]);
    cr_assert_str_eq(got, want, "%s, \"%s\": %s, expected %s", where, text, got, want);
    fp4_free(ids);
}

Test(tokenizer_steps, each_by_itself) {
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        char json[4000];
        struct fp4_tokenizer *t;
        snprintf(json, sizeof json, "{\"version\":\"1.0\",%s,\"model\":{\"type\":\"BPE\",\"unk_token\":\"<unk>\",%s%s" VOCABULARY "}}", cases[i].root,
                 cases[i].model, *cases[i].model ? "," : "");
        must(tokenizer_parse("case", json, strlen(json), &t));
        ids_are(t, cases[i].text, true, cases[i].ids, cases[i].root);
        fp4_tokenizer_close(t);
    }
}

/* ---- vocab.json and merges.txt ---- */

static const char opt_vocab[] = "{\"<s>\":0,\"<pad>\":1,\"</s>\":2,\"<unk>\":3,\"a\":4,\"b\":5,\"ab\":6,\"\xC4\xA0\":7,\"\xC4\xA0" "a\":8,\"<\":9,\">\":10,\"s\":11,\"/\":12}";
static const char opt_config[] = "{\"bos_token\":{\"__type\":\"AddedToken\",\"content\":\"</s>\",\"lstrip\":false},\"eos_token\":{\"content\":\"</s>\"},"
                                 "\"unk_token\":{\"content\":\"</s>\"},\"pad_token\":\"<pad>\",\"add_prefix_space\":false,\"add_bos_token\":true,"
                                 "\"model_max_length\":1000000000000000019884624838656}"; /* as transformers writes one that has none */

static fp4_status open_pair(const char *vocab, const char *merges, const char *config, struct fp4_tokenizer **t) {
    char folder[FOLDER_MAX];
    folder_make(folder);
    must(fp4_write_file(folder_file(folder, "vocab.json"), vocab, strlen(vocab)));
    must(fp4_write_file(folder_file(folder, "merges.txt"), merges, strlen(merges)));
    if (config)
        must(fp4_write_file(folder_file(folder, "tokenizer_config.json"), config, strlen(config)));
    fp4_status status = fp4_tokenizer_open(folder, t);
    return status;
}

Test(tokenizer_pair, as_opt_has_it) {
    struct fp4_tokenizer *t;
    const int32_t *begin, *end;
    must(open_pair(opt_vocab, "#version: 0.2\na b\r\n\xC4\xA0 a\n", opt_config, &t));
    cr_assert_eq(fp4_tokenizer_begin(t, &begin), 1);
    cr_assert_eq(begin[0], 2);
    cr_assert_eq(fp4_tokenizer_end(t, &end), 0);
    ids_are(t, "ab a</s><pad><s>", true, "6,8,2,1,9,11,10", "special"); /* <s> is named by no file */
    ids_are(t, "</s>", false, "9,12,11,10", "plain");
    cr_assert(fp4_token_is_special(t, 2) && fp4_token_is_special(t, 1) && !fp4_token_is_special(t, 0));
    cr_assert_eq(fp4_token_bytes(t, 8), 2);
    cr_assert_eq(fp4_token_bytes(t, 13), 0);
    fp4_tokenizer_close(t);
    must(open_pair(opt_vocab, "a b\n", NULL, &t));
    cr_assert_eq(fp4_tokenizer_begin(t, &begin), 0);
    fp4_tokenizer_close(t);
}

/* A model named by its weights' file has its tokenizer where its configuration is: beside it. */
Test(tokenizer_pair, beside_weights) {
    static const char zip[] = "PK\3\4";
    char folder[FOLDER_MAX];
    struct fp4_tokenizer *t;
    const float x[1] = {0};
    const struct fp4_tensor_out tensor = {"x", FP4_F32, 1, {1}, x};
    folder_make(folder);
    must(fp4_safetensors_write(folder_file(folder, "model.safetensors"), &tensor, 1));
    must(fp4_write_file(folder_file(folder, "pytorch_model.bin"), zip, sizeof zip));
    cr_assert_eq(fp4_tokenizer_open(folder_file(folder, "model.safetensors"), &t), FP4_ERR_IO);
    cr_assert_not_null(strstr(fp4_last_error(), "holds no tokenizer"), "%s", fp4_last_error());
    must(fp4_write_file(folder_file(folder, "vocab.json"), opt_vocab, strlen(opt_vocab)));
    must(fp4_write_file(folder_file(folder, "merges.txt"), "a b\n", 4));
    must(fp4_tokenizer_open(folder_file(folder, "model.safetensors"), &t));
    fp4_tokenizer_close(t);
    must(fp4_tokenizer_open(folder_file(folder, "pytorch_model.bin"), &t));
    fp4_tokenizer_close(t);
    must(fp4_write_file(folder_file(folder, "tokenizer.json"), zip, sizeof zip)); /* no way back to the folder from a file in it */
    cr_assert_eq(fp4_tokenizer_open(folder_file(folder, "model.safetensors"), &t), FP4_ERR_FORMAT);
}

/* tokenizer_config.json and the older added_tokens.json; the latter's tokens are special where another file names them so. Ids of transformers' GPT2Tokenizer. */
Test(tokenizer_pair, added_tokens) {
    struct fp4_tokenizer *t;
    char folder[FOLDER_MAX];
    static const char *const files[][2] = {
        {"vocab.json", opt_vocab},
        {"merges.txt", "a b\n"},
        {"tokenizer_config.json", "{\"tokenizer_class\":\"GPT2Tokenizer\",\"bos_token\":\"</s>\",\"eos_token\":\"<i>\",\"unk_token\":\"</s>\",\"added_tokens_decoder\":{\"2\":{\"content\":\"</s>\","
                                  "\"special\":true},\"14\":{\"content\":\"b a\",\"special\":false,\"normalized\":true,\"rstrip\":true}}}"},
        {"added_tokens.json", "{\"<i>\":13,\"b a\":14,\"b <\":15}"}};
    folder_make(folder);
    for (size_t i = 0; i < sizeof files / sizeof *files; i++)
        must(fp4_write_file(folder_file(folder, files[i][0]), files[i][1], strlen(files[i][1])));
    must(fp4_tokenizer_open(folder, &t));
    cr_assert_eq(fp4_tokenizer_vocab(t), 16);
    ids_are(t, "ab a</s><i>b a b <", true, "4,14,2,13,14,15", "special");
    ids_are(t, "<i>b a  a", false, "9,10,14,4", "plain");
    cr_assert(fp4_token_is_special(t, 13) && !fp4_token_is_special(t, 14));
    fp4_tokenizer_close(t);
}

Test(tokenizer_pair, what_is_wrong_is_named) {
    static const struct {
        const char *vocab, *merges, *config, *names;
    } wrong[] = {{"{\"a\":0", "", NULL, "vocab.json: not JSON"},
                 {"[]", "", NULL, "vocab.json: no object"},
                 {"{\"a\":0,\"b\":0}", "", NULL, "vocab.json: the id of token \"b\""},
                 {"{\"a\":999999999}", "", NULL, "vocab.json: the id of token \"a\""},
                 {"{\"a\":0,\"b\":1}", "a b\n", NULL, "merge 0"},
                 {"{\"a\":0,\"b\":1}", "ab\n", NULL, "merges.txt: merge 0"},
                 {"{\"a\":0}", "", "{\"bos_token\":\"<s>\",\"add_bos_token\":true}", "\"<s>\" is not in vocab.json"},
                 {"{\"a\":0}", "", "{\"add_bos_token\":true}", "add_bos_token"},
                 {"{\"a\":0}", "", "{\"tokenizer_class\":\"Qwen2Tokenizer\"}", "tokenizer_class Qwen2Tokenizer"},
                 {"{\"a\":0}", "", "{\"added_tokens_decoder\":{\"0\":{\"content\":\"b\"}}}", "the id 0 of \"b\""},
                 {"{\"a\":0}", "", "{\"added_tokens_decoder\":{\"1\":{\"content\":\"a\"}}}", "the id 1 of \"a\""},
                 {"{\"a\":0}", "", "{\"added_tokens_decoder\":{\"9999\":{\"content\":\"b\"}}}", "the id 9999"},
                 {"{\"a\":0}", "", "{\"added_tokens_decoder\":{\"x\":{\"content\":\"b\"}}}", "added_tokens_decoder.x"},
                 {"{\"a\":0}", "", "[", "tokenizer_config.json"}};
    for (size_t i = 0; i < sizeof wrong / sizeof wrong[0]; i++) {
        struct fp4_tokenizer *t;
        cr_assert_neq(open_pair(wrong[i].vocab, wrong[i].merges, wrong[i].config, &t), FP4_OK, "case %zu", i);
        cr_assert_null(t);
        cr_assert_not_null(strstr(fp4_last_error(), wrong[i].names), "case %zu: %s", i, fp4_last_error());
    }
}

/* ---- patterns ---- */

/* The matches of a pattern in a text, joined by |. */
static void matches_are(const char *regex, const char *text, const char *want) {
    struct pattern *p;
    struct matcher m;
    char got[200] = "";
    bool found = true;
    size_t start, stop;
    must(pattern_regex("here", regex, strlen(regex), &p));
    must(matcher_open(&m, p));
    for (;;) {
        must(matcher_next(&m, text, strlen(text), &found, &start, &stop));
        if (!found)
            break;
        sprintf(got + strlen(got), "%.*s|", (int)(stop - start), text + start);
    }
    cr_assert_str_eq(got, want, "%s in \"%s\": %s, expected %s", regex, text, got, want);
    matcher_close(&m);
    pattern_free(p);
}

Test(pattern, dialect) {
    matches_are("\\s", "a\xE1\xA0\x8E" "b\xC2\x85" "c\x1C" "d", "\xC2\x85|"); /* U+180E and U+001C are no white space */
    matches_are("[^\\s]+", "a \xE1\xA0\x8E", "a|\xE1\xA0\x8E|");
    matches_are("[\\S]+", "a b", "a|b|");
    matches_are("\\w+", "a1_\xC2\xBC-\xE2\x91\xA0", "a1_\xC2\xBC|"); /* of Latin-1 the fractions are words, others not */
    matches_are("\\W", "a-b", "-|");
    matches_are("\\bb", "ab b", "b|");
    matches_are("\\v", "a\x0B\n", "\x0B|");
    matches_are("^b", "a\nb", "b|"); /* every line begins */
    matches_are(".+", "a\nb", "a|b|");
    matches_are("(?i:'s)", "'S'\xC5\xBF", "'S|'\xC5\xBF|");
    matches_are("\\p{Han}+|\\p{^L}", "\xE4\xB8\xAD-", "\xE4\xB8\xAD|-|");
    matches_are("a{2,}|\\u0062|\\x{63}", "aaabc", "aaa|b|c|");
    matches_are("b*", "ab", "|b|");
}

Test(pattern, what_two_dialects_read_differently_is_refused) {
    static const char *const refused[] = {"[[:alpha:]]", "[a&&b]", "a{2}+", "a{,2}", "a{2}?", "(?<n>a)", "(?m:a)", "\\h", "\\K", "\\x41", "\\pL", "\\p{L&}", "\\1", "[\\W]", "(?x)a", "[]a]"};
    for (size_t i = 0; i < sizeof refused / sizeof refused[0]; i++) {
        struct pattern *p;
        cr_assert_eq(pattern_regex("here", refused[i], strlen(refused[i]), &p), FP4_ERR_UNSUPPORTED, "%s", refused[i]);
        cr_assert_not_null(strstr(fp4_last_error(), refused[i]), "%s", fp4_last_error());
        cr_assert_null(p);
    }
}
