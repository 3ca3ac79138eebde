/* config.json and tokenizer.json with one fault each. */
#include <stdlib.h>
#include <string.h>

#include "tests/hostile.h"

struct text_fault {
    const char *what, *text;
    fp4_status status;
    const char *message;
};

static bool text_case(const struct text_fault *faults, size_t n, size_t i, struct hostile_case *out) {
    if (i >= n)
        return false;
    *out = (struct hostile_case){faults[i].what, {0}, faults[i].status, faults[i].message};
    put(&out->file, faults[i].text, strlen(faults[i].text));
    return true;
}

/* prefix, then `depth` times `open`. */
static void nested(struct bytes *b, const char *prefix, char open, size_t depth) {
    char *brackets = malloc(depth);
    put(b, prefix, strlen(prefix));
    if (brackets)
        put(b, memset(brackets, open, depth), depth);
    free(brackets);
}

enum { DEEP = 50000 };

/* ---- config.json ---- */

#define SIZES "\"num_hidden_layers\":1,\"num_attention_heads\":2,\"intermediate_size\":64,\"hidden_size\":32"
#define LLAMA(fields) "{\"model_type\":\"llama\"," fields "}"

static const struct text_fault configs[] = {
    {"empty", "", FP4_ERR_FORMAT, "broken JSON"},
    {"a list", "[]", FP4_ERR_FORMAT, "not a JSON object"},
    {"cut short", "{\"model_type\":\"llama\"", FP4_ERR_FORMAT, "broken JSON"},
    {"a key twice", LLAMA(SIZES ",\"vocab_size\":8,\"vocab_size\":9"), FP4_ERR_FORMAT, "duplicate"},
    {"control characters in a name", "{\"model_type\":\"\\u001b[2J\\u202e\\u0085\"}", FP4_ERR_UNSUPPORTED, "\\x1b[2J\\u202e\\u0085"},
    {"no vocabulary", LLAMA(SIZES), FP4_ERR_FORMAT, "vocab_size"},
    {"a vocabulary of none", LLAMA(SIZES ",\"vocab_size\":0"), FP4_ERR_FORMAT, "0"},
    {"a negative size", LLAMA(SIZES ",\"vocab_size\":-1"), FP4_ERR_FORMAT, "vocab_size"},
    {"a size of 2^63-1", LLAMA(SIZES ",\"vocab_size\":9223372036854775807"), FP4_ERR_FORMAT, "9223372036854775807"},
    {"a size beyond 64 bits", LLAMA(SIZES ",\"vocab_size\":18446744073709551616"), FP4_ERR_FORMAT, "broken JSON"},
    {"a size that is text", LLAMA(SIZES ",\"vocab_size\":\"8\""), FP4_ERR_FORMAT, "vocab_size"},
    {"a number beyond double", LLAMA(SIZES ",\"vocab_size\":8,\"rope_theta\":1e999"), FP4_ERR_FORMAT, "broken JSON"},
    {"heads that do not divide", LLAMA(SIZES ",\"vocab_size\":8,\"num_key_value_heads\":3"), FP4_ERR_FORMAT, "multiple"},
    {"no heads", "{\"model_type\":\"llama\",\"vocab_size\":8,\"hidden_size\":8,\"num_hidden_layers\":1,\"num_attention_heads\":0,\"intermediate_size\":8}",
     FP4_ERR_FORMAT, "0"},
    {"an odd head", LLAMA(SIZES ",\"vocab_size\":8,\"head_dim\":7"), FP4_ERR_FORMAT, "odd"},
    {"an id out of range", LLAMA(SIZES ",\"vocab_size\":8,\"bos_token_id\":8"), FP4_ERR_FORMAT, "8"},
    {"a rotation of zero", LLAMA(SIZES ",\"vocab_size\":8,\"rope_theta\":0"), FP4_ERR_FORMAT, "theta"},
    {"another architecture", "{\"model_type\":\"mamba\"}", FP4_ERR_UNSUPPORTED, "mamba"},
    /* Possible sizes that the weights beside it do not have: nothing may be allocated for them. */
    {"a large vocabulary", LLAMA(SIZES ",\"vocab_size\":16777216"), FP4_OK, ""},
    {"a wide model", "{\"model_type\":\"llama\",\"vocab_size\":262144,\"hidden_size\":65536,\"num_hidden_layers\":1,\"num_attention_heads\":64,"
                     "\"intermediate_size\":262144}", FP4_OK, ""},
    {"many layers", "{\"model_type\":\"llama\",\"vocab_size\":8,\"hidden_size\":32,\"num_hidden_layers\":65536,\"num_attention_heads\":2,"
                    "\"intermediate_size\":64}", FP4_OK, ""},
    {"all of it", "{\"model_type\":\"llama\",\"vocab_size\":16777216,\"hidden_size\":16777216,\"num_hidden_layers\":65536,"
                  "\"num_attention_heads\":65536,\"num_key_value_heads\":65536,\"head_dim\":65536,\"intermediate_size\":16777216,"
                  "\"max_position_embeddings\":2147483648}", FP4_OK, ""}};

