/* PyTorch checkpoints, reading: what torch.save writes since 1.6, a ZIP archive of NAME/data.pkl (a state dict, see pickle.c) and NAME/data/KEY (the
 * bytes of each storage). Facts from PyTorch's documentation ("Serialization semantics") and torch/serialization.py: the persistent
 * ids, the entries' names, `byteorder`, and the magic number of the older form. */
#include <string.h>

#include "lib/io/pickle.h"
#include "lib/io/zip.h"

struct archive {
    struct fp4_checkpoint *c;
    const struct io_file *file;
    struct zip zip;
    struct pickle pickle;
    char name[ZIP_NAME_MAX]; /* of an entry; begins with the folder of them all */
    size_t root; /* bytes of it, with its slash */
};

bool io_is_torch_legacy(const struct fp4_map *map) {
    static const uint8_t magic[] = {0x8a, 0x0a, 0x6c, 0xfc, 0x9c, 0x46, 0xf9, 0x20, 0x6a, 0xa8, 0x50, 0x19}; /* 0x1950a86a20f9469cfc6c as LONG1 */
    return map->size >= 2 + sizeof magic && map->data[0] == 0x80 && memcmp(map->data + 2, magic, sizeof magic) == 0;
}

fp4_status io_torch_legacy_refuse(const struct io_file *file) {
    return fp4_fail(FP4_ERR_UNSUPPORTED,
                    "%s: PyTorch's form from before 1.6, a bare pickle; load it with torch.load(weights_only=True) and torch.save it again, or convert it to safetensors",
                    file->path);
}

/* ---- the archive's own entries ---- */

static const struct zip_entry *find(struct archive *a, const char *folder, const char *key, size_t key_bytes) {
    size_t n = strlen(folder);
    if (key_bytes > sizeof a->name - a->root - n)
        return NULL;
    memcpy(a->name + a->root, folder, n);
    memcpy(a->name + a->root + n, key, key_bytes);
    return zip_find(&a->zip, a->name, a->root + n + key_bytes);
}

/* NAME/ from the only NAME/data.pkl. */
static fp4_status find_root(struct archive *a, const struct zip_entry **pickle) {
    static const char suffix[] = "/data.pkl";
    size_t n = sizeof suffix - 1;
    *pickle = NULL;
    for (size_t i = 0; i < a->zip.n; i++) {
        const struct zip_entry *e = &a->zip.entries[i];
        if (e->name_bytes <= n || memcmp(e->name + e->name_bytes - n, suffix, n) != 0 || memchr(e->name, '/', e->name_bytes - n))
            continue;
        if (*pickle)
            return fp4_fail(FP4_ERR_FORMAT, "%s: a ZIP archive with more than one NAME/data.pkl", a->file->path);
        *pickle = e;
        a->root = e->name_bytes - n + 1;
        memcpy(a->name, e->name, a->root);
    }
    return *pickle ? FP4_OK : fp4_fail(FP4_ERR_FORMAT, "%s: a ZIP archive without NAME/data.pkl: not a checkpoint of torch.save", a->file->path);
}

static fp4_status check_archive(struct archive *a) {
    if (find(a, "constants.pkl", "", 0))
        return fp4_fail(FP4_ERR_UNSUPPORTED, "%s: a TorchScript program, not a checkpoint; save its state_dict with torch.save or as safetensors", a->file->path);
    const struct zip_entry *order = find(a, "byteorder", "", 0);
    if (!order || (order->bytes == 6 && memcmp(order->data, "little", 6) == 0))
        return FP4_OK;
    if (order->bytes == 3 && memcmp(order->data, "big", 3) == 0)
        return fp4_fail(FP4_ERR_UNSUPPORTED, "%s: written on a big-endian machine; load and save it with torch on this one", a->file->path);
    return fp4_fail(FP4_ERR_FORMAT, "%s: byteorder is neither \"little\" nor \"big\"", a->file->path);
}

/* ---- tensors ---- */

