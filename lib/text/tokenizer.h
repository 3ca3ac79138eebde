/* lib/text/tokenizer.h: the inside of a BPE tokenizer, byte-level or over characters. Internal.
 *
 * A text goes through: added tokens that stand for themselves in the raw text; normalizers; added tokens of the normalized
 * text; pre-tokenizers, which cut it into pieces; merges within each piece (Hugging Face's tokenizers library defines the
 * order and each step). Every reader of a file fills the steps of a tokenizer and hands its vocabulary to tokenizer_build. */
#ifndef FP4LAB_TEXT_TOKENIZER_H
#define FP4LAB_TEXT_TOKENIZER_H

#include "fp4lab/text.h"
#include "lib/text/pattern.h"
#include "lib/text/pieces.h"

/* A tokenizer.json of 256000 tokens has 35 MB. */
#define TOKENIZER_FILE_MAX ((size_t)256 << 20)

/* control: from text only in mode special. added: always from its own text. */
enum token_kind { TOKEN_ABSENT, TOKEN_NORMAL, TOKEN_ADDED, TOKEN_CONTROL };

struct token {
    size_t text, decoded;  /* offsets in `bytes` of the file's spelling and of what it stands for */
    uint32_t text_bytes, length;
    uint8_t kind;
    bool in_model; /* merges can make it; else it is an added token alone */
};

struct merge {
    uint64_t pair; /* left id ≪ 32 | right id; MERGE_EMPTY: free slot */
    uint32_t rank;
    int32_t id; /* what the pair becomes */
};
#define MERGE_EMPTY UINT64_MAX

/* A character and its symbol: open addressing, code UTF8_BROKEN for a free slot. */
struct character {
    uint32_t code;
    int32_t id;
};

struct added {
    const char *text; /* as it is looked for: normalized where it is looked for in normalized text */
    size_t bytes;
    int32_t id, prefix; /* prefix: index of the longest other entry that this one begins with; −1: none */
    bool control, lstrip, rstrip, single_word;
};

/* Sorted by text. */
struct added_set {
    struct added *list;
    size_t n;
    char *text; /* owns the texts */
    bool first[256]; /* whether one begins with this byte */
};

enum step_kind {
    /* normalizers */
    STEP_PREPEND, STEP_REPLACE, STEP_COMPOSE, STEP_LOWERCASE, STEP_STRIP, STEP_SQUEEZE,
    /* pre-tokenizers */
    STEP_SPLIT, STEP_DIGITS, STEP_WHITE_SPACE, STEP_METASPACE, STEP_PREFIX_SPACE,
    /* decoders, with STEP_REPLACE, STEP_STRIP and STEP_METASPACE */
    STEP_BYTE_FALLBACK, STEP_FUSE
};
enum split_behavior { SPLIT_ISOLATED, SPLIT_REMOVED, SPLIT_WITH_PREVIOUS, SPLIT_WITH_NEXT, SPLIT_CONTIGUOUS };
enum prepend_scheme { PREPEND_ALWAYS, PREPEND_FIRST, PREPEND_NEVER };

struct step {
    enum step_kind kind;
    char *content; /* of Prepend, Replace, Strip (decoder); Metaspace's replacement */
    size_t content_bytes;
    struct pattern *pattern;
    enum split_behavior behavior;
    enum prepend_scheme prepend;
    bool invert, split, compatible, decompose; /* Split; Metaspace; which of NFC NFD NFKC NFKD */
    bool individual;                           /* Digits */
    size_t left, right;                        /* Strip */
};
#define STEPS_MAX 32
struct steps {
    struct step list[STEPS_MAX];
    size_t n;
};

struct fp4_tokenizer {
    char *name; /* of its file */
    size_t n_vocab;
    struct token *tokens; /* [n_vocab] */
    char *bytes;
    uint32_t *slots; /* ids by text: id + 1, open addressing */
    size_t slot_mask;
    struct merge *merges; /* open addressing */
    size_t merge_mask;    /* slots − 1 */

