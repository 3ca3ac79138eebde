/* Text to ids: added tokens, normalizers, spans, pieces, and the merges within a piece. */
#include <string.h>

#include "lib/text/budget.h"
#include "lib/text/tokenizer.h"
#include "lib/text/utf8.h"

#define CACHED_BYTES 64 /* longer pieces are rare and not worth a look-up */

/* A piece that was met before: where it stands in the text and its ids in the output. */
struct seen {
    size_t text, ids;
    uint32_t bytes, n_ids;
};

struct encoder {
    const struct fp4_tokenizer *t;
    const char *text;
    struct seen *cache; /* direct-mapped */
    size_t cache_mask;
    int32_t *out; /* a token never has less than one byte of the text: [bytes] is enough */
    size_t n;
    /* Scratch for one piece: symbols in a doubly linked list over [piece bytes], pairs in a heap. */
    size_t room;
    int32_t *id; /* −1: merged into its left neighbour */
    uint32_t *next, *previous;
    uint64_t *heap; /* rank ≪ 32 | position: lowest rank first, leftmost among equals */
    size_t n_heap;
    struct bytes spelled; /* a piece in the byte alphabet */
};

static void heap_push(struct encoder *e, uint64_t value) {
    size_t i = e->n_heap++;
    for (; i && e->heap[(i - 1) / 2] > value; i = (i - 1) / 2)
        e->heap[i] = e->heap[(i - 1) / 2];
    e->heap[i] = value;
}

static uint64_t heap_pop(struct encoder *e) {
    uint64_t top = e->heap[0], value = e->heap[--e->n_heap];
    size_t i = 0;
    for (size_t child = 1; child < e->n_heap; child = 2 * i + 1) {
        if (child + 1 < e->n_heap && e->heap[child + 1] < e->heap[child])
            child++;
        if (e->heap[child] >= value)
            break;
        e->heap[i] = e->heap[child];
        i = child;
    }
    e->heap[i] = value;
    return top;
}

static fp4_status make_room(struct encoder *e, size_t bytes) {
    if (bytes <= e->room)
        return FP4_OK;
    size_t room = bytes < 256 ? 256 : bytes + bytes / 2;
    fp4_free(e->id);
    fp4_free(e->next);
    fp4_free(e->previous);
    fp4_free(e->heap);
    e->id = NULL;
    e->next = e->previous = NULL;
    e->heap = NULL;
    e->room = 0;
    FP4_TRY(FP4_NEW(e->id, room + 1));
    FP4_TRY(FP4_NEW(e->next, room + 1));
    FP4_TRY(FP4_NEW(e->previous, room + 1));
    /* One pair a symbol at first; each of the less than `room` merges adds two at most. */
    FP4_TRY(fp4_alloc(room, 3 * sizeof *e->heap, (void **)&e->heap));
    e->room = room;
    return FP4_OK;
}

static void push_pair(struct encoder *e, uint32_t left, uint32_t end) {
    uint32_t right = e->next[left];
    if (right >= end)
        return;
    const struct merge *m = tokenizer_merge(e->t, e->id[left], e->id[right]);
    if (m)
        heap_push(e, (uint64_t)m->rank << 32 | left);
}

/* Merges the symbols [0, end). A heap entry that has grown stale is known by its rank, which names its pair. */
static void merge_all(struct encoder *e, uint32_t end) {
    e->n_heap = 0;
    for (uint32_t i = 0; i < end; i++) {
        e->next[i] = i + 1;
        e->previous[i] = i - 1;
    }
    for (uint32_t i = 0; i + 1 < end; i++)
        push_pair(e, i, end);
    while (e->n_heap) {
        uint64_t top = heap_pop(e);
        uint32_t left = (uint32_t)top, right = e->next[left];
        if (e->id[left] < 0 || right >= end)
            continue;
        const struct merge *m = tokenizer_merge(e->t, e->id[left], e->id[right]);
        if (!m || m->rank != top >> 32)
            continue;
        e->id[left] = m->id;
        e->id[right] = -1;
        e->next[left] = e->next[right];
        if (e->next[left] < end)
            e->previous[e->next[left]] = left;
        push_pair(e, left, end);
        if (left > 0)
            push_pair(e, e->previous[left], end);
    }
}

