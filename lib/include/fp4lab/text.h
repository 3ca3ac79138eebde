/* fp4lab/text.h: tokenizers, the generated corpus, prepared prose, windows over token streams. */
#ifndef FP4LAB_TEXT_H
#define FP4LAB_TEXT_H

#include "fp4lab/base.h"
#include "fp4lab/io.h"

/* ---- tokenizers: byte-level BPE (GPT-2's kind, digits split or not) ---- */
struct fp4_tokenizer;
/* path: a GGUF file, a tokenizer.json, or a folder that holds one. What the file asks for and is not supported is
 * FP4_ERR_UNSUPPORTED and named. */
fp4_status fp4_tokenizer_open(const char *path, struct fp4_tokenizer **out);
void fp4_tokenizer_close(struct fp4_tokenizer *t);
size_t fp4_tokenizer_vocab(const struct fp4_tokenizer *t);
/* special: text that is a control token becomes it; else it is ordinary text. No begin token is added. *ids is
 * fp4_alloc'ed. */
fp4_status fp4_tokenize(const struct fp4_tokenizer *t, const char *text, size_t bytes, bool special, int32_t **ids, size_t *n);
/* The bytes of the ids, one after the other (may be broken UTF-8; zero-terminated beyond *bytes). skip_special: control tokens decode to nothing. */
fp4_status fp4_detokenize(const struct fp4_tokenizer *t, const int32_t *ids, size_t n, bool skip_special, char **text, size_t *bytes);
/* Replaces ill-formed UTF-8 by U+FFFD, one for each maximal ill-formed part (Unicode 3.9, table 3-8). */
fp4_status fp4_utf8_repair(const char *text, size_t bytes, char **out, size_t *out_bytes);
/* True when the id is a control token. */
bool fp4_token_is_special(const struct fp4_tokenizer *t, int32_t id);

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
/* The corpus's counterparts of the 15 adaptation prompts: prompt, expected continuation. */
size_t fp4_corpus_tasks(const struct fp4_corpus *c);
void fp4_corpus_task(const struct fp4_corpus *c, size_t i, const char **prompt, const char **expected);

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
/* $FP4LAB_ASSETS, else ~/.cache/fp4lab; $FP4LAB_ASSETS_FROM (colon-separated folders) is searched after it.
 * Finds FILE; FP4_ERR_IO names the places searched. */
fp4_status fp4_asset_find(const char *file, char *path, size_t size);

#endif