static fp4_status read_shape(const struct archive *a, const struct pickle_value *sizes, struct fp4_stored *t) {
    if (sizes->n > 4)
        return fp4_fail(FP4_ERR_UNSUPPORTED, "%s: tensor %s: %u dimensions; at most 4 are supported", a->file->path, t->name, sizes->n);
    t->n_dims = (int)sizes->n;
    t->elements = 1;
    for (size_t i = 0; i < sizes->n; i++) {
        const struct pickle_value *size = pickle_item(&a->pickle, sizes, i);
        if (size->kind != PICKLE_INT || size->integer < 0)
            return fp4_fail(FP4_ERR_FORMAT, "%s: tensor %s: its shape is not a list of sizes", a->file->path, t->name);
        t->shape[i] = (size_t)size->integer;
        if (!fp4_size_mul(t->elements, t->shape[i], &t->elements))
            return fp4_fail(FP4_ERR_FORMAT, "%s: tensor %s: its size overflows", a->file->path, t->name);
    }
    return FP4_OK;
}

/* Row-major without gaps; the stride of a dimension of one element says nothing. */
static fp4_status check_strides(const struct archive *a, const struct pickle_value *strides, const struct fp4_stored *t) {
    size_t expected = 1;
    if (strides->n != (uint32_t)t->n_dims)
        return fp4_fail(FP4_ERR_FORMAT, "%s: tensor %s: %d sizes and %u strides", a->file->path, t->name, t->n_dims, strides->n);
    for (int i = t->n_dims - 1; i >= 0 && t->elements; i--) {
        const struct pickle_value *stride = pickle_item(&a->pickle, strides, (size_t)i);
        if (stride->kind != PICKLE_INT || stride->integer < 0)
            return fp4_fail(FP4_ERR_FORMAT, "%s: tensor %s: its strides are not a list of sizes", a->file->path, t->name);
        if (t->shape[i] != 1 && (size_t)stride->integer != expected)
            return fp4_fail(FP4_ERR_UNSUPPORTED, "%s: tensor %s: not contiguous (stride %lld of dimension %d, not %zu); save it after .contiguous()",
                            a->file->path, t->name, (long long)stride->integer, i, expected);
        expected *= t->shape[i]; /* at most t->elements */
    }
    return FP4_OK;
}

/* Where the storage lies, and the tensor in it from element `first`. */
static fp4_status place(struct archive *a, const struct pickle_value *storage, int64_t first, struct fp4_stored *t) {
    const struct pickle *p = &a->pickle;
    const struct pickle_value *id = &p->values[storage->n], *key = pickle_item(p, id, 2);
    int64_t elements = pickle_item(p, id, 4)->integer;
    int shown = key->n > 100 ? 100 : (int)key->n;
    t->dtype = (enum fp4_dtype)pickle_item(p, id, 1)->n;
    const struct io_dtype *info = io_dtype_info(t->dtype);
    t->type_name = info->name;
    const struct zip_entry *e = find(a, "data/", pickle_text(p, key), key->n);
    if (!e)
        return fp4_fail(FP4_ERR_FORMAT, "%s: tensor %s: its storage data/%.*s is not in the archive", a->file->path, t->name, shown, pickle_text(p, key));
    size_t bytes, end, offset;
    if (elements < 0 || !fp4_size_mul((size_t)elements, info->block_bytes, &bytes) || bytes != e->bytes)
        return fp4_fail(FP4_ERR_FORMAT, "%s: tensor %s: its storage data/%.*s has %zu bytes, not %lld elements of %s", a->file->path, t->name, shown,
                        pickle_text(p, key), e->bytes, (long long)elements, info->name);
    if (first < 0 || !fp4_size_add((size_t)first, t->elements, &end) || end > (size_t)elements)
        return fp4_fail(FP4_ERR_FORMAT, "%s: tensor %s: %zu elements from %lld on lie outside its storage of %lld", a->file->path, t->name, t->elements,
                        (long long)first, (long long)elements);
    if (!fp4_size_mul(t->elements, info->block_bytes, &t->bytes) || !fp4_size_mul((size_t)first, info->block_bytes, &offset))
        return fp4_fail(FP4_ERR_FORMAT, "%s: tensor %s: its size overflows", a->file->path, t->name);
    t->data = e->data + offset;
    t->offset = (size_t)(t->data - a->file->map.data);
    return FP4_OK;
}

