/* SentencePiece's tokenizer.model: a protocol buffer (sentencepiece_model.proto of SentencePiece; the wire format is protobuf's
 * encoding document). Model type BPE. */
#include <stdlib.h>
#include <string.h>

#include "lib/text/tokenizer.h"
#include "lib/text/utf8.h"

/* ---- the wire format ---- */

struct wire {
    const char *path;
    const uint8_t *data;
    size_t at, end;
};

struct field {
    uint32_t number;
    uint64_t value;      /* a varint, or the bits of a fixed one */
    struct wire message; /* a length-delimited one */
    bool delimited;
};

static fp4_status broken(const struct wire *w, const char *what) {
    return fp4_fail(FP4_ERR_FORMAT, "%s: offset %zu: %s; is this a SentencePiece model?", w->path, w->at, what);
}

static fp4_status varint(struct wire *w, uint64_t *out) {
    *out = 0;
    for (int shift = 0; shift < 70; shift += 7) {
        if (w->at >= w->end)
            return broken(w, "a number is cut off");
        uint8_t byte = w->data[w->at++];
        *out |= shift < 64 ? (uint64_t)(byte & 0x7F) << shift : 0;
        if (byte < 0x80)
            return FP4_OK;
    }
    return broken(w, "a number of more than ten bytes");
}

static fp4_status next_field(struct wire *w, struct field *f) {
    uint64_t key, length;
    FP4_TRY(varint(w, &key));
    *f = (struct field){.number = (uint32_t)(key >> 3)};
    size_t fixed = (key & 7) == 1 ? 8 : (key & 7) == 5 ? 4 : 0;
    if ((key & 7) == 0)
        return varint(w, &f->value);
    if (key >> 3 == 0 || key >> 3 > UINT32_MAX || (!fixed && (key & 7) != 2))
        return broken(w, "no field that protocol buffers have");
    if (fixed) {
        if (w->end - w->at < fixed)
            return broken(w, "a number is cut off");
        for (size_t i = 0; i < fixed; i++)
            f->value |= (uint64_t)w->data[w->at + i] << (8 * i);
        w->at += fixed;
        return FP4_OK;
    }
    FP4_TRY(varint(w, &length));
    if (length > w->end - w->at)
        return broken(w, "a field is longer than what it is in");
    f->delimited = true;
    f->message = (struct wire){w->path, w->data, w->at, w->at + (size_t)length};
    w->at += (size_t)length;
    return FP4_OK;
}

/* ---- what a model says ---- */

enum piece_type { PIECE_NORMAL = 1, PIECE_UNKNOWN, PIECE_CONTROL, PIECE_USER_DEFINED, PIECE_UNUSED, PIECE_BYTE };

struct spec {
    uint64_t model_type;
    bool suffix, byte_fallback, dummy_prefix, squeeze, escape;
    int32_t unknown, begin;
    size_t charsmap;
    char name[64];
};

static fp4_status read_piece(struct wire w, size_t id, struct source_token *token, float *score) {
    uint64_t type = PIECE_NORMAL;
    *score = 0;
    *token = (struct source_token){.text = ""};
    while (w.at < w.end) {
        struct field f;
        FP4_TRY(next_field(&w, &f));
        if (f.number == 1 && f.delimited) {
            token->text = (const char *)f.message.data + f.message.at;
            token->bytes = f.message.end - f.message.at;
        } else if (f.number == 2) {
            uint32_t bits = (uint32_t)f.value;
            memcpy(score, &bits, 4);
        } else if (f.number == 3) {
            type = f.value;
        }
    }
    if (*score != *score || token->bytes == 0)
        return fp4_fail(FP4_ERR_FORMAT, "%s: piece %zu has %s", w.path, id, token->bytes ? "no number as its score" : "no text");
    if (type < PIECE_NORMAL || type > PIECE_BYTE || type == PIECE_USER_DEFINED || type == PIECE_UNUSED)
        return fp4_fail(FP4_ERR_UNSUPPORTED, "%s: piece %zu: type %s is not supported", w.path, id,
                        type == PIECE_USER_DEFINED ? "USER_DEFINED" : type == PIECE_UNUSED ? "UNUSED" : "beyond BYTE");
    token->in_model = true;
    token->kind = type == PIECE_UNKNOWN || type == PIECE_CONTROL ? TOKEN_CONTROL : TOKEN_NORMAL;
    return FP4_OK;
}

