/* experiments/source.h: the models that experiments run on, by name, with whatever turns their text into tokens.
 *
 *   smollm2      the pinned GGUF file in the asset cache (ci/fetch)
 *   selftrained  a small Llama trained here on the generated corpus; made once, kept as safetensors in the asset cache
 *   PATH         a folder or GGUF file of the user's
 *   ORG/NAME     a repository of a model hub, with [@REVISION][:FILE] (fp4lab/hub.h): from the cache, else fetched */
#ifndef FP4LAB_EXPERIMENTS_SOURCE_H
#define FP4LAB_EXPERIMENTS_SOURCE_H

#include "experiments/run.h"
#include "fp4lab/model.h"
#include "fp4lab/text.h"

struct source {
    char name[1024];
    char path[1024];
    struct fp4_model *model;
    struct fp4_tokenizer *tokenizer; /* NULL: `corpus` tokenizes */
    struct fp4_corpus *corpus;       /* selftrained only */
    size_t file_bytes;               /* of the weights on disk */
};

/* Whether the source can be had, without loading it: its path ("" for selftrained, which is made when it is opened). FP4_ERR_IO: not there; the message
 * says what to do. */
fp4_status source_find(const char *name, char path[1024]);
/* Its configuration; loads nothing. */
fp4_status source_config(const char *name, struct fp4_config *out);
/* Its weights as a multiple of SmolLM2-135M's, on which the estimates of time were measured. */
double source_scale(const struct fp4_config *c);
/* Opens what turns its text into tokens, without the model; close it as any. */
fp4_status source_words(const char *name, struct source *out);
/* Whether its tokenizer puts tokens in front of a prompt. */
bool source_begins(const struct source *s);
/* Notes what a use of it will need of memory. */
fp4_status source_memory(struct run_plan *plan, const char *name, enum fp4_weights_in weights_in, const struct fp4_use *use);
/* Finds, trains if need be (selftrained: a progress bar on a terminal), loads. */
fp4_status source_open(const char *name, const struct fp4_load *load, struct source *out);
void source_close(struct source *s);
/* What determines the model, for a trial's config: {"file sha256"} or {"settings of the training"}. */
json_t *source_identity(const char *name);
/* Notes a source of the plan in the manifest: as an input, or, one of the profile's that cannot be had (or is left out --offline), as missing;
 * one that --model names must be there. *there: whether it is. */
fp4_status source_plan(struct run_plan *plan, const struct run_options *o, const char *name, bool *there);
/* The next name of --model's comma list; *list moves behind it, to NULL after the last. */
fp4_status source_next(const char **list, char name[1024]);
/* Text → tokens by the source's tokenizer or corpus. */
fp4_status source_tokenize(const struct source *s, const char *text, int32_t **ids, size_t *n);
/* The same with what the tokenizer's own post-processor puts in front (OPT: </s>), as models are prompted. */
fp4_status source_prompt(const struct source *s, const char *text, int32_t **ids, size_t *n);
/* Tokens → text, fp4_alloc'ed, zero-terminated. */
fp4_status source_detokenize(const struct source *s, const int32_t *ids, size_t n, char **text);

#endif
