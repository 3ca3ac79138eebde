/* Seeds of tokenizers: tokenizer.json in the forms that Hugging Face's library writes for the models in use, SentencePiece's protobuf, and the older pair of files. */
#include <jansson.h>
#include <stdlib.h>
#include <string.h>

#include "tests/fuzz/fuzz.h"
#include "tests/fuzz/seeds_internal.h"

const char *const seed_merges[SEED_MERGES] = {"\xc4\xa0 t", "h e", "\xc4\xa0t he", "o n", "1 2"};

/* Bytes 33–126, 161–172, 174–255 stand for themselves, the 68 others for U+0100 up. */
static unsigned int letter_of(int byte) {
    unsigned int other = 0x100;
    for (int b = 0; b < 256; b++) {
        bool itself = (b >= 33 && b <= 126) || (b >= 161 && b <= 172) || b >= 174;
        if (b == byte)
            return itself ? (unsigned int)b : other;
        other += !itself;
    }
    return other;
}

char *seed_token(int id, char text[SEED_TOKEN_BYTES]) {
    size_t n = 0;
    if (id == SEED_CONTROL) {
        snprintf(text, SEED_TOKEN_BYTES, "<s>");
        return text;
    }
    if (id >= 256) {
        for (const char *p = seed_merges[id - 256]; *p; p++)
            if (*p != ' ')
                text[n++] = *p;
    } else {
        unsigned int code = letter_of(id);
        if (code >= 0x80)
            text[n++] = (char)(0xc0 | code >> 6);
        text[n++] = (char)(code >= 0x80 ? 0x80 | (code & 0x3f) : code);
    }
    text[n] = 0;
    return text;
}

/* ---- tokenizer.json ---- */

#define BYTE_LEVEL(regex) "{\"type\":\"ByteLevel\",\"add_prefix_space\":false,\"trim_offsets\":true,\"use_regex\":" regex "}"
#define TEMPLATE                                                                                                                    \
    "{\"type\":\"TemplateProcessing\",\"single\":[{\"SpecialToken\":{\"id\":\"<s>\",\"type_id\":0}},{\"Sequence\":{\"id\":\"A\","    \
    "\"type_id\":0}}],\"pair\":[{\"Sequence\":{\"id\":\"A\",\"type_id\":0}},{\"Sequence\":{\"id\":\"B\",\"type_id\":1}}],"           \
    "\"special_tokens\":{\"<s>\":{\"id\":\"<s>\",\"ids\":[261],\"tokens\":[\"<s>\"]}}}"
#define SPLIT                                                                                                                       \
    "{\"type\":\"Split\",\"pattern\":{\"Regex\":\"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\\\\r\\\\n\\\\p{L}\\\\p{N}]?\\\\p{L}+|\\\\p{N}{1,3}"  \
    "| ?[^\\\\s\\\\p{L}\\\\p{N}]+[\\\\r\\\\n]*|\\\\s*[\\\\r\\\\n]+|\\\\s+(?!\\\\S)|\\\\s+\"},\"behavior\":\"Isolated\",\"invert\":false}"

static const struct {
    const char *name, *normalizer, *pre, *post, *decoder;
    bool fallback, ignore_merges, pairs; /* pairs: merges as ["a","b"] */
} forms[] = {
    {"gpt2", "null", BYTE_LEVEL("true"), BYTE_LEVEL("true"), BYTE_LEVEL("true"), false, false, false},
    {"smollm", "null", "{\"type\":\"Sequence\",\"pretokenizers\":[{\"type\":\"Digits\",\"individual_digits\":true}," BYTE_LEVEL("true") "]}", "null",
     BYTE_LEVEL("true"), false, false, true},
    {"opt", "null", BYTE_LEVEL("true"), TEMPLATE, BYTE_LEVEL("true"), false, false, false},
    {"llama3", "null", "{\"type\":\"Sequence\",\"pretokenizers\":[" SPLIT "," BYTE_LEVEL("false") "]}",
     "{\"type\":\"Sequence\",\"processors\":[" BYTE_LEVEL("true") "," TEMPLATE "]}", BYTE_LEVEL("true"), false, true, true},
    {"llama2",
     "{\"type\":\"Sequence\",\"normalizers\":[{\"type\":\"Prepend\",\"prepend\":\"\xe2\x96\x81\"},{\"type\":\"Replace\",\"pattern\":{\"String\":\" "
     "\"},\"content\":\"\xe2\x96\x81\"}]}",
     "null", TEMPLATE,
     "{\"type\":\"Sequence\",\"decoders\":[{\"type\":\"Replace\",\"pattern\":{\"String\":\"\xe2\x96\x81\"},\"content\":\" \"},{\"type\":\"ByteFallback\"},"
     "{\"type\":\"Fuse\"},{\"type\":\"Strip\",\"content\":\" \",\"start\":1,\"stop\":0}]}",
     true, false, true},
    {"metaspace", "{\"type\":\"NFC\"}", "{\"type\":\"Metaspace\",\"replacement\":\"\xe2\x96\x81\",\"prepend_scheme\":\"first\",\"split\":false}", "null",
     "{\"type\":\"Metaspace\",\"replacement\":\"\xe2\x96\x81\",\"prepend_scheme\":\"first\",\"split\":false}", true, false, false}};