static fp4_status read_trainer(struct wire w, struct spec *spec) {
    while (w.at < w.end) {
        struct field f;
        FP4_TRY(next_field(&w, &f));
        if (f.number == 3)
            spec->model_type = f.value;
        else if (f.number == 24)
            spec->suffix = f.value;
        else if (f.number == 35)
            spec->byte_fallback = f.value;
        else if (f.number == 40)
            spec->unknown = (int32_t)f.value;
        else if (f.number == 41)
            spec->begin = (int32_t)f.value;
    }
    return FP4_OK;
}

static fp4_status read_normalizer(struct wire w, struct spec *spec) {
    while (w.at < w.end) {
        struct field f;
        FP4_TRY(next_field(&w, &f));
        if (f.number == 1 && f.delimited)
            snprintf(spec->name, sizeof spec->name, "%.*s", (int)(f.message.end - f.message.at < 60 ? f.message.end - f.message.at : 60),
                     (const char *)f.message.data + f.message.at);
        else if (f.number == 2 && f.delimited)
            spec->charsmap = f.message.end - f.message.at;
        else if (f.number == 3)
            spec->dummy_prefix = f.value;
        else if (f.number == 4)
            spec->squeeze = f.value;
        else if (f.number == 5)
            spec->escape = f.value;
    }
    return FP4_OK;
}

static fp4_status check_spec(const char *path, const struct spec *spec) {
    static const char *const types[] = {"0", "UNIGRAM", "BPE", "WORD", "CHAR"};
    if (spec->model_type != 2)
        return fp4_fail(FP4_ERR_UNSUPPORTED, "%s: trainer_spec.model_type %s: only BPE is supported", path,
                        spec->model_type < 5 ? types[spec->model_type] : "beyond CHAR");
    if (spec->charsmap)
        return fp4_fail(FP4_ERR_UNSUPPORTED, "%s: normalizer_spec.precompiled_charsmap (%s) is not supported; identity is", path, spec->name);
    if (spec->suffix)
        return fp4_fail(FP4_ERR_UNSUPPORTED, "%s: trainer_spec.treat_whitespace_as_suffix is not supported", path);
    if (!spec->escape)
        return fp4_fail(FP4_ERR_UNSUPPORTED, "%s: normalizer_spec.escape_whitespaces false is not supported", path);
    return FP4_OK;
}

/* Two passes: the specs and the number of pieces, then the pieces. */
static fp4_status read_all(struct wire w, struct spec *spec, struct tokenizer_source *s, float *scores) {
    size_t id = 0;
    while (w.at < w.end) {
        struct field f;
        FP4_TRY(next_field(&w, &f));
        if (!f.delimited)
            continue;
        if (f.number == 1 && scores)
            FP4_TRY(read_piece(f.message, id, &s->tokens[id], &scores[id]));
        id += f.number == 1;
        if (f.number == 2 && !scores)
            FP4_TRY(read_trainer(f.message, spec));
        if (f.number == 3 && !scores)
            FP4_TRY(read_normalizer(f.message, spec));
    }
    s->n_tokens = id;
    return FP4_OK;
}

fp4_status tokenizer_control_tokens(struct tokenizer_source *s) {
    FP4_TRY(FP4_NEW(s->added, s->n_tokens));
    for (size_t id = 0; id < s->n_tokens; id++)
        if (s->tokens[id].text && s->tokens[id].bytes && s->tokens[id].kind >= TOKEN_ADDED)
            s->added[s->n_added++] = (struct source_added){.id = (int32_t)id};
    return FP4_OK;
}

