/* A tokenizer out of what a file says: tokens decoded from the byte alphabet, merges in a hash table by pair of ids. */
#include "lib/text/tokenizer.h"

#include <dirent.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "lib/text/pieces.h"
#include "lib/text/utf8.h"

/* ---- the byte alphabet: bytes 33–126, 161–172, 174–255 stand for themselves, the 68 others for U+0100 up ---- */

static bool stands_for_itself(int byte) {
    return (byte >= 33 && byte <= 126) || (byte >= 161 && byte <= 172) || byte >= 174;
}

static void alphabet(int16_t byte_of[0x144]) {
    int next = 0x100;
    for (int i = 0; i < 0x144; i++)
        byte_of[i] = -1;
    for (int byte = 0; byte < 256; byte++)
        byte_of[stands_for_itself(byte) ? byte : next++] = (int16_t)byte;
}

/* Bytes of a token; text that is not in the alphabet stands for itself. Returns the length; out has room for s->bytes. */
static size_t decode_token(const int16_t *byte_of, const struct source_token *s, char *out) {
    const uint8_t *text = (const uint8_t *)s->text;
    size_t n = 0;
    if (s->kind == TOKEN_NORMAL) {
        for (size_t i = 0; i < s->bytes; n++) {
            uint32_t code;
            i += utf8_next(text + i, s->bytes - i, &code);
            if (code >= 0x144 || byte_of[code] < 0) {
                n = SIZE_MAX;
                break;
            }
            out[n] = (char)byte_of[code];
        }
        if (n != SIZE_MAX)
            return n;
    }
    memcpy(out, text, s->bytes);
    return s->bytes;
}

/* ---- ids by text, needed while merges are read ---- */

struct index {
    const struct tokenizer_source *s;
    uint32_t *slots; /* id + 1 */
    size_t mask;
};

static uint64_t hash_bytes(const char *s, size_t n, uint64_t h) {
    for (size_t i = 0; i < n; i++)
        h = (h ^ (uint8_t)s[i]) * 0x100000001B3u; /* FNV-1a */
    return h;
}
#define HASH_START 0xCBF29CE484222325u

/* Id of the text left + right; −1: none. */
static int32_t index_find(const struct index *x, const struct source_merge *m) {
    uint64_t h = hash_bytes(m->right, m->right_bytes, hash_bytes(m->left, m->left_bytes, HASH_START));
    for (size_t i = (size_t)(h ^ h >> 32) & x->mask; x->slots[i]; i = (i + 1) & x->mask) {
        const struct source_token *t = &x->s->tokens[x->slots[i] - 1];
        if (t->bytes == m->left_bytes + m->right_bytes && memcmp(t->text, m->left, m->left_bytes) == 0 &&
            memcmp(t->text + m->left_bytes, m->right, m->right_bytes) == 0)
            return (int32_t)(x->slots[i] - 1);
    }
    return -1;
}

static size_t slots_for(size_t n) {
    size_t slots = 16;
    while (slots < 2 * n)
        slots *= 2;
    return slots;
}

