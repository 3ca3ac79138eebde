/* A tokenizer out of what a file says: ids by text, symbols of bytes and characters, merges by pair of ids. */
#include <string.h>

#include "lib/text/tokenizer.h"
#include "lib/text/utf8.h"

/* ---- the byte alphabet: bytes 33–126, 161–172, 174–255 stand for themselves, the 68 others for U+0100 up ---- */

enum { ALPHABET_END = 0x144 };

static bool stands_for_itself(int byte) {
    return (byte >= 33 && byte <= 126) || (byte >= 161 && byte <= 172) || byte >= 174;
}

void tokenizer_alphabet(uint16_t letter[256]) {
    uint16_t next = 0x100;
    for (int byte = 0; byte < 256; byte++)
        letter[byte] = stands_for_itself(byte) ? (uint16_t)byte : next++;
}

static void alphabet(struct fp4_tokenizer *t, int16_t byte_of[ALPHABET_END]) {
    tokenizer_alphabet(t->letter);
    for (int i = 0; i < ALPHABET_END; i++)
        byte_of[i] = -1;
    for (int byte = 0; byte < 256; byte++)
        byte_of[t->letter[byte]] = (int16_t)byte;
}

static int hex_digit(char c) {
    return c >= '0' && c <= '9' ? c - '0' : (c | 32) >= 'a' && (c | 32) <= 'f' ? (c | 32) - 'a' + 10 : -1;
}

int tokenizer_byte(const char *text, size_t n) {
    if (n != 6 || memcmp(text, "<0x", 3) != 0 || text[5] != '>' || hex_digit(text[3]) < 0 || hex_digit(text[4]) < 0)
        return -1;
    return hex_digit(text[3]) * 16 + hex_digit(text[4]);
}

/* Bytes of a token in the alphabet; text that is not in it stands for itself. Returns the length; out has room for n. */
static size_t decode_token(const int16_t *byte_of, const char *text, size_t n, char *out) {
    size_t length = 0;
    for (size_t i = 0; i < n; length++) {
        uint32_t code;
        i += utf8_next((const uint8_t *)text + i, n - i, &code);
        if (code >= ALPHABET_END || byte_of[code] < 0) {
            memcpy(out, text, n);
            return n;
        }
        out[length] = (char)byte_of[code];
    }
    return length;
}

/* ---- ids by text ---- */

uint64_t tokenizer_hash(uint64_t h, const char *s, size_t n) {
    for (size_t i = 0; i < n; i++)
        h = (h ^ (uint8_t)s[i]) * 0x100000001B3u; /* FNV-1a */
    return h;
}

static size_t slots_for(size_t n) {
    size_t slots = 16;
    while (slots < 2 * n)
        slots *= 2;
    return slots;
}

int32_t tokenizer_find_hashed(const struct fp4_tokenizer *t, uint64_t h, const char *text, size_t bytes, bool model) {
    for (size_t i = (size_t)(h ^ h >> 32) & t->slot_mask; t->slots[i]; i = (i + 1) & t->slot_mask) {
        const struct token *token = &t->tokens[t->slots[i] - 1];
        if (token->text_bytes == bytes && (token->in_model || !model) && memcmp(t->bytes + token->text, text, bytes) == 0)
            return (int32_t)(t->slots[i] - 1);
    }
    return -1;
}

int32_t tokenizer_find(const struct fp4_tokenizer *t, const char *text, size_t bytes, bool model) {
    return tokenizer_find_hashed(t, tokenizer_hash(HASH_START, text, bytes), text, bytes, model);
}

static fp4_status index_tokens(struct fp4_tokenizer *t, const struct tokenizer_source *s) {
    t->slot_mask = slots_for(t->n_vocab) - 1;
    FP4_TRY(FP4_NEW(t->slots, t->slot_mask + 1));
    for (size_t id = 0; id < t->n_vocab; id++) {
        const struct token *token = &t->tokens[id];
        const char *text = t->bytes + token->text;
        if (token->kind == TOKEN_ABSENT)
            continue;
        int32_t same = tokenizer_find(t, text, token->text_bytes, false);
        if (same >= 0 && (!token->in_model || !t->tokens[same].in_model))
            return fp4_fail(FP4_ERR_FORMAT, "%s: tokens %d and %zu are the same text \"%.*s\"", s->path, (int)same, id,
                            (int)(token->text_bytes < 40 ? token->text_bytes : 40), text);
        if (same >= 0)
            continue; /* GGUF: of two with the same text the first is meant */
        uint64_t h = tokenizer_hash(HASH_START, text, token->text_bytes);
        size_t i = (size_t)(h ^ h >> 32) & t->slot_mask;
        while (t->slots[i])
            i = (i + 1) & t->slot_mask;
        t->slots[i] = (uint32_t)id + 1;
    }
    return FP4_OK;
}

