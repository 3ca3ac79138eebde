/* The tokenizer inside a GGUF file: tokenizer.ggml.* metadata (ggml's docs/gguf.md). */
#include <string.h>

#include "lib/io/checkpoint.h"
#include "lib/text/tokenizer.h"

/* tokenizer.ggml.token_type */
enum ggml_token_type { GGML_NORMAL = 1, GGML_UNKNOWN = 2, GGML_CONTROL = 3, GGML_USER_DEFINED = 4 };

/* Names that stand for GPT-2's pattern, with each numeric character alone or not. */
static const struct {
    const char *name;
    bool digits;
} patterns[] = {{"gpt-2", false}, {"gpt2", false}, {"phi-2", false}, {"smollm", true}, {"starcoder", true}, {"refact", true}};

static const char *meta_string(const struct fp4_checkpoint *c, const char *key) {
    const struct fp4_meta *m = fp4_gguf_meta_find(c, key);
    return m && m->kind == FP4_META_STRING ? m->string : "(absent)";
}

static fp4_status read_kind(const char *path, const struct fp4_checkpoint *c, bool *digits) {
    const char *model = meta_string(c, "tokenizer.ggml.model"), *pre = meta_string(c, "tokenizer.ggml.pre");
    if (strcmp(model, "gpt2") != 0)
        return fp4_fail(FP4_ERR_UNSUPPORTED, "%s: tokenizer.ggml.model %s: only gpt2 (byte-level BPE) is supported", path, model);
    const struct fp4_meta *prefix = fp4_gguf_meta_find(c, "tokenizer.ggml.add_space_prefix");
    if (prefix && prefix->integer)
        return fp4_fail(FP4_ERR_UNSUPPORTED, "%s: tokenizer.ggml.add_space_prefix true is not supported", path);
    for (size_t i = 0; i < sizeof patterns / sizeof patterns[0]; i++) {
        if (strcmp(pre, patterns[i].name) == 0) {
            *digits = patterns[i].digits;
            return FP4_OK;
        }
    }
    return fp4_fail(FP4_ERR_UNSUPPORTED, "%s: tokenizer.ggml.pre %s is not supported; gpt-2, phi-2, smollm, starcoder and refact are", path, pre);
}

static enum token_kind kind_of(double type) {
    return type == GGML_CONTROL || type == GGML_UNKNOWN ? TOKEN_CONTROL : type == GGML_USER_DEFINED ? TOKEN_ADDED : TOKEN_NORMAL;
}

static fp4_status read_source(const struct fp4_checkpoint *c, struct tokenizer_source *s, struct fp4_tokenizer **out) {
    const struct fp4_meta *tokens = fp4_gguf_meta_find(c, "tokenizer.ggml.tokens"), *merges = fp4_gguf_meta_find(c, "tokenizer.ggml.merges"),
                          *types = fp4_gguf_meta_find(c, "tokenizer.ggml.token_type");
    FP4_TRY(read_kind(s->path, c, &s->digits));
    if (!tokens || tokens->kind != FP4_META_ARRAY || !merges || merges->kind != FP4_META_ARRAY)
        return fp4_fail(FP4_ERR_FORMAT, "%s: tokenizer.ggml.tokens or .merges is missing", s->path);
    if (types && (types->kind != FP4_META_ARRAY || types->length != tokens->length))
        return fp4_fail(FP4_ERR_FORMAT, "%s: tokenizer.ggml.token_type is not an array as long as .tokens", s->path);
    s->n_tokens = tokens->length;
    s->n_merges = merges->length;
    FP4_TRY(FP4_NEW(s->tokens, s->n_tokens));
    FP4_TRY(FP4_NEW(s->merges, s->n_merges));
    for (size_t i = 0; i < s->n_tokens; i++) {
        double type = GGML_NORMAL;
        if (types)
            FP4_TRY(fp4_gguf_array_number(types, i, &type));
        FP4_TRY(fp4_gguf_array_string(tokens, i, &s->tokens[i].text, &s->tokens[i].bytes));
        s->tokens[i].kind = kind_of(type);
    }
    for (size_t i = 0; i < s->n_merges; i++) {
        const char *text;
        size_t bytes;
        FP4_TRY(fp4_gguf_array_string(merges, i, &text, &bytes));
        FP4_TRY(tokenizer_split_merge(s->path, i, text, bytes, &s->merges[i]));
    }
    return tokenizer_build(s, out);
}

fp4_status tokenizer_from_gguf(const char *path, const void *bytes, size_t size, struct fp4_tokenizer **out) {
    struct fp4_checkpoint *c;
    struct tokenizer_source s = {.path = path};
    FP4_TRY(io_checkpoint_parse(path, bytes, size, &c));
    fp4_status status = read_source(c, &s, out);
    fp4_free(s.tokens);
    fp4_free(s.merges);
    fp4_checkpoint_close(c);
    return status;
}
