/* Vocabularies in GGUF metadata: keys tokenizer.ggml.* (ggml's docs/gguf.md, llama.cpp's reading of them). */
#include <string.h>

#include "lib/text/vocab.h"

static const char *const id_keys[VOCAB_IDS] = {"tokenizer.ggml.bos_token_id", "tokenizer.ggml.eos_token_id", "tokenizer.ggml.unknown_token_id",
                                               "tokenizer.ggml.padding_token_id"};

static const struct fp4_meta *array_of(const struct fp4_checkpoint *c, const char *key, size_t length) {
    const struct fp4_meta *m = fp4_gguf_meta_find(c, key);
    return m && m->kind == FP4_META_ARRAY && (length == SIZE_MAX || m->length == length) ? m : NULL;
}

static fp4_status read_tokens(const char *path, const struct fp4_checkpoint *c, struct vocab *v) {
    const struct fp4_meta *tokens = array_of(c, "tokenizer.ggml.tokens", SIZE_MAX);
    if (!tokens)
        return fp4_fail(FP4_ERR_FORMAT, "%s: tokenizer.ggml.tokens is missing", path);
    const struct fp4_meta *types = array_of(c, "tokenizer.ggml.token_type", tokens->length), *scores = array_of(c, "tokenizer.ggml.scores", tokens->length);
    if (v->kind == VOCAB_PIECES && !scores)
        return fp4_fail(FP4_ERR_FORMAT, "%s: tokenizer.ggml.scores is missing or not as long as .tokens", path);
    FP4_TRY(FP4_NEW(v->tokens, tokens->length));
    v->n_tokens = tokens->length;
    for (size_t i = 0; i < v->n_tokens; i++) {
        struct vocab_token *t = &v->tokens[i];
        double type = VOCAB_NORMAL, score = 0;
        FP4_TRY(fp4_gguf_array_string(tokens, i, &t->text, &t->bytes));
        if (types)
            FP4_TRY(fp4_gguf_array_number(types, i, &type));
        if (scores)
            FP4_TRY(fp4_gguf_array_number(scores, i, &score));
        t->type = type >= VOCAB_NORMAL && type <= VOCAB_BYTE ? (int32_t)type : VOCAB_NORMAL;
        t->score = (float)score;
    }
    return FP4_OK;
}

static fp4_status read_merges(const char *path, const struct fp4_checkpoint *c, struct vocab *v) {
    const struct fp4_meta *merges = array_of(c, "tokenizer.ggml.merges", SIZE_MAX);
    if (!merges)
        return v->kind == VOCAB_PIECES ? vocab_merges_from_scores(v) : fp4_fail(FP4_ERR_FORMAT, "%s: tokenizer.ggml.merges is missing", path);
    FP4_TRY(FP4_NEW(v->merges, merges->length));
    v->n_merges = merges->length;
    for (size_t i = 0; i < v->n_merges; i++) {
        const char *text;
        size_t bytes;
        FP4_TRY(fp4_gguf_array_string(merges, i, &text, &bytes));
        const char *blank = bytes > 1 ? memchr(text + 1, ' ', bytes - 1) : NULL; /* as llama.cpp: from the second byte on */
        if (!blank || blank + 1 == text + bytes)
            return fp4_fail(FP4_ERR_FORMAT, "%s: merge %zu is not two tokens with a blank between", path, i);
        v->merges[i] = (struct vocab_merge){text, blank + 1, (size_t)(blank - text), bytes - (size_t)(blank - text) - 1};
    }
    return FP4_OK;
}

fp4_status vocab_from_gguf(const char *path, const struct fp4_checkpoint *c, struct vocab *out) {
    const char *model = fp4_gguf_meta_string(c, "tokenizer.ggml.model");
    *out = (struct vocab){.pre = fp4_gguf_meta_string(c, "tokenizer.ggml.pre"), .chat_template = fp4_gguf_meta_string(c, "tokenizer.chat_template")};
    if (model && strcmp(model, "gpt2") == 0)
        out->kind = VOCAB_BYTE_LEVEL;
    else if (model && strcmp(model, "llama") == 0)
        out->kind = VOCAB_PIECES;
    else
        return fp4_fail(FP4_ERR_UNSUPPORTED, "%s: tokenizer.ggml.model %s cannot be written as tokenizer.json; gpt2 and llama can", path, model ? model : "(absent)");
    bool pieces = out->kind == VOCAB_PIECES;
    out->add_bos = fp4_gguf_meta_flag(c, "tokenizer.ggml.add_bos_token", pieces);
    out->add_prefix = fp4_gguf_meta_flag(c, "tokenizer.ggml.add_space_prefix", pieces);
    for (size_t i = 0; i < VOCAB_IDS; i++) {
        const struct fp4_meta *m = fp4_gguf_meta_find(c, id_keys[i]);
        out->id[i] = m && m->kind == FP4_META_INT && m->integer >= 0 && m->integer < INT32_MAX ? (int)m->integer : -1;
    }
    FP4_TRY(read_tokens(path, c, out));
    return read_merges(path, c, out);
}

