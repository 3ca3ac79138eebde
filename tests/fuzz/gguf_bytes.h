/* tests/fuzz/gguf_bytes.h: the parts of a GGUF file, to put one together by hand. */
#ifndef FP4LAB_TESTS_FUZZ_GGUF_BYTES_H
#define FP4LAB_TESTS_FUZZ_GGUF_BYTES_H

#include "tests/bytes.h"

/* Value types of the format, by their number. */
enum { GGUF_U8 = 0, GGUF_U32 = 4, GGUF_I32 = 5, GGUF_F32 = 6, GGUF_BOOLEAN = 7, GGUF_STR = 8, GGUF_ARR = 9, GGUF_U64 = 10 };

void gguf_head(struct bytes *b, uint32_t version, uint64_t tensors, uint64_t keys);
void gguf_key_u32(struct bytes *b, const char *key, uint32_t value);
void gguf_key_string(struct bytes *b, const char *key, const char *value);
/* The head of an array; its elements are put next. */
void gguf_key_array(struct bytes *b, const char *key, uint32_t element, uint64_t n);
/* Describes a vector of n elements. */
void gguf_tensor(struct bytes *b, const char *name, uint32_t type, uint64_t n, uint64_t offset);

#endif
