/* The tokenizer inside a GGUF file: tokenizer.ggml.* metadata (ggml's docs/gguf.md). */
#include <string.h>

#include "lib/io/checkpoint.h"
#include "lib/text/tokenizer.h"
#include "lib/text/vocab.h"

/* Names of llama.cpp's src/llama-vocab.cpp for pre-tokenizers: the pattern that cuts last, and whether pieces that are tokens go
 * unmerged and a begin token is put in front unless the file says otherwise. `default` cuts four times. */
static const struct {
    const char *name;
    enum pieces_kind pieces;
    bool whole_tokens, begins;
} known[] = {{"gpt-2", PIECES_GPT2, false, false},        {"phi-2", PIECES_GPT2, false, false},      {"olmo", PIECES_GPT2, false, false},
             {"smollm", PIECES_GPT2_DIGITS, false, false}, {"starcoder", PIECES_GPT2_DIGITS, false, false},
             {"refact", PIECES_GPT2_DIGITS, false, false}, {"llama-bpe", PIECES_LLAMA3, true, true}, {"llama3", PIECES_LLAMA3, true, true},
             {"llama-v3", PIECES_LLAMA3, true, true},      {"qwen2", PIECES_QWEN2, false, false},    {"default", PIECES_WHOLE, false, false}};
static const char *const default_cuts[] = {"[\\p{P}\\$\\+<=>\\^~\\|]+", "'s|'t|'re|'ve|'m|'ll|'d| ?\\p{L}+| ?\\p{N}+| ?[^\\s\\p{L}\\p{N}]+|\\s+(?!\\S)",
                                           "\\p{N}+", "[0-9][0-9][0-9]"};

static const char *meta_name(const struct fp4_checkpoint *c, const char *key) {
    const char *name = fp4_gguf_meta_string(c, key);
    return name ? name : "(absent)";
}

static int32_t meta_id(const struct fp4_checkpoint *c, const char *key, int32_t otherwise) {
    const struct fp4_meta *m = fp4_gguf_meta_find(c, key);
    return m && m->kind == FP4_META_INT && m->integer >= -1 && m->integer <= INT32_MAX ? (int32_t)m->integer : otherwise;
}

static fp4_status byte_level(const char *path, const struct fp4_checkpoint *c, struct fp4_tokenizer *t, bool *begins) {
    const char *pre = meta_name(c, "tokenizer.ggml.pre");
    if (fp4_gguf_meta_flag(c, "tokenizer.ggml.add_space_prefix", false))
        return fp4_fail(FP4_ERR_UNSUPPORTED, "%s: tokenizer.ggml.add_space_prefix true is not supported with tokenizer.ggml.model gpt2", path);
    for (size_t i = 0; i < sizeof known / sizeof known[0]; i++) {
        if (strcmp(pre, known[i].name) != 0)
            continue;
        t->byte_level = true;
        t->pieces = known[i].pieces;
        t->ignore_merges = known[i].whole_tokens;
        *begins = known[i].begins;
        for (int k = 0; k < 4 && strcmp(pre, "default") == 0; k++) {
            struct step s = {.kind = STEP_SPLIT};
            FP4_TRY(pattern_regex(path, default_cuts[k], strlen(default_cuts[k]), &s.pattern));
            FP4_TRY(steps_add(&t->splits, path, &s));
        }
        return FP4_OK;
    }
    return fp4_fail(FP4_ERR_UNSUPPORTED, "%s: tokenizer.ggml.pre %s is not supported; gpt-2, llama-bpe, qwen2, smollm, starcoder, refact, phi-2, olmo and default are",
                    path, pre);
}

static fp4_status read_tokens(const struct fp4_checkpoint *c, bool pieces, struct tokenizer_source *s, float *scores) {
    const struct fp4_meta *tokens = fp4_gguf_meta_find(c, "tokenizer.ggml.tokens"), *types = fp4_gguf_meta_find(c, "tokenizer.ggml.token_type"),
                          *score = fp4_gguf_meta_find(c, "tokenizer.ggml.scores");
    for (size_t i = 0; i < s->n_tokens; i++) {
        double type = VOCAB_NORMAL, value = 0;
        if (types)
            FP4_TRY(fp4_gguf_array_number(types, i, &type));
        if (scores)
            FP4_TRY(fp4_gguf_array_number(score, i, &value));
        if (value != value)
            return fp4_fail(FP4_ERR_FORMAT, "%s: tokenizer.ggml.scores[%zu] is no number", s->path, i);
        if (scores)
            scores[i] = (float)value;
        if (pieces && type == VOCAB_UNUSED)
            return fp4_fail(FP4_ERR_UNSUPPORTED, "%s: tokenizer.ggml.token_type[%zu] UNUSED is not supported", s->path, i);
        FP4_TRY(fp4_gguf_array_string(tokens, i, &s->tokens[i].text, &s->tokens[i].bytes));
        s->tokens[i].kind = type == VOCAB_CONTROL || type == VOCAB_UNKNOWN ? TOKEN_CONTROL : type == VOCAB_USER_DEFINED ? TOKEN_ADDED : TOKEN_NORMAL;
        s->tokens[i].in_model = true;
    }
    return tokenizer_control_tokens(s);
}