bool hostile_config(size_t i, struct hostile_case *out) {
    size_t n = sizeof configs / sizeof *configs;
    if (i != n)
        return text_case(configs, n, i, out);
    *out = (struct hostile_case){"deep nesting", {0}, FP4_ERR_FORMAT, "broken JSON"};
    nested(&out->file, "{\"model_type\":", '[', DEEP);
    return true;
}

/* ---- tokenizer.json ---- */

#define BYTES_PRE "\"pre_tokenizer\":{\"type\":\"ByteLevel\",\"add_prefix_space\":false,\"use_regex\":true}"
#define BPE(vocab, merges) "{\"added_tokens\":[]," BYTES_PRE ",\"model\":{\"type\":\"BPE\",\"vocab\":" vocab ",\"merges\":" merges "}}"
#define SPLIT_AT(regex)                                                                                                                   \
    "{\"added_tokens\":[],\"pre_tokenizer\":{\"type\":\"Sequence\",\"pretokenizers\":[{\"type\":\"Split\",\"pattern\":{\"Regex\":\"" regex \
    "\"},\"behavior\":\"Isolated\",\"invert\":false},{\"type\":\"ByteLevel\",\"add_prefix_space\":false,\"use_regex\":false}]},"           \
    "\"model\":{\"type\":\"BPE\",\"vocab\":{\"a\":0},\"merges\":[]}}"

static const struct text_fault tokenizers[] = {
    {"empty", "", FP4_ERR_FORMAT, "JSON"},
    {"a list", "[]", FP4_ERR_FORMAT, "model"},
    {"cut short", "{\"model\":{\"type\":\"BPE\",\"vocab\":{\"a\":0", FP4_ERR_FORMAT, "JSON"},
    {"an empty vocabulary", BPE("{}", "[]"), FP4_ERR_FORMAT, "vocabulary"},
    {"no merges", "{" BYTES_PRE ",\"model\":{\"type\":\"BPE\",\"vocab\":{\"a\":0}}}", FP4_ERR_FORMAT, "merges"},
    {"a merge of an absent token", BPE("{\"a\":0,\"b\":1}", "[\"a b\"]"), FP4_ERR_FORMAT, "not in the vocabulary"},
    {"a merge without a blank", BPE("{\"a\":0,\"b\":1,\"ab\":2}", "[\"ab\"]"), FP4_ERR_FORMAT, "merge 0"},
    {"a merge that is a number", BPE("{\"a\":0}", "[7]"), FP4_ERR_FORMAT, "merge 0"},
    {"a merge twice", BPE("{\"a\":0,\"b\":1,\"ab\":2}", "[\"a b\",\"a b\"]"), FP4_ERR_FORMAT, "twice"},
    {"an id of 2^63-1", BPE("{\"a\":9223372036854775807}", "[]"), FP4_ERR_FORMAT, "id"},
    {"a negative id", BPE("{\"a\":-1}", "[]"), FP4_ERR_FORMAT, "id"},
    {"an id that is text", BPE("{\"a\":\"0\"}", "[]"), FP4_ERR_FORMAT, "id"},
    {"an added token without content",
     "{\"added_tokens\":[{\"id\":0,\"special\":true}]," BYTES_PRE ",\"model\":{\"type\":\"BPE\",\"vocab\":{\"a\":0},\"merges\":[]}}", FP4_ERR_FORMAT,
     "content"},
    {"an added id out of range",
     "{\"added_tokens\":[{\"id\":2147483647,\"content\":\"<s>\"}]," BYTES_PRE ",\"model\":{\"type\":\"BPE\",\"vocab\":{\"a\":0},\"merges\":[]}}",
     FP4_ERR_FORMAT, "id"},
    {"another model", "{" BYTES_PRE ",\"model\":{\"type\":\"\\u001b]0;x\\u0007\",\"vocab\":{},\"merges\":[]}}", FP4_ERR_UNSUPPORTED, "\\x1b]0;x\\x07"}};

