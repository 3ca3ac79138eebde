/* Normalizers, pre-tokenizers, post-processors and decoders out of a tokenizer.json. A field that would change the ids or the text
 * and is not known here is refused by name; what concerns offsets alone (trim_offsets) is passed over. */
#include "lib/text/json_steps.h"

#include <string.h>

#include "lib/text/utf8.h"

fp4_status json_unsupported(const char *path, const char *place, const char *what) {
    return fp4_fail(FP4_ERR_UNSUPPORTED, "%s: %s: %.80s is not supported", path, place, what);
}

const char *json_type_of(const json_t *object) {
    const char *type = json_string_value(json_object_get(object, "type"));
    return type ? type : json_is_null(object) ? "null" : "an entry without a type";
}

static bool is_type(const json_t *object, const char *type) {
    return strcmp(json_type_of(object), type) == 0;
}

/* A field that may be left out; another type than a truth value is an error. */
static fp4_status flag(const char *path, const char *place, const json_t *object, const char *name, bool otherwise, bool *out) {
    const json_t *value = json_object_get(object, name);
    *out = value ? json_is_true(value) : otherwise;
    return !value || json_is_boolean(value) ? FP4_OK : fp4_fail(FP4_ERR_FORMAT, "%s: %s.%s is neither true nor false", path, place, name);
}

/* The step's content, borrowed until steps_add copies it. */
static fp4_status read_content(const char *path, const char *place, const json_t *object, const char *name, struct step *s) {
    const json_t *value = json_object_get(object, name);
    if (!json_is_string(value))
        return fp4_fail(FP4_ERR_FORMAT, "%s: %s.%s is no string", path, place, name);
    s->content = (char *)json_string_value(value);
    s->content_bytes = json_string_length(value);
    return FP4_OK;
}

/* {"String": "…"} or {"Regex": "…"}. */
static fp4_status pattern(const char *path, const char *place, const json_t *object, struct pattern **out) {
    const json_t *value = json_object_get(object, "pattern"), *literal = json_object_get(value, "String"), *regex = json_object_get(value, "Regex");
    char where[400];
    snprintf(where, sizeof where, "%.250s: %.100s.pattern", path, place);
    if (json_is_string(literal))
        return pattern_literal(where, json_string_value(literal), json_string_length(literal), out);
    if (json_is_string(regex))
        return pattern_regex(where, json_string_value(regex), json_string_length(regex), out);
    return fp4_fail(FP4_ERR_FORMAT, "%s is neither {\"String\":…} nor {\"Regex\":…}", where);
}

/* Calls body for a step, or for each of a Sequence (whose list has the given name) and of sequences within it. */
typedef fp4_status step_reader(const char *path, const char *place, const json_t *step, struct fp4_tokenizer *t);

static fp4_status each(const char *path, const char *place, const json_t *step, const char *list_name, int depth, struct fp4_tokenizer *t,
                       step_reader *body) {
    if (!is_type(step, "Sequence"))
        return body(path, place, step, t);
    const json_t *list = json_object_get(step, list_name);
    if (!json_is_array(list) || depth == 0)
        return fp4_fail(FP4_ERR_FORMAT, "%s: %s.%s is %s", path, place, list_name, depth ? "no array" : "too deep");
    for (size_t i = 0; i < json_array_size(list); i++) {
        char inner[160];
        snprintf(inner, sizeof inner, "%.100s.%s[%zu]", place, list_name, i);
        FP4_TRY(each(path, inner, json_array_get(list, i), list_name, depth - 1, t, body));
    }
    return FP4_OK;
}

enum { SEQUENCES = 4 }; /* within each other */

/* ---- normalizers ---- */

static fp4_status read_replace(const char *path, const char *place, const json_t *step, struct steps *to) {
    struct step s = {.kind = STEP_REPLACE};
    FP4_TRY(read_content(path, place, step, "content", &s));
    FP4_TRY(pattern(path, place, step, &s.pattern));
    return steps_add(to, path, &s);
}

static fp4_status read_normalizer(const char *path, const char *place, const json_t *step, struct fp4_tokenizer *t) {
    static const char *const forms[] = {"NFC", "NFKC", "NFD", "NFKD"};
    struct step s = {.kind = STEP_COMPOSE};
    for (int i = 0; i < 4; i++)
        if (is_type(step, forms[i])) {
            s.compatible = i % 2;
            s.decompose = i >= 2;
            return steps_add(&t->normalizers, path, &s);
        }
    if (is_type(step, "Replace"))
        return read_replace(path, place, step, &t->normalizers);
    if (is_type(step, "Prepend")) {
        s.kind = STEP_PREPEND;
        FP4_TRY(read_content(path, place, step, "prepend", &s));
        return steps_add(&t->normalizers, path, &s);
    }
    if (is_type(step, "Strip")) {
        bool left, right;
        FP4_TRY(flag(path, place, step, "strip_left", true, &left));
        FP4_TRY(flag(path, place, step, "strip_right", true, &right));
        s = (struct step){.kind = STEP_STRIP, .left = left, .right = right};
        return steps_add(&t->normalizers, path, &s);
    }
    s.kind = STEP_LOWERCASE;
    return is_type(step, "Lowercase") ? steps_add(&t->normalizers, path, &s) : json_unsupported(path, place, json_type_of(step));
}

