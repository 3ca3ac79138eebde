/* Tokenizers beside the checkpoints that are written. */
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "lib/base/json.h"
#include "lib/text/vocab.h"

enum { FILE_LIMIT = 256 << 20 };

/* What a folder may hold of a tokenizer, and how its model is meant to be sampled from. */
static const char *const tokenizer_files[] = {"tokenizer.json", "tokenizer.model", "vocab.json", "merges.txt"};
static const char *const other_files[] = {"tokenizer_config.json", "special_tokens_map.json", "added_tokens.json", "chat_template.jinja", "generation_config.json"};

/* Where the tokenizer is: a GGUF file (gguf true), or a folder. */
struct source {
    char path[4096];
    bool gguf;
};

static fp4_status locate(const char *path, struct source *out) {
    struct stat info;
    size_t n = strlen(path);
    if (n >= sizeof out->path - 64)
        return fp4_fail(FP4_ERR_ARG, "%s: path too long", path);
    memcpy(out->path, path, n + 1);
    out->gguf = false;
    if (stat(path, &info) != 0)
        return fp4_fail(FP4_ERR_IO, "%s: not found", path);
    if (S_ISDIR(info.st_mode))
        return FP4_OK;
    struct fp4_map map;
    FP4_TRY(fp4_map_open(path, &map));
    out->gguf = io_is_gguf(&map);
    fp4_map_close(&map);
    char *slash = strrchr(out->path, '/');
    if (!out->gguf)
        snprintf(slash ? slash : out->path, 2, slash ? "" : ".");
    return FP4_OK;
}

static bool is_there(const char *folder, const char *name, char path[4600]) {
    snprintf(path, 4600, "%s/%s", folder, name);
    return access(path, R_OK) == 0;
}

/* ---- folder to folder ---- */

static fp4_status copy_file(const char *from, const char *to) {
    struct stat a, b;
    struct fp4_map map;
    if (stat(from, &a) == 0 && stat(to, &b) == 0 && a.st_dev == b.st_dev && a.st_ino == b.st_ino)
        return FP4_OK;
    FP4_TRY(fp4_map_open(from, &map));
    fp4_status status = map.size > FILE_LIMIT ? fp4_fail(FP4_ERR_FORMAT, "%s: %zu bytes are too many for a tokenizer's file", from, map.size)
                                              : fp4_write_file(to, map.data, map.size);
    fp4_map_close(&map);
    return status;
}

static fp4_status copy_files(const char *from, const char *folder, const char *const *names, size_t n, bool *found) {
    char source[4600], target[4600];
    for (size_t i = 0; i < n; i++) {
        if (!is_there(from, names[i], source))
            continue;
        *found = true;
        if (!folder)
            continue;
        is_there(folder, names[i], target);
        FP4_TRY(copy_file(source, target));
    }
    return FP4_OK;
}

/* ---- GGUF to folder ---- */

static json_t *token_text(const struct vocab *v, enum vocab_id which) {
    int id = v->id[which];
    return id >= 0 && (size_t)id < v->n_tokens && v->tokens[id].text ? json_stringn(v->tokens[id].text, v->tokens[id].bytes) : json_null();
}

static fp4_status write_config(const struct vocab *v, const char *folder) {
    json_watch();
    json_t *root = json_pack("{s:s,s:b,s:o,s:o,s:o,s:o}", "tokenizer_class", "PreTrainedTokenizerFast", "clean_up_tokenization_spaces", 0, "bos_token",
                             token_text(v, VOCAB_BOS), "eos_token", token_text(v, VOCAB_EOS), "unk_token", token_text(v, VOCAB_UNK), "pad_token", token_text(v, VOCAB_PAD));
    if (v->chat_template)
        json_object_set_new(root, "chat_template", json_string(v->chat_template));
    return io_json_write(folder, "tokenizer_config.json", root, JSON_INDENT(2));
}

static fp4_status write_vocab(const char *path, const struct vocab *v, const char *folder) {
    json_t *root;
    FP4_TRY(vocab_to_json(path, v, &root));
    if (!folder) {
        json_decref(root);
        return FP4_OK;
    }
    FP4_TRY(io_json_write(folder, "tokenizer.json", root, JSON_COMPACT));
    return write_config(v, folder);
}

static fp4_status from_gguf(const char *path, const char *folder, bool *found) {
    struct fp4_checkpoint *c;
    struct vocab v = {0};
    FP4_TRY(fp4_checkpoint_open(path, &c));
    fp4_status status = FP4_OK;
    *found = fp4_gguf_meta_find(c, "tokenizer.ggml.model") != NULL;
    if (*found) {
        status = vocab_from_gguf(path, c, &v);
        if (status == FP4_OK)
            status = write_vocab(path, &v, folder);
        vocab_free(&v);
    }
    fp4_checkpoint_close(c);
    return status;
}

