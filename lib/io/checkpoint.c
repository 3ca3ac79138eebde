/* Opening a container: one file by its content, or a folder with one safetensors or PyTorch file or an index of shards. */
#include "lib/io/checkpoint.h"

#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "lib/io/shards.h"

fp4_status io_reserve_tensors(struct fp4_checkpoint *c, size_t n) {
    size_t total;
    struct fp4_stored *grown;
    if (!fp4_size_add(c->n_tensors, n, &total))
        return fp4_fail(FP4_ERR_MEMORY, "%zu tensors", n);
    FP4_TRY(FP4_NEW(grown, total));
    if (c->n_tensors)
        memcpy(grown, c->tensors, c->n_tensors * sizeof *grown);
    fp4_free(c->tensors);
    c->tensors = grown;
    return FP4_OK;
}

static int by_name(const void *a, const void *b) {
    return strcmp((*(const struct fp4_stored *const *)a)->name, (*(const struct fp4_stored *const *)b)->name);
}

static fp4_status index_names(struct fp4_checkpoint *c, const char *path) {
    FP4_TRY(FP4_NEW(c->by_name, c->n_tensors));
    for (size_t i = 0; i < c->n_tensors; i++)
        c->by_name[i] = &c->tensors[i];
    qsort(c->by_name, c->n_tensors, sizeof *c->by_name, by_name);
    for (size_t i = 1; i < c->n_tensors; i++)
        if (strcmp(c->by_name[i - 1]->name, c->by_name[i]->name) == 0)
            return fp4_fail(FP4_ERR_FORMAT, "%s: tensor %s is there twice", path, c->by_name[i]->name);
    return FP4_OK;
}

/* The next place in files (room must be there), with a copy of its path. */
static fp4_status add_file(struct fp4_checkpoint *c, const char *path, struct io_file **out) {
    *out = &c->files[c->n_files];
    FP4_TRY(fp4_strdup(path, &(*out)->path));
    c->n_files++;
    return FP4_OK;
}

static fp4_status read_bytes(struct fp4_checkpoint *c, const struct io_file *file) {
    if (io_is_torch_legacy(&file->map))
        return io_torch_legacy_refuse(file);
    bool gguf = io_is_gguf(&file->map), torch = io_is_zip(&file->map);
    c->kind = gguf ? "gguf" : torch ? "pytorch" : "safetensors";
    return gguf ? io_gguf_read(c, file) : torch ? io_torch_read(c, file) : io_safetensors_read(c, file);
}

static fp4_status open_file(struct fp4_checkpoint *c, const char *path) {
    struct io_file *file;
    FP4_TRY(FP4_NEW(c->files, 1));
    FP4_TRY(add_file(c, path, &file));
    FP4_TRY(fp4_map_open(path, &file->map));
    FP4_TRY(read_bytes(c, file));
    return index_names(c, path);
}

static fp4_status open_memory(struct fp4_checkpoint *c, const char *name, const void *bytes, size_t size) {
    struct io_file *file;
    FP4_TRY(FP4_NEW(c->files, 1));
    FP4_TRY(add_file(c, name, &file));
    file->borrowed = true;
    file->map = (struct fp4_map){bytes, size};
    FP4_TRY(read_bytes(c, file));
    return index_names(c, name);
}

/* All shards are of one kind. */
static fp4_status open_shard(struct fp4_checkpoint *c, const char *path) {
    struct io_file *file;
    const char *before = c->kind;
    FP4_TRY(add_file(c, path, &file));
    FP4_TRY(fp4_map_open(path, &file->map));
    if (io_is_gguf(&file->map))
        return fp4_fail(FP4_ERR_FORMAT, "%s: a GGUF file cannot be a shard", path);
    FP4_TRY(read_bytes(c, file));
    return !before || strcmp(before, c->kind) == 0 ? FP4_OK : fp4_fail(FP4_ERR_FORMAT, "%s: a %s file among %s files", path, c->kind, before);
}

static fp4_status join(char out[4096], const char *folder, const char *name) {
    int n = snprintf(out, 4096, "%s/%s", folder, name);
    return n > 0 && n < 4096 ? FP4_OK : fp4_fail(FP4_ERR_ARG, "%s: path too long", folder);
}