static fp4_status read_merges(const struct fp4_checkpoint *c, struct tokenizer_source *s) {
    const struct fp4_meta *merges = fp4_gguf_meta_find(c, "tokenizer.ggml.merges");
    if (!merges || merges->kind != FP4_META_ARRAY)
        return fp4_fail(FP4_ERR_FORMAT, "%s: tokenizer.ggml.merges is missing", s->path);
    s->n_merges = merges->length;
    FP4_TRY(FP4_NEW(s->merges, s->n_merges));
    for (size_t i = 0; i < s->n_merges; i++) {
        const char *text;
        size_t bytes;
        FP4_TRY(fp4_gguf_array_string(merges, i, &text, &bytes));
        FP4_TRY(tokenizer_split_merge(s->path, i, text, bytes, &s->merges[i]));
    }
    return FP4_OK;
}

/* SentencePiece's kind: scores, <0xNN> for what has no piece. */
static fp4_status piece_level(const struct fp4_checkpoint *c, struct tokenizer_source *s, struct fp4_tokenizer *t, float *scores) {
    const struct fp4_meta *score = fp4_gguf_meta_find(c, "tokenizer.ggml.scores"), *types = fp4_gguf_meta_find(c, "tokenizer.ggml.token_type");
    if (!score || score->kind != FP4_META_ARRAY || score->length != s->n_tokens || !types)
        return fp4_fail(FP4_ERR_FORMAT, "%s: tokenizer.ggml.scores or .token_type is missing or not as long as .tokens", s->path);
    if (fp4_gguf_meta_find(c, "tokenizer.ggml.precompiled_charsmap"))
        return fp4_fail(FP4_ERR_UNSUPPORTED, "%s: tokenizer.ggml.precompiled_charsmap is not supported", s->path);
    FP4_TRY(read_tokens(c, true, s, scores));
    s->scores = scores;
    t->unknown = meta_id(c, "tokenizer.ggml.unknown_token_id", 0);
    if (t->unknown < 0 || (size_t)t->unknown >= s->n_tokens)
        return fp4_fail(FP4_ERR_FORMAT, "%s: tokenizer.ggml.unknown_token_id %d is no token", s->path, (int)t->unknown);
    t->byte_fallback = t->fuse_unknown = t->late_unknown = true;
    return tokenizer_space_steps(t, s->path, fp4_gguf_meta_flag(c, "tokenizer.ggml.add_space_prefix", true),
                                 fp4_gguf_meta_flag(c, "tokenizer.ggml.remove_extra_whitespaces", false));
}

static fp4_status read_source(const struct fp4_checkpoint *c, struct tokenizer_source *s, struct fp4_tokenizer *t, float **scores) {
    const struct fp4_meta *tokens = fp4_gguf_meta_find(c, "tokenizer.ggml.tokens"), *types = fp4_gguf_meta_find(c, "tokenizer.ggml.token_type");
    const char *model = meta_name(c, "tokenizer.ggml.model");
    bool pieces = strcmp(model, "llama") == 0, begins = pieces;
    if (!fp4_gguf_meta_find(c, "tokenizer.ggml.model"))
        return fp4_fail(FP4_ERR_FORMAT, "%s: holds no tokenizer (tokenizer.ggml.model); take a file that has one, or give token ids", s->path);
    if (!pieces && strcmp(model, "gpt2") != 0)
        return fp4_fail(FP4_ERR_UNSUPPORTED, "%s: tokenizer.ggml.model %s is not supported; gpt2 and llama are", s->path, model);
    if (!tokens || tokens->kind != FP4_META_ARRAY)
        return fp4_fail(FP4_ERR_FORMAT, "%s: tokenizer.ggml.tokens is missing", s->path);
    if (types && (types->kind != FP4_META_ARRAY || types->length != tokens->length))
        return fp4_fail(FP4_ERR_FORMAT, "%s: tokenizer.ggml.token_type is not an array as long as .tokens", s->path);
    s->n_tokens = tokens->length;
    FP4_TRY(FP4_NEW(s->tokens, s->n_tokens));
    FP4_TRY(FP4_NEW(*scores, s->n_tokens));
    if (pieces) {
        FP4_TRY(piece_level(c, s, t, *scores));
    } else {
        FP4_TRY(byte_level(s->path, c, t, &begins));
        FP4_TRY(read_tokens(c, false, s, NULL));
        FP4_TRY(read_merges(c, s));
    }
    FP4_TRY(tokenizer_build(t, s));
    int32_t begin = meta_id(c, "tokenizer.ggml.bos_token_id", pieces ? 1 : -1), end = meta_id(c, "tokenizer.ggml.eos_token_id", pieces ? 2 : -1);
    return tokenizer_use_ids(t, s->path, &begin, begin >= 0 && fp4_gguf_meta_flag(c, "tokenizer.ggml.add_bos_token", begins), &end,
                             end >= 0 && fp4_gguf_meta_flag(c, "tokenizer.ggml.add_eos_token", false));
}

fp4_status tokenizer_read_gguf(const char *name, const uint8_t *data, size_t bytes, struct fp4_tokenizer *t) {
    struct fp4_checkpoint *c;
    struct tokenizer_source s = {.path = name};
    float *scores = NULL;
    FP4_TRY(io_checkpoint_parse(name, data, bytes, &c));
    fp4_status status = read_source(c, &s, t, &scores);
    tokenizer_source_free(&s);
    fp4_free(scores);
    fp4_checkpoint_close(c);
    return status;
}