fp4_status json_normalizer(const char *path, const json_t *root, struct fp4_tokenizer *t) {
    const json_t *step = json_object_get(root, "normalizer");
    return !step || json_is_null(step) ? FP4_OK : each(path, "normalizer", step, "normalizers", SEQUENCES, t, read_normalizer);
}

/* ---- pre-tokenizers ---- */

static fp4_status read_behavior(const char *path, const char *place, const json_t *step, enum split_behavior *out) {
    static const char *const names[] = {"Isolated", "Removed", "MergedWithPrevious", "MergedWithNext", "Contiguous"};
    const char *name = json_string_value(json_object_get(step, "behavior"));
    for (int i = 0; name && i < 5; i++)
        if (strcmp(name, names[i]) == 0) {
            *out = (enum split_behavior)i;
            return FP4_OK;
        }
    return fp4_fail(FP4_ERR_FORMAT, "%s: %s.behavior %.40s is none of the five there are", path, place, name ? name : "(absent)");
}

static fp4_status read_split(const char *path, const char *place, const json_t *step, struct steps *to) {
    struct step s = {.kind = STEP_SPLIT};
    FP4_TRY(read_behavior(path, place, step, &s.behavior));
    FP4_TRY(flag(path, place, step, "invert", false, &s.invert));
    FP4_TRY(pattern(path, place, step, &s.pattern));
    return steps_add(to, path, &s);
}

static fp4_status read_metaspace(const char *path, const char *place, const json_t *step, struct steps *to) {
    struct step s = {.kind = STEP_METASPACE, .behavior = SPLIT_WITH_NEXT};
    const char *scheme = json_string_value(json_object_get(step, "prepend_scheme"));
    bool prefix;
    FP4_TRY(read_content(path, place, step, "replacement", &s));
    uint32_t code;
    if (s.content_bytes == 0 || utf8_next((const uint8_t *)s.content, s.content_bytes, &code) != s.content_bytes)
        return fp4_fail(FP4_ERR_FORMAT, "%s: %s.replacement is not one character", path, place);
    FP4_TRY(flag(path, place, step, "split", true, &s.split));
    FP4_TRY(flag(path, place, step, "add_prefix_space", true, &prefix)); /* the older way to say always or never */
    if (scheme && strcmp(scheme, "always") != 0 && strcmp(scheme, "first") != 0 && strcmp(scheme, "never") != 0)
        return fp4_fail(FP4_ERR_FORMAT, "%s: %s.prepend_scheme %.40s is neither always, first nor never", path, place, scheme);
    if (!prefix && scheme && strcmp(scheme, "never") != 0)
        return fp4_fail(FP4_ERR_FORMAT, "%s: %s: add_prefix_space false and prepend_scheme %s contradict each other", path, place, scheme);
    s.prepend = !prefix || (scheme && scheme[0] == 'n') ? PREPEND_NEVER : scheme && scheme[0] == 'f' ? PREPEND_FIRST : PREPEND_ALWAYS;
    char where[400];
    snprintf(where, sizeof where, "%.250s: %.100s.replacement", path, place);
    FP4_TRY(pattern_literal(where, s.content, s.content_bytes, &s.pattern));
    return steps_add(to, path, &s);
}

static fp4_status read_byte_level(const char *path, const char *place, const json_t *step, struct fp4_tokenizer *t) {
    bool prefix, regex;
    FP4_TRY(flag(path, place, step, "add_prefix_space", true, &prefix));
    FP4_TRY(flag(path, place, step, "use_regex", true, &regex));
    if (prefix)
        FP4_TRY(steps_add(&t->splits, path, &(struct step){.kind = STEP_PREFIX_SPACE}));
    t->byte_level = true;
    t->pieces = regex ? PIECES_GPT2 : PIECES_WHOLE;
    return FP4_OK;
}

static fp4_status add_pattern(const char *path, const char *place, const char *regex, struct step s, struct steps *to) {
    char where[400];
    snprintf(where, sizeof where, "%.250s: %.100s", path, place);
    FP4_TRY(pattern_regex(where, regex, strlen(regex), &s.pattern));
    return steps_add(to, path, &s);
}