/* Every tensor of the index is in the shard that it names. */
static fp4_status check_shards(const struct fp4_checkpoint *c, const char *index_path, const struct io_shards *shards) {
    const char *tensor;
    json_t *value;
    json_object_foreach(shards->of_tensor, tensor, value) {
        const struct fp4_stored *t = fp4_checkpoint_find(c, tensor);
        const char *shard = json_string_value(value);
        bool found = false;
        for (size_t i = 0; t && i < c->n_files && !found; i++) {
            const struct io_file *file = &c->files[i];
            const char *base = strrchr(file->path, '/');
            found = strcmp(base ? base + 1 : file->path, shard) == 0 && t->data == file->map.data + t->offset;
        }
        if (!found)
            return fp4_fail(FP4_ERR_FORMAT, "%s: tensor %s is not in %s; the set is incomplete or mixed", index_path, tensor, shard);
    }
    return FP4_OK;
}

static fp4_status open_shards(struct fp4_checkpoint *c, const char *folder, const char *index_path, const struct io_shards *shards) {
    FP4_TRY(FP4_NEW(c->files, shards->n));
    for (size_t i = 0; i < shards->n; i++) {
        char path[4096];
        FP4_TRY(join(path, folder, shards->names[i]));
        FP4_TRY(open_shard(c, path));
    }
    FP4_TRY(index_names(c, index_path));
    return check_shards(c, index_path, shards);
}

static fp4_status open_index(struct fp4_checkpoint *c, const char *folder, const char *path) {
    struct io_shards shards;
    fp4_status status = io_shards_open(path, &shards);
    if (status == FP4_OK)
        status = open_shards(c, folder, path, &shards);
    io_shards_free(&shards);
    return status;
}

fp4_status fp4_checkpoint_in_folder(const char *folder, char path[4096], bool *sharded) {
    static const char *const names[] = {"model.safetensors", "model.safetensors.index.json", "pytorch_model.bin", "pytorch_model.bin.index.json"};
    for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
        FP4_TRY(join(path, folder, names[i]));
        *sharded = i % 2;
        if (access(path, F_OK) == 0)
            return FP4_OK;
    }
    return fp4_fail(FP4_ERR_IO, "%s: no model.safetensors, no pytorch_model.bin and no index of either in this folder", folder);
}

static fp4_status open_folder(struct fp4_checkpoint *c, const char *folder) {
    char path[4096];
    bool sharded;
    FP4_TRY(fp4_checkpoint_in_folder(folder, path, &sharded));
    return sharded ? open_index(c, folder, path) : open_file(c, path);
}

fp4_status fp4_checkpoint_open(const char *path, struct fp4_checkpoint **out) {
    struct fp4_checkpoint *c;
    *out = NULL;
    FP4_TRY(FP4_NEW(c, 1));
    struct stat info;
    bool folder = stat(path, &info) == 0 && S_ISDIR(info.st_mode);
    fp4_status status = folder ? open_folder(c, path) : open_file(c, path);
    if (status != FP4_OK) {
        fp4_checkpoint_close(c);
        return status;
    }
    *out = c;
    return FP4_OK;
}

fp4_status io_checkpoint_parse(const char *name, const void *bytes, size_t size, struct fp4_checkpoint **out) {
    struct fp4_checkpoint *c;
    *out = NULL;
    FP4_TRY(FP4_NEW(c, 1));
    fp4_status status = open_memory(c, name, bytes, size);
    if (status != FP4_OK) {
        fp4_checkpoint_close(c);
        return status;
    }
    *out = c;
    return FP4_OK;
}

void fp4_checkpoint_close(struct fp4_checkpoint *c) {
    if (!c)
        return;
    io_gguf_free(c->gguf);
    for (size_t i = 0; i < c->n_files; i++) {
        if (!c->files[i].borrowed)
            fp4_map_close(&c->files[i].map);
        fp4_free(c->files[i].path);
    }
    fp4_free(c->files);
    fp4_free(c->tensors);
    fp4_free(c->by_name);
    io_pool_free(&c->pool);
    fp4_free(c);
}

size_t fp4_checkpoint_count(const struct fp4_checkpoint *c) { return c->n_tensors; }

const struct fp4_stored *fp4_checkpoint_at(const struct fp4_checkpoint *c, size_t i) {
    return i < c->n_tensors ? &c->tensors[i] : NULL;
}

const struct fp4_stored *fp4_checkpoint_find(const struct fp4_checkpoint *c, const char *name) {
    struct fp4_stored key = {.name = name}, *pointer = &key;
    const struct fp4_stored **hit = bsearch(&pointer, c->by_name, c->n_tensors, sizeof *c->by_name, by_name);
    return hit ? *hit : NULL;
}

size_t fp4_checkpoint_n_files(const struct fp4_checkpoint *c) { return c->n_files; }
const char *fp4_checkpoint_file(const struct fp4_checkpoint *c, size_t i) { return i < c->n_files ? c->files[i].path : NULL; }
const char *fp4_checkpoint_kind(const struct fp4_checkpoint *c) { return c->kind; }