fp4_status tokenizer_space_steps(struct fp4_tokenizer *t, const char *path, bool prefix, bool squeeze) {
    struct step step = {.kind = STEP_SQUEEZE};
    if (squeeze)
        FP4_TRY(steps_add(&t->normalizers, path, &step));
    if (prefix)
        FP4_TRY(steps_add(&t->normalizers, path, &(struct step){.kind = STEP_PREPEND, .content = " ", .content_bytes = 1}));
    step = (struct step){.kind = STEP_REPLACE, .content = "\xE2\x96\x81", .content_bytes = 3};
    FP4_TRY(pattern_literal(path, " ", 1, &step.pattern));
    FP4_TRY(steps_add(&t->normalizers, path, &step));
    step = (struct step){.kind = STEP_REPLACE, .content = " ", .content_bytes = 1};
    FP4_TRY(pattern_literal(path, "\xE2\x96\x81", 3, &step.pattern));
    FP4_TRY(steps_add(&t->decoders, path, &step));
    FP4_TRY(steps_add(&t->decoders, path, &(struct step){.kind = STEP_BYTE_FALLBACK}));
    FP4_TRY(steps_add(&t->decoders, path, &(struct step){.kind = STEP_FUSE}));
    step = (struct step){.kind = STEP_STRIP, .content = " ", .content_bytes = 1, .left = squeeze ? SIZE_MAX : 1};
    return prefix || squeeze ? steps_add(&t->decoders, path, &step) : FP4_OK;
}

static fp4_status build(struct fp4_tokenizer *t, struct tokenizer_source *s, const struct spec *spec) {
    FP4_TRY(check_spec(s->path, spec));
    if (spec->unknown < 0 || (size_t)spec->unknown >= s->n_tokens)
        return fp4_fail(FP4_ERR_FORMAT, "%s: trainer_spec.unk_id %d is not a piece", s->path, (int)spec->unknown);
    FP4_TRY(tokenizer_control_tokens(s));
    FP4_TRY(tokenizer_space_steps(t, s->path, spec->dummy_prefix, spec->squeeze));
    t->unknown = spec->unknown;
    t->byte_fallback = spec->byte_fallback;
    t->late_unknown = t->fuse_unknown = true;
    FP4_TRY(tokenizer_build(t, s));
    /* Llama's tokenizer puts the begin token in front; tokenizer_config.json may say otherwise. */
    bool begins = spec->begin >= 0 && (size_t)spec->begin < s->n_tokens && s->tokens[spec->begin].kind == TOKEN_CONTROL;
    return tokenizer_use_ids(t, s->path, &spec->begin, begins, NULL, 0);
}

/* Everything of a model; *scores belong to the caller, after a failure too. */
static fp4_status read_whole(const uint8_t *data, size_t bytes, struct spec *spec, struct tokenizer_source *s, float **scores) {
    struct wire w = {s->path, data, 0, bytes};
    *scores = NULL;
    /* The proto's defaults. */
    *spec = (struct spec){.model_type = 1, .dummy_prefix = true, .squeeze = true, .escape = true, .begin = 1};
    FP4_TRY(read_all(w, spec, s, NULL));
    FP4_TRY(FP4_NEW(s->tokens, s->n_tokens));
    FP4_TRY(FP4_NEW(*scores, s->n_tokens));
    s->scores = *scores;
    return read_all(w, spec, s, *scores);
}

fp4_status tokenizer_model_pieces(const char *name, const uint8_t *data, size_t bytes, struct tokenizer_source *s, float **scores, struct tokenizer_model_facts *facts) {
    struct spec spec;
    *s = (struct tokenizer_source){.path = name};
    *scores = NULL;
    if (bytes > TOKENIZER_FILE_MAX)
        return fp4_fail(FP4_ERR_FORMAT, "%s: %zu bytes are too many for a tokenizer", name, bytes);
    FP4_TRY(read_whole(data, bytes, &spec, s, scores));
    *facts = (struct tokenizer_model_facts){spec.unknown, spec.begin, spec.byte_fallback, spec.dummy_prefix, spec.squeeze};
    return check_spec(name, &spec);
}

fp4_status tokenizer_read_model(const char *name, const uint8_t *data, size_t bytes, struct fp4_tokenizer *t) {
    struct spec spec;
    struct tokenizer_source s = {.path = name};
    float *scores;
    fp4_status status = read_whole(data, bytes, &spec, &s, &scores);
    if (status == FP4_OK)
        status = build(t, &s, &spec);
    tokenizer_source_free(&s);
    fp4_free(scores);
    return status;
}

/* ---- merges from scores ---- */

struct scored {
    float score;
    int32_t id;
};

static int higher_first(const void *a, const void *b) {
    const struct scored *x = a, *y = b;
    return x->score != y->score ? (x->score < y->score ? 1 : -1) : (x->id > y->id) - (x->id < y->id);
}