/* ---- the symbols that a piece begins as ---- */

/* The tokens <0xNN> of a character; 0 where one is missing. */
static uint32_t fall_back(const struct fp4_tokenizer *t, const uint8_t *text, size_t length, int32_t *out) {
    for (size_t i = 0; i < length; i++) {
        if (!t->byte_fallback || t->byte_id[text[i]] < 0)
            return 0;
        out[i] = t->byte_id[text[i]];
    }
    return (uint32_t)length;
}

/* The unknown token waits until a known character comes: with fuse_unknown one stands for a run, and bytes of a character that
 * falls back are put before it (models/bpe/model.rs of the tokenizers library, merge_word). */
struct symbols {
    int32_t *id;
    uint32_t n;
    bool waiting;
};

static void put_known(const struct fp4_tokenizer *t, struct symbols *s, int32_t id) {
    if (s->waiting)
        s->id[s->n++] = t->unknown;
    s->waiting = false;
    s->id[s->n++] = id;
}

static void put_unknown(const struct fp4_tokenizer *t, struct symbols *s) {
    if (t->unknown < 0) /* dropped before merging: its neighbours may merge */
        return;
    if (s->waiting && !t->fuse_unknown)
        s->id[s->n++] = t->unknown;
    s->waiting = true;
}

static uint32_t put_last(const struct fp4_tokenizer *t, struct symbols *s) {
    if (s->waiting)
        s->id[s->n++] = t->unknown;
    return s->n;
}

static uint32_t byte_symbols(struct encoder *e, size_t start, size_t stop) {
    struct symbols s = {.id = e->id};
    for (size_t i = start; i < stop; i++) {
        int32_t id = e->t->byte_id[(uint8_t)e->text[i]];
        if (id >= 0)
            put_known(e->t, &s, id);
        else
            put_unknown(e->t, &s);
    }
    return put_last(e->t, &s);
}

static uint32_t character_symbols(struct encoder *e, size_t start, size_t stop) {
    const struct fp4_tokenizer *t = e->t;
    const uint8_t *text = (const uint8_t *)e->text;
    struct symbols s = {.id = e->id};
    for (size_t i = start; i < stop;) {
        uint32_t code;
        size_t length = utf8_next(text + i, stop - i, &code);
        int32_t id = tokenizer_character(t, code);
        uint32_t bytes = id < 0 ? fall_back(t, text + i, length, s.id + s.n) : 0;
        s.n += bytes;
        if (id >= 0)
            put_known(t, &s, id);
        else if (!bytes)
            put_unknown(t, &s);
        i += length;
    }
    return put_last(t, &s);
}

/* A symbol as ids: itself, or a character that is no token and was not merged. */
static void put_symbol(struct encoder *e, size_t first, int32_t id) {
    const struct fp4_tokenizer *t = e->t;
    if ((size_t)id < t->n_vocab) {
        bool again = t->late_unknown && id == t->unknown && e->n > first && e->out[e->n - 1] == id; /* one for a run */
        e->out[e->n] = id;
        e->n += !again;
        return;
    }
    uint8_t text[4];
    size_t length = utf8_put(t->hidden[(size_t)id - t->n_vocab], text);
    uint32_t bytes = fall_back(t, text, length, e->out + e->n);
    e->n += bytes;
    if (!bytes)
        put_symbol(e, first, t->unknown);
}

/* With ignore_merges a piece that is a token is that token; −1: it is none. */
static fp4_status whole_piece(struct encoder *e, size_t start, size_t stop, int32_t *id) {
    const struct fp4_tokenizer *t = e->t;
    *id = -1;
    if (!t->ignore_merges && !t->words)
        return FP4_OK;
    if (!t->byte_level) {
        *id = tokenizer_find(t, e->text + start, stop - start, true);
        return FP4_OK;
    }
    e->spelled.n = 0;
    for (size_t i = start; i < stop; i++) {
        uint8_t letter[4];
        size_t n = utf8_put(t->letter[(uint8_t)e->text[i]], letter);
        FP4_TRY(bytes_add(&e->spelled, (const char *)letter, n));
    }
    *id = tokenizer_find(t, e->spelled.data, e->spelled.n, true);
    return FP4_OK;
}

