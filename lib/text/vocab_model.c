/* Vocabularies of SentencePiece's tokenizer.model. */
#include "lib/text/tokenizer.h"
#include "lib/text/vocab.h"

static fp4_status take(const char *path, const struct tokenizer_source *s, const float *scores, const struct tokenizer_model_facts *facts, struct vocab *v) {
    if (facts->squeeze)
        return fp4_fail(FP4_ERR_UNSUPPORTED, "%s: normalizer_spec.remove_extra_whitespaces has no counterpart in what is written here", path);
    if (!facts->byte_fallback)
        return fp4_fail(FP4_ERR_UNSUPPORTED, "%s: trainer_spec.byte_fallback false has no counterpart in what is written here", path);
    v->id[VOCAB_UNK] = facts->unknown;
    v->id[VOCAB_BOS] = facts->begin;
    v->add_bos = facts->begin >= 0; /* as Llama's tokenizer does */
    v->add_prefix = facts->dummy_prefix;
    FP4_TRY(FP4_NEW(v->tokens, s->n_tokens));
    v->n_tokens = s->n_tokens;
    for (size_t i = 0; i < v->n_tokens; i++) {
        const struct source_token *t = &s->tokens[i];
        int32_t type = (int64_t)i == facts->unknown               ? VOCAB_UNKNOWN
                       : t->kind == TOKEN_CONTROL                 ? VOCAB_CONTROL
                       : tokenizer_byte(t->text, t->bytes) >= 0 ? VOCAB_BYTE
                                                                  : VOCAB_NORMAL;
        v->tokens[i] = (struct vocab_token){t->text, t->bytes, type, scores[i]};
    }
    return vocab_merges_from_scores(v);
}

fp4_status vocab_from_model(const char *path, struct vocab *out) {
    struct tokenizer_source s;
    struct tokenizer_model_facts facts;
    float *scores = NULL;
    *out = (struct vocab){.kind = VOCAB_PIECES, .id = {-1, -1, -1, -1}};
    FP4_TRY(fp4_map_open(path, &out->map));
    fp4_status status = tokenizer_model_pieces(path, out->map.data, out->map.size, &s, &scores, &facts);
    if (status == FP4_OK)
        status = take(path, &s, scores, &facts, out);
    tokenizer_source_free(&s);
    fp4_free(scores);
    return status;
}
