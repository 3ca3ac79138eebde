/* The spelling of quantizers: FORMAT[:DIALECT][,MODIFIER...]. */
#include "lib/formats/core/format.h"

#include <stdlib.h>
#include <string.h>

/* Appends to a message or spelling of `size` bytes, cutting at its end. */
static void append(char *out, size_t size, const char *text) {
    size_t used = strlen(out);
    snprintf(out + used, size - used, "%s", text);
}

static void modifiers_allowed(const struct fp4_dialect *d, char out[128]) {
    static const struct {
        unsigned int bit;
        const char *name;
    } all[] = {{FP4_MOD_2D, " 2d"},      {FP4_MOD_AWAY, " away"}, {FP4_MOD_SR, " sr"},        {FP4_MOD_HAD, " had16|32|64|128"},
               {FP4_MOD_GROUP, " gN"}, {FP4_MOD_CLIP, " clipF"}, {FP4_MOD_STORED, " stored"}};
    out[0] = 0;
    for (size_t i = 0; i < sizeof all / sizeof *all; i++)
        if (d->modifiers & all[i].bit)
            append(out, 128, all[i].name);
    if (!out[0])
        append(out, 128, " no modifiers");
}

static fp4_status refuse(const struct fp4_quantizer *q, const char *what) {
    const struct fp4_dialect *d = fp4_dialect_of(q);
    char allowed[128];
    modifiers_allowed(d, allowed);
    return fp4_fail(FP4_ERR_ARG, "%s%s%s does not take %s; it takes:%s", q->format->name, *d->name ? ":" : "", d->name, what,
                    allowed);
}

fp4_status fp4_quantizer_check(const struct fp4_quantizer *q) {
    if (!q->format)
        return FP4_OK;
    int dialects = 0;
    while (q->format->dialects[dialects].name)
        dialects++;
    if (q->dialect < 0 || q->dialect >= dialects)
        return fp4_fail(FP4_ERR_ARG, "%s: no dialect number %d", q->format->name, q->dialect);
    unsigned int modifiers = fp4_dialect_of(q)->modifiers;
    if (q->two_d && !(modifiers & FP4_MOD_2D))
        return refuse(q, "2d");
    if (q->rounding == FP4_ROUND_AWAY && !(modifiers & FP4_MOD_AWAY))
        return refuse(q, "away");
    if (q->rounding == FP4_ROUND_STOCHASTIC && !(modifiers & FP4_MOD_SR))
        return refuse(q, "sr");
    if (q->hadamard && !(modifiers & FP4_MOD_HAD))
        return refuse(q, "hadN");
    if (q->hadamard && q->hadamard != 16 && q->hadamard != 32 && q->hadamard != 64 && q->hadamard != 128)
        return fp4_fail(FP4_ERR_ARG, "had%d: use had16, had32, had64 or had128", q->hadamard);
    if (q->group && !(modifiers & FP4_MOD_GROUP))
        return refuse(q, "gN");
    if (q->group && (q->group < 16 || q->group > FP4_GROUP_MAX || q->group % 16 != 0))
        return fp4_fail(FP4_ERR_ARG, "g%d: use a multiple of 16 from 16 to %d", q->group, FP4_GROUP_MAX);
    if (q->clip != 0.0f && q->clip != 1.0f && !(modifiers & FP4_MOD_CLIP))
        return refuse(q, "clipF");
    if (!(q->clip >= 0.0f && q->clip <= 1.0f))
        return fp4_fail(FP4_ERR_ARG, "clip%g: use a factor above 0 and up to 1", (double)q->clip);
    if (q->stored && q->hadamard)
        return fp4_fail(FP4_ERR_ARG, "stored and had%d: the transform runs along the product's reduction axis; drop one of them",
                        q->hadamard);
    return FP4_OK;
}

static fp4_status find_format(const char *name, size_t length, struct fp4_quantizer *q) {
    char known[256] = "none";
    for (const struct fp4_format *const *f = fp4_formats_all; *f; f++) {
        if (strlen((*f)->name) == length && memcmp((*f)->name, name, length) == 0) {
            q->format = *f;
            return FP4_OK;
        }
        append(known, sizeof known, " ");
        append(known, sizeof known, (*f)->name);
    }
    return fp4_fail(FP4_ERR_ARG, "no format \"%.*s\"; there are: %s", (int)(length < 64 ? length : 64), name, known);
}

static fp4_status find_dialect(const char *name, size_t length, struct fp4_quantizer *q) {
    char known[512] = "";
    for (int i = 0; q->format->dialects[i].name; i++) {
        const char *one = q->format->dialects[i].name;
        if (strlen(one) == length && memcmp(one, name, length) == 0) {
            q->dialect = i;
            return FP4_OK;
        }
        append(known, sizeof known, " ");
        append(known, sizeof known, one);
    }
    return fp4_fail(FP4_ERR_ARG, "%s has no dialect \"%.*s\"; it has:%s", q->format->name, (int)(length < 64 ? length : 64), name,
                    known[1] ? known : " one, without a name");
}

/* The integer at the end of a modifier such as had16; false when it is none. */
static bool whole_number(const char *text, int *out) {
    char *end;
    if (*text < '1' || *text > '9')
        return false;
    long value = strtol(text, &end, 10);
    *out = (int)value;
    return *end == 0 && value < 1000000;
}