static fp4_status index_build(const struct tokenizer_source *s, struct index *x) {
    *x = (struct index){.s = s, .mask = slots_for(s->n_tokens) - 1};
    FP4_TRY(FP4_NEW(x->slots, x->mask + 1));
    for (size_t id = 0; id < s->n_tokens; id++) {
        const struct source_token *t = &s->tokens[id];
        if (!t->text)
            continue;
        struct source_merge whole = {t->text, "", t->bytes, 0};
        if (index_find(x, &whole) >= 0)
            continue; /* of two with the same text the first is meant */
        uint64_t h = hash_bytes(t->text, t->bytes, HASH_START);
        size_t i = (size_t)(h ^ h >> 32) & x->mask;
        while (x->slots[i])
            i = (i + 1) & x->mask;
        x->slots[i] = (uint32_t)id + 1;
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

static fp4_status build_merges(struct fp4_tokenizer *t, const struct tokenizer_source *s, const struct index *x) {
    t->merge_mask = slots_for(s->n_merges) - 1;
    FP4_TRY(FP4_NEW(t->merges, t->merge_mask + 1));
    for (size_t i = 0; i <= t->merge_mask; i++)
        t->merges[i].pair = MERGE_EMPTY;
    for (size_t rank = 0; rank < s->n_merges; rank++) {
        const struct source_merge *m = &s->merges[rank];
        struct source_merge left = {m->left, "", m->left_bytes, 0}, right = {m->right, "", m->right_bytes, 0};
        int32_t a = index_find(x, &left), b = index_find(x, &right), whole = index_find(x, m);
        if (a < 0 || b < 0 || whole < 0)
            return fp4_fail(FP4_ERR_FORMAT, "%s: merge %zu (\"%.*s %.*s\") names a token that is not in the vocabulary", s->path, rank,
                            (int)(m->left_bytes < 40 ? m->left_bytes : 40), m->left, (int)(m->right_bytes < 40 ? m->right_bytes : 40),
                            m->right);
        if (tokenizer_merge(t, a, b))
            return fp4_fail(FP4_ERR_FORMAT, "%s: merge %zu stands there twice", s->path, rank);
        uint64_t pair = (uint64_t)(uint32_t)a << 32 | (uint32_t)b;
        size_t i = merge_slot(pair, t->merge_mask);
        while (t->merges[i].pair != MERGE_EMPTY)
            i = (i + 1) & t->merge_mask;
        t->merges[i] = (struct merge){pair, (uint32_t)rank, whole};
    }
    return FP4_OK;
}

/* ---- tokens ---- */

static fp4_status build_tokens(struct fp4_tokenizer *t, const struct tokenizer_source *s) {
    int16_t byte_of[0x144];
    size_t total = 0, used = 0;
    alphabet(byte_of);
    for (size_t id = 0; id < s->n_tokens; id++)
        if (!fp4_size_add(total, s->tokens[id].bytes, &total) || s->tokens[id].bytes > INT32_MAX)
            return fp4_fail(FP4_ERR_FORMAT, "%s: token %zu is too long", s->path, id);
    FP4_TRY(FP4_NEW(t->tokens, s->n_tokens));
    FP4_TRY(FP4_NEW(t->bytes, total + 1));
    t->n_vocab = s->n_tokens;
    memset(t->byte_id, -1, sizeof t->byte_id);
    for (size_t id = 0; id < s->n_tokens; id++) {
        const struct source_token *from = &s->tokens[id];
        if (!from->text)
            continue;
        size_t n = decode_token(byte_of, from, t->bytes + used);
        t->tokens[id] = (struct token){used, (uint32_t)n, (uint8_t)from->kind};
        /* In the alphabet a byte is one code point; a longer text of one byte is no byte's token. */
        uint32_t code;
        if (n == 1 && from->kind == TOKEN_NORMAL && utf8_next((const uint8_t *)from->text, from->bytes, &code) == from->bytes &&
            code < 0x144 && byte_of[code] == (uint8_t)t->bytes[used] && t->byte_id[byte_of[code]] < 0)
            t->byte_id[byte_of[code]] = (int32_t)id;
        t->longest = n > t->longest ? n : t->longest;
        used += n;
    }
    for (int byte = 0; byte < 256 && s->unknown; byte++)
        if (t->byte_id[byte] < 0)
            return fp4_fail(FP4_ERR_UNSUPPORTED, "%s: unk_token, and byte %02X has no token: an unknown token is not supported", s->path, byte);
    return FP4_OK;
}

static _Thread_local const struct token *sort_tokens; /* qsort hands its function no context */

static int longer_first(const void *a, const void *b) {
    const struct token *x = &sort_tokens[*(const int32_t *)a], *y = &sort_tokens[*(const int32_t *)b];
    if (x->length != y->length)
        return x->length < y->length ? 1 : -1;
    return *(const int32_t *)a < *(const int32_t *)b ? -1 : 1;
}

static fp4_status build_added(struct fp4_tokenizer *t) {
    FP4_TRY(FP4_NEW(t->added, t->n_vocab));
    for (size_t id = 0; id < t->n_vocab; id++) {
        if (t->tokens[id].kind < TOKEN_ADDED || t->tokens[id].length == 0)
            continue;
        t->added[t->n_added++] = (int32_t)id;
        t->added_first[(uint8_t)t->bytes[t->tokens[id].offset]] = true;
    }
    sort_tokens = t->tokens;
    qsort(t->added, t->n_added, sizeof *t->added, longer_first);
    return FP4_OK;
}

fp4_status tokenizer_build(const struct tokenizer_source *s, struct fp4_tokenizer **out) {
    struct fp4_tokenizer *t;
    struct index x = {0};
    *out = NULL;
    if (s->n_tokens == 0 || s->n_tokens > INT32_MAX || s->n_merges > INT32_MAX)
        return fp4_fail(FP4_ERR_FORMAT, "%s: a vocabulary of %zu tokens and %zu merges", s->path, s->n_tokens, s->n_merges);
    FP4_TRY(FP4_NEW(t, 1));
    t->digits = s->digits;
    fp4_status status = build_tokens(t, s);
    if (status == FP4_OK)
        status = index_build(s, &x);
    if (status == FP4_OK)
        status = build_merges(t, s, &x);
    if (status == FP4_OK)
        status = build_added(t);
    if (status == FP4_OK)
        status = FP4_NEW(t->classes, PIECES_TABLE);
    if (status == FP4_OK)
        status = pieces_classes(t->classes);
    fp4_free(x.slots);
    if (status == FP4_OK)
        *out = t;
    else
        fp4_tokenizer_close(t);
    return status;
}

/* ---- opening ---- */

/* The one file of a folder that a tokenizer can be read from. */
static fp4_status in_folder(const char *folder, char *path, size_t size) {
    struct stat info;
    snprintf(path, size, "%s/tokenizer.json", folder);
    if (stat(path, &info) == 0)
        return FP4_OK;
    DIR *d = opendir(folder);
    if (!d)
        return fp4_fail(FP4_ERR_IO, "%s: cannot read the folder", folder);
    size_t found = 0;
    for (struct dirent *e = readdir(d); e; e = readdir(d)) {
        size_t n = strlen(e->d_name);
        if (n < 6 || strcmp(e->d_name + n - 5, ".gguf") != 0)
            continue;
        found++;
        snprintf(path, size, "%s/%s", folder, e->d_name);
    }
    closedir(d);
    if (found != 1)
        return fp4_fail(FP4_ERR_IO, "%s: holds no tokenizer.json and %zu GGUF files; name the file", folder, found);
    return FP4_OK;
}

fp4_status tokenizer_parse(const char *path, const void *bytes, size_t size, struct fp4_tokenizer **out) {
    *out = NULL;
    bool gguf = size >= 4 && memcmp(bytes, "GGUF", 4) == 0;
    return gguf ? tokenizer_from_gguf(path, bytes, size, out) : tokenizer_from_json(path, bytes, size, out);
}

fp4_status fp4_tokenizer_open(const char *path, struct fp4_tokenizer **out) {
    char inside[4096];
    struct stat info;
    *out = NULL;
    if (stat(path, &info) == 0 && S_ISDIR(info.st_mode)) {
        if (strlen(path) > sizeof inside - 300)
            return fp4_fail(FP4_ERR_ARG, "%s: path too long", path);
        FP4_TRY(in_folder(path, inside, sizeof inside));
        path = inside;
    }
    struct fp4_map map;
    FP4_TRY(fp4_map_open(path, &map));
    fp4_status status = tokenizer_parse(path, map.data, map.size, out);
    fp4_map_close(&map);
    return status;
}

void fp4_tokenizer_close(struct fp4_tokenizer *t) {
    if (!t)
        return;
    fp4_free(t->tokens);
    fp4_free(t->bytes);
    fp4_free(t->merges);
    fp4_free(t->added);
    fp4_free(t->classes);
    fp4_free(t);
}

size_t fp4_tokenizer_vocab(const struct fp4_tokenizer *t) {
    return t->n_vocab;
}

bool fp4_token_is_special(const struct fp4_tokenizer *t, int32_t id) {
    return id >= 0 && (size_t)id < t->n_vocab && t->tokens[id].kind == TOKEN_CONTROL;
}
