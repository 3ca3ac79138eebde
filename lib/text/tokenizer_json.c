/* tokenizer.json of the Hugging Face library: byte-level BPE. Whatever would change the ids and is not done here is refused by name. */
#include <jansson.h>
#include <string.h>

#include "lib/text/tokenizer.h"

#define JSON_LIMIT ((size_t)256 << 20)

static fp4_status unsupported(const char *path, const char *field, const char *what) {
    return fp4_fail(FP4_ERR_UNSUPPORTED, "%s: %s%s%s: only byte-level BPE with GPT-2's pattern is supported", path, field, what ? " " : "",
                    what ? what : "");
}

static const char *type_of(const json_t *object) {
    const char *type = json_string_value(json_object_get(object, "type"));
    return type ? type : "without a type";
}

static fp4_status check_byte_level(const char *path, const json_t *p) {
    if (json_is_true(json_object_get(p, "add_prefix_space")))
        return unsupported(path, "pre_tokenizer.add_prefix_space", "true");
    const json_t *regex = json_object_get(p, "use_regex");
    if (regex && !json_is_true(regex))
        return unsupported(path, "pre_tokenizer.use_regex", "false");
    return FP4_OK;
}

/* ByteLevel, or a sequence of Digits (each alone) and ByteLevel. */
static fp4_status read_pre_tokenizer(const char *path, const json_t *p, bool *digits) {
    const char *type = type_of(p);
    *digits = false;
    if (strcmp(type, "ByteLevel") == 0)
        return check_byte_level(path, p);
    if (strcmp(type, "Sequence") != 0)
        return unsupported(path, "pre_tokenizer", p && !json_is_null(p) ? type : "null");
    const json_t *steps = json_object_get(p, "pretokenizers");
    size_t n = json_array_size(steps);
    if (n < 1 || n > 2)
        return unsupported(path, "pre_tokenizer.pretokenizers", "of another length than 1 or 2");
    if (n == 2) {
        const json_t *first = json_array_get(steps, 0);
        if (strcmp(type_of(first), "Digits") != 0)
            return unsupported(path, "pre_tokenizer.pretokenizers[0]", type_of(first));
        if (!json_is_true(json_object_get(first, "individual_digits")))
            return unsupported(path, "pre_tokenizer.pretokenizers[0].individual_digits", "false");
        *digits = true;
    }
    const json_t *last = json_array_get(steps, n - 1);
    if (strcmp(type_of(last), "ByteLevel") != 0)
        return unsupported(path, "pre_tokenizer.pretokenizers", type_of(last));
    return check_byte_level(path, last);
}

static fp4_status check_model(const char *path, const json_t *root, const json_t *model) {
    const json_t *normalizer = json_object_get(root, "normalizer"), *dropout = json_object_get(model, "dropout");
    if (normalizer && !json_is_null(normalizer))
        return unsupported(path, "normalizer", type_of(normalizer));
    const json_t *type = json_object_get(model, "type");
    if (type && (!json_is_string(type) || strcmp(json_string_value(type), "BPE") != 0))
        return unsupported(path, "model.type", type_of(model));
    if (json_is_number(dropout) && json_number_value(dropout) != 0)
        return unsupported(path, "model.dropout", NULL);
    if (json_is_true(json_object_get(model, "byte_fallback")))
        return unsupported(path, "model.byte_fallback", "true");
    if (json_is_true(json_object_get(model, "ignore_merges")))
        return unsupported(path, "model.ignore_merges", "true");
    const char *fixes[] = {"continuing_subword_prefix", "end_of_word_suffix"};
    for (int i = 0; i < 2; i++)
        if (json_string_length(json_object_get(model, fixes[i])) > 0)
            return unsupported(path, fixes[i], json_string_value(json_object_get(model, fixes[i])));
    return FP4_OK;
}

