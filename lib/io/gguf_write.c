/* GGUF, writing: pairs and tensor descriptions in memory, then the tensors one by one. */
#include "lib/io/gguf_write.h"

#include <string.h>

#include "lib/formats/core/elements.h"
#include "lib/io/encode.h"
#include "lib/io/ggml_blocks.h"
#include "lib/io/gguf.h"

enum { VERSION = 3, ALIGNMENT = 32 };

/* ---- a growing buffer, little-endian ---- */

static void put(struct gguf_pairs *p, const void *bytes, size_t n) {
    size_t end;
    if (p->status != FP4_OK || n == 0)
        return;
    if (!fp4_size_add(p->n, n, &end)) {
        p->status = fp4_fail(FP4_ERR_MEMORY, "GGUF metadata: its size overflows");
        return;
    }
    p->status = FP4_RESERVE(p->bytes, p->n, end, &p->room);
    if (p->status != FP4_OK)
        return;
    memcpy(p->bytes + p->n, bytes, n);
    p->n = end;
}

static void put_number(struct gguf_pairs *p, uint64_t value, size_t bytes) {
    uint8_t little[8];
    for (size_t i = 0; i < bytes; i++)
        little[i] = (uint8_t)(value >> 8 * i);
    put(p, little, bytes);
}

static void put_text(struct gguf_pairs *p, const char *s, size_t n) {
    put_number(p, n, 8);
    put(p, s, n);
}

static void put_key(struct gguf_pairs *p, const char *key, enum gguf_type type) {
    put_text(p, key, strlen(key));
    put_number(p, (uint64_t)type, 4);
    p->count++;
}

static void put_array(struct gguf_pairs *p, const char *key, enum gguf_type element, size_t n) {
    put_key(p, key, GGUF_ARRAY);
    put_number(p, (uint64_t)element, 4);
    put_number(p, n, 8);
}

/* ---- pairs ---- */

void gguf_put_u32(struct gguf_pairs *p, const char *key, uint32_t value) {
    put_key(p, key, GGUF_UINT32);
    put_number(p, value, 4);
}

void gguf_put_f32(struct gguf_pairs *p, const char *key, float value) {
    put_key(p, key, GGUF_FLOAT32);
    put_number(p, fp4_bits(value), 4);
}

void gguf_put_bool(struct gguf_pairs *p, const char *key, bool value) {
    put_key(p, key, GGUF_BOOL);
    put_number(p, value, 1);
}

void gguf_put_string(struct gguf_pairs *p, const char *key, const char *value, size_t n) {
    put_key(p, key, GGUF_STRING);
    put_text(p, value, n);
}

void gguf_put_strings(struct gguf_pairs *p, const char *key, size_t n, gguf_string_at at, void *context) {
    put_array(p, key, GGUF_STRING, n);
    for (size_t i = 0; i < n; i++) {
        size_t bytes = 0;
        const char *s = at(context, i, &bytes);
        put_text(p, s, bytes);
    }
}

void gguf_put_i32s(struct gguf_pairs *p, const char *key, size_t n, const int32_t *values) {
    put_array(p, key, GGUF_INT32, n);
    for (size_t i = 0; i < n; i++)
        put_number(p, (uint32_t)values[i], 4);
}

void gguf_put_f32s(struct gguf_pairs *p, const char *key, size_t n, const float *values) {
    put_array(p, key, GGUF_FLOAT32, n);
    for (size_t i = 0; i < n; i++)
        put_number(p, fp4_bits(values[i]), 4);
}

/* Integers of any width become 32 bits where they fit, 64 where they do not, as the types that the format's keys have. */
static void copy_scalar(struct gguf_pairs *p, const struct fp4_meta *m) {
    switch (m->kind) {
    case FP4_META_STRING: gguf_put_string(p, m->key, m->string, m->length); return;
    case FP4_META_BOOL: gguf_put_bool(p, m->key, m->integer != 0); return;
    case FP4_META_FLOAT: gguf_put_f32(p, m->key, (float)m->number); return;
    default: break;
    }
    if (m->integer >= 0 && m->integer <= (int64_t)UINT32_MAX) {
        gguf_put_u32(p, m->key, (uint32_t)m->integer);
        return;
    }
    put_key(p, m->key, GGUF_INT64);
    put_number(p, (uint64_t)m->integer, 8);
}

static const char *string_of(void *context, size_t i, size_t *bytes) {
    const char *s = "";
    *bytes = 0;
    return fp4_gguf_array_string(context, i, &s, bytes) == FP4_OK ? s : "";
}

