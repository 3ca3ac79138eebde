/* The older form of GPT-2's kind: vocab.json and merges.txt, with tokenizer_config.json, special_tokens_map.json and added_tokens.json beside
 * them (transformers' GPT2Tokenizer, which OPT uses too); and what stands beside a tokenizer.model. */
#include <jansson.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "lib/base/json.h"
#include "lib/text/budget.h"
#include "lib/text/tokenizer.h"

#define FILE_LIMIT ((size_t)64 << 20)

struct files {
    json_t *vocab, *config, *map, *added;
    struct tokenizer_part merges;
};

/* Integers are read as reals: nothing here needs them, and transformers writes a model_max_length of 10^30 where a tokenizer has none. */
enum { ANY_NUMBER = JSON_DECODE_INT_AS_REAL };

/* An object; NULL for a file that is absent. */
static fp4_status parse(const char *folder, const char *file, const struct tokenizer_part *part, size_t flags, json_t **out) {
    json_error_t error;
    *out = NULL;
    if (!part->text)
        return FP4_OK;
    *out = json_parse(part->text, part->n, JSON_REJECT_DUPLICATES | JSON_ALLOW_NUL | flags, &error);
    if (json_is_object(*out))
        return FP4_OK;
    fp4_status status = *out ? fp4_fail(FP4_ERR_FORMAT, "%s/%s: no object", folder, file)
                             : fp4_fail(json_fault(&error), "%s/%s: not JSON: line %d: %s", folder, file, error.line, error.text);
    json_decref(*out);
    *out = NULL;
    return status;
}

/* Memory in proportion to the files: ids may leave gaps, but not many times what there are tokens. */
static size_t id_limit(const struct files *f) {
    return 8 * (json_object_size(f->vocab) + json_object_size(f->added) + json_object_size(json_object_get(f->config, "added_tokens_decoder"))) + 1024;
}

static fp4_status read_vocab(struct tokenizer_source *s, size_t limit, json_t *vocab) {
    const char *text;
    json_t *id;
    FP4_TRY(FP4_NEW(s->tokens, limit));
    json_object_foreach(vocab, text, id) {
        json_int_t value = json_integer_value(id);
        if (!json_is_integer(id) || value < 0 || (uint64_t)value >= limit || s->tokens[value].text)
            return fp4_fail(FP4_ERR_FORMAT, "%s/vocab.json: the id of token \"%.40s\" is no integer, out of range or another token's", s->path, text);
        s->tokens[value] = (struct source_token){text, strlen(text), TOKEN_NORMAL, true};
        if ((size_t)value >= s->n_tokens)
            s->n_tokens = (size_t)value + 1;
    }
    return FP4_OK;
}

/* One merge a line; a line that begins with "#version" is a heading. */
static fp4_status read_merges(struct tokenizer_source *s, const struct files *f) {
    char path[4096];
    size_t lines = 1;
    snprintf(path, sizeof path, "%.4000s/merges.txt", s->path);
    for (size_t i = 0; i < f->merges.n; i++)
        lines += f->merges.text[i] == '\n';
    FP4_TRY(FP4_NEW(s->merges, lines));
    for (size_t at = 0; at < f->merges.n;) {
        const char *line = f->merges.text + at, *newline = memchr(line, '\n', f->merges.n - at);
        size_t n = newline ? (size_t)(newline - line) : f->merges.n - at;
        at += n + 1;
        n -= n && line[n - 1] == '\r';
        if (n == 0 || (n >= 8 && memcmp(line, "#version", 8) == 0))
            continue;
        FP4_TRY(tokenizer_split_merge(path, s->n_merges, line, n, &s->merges[s->n_merges]));
        s->n_merges++;
    }
    return FP4_OK;
}

/* ---- added tokens: {"id": {"content": …, flags}} in tokenizer_config.json, in older folders {"content": id} in added_tokens.json ---- */

struct addition {
    const char *file, *text;
    size_t bytes;
    json_int_t id;
    const json_t *flags; /* NULL: none */
};
typedef fp4_status addition_reader(void *context, const struct addition *a);

