/* Pre-tokenizers: a text cut into spans, step by step (pre_tokenizers and tokenizer/pattern.rs of the tokenizers library define
 * the behaviours). Each span is matched as a text of its own. */
#include <string.h>

#include "lib/text/tokenizer.h"
#include "lib/text/utf8.h"

fp4_status spans_add(struct spans *s, struct span span) {
    FP4_TRY(FP4_RESERVE(s->list, s->n, s->n + 1, &s->room));
    s->list[s->n++] = span;
    return FP4_OK;
}

/* Collects matches and what lies between them, in order, and joins them as a behaviour wants. */
struct joiner {
    struct spans *out;
    struct span whole;
    enum split_behavior behavior;
    bool invert, last_match; /* of the last part: a match */
    size_t first;            /* span of `out` that is the first of this text */
};

static fp4_status part(struct joiner *j, size_t start, size_t stop, bool match) {
    if (j->invert)
        match = !match;
    struct span span = {start, stop, -1, j->whole.first && start == j->whole.start};
    struct span *last = j->out->n > j->first ? &j->out->list[j->out->n - 1] : NULL;
    bool before = j->last_match, join = false;
    j->last_match = match;
    switch (j->behavior) {
    case SPLIT_REMOVED:
        return match || start == stop ? FP4_OK : spans_add(j->out, span);
    case SPLIT_WITH_PREVIOUS:
        join = match && !before;
        break;
    case SPLIT_WITH_NEXT: /* of two matches in a row only the second goes with what follows */
        join = before && !match;
        break;
    case SPLIT_CONTIGUOUS:
        join = match == before;
        break;
    default:
        break;
    }
    if (join && last) {
        last->stop = stop;
        return FP4_OK;
    }
    return spans_add(j->out, span);
}

static struct joiner joiner_for(const struct step *step, struct span whole, struct spans *out) {
    return (struct joiner){out, whole, step->behavior, step->invert, false, out->n};
}

static fp4_status cut_pattern(const struct step *step, struct matcher *m, const char *text, struct span whole, struct spans *out) {
    struct joiner j = joiner_for(step, whole, out);
    size_t n = whole.stop - whole.start, from = 0, start = 0, stop = 0;
    bool found = true;
    matcher_rewind(m);
    for (;;) {
        FP4_TRY(matcher_next(m, text + whole.start, n, &found, &start, &stop));
        if (!found)
            break;
        if (from < start)
            FP4_TRY(part(&j, whole.start + from, whole.start + start, false));
        FP4_TRY(part(&j, whole.start + start, whole.start + stop, true));
        from = stop;
    }
    return from < n ? part(&j, whole.start + from, whole.stop, false) : FP4_OK;
}

static fp4_status cut_class(const struct step *step, const uint8_t *classes, enum pieces_class class, const char *text, struct span whole,
                            struct spans *out) {
    struct joiner j = joiner_for(step, whole, out);
    size_t from = whole.start;
    for (size_t at = whole.start; at < whole.stop;) {
        uint32_t code;
        size_t length = utf8_next((const uint8_t *)text + at, whole.stop - at, &code);
        if (pieces_class_of(classes, code) == class) {
            if (from < at)
                FP4_TRY(part(&j, from, at, false));
            FP4_TRY(part(&j, at, at + length, true));
            from = at + length;
        }
        at += length;
    }
    return from < whole.stop ? part(&j, from, whole.stop, false) : FP4_OK;
}

/* Cuts every text span; an empty one vanishes. */
static fp4_status cut_all(const struct fp4_tokenizer *t, const struct step *step, const char *text, struct spans *spans) {
    struct spans out = {0};
    struct matcher m = {0};
    fp4_status status = step->pattern ? matcher_open(&m, step->pattern) : FP4_OK;
    for (size_t i = 0; i < spans->n && status == FP4_OK; i++) {
        struct span s = spans->list[i];
        if (s.id >= 0)
            status = spans_add(&out, s);
        else if (step->pattern)
            status = cut_pattern(step, &m, text, s, &out);
        else
            status = cut_class(step, t->classes, step->kind == STEP_DIGITS ? PIECES_NUMBER : PIECES_SPACE, text, s, &out);
    }
    if (step->pattern)
        matcher_close(&m);
    size_t kept = 0;
    for (size_t i = 0; i < out.n; i++)
        if (out.list[i].id >= 0 || out.list[i].start < out.list[i].stop)
            out.list[kept++] = out.list[i];
    out.n = kept;
    fp4_free(spans->list);
    *spans = out;
    return status;
}

/* ---- steps that write another text ---- */

static bool begins(const char *text, struct span s, const char *with, size_t n) {
    return s.stop - s.start >= n && memcmp(text + s.start, with, n) == 0;
}

/* Blanks become the replacement, and one more is put in front where the scheme wants it. */
static fp4_status metaspace(const struct step *step, const char *text, struct span *s, struct bytes *out) {
    size_t start = out->n;
    const char *end = text + s->stop;
    bool has = begins(text, *s, step->content, step->content_bytes) || begins(text, *s, " ", 1);
    if (!has && (step->prepend == PREPEND_ALWAYS || (step->prepend == PREPEND_FIRST && s->first)))
        FP4_TRY(bytes_add(out, step->content, step->content_bytes));
    for (const char *at = text + s->start; at < end;) {
        const char *blank = memchr(at, ' ', (size_t)(end - at));
        FP4_TRY(bytes_add(out, at, (size_t)((blank ? blank : end) - at)));
        if (blank)
            FP4_TRY(bytes_add(out, step->content, step->content_bytes));
        at = blank ? blank + 1 : end;
    }
    s->start = start;
    s->stop = out->n;
    return FP4_OK;
}

static fp4_status prefix_space(const char *text, struct span *s, struct bytes *out) {
    size_t start = out->n;
    if (!begins(text, *s, " ", 1))
        FP4_TRY(bytes_add(out, " ", 1));
    FP4_TRY(bytes_add(out, text + s->start, s->stop - s->start));
    s->start = start;
    s->stop = out->n;
    return FP4_OK;
}

static fp4_status rewrite_all(const struct step *step, const char *text, struct spans *spans, struct bytes *out) {
    for (size_t i = 0; i < spans->n; i++)
        if (spans->list[i].id < 0)
            FP4_TRY(step->kind == STEP_METASPACE ? metaspace(step, text, &spans->list[i], out) : prefix_space(text, &spans->list[i], out));
    return FP4_OK;
}

fp4_status split_spans(const struct fp4_tokenizer *t, const char **text, struct bytes *owned, struct spans *spans) {
    for (size_t i = 0; i < t->splits.n; i++) {
        const struct step *step = &t->splits.list[i];
        if (step->kind == STEP_METASPACE || step->kind == STEP_PREFIX_SPACE) {
            struct bytes other = {0};
            fp4_status status = rewrite_all(step, *text, spans, &other);
            fp4_free(owned->data);
            *owned = other;
            *text = owned->data;
            FP4_TRY(status);
        }
        if (step->kind != STEP_PREFIX_SPACE && (step->kind != STEP_METASPACE || step->split))
            FP4_TRY(cut_all(t, step, *text, spans));
    }
    return FP4_OK;
}
