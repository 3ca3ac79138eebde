/* fp4lab/text.h: tokenizers, the generated corpus, prepared prose, windows over token streams. */
#ifndef FP4LAB_TEXT_H
#define FP4LAB_TEXT_H

#include "fp4lab/base.h"
#include "fp4lab/io.h"

/* ---- tokenizers: BPE over bytes (GPT-2, OPT, Llama 3, SmolLM) or characters (Llama 2, SentencePiece); whole words (WordLevel) ---- */
struct fp4_tokenizer;
/* path: a tokenizer.json, a SentencePiece tokenizer.model, a GGUF file, or a folder that holds, looked for in this order, tokenizer.json,
 * tokenizer.model, vocab.json with merges.txt (and tokenizer_config.json, special_tokens_map.json, added_tokens.json), or one GGUF file; or
 * weights (safetensors, pytorch_model.bin) in such a folder. What the file asks for and is not supported is FP4_ERR_UNSUPPORTED and named. */
fp4_status fp4_tokenizer_open(const char *path, struct fp4_tokenizer **out);
void fp4_tokenizer_close(struct fp4_tokenizer *t);
size_t fp4_tokenizer_vocab(const struct fp4_tokenizer *t);
/* special: text that is a control token becomes it; else it is ordinary text. No begin token is added. *ids is fp4_alloc'ed.
 * Broken UTF-8: each maximal ill-formed part is read as U+FFFD; but a byte-level tokenizer without normalizers whose pattern is GPT-2's,
 * Llama 3's or Qwen 2's keeps the bytes as they are, each a symbol to the pattern. */
fp4_status fp4_tokenize(const struct fp4_tokenizer *t, const char *text, size_t bytes, bool special, int32_t **ids, size_t *n);
/* The bytes of the ids, one after the other (may be broken UTF-8 where the tokenizer is byte-level; zero-terminated beyond *bytes).
 * skip_special: control tokens decode to nothing; ids that the vocabulary leaves out always do. The ids are taken for a whole text: a blank
 * that the tokenizer puts in front of each text is taken away again. */
fp4_status fp4_detokenize(const struct fp4_tokenizer *t, const int32_t *ids, size_t n, bool skip_special, char **text, size_t *bytes);
/* The bytes of each id by itself, one after the other: those of ids[i] end at end[i] [n] and begin at end[i − 1], or 0. All together take as little time
 * and memory as one text, whatever the file's decoders ask for. */
fp4_status fp4_token_texts(const struct fp4_tokenizer *t, const int32_t *ids, size_t n, char **texts, size_t *end);
/* How many ids the file's own post-processor (or add_bos_token, add_eos_token) puts in front of (behind) a text; *ids: they, the tokenizer's own. */
size_t fp4_tokenizer_begin(const struct fp4_tokenizer *t, const int32_t **ids);
size_t fp4_tokenizer_end(const struct fp4_tokenizer *t, const int32_t **ids);
/* Bytes that a token stands for within a text (one for <0xNN>); 0: no such id. */
size_t fp4_token_bytes(const struct fp4_tokenizer *t, int32_t id);
/* Replaces ill-formed UTF-8 by U+FFFD, one for each maximal ill-formed part (Unicode 3.9, table 3-8). */
fp4_status fp4_utf8_repair(const char *text, size_t bytes, char **out, size_t *out_bytes);
/* True when the id is a control token. */
bool fp4_token_is_special(const struct fp4_tokenizer *t, int32_t id);
/* Puts the tokenizer of a model (a GGUF file, a folder, or a file in one) into a checkpoint folder: a folder's tokenizer files as they are, a GGUF file's as a
 * tokenizer.json that gives the same ids, with tokenizer_config.json. folder NULL: only checks that it can be done. *found: false when the source has no
 * tokenizer. FP4_ERR_UNSUPPORTED names what a tokenizer.json has no form for, or what this library does not know. */
fp4_status fp4_tokenizer_export(const char *source, const char *folder, bool *found);
/* tokenizer.json (and tokenizer_config.json) in which a byte is its own id, for nets that read bytes. */
fp4_status fp4_byte_tokenizer_export(const char *folder);