static fp4_status each_addition(const char *folder, json_t *config, json_t *added, addition_reader *body, void *context) {
    const char *key;
    json_t *value;
    json_object_foreach(json_object_get(config, "added_tokens_decoder"), key, value) {
        const json_t *content = json_object_get(value, "content");
        char *end;
        json_int_t id = strtoll(key, &end, 10);
        if (*key < '0' || *key > '9' || *end || !json_is_string(content) || json_string_length(content) == 0)
            return fp4_fail(FP4_ERR_FORMAT, "%s/tokenizer_config.json: added_tokens_decoder.%.40s is not an id with its content", folder, key);
        FP4_TRY(body(context, &(struct addition){"tokenizer_config.json", json_string_value(content), json_string_length(content), id, value}));
    }
    json_object_foreach(added, key, value) {
        if (!json_is_integer(value) || *key == 0)
            return fp4_fail(FP4_ERR_FORMAT, "%s/added_tokens.json: the id of \"%.40s\" is no integer", folder, key);
        FP4_TRY(body(context, &(struct addition){"added_tokens.json", key, strlen(key), json_integer_value(value), NULL}));
    }
    return FP4_OK;
}

static bool flagged(const struct addition *a, const char *name) { return json_is_true(json_object_get(a->flags, name)); }

struct additions {
    struct tokenizer_source *s;
    const struct files *f;
    size_t limit;
};

static fp4_status add_token(void *context, const struct addition *a) {
    struct additions *x = context;
    struct tokenizer_source *s = x->s;
    const json_t *known = strlen(a->text) == a->bytes ? json_object_get(x->f->vocab, a->text) : NULL;
    bool fits = a->id >= 0 && (uint64_t)a->id < x->limit;
    struct source_token *to = fits ? &s->tokens[a->id] : NULL;
    bool same = fits && to->text && to->bytes == a->bytes && memcmp(to->text, a->text, a->bytes) == 0;
    if (!fits || (to->text && !same) || (known && json_integer_value(known) != a->id))
        return fp4_fail(FP4_ERR_FORMAT, "%s/%s: the id %lld of \"%.40s\" is out of range, another token's, or another than in vocab.json", s->path, a->file,
                        (long long)a->id, a->text);
    if (to->kind >= TOKEN_ADDED) /* in both files */
        return FP4_OK;
    bool special = flagged(a, "special");
    const json_t *normalized = json_object_get(a->flags, "normalized");
    to->text = a->text;
    to->bytes = a->bytes;
    to->kind = special ? TOKEN_CONTROL : TOKEN_ADDED;
    if ((size_t)a->id >= s->n_tokens)
        s->n_tokens = (size_t)a->id + 1;
    s->added[s->n_added++] = (struct source_added){.id = (int32_t)a->id,
                                                   .normalized = normalized ? json_is_true(normalized) : !special,
                                                   .lstrip = flagged(a, "lstrip"),
                                                   .rstrip = flagged(a, "rstrip"),
                                                   .single_word = flagged(a, "single_word")};
    return FP4_OK;
}

/* ---- special tokens ---- */

/* Index of an added token; n_added: it is none. */
static size_t find_added(const struct tokenizer_source *s, const char *text) {
    for (size_t i = 0; i < s->n_added; i++) {
        const struct source_token *token = &s->tokens[s->added[i].id];
        if (token->bytes == strlen(text) && memcmp(token->text, text, token->bytes) == 0)
            return i;
    }
    return s->n_added;
}

static int32_t find_id(const struct tokenizer_source *s, const struct files *f, const char *text) {
    const json_t *id = json_object_get(f->vocab, text);
    size_t i = id ? 0 : find_added(s, text);
    return id ? (int32_t)json_integer_value(id) : i < s->n_added ? s->added[i].id : -1;
}

/* A token named by a file: its text, or an object with content and flags; NULL: not named. */
static const json_t *named(const struct files *f, const char *name) {
    const json_t *token = json_object_get(f->config, name);
    return token && !json_is_null(token) ? token : json_object_get(f->map, name);
}

