/* The index of a sharded checkpoint, as Hugging Face's tools write it (model.safetensors.index.json, pytorch_model.bin.index.json):
 * {"metadata": ..., "weight_map": {tensor: file}}. */
#ifndef FP4LAB_IO_SHARDS_H
#define FP4LAB_IO_SHARDS_H

#include <jansson.h>

#include "fp4lab/base.h"

struct io_shards {
    json_t *of_tensor;  /* tensor's name to its shard's */
    const char **names; /* [n], at least one: the shards, sorted, each once; files beside the index, with no way out of its folder */
    size_t n;
};
/* Release with io_shards_free, also after an error. */
fp4_status io_shards_parse(const char *name, const void *bytes, size_t size, struct io_shards *out);
/* The same of a file. */
fp4_status io_shards_open(const char *path, struct io_shards *out);
void io_shards_free(struct io_shards *shards);

#endif
