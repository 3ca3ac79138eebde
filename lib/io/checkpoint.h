/* What the readers of lib/io share: the opened container, a pool for names, the table of element types. */
#ifndef FP4LAB_IO_CHECKPOINT_H
#define FP4LAB_IO_CHECKPOINT_H

#include <jansson.h>

#include "fp4lab/io.h"

/* Copies of strings from files, freed together. Zero-initialised is empty. */
struct io_pool {
    struct io_pool_chunk *chunks;
};
/* A zero-terminated copy of n bytes. */
fp4_status io_pool_copy(struct io_pool *pool, const void *bytes, size_t n, const char **out);
void io_pool_free(struct io_pool *pool);

struct io_file {
    char *path;
    struct fp4_map map;
    bool borrowed; /* the bytes are the caller's */
};

struct fp4_checkpoint {
    const char *kind;
    struct io_file *files;
    size_t n_files;
    struct fp4_stored *tensors;
    size_t n_tensors;
    const struct fp4_stored **by_name; /* sorted */
    struct io_pool pool;
    struct gguf *gguf; /* NULL for other kinds */
};

/* The same as fp4_checkpoint_open of a file with these bytes; `name` stands for it in messages, and the bytes must outlive *out. */
fp4_status io_checkpoint_parse(const char *name, const void *bytes, size_t size, struct fp4_checkpoint **out);

/* Makes room for n more tensors; their storage moves. */
fp4_status io_reserve_tensors(struct fp4_checkpoint *c, size_t n);
/* Appends the tensors of a mapped file to c. */
fp4_status io_safetensors_read(struct fp4_checkpoint *c, const struct io_file *file);
fp4_status io_gguf_read(struct fp4_checkpoint *c, const struct io_file *file);
fp4_status io_torch_read(struct fp4_checkpoint *c, const struct io_file *file);
/* The form of before PyTorch 1.6, which is not read. */
bool io_is_torch_legacy(const struct fp4_map *map);
fp4_status io_torch_legacy_refuse(const struct io_file *file);
bool io_is_zip(const struct fp4_map *map);
void io_gguf_free(struct gguf *g);
bool io_is_gguf(const struct fp4_map *map);

/* Element types: block_bytes bytes (0: not converted) hold block elements; 1 but for GGUF's block types. */
struct io_dtype {
    const char *name;
    size_t block, block_bytes;
};
const struct io_dtype *io_dtype_info(enum fp4_dtype t);

/* A little-endian number of at most 8 bytes. */
static inline uint64_t io_little_endian(const uint8_t *p, size_t bytes) {
    uint64_t value = 0;
    for (size_t i = bytes; i-- > 0;)
        value = value << 8 | p[i];
    return value;
}

/* Well-formed UTF-8 without a zero byte. */
bool io_is_name(const void *bytes, size_t n);
/* JSON of a file's bytes: duplicates, broken UTF-8, trailing text and nesting beyond Jansson's limit are errors that name the
 * file and the offset (counted from `origin`). Release with json_decref. */
fp4_status io_json_parse(const char *path, size_t origin, const void *bytes, size_t n, json_t **out);
/* A whole file, at most `limit` bytes. Integers become reals: transformers writes a model_max_length of 10^30 where a tokenizer has none. */
fp4_status io_json_file(const char *path, size_t limit, json_t **out);
/* A document into a file, atomically; flags as for json_dumps. json_watch() comes before the document is built: one that is not whole, or NULL,
 * is FP4_ERR_MEMORY. Takes the document. */
fp4_status io_json_write_to(const char *path, json_t *root, size_t flags);
/* The same into folder/name. */
fp4_status io_json_write(const char *folder, const char *name, json_t *root, size_t flags);

#endif