void gguf_put_copy(struct gguf_pairs *p, const struct fp4_meta *m) {
    const struct gguf_entry *e = (const struct gguf_entry *)m; /* gguf.h: the public part is the first */
    size_t bytes;
    if (m->kind != FP4_META_ARRAY) {
        copy_scalar(p, m);
    } else if (e->element == GGUF_STRING) {
        gguf_put_strings(p, m->key, m->length, string_of, (void *)(uintptr_t)m);
    } else if (e->element == GGUF_ARRAY) {
        if (p->status == FP4_OK)
            p->status = fp4_fail(FP4_ERR_UNSUPPORTED, "key %s: an array of arrays cannot be copied", m->key);
    } else {
        const uint8_t *raw = fp4_gguf_array_raw(m, &bytes);
        put_array(p, m->key, e->element, m->length);
        put(p, raw, bytes);
    }
}

void gguf_pairs_free(struct gguf_pairs *p) {
    fp4_free(p->bytes);
    *p = (struct gguf_pairs){0};
}

/* ---- the file ---- */

static fp4_status type_number(const struct fp4_tensor_out *t, uint32_t *number) {
    for (uint32_t id = 0; id < 64; id++) {
        const struct io_ggml_type *type = io_ggml_type(id);
        if (type && type->dtype == t->dtype) {
            *number = id;
            return FP4_OK;
        }
    }
    return fp4_fail(FP4_ERR_ARG, "tensor %s: type %s does not exist in GGUF", t->name, fp4_dtype_name(t->dtype));
}

static fp4_status tensor_bytes(const struct fp4_tensor_out *t, size_t *bytes) {
    if (t->n_dims < 1)
        return fp4_fail(FP4_ERR_ARG, "tensor %s: a tensor of no dimensions does not exist in GGUF", t->name);
    return io_out_bytes(t, bytes);
}

static size_t padded(size_t n) { return (n + ALIGNMENT - 1) / ALIGNMENT * ALIGNMENT; }

/* Everything before the data, but for its padding; *end: bytes of all tensors with theirs. */
static fp4_status head(const struct gguf_pairs *pairs, const struct fp4_tensor_out *tensors, size_t n, size_t *bytes, struct gguf_pairs *out, size_t *end) {
    FP4_TRY(pairs->status);
    put(out, "GGUF", 4);
    put_number(out, VERSION, 4);
    put_number(out, n, 8);
    put_number(out, pairs->count, 8);
    put(out, pairs->bytes, pairs->n);
    *end = 0;
    for (size_t i = 0; i < n; i++) {
        const struct fp4_tensor_out *t = &tensors[i];
        uint32_t type = 0;
        FP4_TRY(type_number(t, &type));
        FP4_TRY(tensor_bytes(t, &bytes[i]));
        put_text(out, t->name, strlen(t->name));
        put_number(out, (uint64_t)t->n_dims, 4);
        for (int d = t->n_dims - 1; d >= 0; d--)
            put_number(out, t->shape[d], 8);
        put_number(out, type, 4);
        put_number(out, *end, 8);
        if (!fp4_size_add(*end, bytes[i], end) || *end > SIZE_MAX - ALIGNMENT)
            return fp4_fail(FP4_ERR_ARG, "tensor %s: the file's size overflows", t->name);
        *end = padded(*end);
    }
    return out->status;
}

static fp4_status pad(struct fp4_writer *w, size_t written) {
    static const uint8_t zeros[ALIGNMENT];
    return fp4_writer_put(w, zeros, padded(written) - written);
}

static fp4_status put_all(struct fp4_writer *w, const struct gguf_pairs *front, const struct fp4_tensor_out *tensors, size_t n, const size_t *bytes,
                          struct io_values *v) {
    FP4_TRY(fp4_writer_put(w, front->bytes, front->n));
    FP4_TRY(pad(w, front->n));
    for (size_t i = 0; i < n; i++) {
        FP4_TRY(io_put_tensor(w, v, &tensors[i], i, bytes[i]));
        FP4_TRY(pad(w, bytes[i]));
    }
    return FP4_OK;
}

static fp4_status write_all(const char *path, const struct gguf_pairs *front, size_t end, const struct fp4_tensor_out *tensors, size_t n, const size_t *bytes,
                            struct io_values *v) {
    struct fp4_writer *w;
    FP4_TRY(fp4_writer_open(path, padded(front->n) + end, &w));
    fp4_status status = put_all(w, front, tensors, n, bytes, v);
    if (status == FP4_OK)
        return fp4_writer_commit(w);
    fp4_writer_abandon(w);
    return status;
}

fp4_status gguf_write(const char *path, const struct gguf_pairs *pairs, const struct fp4_tensor_out *tensors, size_t n, fp4_tensor_values values, void *context) {
    struct gguf_pairs front = {0};
    struct io_values v = {0};
    size_t *bytes, end = 0;
    FP4_TRY(FP4_NEW(bytes, n));
    fp4_status status = head(pairs, tensors, n, bytes, &front, &end);
    if (status == FP4_OK)
        status = io_values_open(&v, tensors, n, values, context);
    if (status == FP4_OK)
        status = write_all(path, &front, end, tensors, n, bytes, &v);
    io_values_close(&v);
    gguf_pairs_free(&front);
    fp4_free(bytes);
    return status;
}
