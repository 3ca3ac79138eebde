/* GGUF's parts that two files share. */
#ifndef FP4LAB_IO_GGUF_H
#define FP4LAB_IO_GGUF_H

#include "lib/io/checkpoint.h"

/* Value types of the format, by their number. */
enum gguf_type {
    GGUF_UINT8, GGUF_INT8, GGUF_UINT16, GGUF_INT16, GGUF_UINT32, GGUF_INT32, GGUF_FLOAT32, GGUF_BOOL, GGUF_STRING, GGUF_ARRAY,
    GGUF_UINT64, GGUF_INT64, GGUF_FLOAT64,
    GGUF_TYPES
};

struct gguf_entry {
    struct fp4_meta meta; /* first: a public pointer leads back to its entry */
    enum gguf_type type, element;
    const char *path;    /* of the file, the checkpoint's */
    const uint8_t *data; /* elements of a numeric array */
    size_t data_bytes;
    const uint8_t **strings; /* length field of each element of a string array */
};

struct gguf {
    struct fp4_gguf_header header;
    struct gguf_entry *entries;
    size_t n_entries;
    const struct gguf_entry **by_key; /* sorted */
};

/* Reads forward through a mapped file; every step is checked against its end. */
struct gguf_cursor {
    const char *path;
    const uint8_t *data;
    size_t size, at;
};
/* `bytes` bytes at *out, and the cursor behind them. */
fp4_status gguf_take(struct gguf_cursor *c, size_t bytes, const char *what, const uint8_t **out);
fp4_status gguf_take_u32(struct gguf_cursor *c, const char *what, uint32_t *out);
fp4_status gguf_take_u64(struct gguf_cursor *c, const char *what, uint64_t *out);
/* A length-prefixed string, not terminated. */
fp4_status gguf_take_string(struct gguf_cursor *c, const char *what, const uint8_t **bytes, size_t *length);

/* The key-value section; n from the header. */
fp4_status gguf_read_metadata(struct gguf *g, struct gguf_cursor *c, struct io_pool *pool, uint64_t n);

#endif
