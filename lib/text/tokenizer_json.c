/* tokenizer.json of the Hugging Face library, model BPE. Whatever would change the ids and is not done here is refused by name.
 * `truncation` and `padding` are passed over: transformers sets both anew at every call. */
#include <jansson.h>
#include <string.h>

#include "lib/base/json.h"
#include "lib/text/json_steps.h"

static fp4_status check_model(const char *path, const json_t *root, const json_t *model, struct fp4_tokenizer *t) {
    const json_t *version = json_object_get(root, "version"), *type = json_object_get(model, "type"), *dropout = json_object_get(model, "dropout");
    if (!json_is_object(model))
        return fp4_fail(FP4_ERR_FORMAT, "%s: no model; is this a tokenizer.json?", path);
    if (version && (!json_is_string(version) || strcmp(json_string_value(version), "1.0") != 0))
        return json_unsupported(path, "version", json_is_string(version) ? json_string_value(version) : "another than \"1.0\"");
    t->words = json_is_string(type) && strcmp(json_string_value(type), "WordLevel") == 0;
    if (type && !t->words && (!json_is_string(type) || strcmp(json_string_value(type), "BPE") != 0))
        return json_unsupported(path, "model.type", json_type_of(model));
    if (dropout && !json_is_null(dropout) && (!json_is_number(dropout) || json_number_value(dropout) != 0))
        return json_unsupported(path, "model.dropout", "another than null and 0");
    const char *fixes[] = {"continuing_subword_prefix", "end_of_word_suffix"};
    for (int i = 0; i < 2; i++) {
        const json_t *fix = json_object_get(model, fixes[i]);
        char place[64];
        snprintf(place, sizeof place, "model.%s", fixes[i]);
        if (fix && !json_is_null(fix) && json_string_length(fix) + !json_is_string(fix) > 0)
            return json_unsupported(path, place, json_is_string(fix) ? json_string_value(fix) : "no string");
    }
    bool *const flags[] = {&t->byte_fallback, &t->fuse_unknown, &t->ignore_merges};
    const char *names[] = {"byte_fallback", "fuse_unk", "ignore_merges"};
    for (int i = 0; i < 3; i++) {
        const json_t *flag = json_object_get(model, names[i]);
        if (flag && !json_is_boolean(flag) && !json_is_null(flag))
            return fp4_fail(FP4_ERR_FORMAT, "%s: model.%s is neither true nor false", path, names[i]);
        *flags[i] = json_is_true(flag);
    }
    return FP4_OK;
}

/* Memory in proportion to the file: ids may leave gaps, but not many times what there are tokens. */
static size_t id_limit(const json_t *vocab, const json_t *added) {
    return 8 * (json_object_size(vocab) + json_array_size(added)) + 1024;
}

static fp4_status set_token(struct tokenizer_source *s, size_t limit, const json_t *id, const char *text, size_t bytes, struct source_token **out) {
    json_int_t value = json_integer_value(id);
    if (!json_is_integer(id) || value < 0 || (uint64_t)value >= limit)
        return fp4_fail(FP4_ERR_FORMAT, "%s: the id of token \"%.40s\" is %s", s->path, text,
                        json_is_integer(id) ? "out of range for a file with so few tokens" : "no integer");
    *out = &s->tokens[value];
    if ((*out)->text && ((*out)->bytes != bytes || memcmp((*out)->text, text, bytes) != 0))
        return fp4_fail(FP4_ERR_FORMAT, "%s: id %d is both \"%.40s\" and \"%.40s\"", s->path, (int)value, (*out)->text, text);
    (*out)->text = text;
    (*out)->bytes = bytes;
    if ((size_t)value >= s->n_tokens)
        s->n_tokens = (size_t)value + 1;
    return FP4_OK;
}

static fp4_status read_vocab(struct tokenizer_source *s, size_t limit, json_t *vocab) {
    const char *text;
    json_t *id;
    json_object_foreach(vocab, text, id) {
        struct source_token *token;
        FP4_TRY(set_token(s, limit, id, text, strlen(text), &token));
        token->kind = TOKEN_NORMAL;
        token->in_model = true;
    }
    return FP4_OK;
}

