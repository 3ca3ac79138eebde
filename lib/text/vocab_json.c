/* Vocabularies in tokenizer.json, the format of Hugging Face's tokenizers. */
#include <string.h>

#include "lib/base/json.h"
#include "lib/text/tokenizer.h"
#include "lib/text/vocab.h"

enum { JSON_LIMIT = 256 << 20 };

static const char *type_of(const json_t *object) {
    const char *type = json_string_value(json_object_get(object, "type"));
    return type ? type : "none";
}

/* ---- reading ---- */

static fp4_status set_token(const char *path, struct vocab *v, const json_t *id, const char *text, size_t bytes, int32_t type) {
    json_int_t value = json_integer_value(id);
    if (!json_is_integer(id) || value < 0 || (uint64_t)value >= v->n_tokens)
        return fp4_fail(FP4_ERR_FORMAT, "%s: the id of token \"%.40s\" is not within the %zu tokens of the file", path, text, v->n_tokens);
    v->tokens[value] = (struct vocab_token){.text = text, .bytes = bytes, .type = type};
    return FP4_OK;
}

static fp4_status read_tokens(const char *path, json_t *model, const json_t *added, struct vocab *v) {
    json_t *vocab = json_object_get(model, "vocab"), *id;
    const char *text, *unknown = json_string_value(json_object_get(model, "unk_token"));
    size_t i;
    v->n_tokens = json_object_size(vocab) + json_array_size(added);
    FP4_TRY(FP4_NEW(v->tokens, v->n_tokens));
    json_object_foreach(vocab, text, id) {
        size_t n = strlen(text); /* the parser refused zeros */
        FP4_TRY(set_token(path, v, id, text, n, v->kind == VOCAB_PIECES && tokenizer_byte(text, n) >= 0 ? VOCAB_BYTE : VOCAB_NORMAL));
    }
    const json_t *a;
    json_array_foreach(added, i, a) {
        const json_t *content = json_object_get(a, "content");
        bool special = json_is_true(json_object_get(a, "special"));
        text = json_string_value(content);
        if (!text)
            return fp4_fail(FP4_ERR_FORMAT, "%s: added_tokens[%zu] has no content", path, i);
        bool unk = v->kind == VOCAB_PIECES && unknown && strcmp(text, unknown) == 0;
        FP4_TRY(set_token(path, v, json_object_get(a, "id"), text, json_string_length(content), unk ? VOCAB_UNKNOWN : special ? VOCAB_CONTROL : VOCAB_USER_DEFINED));
    }
    while (v->n_tokens && !v->tokens[v->n_tokens - 1].text)
        v->n_tokens--; /* added tokens that the vocabulary has too were counted twice */
    if (unknown && (id = json_object_get(vocab, unknown)))
        v->id[VOCAB_UNK] = (int)json_integer_value(id);
    return FP4_OK;
}

/* "a b" and ["a","b"]. */
static fp4_status read_merges(const char *path, const json_t *merges, struct vocab *v) {
    FP4_TRY(FP4_NEW(v->merges, json_array_size(merges)));
    v->n_merges = json_array_size(merges);
    for (size_t i = 0; i < v->n_merges; i++) {
        const json_t *m = json_array_get(merges, i), *a = json_array_get(m, 0), *b = json_array_get(m, 1);
        const char *text = json_string_value(m), *blank = text && *text ? strchr(text + 1, ' ') : NULL;
        if (blank && blank[1])
            v->merges[i] = (struct vocab_merge){text, blank + 1, (size_t)(blank - text), strlen(blank + 1)};
        else if (json_is_string(a) && json_is_string(b))
            v->merges[i] = (struct vocab_merge){json_string_value(a), json_string_value(b), json_string_length(a), json_string_length(b)};
        else
            return fp4_fail(FP4_ERR_FORMAT, "%s: merge %zu is neither \"a b\" nor [\"a\",\"b\"]", path, i);
    }
    return FP4_OK;
}

/* Llama 2's normalizer, and the same without the blank in front. */
static json_t *normalizer_of(bool prefix) {
    json_t *replace = json_pack("{s:s,s:{s:s},s:s}", "type", "Replace", "pattern", "String", " ", "content", "\xe2\x96\x81");
    if (!prefix)
        return replace;
    return json_pack("{s:s,s:[{s:s,s:s},o]}", "type", "Sequence", "normalizers", "type", "Prepend", "prepend", "\xe2\x96\x81", replace);
}

static bool is_normalizer(const json_t *normalizer, bool prefix) {
    json_t *known = normalizer_of(prefix);
    bool same = json_equal(normalizer, known);
    json_decref(known);
    return same;
}

