/* Ids to text: the decoders, each of which maps a list of strings to another (decoders of the tokenizers library). */
#include <string.h>

#include "lib/text/budget.h"
#include "lib/text/tokenizer.h"
#include "lib/text/utf8.h"

/* Strings one after the other in text; end[i]: where string i ends. */
struct strings {
    struct bytes text;
    size_t *end, n;
};

static fp4_status replace(const struct step *step, struct strings *s, struct bytes *out) {
    struct steps one = {.n = 1};
    one.list[0] = *step;
    for (size_t i = 0, start = 0; i < s->n; i++) {
        size_t stop = s->end[i];
        FP4_TRY(normalize(&one, NULL, s->text.data + start, stop - start, out));
        s->end[i] = out->n;
        start = stop;
    }
    return FP4_OK;
}

/* A run of byte tokens is the text that its bytes are, or, if that is no UTF-8, one U+FFFD for each. The run becomes one string
 * or as many as there are bytes, which no decoder tells apart but by the first and the last: those stay. */
static fp4_status byte_fallback(struct strings *s, struct bytes *out) {
    struct bytes run = {0};
    fp4_status status = FP4_OK;
    size_t kept = 0;
    for (size_t i = 0, start = 0; i <= s->n && status == FP4_OK; i++) {
        size_t stop = i < s->n ? s->end[i] : start;
        int byte = i < s->n ? tokenizer_byte(s->text.data + start, stop - start) : -1;
        char c = (char)byte;
        if (byte >= 0) {
            status = bytes_add(&run, &c, 1);
            start = stop;
            continue;
        }
        bool valid = utf8_valid(run.data, run.n);
        for (size_t k = 0; k < run.n && status == FP4_OK; k++) {
            status = valid ? bytes_add(out, run.data, run.n) : bytes_add(out, "\xEF\xBF\xBD", 3);
            s->end[kept++] = out->n;
            k = valid ? run.n : k;
        }
        run.n = 0;
        if (i < s->n && status == FP4_OK) {
            status = bytes_add(out, s->text.data + start, stop - start);
            s->end[kept++] = out->n;
        }
        start = stop;
    }
    s->n = kept;
    fp4_free(run.data);
    return status;
}

static fp4_status strip(const struct step *step, struct strings *s, struct bytes *out) {
    size_t width = step->content_bytes;
    for (size_t i = 0, start = 0; i < s->n; i++) {
        const char *text = s->text.data + start;
        size_t n = s->end[i] - start;
        start = s->end[i];
        for (size_t k = 0; k < step->left && n >= width && memcmp(text, step->content, width) == 0; k++) {
            text += width;
            n -= width;
        }
        for (size_t k = 0; k < step->right && n >= width && memcmp(text + n - width, step->content, width) == 0; k++)
            n -= width;
        FP4_TRY(bytes_add(out, text, n));
        s->end[i] = out->n;
    }
    return FP4_OK;
}

/* The replacement becomes a blank, but in the first string nothing where the scheme prepends. */
static fp4_status metaspace(const struct step *step, struct strings *s, struct bytes *out) {
    for (size_t i = 0, start = 0; i < s->n; i++) {
        const char *text = s->text.data + start, *stop = s->text.data + s->end[i];
        start = s->end[i];
        while (text < stop) {
            const char *hit = memmem(text, (size_t)(stop - text), step->content, step->content_bytes);
            FP4_TRY(bytes_add(out, text, (size_t)((hit ? hit : stop) - text)));
            if (hit && (i > 0 || step->prepend == PREPEND_NEVER))
                FP4_TRY(bytes_add(out, " ", 1));
            text = hit ? hit + step->content_bytes : stop;
        }
        s->end[i] = out->n;
    }
    return FP4_OK;
}

static fp4_status run(const struct step *step, struct strings *s) {
    struct bytes out = {0};
    fp4_status status = FP4_OK;
    if (step->kind == STEP_FUSE) {
        s->end[0] = s->text.n;
        s->n = s->n > 0;
        return FP4_OK;
    }
    if (step->kind == STEP_REPLACE)
        status = replace(step, s, &out);
    else if (step->kind == STEP_BYTE_FALLBACK)
        status = byte_fallback(s, &out);
    else if (step->kind == STEP_STRIP)
        status = strip(step, s, &out);
    else
        status = metaspace(step, s, &out);
    fp4_free(s->text.data);
    s->text = out;
    return status;
}

