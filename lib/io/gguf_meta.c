/* GGUF's metadata: typed values by key. Arrays stay in the map; of string arrays the place of each element is kept (8 bytes for
 * the 8 bytes at least that it has in the file). */
#include <stdlib.h>
#include <string.h>

#include "lib/io/gguf.h"

static const struct {
    const char *name;
    size_t bytes; /* 0: of its own length */
} value_types[GGUF_TYPES] = {[GGUF_UINT8] = {"UINT8", 1},     [GGUF_INT8] = {"INT8", 1},       [GGUF_UINT16] = {"UINT16", 2},
                             [GGUF_INT16] = {"INT16", 2},     [GGUF_UINT32] = {"UINT32", 4},   [GGUF_INT32] = {"INT32", 4},
                             [GGUF_FLOAT32] = {"FLOAT32", 4}, [GGUF_BOOL] = {"BOOL", 1},       [GGUF_STRING] = {"STRING", 0},
                             [GGUF_ARRAY] = {"ARRAY", 0},     [GGUF_UINT64] = {"UINT64", 8},   [GGUF_INT64] = {"INT64", 8},
                             [GGUF_FLOAT64] = {"FLOAT64", 8}};

enum { MAX_NESTING = 8 };

/* A scalar's integer (saturated to int64) and number. */
static void decode(enum gguf_type type, const uint8_t *p, int64_t *integer, double *number) {
    uint64_t raw = io_little_endian(p, value_types[type].bytes);
    uint32_t low = (uint32_t)raw;
    float f32;
    double f64;
    *integer = 0;
    switch (type) {
    case GGUF_INT8: *integer = (int8_t)raw; break;
    case GGUF_INT16: *integer = (int16_t)raw; break;
    case GGUF_INT32: *integer = (int32_t)raw; break;
    case GGUF_FLOAT32: memcpy(&f32, &low, sizeof f32); *number = f32; return;
    case GGUF_FLOAT64: memcpy(&f64, &raw, sizeof f64); *number = f64; return;
    case GGUF_UINT64: *integer = raw > INT64_MAX ? INT64_MAX : (int64_t)raw; *number = (double)raw; return;
    default: *integer = (int64_t)raw;
    }
    *number = (double)*integer;
}

static fp4_status take_type(struct gguf_cursor *c, const char *key, enum gguf_type *out) {
    uint32_t id;
    FP4_TRY(gguf_take_u32(c, "a value's type", &id));
    if (id >= GGUF_TYPES)
        return fp4_fail(FP4_ERR_FORMAT, "%s: offset %zu: key %s: value type %u does not exist", c->path, c->at - 4, key, id);
    *out = (enum gguf_type)id;
    return FP4_OK;
}

/* Element type and length of an array; the length is possible in what is left of the file. */
static fp4_status take_array_head(struct gguf_cursor *c, const char *key, enum gguf_type *element, size_t *length) {
    uint64_t n;
    FP4_TRY(take_type(c, key, element));
    FP4_TRY(gguf_take_u64(c, "an array's length", &n));
    size_t least = *element == GGUF_ARRAY ? 12 : *element == GGUF_STRING ? 8 : value_types[*element].bytes;
    if (n > (c->size - c->at) / least)
        return fp4_fail(FP4_ERR_FORMAT, "%s: offset %zu: key %s: an array of %llu elements in the %zu bytes that are left", c->path, c->at - 8,
                        key, (unsigned long long)n, c->size - c->at);
    *length = (size_t)n;
    return FP4_OK;
}

