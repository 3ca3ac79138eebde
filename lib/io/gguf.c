/* GGUF versions 2 and 3, reading: header, tensor descriptions, layout (https://github.com/ggml-org/ggml/blob/master/docs/gguf.md).
 * As ggml's own reader does, it wants tensors one after the other, each at the next multiple of the alignment. */
#include "lib/io/gguf.h"

#include <stdlib.h>
#include <string.h>

#include "lib/io/ggml_blocks.h"

enum { TENSOR_INFO_MIN = 8 + 4 + 4 + 8, KEY_VALUE_MIN = 8 + 4 + 1, DEFAULT_ALIGNMENT = 32 };

/* ---- cursor ---- */

fp4_status gguf_take(struct gguf_cursor *c, size_t bytes, const char *what, const uint8_t **out) {
    *out = NULL;
    if (bytes > c->size - c->at)
        return fp4_fail(FP4_ERR_FORMAT, "%s: offset %zu: %s needs %zu bytes, %zu are left; the file is cut short or broken", c->path, c->at,
                        what, bytes, c->size - c->at);
    *out = c->data + c->at;
    c->at += bytes;
    return FP4_OK;
}

fp4_status gguf_take_u32(struct gguf_cursor *c, const char *what, uint32_t *out) {
    const uint8_t *p;
    *out = 0;
    FP4_TRY(gguf_take(c, 4, what, &p));
    *out = (uint32_t)io_little_endian(p, 4);
    return FP4_OK;
}

fp4_status gguf_take_u64(struct gguf_cursor *c, const char *what, uint64_t *out) {
    const uint8_t *p;
    *out = 0;
    FP4_TRY(gguf_take(c, 8, what, &p));
    *out = io_little_endian(p, 8);
    return FP4_OK;
}

fp4_status gguf_take_string(struct gguf_cursor *c, const char *what, const uint8_t **bytes, size_t *length) {
    uint64_t n;
    FP4_TRY(gguf_take_u64(c, what, &n));
    FP4_TRY(gguf_take(c, (size_t)n, what, bytes));
    *length = (size_t)n;
    return FP4_OK;
}

/* ---- tensors ---- */

/* Shape, elements and bytes from the dimensions as stored, fastest first. */
static fp4_status read_shape(struct gguf_cursor *c, struct fp4_stored *t) {
    uint32_t n_dims;
    FP4_TRY(gguf_take_u32(c, "a tensor's dimensions", &n_dims));
    if (n_dims > 4)
        return fp4_fail(FP4_ERR_FORMAT, "%s: offset %zu: tensor %s has %u dimensions; at most 4 exist", c->path, c->at - 4, t->name, n_dims);
    t->n_dims = (int)n_dims;
    t->elements = 1;
    for (uint32_t i = 0; i < n_dims; i++) {
        uint64_t n;
        FP4_TRY(gguf_take_u64(c, "a tensor's shape", &n));
        t->shape[n_dims - 1 - i] = (size_t)n;
        if (n > INT64_MAX || !fp4_size_mul(t->elements, (size_t)n, &t->elements))
            return fp4_fail(FP4_ERR_FORMAT, "%s: offset %zu: tensor %s: its size overflows", c->path, c->at - 8, t->name);
    }
    return FP4_OK;
}

static fp4_status read_type(struct gguf_cursor *c, struct fp4_stored *t) {
    uint32_t id;
    FP4_TRY(gguf_take_u32(c, "a tensor's type", &id));
    const struct io_ggml_type *type = io_ggml_type(id);
    if (!type)
        return fp4_fail(FP4_ERR_UNSUPPORTED, "%s: offset %zu: tensor %s: type number %u is not known", c->path, c->at - 4, t->name, id);
    size_t row = t->n_dims ? t->shape[t->n_dims - 1] : 1;
    if (row % type->info.block)
        return fp4_fail(FP4_ERR_FORMAT, "%s: offset %zu: tensor %s: rows of %zu elements are no whole blocks of %s (%zu)", c->path, c->at - 4,
                        t->name, row, type->info.name, type->info.block);
    t->dtype = type->dtype;
    t->type_name = type->info.name;
    if (!fp4_size_mul(t->elements / type->info.block, type->info.block_bytes, &t->bytes))
        return fp4_fail(FP4_ERR_FORMAT, "%s: tensor %s: its size overflows", c->path, t->name);
    return FP4_OK;
}