    bool byte_level;        /* symbols are bytes, else characters */
    int32_t byte_id[256];   /* byte_level: of the byte; else of <0xNN>; −1: none */
    uint16_t letter[256];   /* the byte alphabet: code point of each byte */
    struct character *characters;
    size_t character_mask;
    int32_t ascii[128]; /* the same, direct */
    uint32_t *hidden;   /* symbols n_vocab … : characters that merge and are no tokens */
    size_t n_hidden;
    bool byte_fallback, fuse_unknown, ignore_merges;
    bool words;        /* WordLevel: a piece is a token or the unknown token; an error where there is none */
    bool late_unknown; /* SentencePiece: what stays unknown is decided after merging */
    int32_t unknown;   /* −1: a character without a symbol is dropped */
    bool cut_spaces;   /* no token holds U+2581 after another character: cut before it */

    struct steps normalizers, splits, decoders;
    enum pieces_kind pieces; /* of the last cut, done by hand */
    struct added_set raw, normalized;
    struct pattern *word; /* one character of \w, where an added token wants whole words */
    int32_t *begin, *end; /* ids around a text */
    size_t n_begin, n_end;
    uint8_t *classes; /* of pieces.h */
};

/* What a file says, as borrowed strings; NULL text: no such id. */
struct source_token {
    const char *text;
    size_t bytes;
    enum token_kind kind;
    bool in_model;
};
struct source_merge {
    const char *left, *right;
    size_t left_bytes, right_bytes;
};
struct source_added {
    int32_t id;
    bool normalized, lstrip, rstrip, single_word;
};
struct tokenizer_source {
    const char *path;
    size_t n_tokens, n_merges, n_added;
    struct source_token *tokens;
    struct source_merge *merges;
    struct source_added *added; /* every token of kind added or control */
    const float *scores;        /* [n_tokens] SentencePiece: merges follow from these; else NULL */
};
/* GPT-2's byte alphabet: the code point that stands for each byte. */
void tokenizer_alphabet(uint16_t letter[256]);
/* The byte that the text <0xNN> stands for; −1: another text. */
int tokenizer_byte(const char *text, size_t n);
/* Completes t, whose steps and options the reader has set. */
fp4_status tokenizer_build(struct fp4_tokenizer *t, const struct tokenizer_source *s);
/* The merges of a SentencePiece vocabulary, and its hidden characters. */
fp4_status tokenizer_score_merges(struct fp4_tokenizer *t, const struct tokenizer_source *s);
fp4_status tokenizer_add_merge(struct fp4_tokenizer *t, const struct tokenizer_source *s, size_t number, int32_t left, int32_t right, uint32_t rank,
                               int32_t whole);
fp4_status tokenizer_merge_table(struct fp4_tokenizer *t, size_t n);
fp4_status tokenizer_add_character(struct fp4_tokenizer *t, uint32_t code, int32_t id);
/* Cuts "a b" at its only blank. */
fp4_status tokenizer_split_merge(const char *path, size_t rank, const char *text, size_t bytes, struct source_merge *out);
/* Lists the control and added tokens of s as such, found in the raw text. */
fp4_status tokenizer_control_tokens(struct tokenizer_source *s);
/* The steps and decoders that SentencePiece's treatment of blanks comes to. */
fp4_status tokenizer_space_steps(struct fp4_tokenizer *t, const char *path, bool prefix, bool squeeze);
void tokenizer_source_free(struct tokenizer_source *s);
/* What a SentencePiece model holds, for writing it in another form. Texts are borrowed from `data`. Free *s and *scores after a failure too. */
struct tokenizer_model_facts {
    int32_t unknown, begin;
    bool byte_fallback, dummy_prefix, squeeze; /* squeeze: blanks in a row become one */
};
fp4_status tokenizer_model_pieces(const char *name, const uint8_t *data, size_t bytes, struct tokenizer_source *s, float **scores, struct tokenizer_model_facts *facts);