/* Steps over an array of arrays. */
static fp4_status skip_nested(struct gguf_cursor *c, const char *key, size_t n, int depth) {
    if (depth > MAX_NESTING)
        return fp4_fail(FP4_ERR_FORMAT, "%s: offset %zu: key %s: arrays nested deeper than %d", c->path, c->at, key, MAX_NESTING);
    for (size_t i = 0; i < n; i++) {
        enum gguf_type element;
        size_t length;
        const uint8_t *bytes;
        FP4_TRY(take_array_head(c, key, &element, &length));
        if (element == GGUF_ARRAY)
            FP4_TRY(skip_nested(c, key, length, depth + 1));
        else if (element != GGUF_STRING)
            FP4_TRY(gguf_take(c, length * value_types[element].bytes, "an array", &bytes));
        else
            for (size_t k = 0, bytes_of_k; k < length; k++)
                FP4_TRY(gguf_take_string(c, "a string", &bytes, &bytes_of_k));
    }
    return FP4_OK;
}

static fp4_status read_array(struct gguf_cursor *c, struct gguf_entry *e) {
    struct fp4_meta *m = &e->meta;
    FP4_TRY(take_array_head(c, m->key, &e->element, &m->length));
    m->element_type = value_types[e->element].name;
    if (e->element == GGUF_ARRAY)
        return skip_nested(c, m->key, m->length, 1);
    if (e->element != GGUF_STRING) {
        e->data_bytes = m->length * value_types[e->element].bytes; /* bounded by the file's size */
        return gguf_take(c, e->data_bytes, "an array", &e->data);
    }
    FP4_TRY(FP4_NEW(e->strings, m->length));
    for (size_t i = 0; i < m->length; i++) {
        const uint8_t *bytes;
        size_t length;
        e->strings[i] = c->data + c->at;
        FP4_TRY(gguf_take_string(c, "a string", &bytes, &length));
    }
    return FP4_OK;
}

static fp4_status read_value(struct gguf_cursor *c, struct io_pool *pool, struct gguf_entry *e) {
    struct fp4_meta *m = &e->meta;
    const uint8_t *bytes;
    FP4_TRY(take_type(c, m->key, &e->type));
    m->type_name = value_types[e->type].name;
    if (e->type == GGUF_ARRAY) {
        m->kind = FP4_META_ARRAY;
        return read_array(c, e);
    }
    if (e->type == GGUF_STRING) {
        m->kind = FP4_META_STRING;
        FP4_TRY(gguf_take_string(c, "a string", &bytes, &m->length));
        return io_pool_copy(pool, bytes, m->length, &m->string);
    }
    FP4_TRY(gguf_take(c, value_types[e->type].bytes, "a value", &bytes));
    decode(e->type, bytes, &m->integer, &m->number);
    m->kind = e->type == GGUF_BOOL ? FP4_META_BOOL : e->type == GGUF_FLOAT32 || e->type == GGUF_FLOAT64 ? FP4_META_FLOAT : FP4_META_INT;
    if (e->type == GGUF_BOOL && m->integer > 1)
        return fp4_fail(FP4_ERR_FORMAT, "%s: offset %zu: key %s: %d is no truth value", c->path, c->at - 1, m->key, (int)m->integer);
    return FP4_OK;
}

static int by_key(const void *a, const void *b) {
    return strcmp((*(const struct gguf_entry *const *)a)->meta.key, (*(const struct gguf_entry *const *)b)->meta.key);
}

static fp4_status index_keys(struct gguf *g, const char *path) {
    FP4_TRY(FP4_NEW(g->by_key, g->n_entries));
    for (size_t i = 0; i < g->n_entries; i++)
        g->by_key[i] = &g->entries[i];
    qsort(g->by_key, g->n_entries, sizeof *g->by_key, by_key);
    for (size_t i = 1; i < g->n_entries; i++)
        if (strcmp(g->by_key[i - 1]->meta.key, g->by_key[i]->meta.key) == 0)
            return fp4_fail(FP4_ERR_FORMAT, "%s: key %s is there twice", path, g->by_key[i]->meta.key);
    return FP4_OK;
}