/* t->offset is from the start of the data until place_tensors. */
static fp4_status read_tensor(struct gguf_cursor *c, struct io_pool *pool, struct fp4_stored *t) {
    const uint8_t *name;
    size_t length = 0, start = c->at;
    FP4_TRY(gguf_take_string(c, "a tensor's name", &name, &length));
    if (length == 0 || !io_is_name(name, length))
        return fp4_fail(FP4_ERR_FORMAT, "%s: offset %zu: a tensor's name is empty or not UTF-8", c->path, start);
    FP4_TRY(io_pool_copy(pool, name, length, &t->name));
    FP4_TRY(read_shape(c, t));
    FP4_TRY(read_type(c, t));
    uint64_t offset;
    FP4_TRY(gguf_take_u64(c, "a tensor's offset", &offset));
    t->offset = (size_t)offset;
    return FP4_OK;
}

static int by_offset(const void *a, const void *b) {
    const struct fp4_stored *x = *(struct fp4_stored *const *)a, *y = *(struct fp4_stored *const *)b;
    if (x->offset != y->offset)
        return x->offset < y->offset ? -1 : 1;
    return (x->bytes > y->bytes) - (x->bytes < y->bytes);
}

static bool align_up(size_t value, size_t alignment, size_t *out) {
    if (!fp4_size_add(value, alignment - 1, out))
        return false;
    *out -= *out % alignment;
    return true;
}

/* Checks the layout of tensors sorted by offset and sets data and file offsets. */
static fp4_status place_tensors(const struct gguf_cursor *c, const struct fp4_gguf_header *h, struct fp4_stored **sorted, size_t n) {
    size_t expected = 0;
    for (size_t i = 0; i < n; i++) {
        struct fp4_stored *t = sorted[i];
        size_t end, place;
        if (t->offset != expected)
            return fp4_fail(FP4_ERR_FORMAT, "%s: tensor %s: its data is at %zu of the data section, not at %zu: overlap, gap or misalignment",
                            c->path, t->name, t->offset, expected);
        if (!fp4_size_add(t->offset, t->bytes, &end) || !fp4_size_add(end, (size_t)h->data_offset, &place) || place > c->size)
            return fp4_fail(FP4_ERR_FORMAT, "%s: tensor %s: its %zu bytes at %zu end outside the file; the file is cut short or broken",
                            c->path, t->name, t->bytes, t->offset);
        if (!align_up(end, (size_t)h->alignment, &expected))
            return fp4_fail(FP4_ERR_FORMAT, "%s: tensor %s: its end overflows", c->path, t->name);
        t->offset += (size_t)h->data_offset;
        t->data = c->data + t->offset;
    }
    return FP4_OK;
}

static fp4_status read_tensors(struct fp4_checkpoint *checkpoint, struct gguf_cursor *c, size_t n) {
    struct fp4_gguf_header *h = &checkpoint->gguf->header;
    FP4_TRY(io_reserve_tensors(checkpoint, n));
    for (size_t i = 0; i < n; i++)
        FP4_TRY(read_tensor(c, &checkpoint->pool, &checkpoint->tensors[i]));
    checkpoint->n_tensors = n;
    size_t data_offset;
    if (!align_up(c->at, (size_t)h->alignment, &data_offset))
        return fp4_fail(FP4_ERR_FORMAT, "%s: alignment %llu overflows", c->path, (unsigned long long)h->alignment);
    h->data_offset = data_offset;
    struct fp4_stored **sorted;
    FP4_TRY(FP4_NEW(sorted, n));
    for (size_t i = 0; i < n; i++)
        sorted[i] = &checkpoint->tensors[i];
    qsort(sorted, n, sizeof *sorted, by_offset);
    fp4_status status = place_tensors(c, h, sorted, n);
    fp4_free(sorted);
    return status;
}

