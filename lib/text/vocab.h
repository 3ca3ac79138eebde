/* lib/text/vocab.h: a vocabulary on its way from one kind of file into another. Unlike a tokenizer it keeps what files say and how they say it, and
 * computes no ids. Internal. */
#ifndef FP4LAB_TEXT_VOCAB_H
#define FP4LAB_TEXT_VOCAB_H

#include <jansson.h>

#include "fp4lab/text.h"
#include "lib/io/gguf_write.h"

/* tokenizer.ggml.token_type */
enum vocab_type { VOCAB_NORMAL = 1, VOCAB_UNKNOWN = 2, VOCAB_CONTROL = 3, VOCAB_USER_DEFINED = 4, VOCAB_UNUSED = 5, VOCAB_BYTE = 6 };
/* BYTE_LEVEL: BPE over GPT-2's byte alphabet (GGUF's "gpt2"). PIECES: BPE over characters with U+2581 for blanks and bytes as <0xNN> (GGUF's "llama"). */
enum vocab_kind { VOCAB_BYTE_LEVEL, VOCAB_PIECES };
enum vocab_id { VOCAB_BOS, VOCAB_EOS, VOCAB_UNK, VOCAB_PAD, VOCAB_IDS };

struct vocab_token {
    const char *text; /* NULL: no token has this id */
    size_t bytes;
    int32_t type;
    float score;      /* PIECES: of two neighbouring pairs the one whose merged token scores more is merged first */
};
struct vocab_merge {
    const char *left, *right;
    size_t left_bytes, right_bytes;
};
struct vocab {
    enum vocab_kind kind;
    const char *pre; /* BYTE_LEVEL: GGUF's name of the pre-tokenizer */
    struct vocab_token *tokens;
    size_t n_tokens;
    struct vocab_merge *merges;
    size_t n_merges;
    int id[VOCAB_IDS]; /* −1: none */
    bool add_bos, add_prefix;
    const char *chat_template; /* NULL: none */
    json_t *root;       /* of a tokenizer.json: what the strings belong to; or */
    struct fp4_map map; /* of a tokenizer.model */
};

/* From an opened GGUF file, which must outlive *out; from a tokenizer.json; from a SentencePiece model. FP4_ERR_UNSUPPORTED names what cannot be carried over. Free with vocab_free,
 * after a failure too. */
fp4_status vocab_from_gguf(const char *path, const struct fp4_checkpoint *c, struct vocab *out);
fp4_status vocab_from_json(const char *path, struct vocab *out);
fp4_status vocab_from_model(const char *path, struct vocab *out);
void vocab_free(struct vocab *v);

/* The document of a tokenizer.json, a new reference; its ids are equal to the source's. */
fp4_status vocab_to_json(const char *path, const struct vocab *v, json_t **out);
/* tokenizer.ggml.*, with n_vocab tokens: an id without a token becomes an unused one, as converters to GGUF fill up a padded vocabulary. */
fp4_status vocab_to_gguf(const struct vocab *v, size_t n_vocab, struct gguf_pairs *pairs);
/* All of it for a model of this configuration from where its tokenizer is: a GGUF file's keys as they are, or a tokenizer.json or tokenizer.model in the
 * folder. */
fp4_status vocab_pairs(const char *source, const struct fp4_config *config, struct gguf_pairs *pairs);

/* Known pre-tokenizers of byte-level vocabularies: by GGUF's name, new reference, NULL when it is not known; and the other way. */
json_t *vocab_pre_tokenizer(const char *pre);
const char *vocab_pre_name(const json_t *pre_tokenizer);
/* Whether a piece that is a token is taken whole (tokenizer.json's ignore_merges, which GGUF has in the name). */
bool vocab_pre_ignores_merges(const char *pre);

/* Merges of PIECES from scores, as sentencepiece's order of merging has them. */
fp4_status vocab_merges_from_scores(struct vocab *v);
/* Scores from merges: minus the first rank that makes a token. */
fp4_status vocab_scores_from_merges(struct vocab *v);

#endif