static fp4_status set_token(struct tokenizer_source *s, const json_t *id, const char *text, size_t bytes, enum token_kind kind) {
    json_int_t value = json_integer_value(id);
    if (!json_is_integer(id) || value < 0 || (uint64_t)value >= s->n_tokens)
        return fp4_fail(FP4_ERR_FORMAT, "%s: the id of token \"%.40s\" is not within the %zu tokens of the file", s->path, text, s->n_tokens);
    s->tokens[value] = (struct source_token){text, bytes, kind};
    return FP4_OK;
}

static fp4_status read_vocab(struct tokenizer_source *s, json_t *vocab) {
    const char *text;
    json_t *id;
    json_object_foreach(vocab, text, id) {
        FP4_TRY(set_token(s, id, text, strlen(text), TOKEN_NORMAL));
    }
    return FP4_OK;
}

static fp4_status read_added(struct tokenizer_source *s, const json_t *added) {
    for (size_t i = 0; i < json_array_size(added); i++) {
        const json_t *a = json_array_get(added, i), *content = json_object_get(a, "content");
        if (!json_is_string(content))
            return fp4_fail(FP4_ERR_FORMAT, "%s: added_tokens[%zu] has no content", s->path, i);
        const char *flags[] = {"single_word", "lstrip", "rstrip"};
        for (int f = 0; f < 3; f++)
            if (json_is_true(json_object_get(a, flags[f])))
                return fp4_fail(FP4_ERR_UNSUPPORTED, "%s: added_tokens[%zu].%s is not supported", s->path, i, flags[f]);
        FP4_TRY(set_token(s, json_object_get(a, "id"), json_string_value(content), json_string_length(content),
                          json_is_true(json_object_get(a, "special")) ? TOKEN_CONTROL : TOKEN_ADDED));
    }
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

static fp4_status read_root(const char *path, const json_t *root, struct tokenizer_source *s, struct fp4_tokenizer **out) {
    const json_t *model = json_object_get(root, "model"), *merges = json_object_get(model, "merges"), *added = json_object_get(root, "added_tokens");
    json_t *vocab = json_object_get(model, "vocab");
    *s = (struct tokenizer_source){.path = path};
    FP4_TRY(check_model(path, root, model));
    FP4_TRY(read_pre_tokenizer(path, json_object_get(root, "pre_tokenizer"), &s->digits));
    if (!json_is_object(vocab) || !json_is_array(merges))
        return fp4_fail(FP4_ERR_FORMAT, "%s: model has no vocab or no merges; is this a tokenizer.json?", path);
    s->unknown = json_is_string(json_object_get(model, "unk_token"));
    s->n_tokens = json_object_size(vocab) + json_array_size(added);
    s->n_merges = json_array_size(merges);
    FP4_TRY(FP4_NEW(s->tokens, s->n_tokens));
    FP4_TRY(FP4_NEW(s->merges, s->n_merges));
    FP4_TRY(read_vocab(s, vocab));
    FP4_TRY(read_added(s, added));
    while (s->n_tokens && !s->tokens[s->n_tokens - 1].text)
        s->n_tokens--; /* added tokens that the vocabulary has too were counted twice */
    FP4_TRY(read_merges(s, merges));
    return tokenizer_build(s, out);
}

fp4_status tokenizer_from_json(const char *path, const void *bytes, size_t size, struct fp4_tokenizer **out) {
    json_error_t error;
    struct tokenizer_source s = {0};
    if (size > JSON_LIMIT)
        return fp4_fail(FP4_ERR_FORMAT, "%s: %zu bytes, more than the %zu of a tokenizer.json", path, size, JSON_LIMIT);
    json_t *root = json_loadb(bytes, size, JSON_ALLOW_NUL, &error);
    if (!root)
        return fp4_fail(FP4_ERR_FORMAT, "%s: not JSON: line %d: %s", path, error.line, error.text);
    fp4_status status = read_root(path, root, &s, out);
    fp4_free(s.tokens);
    fp4_free(s.merges);
    json_decref(root);
    return status;
}