static fp4_status read_pre_tokenizer(const char *path, const char *place, const json_t *step, struct fp4_tokenizer *t) {
    struct step s = {.kind = STEP_DIGITS};
    if (t->byte_level)
        return json_unsupported(path, place, "a step after ByteLevel");
    if (is_type(step, "ByteLevel"))
        return read_byte_level(path, place, step, t);
    if (is_type(step, "Split"))
        return read_split(path, place, step, &t->splits);
    if (is_type(step, "Metaspace"))
        return read_metaspace(path, place, step, &t->splits);
    if (is_type(step, "Digits")) {
        FP4_TRY(flag(path, place, step, "individual_digits", false, &s.individual));
        s.behavior = s.individual ? SPLIT_ISOLATED : SPLIT_CONTIGUOUS;
        return steps_add(&t->splits, path, &s);
    }
    if (is_type(step, "WhitespaceSplit")) {
        s = (struct step){.kind = STEP_WHITE_SPACE, .behavior = SPLIT_REMOVED};
        return steps_add(&t->splits, path, &s);
    }
    s = (struct step){.kind = STEP_SPLIT, .behavior = SPLIT_REMOVED, .invert = true};
    if (is_type(step, "Whitespace"))
        return add_pattern(path, place, "[" PATTERN_RUST_WORD "]+|[^" PATTERN_RUST_WORD "\\s]+", s, &t->splits);
    if (!is_type(step, "Punctuation"))
        return json_unsupported(path, place, json_type_of(step));
    s = (struct step){.kind = STEP_SPLIT};
    if (json_object_get(step, "behavior"))
        FP4_TRY(read_behavior(path, place, step, &s.behavior));
    return add_pattern(path, place, "[\\p{P}$+<=>^`|~]", s, &t->splits);
}

/* The last cut is done by hand where its pattern is one of those known. */
static void find_pieces(struct fp4_tokenizer *t) {
    static const struct {
        const char *pattern;
        enum pieces_kind kind;
    } known[] = {{PIECES_GPT2_PATTERN, PIECES_GPT2}, {PIECES_LLAMA3_PATTERN, PIECES_LLAMA3}, {PIECES_QWEN2_PATTERN, PIECES_QWEN2}};
    struct step *last = t->splits.n ? &t->splits.list[t->splits.n - 1] : NULL;
    enum pieces_kind kind = PIECES_WHOLE;
    if (!t->byte_level || !last)
        return;
    if (t->pieces == PIECES_GPT2 && last->kind == STEP_DIGITS && last->individual)
        kind = PIECES_GPT2_DIGITS;
    for (int i = 0; i < 3 && t->pieces == PIECES_WHOLE && last->kind == STEP_SPLIT && last->behavior == SPLIT_ISOLATED; i++)
        if (pattern_is_regex(last->pattern, known[i].pattern))
            kind = known[i].kind;
    if (kind == PIECES_WHOLE)
        return;
    t->pieces = kind;
    steps_drop_last(&t->splits);
}

fp4_status json_pre_tokenizer(const char *path, const json_t *root, struct fp4_tokenizer *t) {
    const json_t *step = json_object_get(root, "pre_tokenizer");
    if (!step || json_is_null(step))
        return FP4_OK;
    FP4_TRY(each(path, "pre_tokenizer", step, "pretokenizers", SEQUENCES, t, read_pre_tokenizer));
    find_pieces(t);
    return FP4_OK;
}

/* ---- post-processors: the ids around one text ---- */

struct around {
    int32_t ids[2][64];
    size_t n[2];
};

static fp4_status template_ids(const char *path, const char *place, const json_t *post, const json_t *name, struct around *a, int side) {
    const char *key = json_string_value(name);
    const json_t *ids = key ? json_object_get(json_object_get(json_object_get(post, "special_tokens"), key), "ids") : NULL;
    if (!json_is_array(ids))
        return fp4_fail(FP4_ERR_FORMAT, "%s: %s.special_tokens has no ids for %.40s", path, place, key ? key : "an entry of single");
    for (size_t i = 0; i < json_array_size(ids); i++) {
        const json_t *id = json_array_get(ids, i);
        if (!json_is_integer(id) || json_integer_value(id) < 0 || json_integer_value(id) > INT32_MAX || a->n[side] == 64)
            return fp4_fail(FP4_ERR_FORMAT, "%s: %s.special_tokens.%.40s.ids[%zu] is no id", path, place, key, i);
        a->ids[side][a->n[side]++] = (int32_t)json_integer_value(id);
    }
    return FP4_OK;
}

