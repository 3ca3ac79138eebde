/* tests/bytes.h: a growing buffer, to make files by hand. */
#ifndef FP4LAB_TESTS_BYTES_H
#define FP4LAB_TESTS_BYTES_H

#include "fp4lab/base.h"

/* Zero-initialised is empty. */
struct bytes {
    uint8_t *data;
    size_t n;
};
void put(struct bytes *b, const void *data, size_t n);
void put_u32(struct bytes *b, uint32_t value);
void put_u64(struct bytes *b, uint64_t value);
/* A 64-bit length and the text, as GGUF stores strings. */
void put_string(struct bytes *b, const char *text);
/* Zeros up to a multiple of alignment. */
void put_padding(struct bytes *b, size_t alignment);
/* The first n bytes in a buffer that ends at an inaccessible page; release with guarded_free(p, n, false). */
uint8_t *guarded_prefix(const struct bytes *b, size_t n);
/* Writes a file, without the care of fp4_write_file. */
void write_bytes(const char *path, const void *data, size_t n);

#endif