static fp4_status parse_modifier(const char *m, struct fp4_quantizer *q) {
    char *end;
    if (strcmp(m, "2d") == 0 && !q->two_d) {
        q->two_d = true;
    } else if (strcmp(m, "away") == 0 && q->rounding == FP4_ROUND_EVEN) {
        q->rounding = FP4_ROUND_AWAY;
    } else if (strcmp(m, "sr") == 0 && q->rounding == FP4_ROUND_EVEN) {
        q->rounding = FP4_ROUND_STOCHASTIC;
    } else if (strncmp(m, "had", 3) == 0 && !q->hadamard && whole_number(m + 3, &q->hadamard)) {
        /* its size is checked with the rest */
    } else if (m[0] == 'g' && !q->group && whole_number(m + 1, &q->group)) {
        /* likewise */
    } else if (strncmp(m, "clip", 4) == 0 && q->clip == 0.0f && ((m[4] >= '0' && m[4] <= '9') || m[4] == '.')) {
        q->clip = strtof(m + 4, &end);
        if (*end || !(q->clip > 0.0f && q->clip <= 1.0f))
            return fp4_fail(FP4_ERR_ARG, "\"%s\": use clip and a factor above 0 and up to 1, such as clip0.9", m);
    } else if (strcmp(m, "stored") == 0 && !q->stored) {
        q->stored = true;
    } else {
        char allowed[128];
        modifiers_allowed(fp4_dialect_of(q), allowed);
        return fp4_fail(FP4_ERR_ARG, "modifier \"%s\" is not known, or there twice or beside its opposite; %s takes:%s", m,
                        q->format->name, allowed);
    }
    return FP4_OK;
}

/* Blocks do not depend on the tensor's orientation: always "as stored", and the spelling does not say so. */
static bool implied_stored(const struct fp4_format *f) { return f->flat || f->block == 0; }

fp4_status fp4_quantizer_parse(const char *spelling, struct fp4_quantizer *out) {
    struct fp4_quantizer q = {0};
    if (strcmp(spelling, "none") == 0) {
        q.clip = 1.0f;
        *out = q;
        return FP4_OK;
    }
    if (strlen(spelling) >= FP4_SPELLING_MAX)
        return fp4_fail(FP4_ERR_ARG, "quantizer \"%.40s...\" is too long", spelling);
    size_t length = strcspn(spelling, ":,");
    FP4_TRY(find_format(spelling, length, &q));
    const char *rest = spelling + length;
    if (*rest == ':') {
        length = strcspn(++rest, ",");
        FP4_TRY(find_dialect(rest, length, &q));
        rest += length;
    }
    while (*rest == ',') {
        char modifier[FP4_SPELLING_MAX];
        length = strcspn(++rest, ",");
        snprintf(modifier, sizeof modifier, "%.*s", (int)length, rest);
        FP4_TRY(parse_modifier(modifier, &q));
        rest += length;
    }
    if (q.clip == 0.0f)
        q.clip = 1.0f;
    FP4_TRY(fp4_quantizer_check(&q));
    if (fp4_dialect_of(&q)->modifiers & FP4_MOD_GROUP && !q.group)
        q.group = (int)q.format->block;
    if (implied_stored(q.format))
        q.stored = true;
    *out = q;
    return FP4_OK;
}

void fp4_quantizer_spell(const struct fp4_quantizer *q, char out[FP4_SPELLING_MAX]) {
    if (!q->format) {
        snprintf(out, FP4_SPELLING_MAX, "none");
        return;
    }
    const struct fp4_dialect *d = fp4_dialect_of(q);
    char part[32];
    snprintf(out, FP4_SPELLING_MAX, "%s%s%s", q->format->name, *d->name ? ":" : "", d->name);
    if (q->two_d)
        append(out, FP4_SPELLING_MAX, ",2d");
    if (q->rounding != FP4_ROUND_EVEN)
        append(out, FP4_SPELLING_MAX, q->rounding == FP4_ROUND_AWAY ? ",away" : ",sr");
    if (q->hadamard) {
        snprintf(part, sizeof part, ",had%d", q->hadamard);
        append(out, FP4_SPELLING_MAX, part);
    }
    if (d->modifiers & FP4_MOD_GROUP) { /* where a group can be chosen it is always named */
        snprintf(part, sizeof part, ",g%zu", fp4_block_of(q));
        append(out, FP4_SPELLING_MAX, part);
    }
    if (q->clip != 0.0f && q->clip != 1.0f) { /* the shortest decimal that reads back */
        for (int digits = 1; digits <= 9; digits++) {
            snprintf(part, sizeof part, ",clip%.*g", digits, (double)q->clip);
            if (strtof(part + 5, NULL) == q->clip)
                break;
        }
        append(out, FP4_SPELLING_MAX, part);
    }
    if (q->stored && !implied_stored(q->format))
        append(out, FP4_SPELLING_MAX, ",stored");
}

void fp4_quantizer_list(FILE *out) {
    fprintf(out, "  %-30s no quantization\n", "none");
    for (const struct fp4_format *const *f = fp4_formats_all; *f; f++)
        for (const struct fp4_dialect *d = (*f)->dialects; d->name; d++) {
            char name[64], allowed[128];
            snprintf(name, sizeof name, "%s%s%s", (*f)->name, *d->name ? ":" : "", d->name);
            modifiers_allowed(d, allowed);
            fprintf(out, "  %-30s %s [%s]\n", name, d->summary, allowed + 1);
        }
}
