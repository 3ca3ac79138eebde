/* The prose: texts that ci/fetch prepared, checked against their pins and cut into documents. */
#include <string.h>
#include <unistd.h>

#include "fp4lab/text.h"

#define TEXT_LIMIT ((size_t)1 << 30)

/* A text being cut: what a rule finds goes to d->offset, which has this room. */
struct cutter {
    struct fp4_documents *d;
    size_t room;
};

static fp4_status begin_document(struct cutter *c, size_t at) {
    struct fp4_documents *d = c->d;
    if (d->n && d->offset[d->n - 1] == at)
        return FP4_OK;
    FP4_TRY(FP4_RESERVE(d->offset, d->n, d->n + 2, &c->room)); /* one more for the end of the last */
    d->offset[d->n++] = at;
    return FP4_OK;
}

/* "Ge1:2 And the earth ...": the reference goes, a new chapter begins a document. */
static fp4_status cut_bible(struct cutter *c) {
    struct fp4_documents *d = c->d;
    size_t used = 0, chapter_length = 0;
    char chapter[16] = "";
    for (size_t at = 0; at < d->bytes;) {
        const char *line = d->text + at, *newline = memchr(line, '\n', d->bytes - at);
        size_t length = newline ? (size_t)(newline - line) + 1 : d->bytes - at;
        const char *colon = memchr(line, ':', length), *blank = memchr(line, ' ', length);
        if (!colon || !blank || colon > blank || (size_t)(colon - line) >= sizeof chapter)
            return fp4_fail(FP4_ERR_FORMAT, "bible: offset %zu: no verse reference", at);
        size_t reference = (size_t)(blank - line) + 1;
        if ((size_t)(colon - line) != chapter_length || memcmp(chapter, line, chapter_length) != 0) {
            chapter_length = (size_t)(colon - line);
            memcpy(chapter, line, chapter_length);
            FP4_TRY(begin_document(c, used));
        }
        memmove(d->text + used, line + reference, length - reference);
        used += length - reference;
        at += length;
    }
    d->bytes = used;
    d->text[used] = 0;
    return FP4_OK;
}

/* A blank line ends a document (the rule is in ci/gcide.awk). */
static fp4_status cut_gcide(struct cutter *c) {
    FP4_TRY(begin_document(c, 0));
    for (size_t at = 2; at < c->d->bytes; at++)
        if (c->d->text[at - 1] == '\n' && c->d->text[at - 2] == '\n')
            FP4_TRY(begin_document(c, at));
    return FP4_OK;
}

/* " = Title = " begins an article, " = = Section = = " does not; what stands before the first goes with it. */
static fp4_status cut_wikitext(struct cutter *c) {
    const struct fp4_documents *d = c->d;
    bool first = true;
    FP4_TRY(begin_document(c, 0));
    for (size_t at = 0; at < d->bytes;) {
        const char *line = d->text + at, *newline = memchr(line, '\n', d->bytes - at);
        size_t length = newline ? (size_t)(newline - line) : d->bytes - at;
        bool title = length > 6 && memcmp(line, " = ", 3) == 0 && memcmp(line + 3, "= ", 2) != 0 && memcmp(line + length - 3, " = ", 3) == 0 &&
                     memcmp(line + length - 5, "= ", 2) != 0;
        if (title && !first)
            FP4_TRY(begin_document(c, at));
        first = first && !title;
        at += length + 1;
    }
    return FP4_OK;
}

static fp4_status cut_nothing(struct cutter *c) {
    return begin_document(c, 0);
}

static const struct prose {
    const char *name, *file, *pin, *source, *licence;
    fp4_status (*cut)(struct cutter *c);
} prose[] = {
    {"bible", "bible-kjv.txt", "b5c4940bcfeee072c0935b5200d0f9d88a00a0199cb0961d16133458fcdfae5d",
     "King James Version: Debian bible-kjv 4.38, bible -f gen1:1-rev22:21 without the references", "public domain", cut_bible},
    {"gcide", "gcide-sentences.txt", "bc0a09682e4e9ce1c40696534e7c808b9e17a204fc3e812b8cb916c1737461f6",
     "Collaborative International Dictionary of English: Debian dict-gcide 0.48.5, longer sentences (ci/gcide.awk)", "GPL-2.0-or-later",
     cut_gcide},
    {"wikitext2", "wiki.test.raw", "173c87a53759e0201f33e0ccf978e510c2042d7f2cb78229d9a50d79b9e7dd08",
     "WikiText-2 raw, test split (Merity et al. 2016), from the asset folders", "CC-BY-SA-3.0", cut_wikitext},
};

static const struct prose *find_prose(const char *name) {
    for (size_t i = 0; i < sizeof prose / sizeof prose[0]; i++)
        if (strcmp(prose[i].name, name) == 0)
            return &prose[i];
    return NULL;
}

const char *fp4_documents_pin(const char *name) {
    const struct prose *p = find_prose(name);
    return p ? p->pin : NULL;
}

static fp4_status read_and_cut(const struct prose *p, const char *path, struct fp4_documents *out) {
    struct cutter c = {.d = out};
    FP4_TRY(fp4_read_file(path, TEXT_LIMIT, &out->text, &out->bytes));
    if (out->bytes == 0)
        return fp4_fail(FP4_ERR_FORMAT, "%s: the file is empty", path);
    FP4_TRY(p->cut(&c));
    out->offset[out->n] = out->bytes;
    FP4_TRY(fp4_sha256_buffer(out->text, out->bytes, out->sha256));
    if (p->pin && strcmp(p->pin, out->sha256) != 0)
        return fp4_fail(FP4_ERR_FORMAT, "%s: wrong contents: the text %s has sha256 %s, expected %s; move the file away and run ci/fetch", path,
                        p->name, out->sha256, p->pin);
    snprintf(out->name, sizeof out->name, "%s", p->name);
    snprintf(out->source, sizeof out->source, "%s", p->source);
    snprintf(out->licence, sizeof out->licence, "%s", p->licence);
    return FP4_OK;
}

fp4_status fp4_documents_open(const char *name, struct fp4_documents *out) {
    char path[4096];
    const struct prose *p = find_prose(name);
    struct prose file = {name, NULL, NULL, "a text file of the user's", "not known", cut_nothing};
    *out = (struct fp4_documents){0};
    if (p) {
        FP4_TRY(fp4_asset_find(p->file, path, sizeof path));
    } else if (strchr(name, '/') || access(name, F_OK) == 0) {
        const char *slash = strrchr(name, '/');
        file.name = slash ? slash + 1 : name;
        snprintf(path, sizeof path, "%s", name);
    } else {
        return fp4_fail(FP4_ERR_ARG, "%s: no such text; bible, gcide and wikitext2 have names, else give a file", name);
    }
    fp4_status status = read_and_cut(p ? p : &file, path, out);
    if (status != FP4_OK)
        fp4_documents_close(out);
    return status;
}

void fp4_documents_close(struct fp4_documents *d) {
    fp4_free(d->text);
    fp4_free(d->offset);
    *d = (struct fp4_documents){0};
}