static fp4_status merge_piece(struct encoder *e, size_t start, size_t stop) {
    int32_t whole;
    FP4_TRY(whole_piece(e, start, stop, &whole));
    if (whole >= 0) {
        e->out[e->n++] = whole;
        return FP4_OK;
    }
    if (e->t->words) {
        if (e->t->unknown < 0)
            return fp4_fail(FP4_ERR_ARG, "%s: \"%.*s\" is not a word of this tokenizer, and it has no unknown token", e->t->name,
                            (int)(stop - start < 60 ? stop - start : 60), e->text + start);
        e->out[e->n++] = e->t->unknown;
        return FP4_OK;
    }
    FP4_TRY(make_room(e, stop - start));
    uint32_t symbols = e->t->byte_level ? byte_symbols(e, start, stop) : character_symbols(e, start, stop);
    merge_all(e, symbols);
    size_t first = e->n;
    for (uint32_t i = 0; i < symbols; i = e->next[i])
        put_symbol(e, first, e->id[i]);
    return FP4_OK;
}

static fp4_status encode_piece(struct encoder *e, size_t start, size_t stop) {
    size_t bytes = stop - start, first = e->n;
    if (bytes > CACHED_BYTES)
        return merge_piece(e, start, stop);
    uint64_t h = tokenizer_hash(HASH_START, e->text + start, bytes);
    struct seen *seen = &e->cache[(h ^ h >> 29) & e->cache_mask];
    if (seen->bytes == bytes && memcmp(e->text + seen->text, e->text + start, bytes) == 0) {
        for (uint32_t i = 0; i < seen->n_ids; i++)
            e->out[e->n + i] = e->out[seen->ids + i];
        e->n += seen->n_ids;
        return FP4_OK;
    }
    FP4_TRY(merge_piece(e, start, stop));
    *seen = (struct seen){start, first, (uint32_t)bytes, (uint32_t)(e->n - first)};
    return FP4_OK;
}

/* Where U+2581 follows another character, from `at` on; stop: nowhere. */
static size_t next_cut(const char *text, size_t at, size_t stop) {
    while (at < stop) {
        const char *hit = memchr(text + at, 0xE2, stop - at);
        size_t found = hit ? (size_t)(hit - text) : stop;
        if (stop - found < 3)
            return stop;
        if (memcmp(text + found, "\xE2\x96\x81", 3) == 0 && memcmp(text + found - 3, "\xE2\x96\x81", 3) != 0)
            return found;
        at = found + 1;
    }
    return stop;
}

static fp4_status encode_text(struct encoder *e, size_t start, size_t stop) {
    const struct fp4_tokenizer *t = e->t;
    if (t->pieces == PIECES_WHOLE && t->cut_spaces && !t->ignore_merges && !t->words) {
        /* The first three bytes are no place to cut, so that three can be looked at before one. */
        while (start < stop) {
            size_t cut = next_cut(e->text, start + 3 < stop ? start + 3 : stop, stop);
            FP4_TRY(encode_piece(e, start, cut));
            start = cut;
        }
        return FP4_OK;
    }
    struct pieces p = {.classes = t->classes, .text = (const uint8_t *)e->text, .pos = start, .end = stop, .kind = t->pieces};
    size_t from, to;
    while (pieces_next(&p, &from, &to))
        FP4_TRY(encode_piece(e, from, to));
    return FP4_OK;
}

static fp4_status encode_spans(struct encoder *e, const struct spans *spans) {
    size_t total = 0;
    for (size_t i = 0; i < spans->n; i++)
        total += spans->list[i].stop - spans->list[i].start + 1;
    FP4_TRY(FP4_NEW(e->out, total + 1));
    size_t slots = 64;
    while (slots < total / 8 && slots < 1u << 16)
        slots *= 2;
    e->cache_mask = slots - 1;
    FP4_TRY(FP4_NEW(e->cache, slots));
    for (size_t i = 0; i < spans->n; i++) {
        const struct span *s = &spans->list[i];
        if (s->id >= 0)
            e->out[e->n++] = s->id;
        else
            FP4_TRY(encode_text(e, s->start, s->stop));
    }
    return FP4_OK;
}