/* Patterns that take exponential time without a limit, or recurse, or do not compile: refused when the file is read, or ended by a limit when text is cut. */
static const char *const explosive[] = {SPLIT_AT("(a*)*b"), SPLIT_AT("(a|a)*b"), SPLIT_AT("(?R)a"), SPLIT_AT("((((((((((a*)*)*)*)*)*)*)*)*)*)b"),
                                        SPLIT_AT("(?:(?:(?:a{0,999}){0,999}){0,999})b"), SPLIT_AT("("), SPLIT_AT("(?C1)a"), SPLIT_AT("")};
enum { N_EXPLOSIVE = sizeof explosive / sizeof *explosive };

/* Steps that each make a text several times as long, before it is cut, at its cutting, when it is put together again, and when an added token is
 * prepared; and many slow patterns one after the other. */
enum bomb { BOMB_NORMALIZER, BOMB_PRE_TOKENIZER, BOMB_DECODER, BOMB_ADDED, BOMB_SLOW, BOMB_SLOW_DECODER, N_BOMBS };

static void repeat(struct bytes *b, const char *step) {
    for (int i = 0; i < 30; i++) {
        put(b, step, strlen(step));
        put(b, ",", i < 29);
    }
}

static struct bytes bomb(enum bomb kind) {
    static const char grow[] = "{\"type\":\"Replace\",\"pattern\":{\"String\":\"a\"},\"content\":\"aaaaaaaaaaaaaaaaaaaa\"}";
    static const char space[] = "{\"type\":\"Metaspace\",\"replacement\":\" a a a a a a a a a\",\"prepend_scheme\":\"always\",\"split\":false}";
    static const char slow[] = "{\"type\":\"Split\",\"pattern\":{\"Regex\":\"(?:a|aa|aaa)+$!\"},\"behavior\":\"Isolated\",\"invert\":false}";
    static const char slow_replace[] = "{\"type\":\"Replace\",\"pattern\":{\"Regex\":\"(?:a|aa|aaa)+$!\"},\"content\":\"b\"}";
    struct bytes b = {0};
#define PUT(text) put(&b, text, strlen(text))
    PUT("{\"added_tokens\":[");
    for (int i = 1; kind == BOMB_ADDED && i <= 300; i++) {
        char token[128];
        snprintf(token, sizeof token, "%s{\"id\":%d,\"content\":\"%da\",\"special\":false,\"normalized\":true}", i > 1 ? "," : "", i, i);
        PUT(token);
    }
    PUT("]");
    if (kind == BOMB_NORMALIZER || kind == BOMB_ADDED) {
        PUT(",\"normalizer\":{\"type\":\"Sequence\",\"normalizers\":[");
        repeat(&b, grow);
        PUT("]}");
    }
    if (kind == BOMB_PRE_TOKENIZER || kind == BOMB_SLOW) {
        PUT(",\"pre_tokenizer\":{\"type\":\"Sequence\",\"pretokenizers\":[");
        repeat(&b, kind == BOMB_SLOW ? slow : space);
        PUT("]}");
    }
    if (kind == BOMB_DECODER || kind == BOMB_SLOW_DECODER) {
        PUT(",\"decoder\":{\"type\":\"Sequence\",\"decoders\":[");
        repeat(&b, kind == BOMB_DECODER ? grow : slow_replace);
        PUT("]}");
    }
    PUT(",\"model\":{\"type\":\"BPE\",\"vocab\":{\"a\":0},\"merges\":[]}}");
#undef PUT
    return b;
}