static fp4_status add_special(struct tokenizer_source *s, const struct files *f, const json_t *token, const char *otherwise) {
    const json_t *content = json_is_object(token) ? json_object_get(token, "content") : token;
    const char *text = json_is_string(content) ? json_string_value(content) : otherwise;
    int32_t id = text ? find_id(s, f, text) : -1;
    if (!text || (id < 0 && text == otherwise))
        return FP4_OK;
    if (id < 0)
        return fp4_fail(FP4_ERR_UNSUPPORTED, "%s: the special token \"%.40s\" is not in vocab.json, nor an added token", s->path, text);
    struct source_token *to = &s->tokens[id];
    size_t i = to->kind == TOKEN_ADDED ? find_added(s, text) : s->n_added;
    if (to->kind == TOKEN_CONTROL)
        return FP4_OK;
    to->kind = TOKEN_CONTROL;
    s->n_added += i == s->n_added;
    s->added[i] = (struct source_added){.id = id, .lstrip = json_is_true(json_object_get(token, "lstrip")),
                                        .rstrip = json_is_true(json_object_get(token, "rstrip")),
                                        .single_word = json_is_true(json_object_get(token, "single_word"))};
    return FP4_OK;
}

/* GPT2Tokenizer's own begin, end and unknown token are <|endoftext|>; the unknown one is never needed: every byte has a token. */
static fp4_status read_special(struct tokenizer_source *s, const struct files *f) {
    static const char *const names[] = {"bos_token", "eos_token", "unk_token", "pad_token", "cls_token", "sep_token", "mask_token"};
    const json_t *more = named(f, "additional_special_tokens");
    for (int i = 0; i < 7; i++)
        FP4_TRY(add_special(s, f, named(f, names[i]), i < 3 ? "<|endoftext|>" : NULL));
    for (size_t i = 0; i < json_array_size(more); i++)
        FP4_TRY(add_special(s, f, json_array_get(more, i), NULL));
    return FP4_OK;
}

static fp4_status begin_id(const struct tokenizer_source *s, const struct files *f, int32_t *id) {
    const json_t *token = named(f, "bos_token"), *content = json_is_object(token) ? json_object_get(token, "content") : token;
    *id = -1;
    if (!json_is_true(json_object_get(f->config, "add_bos_token")))
        return FP4_OK;
    *id = find_id(s, f, json_is_string(content) ? json_string_value(content) : "<|endoftext|>");
    return *id >= 0 ? FP4_OK : fp4_fail(FP4_ERR_FORMAT, "%s/tokenizer_config.json: add_bos_token, and the begin token is not in vocab.json", s->path);
}

/* Other classes read such files with patterns of their own, or put other tokens around. */
static fp4_status check_class(const char *folder, const json_t *config) {
    const json_t *class = json_object_get(config, "tokenizer_class");
    const char *name = json_string_value(class);
    if (!class || json_is_null(class) || (name && (strcmp(name, "GPT2Tokenizer") == 0 || strcmp(name, "GPT2TokenizerFast") == 0)))
        return FP4_OK;
    return fp4_fail(FP4_ERR_UNSUPPORTED, "%s/tokenizer_config.json: tokenizer_class %.60s is not supported with vocab.json and merges.txt, GPT2Tokenizer is; give its "
                                         "tokenizer.json", folder, name ? name : "no string");
}

static fp4_status build(struct fp4_tokenizer *t, struct tokenizer_source *s, const struct files *f) {
    int32_t begin;
    struct additions x = {s, f, id_limit(f)};
    FP4_TRY(check_class(s->path, f->config));
    FP4_TRY(read_vocab(s, x.limit, f->vocab));
    FP4_TRY(read_merges(s, f));
    FP4_TRY(FP4_NEW(s->added, x.limit)); /* one for each id at most */
    FP4_TRY(each_addition(s->path, f->config, f->added, add_token, &x));
    FP4_TRY(read_special(s, f));
    FP4_TRY(begin_id(s, f, &begin));
    if (json_is_true(json_object_get(f->config, "add_prefix_space")))
        FP4_TRY(steps_add(&t->splits, s->path, &(struct step){.kind = STEP_PREFIX_SPACE}));
    t->byte_level = true;
    t->pieces = PIECES_GPT2;
    FP4_TRY(tokenizer_build(t, s));
    return tokenizer_use_ids(t, s->path, &begin, begin >= 0, NULL, 0);
}

static fp4_status read_pair(const char *folder, const struct tokenizer_pair *pair, struct fp4_tokenizer *t) {
    struct files f = {.merges = pair->merges};
    struct tokenizer_source s = {.path = folder};
    budget_begin(t->name, pair->merges.n, 0.25);
    fp4_status status = parse(folder, "vocab.json", &pair->vocab, 0, &f.vocab);
    if (status == FP4_OK)
        status = parse(folder, "tokenizer_config.json", &pair->config, ANY_NUMBER, &f.config);
    if (status == FP4_OK)
        status = parse(folder, "special_tokens_map.json", &pair->map, ANY_NUMBER, &f.map);
    if (status == FP4_OK)
        status = parse(folder, "added_tokens.json", &pair->added, 0, &f.added);
    if (status == FP4_OK)
        status = build(t, &s, &f);
    tokenizer_source_free(&s);
    json_decref(f.vocab);
    json_decref(f.config);
    json_decref(f.map);
    json_decref(f.added);
    return status;
}