static fp4_status read_kind(const char *path, const json_t *root, const json_t *model, struct vocab *v) {
    const json_t *normalizer = json_object_get(root, "normalizer"), *pre = json_object_get(root, "pre_tokenizer");
    if (strcmp(type_of(model), "BPE") != 0 && json_object_get(model, "type"))
        return fp4_fail(FP4_ERR_UNSUPPORTED, "%s: model.type %s has no counterpart in GGUF here; BPE has", path, type_of(model));
    if (json_is_true(json_object_get(model, "byte_fallback"))) {
        v->kind = VOCAB_PIECES;
        v->add_prefix = is_normalizer(normalizer, true);
        if ((!v->add_prefix && !is_normalizer(normalizer, false)) || (pre && !json_is_null(pre)))
            return fp4_fail(FP4_ERR_UNSUPPORTED, "%s: this normalizer or pre_tokenizer has no counterpart in GGUF; Llama 2's has", path);
        return FP4_OK;
    }
    v->kind = VOCAB_BYTE_LEVEL;
    v->pre = vocab_pre_name(pre);
    if (v->pre && json_is_true(json_object_get(model, "ignore_merges")) != vocab_pre_ignores_merges(v->pre))
        return fp4_fail(FP4_ERR_UNSUPPORTED, "%s: this model.ignore_merges with the pre_tokenizer that GGUF calls %s has no name there", path, v->pre);
    if (!v->pre || (normalizer && !json_is_null(normalizer)))
        return fp4_fail(FP4_ERR_UNSUPPORTED, "%s: this %s has no name in GGUF here; those of GPT-2, SmolLM and Llama 3 have", path, v->pre ? "normalizer" : "pre_tokenizer");
    return FP4_OK;
}

/* A template that begins with a special token: the begin token. In a sequence of post-processors any may be one. */
static void read_template(const json_t *post, struct vocab *v) {
    const json_t *first = json_object_get(json_array_get(json_object_get(post, "single"), 0), "SpecialToken"), *inner;
    const char *name = json_string_value(json_object_get(first, "id"));
    const json_t *ids = name ? json_object_get(json_object_get(json_object_get(post, "special_tokens"), name), "ids") : NULL;
    size_t i;
    if (ids && strcmp(type_of(post), "TemplateProcessing") == 0) {
        v->id[VOCAB_BOS] = (int)json_integer_value(json_array_get(ids, 0));
        v->add_bos = true;
    }
    json_array_foreach(json_object_get(post, "processors"), i, inner) read_template(inner, v);
}

fp4_status vocab_from_json(const char *path, struct vocab *out) {
    json_error_t error;
    char *text;
    size_t bytes;
    *out = (struct vocab){.id = {-1, -1, -1, -1}};
    FP4_TRY(fp4_read_file(path, JSON_LIMIT, &text, &bytes));
    out->root = json_parse(text, bytes, 0, &error);
    fp4_free(text);
    if (!out->root)
        return fp4_fail(json_fault(&error), "%s: not JSON: line %d: %s", path, error.line, error.text);
    json_watch(); /* looked at when the whole file has been read */
    json_t *model = json_object_get(out->root, "model");
    if (!json_is_object(json_object_get(model, "vocab")))
        return fp4_fail(FP4_ERR_FORMAT, "%s: model has no vocab; is this a tokenizer.json?", path);
    FP4_TRY(read_kind(path, out->root, model, out));
    FP4_TRY(read_tokens(path, model, json_object_get(out->root, "added_tokens"), out));
    FP4_TRY(read_merges(path, json_object_get(model, "merges"), out));
    read_template(json_object_get(out->root, "post_processor"), out);
    FP4_TRY(json_whole(path));
    return out->kind == VOCAB_PIECES ? vocab_scores_from_merges(out) : FP4_OK;
}

void vocab_free(struct vocab *v) {
    fp4_free(v->tokens);
    fp4_free(v->merges);
    json_decref(v->root);
    fp4_map_close(&v->map);
    *v = (struct vocab){0};
}

/* ---- writing ---- */

static json_t *added_tokens(const struct vocab *v) {
    json_t *list = json_array();
    for (size_t i = 0; i < v->n_tokens; i++) {
        const struct vocab_token *t = &v->tokens[i];
        if (t->text && (t->type == VOCAB_CONTROL || t->type == VOCAB_UNKNOWN || t->type == VOCAB_USER_DEFINED))
            json_array_append_new(list, json_pack("{s:I,s:s%,s:b,s:b,s:b,s:b,s:b}", "id", (json_int_t)i, "content", t->text, t->bytes, "single_word", 0, "lstrip", 0,
                                                  "rstrip", 0, "normalized", 0, "special", (int)(t->type != VOCAB_USER_DEFINED)));
    }
    return list;
}

