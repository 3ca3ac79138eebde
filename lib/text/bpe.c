/* Text to ids and back: added tokens, pieces, byte-pair merges. */
#include <string.h>

#include "lib/text/pieces.h"
#include "lib/text/tokenizer.h"

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

static fp4_status encode_piece(struct encoder *e, size_t start, size_t stop) {
    size_t bytes = stop - start;
    struct seen *seen = NULL;
    if (bytes <= CACHED_BYTES) {
        uint64_t h = 0xCBF29CE484222325u; /* FNV-1a */
        for (size_t i = start; i < stop; i++)
            h = (h ^ (uint8_t)e->text[i]) * 0x100000001B3u;
        seen = &e->cache[(h ^ h >> 29) & e->cache_mask];
        if (seen->bytes == bytes && memcmp(e->text + seen->text, e->text + start, bytes) == 0) {
            for (uint32_t i = 0; i < seen->n_ids; i++)
                e->out[e->n + i] = e->out[seen->ids + i];
            e->n += seen->n_ids;
            return FP4_OK;
        }
    }
    FP4_TRY(make_room(e, bytes));
    uint32_t symbols = 0;
    for (size_t i = start; i < stop; i++) {
        int32_t id = e->t->byte_id[(uint8_t)e->text[i]];
        if (id >= 0) /* a byte without a token is dropped before merging */
            e->id[symbols++] = id;
    }
    merge_all(e, symbols);
    size_t first = e->n;
    for (uint32_t i = 0; i < symbols; i = e->next[i])
        e->out[e->n++] = e->id[i];
    if (seen)
        *seen = (struct seen){start, first, (uint32_t)bytes, (uint32_t)(e->n - first)};
    return FP4_OK;
}

static fp4_status encode_plain(struct encoder *e, size_t start, size_t stop) {
    struct pieces p = {.classes = e->t->classes, .text = (const uint8_t *)e->text, .pos = start, .end = stop, .digits = e->t->digits};
    size_t from, to;
    while (pieces_next(&p, &from, &to))
        FP4_TRY(encode_piece(e, from, to));
    return FP4_OK;
}

/* The longest added token whose text begins at `at`; −1: none. Control tokens count in mode special only. */
static int32_t added_at(const struct fp4_tokenizer *t, const char *text, size_t at, size_t bytes, bool special) {
    if (!t->added_first[(uint8_t)text[at]])
        return -1;
    for (size_t i = 0; i < t->n_added; i++) {
        const struct token *token = &t->tokens[t->added[i]];
        if ((special || token->kind == TOKEN_ADDED) && token->length <= bytes - at &&
            memcmp(t->bytes + token->offset, text + at, token->length) == 0)
            return t->added[i];
    }
    return -1;
}

static fp4_status encode(struct encoder *e, size_t bytes, bool special) {
    size_t start = 0;
    for (size_t at = 0; e->t->n_added && at < bytes;) {
        int32_t id = added_at(e->t, e->text, at, bytes, special);
        if (id < 0) {
            at++;
            continue;
        }
        FP4_TRY(encode_plain(e, start, at));
        e->out[e->n++] = id;
        at += e->t->tokens[id].length;
        start = at;
    }
    return encode_plain(e, start, bytes);
}

fp4_status fp4_tokenize(const struct fp4_tokenizer *t, const char *text, size_t bytes, bool special, int32_t **ids, size_t *n) {
    *ids = NULL;
    *n = 0;
    if (bytes > INT32_MAX)
        return fp4_fail(FP4_ERR_ARG, "a text of %zu bytes; at most 2 GiB are tokenized at once", bytes);
    size_t slots = 64;
    while (slots < bytes / 8 && slots < 1u << 16)
        slots *= 2;
    struct encoder e = {.t = t, .text = text, .cache_mask = slots - 1};
    fp4_status status = FP4_NEW(e.cache, slots);
    if (status == FP4_OK)
        status = FP4_NEW(e.out, bytes + 1);
    if (status == FP4_OK)
        status = encode(&e, bytes, special);
    if (status == FP4_OK)
        status = FP4_NEW(*ids, e.n);
    if (status == FP4_OK) {
        memcpy(*ids, e.out, e.n * sizeof **ids);
        *n = e.n;
    }
    fp4_free(e.cache);
    fp4_free(e.out);
    fp4_free(e.id);
    fp4_free(e.next);
    fp4_free(e.previous);
    fp4_free(e.heap);
    return status;
}

fp4_status fp4_detokenize(const struct fp4_tokenizer *t, const int32_t *ids, size_t n, bool skip_special, char **text, size_t *bytes) {
    size_t total = 0, used = 0;
    *text = NULL;
    for (size_t i = 0; i < n; i++) {
        if (ids[i] < 0 || (size_t)ids[i] >= t->n_vocab)
            return fp4_fail(FP4_ERR_ARG, "token id %d: the vocabulary has %zu tokens", (int)ids[i], t->n_vocab);
        if (t->tokens[ids[i]].kind == TOKEN_ABSENT)
            return fp4_fail(FP4_ERR_ARG, "token id %d: the vocabulary has a gap there", (int)ids[i]);
        if (!fp4_size_add(total, t->tokens[ids[i]].length, &total))
            return fp4_fail(FP4_ERR_MEMORY, "%zu tokens make too long a text", n);
    }
    if (!fp4_size_add(total, 1, &total))
        return fp4_fail(FP4_ERR_MEMORY, "%zu tokens make too long a text", n);
    FP4_TRY(FP4_NEW(*text, total));
    for (size_t i = 0; i < n; i++) {
        const struct token *token = &t->tokens[ids[i]];
        if (skip_special && token->kind == TOKEN_CONTROL)
            continue;
        memcpy(*text + used, t->bytes + token->offset, token->length);
        used += token->length;
    }
    *bytes = used;
    return FP4_OK;
}