/* ---- the generated corpus ----
 * A seeded hidden-state source over a small vocabulary of words whose exact entropy per token is computable by the
 * forward algorithm, mixed with the patterns of the adaptation tasks. Its own word-level vocabulary: no tokenizer file
 * is needed. */
struct fp4_corpus;
fp4_status fp4_corpus_create(uint32_t seed, struct fp4_corpus **out);
void fp4_corpus_destroy(struct fp4_corpus *c);
size_t fp4_corpus_vocab(const struct fp4_corpus *c);
const char *fp4_corpus_word(const struct fp4_corpus *c, int32_t id); /* with its leading blank where it has one */
/* Tokens of document `index` (any index exists; addressed): lines that end with "\n", then "\n\n". *ids is fp4_alloc'ed. */
fp4_status fp4_corpus_document(const struct fp4_corpus *c, uint64_t index, int32_t **ids, size_t *n);
/* Exact −ln p(id_i | ids before it in its document), nats, under the source for every token: out [n]. Several documents may follow
 * one another. INFINITY for a token that the source cannot produce, and for all after it. */
fp4_status fp4_corpus_nll(const struct fp4_corpus *c, const int32_t *ids, size_t n, double *out);
/* Words of a text in this vocabulary; FP4_ERR_ARG names the first that is not in it. */
fp4_status fp4_corpus_tokenize(const struct fp4_corpus *c, const char *text, int32_t **ids, size_t *n);
/* tokenizer.json (and tokenizer_config.json) of these words, with which Hugging Face's tokenizers gives fp4_corpus_tokenize's ids. */
fp4_status fp4_corpus_tokenizer_export(const struct fp4_corpus *c, const char *folder);
/* The prompts of the adaptation write-up and their answers, in its order; the corpus's vocabulary holds them all. */
enum { FP4_CORPUS_TASKS = 15 };
struct fp4_corpus_task {
    const char *prompt, *expected;
};
extern const struct fp4_corpus_task fp4_corpus_tasks[FP4_CORPUS_TASKS];

/* ---- prose ---- */
/* A text split into documents: [offset[i], offset[i+1]). */
struct fp4_documents {
    char *text;
    size_t bytes, n;
    size_t *offset; /* n + 1 */
    char name[64], source[160], licence[96], sha256[65];
};
/* From the asset cache: "bible" (documents = chapters, without the references), "gcide" (longer sentences),
 * "wikitext2" (raw test split, documents = articles), or a path of a text file (one document). FP4_ERR_IO says what
 * is missing and the command that gets it. */
fp4_status fp4_documents_open(const char *name, struct fp4_documents *out);
void fp4_documents_close(struct fp4_documents *d);
/* Pinned sha256 of a named text; NULL when it has none. */
const char *fp4_documents_pin(const char *name);
/* The asset cache: $FP4LAB_ASSETS, else ~/.cache/fp4lab, there or not. */
fp4_status fp4_asset_folder(char *folder, size_t size);
/* Finds FILE there, or in one of the colon-separated folders of $FP4LAB_ASSETS_FROM; FP4_ERR_IO names the places searched. */
fp4_status fp4_asset_find(const char *file, char *path, size_t size);

/* ---- windows over token streams: how a perplexity is counted ----
 * A stream of n tokens is read in windows. Of each window some tokens are fed and some of these are counted; the mean loss is
 * Σ weight·loss / Σ weight over what is counted, and perplexity its exponential. Index arithmetic only: the loss comes from a callback. */
