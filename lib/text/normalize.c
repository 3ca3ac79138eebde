/* Normalizers: what is done to a text before it is cut. Unicode's normalization forms by utf8proc. */
#include <string.h>
#include <utf8proc.h>

#include "lib/text/budget.h"
#include "lib/text/tokenizer.h"
#include "lib/text/utf8.h"

fp4_status bytes_add(struct bytes *b, const char *data, size_t n) {
    size_t want;
    if (!fp4_size_add(b->n, n, &want))
        return fp4_fail(FP4_ERR_MEMORY, "a text of more than %zu bytes", b->n);
    if (want > b->room)
        FP4_TRY(budget_text(want));
    FP4_TRY(FP4_RESERVE(b->data, b->n, want, &b->room));
    if (n)
        memcpy(b->data + b->n, data, n);
    b->n = want;
    return FP4_OK;
}

/* What normalizers may make of n bytes: U+2581 for a blank is three times as much, the longest compatibility mapping (U+FDFA) eleven times.
 * A step that makes more is there to use up memory. */
static size_t most_of(size_t n) {
    return 64 * n + 1024;
}

static fp4_status too_much(const struct step *step) {
    return step->pattern ? fp4_fail(FP4_ERR_FORMAT, "%s: it makes more than 64 times as much of a text", pattern_where(step->pattern))
                         : fp4_fail(FP4_ERR_FORMAT, "%s: its normalizers make more than 64 times as much of a text", budget_name());
}

/* Every match replaced. */
static fp4_status replace_all(const struct step *step, const char *text, size_t n, size_t most, struct bytes *out) {
    struct matcher m;
    bool found = true;
    size_t from = 0, start = 0, stop = 0, before = out->n;
    if (n == 0) /* nothing is looked for in an empty text, not even an empty match */
        return FP4_OK;
    FP4_TRY(matcher_open(&m, step->pattern));
    fp4_status status = FP4_OK;
    while (found && status == FP4_OK) {
        status = matcher_next(&m, text, n, &found, &start, &stop);
        if (status == FP4_OK)
            status = bytes_add(out, text + from, (found ? start : n) - from);
        if (status == FP4_OK && found)
            status = bytes_add(out, step->content, step->content_bytes);
        if (status == FP4_OK && out->n - before > most)
            status = too_much(step);
        from = stop;
    }
    matcher_close(&m);
    return status;
}

static fp4_status no_form(const char *why) {
    return fp4_fail(FP4_ERR_ARG, "%s: the text cannot be normalized: %s", budget_name(), why);
}

/* utf8proc sorts a run of combining marks by exchanging neighbours: the time is quadratic in its length. Real text has a handful. */
static fp4_status check_marks(const char *text, size_t n) {
    enum { RUN_LONGEST = 4096, EXCHANGES = 1 << 24 };
    size_t run = 0, exchanges = 0;
    for (size_t i = 0; i < n;) {
        uint32_t code;
        i += utf8_next((const uint8_t *)text + i, n - i, &code);
        run = code >= 0x80 && utf8proc_get_property((utf8proc_int32_t)code)->combining_class ? run + 1 : 0;
        exchanges += run;
        if (run > RUN_LONGEST || exchanges > EXCHANGES + 8 * n)
            return no_form("too many combining marks in a row");
    }
    return budget_seconds() > 0 ? FP4_OK : no_form("its tokenizer takes too long");
}

static fp4_status unicode_form(const struct step *step, const char *text, size_t n, struct bytes *out) {
    bool ascii = true;
    for (size_t i = 0; i < n; i++)
        ascii &= (uint8_t)text[i] < 0x80;
    if (ascii)
        return bytes_add(out, text, n); /* every form leaves it as it is */
    double since = budget_clock();
    FP4_TRY(check_marks(text, n));
    /* UTF8PROC_STABLE: no code points of later versions are touched. */
    int option = UTF8PROC_STABLE | (step->decompose ? UTF8PROC_DECOMPOSE : UTF8PROC_COMPOSE) | (step->compatible ? UTF8PROC_COMPAT : 0);
    utf8proc_ssize_t codes = utf8proc_decompose((const utf8proc_uint8_t *)text, (utf8proc_ssize_t)n, NULL, 0, (utf8proc_option_t)option);
    utf8proc_int32_t *buffer;
    if (codes < 0)
        return no_form(utf8proc_errmsg(codes));
    FP4_TRY(FP4_NEW(buffer, (size_t)codes + 1)); /* the encoding ends with a zero byte, which may stand in the next code's place */
    codes = utf8proc_decompose((const utf8proc_uint8_t *)text, (utf8proc_ssize_t)n, buffer, codes, (utf8proc_option_t)option);
    if (codes >= 0)
        codes = utf8proc_reencode(buffer, codes, (utf8proc_option_t)option);
    fp4_status status = codes < 0 ? no_form(utf8proc_errmsg(codes)) : bytes_add(out, (const char *)buffer, (size_t)codes);
    fp4_free(buffer);
    budget_spend(budget_clock() - since);
    return status;
}

