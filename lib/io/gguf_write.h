/* GGUF version 3, writing (https://github.com/ggml-org/ggml/blob/master/docs/gguf.md). */
#ifndef FP4LAB_IO_GGUF_WRITE_H
#define FP4LAB_IO_GGUF_WRITE_H

#include "lib/io/checkpoint.h"

/* Key-value pairs as they will stand in the file. Zero-initialised is empty. A failure sticks: gguf_write returns it, so that pairs are put without a check each. */
struct gguf_pairs {
    uint8_t *bytes;
    size_t n, room;
    uint64_t count;
    fp4_status status;
};
void gguf_put_u32(struct gguf_pairs *p, const char *key, uint32_t value);
void gguf_put_f32(struct gguf_pairs *p, const char *key, float value);
void gguf_put_bool(struct gguf_pairs *p, const char *key, bool value);
void gguf_put_string(struct gguf_pairs *p, const char *key, const char *value, size_t n);
/* Strings i of n by a callback; the bytes are copied at once. */
typedef const char *(*gguf_string_at)(void *context, size_t i, size_t *bytes);
void gguf_put_strings(struct gguf_pairs *p, const char *key, size_t n, gguf_string_at at, void *context);
void gguf_put_i32s(struct gguf_pairs *p, const char *key, size_t n, const int32_t *values);
void gguf_put_f32s(struct gguf_pairs *p, const char *key, size_t n, const float *values);
/* A pair of an opened file as it is. FP4_ERR_UNSUPPORTED: an array of arrays. */
void gguf_put_copy(struct gguf_pairs *p, const struct fp4_meta *m);
void gguf_pairs_free(struct gguf_pairs *p);

/* Atomically; tensors as for fp4_safetensors_stream, of types that ggml has, each padded to 32 bytes. */
fp4_status gguf_write(const char *path, const struct gguf_pairs *pairs, const struct fp4_tensor_out *tensors, size_t n, fp4_tensor_values values, void *context);

#endif