static fp4_status read_added_token(struct tokenizer_source *s, size_t limit, const json_t *vocab, const json_t *a, size_t i) {
    const json_t *content = json_object_get(a, "content"), *id = json_object_get(a, "id");
    if (!json_is_string(content) || json_string_length(content) == 0)
        return fp4_fail(FP4_ERR_FORMAT, "%s: added_tokens[%zu] has no content", s->path, i);
    const char *text = json_string_value(content);
    const json_t *known = strlen(text) == json_string_length(content) ? json_object_get(vocab, text) : NULL;
    if (known && json_integer_value(known) != json_integer_value(id))
        return fp4_fail(FP4_ERR_FORMAT, "%s: added_tokens[%zu] \"%.40s\" has another id than in model.vocab", s->path, i, text);
    struct source_token *token;
    FP4_TRY(set_token(s, limit, id, text, json_string_length(content), &token));
    if (token->kind >= TOKEN_ADDED)
        return fp4_fail(FP4_ERR_FORMAT, "%s: added_tokens[%zu]: id %d is added twice", s->path, i, (int)json_integer_value(id));
    bool special = json_is_true(json_object_get(a, "special"));
    const json_t *normalized = json_object_get(a, "normalized");
    token->kind = special ? TOKEN_CONTROL : TOKEN_ADDED;
    s->added[s->n_added++] = (struct source_added){.id = (int32_t)json_integer_value(id),
                                                   .normalized = normalized ? json_is_true(normalized) : !special,
                                                   .lstrip = json_is_true(json_object_get(a, "lstrip")),
                                                   .rstrip = json_is_true(json_object_get(a, "rstrip")),
                                                   .single_word = json_is_true(json_object_get(a, "single_word"))};
    return FP4_OK;
}

/* Both spellings: "a b", and ["a","b"]. */
static fp4_status read_merges(struct tokenizer_source *s, const json_t *merges) {
    for (size_t i = 0; i < s->n_merges; i++) {
        const json_t *m = json_array_get(merges, i), *a = json_array_get(m, 0), *b = json_array_get(m, 1);
        if (json_is_string(m))
            FP4_TRY(tokenizer_split_merge(s->path, i, json_string_value(m), json_string_length(m), &s->merges[i]));
        else if (json_array_size(m) == 2 && json_is_string(a) && json_is_string(b))
            s->merges[i] = (struct source_merge){json_string_value(a), json_string_value(b), json_string_length(a), json_string_length(b)};
        else
            return fp4_fail(FP4_ERR_FORMAT, "%s: merge %zu is neither \"a b\" nor [\"a\",\"b\"]", s->path, i);
    }
    return FP4_OK;
}

static fp4_status read_vocabulary(const json_t *root, const json_t *model, bool words, struct tokenizer_source *s) {
    const json_t *merges = json_object_get(model, "merges"), *added = json_object_get(root, "added_tokens");
    json_t *vocab = json_object_get(model, "vocab");
    if (!json_is_object(vocab) || (!words && !json_is_array(merges)))
        return fp4_fail(FP4_ERR_FORMAT, "%s: model has no vocab or no merges; is this a tokenizer.json?", s->path);
    size_t limit = id_limit(vocab, added);
    s->n_merges = json_array_size(merges);
    FP4_TRY(FP4_NEW(s->tokens, limit));
    FP4_TRY(FP4_NEW(s->merges, s->n_merges));
    FP4_TRY(FP4_NEW(s->added, json_array_size(added)));
    FP4_TRY(read_vocab(s, limit, vocab));
    for (size_t i = 0; i < json_array_size(added); i++)
        FP4_TRY(read_added_token(s, limit, vocab, json_array_get(added, i), i));
    return read_merges(s, merges);
}

static fp4_status read_root(const json_t *root, struct tokenizer_source *s, struct fp4_tokenizer *t) {
    const json_t *model = json_object_get(root, "model"), *unknown = json_object_get(model, "unk_token");
    FP4_TRY(check_model(s->path, root, model, t));
    FP4_TRY(json_normalizer(s->path, root, t));
    FP4_TRY(json_pre_tokenizer(s->path, root, t));
    FP4_TRY(json_decoder(s->path, root, t));
    FP4_TRY(read_vocabulary(root, model, t->words, s));
    if (unknown && !json_is_null(unknown)) {
        const json_t *id = json_is_string(unknown) ? json_object_get(json_object_get(model, "vocab"), json_string_value(unknown)) : NULL;
        if (!id && !t->words) /* there an unknown word is an error then, in Hugging Face's library too */
            return fp4_fail(FP4_ERR_FORMAT, "%s: model.unk_token is not in model.vocab", s->path);
        t->unknown = id ? (int32_t)json_integer_value(id) : -1;
    }
    FP4_TRY(tokenizer_build(t, s));
    return json_post_processor(s->path, root, t);
}

fp4_status tokenizer_read_json(const char *name, const char *data, size_t bytes, struct fp4_tokenizer *t) {
    json_error_t error;
    struct tokenizer_source s = {.path = name};
    json_t *root = json_parse(data, bytes, JSON_ALLOW_NUL | JSON_REJECT_DUPLICATES, &error);
    if (!root)
        return fp4_fail(json_fault(&error), "%s: not JSON: line %d: %s", name, error.line, error.text);
    fp4_status status = read_root(root, &s, t);
    tokenizer_source_free(&s);
    json_decref(root);
    return status;
}