static fp4_status build_tokens(struct fp4_tokenizer *t, const struct tokenizer_source *s) {
    int16_t byte_of[ALPHABET_END];
    size_t total = 0, room, used = 0;
    alphabet(t, byte_of);
    for (size_t id = 0; id < s->n_tokens; id++)
        if (!fp4_size_add(total, s->tokens[id].bytes, &total) || s->tokens[id].bytes > INT32_MAX)
            return fp4_fail(FP4_ERR_FORMAT, "%s: token %zu is too long", s->path, id);
    if (!fp4_size_mul(total, 2, &room) || !fp4_size_add(room, 1, &room))
        return fp4_fail(FP4_ERR_FORMAT, "%s: its tokens are too long", s->path);
    FP4_TRY(FP4_NEW(t->tokens, s->n_tokens));
    FP4_TRY(FP4_NEW(t->bytes, room));
    t->n_vocab = s->n_tokens;
    for (size_t id = 0; id < s->n_tokens; id++) {
        const struct source_token *from = &s->tokens[id];
        if (!from->text)
            continue;
        struct token *token = &t->tokens[id];
        *token = (struct token){used, used, (uint32_t)from->bytes, (uint32_t)from->bytes, (uint8_t)from->kind, from->in_model};
        memcpy(t->bytes + used, from->text, from->bytes);
        used += from->bytes;
        if (!t->byte_level || from->kind != TOKEN_NORMAL)
            continue;
        token->decoded = used;
        token->length = (uint32_t)decode_token(byte_of, from->text, from->bytes, t->bytes + used);
        used += token->length;
    }
    return FP4_OK;
}

/* ---- symbols ---- */

static size_t character_slot(uint32_t code, size_t mask) {
    return (size_t)(code * 0x9E3779B1u >> 7) & mask;
}

int32_t tokenizer_character(const struct fp4_tokenizer *t, uint32_t code) {
    if (code < 128)
        return t->ascii[code];
    size_t i = character_slot(code, t->character_mask);
    while (t->characters[i].code != code && t->characters[i].code != UTF8_BROKEN)
        i = (i + 1) & t->character_mask;
    return t->characters[i].code == code ? t->characters[i].id : -1;
}

fp4_status tokenizer_add_character(struct fp4_tokenizer *t, uint32_t code, int32_t id) {
    if (code < 128) {
        t->ascii[code] = id;
        return FP4_OK;
    }
    size_t i = character_slot(code, t->character_mask), probed = 0;
    while (t->characters[i].code != UTF8_BROKEN && probed++ <= t->character_mask)
        i = (i + 1) & t->character_mask;
    if (probed > t->character_mask)
        return fp4_fail(FP4_ERR_FORMAT, "more characters than tokens");
    t->characters[i] = (struct character){code, id};
    return FP4_OK;
}

/* Room for every token that is one character, and for as many that merges begin with (SentencePiece). */
static fp4_status build_characters(struct fp4_tokenizer *t, const struct tokenizer_source *s) {
    size_t letters = 0;
    for (size_t id = 0; s->scores && id < s->n_tokens; id++)
        letters += s->tokens[id].bytes;
    t->character_mask = slots_for(s->n_tokens + letters) - 1;
    FP4_TRY(FP4_NEW(t->characters, t->character_mask + 1));
    for (size_t i = 0; i <= t->character_mask; i++)
        t->characters[i].code = UTF8_BROKEN;
    memset(t->ascii, -1, sizeof t->ascii);
    for (size_t id = 0; id < t->n_vocab; id++) {
        const struct token *token = &t->tokens[id];
        uint32_t code;
        if (!token->in_model || token->text_bytes == 0 || token->text_bytes > 4)
            continue;
        if (s->scores && token->kind != TOKEN_NORMAL)
            continue; /* control pieces are not made from text */
        if (utf8_next((const uint8_t *)t->bytes + token->text, token->text_bytes, &code) == token->text_bytes && code != UTF8_BROKEN)
            FP4_TRY(tokenizer_add_character(t, code, (int32_t)id));
    }
    return FP4_OK;
}

static void find_bytes(struct fp4_tokenizer *t) {
    for (int byte = 0; byte < 256; byte++) {
        char text[8];
        uint8_t letter[4];
        size_t n = utf8_put(t->letter[byte], letter);
        snprintf(text, sizeof text, "<0x%02X>", (unsigned int)byte);
        t->byte_id[byte] = t->byte_level ? tokenizer_find(t, (const char *)letter, n, true) : tokenizer_find(t, text, 6, true);
    }
}