/* A tokenizer from a file's bytes, whatever kind of file they are; `name` stands for it in messages. */
fp4_status tokenizer_parse(const char *name, const void *data, size_t size, struct fp4_tokenizer **out);
/* Readers of one kind each, into an empty t. */
fp4_status tokenizer_read_json(const char *name, const char *data, size_t bytes, struct fp4_tokenizer *t);
fp4_status tokenizer_read_model(const char *name, const uint8_t *data, size_t bytes, struct fp4_tokenizer *t);
fp4_status tokenizer_read_gguf(const char *name, const uint8_t *data, size_t bytes, struct fp4_tokenizer *t);
/* The older form: bytes of vocab.json, merges.txt, and what may stand beside them: tokenizer_config.json, special_tokens_map.json and
 * added_tokens.json (text NULL: absent). */
struct tokenizer_part {
    const char *text;
    size_t n;
};
struct tokenizer_pair {
    struct tokenizer_part vocab, merges, config, map, added;
};
fp4_status tokenizer_parse_pair(const char *folder, const struct tokenizer_pair *pair, struct fp4_tokenizer **out);
/* From a folder. */
fp4_status tokenizer_open_pair(const char *folder, struct fp4_tokenizer *t);
/* What tokenizer_config.json and added_tokens.json beside a tokenizer.model say: of the begin token, and of tokens that it has not. */
fp4_status tokenizer_open_model_config(const char *folder, struct fp4_tokenizer *t);
/* An empty tokenizer; the end of making it: *out, or closed after a failure. */
fp4_status tokenizer_create(const char *name, struct fp4_tokenizer **t);
fp4_status tokenizer_finish(fp4_status status, struct fp4_tokenizer *t, struct fp4_tokenizer **out);

/* Id of a text; model: among what the model knows alone. −1: none. */
int32_t tokenizer_find(const struct fp4_tokenizer *t, const char *text, size_t bytes, bool model);
/* The same with the hash at hand, which can be taken of a text piece by piece, beginning with HASH_START. */
#define HASH_START 0xCBF29CE484222325u
uint64_t tokenizer_hash(uint64_t h, const char *s, size_t n);
int32_t tokenizer_find_hashed(const struct fp4_tokenizer *t, uint64_t h, const char *text, size_t bytes, bool model);
/* What the pair becomes; NULL: nothing. */
const struct merge *tokenizer_merge(const struct fp4_tokenizer *t, int32_t left, int32_t right);
/* Symbol of a character; −1: none. */
int32_t tokenizer_character(const struct fp4_tokenizer *t, uint32_t code);
/* Adds a step; content is copied. The pattern is the step's own from then on. */
fp4_status steps_add(struct steps *s, const char *path, const struct step *step);
void steps_drop_last(struct steps *s);
void steps_free(struct steps *s);
fp4_status tokenizer_use_ids(struct fp4_tokenizer *t, const char *path, const int32_t *begin, size_t n_begin, const int32_t *end, size_t n_end);

/* ---- the way of a text ---- */

struct bytes {
    char *data;
    size_t n, room;
};
fp4_status bytes_add(struct bytes *b, const char *data, size_t n);

/* A stretch of a text, or an added token. */
struct span {
    size_t start, stop;
    int32_t id; /* −1: text */
    bool first; /* the text begins with it */
};
struct spans {
    struct span *list;
    size_t n, room;
};
fp4_status spans_add(struct spans *s, struct span span);

/* Cuts span `whole` of the text at the added tokens. */
fp4_status added_cut(const struct fp4_tokenizer *t, const struct added_set *set, const char *text, struct span whole, bool special, struct spans *out);
fp4_status added_build(struct fp4_tokenizer *t, const struct tokenizer_source *s);
void added_free(struct added_set *set);
/* Runs the normalizers over n bytes of text; the result is appended to out. */
fp4_status normalize(const struct steps *steps, const uint8_t *classes, const char *text, size_t n, struct bytes *out);
/* Runs the cutting steps: *text and *spans are replaced; *owned is the text where it is a new one. */
fp4_status split_spans(const struct fp4_tokenizer *t, const char **text, struct bytes *owned, struct spans *spans);

#endif
