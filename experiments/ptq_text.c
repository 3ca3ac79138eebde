/* Texts as token streams with documents. */
#include "experiments/ptq_text.h"

#include <string.h>

#include "experiments/selftrain.h"

enum { GENERATED_TOKENS = 1 << 16 };

void ptq_text_close(struct ptq_text *t) {
    fp4_free(t->tokens);
    fp4_free(t->document);
    fp4_free(t->first);
    *t = (struct ptq_text){0};
}

/* Fills `first` from `document`, whose numbers rise from 0. */
static fp4_status index_documents(struct ptq_text *t) {
    t->n_documents = t->n ? t->document[t->n - 1] + 1 : 0;
    FP4_TRY(FP4_NEW(t->first, t->n_documents + 1));
    for (size_t i = t->n; i-- > 0;)
        t->first[t->document[i]] = i;
    t->first[t->n_documents] = t->n;
    return FP4_OK;
}

static fp4_status open_generated(const struct source *s, struct ptq_text *t) {
    if (!s->corpus)
        return fp4_fail(FP4_ERR_ARG, "generated: its words are not in this model's vocabulary; use --model selftrained or another text");
    t->n = GENERATED_TOKENS;
    FP4_TRY(FP4_NEW(t->tokens, t->n));
    FP4_TRY(FP4_NEW(t->document, t->n));
    return selftrain_stream(s->corpus, selftrain_held_out, t->n, t->tokens, t->document);
}

/* A token belongs to the document in which its first byte lies; a document without a token of its own keeps none. */
static fp4_status place_tokens(const struct source *s, const struct fp4_documents *d, struct ptq_text *t) {
    FP4_TRY(fp4_tokenize(s->tokenizer, d->text, d->bytes, false, &t->tokens, &t->n));
    FP4_TRY(FP4_NEW(t->document, t->n));
    size_t total = 0, byte = 0, document = 0, number = 0;
    for (size_t i = 0; i < t->n; i++)
        total += fp4_token_bytes(s->tokenizer, t->tokens[i]);
    size_t prefix = total > d->bytes ? total - d->bytes : 0; /* a blank that the tokenizer puts in front */
    for (size_t i = 0; i < t->n; i++) {
        size_t before = document;
        while (document + 1 < d->n && d->offset[document + 1] + prefix <= byte)
            document++;
        number += i > 0 && document != before;
        t->document[i] = number;
        byte += fp4_token_bytes(s->tokenizer, t->tokens[i]);
    }
    return FP4_OK;
}

static fp4_status open_prose(const struct source *s, const char *name, struct ptq_text *t) {
    struct fp4_documents d;
    if (!s->tokenizer)
        return fp4_fail(FP4_ERR_ARG, "%s: the self-trained model reads its own corpus only; use the text `generated`", name);
    FP4_TRY(fp4_documents_open(name, &d));
    snprintf(t->sha256, sizeof t->sha256, "%s", d.sha256);
    fp4_status status = place_tokens(s, &d, t);
    fp4_documents_close(&d);
    return status;
}

fp4_status ptq_text_open(const struct source *s, const char *name, struct ptq_text *out) {
    *out = (struct ptq_text){0};
    snprintf(out->name, sizeof out->name, "%.31s", name);
    fp4_status status = strcmp(name, "generated") == 0 ? open_generated(s, out) : open_prose(s, name, out);
    if (status == FP4_OK)
        status = index_documents(out);
    if (status != FP4_OK) {
        ptq_text_close(out);
        return status;
    }
    out->from_start = strcmp(name, "wikitext2") == 0;
    if (strcmp(name, "bible") == 0 || strcmp(name, "generated") == 0)
        out->n_calibration = out->n_documents / 2;
    return FP4_OK;
}

static struct fp4_windows side_by_side(const struct ptq_text *t, size_t length) { return (struct fp4_windows){.n = t->n, .window = length}; }

size_t ptq_text_windows(const struct ptq_text *t, size_t length) {
    struct fp4_windows w = side_by_side(t, length);
    return t->from_start ? fp4_windows_count(&w) : (t->n - t->first[t->n_calibration]) / (2 * length);
}

/* Start of the i-th of n stretches of `length` tokens inside [low, high), at the beginning of a document, evenly spread. */
static fp4_status spread(const struct ptq_text *t, size_t low, size_t high, size_t i, size_t n, size_t length, size_t *first) {
    size_t share = (high - low) / n, from = low + i * share, document = t->document[from];
    *first = t->first[document] < from ? t->first[document + 1] : from;
    if (*first + length > from + share || *first + length > high) /* the document is longer than there is room */
        *first = from;
    if (share < length)
        return fp4_fail(FP4_ERR_ARG, "%s: %zu tokens do not hold %zu stretches of %zu; ask for fewer", t->name, high - low, n, length);
    return FP4_OK;
}

fp4_status ptq_text_window(const struct ptq_text *t, size_t i, size_t n_windows, size_t length, size_t *first) {
    if (!t->from_start)
        return spread(t, t->first[t->n_calibration], t->n, i, n_windows, length, first);
    struct fp4_windows w = side_by_side(t, length);
    struct fp4_window x;
    if (i >= fp4_windows_count(&w))
        return fp4_fail(FP4_ERR_ARG, "%s: %zu tokens do not hold %zu windows of %zu; ask for fewer", t->name, t->n, n_windows, length);
    fp4_windows_at(&w, i, &x);
    *first = x.first;
    return FP4_OK;
}

fp4_status ptq_text_calibration(const struct ptq_text *t, size_t i, size_t n, size_t length, size_t *first) {
    return spread(t, 0, t->first[t->n_calibration], i, n, length, first);
}
