/* experiments/selftrain.h: the suite's own small model, so that every experiment runs with no network and no downloaded weights. */
#ifndef FP4LAB_EXPERIMENTS_SELFTRAIN_H
#define FP4LAB_EXPERIMENTS_SELFTRAIN_H

#include <jansson.h>

#include "fp4lab/model.h"
#include "fp4lab/text.h"

enum { SELFTRAIN_CORPUS_SEED = 1 };

struct selftrain_shape {
    size_t batch, context, steps, warmup, n_embd, n_layer, n_head, n_kv_head, n_ff;
    uint32_t seed;
};
extern const struct selftrain_shape selftrain_default;

struct fp4_config selftrain_config(const struct fp4_corpus *corpus);
/* Everything that determines the weights: shape, data, schedule, the BLAS core. New reference. */
json_t *selftrain_settings(void);
/* The folder of the trained model, training it first when it is not there (its name carries the hash of the settings). */
fp4_status selftrain_folder(const struct fp4_corpus *corpus, char path[1024]);
/* Where it is, or will be; trains nothing. */
fp4_status selftrain_find(const struct selftrain_shape *s, char path[1024], bool *there);
/* As selftrain_folder, of another shape. */
fp4_status selftrain_folder_of(const struct selftrain_shape *s, const struct fp4_corpus *corpus, char path[1024]);
/* Tokens of consecutive documents from `first_document` on, cut to n. ids [n]; document [n] (may be NULL) numbers each token's. */
fp4_status selftrain_stream(const struct fp4_corpus *corpus, uint64_t first_document, size_t n, int32_t *ids, size_t *document);
/* First document of held-out data: training uses those from 0 on. */
extern const uint64_t selftrain_held_out;

#endif