fp4_status tokenizer_parse_pair(const char *folder, const struct tokenizer_pair *pair, struct fp4_tokenizer **out) {
    struct fp4_tokenizer *t;
    *out = NULL;
    FP4_TRY(tokenizer_create(folder, &t));
    return tokenizer_finish(read_pair(folder, pair, t), t, out);
}

/* ---- files ---- */

/* Its bytes, fp4_alloc'ed; NULL where the file is absent and may be. */
static fp4_status load(const char *folder, const char *file, bool needed, char **text, size_t *n) {
    char path[4096];
    struct stat info;
    *text = NULL;
    *n = 0;
    if (snprintf(path, sizeof path, "%s/%s", folder, file) >= (int)sizeof path)
        return fp4_fail(FP4_ERR_ARG, "%.200s: path too long", folder);
    return needed || stat(path, &info) == 0 ? fp4_read_file(path, FILE_LIMIT, text, n) : FP4_OK;
}

fp4_status tokenizer_open_pair(const char *folder, struct fp4_tokenizer *t) {
    static const char *const names[] = {"vocab.json", "merges.txt", "tokenizer_config.json", "special_tokens_map.json", "added_tokens.json"};
    enum { FILES = sizeof names / sizeof *names };
    char *text[FILES] = {0};
    size_t n[FILES];
    fp4_status status = FP4_OK;
    for (int i = 0; i < FILES && status == FP4_OK; i++)
        status = load(folder, names[i], i < 2, &text[i], &n[i]);
    if (status == FP4_OK)
        status = read_pair(folder, &(struct tokenizer_pair){{text[0], n[0]}, {text[1], n[1]}, {text[2], n[2]}, {text[3], n[3]}, {text[4], n[4]}}, t);
    for (int i = 0; i < FILES; i++)
        fp4_free(text[i]);
    return status;
}

static fp4_status load_json(const char *folder, const char *file, json_t **out) {
    struct tokenizer_part part;
    char *text;
    *out = NULL;
    FP4_TRY(load(folder, file, false, &text, &part.n));
    part.text = text;
    fp4_status status = parse(folder, file, &part, ANY_NUMBER, out);
    fp4_free(text);
    return status;
}

struct model_folder {
    const struct fp4_tokenizer *t;
    const char *folder;
};

static fp4_status is_known(void *context, const struct addition *a) {
    const struct model_folder *m = context;
    if (tokenizer_find(m->t, a->text, a->bytes, false) == a->id)
        return FP4_OK;
    return fp4_fail(FP4_ERR_UNSUPPORTED, "%s/%s: the token \"%.40s\", added to those of tokenizer.model, is not supported; give its tokenizer.json", m->folder,
                    a->file, a->text);
}

static fp4_status use_model_config(const char *folder, json_t *config, json_t *added, struct fp4_tokenizer *t) {
    const char *refused = json_is_false(json_object_get(config, "legacy"))         ? "legacy: false"
                          : json_is_true(json_object_get(config, "add_eos_token")) ? "add_eos_token: true"
                                                                                   : NULL;
    if (json_is_false(json_object_get(config, "add_bos_token")))
        t->n_begin = 0;
    if (refused)
        return fp4_fail(FP4_ERR_UNSUPPORTED, "%s/tokenizer_config.json: %s is not supported with tokenizer.model; give its tokenizer.json", folder, refused);
    return each_addition(folder, config, added, is_known, &(struct model_folder){t, folder});
}

fp4_status tokenizer_open_model_config(const char *folder, struct fp4_tokenizer *t) {
    json_t *config, *added;
    FP4_TRY(load_json(folder, "tokenizer_config.json", &config));
    fp4_status status = load_json(folder, "added_tokens.json", &added);
    if (status == FP4_OK)
        status = use_model_config(folder, config, added, t);
    json_decref(config);
    json_decref(added);
    return status;
}