/* A tokenizer.json beside a tokenizer.model that stands alone. A model that has no such form is copied all the same. */
static fp4_status add_json(const char *from, const char *folder) {
    char path[4600], made[4600];
    struct vocab v;
    if (!is_there(from, "tokenizer.model", path) || is_there(from, "tokenizer.json", made) || is_there(from, "vocab.json", made))
        return FP4_OK;
    bool configured = is_there(from, "tokenizer_config.json", made);
    fp4_status status = vocab_from_model(path, &v);
    json_t *root = NULL;
    if (status == FP4_OK)
        status = vocab_to_json(path, &v, &root);
    if (status == FP4_OK)
        status = io_json_write(folder, "tokenizer.json", root, JSON_COMPACT);
    if (status == FP4_OK && !configured)
        status = write_config(&v, folder);
    vocab_free(&v);
    return status == FP4_ERR_UNSUPPORTED ? FP4_OK : status;
}

fp4_status fp4_tokenizer_export(const char *source, const char *folder, bool *found) {
    struct source s;
    bool more = false;
    *found = false;
    FP4_TRY(locate(source, &s));
    if (folder)
        FP4_TRY(fp4_make_dirs(folder));
    if (s.gguf)
        return from_gguf(s.path, folder, found);
    FP4_TRY(copy_files(s.path, folder, tokenizer_files, sizeof tokenizer_files / sizeof *tokenizer_files, found));
    FP4_TRY(copy_files(s.path, folder, other_files, sizeof other_files / sizeof *other_files, &more));
    return folder ? add_json(s.path, folder) : FP4_OK;
}

/* ---- to GGUF ---- */

static fp4_status copy_pairs(const char *path, struct gguf_pairs *pairs) {
    struct fp4_checkpoint *c;
    FP4_TRY(fp4_checkpoint_open(path, &c));
    for (size_t i = 0; i < fp4_gguf_meta_count(c); i++)
        if (strncmp(fp4_gguf_meta_at(c, i)->key, "tokenizer.", 10) == 0)
            gguf_put_copy(pairs, fp4_gguf_meta_at(c, i));
    fp4_checkpoint_close(c);
    return pairs->status;
}

/* tokenizer_config.json may hold the template of a chat, or chat_template.jinja beside it. *text: fp4_alloc'ed, NULL when there is none. */
static fp4_status read_chat_template(const char *folder, char **text) {
    char path[4600];
    json_t *root = NULL;
    *text = NULL;
    if (is_there(folder, "chat_template.jinja", path))
        return fp4_read_file(path, 1 << 24, text, NULL);
    if (is_there(folder, "tokenizer_config.json", path))
        FP4_TRY(io_json_file(path, 1 << 24, &root));
    const char *template = json_string_value(json_object_get(root, "chat_template"));
    fp4_status status = template ? fp4_strdup(template, text) : FP4_OK;
    json_decref(root);
    return status;
}

static fp4_status pairs_from_file(const char *folder, const char *path, bool json, const struct fp4_config *config, struct gguf_pairs *pairs) {
    struct vocab v;
    char *template = NULL;
    fp4_status status = json ? vocab_from_json(path, &v) : vocab_from_model(path, &v);
    if (status == FP4_OK && v.n_tokens > config->n_vocab)
        status = fp4_fail(FP4_ERR_FORMAT, "%s: %zu tokens, the model has %zu; they do not belong together", path, v.n_tokens, config->n_vocab);
    if (status == FP4_OK)
        status = read_chat_template(folder, &template);
    if (status == FP4_OK) {
        v.chat_template = template;
        v.id[VOCAB_BOS] = config->bos_id;
        v.id[VOCAB_EOS] = config->eos_id;
        v.id[VOCAB_PAD] = config->has_pad ? config->pad_id : -1;
        v.add_bos = v.add_bos || config->add_bos;
        status = vocab_to_gguf(&v, config->n_vocab, pairs);
    }
    fp4_free(template);
    vocab_free(&v);
    return status;
}

fp4_status vocab_pairs(const char *source, const struct fp4_config *config, struct gguf_pairs *pairs) {
    struct source s;
    char path[4600];
    FP4_TRY(locate(source, &s));
    if (s.gguf)
        return copy_pairs(s.path, pairs);
    bool json = is_there(s.path, "tokenizer.json", path);
    if (!json && !is_there(s.path, "tokenizer.model", path))
        return fp4_fail(FP4_ERR_IO, "%s: not found, and no tokenizer.json; a GGUF file gets its tokenizer from either", path);
    return pairs_from_file(s.path, path, json, config, pairs);
}