static fp4_status model_of(const char *path, const struct vocab *v, json_t **out) {
    bool pieces = v->kind == VOCAB_PIECES;
    json_t *vocab = json_object(), *merges = json_array();
    int unk = pieces ? v->id[VOCAB_UNK] : -1;
    for (size_t i = 0; i < v->n_tokens; i++) {
        const struct vocab_token *t = &v->tokens[i];
        if (t->text && json_object_getn(vocab, t->text, t->bytes)) {
            json_decref(vocab);
            json_decref(merges);
            return fp4_fail(FP4_ERR_UNSUPPORTED, "%s: token %zu has the text of another; a tokenizer.json cannot hold both", path, i);
        }
        if (t->text && json_object_setn_new(vocab, t->text, t->bytes, json_integer((json_int_t)i)) != 0) {
            json_decref(vocab);
            json_decref(merges);
            FP4_TRY(json_whole(path));
            return fp4_fail(FP4_ERR_UNSUPPORTED, "%s: token %zu is not UTF-8; a tokenizer.json cannot hold it", path, i);
        }
    }
    for (size_t i = 0; i < v->n_merges; i++) {
        const struct vocab_merge *m = &v->merges[i];
        json_array_append_new(merges, json_pack("[s%,s%]", m->left, m->left_bytes, m->right, m->right_bytes));
    }
    *out = json_pack("{s:s,s:n,s:o,s:n,s:n,s:b,s:b,s:b,s:o,s:o}", "type", "BPE", "dropout", "unk_token",
                     unk >= 0 ? json_stringn(v->tokens[unk].text, v->tokens[unk].bytes) : json_null(), "continuing_subword_prefix", "end_of_word_suffix", "fuse_unk",
                     (int)pieces, "byte_fallback", (int)pieces, "ignore_merges", (int)(v->pre && vocab_pre_ignores_merges(v->pre)), "vocab", vocab, "merges", merges);
    return *out ? FP4_OK : fp4_fail(FP4_ERR_MEMORY, "%s: no memory for the vocabulary", path);
}

static json_t *decoder_of(const struct vocab *v) {
    if (v->kind == VOCAB_BYTE_LEVEL)
        return json_pack("{s:s,s:b,s:b,s:b}", "type", "ByteLevel", "add_prefix_space", 1, "trim_offsets", 1, "use_regex", 1);
    json_t *steps = json_pack("[{s:s,s:{s:s},s:s},{s:s},{s:s}]", "type", "Replace", "pattern", "String", "\xe2\x96\x81", "content", " ", "type", "ByteFallback", "type",
                              "Fuse");
    if (v->add_prefix)
        json_array_append_new(steps, json_pack("{s:s,s:s,s:i,s:i}", "type", "Strip", "content", " ", "start", 1, "stop", 0));
    return json_pack("{s:s,s:o}", "type", "Sequence", "decoders", steps);
}

static json_t *part(const char *kind, const char *id, int type_id) { return json_pack("{s:{s:s,s:i}}", kind, "id", id, "type_id", type_id); }

static json_t *post_processor_of(const struct vocab *v) {
    int bos = v->id[VOCAB_BOS];
    if (!v->add_bos || bos < 0 || (size_t)bos >= v->n_tokens || !v->tokens[bos].text)
        return json_null();
    json_t *text = json_stringn(v->tokens[bos].text, v->tokens[bos].bytes);
    const char *name = json_string_value(text);
    json_t *processor = json_pack("{s:s,s:[o,o],s:[o,o,o,o],s:{s:{s:O,s:[i],s:[O]}}}", "type", "TemplateProcessing", "single", part("SpecialToken", name, 0),
                                  part("Sequence", "A", 0), "pair", part("SpecialToken", name, 0), part("Sequence", "A", 0), part("SpecialToken", name, 1),
                                  part("Sequence", "B", 1), "special_tokens", name, "id", text, "ids", bos, "tokens", text);
    json_decref(text);
    return processor;
}

fp4_status vocab_to_json(const char *path, const struct vocab *v, json_t **out) {
    json_watch();
    json_t *model, *pre = v->kind == VOCAB_BYTE_LEVEL ? vocab_pre_tokenizer(v->pre) : json_null();
    if (!pre)
        return fp4_fail(FP4_ERR_UNSUPPORTED, "%s: tokenizer.ggml.pre %s: its pre-tokenizer is not known here", path, v->pre ? v->pre : "(absent)");
    fp4_status status = model_of(path, v, &model);
    if (status != FP4_OK) {
        json_decref(pre);
        return status;
    }
    *out = json_pack("{s:s,s:n,s:n,s:o,s:o,s:o,s:o,s:o,s:o}", "version", "1.0", "truncation", "padding", "added_tokens", added_tokens(v), "normalizer",
                     v->kind == VOCAB_PIECES ? normalizer_of(v->add_prefix) : json_null(),
                     "pre_tokenizer", pre, "post_processor", post_processor_of(v), "decoder", decoder_of(v), "model", model);
    status = json_whole(path);
    if (status == FP4_OK && !*out)
        status = fp4_fail(FP4_ERR_UNSUPPORTED, "%s: its strings are not UTF-8", path);
    if (status != FP4_OK)
        json_decref(*out);
    return status;
}