bool hostile_tokenizer(size_t i, struct hostile_case *out) {
    size_t n = sizeof tokenizers / sizeof *tokenizers;
    if (i < n)
        return text_case(tokenizers, n, i, out);
    *out = (struct hostile_case){"deep nesting", {0}, FP4_ERR_FORMAT, "JSON"};
    if (i > n + N_EXPLOSIVE + N_BOMBS)
        return false;
    if (i > n + N_EXPLOSIVE) {
        *out = (struct hostile_case){"a text that grows without end", bomb((enum bomb)(i - n - N_EXPLOSIVE - 1)), FP4_OK, ""};
        return true;
    }
    if (i == n) {
        nested(&out->file, "{\"model\":", '[', DEEP);
        return true;
    }
    *out = (struct hostile_case){"a regular expression that explodes", {0}, FP4_OK, ""};
    put(&out->file, explosive[i - n - 1], strlen(explosive[i - n - 1]));
    return true;
}

/* ---- results ---- */

#define TRIAL(fields) "{\"type\":\"trial\",\"schema\":1,\"experiment\":\"tta\"," fields "}\n"
#define WHOLE "\"model\":\"m\",\"arm\":\"a\",\"item\":\"1\",\"config\":{},\"outcome\":{},\"time\":{}"

static const struct text_fault lines[] = {
    {"not JSON", "\x7f" "ELF\n", FP4_ERR_FORMAT, "not JSON"},
    {"a zero byte", "{\"type\":\"trial\\u0000\"}\n", FP4_ERR_FORMAT, "not JSON"},
    {"a number beyond 64 bits", "{\"schema\":18446744073709551616}\n", FP4_ERR_FORMAT, "not JSON"},
    {"a key twice", "{\"schema\":1,\"schema\":1}\n", FP4_ERR_FORMAT, "duplicate"},
    {"another schema", "{\"type\":\"trial\",\"schema\":2,\"experiment\":\"tta\"}\n", FP4_ERR_FORMAT, "schema"},
    {"another type", "{\"type\":\"\\u001b[2J\",\"schema\":1,\"experiment\":\"tta\"}\n", FP4_ERR_FORMAT, "neither"},
    {"a manifest without a machine", "{\"type\":\"manifest\",\"schema\":1,\"experiment\":\"tta\",\"inputs\":[]}\n", FP4_ERR_FORMAT, "manifest"},
    {"a trial without a key", TRIAL(WHOLE ",\"seed\":1,\"replicate\":0"), FP4_ERR_FORMAT, "key"},
    {"a changed key", TRIAL("\"key\":\"00\"," WHOLE ",\"seed\":1,\"replicate\":0"), FP4_ERR_FORMAT, "changed"},
    {"a seed of 2^63-1", TRIAL("\"key\":\"00\"," WHOLE ",\"seed\":9223372036854775807,\"replicate\":0"), FP4_ERR_FORMAT, "seed"},
    {"an empty line", "\n", FP4_ERR_FORMAT, "not JSON"}};

bool hostile_results(size_t i, struct hostile_case *out) {
    size_t n = sizeof lines / sizeof *lines;
    if (i != n)
        return text_case(lines, n, i, out);
    *out = (struct hostile_case){"deep nesting", {0}, FP4_ERR_FORMAT, "nested"};
    nested(&out->file, "{\"type\":", '[', DEEP);
    put(&out->file, "\n", 1);
    return true;
}