fp4_status gguf_read_metadata(struct gguf *g, struct gguf_cursor *c, struct io_pool *pool, uint64_t n) {
    FP4_TRY(FP4_NEW(g->entries, (size_t)n));
    g->n_entries = (size_t)n;
    for (size_t i = 0; i < n; i++) {
        const uint8_t *key;
        size_t length, start = c->at;
        FP4_TRY(gguf_take_string(c, "a key", &key, &length));
        if (length == 0 || !io_is_name(key, length))
            return fp4_fail(FP4_ERR_FORMAT, "%s: offset %zu: a key is empty or not UTF-8", c->path, start);
        FP4_TRY(io_pool_copy(pool, key, length, &g->entries[i].meta.key));
        g->entries[i].path = c->path;
        FP4_TRY(read_value(c, pool, &g->entries[i]));
    }
    return index_keys(g, c->path);
}

void io_gguf_free(struct gguf *g) {
    if (!g)
        return;
    for (size_t i = 0; i < g->n_entries; i++)
        fp4_free(g->entries[i].strings);
    fp4_free(g->entries);
    fp4_free(g->by_key);
    fp4_free(g);
}

size_t fp4_gguf_meta_count(const struct fp4_checkpoint *c) { return c->gguf ? c->gguf->n_entries : 0; }

const struct fp4_meta *fp4_gguf_meta_at(const struct fp4_checkpoint *c, size_t i) {
    return i < fp4_gguf_meta_count(c) ? &c->gguf->entries[i].meta : NULL;
}

const struct fp4_meta *fp4_gguf_meta_find(const struct fp4_checkpoint *c, const char *key) {
    if (!c->gguf)
        return NULL;
    struct gguf_entry wanted = {.meta.key = key}, *pointer = &wanted;
    const struct gguf_entry **hit = bsearch(&pointer, c->gguf->by_key, c->gguf->n_entries, sizeof *c->gguf->by_key, by_key);
    return hit ? &(*hit)->meta : NULL;
}

const char *fp4_gguf_meta_string(const struct fp4_checkpoint *c, const char *key) {
    const struct fp4_meta *m = fp4_gguf_meta_find(c, key);
    return m && m->kind == FP4_META_STRING ? m->string : NULL;
}

bool fp4_gguf_meta_flag(const struct fp4_checkpoint *c, const char *key, bool otherwise) {
    const struct fp4_meta *m = fp4_gguf_meta_find(c, key);
    return m && m->kind == FP4_META_BOOL ? m->integer != 0 : otherwise;
}

static fp4_status check_element(const struct gguf_entry *e, size_t i, bool there) {
    if (e->meta.kind != FP4_META_ARRAY || !there)
        return fp4_fail(FP4_ERR_ARG, "%s: key %s: not an array of this kind", e->path, e->meta.key);
    if (i >= e->meta.length)
        return fp4_fail(FP4_ERR_ARG, "%s: key %s: element %zu of %zu", e->path, e->meta.key, i, e->meta.length);
    return FP4_OK;
}

fp4_status fp4_gguf_array_string(const struct fp4_meta *m, size_t i, const char **bytes, size_t *length) {
    const struct gguf_entry *e = (const struct gguf_entry *)m;
    FP4_TRY(check_element(e, i, e->strings != NULL));
    *length = (size_t)io_little_endian(e->strings[i], 8);
    *bytes = (const char *)e->strings[i] + 8;
    return FP4_OK;
}

fp4_status fp4_gguf_array_number(const struct fp4_meta *m, size_t i, double *value) {
    const struct gguf_entry *e = (const struct gguf_entry *)m;
    FP4_TRY(check_element(e, i, e->data != NULL));
    int64_t integer;
    decode(e->element, e->data + i * value_types[e->element].bytes, &integer, value);
    return FP4_OK;
}

const uint8_t *fp4_gguf_array_raw(const struct fp4_meta *m, size_t *bytes) {
    const struct gguf_entry *e = (const struct gguf_entry *)m;
    *bytes = e->data_bytes;
    return e->data;
}