static fp4_status lower_case(const char *text, size_t n, struct bytes *out) {
    for (size_t i = 0; i < n;) {
        uint32_t code;
        uint8_t lower[8];
        i += utf8_next((const uint8_t *)text + i, n - i, &code);
        /* The one character whose lower case without context is two (SpecialCasing.txt). */
        size_t length = code == 0x130 ? (memcpy(lower, "i\xCC\x87", 3), 3) : utf8_put((uint32_t)utf8proc_tolower((utf8proc_int32_t)code), lower);
        FP4_TRY(bytes_add(out, (const char *)lower, length));
    }
    return FP4_OK;
}

static bool white_at(const uint8_t *classes, const char *text, size_t n, size_t *length, bool last) {
    uint32_t code;
    *length = last ? utf8_last((const uint8_t *)text, n, &code) : utf8_next((const uint8_t *)text, n, &code);
    return pieces_class_of(classes, code) == PIECES_SPACE;
}

static fp4_status strip(const struct step *step, const uint8_t *classes, const char *text, size_t n, struct bytes *out) {
    size_t length;
    while (step->right && n && white_at(classes, text, n, &length, true))
        n -= length;
    while (step->left && n && white_at(classes, text, n, &length, false)) {
        text += length;
        n -= length;
    }
    return bytes_add(out, text, n);
}

/* SentencePiece's remove_extra_whitespaces: none at the ends, one blank for several; at the end U+2581 counts as one too. */
static fp4_status squeeze(const char *text, size_t n, struct bytes *out) {
    for (;;) {
        if (n && text[n - 1] == ' ')
            n--;
        else if (n >= 3 && memcmp(text + n - 3, "\xE2\x96\x81", 3) == 0)
            n -= 3;
        else
            break;
    }
    for (size_t i = 0; i < n;) {
        size_t blanks = i, stop;
        while (blanks < n && text[blanks] == ' ')
            blanks++;
        if (blanks > i && i > 0)
            FP4_TRY(bytes_add(out, " ", 1));
        const char *next = memchr(text + blanks, ' ', n - blanks);
        stop = next ? (size_t)(next - text) : n;
        FP4_TRY(bytes_add(out, text + blanks, stop - blanks));
        i = stop;
    }
    return FP4_OK;
}

static fp4_status run(const struct step *step, const uint8_t *classes, const char *text, size_t n, size_t most, struct bytes *out) {
    switch (step->kind) {
    case STEP_PREPEND:
        if (n && step->content_bytes > most)
            return too_much(step);
        if (n)
            FP4_TRY(bytes_add(out, step->content, step->content_bytes));
        return bytes_add(out, text, n);
    case STEP_REPLACE:
        return replace_all(step, text, n, most, out);
    case STEP_COMPOSE:
        return unicode_form(step, text, n, out);
    case STEP_LOWERCASE:
        return lower_case(text, n, out);
    case STEP_STRIP:
        return strip(step, classes, text, n, out);
    default:
        return squeeze(text, n, out);
    }
}

fp4_status normalize(const struct steps *steps, const uint8_t *classes, const char *text, size_t n, struct bytes *out) {
    struct bytes work[2] = {{0}, {0}};
    size_t most = most_of(n), before = out->n;
    fp4_status status = steps->n ? FP4_OK : bytes_add(out, text, n);
    for (size_t i = 0; i < steps->n && status == FP4_OK; i++) {
        struct bytes *to = i + 1 == steps->n ? out : &work[i % 2];
        if (to != out)
            to->n = 0;
        status = run(&steps->list[i], classes, text, n, most, to);
        text = to->data;
        n = to->n;
        if (status == FP4_OK && (to == out ? to->n - before : to->n) > most)
            status = too_much(&steps->list[i]);
    }
    fp4_free(work[0].data);
    fp4_free(work[1].data);
    return status;
}