/* Pieces of the byte-fallback kind: <unk>, <0x00> … <0xFF>, a few texts and their merges. */
static const char *const fallback_pieces[] = {"\xe2\x96\x81", "t", "h", "e", "a", "\xe2\x96\x81t", "he", "\xe2\x96\x81the"};
static const char *const fallback_merges[][2] = {{"\xe2\x96\x81", "t"}, {"h", "e"}, {"\xe2\x96\x81t", "he"}};
enum { PIECES = sizeof fallback_pieces / sizeof *fallback_pieces, FALLBACK_MERGES = 3 };

static json_t *byte_vocabulary(void) {
    json_t *vocab = json_object();
    char text[SEED_TOKEN_BYTES];
    for (int id = 0; id < SEED_VOCAB; id++)
        json_object_set_new(vocab, seed_token(id, text), json_integer(id));
    return vocab;
}

static json_t *fallback_vocabulary(void) {
    json_t *vocab = json_pack("{s:i,s:i}", "<unk>", 0, "<s>", 1);
    for (int byte = 0; byte < 256; byte++) {
        char text[8];
        snprintf(text, sizeof text, "<0x%02X>", (unsigned int)byte);
        json_object_set_new(vocab, text, json_integer(2 + byte));
    }
    for (int i = 0; i < PIECES; i++)
        json_object_set_new(vocab, fallback_pieces[i], json_integer(258 + i));
    return vocab;
}

static json_t *merges(bool fallback, bool pairs) {
    json_t *list = json_array();
    for (int i = 0; i < (fallback ? FALLBACK_MERGES : SEED_MERGES); i++) {
        char text[2 * SEED_TOKEN_BYTES];
        if (fallback)
            snprintf(text, sizeof text, "%s %s", fallback_merges[i][0], fallback_merges[i][1]);
        else
            snprintf(text, sizeof text, "%s", seed_merges[i]);
        char *blank = strchr(text, ' ');
        if (pairs) {
            *blank = 0;
            json_array_append_new(list, json_pack("[s,s]", text, blank + 1));
        } else {
            json_array_append_new(list, json_string(text));
        }
    }
    return list;
}

bool seed_tokenizer_json(size_t i, struct bytes *out, char name[64]) {
    if (i >= sizeof forms / sizeof *forms)
        return false;
    bool fallback = forms[i].fallback;
    snprintf(name, 64, "%s.json", forms[i].name);
    json_t *root = json_pack(
        "{s:s,s:n,s:n,s:[{s:i,s:s,s:b,s:b,s:b,s:b,s:b}],s:o,s:o,s:o,s:o,s:{s:s,s:n,s:o?,s:n,s:n,s:b,s:b,s:b,s:o,s:o}}", "version", "1.0",
        "truncation", "padding", "added_tokens", "id", fallback ? 1 : SEED_CONTROL, "content", "<s>", "single_word", 0, "lstrip", 0, "rstrip", 0,
        "normalized", 0, "special", 1, "normalizer", json_loads(forms[i].normalizer, JSON_DECODE_ANY, NULL), "pre_tokenizer",
        json_loads(forms[i].pre, JSON_DECODE_ANY, NULL), "post_processor", json_loads(forms[i].post, JSON_DECODE_ANY, NULL), "decoder",
        json_loads(forms[i].decoder, JSON_DECODE_ANY, NULL), "model", "type", "BPE", "dropout", "unk_token",
        fallback ? json_string("<unk>") : json_null(), "continuing_subword_prefix", "end_of_word_suffix", "fuse_unk", (int)fallback, "byte_fallback",
        (int)fallback, "ignore_merges", (int)forms[i].ignore_merges, "vocab", fallback ? fallback_vocabulary() : byte_vocabulary(), "merges",
        merges(fallback, forms[i].pairs));
    char *text = root ? json_dumps(root, JSON_COMPACT) : NULL;
    json_decref(root);
    *out = (struct bytes){0};
    if (text)
        put(out, text, strlen(text));
    free(text);
    return true;
}

/* ---- tokenizer.model: protobuf (sentencepiece_model.proto) ---- */

static void put_varint(struct bytes *b, uint64_t value) {
    for (; value >= 0x80; value >>= 7)
        put(b, &(uint8_t){(uint8_t)(value | 0x80)}, 1);
    put(b, &(uint8_t){(uint8_t)value}, 1);
}