/* ---- the file ---- */

bool io_is_gguf(const struct fp4_map *map) { return map->size >= 4 && memcmp(map->data, "GGUF", 4) == 0; }

static fp4_status read_header(struct gguf_cursor *c, struct fp4_gguf_header *h) {
    c->at = 4;
    FP4_TRY(gguf_take_u32(c, "the version", &h->version));
    if (h->version == 0x02000000 || h->version == 0x03000000)
        return fp4_fail(FP4_ERR_UNSUPPORTED, "%s: offset 4: a big-endian GGUF file", c->path);
    if (h->version != 2 && h->version != 3)
        return fp4_fail(FP4_ERR_UNSUPPORTED, "%s: offset 4: GGUF version %u; 2 and 3 are supported", c->path, h->version);
    FP4_TRY(gguf_take_u64(c, "the number of tensors", &h->tensor_count));
    FP4_TRY(gguf_take_u64(c, "the number of keys", &h->kv_count));
    if (h->tensor_count > (c->size - c->at) / TENSOR_INFO_MIN || h->kv_count > (c->size - c->at) / KEY_VALUE_MIN)
        return fp4_fail(FP4_ERR_FORMAT, "%s: offset 8: %llu tensors and %llu keys cannot be in a file of %zu bytes", c->path,
                        (unsigned long long)h->tensor_count, (unsigned long long)h->kv_count, c->size);
    return FP4_OK;
}

static fp4_status read_alignment(const struct fp4_checkpoint *checkpoint, const char *path, struct fp4_gguf_header *h) {
    const struct fp4_meta *m = fp4_gguf_meta_find(checkpoint, "general.alignment");
    h->alignment = DEFAULT_ALIGNMENT;
    if (!m)
        return FP4_OK;
    /* a power of two, as ggml wants it */
    if (strcmp(m->type_name, "UINT32") != 0 || m->integer <= 0 || (m->integer & (m->integer - 1)))
        return fp4_fail(FP4_ERR_FORMAT, "%s: general.alignment is not a power of two", path);
    h->alignment = (uint64_t)m->integer;
    return FP4_OK;
}

/* A model cut into several files: this one holds a part of its tensors. */
static fp4_status refuse_split(const struct fp4_checkpoint *checkpoint, const char *path) {
    const struct fp4_meta *count = fp4_gguf_meta_find(checkpoint, "split.count"), *number = fp4_gguf_meta_find(checkpoint, "split.no");
    if (!count || count->kind != FP4_META_INT || count->integer <= 1)
        return FP4_OK;
    return fp4_fail(FP4_ERR_UNSUPPORTED, "%s: split.count: part %lld of a model in %lld files; join them with llama-gguf-split --merge", path,
                    number && number->kind == FP4_META_INT ? (long long)number->integer + 1 : 1, (long long)count->integer);
}

fp4_status io_gguf_read(struct fp4_checkpoint *checkpoint, const struct io_file *file) {
    struct gguf_cursor c = {file->path, file->map.data, file->map.size, 0};
    FP4_TRY(FP4_NEW(checkpoint->gguf, 1));
    struct gguf *g = checkpoint->gguf;
    FP4_TRY(read_header(&c, &g->header));
    FP4_TRY(gguf_read_metadata(g, &c, &checkpoint->pool, g->header.kv_count));
    FP4_TRY(refuse_split(checkpoint, file->path));
    FP4_TRY(read_alignment(checkpoint, file->path, &g->header));
    return read_tensors(checkpoint, &c, (size_t)g->header.tensor_count);
}

fp4_status fp4_gguf_header(const struct fp4_checkpoint *c, struct fp4_gguf_header *out) {
    if (!c->gguf)
        return fp4_fail(FP4_ERR_ARG, "%s: not a GGUF file", c->files[0].path);
    *out = c->gguf->header;
    return FP4_OK;
}
