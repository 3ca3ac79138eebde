/* lib/text/tokenizer.h: the inside of a byte-level BPE tokenizer. Internal. */
#ifndef FP4LAB_TEXT_TOKENIZER_H
#define FP4LAB_TEXT_TOKENIZER_H

#include "fp4lab/text.h"

/* control: from text only in mode special. added: always from its own text, before the pattern. */
enum token_kind { TOKEN_ABSENT, TOKEN_NORMAL, TOKEN_ADDED, TOKEN_CONTROL };

struct token {
    size_t offset; /* of its decoded bytes in `bytes` */
    uint32_t length;
    uint8_t kind;
};

struct merge {
    uint64_t pair; /* left id ≪ 32 | right id; MERGE_EMPTY: free slot */
    uint32_t rank;
    int32_t id; /* what the pair becomes */
};
#define MERGE_EMPTY UINT64_MAX

struct fp4_tokenizer {
    size_t n_vocab;
    struct token *tokens;  /* [n_vocab] */
    char *bytes;           /* decoded bytes of all tokens */
    size_t longest;        /* token, in bytes */
    int32_t byte_id[256];  /* −1: no token, the byte is dropped */
    struct merge *merges;  /* open addressing */
    size_t merge_mask;     /* slots − 1 */
    int32_t *added;        /* ids of kind added and control, longest text first */
    size_t n_added;
    bool added_first[256]; /* whether one begins with this byte */
    bool digits;
    uint8_t *classes; /* of pieces.h */
};

/* What a file says, as borrowed strings in the file's byte alphabet; NULL text: no such id. */
struct source_token {
    const char *text;
    size_t bytes;
    enum token_kind kind;
};
struct source_merge {
    const char *left, *right;
    size_t left_bytes, right_bytes;
};
struct tokenizer_source {
    const char *path;
    size_t n_tokens, n_merges;
    struct source_token *tokens;
    struct source_merge *merges;
    bool digits;
    bool unknown; /* the file wants a token for what has none */
};
fp4_status tokenizer_build(const struct tokenizer_source *s, struct fp4_tokenizer **out);
/* Cuts "a b" at its only blank. */
fp4_status tokenizer_split_merge(const char *path, size_t rank, const char *text, size_t bytes, struct source_merge *out);

/* A tokenizer from a file's bytes, whatever kind of file they are; `path` stands for it in messages. */
fp4_status tokenizer_parse(const char *path, const void *bytes, size_t size, struct fp4_tokenizer **out);
fp4_status tokenizer_from_json(const char *path, const void *bytes, size_t size, struct fp4_tokenizer **out);
fp4_status tokenizer_from_gguf(const char *path, const void *bytes, size_t size, struct fp4_tokenizer **out);

/* What the pair becomes; NULL: nothing. */
const struct merge *tokenizer_merge(const struct fp4_tokenizer *t, int32_t left, int32_t right);

#endif