/* rank [n_tokens]: 0 for the highest score, equal for equal scores; UINT32_MAX for what merging does not make. */
static fp4_status rank_pieces(const struct fp4_tokenizer *t, const struct tokenizer_source *s, uint32_t *rank) {
    struct scored *order;
    size_t n = 0;
    FP4_TRY(FP4_NEW(order, s->n_tokens));
    for (size_t id = 0; id < s->n_tokens; id++) {
        rank[id] = UINT32_MAX;
        bool byte = false;
        for (int i = 0; i < 256 && s->tokens[id].bytes == 6 && t->byte_fallback; i++)
            byte |= t->byte_id[i] == (int32_t)id;
        if (s->tokens[id].text && s->tokens[id].kind == TOKEN_NORMAL && !byte)
            order[n++] = (struct scored){s->scores[id], (int32_t)id};
    }
    if (n)
        qsort(order, n, sizeof *order, higher_first);
    for (size_t i = 0; i < n; i++)
        rank[order[i].id] = i && order[i].score == order[i - 1].score ? rank[order[i - 1].id] : (uint32_t)i;
    fp4_free(order);
    return FP4_OK;
}

/* Symbol of a part of a piece: another piece, or a character, which need not be one; −1: none. */
static fp4_status symbol_of(struct fp4_tokenizer *t, const uint32_t *rank, uint64_t h, const char *text, size_t n, int32_t *id) {
    uint32_t code;
    if (n <= 4 && utf8_next((const uint8_t *)text, n, &code) == n && code != UTF8_BROKEN) {
        *id = tokenizer_character(t, code);
        if (*id >= 0)
            return FP4_OK;
        *id = (int32_t)(t->n_vocab + t->n_hidden);
        t->hidden[t->n_hidden++] = code;
        return tokenizer_add_character(t, code, *id);
    }
    *id = tokenizer_find_hashed(t, h, text, n, true);
    if (*id >= 0 && rank[*id] == UINT32_MAX)
        *id = -1;
    return FP4_OK;
}

/* Every way to make a piece of two; with the table, or counted only. */
static fp4_status merge_ways(struct fp4_tokenizer *t, const struct tokenizer_source *s, const uint32_t *rank, bool count, size_t *n) {
    *n = 0;
    for (size_t id = 0; id < s->n_tokens; id++) {
        const struct source_token *whole = &s->tokens[id];
        if (rank[id] == UINT32_MAX || tokenizer_find(t, whole->text, whole->bytes, true) != (int32_t)id)
            continue;
        uint64_t h = HASH_START;
        for (size_t at = 1; at < whole->bytes; at++) {
            int32_t left, right;
            h = tokenizer_hash(h, whole->text + at - 1, 1);
            if ((whole->text[at] & 0xC0) == 0x80)
                continue;
            FP4_TRY(symbol_of(t, rank, h, whole->text, at, &left));
            if (left < 0) /* mostly so: the right part, whose hash has to be taken anew, is looked up seldom */
                continue;
            const char *rest = whole->text + at;
            FP4_TRY(symbol_of(t, rank, tokenizer_hash(HASH_START, rest, whole->bytes - at), rest, whole->bytes - at, &right));
            if (right < 0)
                continue;
            if (!count)
                FP4_TRY(tokenizer_add_merge(t, s, *n, left, right, rank[id], (int32_t)id));
            ++*n;
        }
    }
    return FP4_OK;
}

fp4_status tokenizer_score_merges(struct fp4_tokenizer *t, const struct tokenizer_source *s) {
    size_t letters = 0, n = 0;
    uint32_t *rank;
    for (size_t id = 0; id < s->n_tokens; id++)
        letters += s->tokens[id].bytes;
    if (letters > INT32_MAX - t->n_vocab)
        return fp4_fail(FP4_ERR_FORMAT, "%s: its pieces are too long", s->path);
    FP4_TRY(FP4_NEW(rank, s->n_tokens));
    fp4_status status = FP4_NEW(t->hidden, letters + 1);
    if (status == FP4_OK)
        status = rank_pieces(t, s, rank);
    if (status == FP4_OK)
        status = merge_ways(t, s, rank, true, &n);
    if (status == FP4_OK)
        status = tokenizer_merge_table(t, n);
    if (status == FP4_OK)
        status = merge_ways(t, s, rank, false, &n);
    fp4_free(rank);
    return status;
}