enum fp4_bos {
    FP4_BOS_NONE,
    FP4_BOS_TEXT,    /* the stream begins with a begin token, once: the caller has put it there, and it is never counted */
    FP4_BOS_WINDOW,  /* one is fed before the tokens of each window, and takes one of its places; all of the window's tokens can be counted */
    FP4_BOS_REPLACE  /* one is fed in place of the first token of each window */
};
enum fp4_counted {
    FP4_COUNT_ALL,  /* every token of every window that has a token before it */
    FP4_COUNT_NEW,  /* of these, the ones that no earlier window has seen */
    FP4_COUNT_HALF  /* the places window/2 + 1 … window − 1, counted from 0 */
};
enum fp4_weighing {
    FP4_WEIGH_TOKENS,   /* every counted token the same */
    FP4_WEIGH_LESS_ONE, /* the mean of a window's tokens times (their number − 1), the first window's times their number */
    FP4_WEIGH_WINDOWS   /* the mean of a window's tokens, every window the same */
};
struct fp4_windows {
    size_t n;              /* tokens of the stream, with its begin token when bos is FP4_BOS_TEXT */
    size_t window, stride; /* places of a window; tokens from one window to the next. stride 0: as many as a window feeds */
    enum fp4_bos bos;
    enum fp4_counted counted;
    enum fp4_weighing weighing;
    bool keep_tail;        /* the last window may be shorter (it ends with the stream), else what does not fill a window is dropped */
};
struct fp4_window {
    size_t first, n;           /* stream tokens [first, first + n) are fed; FP4_BOS_REPLACE: the first as the begin token */
    size_t counted, n_counted; /* stream tokens [counted, counted + n_counted) are counted */
};
/* FP4_ERR_ARG: a window of less than 2 places, a stride that leaves tokens out. */
fp4_status fp4_windows_check(const struct fp4_windows *w);
/* Of a checked plan. With a tail, the first window that reaches the end of the stream is the last. A tail in which nothing is counted is dropped. */
size_t fp4_windows_count(const struct fp4_windows *w);
void fp4_windows_at(const struct fp4_windows *w, size_t i, struct fp4_window *out);

/* The loss of one window: nll [n − 1], nll[j] = −ln p(ids[j + 1] | ids[0 … j]). `window` is its number. */
typedef fp4_status (*fp4_window_loss)(void *context, size_t window, const int32_t *ids, size_t n, double *nll);
struct fp4_window_sum {
    double weight, nll; /* Σ weight, Σ weight·loss */
};
/* What a run over windows adds up to. Units are stretches of as many stream tokens as a window feeds, side by side (a shorter rest belongs to the last): a
 * loss belongs to the unit in which its token lies, whichever window it was counted in. They are the clusters for an interval. */
struct fp4_tally {
    size_t windows, counted, distinct; /* counted: with repetition where windows overlap; distinct: tokens counted at least once */
    struct fp4_window_sum total, *unit, *window; /* unit [n_units], window [windows] */
    size_t n_units;
};
/* The first n_windows windows (0: all) in order. tokens [w->n]; bos_id is used by FP4_BOS_WINDOW and FP4_BOS_REPLACE alone. FP4_ERR_ARG: no window, or
 * what fp4_windows_check says. FP4_ERR_NUMERIC: a loss is not finite. Free with fp4_tally_free, after a failure too. */
fp4_status fp4_windows_run(const struct fp4_windows *w, const int32_t *tokens, int32_t bos_id, size_t n_windows, fp4_window_loss loss, void *context,
                           struct fp4_tally *out);
void fp4_tally_free(struct fp4_tally *t);

/* Perplexity protocols by name: a plan of windows, and how the lines of a text become one text before it is tokenized. */
enum fp4_join { FP4_JOIN_NONE, FP4_JOIN_BLANKS, FP4_JOIN_NEWLINES };
struct fp4_protocol {
    const char *name, *what, *source; /* source: who counts like this, and what is known of it */
    struct fp4_windows plan;          /* n = 0; FP4_BOS_TEXT and FP4_BOS_REPLACE: where the model's configuration adds a begin token */
    enum fp4_join join;
};
const struct fp4_protocol *fp4_protocol_find(const char *name); /* NULL: none of this name */
const struct fp4_protocol *fp4_protocol_at(size_t i);           /* NULL beyond the last */
/* separator.join(lines) with a blank or two newlines as separator, as scripts do with the column `text` of the Hub's WikiText: a line of the text
 * keeps its newline, one of nothing but white space becomes the empty string. FP4_JOIN_NONE copies. *out is fp4_alloc'ed. */
fp4_status fp4_text_join(const char *text, size_t bytes, enum fp4_join join, char **out, size_t *out_bytes);

#endif