/* ---- writing ---- */

struct padded {
    const struct vocab *v;
    char name[32]; /* of an id without a token */
};

static bool has_token(const struct vocab *v, size_t i) { return i < v->n_tokens && v->tokens[i].text; }

static const char *token_at(void *context, size_t i, size_t *bytes) {
    struct padded *p = context;
    if (has_token(p->v, i)) {
        *bytes = p->v->tokens[i].bytes;
        return p->v->tokens[i].text;
    }
    *bytes = (size_t)snprintf(p->name, sizeof p->name, "[PAD%zu]", i);
    return p->name;
}

struct joined {
    const struct vocab *v;
    char *text; /* room for the longest merge */
};

static const char *merge_at(void *context, size_t i, size_t *bytes) {
    struct joined *j = context;
    const struct vocab_merge *m = &j->v->merges[i];
    memcpy(j->text, m->left, m->left_bytes);
    j->text[m->left_bytes] = ' ';
    memcpy(j->text + m->left_bytes + 1, m->right, m->right_bytes);
    *bytes = m->left_bytes + 1 + m->right_bytes;
    return j->text;
}

static fp4_status put_merges(const struct vocab *v, struct gguf_pairs *pairs) {
    struct joined j = {.v = v};
    size_t longest = 0;
    for (size_t i = 0; i < v->n_merges; i++) {
        size_t bytes = v->merges[i].left_bytes + v->merges[i].right_bytes + 1;
        longest = bytes > longest ? bytes : longest;
    }
    FP4_TRY(FP4_NEW(j.text, longest));
    gguf_put_strings(pairs, "tokenizer.ggml.merges", v->n_merges, merge_at, &j);
    fp4_free(j.text);
    return FP4_OK;
}

static fp4_status put_arrays(const struct vocab *v, size_t n_vocab, struct gguf_pairs *pairs) {
    struct padded p = {.v = v};
    int32_t *types;
    float *scores = NULL;
    FP4_TRY(FP4_NEW(types, n_vocab));
    fp4_status status = FP4_NEW(scores, n_vocab);
    for (size_t i = 0; i < n_vocab && status == FP4_OK; i++) {
        types[i] = has_token(v, i) ? v->tokens[i].type : VOCAB_UNUSED;
        scores[i] = has_token(v, i) ? v->tokens[i].score : 0;
    }
    if (status == FP4_OK) {
        gguf_put_strings(pairs, "tokenizer.ggml.tokens", n_vocab, token_at, &p);
        if (v->kind == VOCAB_PIECES)
            gguf_put_f32s(pairs, "tokenizer.ggml.scores", n_vocab, scores);
        gguf_put_i32s(pairs, "tokenizer.ggml.token_type", n_vocab, types);
    }
    fp4_free(types);
    fp4_free(scores);
    return status;
}

fp4_status vocab_to_gguf(const struct vocab *v, size_t n_vocab, struct gguf_pairs *pairs) {
    bool pieces = v->kind == VOCAB_PIECES;
    const char *model = pieces ? "llama" : "gpt2", *pre = pieces ? "default" : v->pre;
    gguf_put_string(pairs, "tokenizer.ggml.model", model, strlen(model));
    gguf_put_string(pairs, "tokenizer.ggml.pre", pre, strlen(pre));
    FP4_TRY(put_arrays(v, n_vocab, pairs));
    if (!pieces)
        FP4_TRY(put_merges(v, pairs));
    for (size_t i = 0; i < VOCAB_IDS; i++)
        if (v->id[i] >= 0)
            gguf_put_u32(pairs, id_keys[i], (uint32_t)v->id[i]);
    gguf_put_bool(pairs, "tokenizer.ggml.add_bos_token", v->add_bos);
    gguf_put_bool(pairs, "tokenizer.ggml.add_space_prefix", v->add_prefix);
    if (v->chat_template)
        gguf_put_string(pairs, "tokenizer.chat_template", v->chat_template, strlen(v->chat_template));
    return pairs->status;
}