size_t fp4_token_bytes(const struct fp4_tokenizer *t, int32_t id) {
    if (id < 0 || (size_t)id >= t->n_vocab)
        return 0;
    const struct token *token = &t->tokens[id];
    const char *text = t->bytes + token->decoded, *stop = text + token->length;
    if (t->decoders.n == 0 || token->kind != TOKEN_NORMAL)
        return token->length;
    if (tokenizer_byte(text, token->length) >= 0)
        return 1;
    size_t n = token->length;
    for (; text + 3 <= stop; text++)
        n -= memcmp(text, "\xE2\x96\x81", 3) == 0 ? 2 : 0; /* U+2581 is a blank */
    return n;
}

static fp4_status decode(const struct fp4_tokenizer *t, const int32_t *ids, size_t n, bool skip_special, char **text, size_t *bytes) {
    struct strings s = {0};
    FP4_TRY(FP4_NEW(s.end, n + 1));
    fp4_status status = bytes_add(&s.text, "", 0);
    for (size_t i = 0; i < n && status == FP4_OK; i++) {
        const struct token *token = &t->tokens[ids[i]];
        if (token->kind == TOKEN_ABSENT || (skip_special && token->kind == TOKEN_CONTROL))
            continue;
        status = bytes_add(&s.text, t->bytes + token->decoded, token->length);
        s.end[s.n++] = s.text.n;
    }
    for (size_t i = 0; i < t->decoders.n && status == FP4_OK; i++)
        status = run(&t->decoders.list[i], &s);
    if (status == FP4_OK)
        status = bytes_add(&s.text, "", 1);
    fp4_free(s.end);
    if (status != FP4_OK) {
        fp4_free(s.text.data);
        return status;
    }
    *text = s.text.data;
    *bytes = s.text.n - 1;
    return FP4_OK;
}

/* Bytes of the ids' spellings; each id has to be one of the vocabulary. */
static fp4_status spelled_bytes(const struct fp4_tokenizer *t, const int32_t *ids, size_t n, size_t *total) {
    *total = 0;
    for (size_t i = 0; i < n; i++) {
        if (ids[i] < 0 || (size_t)ids[i] >= t->n_vocab)
            return fp4_fail(FP4_ERR_ARG, "%s: token id %d: the vocabulary has %zu tokens", t->name, (int)ids[i], t->n_vocab);
        if (!fp4_size_add(*total, t->tokens[ids[i]].length, total))
            return fp4_fail(FP4_ERR_MEMORY, "%s: %zu tokens make too long a text", t->name, n);
    }
    return FP4_OK;
}

fp4_status fp4_detokenize(const struct fp4_tokenizer *t, const int32_t *ids, size_t n, bool skip_special, char **text, size_t *bytes) {
    size_t total;
    *text = NULL;
    FP4_TRY(spelled_bytes(t, ids, n, &total));
    budget_begin(t->name, total, 0.005); /* single tokens are decoded by the hundred */
    fp4_status status = decode(t, ids, n, skip_special, text, bytes);
    budget_end();
    return status;
}

enum { CALLS_BETWEEN_CLOCKS = 16 };

fp4_status fp4_token_texts(const struct fp4_tokenizer *t, const int32_t *ids, size_t n, char **texts, size_t *end) {
    struct bytes all = {0};
    size_t total;
    *texts = NULL;
    FP4_TRY(spelled_bytes(t, ids, n, &total));
    budget_begin(t->name, total, 0.25);
    fp4_status status = bytes_add(&all, "", 0);
    for (size_t i = 0; i < n && status == FP4_OK; i++) {
        char *text;
        size_t bytes;
        status = i % CALLS_BETWEEN_CLOCKS ? FP4_OK : budget_time();
        if (status == FP4_OK)
            status = decode(t, &ids[i], 1, false, &text, &bytes);
        if (status != FP4_OK)
            break;
        status = bytes_add(&all, text, bytes);
        end[i] = all.n;
        fp4_free(text);
    }
    if (status == FP4_OK)
        status = bytes_add(&all, "", 1);
    budget_end();
    if (status == FP4_OK)
        *texts = all.data;
    else
        fp4_free(all.data);
    return status;
}