/* A byte-level tokenizer whose alphabet has gaps, and bytes to fall back on: the library takes those of the letter's UTF-8, which no file in use means. */
static fp4_status check_gaps(const struct fp4_tokenizer *t, const char *path) {
    for (int byte = 0; t->byte_level && t->byte_fallback && byte < 256; byte++) {
        uint8_t letter[4];
        size_t n = utf8_put(t->letter[byte], letter);
        bool all = t->byte_id[byte] < 0;
        for (size_t i = 0; i < n && all; i++) {
            char text[8];
            snprintf(text, sizeof text, "<0x%02X>", (unsigned int)letter[i]);
            all = tokenizer_find(t, text, 6, true) >= 0;
        }
        if (all)
            return fp4_fail(FP4_ERR_UNSUPPORTED, "%s: model.byte_fallback with ByteLevel and no token for byte %d is not supported", path, byte);
    }
    return FP4_OK;
}

/* ---- merges ---- */

static size_t merge_slot(uint64_t pair, size_t mask) {
    return (size_t)((pair * 0x9E3779B97F4A7C15u) >> 32) & mask;
}

const struct merge *tokenizer_merge(const struct fp4_tokenizer *t, int32_t left, int32_t right) {
    uint64_t pair = (uint64_t)(uint32_t)left << 32 | (uint32_t)right;
    size_t i = merge_slot(pair, t->merge_mask);
    while (t->merges[i].pair != pair && t->merges[i].pair != MERGE_EMPTY)
        i = (i + 1) & t->merge_mask;
    return t->merges[i].pair == pair ? &t->merges[i] : NULL;
}

fp4_status tokenizer_split_merge(const char *path, size_t rank, const char *text, size_t bytes, struct source_merge *out) {
    const char *blank = memchr(text, ' ', bytes);
    size_t left = blank ? (size_t)(blank - text) : 0;
    if (!blank || left == 0 || left + 1 == bytes || memchr(blank + 1, ' ', bytes - left - 1))
        return fp4_fail(FP4_ERR_FORMAT, "%s: merge %zu: \"%.*s\" is not two tokens with a blank between", path, rank,
                        (int)(bytes < 60 ? bytes : 60), text);
    *out = (struct source_merge){text, blank + 1, left, bytes - left - 1};
    return FP4_OK;
}

fp4_status tokenizer_merge_table(struct fp4_tokenizer *t, size_t n) {
    t->merge_mask = slots_for(n) - 1;
    FP4_TRY(FP4_NEW(t->merges, t->merge_mask + 1));
    for (size_t i = 0; i <= t->merge_mask; i++)
        t->merges[i].pair = MERGE_EMPTY;
    return FP4_OK;
}

fp4_status tokenizer_add_merge(struct fp4_tokenizer *t, const struct tokenizer_source *s, size_t number, int32_t left, int32_t right, uint32_t rank,
                               int32_t whole) {
    if (tokenizer_merge(t, left, right))
        return fp4_fail(FP4_ERR_FORMAT, "%s: merge %zu stands there twice", s->path, number);
    uint64_t pair = (uint64_t)(uint32_t)left << 32 | (uint32_t)right;
    size_t i = merge_slot(pair, t->merge_mask);
    while (t->merges[i].pair != MERGE_EMPTY)
        i = (i + 1) & t->merge_mask;
    t->merges[i] = (struct merge){pair, rank, whole};
    return FP4_OK;
}

static fp4_status build_merges(struct fp4_tokenizer *t, const struct tokenizer_source *s) {
    struct bytes both = {0};
    fp4_status status = tokenizer_merge_table(t, s->n_merges);
    for (size_t rank = 0; rank < s->n_merges && status == FP4_OK; rank++) {
        const struct source_merge *m = &s->merges[rank];
        both.n = 0;
        status = bytes_add(&both, m->left, m->left_bytes);
        if (status == FP4_OK)
            status = bytes_add(&both, m->right, m->right_bytes);
        if (status != FP4_OK)
            break;
        int32_t a = tokenizer_find(t, m->left, m->left_bytes, true), b = tokenizer_find(t, m->right, m->right_bytes, true),
                whole = tokenizer_find(t, both.data, both.n, true);
        if (a < 0 || b < 0 || whole < 0)
            status = fp4_fail(FP4_ERR_FORMAT, "%s: merge %zu (\"%.*s %.*s\") names a token that is not in the vocabulary", s->path, rank,
                              (int)(m->left_bytes < 40 ? m->left_bytes : 40), m->left, (int)(m->right_bytes < 40 ? m->right_bytes : 40), m->right);
        else
            status = tokenizer_add_merge(t, s, rank, a, b, (uint32_t)rank, whole);
    }
    fp4_free(both.data);
    return status;
}