static void put_field(struct bytes *b, unsigned int field, const void *data, size_t n) {
    put_varint(b, field << 3 | 2);
    put_varint(b, n);
    put(b, data, n);
}

static void put_number(struct bytes *b, unsigned int field, uint64_t value) {
    put_varint(b, field << 3);
    put_varint(b, value);
}

enum piece_type { PIECE_NORMAL = 1, PIECE_UNKNOWN = 2, PIECE_CONTROL = 3, PIECE_BYTE = 6 };

static void put_piece(struct bytes *b, const char *text, float score, enum piece_type type) {
    struct bytes piece = {0};
    put_field(&piece, 1, text, strlen(text));
    put_varint(&piece, 2 << 3 | 5);
    put(&piece, &score, 4);
    if (type != PIECE_NORMAL)
        put_number(&piece, 3, type);
    put_field(b, 1, piece.data, piece.n);
    free(piece.data);
}

bool seed_tokenizer_model(size_t i, struct bytes *out, char name[64]) {
    if (i >= 2) /* BPE, and the unigram kind */
        return false;
    struct bytes trainer = {0}, normalizer = {0};
    *out = (struct bytes){0};
    snprintf(name, 64, "%s.model", i == 0 ? "bpe" : "unigram");
    put_piece(out, "<unk>", 0, PIECE_UNKNOWN);
    put_piece(out, "<s>", 0, PIECE_CONTROL);
    put_piece(out, "</s>", 0, PIECE_CONTROL);
    for (int byte = 0; byte < 256; byte++) {
        char text[8];
        snprintf(text, sizeof text, "<0x%02X>", (unsigned int)byte);
        put_piece(out, text, 0, PIECE_BYTE);
    }
    for (int k = PIECES - 1; k >= 0; k--)
        put_piece(out, fallback_pieces[k], (float)(k - PIECES), PIECE_NORMAL);
    put_number(&trainer, 3, i == 0 ? 2 : 1); /* model_type */
    put_number(&trainer, 4, 3 + 256 + PIECES);
    put_number(&trainer, 35, 1); /* byte_fallback */
    put_number(&trainer, 40, 0);
    put_number(&trainer, 41, 1);
    put_number(&trainer, 42, 2);
    put_field(out, 2, trainer.data, trainer.n);
    put_field(&normalizer, 1, "identity", 8);
    put_number(&normalizer, 3, 1); /* add_dummy_prefix */
    put_number(&normalizer, 4, 0); /* remove_extra_whitespaces */
    put_number(&normalizer, 5, 1); /* escape_whitespaces */
    put_field(out, 3, normalizer.data, normalizer.n);
    free(trainer.data);
    free(normalizer.data);
    return true;
}

/* ---- vocab.json, merges.txt, tokenizer_config.json, special_tokens_map.json, added_tokens.json ---- */

static void put_text(struct bytes *b, const char *text) { put(b, text, strlen(text)); }

bool seed_tokenizer_pair(size_t i, struct bytes *out, char name[64]) {
    static const char *const beside[][3] = {
        {"{\"add_bos_token\":true,\"add_prefix_space\":false,\"bos_token\":{\"content\":\"<s>\",\"lstrip\":false,\"rstrip\":true,\"single_word\":false},\"unk_token\":\"<s>\"}",
         "{\"eos_token\":\"<s>\",\"additional_special_tokens\":[\"<s>\"]}"},
        {"{\"add_prefix_space\":true,\"add_bos_token\":false}"},
        {"{\"tokenizer_class\":\"GPT2Tokenizer\",\"added_tokens_decoder\":{\"90\":{\"content\":\"<i>\",\"special\":true,\"lstrip\":true}}}", "{\"eos_token\":\"<j>\"}", "{\"<j>\":91,\"b c\":92}"},
        {NULL}};
    if (i >= sizeof beside / sizeof *beside)
        return false;
    const char separator = FUZZ_SEPARATOR;
    *out = (struct bytes){0};
    snprintf(name, 64, "pair-%zu", i);
    json_t *vocab = json_object();
    for (int id = 0; id < SEED_VOCAB; id++) {
        char text[SEED_TOKEN_BYTES];
        json_object_set_new(vocab, seed_token(id, text), json_integer(id));
    }
    char *written = json_dumps(vocab, JSON_COMPACT | JSON_ENSURE_ASCII);
    json_decref(vocab);
    put_text(out, written);
    free(written);
    put(out, &separator, 1);
    put_text(out, "#version: 0.2\n");
    for (int k = 0; k < SEED_MERGES; k++) {
        put_text(out, seed_merges[k]);
        put_text(out, k % 2 ? "\n" : "\r\n");
    }
    for (int k = 0; k < 3 && beside[i][k]; k++) {
        put(out, &separator, 1);
        put_text(out, beside[i][k]);
    }
    return true;
}
