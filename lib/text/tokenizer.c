/* Opening a tokenizer, in whatever file it is, and what can be asked of it. */
#include "lib/text/budget.h"
#include "lib/text/tokenizer.h"

#include <dirent.h>
#include <string.h>
#include <sys/stat.h>

static bool exists(const char *folder, const char *file, char *path, size_t size) {
    struct stat info;
    return snprintf(path, size, "%s/%s", folder, file) < (int)size && stat(path, &info) == 0;
}

/* The only GGUF file of a folder. */
static fp4_status find_gguf(const char *folder, char *path, size_t size) {
    DIR *d = opendir(folder);
    if (!d)
        return fp4_fail(FP4_ERR_IO, "%s: cannot read the folder", folder);
    size_t found = 0;
    for (struct dirent *e = readdir(d); e; e = readdir(d)) {
        size_t n = strlen(e->d_name);
        if (n < 6 || strcmp(e->d_name + n - 5, ".gguf") != 0)
            continue;
        found++;
        snprintf(path, size, "%s/%s", folder, e->d_name);
    }
    closedir(d);
    if (found == 0)
        return fp4_fail(FP4_ERR_IO, "%s: holds no tokenizer: no tokenizer.json, tokenizer.model, vocab.json with merges.txt, or GGUF file; put the model's own there", folder);
    return found == 1 ? FP4_OK : fp4_fail(FP4_ERR_IO, "%s: holds no tokenizer.json, and %zu GGUF files; name the one", folder, found);
}

/* A SentencePiece model begins with its first field, a piece: the byte 0A, which before a brace is JSON's white space. */
static bool is_model(const uint8_t *data, size_t size) {
    size_t blank = 0;
    while (blank < size && memchr(" \t\r\n", data[blank], 4))
        blank++;
    return blank < size && data[0] == '\n' && data[blank] != '{';
}

static bool is_gguf(const void *data, size_t size) {
    return size >= 4 && memcmp(data, "GGUF", 4) == 0;
}

static fp4_status parse(const char *name, const uint8_t *data, size_t size, struct fp4_tokenizer *t) {
    budget_begin(t->name, size, 0.25);
    if (is_gguf(data, size))
        return tokenizer_read_gguf(name, data, size, t);
    if (size > TOKENIZER_FILE_MAX)
        return fp4_fail(FP4_ERR_FORMAT, "%s: %zu bytes are too many for a tokenizer", name, size);
    return is_model(data, size) ? tokenizer_read_model(name, data, size, t) : tokenizer_read_json(name, (const char *)data, size, t);
}

/* Of a file's path. */
static void folder_of(const char *path, char folder[4096]) {
    const char *slash = strrchr(path, '/');
    snprintf(folder, 4096, "%.*s", slash ? (int)(slash - path + (slash == path)) : 1, slash ? path : ".");
}

/* What stands beside a tokenizer.model may take its begin token away. */
static fp4_status read_file(const char *path, struct fp4_tokenizer *t) {
    struct fp4_map map;
    char folder[4096];
    folder_of(path, folder);
    FP4_TRY(fp4_map_open(path, &map));
    fp4_status status = parse(path, map.data, map.size, t);
    if (status == FP4_OK && is_model(map.data, map.size))
        status = tokenizer_open_model_config(folder, t);
    fp4_map_close(&map);
    return status;
}

static fp4_status read_folder(const char *folder, struct fp4_tokenizer *t) {
    char path[4096], other[4096];
    if (strlen(folder) > sizeof path - 300)
        return fp4_fail(FP4_ERR_ARG, "%s: path too long", folder);
    if (exists(folder, "tokenizer.json", path, sizeof path) || exists(folder, "tokenizer.model", path, sizeof path))
        return read_file(path, t);
    if (exists(folder, "vocab.json", path, sizeof path) && exists(folder, "merges.txt", other, sizeof other))
        return tokenizer_open_pair(folder, t);
    FP4_TRY(find_gguf(folder, path, sizeof path));
    return read_file(path, t);
}

fp4_status tokenizer_create(const char *name, struct fp4_tokenizer **t) {
    FP4_TRY(FP4_NEW(*t, 1));
    (*t)->unknown = -1;
    fp4_status status = fp4_strdup(name, &(*t)->name);
    if (status != FP4_OK)
        fp4_free(*t);
    return status;
}

fp4_status tokenizer_finish(fp4_status status, struct fp4_tokenizer *t, struct fp4_tokenizer **out) {
    budget_end();
    if (status == FP4_OK)
        *out = t;
    else
        fp4_tokenizer_close(t);
    return status;
}

fp4_status tokenizer_parse(const char *name, const void *data, size_t size, struct fp4_tokenizer **out) {
    struct fp4_tokenizer *t;
    *out = NULL;
    FP4_TRY(tokenizer_create(name, &t));
    return tokenizer_finish(parse(name, data, size, t), t, out);
}

/* safetensors (the length of the header, the header), or the archive of torch.save. */
static bool is_weights(const uint8_t *data, size_t size) {
    uint64_t header = 0;
    for (size_t i = 8; i-- > 0 && size > 8;)
        header = header << 8 | data[i];
    return (size > 8 && header <= size - 8 && data[8] == '{') || (size >= 4 && memcmp(data, "PK\3\4", 4) == 0);
}

/* Weights named by their file have their tokenizer beside them, as their config.json. */
static fp4_status read_named(const char *path, struct fp4_tokenizer *t) {
    struct fp4_map map;
    char folder[4096];
    FP4_TRY(fp4_map_open(path, &map));
    bool weights = is_weights(map.data, map.size);
    fp4_map_close(&map);
    folder_of(path, folder);
    return weights ? read_folder(folder, t) : read_file(path, t);
}

fp4_status fp4_tokenizer_open(const char *path, struct fp4_tokenizer **out) {
    struct stat info;
    struct fp4_tokenizer *t;
    *out = NULL;
    FP4_TRY(tokenizer_create(path, &t));
    return tokenizer_finish(stat(path, &info) == 0 && S_ISDIR(info.st_mode) ? read_folder(path, t) : read_named(path, t), t, out);
}

void fp4_tokenizer_close(struct fp4_tokenizer *t) {
    if (!t)
        return;
    fp4_free(t->name);
    fp4_free(t->tokens);
    fp4_free(t->bytes);
    fp4_free(t->slots);
    fp4_free(t->merges);
    fp4_free(t->characters);
    fp4_free(t->hidden);
    fp4_free(t->classes);
    fp4_free(t->begin);
    fp4_free(t->end);
    steps_free(&t->normalizers);
    steps_free(&t->splits);
    steps_free(&t->decoders);
    added_free(&t->raw);
    added_free(&t->normalized);
    pattern_free(t->word);
    fp4_free(t);
}

size_t fp4_tokenizer_vocab(const struct fp4_tokenizer *t) {
    return t->n_vocab;
}

bool fp4_token_is_special(const struct fp4_tokenizer *t, int32_t id) {
    return id >= 0 && (size_t)id < t->n_vocab && t->tokens[id].kind == TOKEN_CONTROL;
}

size_t fp4_tokenizer_begin(const struct fp4_tokenizer *t, const int32_t **ids) {
    *ids = t->begin;
    return t->n_begin;
}

size_t fp4_tokenizer_end(const struct fp4_tokenizer *t, const int32_t **ids) {
    *ids = t->end;
    return t->n_end;
}