/* ---- where a long text may be cut ---- */

#define SPACE "\xE2\x96\x81" /* U+2581 */

static bool space_after_another(const char *text, size_t n) {
    for (size_t i = 1; i + 3 <= n; i++)
        if (memcmp(text + i, SPACE, 3) == 0 && (i < 3 || memcmp(text + i - 3, SPACE, 3) != 0))
            return true;
    return false;
}

/* Merges never cross a place where U+2581 follows another character, when no token that a merge makes holds such a place: its
 * sides are then merged each by itself, to the same result. That every character has a symbol, and that the symbol of an unknown
 * one does not end with U+2581, keeps the places the same among the symbols as in the text. */
static bool can_cut(const struct fp4_tokenizer *t) {
    bool all_bytes = t->byte_fallback;
    for (int byte = 0; byte < 256; byte++)
        all_bytes &= t->byte_id[byte] >= 0;
    if (t->byte_level || tokenizer_character(t, 0x2581) < 0 || (!all_bytes && t->unknown < 0))
        return false;
    if (t->unknown >= 0) {
        const struct token *u = &t->tokens[t->unknown];
        if (u->text_bytes >= 3 && memcmp(t->bytes + u->text + u->text_bytes - 3, SPACE, 3) == 0)
            return false;
    }
    for (size_t i = 0; i <= t->merge_mask; i++)
        if (t->merges[i].pair != MERGE_EMPTY) {
            const struct token *made = &t->tokens[t->merges[i].id];
            if (space_after_another(t->bytes + made->text, made->text_bytes))
                return false;
        }
    return true;
}

fp4_status tokenizer_build(struct fp4_tokenizer *t, const struct tokenizer_source *s) {
    if (s->n_tokens == 0 || s->n_tokens > INT32_MAX || s->n_merges > INT32_MAX)
        return fp4_fail(FP4_ERR_FORMAT, "%s: a vocabulary of %zu tokens and %zu merges", s->path, s->n_tokens, s->n_merges);
    FP4_TRY(build_tokens(t, s));
    FP4_TRY(index_tokens(t, s));
    find_bytes(t);
    FP4_TRY(check_gaps(t, s->path));
    FP4_TRY(build_characters(t, s));
    FP4_TRY(s->scores ? tokenizer_score_merges(t, s) : build_merges(t, s));
    t->cut_spaces = can_cut(t);
    FP4_TRY(FP4_NEW(t->classes, PIECES_TABLE));
    FP4_TRY(pieces_classes(t->classes));
    return added_build(t, s);
}

void tokenizer_source_free(struct tokenizer_source *s) {
    fp4_free(s->tokens);
    fp4_free(s->merges);
    fp4_free(s->added);
}

/* ---- steps ---- */

fp4_status steps_add(struct steps *s, const char *path, const struct step *step) {
    if (s->n == STEPS_MAX) {
        pattern_free(step->pattern);
        return fp4_fail(FP4_ERR_UNSUPPORTED, "%s: more than %d steps in a row", path, STEPS_MAX);
    }
    struct step *to = &s->list[s->n++];
    *to = *step;
    to->content = NULL;
    FP4_TRY(FP4_NEW(to->content, step->content_bytes + 1));
    if (step->content_bytes)
        memcpy(to->content, step->content, step->content_bytes);
    return FP4_OK;
}

void steps_drop_last(struct steps *s) {
    s->n--;
    fp4_free(s->list[s->n].content);
    pattern_free(s->list[s->n].pattern);
}

void steps_free(struct steps *s) {
    while (s->n)
        steps_drop_last(s);
}

static fp4_status copy_ids(const struct fp4_tokenizer *t, const char *path, const int32_t *ids, size_t n, int32_t **out, size_t *n_out) {
    fp4_free(*out);
    FP4_TRY(FP4_NEW(*out, n));
    for (size_t i = 0; i < n; i++) {
        if (ids[i] < 0 || (size_t)ids[i] >= t->n_vocab || t->tokens[ids[i]].kind == TOKEN_ABSENT)
            return fp4_fail(FP4_ERR_FORMAT, "%s: the id %d that is put around a text is not in the vocabulary", path, (int)ids[i]);
        (*out)[i] = ids[i];
    }
    *n_out = n;
    return FP4_OK;
}

fp4_status tokenizer_use_ids(struct fp4_tokenizer *t, const char *path, const int32_t *begin, size_t n_begin, const int32_t *end, size_t n_end) {
    FP4_TRY(copy_ids(t, path, begin, n_begin, &t->begin, &t->n_begin));
    return copy_ids(t, path, end, n_end, &t->end, &t->n_end);
}