/* ---- from the text to spans ---- */

/* Normalizes every span of text and looks there for added tokens once more. */
static fp4_status normalize_spans(const struct fp4_tokenizer *t, const char *text, const struct spans *in, bool special, struct bytes *out,
                                  struct spans *spans) {
    for (size_t i = 0; i < in->n; i++) {
        struct span s = in->list[i];
        if (s.id < 0) {
            size_t start = out->n;
            FP4_TRY(normalize(&t->normalizers, t->classes, text + s.start, s.stop - s.start, out));
            FP4_TRY(added_cut(t, &t->normalized, out->data, (struct span){start, out->n, -1, s.first}, special, spans));
        } else {
            FP4_TRY(spans_add(spans, s));
        }
    }
    return FP4_OK;
}

static fp4_status find_spans(const struct fp4_tokenizer *t, const char **text, size_t bytes, bool special, struct bytes *owned, struct spans *spans) {
    struct spans raw = {0};
    fp4_status status = added_cut(t, &t->raw, *text, (struct span){0, bytes, -1, true}, special, &raw);
    if (status == FP4_OK && (t->normalizers.n || t->normalized.n)) {
        status = normalize_spans(t, *text, &raw, special, owned, spans);
        *text = owned->data;
        fp4_free(raw.list);
    } else {
        *spans = raw;
    }
    return status == FP4_OK ? split_spans(t, text, owned, spans) : status;
}

/* Bytes go through untouched where nothing looks at characters but the hand-written patterns, to which a broken one is a symbol. */
static bool takes_any_bytes(const struct fp4_tokenizer *t) {
    return t->byte_level && !t->normalizers.n && !t->splits.n;
}

/* Text is at most a token a byte, or three for a blank that becomes U+2581 and has no token. More comes of normalizers that are there to use up
 * memory: what is done with a token takes many times what a byte does. */
static size_t most_tokens(size_t bytes) { return 2 * bytes + (1 << 16); }

fp4_status fp4_tokenize(const struct fp4_tokenizer *t, const char *text, size_t bytes, bool special, int32_t **ids, size_t *n) {
    struct bytes owned = {0};
    struct spans spans = {0};
    struct encoder e = {.t = t};
    char *repaired = NULL;
    *ids = NULL;
    *n = 0;
    if (bytes > INT32_MAX / 3)
        return fp4_fail(FP4_ERR_ARG, "%s: a text of %zu bytes; at most %d are tokenized at once", t->name, bytes, INT32_MAX / 3);
    if (!takes_any_bytes(t) && !utf8_valid(text, bytes)) {
        FP4_TRY(fp4_utf8_repair(text, bytes, &repaired, &bytes));
        text = repaired;
    }
    budget_begin(t->name, bytes, 0.25);
    fp4_status status = find_spans(t, &text, bytes, special, &owned, &spans);
    e.text = text;
    if (status == FP4_OK)
        status = encode_spans(&e, &spans);
    if (status == FP4_OK && e.n > most_tokens(bytes))
        status = fp4_fail(FP4_ERR_FORMAT, "%s: it makes %zu tokens of a text of %zu bytes", t->name, e.n, bytes);
    if (status == FP4_OK)
        status = FP4_NEW(*ids, e.n);
    if (status == FP4_OK) {
        if (e.n)
            memcpy(*ids, e.out, e.n * sizeof **ids);
        *n = e.n;
    }
    budget_end();
    fp4_free(repaired);
    fp4_free(owned.data);
    fp4_free(spans.list);
    fp4_free(e.cache);
    fp4_free(e.out);
    fp4_free(e.id);
    fp4_free(e.next);
    fp4_free(e.previous);
    fp4_free(e.heap);
    fp4_free(e.spelled.data);
    return status;
}
