/* safetensors, reading: 8 bytes of header length (little-endian), a JSON header {name: {dtype, shape, data_offsets}}, data. The
 * rules are those of https://github.com/huggingface/safetensors (README, "Format"): no duplicate names, no holes, no
 * overlap, nothing after the last tensor, a header of at most 100 MB. */
#include "lib/io/checkpoint.h"

#include <stdlib.h>
#include <string.h>

enum { HEADER_MAX = 100000000 };

/* Types that exist in the format and have no conversion here; bits an element. */
static const struct {
    const char *name;
    unsigned int bits;
} other_types[] = {{"F8_E4M3", 8}, {"F8_E5M2", 8}, {"F8_E8M0", 8}, {"F6_E2M3", 6}, {"F6_E3M2", 6}, {"F4", 4}, {"C64", 64}};

/* Sets the type and t->bytes from t->elements. */
static fp4_status resolve_type(const char *path, const char *type, struct fp4_stored *t) {
    for (int i = FP4_F32; i <= FP4_BOOL; i++) {
        const struct io_dtype *info = io_dtype_info((enum fp4_dtype)i);
        if (strcmp(type, info->name) != 0)
            continue;
        t->dtype = (enum fp4_dtype)i;
        t->type_name = info->name;
        if (!fp4_size_mul(t->elements, info->block_bytes, &t->bytes))
            return fp4_fail(FP4_ERR_FORMAT, "%s: tensor %s: its size overflows", path, t->name);
        return FP4_OK;
    }
    for (size_t i = 0; i < sizeof other_types / sizeof *other_types; i++) {
        if (strcmp(type, other_types[i].name) != 0)
            continue;
        size_t bits;
        t->dtype = FP4_DTYPE_OTHER;
        t->type_name = other_types[i].name;
        if (!fp4_size_mul(t->elements, other_types[i].bits, &bits) || bits % 8)
            return fp4_fail(FP4_ERR_FORMAT, "%s: tensor %s: %zu elements of %s are no whole number of bytes", path, t->name,
                            t->elements, type);
        t->bytes = bits / 8;
        return FP4_OK;
    }
    return fp4_fail(FP4_ERR_UNSUPPORTED, "%s: tensor %s: element type \"%s\" is not known", path, t->name, type);
}

static fp4_status read_size(const char *path, const char *name, const char *what, json_t *value, size_t *out) {
    if (!json_is_integer(value) || json_integer_value(value) < 0)
        return fp4_fail(FP4_ERR_FORMAT, "%s: tensor %s: %s is not a list of sizes", path, name, what);
    *out = (size_t)json_integer_value(value);
    return FP4_OK;
}

static fp4_status read_shape(const char *path, json_t *shape, struct fp4_stored *t) {
    if (!json_is_array(shape))
        return fp4_fail(FP4_ERR_FORMAT, "%s: tensor %s: shape is not a list", path, t->name);
    size_t n = json_array_size(shape);
    if (n > 4)
        return fp4_fail(FP4_ERR_UNSUPPORTED, "%s: tensor %s: %zu dimensions; at most 4 are supported", path, t->name, n);
    t->n_dims = (int)n;
    t->elements = 1;
    for (size_t i = 0; i < n; i++) {
        FP4_TRY(read_size(path, t->name, "shape", json_array_get(shape, i), &t->shape[i]));
        if (!fp4_size_mul(t->elements, t->shape[i], &t->elements))
            return fp4_fail(FP4_ERR_FORMAT, "%s: tensor %s: its size overflows", path, t->name);
    }
    return FP4_OK;
}

/* One entry of the header. `origin`: where the data starts in the file. */
static fp4_status read_tensor(struct fp4_checkpoint *c, const struct io_file *file, size_t origin, const char *name, json_t *entry,
                              struct fp4_stored *t) {
    const char *path = file->path;
    FP4_TRY(io_pool_copy(&c->pool, name, strlen(name), &t->name));
    json_t *type = json_object_get(entry, "dtype"), *offsets = json_object_get(entry, "data_offsets");
    if (!json_is_object(entry) || !json_is_string(type) || json_object_size(entry) != 3)
        return fp4_fail(FP4_ERR_FORMAT, "%s: tensor %s: its entry is not {dtype, shape, data_offsets}", path, name);
    FP4_TRY(read_shape(path, json_object_get(entry, "shape"), t));
    FP4_TRY(resolve_type(path, json_string_value(type), t));
    if (!json_is_array(offsets) || json_array_size(offsets) != 2)
        return fp4_fail(FP4_ERR_FORMAT, "%s: tensor %s: data_offsets is not a pair", path, name);
    size_t begin = 0, end = 0;
    FP4_TRY(read_size(path, name, "data_offsets", json_array_get(offsets, 0), &begin));
    FP4_TRY(read_size(path, name, "data_offsets", json_array_get(offsets, 1), &end));
    if (begin > end || end > file->map.size - origin)
        return fp4_fail(FP4_ERR_FORMAT, "%s: tensor %s: its data, bytes %zu to %zu, lies outside the file's %zu bytes of data", path, name,
                        begin, end, file->map.size - origin);
    if (end - begin != t->bytes)
        return fp4_fail(FP4_ERR_FORMAT, "%s: tensor %s: its type and shape need %zu bytes, the header gives it %zu", path, name, t->bytes,
                        end - begin);
    t->offset = origin + begin;
    t->data = file->map.data + t->offset;
    return FP4_OK;
}