static fp4_status read_template(const char *path, const char *place, const json_t *post, struct around *a) {
    const json_t *single = json_object_get(post, "single");
    int texts = 0;
    for (size_t i = 0; i < json_array_size(single); i++) {
        const json_t *entry = json_array_get(single, i), *special = json_object_get(entry, "SpecialToken"), *text = json_object_get(entry, "Sequence");
        const char *id = json_string_value(json_object_get(text, "id"));
        if (special)
            FP4_TRY(template_ids(path, place, post, json_object_get(special, "id"), a, texts));
        else if (id && strcmp(id, "A") == 0 && texts == 0)
            texts = 1;
        else
            return json_unsupported(path, place, "a template with more than the text A in its single");
    }
    return texts ? FP4_OK : fp4_fail(FP4_ERR_FORMAT, "%s: %s.single has no place for the text", path, place);
}

/* ["text", id] */
static fp4_status read_pair(const char *path, const char *place, const json_t *post, const char *name, struct around *a, int side) {
    const json_t *id = json_array_get(json_object_get(post, name), 1);
    if (!json_is_integer(id) || json_integer_value(id) < 0 || json_integer_value(id) > INT32_MAX)
        return fp4_fail(FP4_ERR_FORMAT, "%s: %s.%s is no [text, id]", path, place, name);
    a->ids[side][0] = (int32_t)json_integer_value(id);
    a->n[side] = 1;
    return FP4_OK;
}

static fp4_status read_post_processor(const char *path, const char *place, const json_t *post, struct fp4_tokenizer *t) {
    struct around a = {.n = {0, 0}};
    if (is_type(post, "ByteLevel")) /* offsets alone */
        return FP4_OK;
    if (t->n_begin || t->n_end)
        return json_unsupported(path, place, "a second step that adds tokens");
    if (is_type(post, "TemplateProcessing")) {
        FP4_TRY(read_template(path, place, post, &a));
    } else if (is_type(post, "BertProcessing") || is_type(post, "RobertaProcessing")) {
        FP4_TRY(read_pair(path, place, post, "cls", &a, 0));
        FP4_TRY(read_pair(path, place, post, "sep", &a, 1));
    } else {
        return json_unsupported(path, place, json_type_of(post));
    }
    return tokenizer_use_ids(t, path, a.ids[0], a.n[0], a.ids[1], a.n[1]);
}

fp4_status json_post_processor(const char *path, const json_t *root, struct fp4_tokenizer *t) {
    const json_t *post = json_object_get(root, "post_processor");
    return !post || json_is_null(post) ? FP4_OK : each(path, "post_processor", post, "processors", SEQUENCES, t, read_post_processor);
}

/* ---- decoders ---- */

static fp4_status read_strip(const char *path, const char *place, const json_t *step, struct steps *to) {
    struct step s = {.kind = STEP_STRIP};
    const json_t *left = json_object_get(step, "start"), *right = json_object_get(step, "stop");
    FP4_TRY(read_content(path, place, step, "content", &s));
    if (!json_is_integer(left) || json_integer_value(left) < 0 || !json_is_integer(right) || json_integer_value(right) < 0 || s.content_bytes == 0)
        return fp4_fail(FP4_ERR_FORMAT, "%s: %s: content, start or stop is not what a Strip has", path, place);
    s.left = (size_t)json_integer_value(left);
    s.right = (size_t)json_integer_value(right);
    return steps_add(to, path, &s);
}

static fp4_status read_decoder(const char *path, const char *place, const json_t *step, struct fp4_tokenizer *t) {
    if (is_type(step, "ByteLevel"))
        return t->byte_level && t->decoders.n == 0 ? FP4_OK : json_unsupported(path, place, "ByteLevel without such a pre-tokenizer, or after another step");
    if (is_type(step, "Replace"))
        return read_replace(path, place, step, &t->decoders);
    if (is_type(step, "Strip"))
        return read_strip(path, place, step, &t->decoders);
    if (is_type(step, "Metaspace"))
        return read_metaspace(path, place, step, &t->decoders);
    if (is_type(step, "ByteFallback") || is_type(step, "Fuse"))
        return steps_add(&t->decoders, path, &(struct step){.kind = is_type(step, "Fuse") ? STEP_FUSE : STEP_BYTE_FALLBACK});
    return json_unsupported(path, place, json_type_of(step));
}

/* Without a decoder the library puts a blank between the tokens' spellings, which is no text: here they stand one after the other, byte-level
 * ones as their bytes. */
fp4_status json_decoder(const char *path, const json_t *root, struct fp4_tokenizer *t) {
    const json_t *step = json_object_get(root, "decoder");
    return !step || json_is_null(step) ? FP4_OK : each(path, "decoder", step, "decoders", SEQUENCES, t, read_decoder);
}
