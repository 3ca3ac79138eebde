/* Added tokens: text that is a token wherever it stands, found before anything else is done. Leftmost first, longest first. */
#include <stdlib.h>
#include <string.h>

#include "lib/text/tokenizer.h"
#include "lib/text/utf8.h"

static int compare(const char *a, size_t na, const char *b, size_t nb) {
    int order = memcmp(a, b, na < nb ? na : nb);
    return order ? order : (na > nb) - (na < nb);
}

static int by_text(const void *a, const void *b) {
    const struct added *x = a, *y = b;
    int order = compare(x->text, x->bytes, y->text, y->bytes);
    return order ? order : (x->id > y->id) - (x->id < y->id);
}

static bool begins_with(const char *text, size_t n, const struct added *a) {
    return a->bytes <= n && memcmp(text, a->text, a->bytes) == 0;
}

/* Sorts, and links each entry to the longest one that it begins with: its predecessor, or one that the predecessor is linked to. */
static fp4_status finish(struct added_set *set, const char *path) {
    if (set->n)
        qsort(set->list, set->n, sizeof *set->list, by_text);
    for (size_t i = 0; i < set->n; i++) {
        struct added *a = &set->list[i];
        set->first[(uint8_t)a->text[0]] = true;
        int32_t before = (int32_t)i - 1;
        if (before >= 0 && by_text(a, &set->list[before]) == 0)
            return fp4_fail(FP4_ERR_FORMAT, "%s: token %d is added twice", path, (int)a->id);
        while (before >= 0 && !begins_with(a->text, a->bytes, &set->list[before]))
            before = set->list[before].prefix;
        a->prefix = before;
    }
    return FP4_OK;
}

static fp4_status fill(struct fp4_tokenizer *t, const struct tokenizer_source *s, bool normalized, struct added_set *set) {
    struct bytes texts = {0};
    FP4_TRY(FP4_NEW(set->list, s->n_added));
    size_t *offset;
    FP4_TRY(FP4_NEW(offset, s->n_added));
    fp4_status status = FP4_OK;
    for (size_t i = 0; i < s->n_added && status == FP4_OK; i++) {
        const struct source_added *from = &s->added[i];
        const struct source_token *token = &s->tokens[from->id];
        if (from->normalized != normalized)
            continue;
        size_t start = texts.n;
        status = normalized ? normalize(&t->normalizers, t->classes, token->text, token->bytes, &texts) : bytes_add(&texts, token->text, token->bytes);
        if (texts.n == start)
            continue; /* nothing left to look for */
        offset[set->n] = start;
        set->list[set->n++] = (struct added){.bytes = texts.n - start, .id = from->id, .control = token->kind == TOKEN_CONTROL, .lstrip = from->lstrip,
                                             .rstrip = from->rstrip, .single_word = from->single_word};
    }
    for (size_t i = 0; i < set->n; i++)
        set->list[i].text = texts.data + offset[i];
    set->text = texts.data;
    fp4_free(offset);
    return status == FP4_OK ? finish(set, s->path) : status;
}

fp4_status added_build(struct fp4_tokenizer *t, const struct tokenizer_source *s) {
    bool words = false;
    for (size_t i = 0; i < s->n_added; i++)
        words |= s->added[i].single_word;
    if (words)
        FP4_TRY(pattern_regex(s->path, "[" PATTERN_RUST_WORD "]", strlen("[" PATTERN_RUST_WORD "]"), &t->word));
    FP4_TRY(fill(t, s, false, &t->raw));
    return fill(t, s, true, &t->normalized);
}

void added_free(struct added_set *set) {
    fp4_free(set->list);
    fp4_free(set->text);
}

/* The longest entry that text begins with: the last one that is not after it in order, or one linked from there. */
static int32_t longest_at(const struct added_set *set, const char *text, size_t n) {
    size_t low = 0, high = set->n; /* entries below low are ≤ text */
    while (low < high) {
        size_t middle = (low + high) / 2;
        if (compare(set->list[middle].text, set->list[middle].bytes, text, n) <= 0)
            low = middle + 1;
        else
            high = middle;
    }
    int32_t i = (int32_t)low - 1;
    while (i >= 0 && !begins_with(text, n, &set->list[i]))
        i = set->list[i].prefix;
    return i;
}

static bool white(const struct fp4_tokenizer *t, uint32_t code) {
    return pieces_class_of(t->classes, code) == PIECES_SPACE;
}

static size_t space_before(const struct fp4_tokenizer *t, const char *text, size_t from, size_t at) {
    while (at > from) {
        uint32_t code;
        size_t length = utf8_last((const uint8_t *)text + from, at - from, &code);
        if (!white(t, code))
            break;
        at -= length;
    }
    return at;
}

static size_t space_after(const struct fp4_tokenizer *t, const char *text, size_t at, size_t to) {
    while (at < to) {
        uint32_t code;
        size_t length = utf8_next((const uint8_t *)text + at, to - at, &code);
        if (!white(t, code))
            break;
        at += length;
    }
    return at;
}

static fp4_status is_word(struct matcher *m, const char *text, size_t length, bool *yes) {
    size_t start, stop;
    *yes = false;
    matcher_rewind(m);
    return utf8_valid(text, length) ? matcher_next(m, text, length, yes, &start, &stop) : FP4_OK;
}

/* Whether no word goes on before start or behind stop. */
static fp4_status stands_alone(const struct fp4_tokenizer *t, const char *text, struct span whole, size_t start, size_t stop, bool *alone) {
    struct matcher m;
    uint32_t code;
    bool before = false, after = false;
    FP4_TRY(matcher_open(&m, t->word));
    fp4_status status = FP4_OK;
    if (start > whole.start) {
        size_t length = utf8_last((const uint8_t *)text + whole.start, start - whole.start, &code);
        status = is_word(&m, text + start - length, length, &before);
    }
    if (status == FP4_OK && stop < whole.stop)
        status = is_word(&m, text + stop, utf8_next((const uint8_t *)text + stop, whole.stop - stop, &code), &after);
    matcher_close(&m);
    *alone = !before && !after;
    return status;
}

fp4_status added_cut(const struct fp4_tokenizer *t, const struct added_set *set, const char *text, struct span whole, bool special, struct spans *out) {
    size_t from = whole.start;
    for (size_t at = whole.start; set->n && at < whole.stop;) {
        int32_t found = set->first[(uint8_t)text[at]] ? longest_at(set, text + at, whole.stop - at) : -1;
        if (found < 0) {
            at++;
            continue;
        }
        const struct added *a = &set->list[found];
        size_t start = at, stop = at + a->bytes;
        at = stop;
        bool taken = special || !a->control;
        if (taken && a->single_word)
            FP4_TRY(stands_alone(t, text, whole, start, stop, &taken));
        if (!taken)
            continue; /* its text is passed over, whatever else begins within it */
        if (a->lstrip) {
            size_t left = space_before(t, text, whole.start, start);
            start = left > from ? left : from;
        }
        if (a->rstrip)
            stop = space_after(t, text, stop, whole.stop);
        if (from < start)
            FP4_TRY(spans_add(out, (struct span){from, start, -1, whole.first && from == whole.start}));
        if (start < stop) /* else the token before took all of it with the white space behind it */
            FP4_TRY(spans_add(out, (struct span){start, stop, a->id, false}));
        from = stop;
    }
    if (from < whole.stop)
        FP4_TRY(spans_add(out, (struct span){from, whole.stop, -1, whole.first && from == whole.start}));
    return FP4_OK;
}