static fp4_status read_tensor(struct archive *a, const struct pickle_value *key, const struct pickle_value *tensor, struct fp4_stored *t) {
    const struct pickle *p = &a->pickle;
    const struct pickle_value *arguments = &p->values[tensor->n];
    if (key->kind != PICKLE_TEXT || key->n == 0 || !io_is_name(pickle_text(p, key), key->n))
        return fp4_fail(FP4_ERR_FORMAT, "%s: data.pkl: a tensor's name is no text, empty or not UTF-8", a->file->path);
    FP4_TRY(io_pool_copy(&a->c->pool, pickle_text(p, key), key->n, &t->name));
    FP4_TRY(read_shape(a, pickle_item(p, arguments, 2), t));
    FP4_TRY(check_strides(a, pickle_item(p, arguments, 3), t));
    return place(a, pickle_item(p, arguments, 0), pickle_item(p, arguments, 1)->integer, t);
}

/* A training checkpoint keeps its state dict under a name of its own. */
static fp4_status refuse_nested(const struct archive *a, const struct pickle_value *dict) {
    const struct pickle *p = &a->pickle;
    for (uint32_t i = (uint32_t)dict->integer; i; i = p->pairs[i].next) {
        const struct pickle_value *key = &p->values[p->pairs[i].key];
        if (p->values[p->pairs[i].value].kind == PICKLE_DICT && key->kind == PICKLE_TEXT)
            return fp4_fail(FP4_ERR_UNSUPPORTED, "%s: no dictionary of tensors; they may be in its entry \"%.*s\": torch.save that alone, or convert it to safetensors",
                            a->file->path, key->n > 100 ? 100 : (int)key->n, pickle_text(p, key));
    }
    return FP4_OK;
}

static fp4_status read_dict(struct archive *a, uint32_t top) {
    const struct pickle *p = &a->pickle;
    const struct pickle_value *dict = &p->values[top];
    size_t n = 0;
    if (dict->kind != PICKLE_DICT)
        return fp4_fail(FP4_ERR_UNSUPPORTED, "%s: holds no dictionary of tensors; torch.save a state_dict, or convert it to safetensors", a->file->path);
    for (uint32_t i = (uint32_t)dict->integer; i; i = p->pairs[i].next)
        n += p->values[p->pairs[i].value].kind == PICKLE_TENSOR;
    if (n == 0)
        FP4_TRY(refuse_nested(a, dict));
    FP4_TRY(io_reserve_tensors(a->c, n));
    for (uint32_t i = (uint32_t)dict->integer; i; i = p->pairs[i].next) {
        const struct pickle_value *value = &p->values[p->pairs[i].value];
        if (value->kind != PICKLE_TENSOR)
            continue;
        FP4_TRY(read_tensor(a, &p->values[p->pairs[i].key], value, &a->c->tensors[a->c->n_tensors]));
        a->c->n_tensors++;
    }
    return FP4_OK;
}

static fp4_status read_archive(struct archive *a) {
    const struct zip_entry *pickle;
    uint32_t top = 0;
    FP4_TRY(zip_open(a->file, &a->zip));
    FP4_TRY(find_root(a, &pickle));
    FP4_TRY(check_archive(a));
    FP4_TRY(pickle_read(a->file->path, pickle->data, pickle->bytes, &a->pickle, &top));
    return read_dict(a, top);
}

fp4_status io_torch_read(struct fp4_checkpoint *c, const struct io_file *file) {
    struct archive a = {.c = c, .file = file};
    fp4_status status = read_archive(&a);
    pickle_free(&a.pickle);
    zip_close(&a.zip);
    return status;
}