static int by_offset(const void *a, const void *b) {
    const struct fp4_stored *x = *(const struct fp4_stored *const *)a, *y = *(const struct fp4_stored *const *)b;
    if (x->offset != y->offset)
        return x->offset < y->offset ? -1 : 1;
    return (x->bytes > y->bytes) - (x->bytes < y->bytes); /* empty ones first */
}

/* Every byte of data belongs to exactly one tensor. */
static fp4_status check_layout(const struct io_file *file, size_t origin, const struct fp4_stored *tensors, size_t n) {
    const struct fp4_stored **sorted;
    FP4_TRY(FP4_NEW(sorted, n));
    for (size_t i = 0; i < n; i++)
        sorted[i] = &tensors[i];
    qsort(sorted, n, sizeof *sorted, by_offset);
    fp4_status status = FP4_OK;
    size_t at = origin;
    for (size_t i = 0; i < n && status == FP4_OK; i++) {
        if (sorted[i]->offset != at)
            status = fp4_fail(FP4_ERR_FORMAT, "%s: offset %zu: the data of tensor %s %s", file->path, sorted[i]->offset, sorted[i]->name,
                              sorted[i]->offset < at ? "overlaps the tensor before it" : "leaves a gap before it");
        at = sorted[i]->offset + sorted[i]->bytes;
    }
    if (status == FP4_OK && at != file->map.size)
        status = fp4_fail(FP4_ERR_FORMAT, "%s: offset %zu: %zu bytes after the last tensor", file->path, at, file->map.size - at);
    fp4_free(sorted);
    return status;
}

static fp4_status check_metadata(const char *path, json_t *metadata) {
    const char *key;
    json_t *value;
    if (!json_is_object(metadata))
        return fp4_fail(FP4_ERR_FORMAT, "%s: __metadata__ is not an object", path);
    json_object_foreach(metadata, key, value) {
        if (!json_is_string(value))
            return fp4_fail(FP4_ERR_FORMAT, "%s: __metadata__: the value of %s is not a string", path, key);
    }
    return FP4_OK;
}

static fp4_status read_header(struct fp4_checkpoint *c, const struct io_file *file, size_t origin, json_t *header) {
    json_t *metadata = json_object_get(header, "__metadata__");
    if (metadata)
        FP4_TRY(check_metadata(file->path, metadata));
    size_t n = json_object_size(header) - (metadata != NULL), first = c->n_tensors;
    FP4_TRY(io_reserve_tensors(c, n));
    const char *name;
    json_t *entry;
    json_object_foreach(header, name, entry) {
        if (entry == metadata)
            continue;
        FP4_TRY(read_tensor(c, file, origin, name, entry, &c->tensors[c->n_tensors]));
        c->n_tensors++;
    }
    return check_layout(file, origin, c->tensors + first, n);
}

fp4_status io_safetensors_read(struct fp4_checkpoint *c, const struct io_file *file) {
    const struct fp4_map *map = &file->map;
    if (map->size < 8)
        return fp4_fail(FP4_ERR_FORMAT, "%s: %zu bytes: neither safetensors nor GGUF nor a checkpoint of torch.save", file->path, map->size);
    uint64_t length = io_little_endian(map->data, 8);
    if (length > map->size - 8) {
        if (map->size > 8 && map->data[8] != '{')
            return fp4_fail(FP4_ERR_FORMAT, "%s: neither safetensors nor GGUF nor a checkpoint of torch.save; name one, or the folder that holds it", file->path);
        return fp4_fail(FP4_ERR_FORMAT, "%s: offset 0: a header of %llu bytes in a file of %zu; the file is cut short or broken",
                        file->path, (unsigned long long)length, map->size);
    }
    if (length > HEADER_MAX)
        return fp4_fail(FP4_ERR_FORMAT, "%s: offset 0: a header of %llu bytes; at most %d are allowed", file->path,
                        (unsigned long long)length, HEADER_MAX);
    if (length == 0 || map->data[8] != '{')
        return fp4_fail(FP4_ERR_FORMAT, "%s: offset 8: the header is not a JSON object: neither safetensors nor GGUF nor a checkpoint of torch.save", file->path);
    json_t *header;
    FP4_TRY(io_json_parse(file->path, 8, map->data + 8, (size_t)length, &header));
    fp4_status status = read_header(c, file, 8 + (size_t)length, header);
    json_decref(header);
    return status;
}
