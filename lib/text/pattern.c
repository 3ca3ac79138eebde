/* Patterns by PCRE2. Two engines with two dialects: files are written for Oniguruma (Ruby syntax), so each construct that both
 * read alike goes through, those that differ are rewritten (\s \w \b \p{Script}) and all others refused by name.
 *
 * Bounds: PCRE2's match limit counts the backtracking points of one attempt, so each attempt is anchored, starts with a small
 * limit and doubles it while it does not suffice; between attempts the CPU time of the thread is looked at. JIT code ignores
 * the limits on depth and heap, so it is not used. */
#include "lib/text/pattern.h"

#include "lib/text/budget.h"

#define PCRE2_CODE_UNIT_WIDTH 8
#include <pcre2.h>
#include <string.h>

enum {
    PATTERN_LONGEST = 4096, /* bytes; those in use have some hundred */
    LIMIT_FIRST = 256,
    LIMIT_LAST = 1 << 20,
    HEAP_KIB = 64 << 10,
    CALLS_BETWEEN_CLOCKS = 16
};
struct pattern {
    char *where;
    char *text;
    size_t bytes;
    pcre2_code *code; /* NULL: a literal */
};

/* ---- from Oniguruma's dialect to PCRE2's ---- */

struct translation {
    const char *where, *in;
    size_t n, at, used;
    char *out;
};

static void put(struct translation *x, const char *s) {
    size_t n = strlen(s);
    memcpy(x->out + x->used, s, n);
    x->used += n;
}

static fp4_status refuse(const struct translation *x, const char *what) {
    return fp4_fail(FP4_ERR_UNSUPPORTED, "%s: %s at byte %zu of the pattern %.200s is not supported", x->where, what, x->at, x->in);
}

/* \p{Name}, \P{Name}, \p{^Name}: general categories as they are; a longer name is a script, which PCRE2 would extend. */
static fp4_status property(struct translation *x, char letter) {
    const char *open = x->in + x->at + 2, *close = memchr(open, '}', x->n - x->at - 2);
    if (x->at + 2 >= x->n || *open != '{' || !close || close - open > 40)
        return refuse(x, "\\p without {Name}");
    const char *name = open + 1;
    bool negated = *name == '^';
    name += negated;
    size_t n = (size_t)(close - name);
    for (size_t i = 0; i < n; i++)
        if (!((name[i] | 32) >= 'a' && (name[i] | 32) <= 'z') && name[i] != '_')
            return refuse(x, "this property");
    if (n == 0)
        return refuse(x, "this property");
    char text[64];
    bool script = n > 2 && strncmp(name, "Alphabetic}", 11) != 0 && strncmp(name, "White_Space}", 12) != 0;
    snprintf(text, sizeof text, "\\%c{%s%.*s}", negated ? (letter == 'p' ? 'P' : 'p') : letter, script ? "sc:" : "", (int)n, name);
    put(x, text);
    x->at = (size_t)(close - x->in) + 1;
    return FP4_OK;
}

/* Oniguruma's \w: Unicode technical standard 18, annex C, and from its table for Latin-1 superscript digits and fractions. */
#define WORD "\\p{Alphabetic}\\p{M}\\p{Nd}\\p{Pc}\\x{B2}\\x{B3}\\x{B9}\\x{BC}-\\x{BE}"

/* \x{H…}, and \uHHHH, which PCRE2 has not; \xHH is a byte in one and a code point in the other. */
static fp4_status code_point(struct translation *x) {
    bool four = x->in[x->at + 1] == 'u';
    size_t start = x->at + (four ? 2 : 3), end = start;
    while (end < x->n && end < start + (four ? 4 : 8) && strchr("0123456789abcdefABCDEF", x->in[end]))
        end++;
    if (four ? end != start + 4 : end == start || end >= x->n || x->in[start - 1] != '{' || x->in[end] != '}')
        return refuse(x, "this escape");
    char text[16];
    snprintf(text, sizeof text, "\\x{%.*s}", (int)(end - start), x->in + start);
    put(x, text);
    x->at = four ? end : end + 1;
    return FP4_OK;
}

/* What stands after a backslash. */
static fp4_status escape(struct translation *x, bool in_class) {
    char c = x->at + 1 < x->n ? x->in[x->at + 1] : 0;
    bool punctuation = c > ' ' && c < 127 && !((c | 32) >= 'a' && (c | 32) <= 'z') && !(c >= '0' && c <= '9');
    char same[] = {'\\', c, 0};
    if (c == 'p' || c == 'P')
        return property(x, c);
    if (c == 's' || c == 'S')
        put(x, c == 's' ? "\\p{White_Space}" : "\\P{White_Space}"); /* PCRE2's \s takes in U+180E */
    else if (c == 'd' || c == 'D')
        put(x, c == 'd' ? "\\p{Nd}" : "\\P{Nd}");
    else if (c == 'w' && in_class)
        put(x, WORD);
    else if (c == 'w' || (c == 'W' && !in_class))
        put(x, c == 'w' ? "[" WORD "]" : "[^" WORD "]");
    else if ((c == 'b' || c == 'B') && !in_class)
        put(x, c == 'b' ? "(?:(?<=[" WORD "])(?![" WORD "])|(?<![" WORD "])(?=[" WORD "]))"
                        : "(?:(?<=[" WORD "])(?=[" WORD "])|(?<![" WORD "])(?![" WORD "]))");
    else if (c == 'v')
        put(x, "\\x0B"); /* PCRE2's \v is a class */
    else if (punctuation || (c && strchr("rntfae", c)) || (c && strchr("AzZ", c) && !in_class))
        put(x, same);
    else if (c == 'x' || c == 'u')
        return code_point(x);
    else
        return refuse(x, "this escape");
    x->at += 2;
    return FP4_OK;
}

static fp4_status group(struct translation *x) {
    const char *rest = x->in + x->at;
    size_t left = x->n - x->at;
    static const char *const known[] = {"(?:", "(?=", "(?!", "(?<=", "(?<!", "(?>", "(?i:", "(?i)", "(?-i:", "(?-i)"};
    if (left < 2 || rest[1] != '?') {
        put(x, "(");
        x->at++;
        return FP4_OK;
    }
    for (size_t i = 0; i < sizeof known / sizeof known[0]; i++) {
        size_t n = strlen(known[i]);
        if (left >= n && memcmp(rest, known[i], n) == 0) {
            put(x, known[i]);
            x->at += n;
            return FP4_OK;
        }
    }
    return refuse(x, "this kind of group");
}

/* {n}, {n,}, {n,m}: what follows it, ? or +, means another thing in each dialect. */
static fp4_status quantifier(struct translation *x) {
    size_t end = x->at + 1;
    while (end < x->n && ((x->in[end] >= '0' && x->in[end] <= '9') || x->in[end] == ','))
        end++;
    if (end == x->at + 1 || x->in[x->at + 1] == ',' || end >= x->n || x->in[end] != '}')
        return refuse(x, "this brace");
    if (end + 1 < x->n && (x->in[end + 1] == '+' || x->in[end + 1] == '?'))
        return refuse(x, "a quantifier after a quantifier");
    for (; x->at <= end; x->at++)
        x->out[x->used++] = x->in[x->at];
    return FP4_OK;
}

static fp4_status class_member(struct translation *x) {
    char c = x->in[x->at];
    if (c == '\\')
        return escape(x, true);
    if (c == '[')
        return refuse(x, "a class within a class");
    if (c == '&' && x->at + 1 < x->n && x->in[x->at + 1] == '&')
        return refuse(x, "an intersection of classes");
    x->out[x->used++] = c;
    x->at++;
    return FP4_OK;
}

static fp4_status translate(struct translation *x) {
    for (bool in_class = false; x->at < x->n;) {
        char c = x->in[x->at];
        if (in_class) {
            in_class = c != ']';
            FP4_TRY(class_member(x));
        } else if (c == '[') {
            in_class = true;
            x->out[x->used++] = x->in[x->at++];
            if (x->at < x->n && x->in[x->at] == '^')
                x->out[x->used++] = x->in[x->at++];
            if (x->at < x->n && x->in[x->at] == ']')
                return refuse(x, "an empty class");
        } else if (c == '\\') {
            FP4_TRY(escape(x, false));
        } else if (c == '(') {
            FP4_TRY(group(x));
        } else if (c == '{') {
            FP4_TRY(quantifier(x));
        } else {
            x->out[x->used++] = c;
            x->at++;
        }
    }
    return FP4_OK;
}

static fp4_status compile(struct pattern *p, const char *text, size_t n) {
    int error;
    PCRE2_SIZE at;
    pcre2_compile_context *context = pcre2_compile_context_create(NULL);
    if (!context)
        return fp4_fail(FP4_ERR_MEMORY, "%s: no memory for its pattern", p->where);
    pcre2_set_newline(context, PCRE2_NEWLINE_LF);
    p->code = pcre2_compile((PCRE2_SPTR)text, n, PCRE2_UTF | PCRE2_UCP | PCRE2_MULTILINE, &error, &at, context);
    pcre2_compile_context_free(context);
    if (p->code)
        return FP4_OK;
    PCRE2_UCHAR why[160] = "";
    pcre2_get_error_message(error, why, sizeof why);
    return fp4_fail(error == PCRE2_ERROR_HEAP_FAILED ? FP4_ERR_MEMORY : FP4_ERR_FORMAT, "%s: the pattern %.200s: %s", p->where, p->text, (char *)why);
}

static fp4_status pattern_create(const char *where, const char *text, size_t bytes, struct pattern **out) {
    struct pattern *p;
    *out = NULL;
    if (bytes == 0 || bytes > PATTERN_LONGEST)
        return fp4_fail(FP4_ERR_UNSUPPORTED, "%s: a pattern of %zu bytes; 1 to %d are supported", where, bytes, PATTERN_LONGEST);
    FP4_TRY(FP4_NEW(p, 1));
    fp4_status status = fp4_strdup(where, &p->where);
    if (status == FP4_OK)
        status = FP4_NEW(p->text, bytes + 1);
    if (status != FP4_OK) {
        pattern_free(p);
        return status;
    }
    memcpy(p->text, text, bytes);
    p->bytes = bytes;
    *out = p;
    return FP4_OK;
}

fp4_status pattern_literal(const char *where, const char *text, size_t bytes, struct pattern **out) {
    return pattern_create(where, text, bytes, out);
}

fp4_status pattern_regex(const char *where, const char *text, size_t bytes, struct pattern **out) {
    struct pattern *p;
    *out = NULL;
    FP4_TRY(pattern_create(where, text, bytes, &p));
    struct translation x = {.where = where, .in = p->text, .n = bytes};
    fp4_status status = memchr(text, 0, bytes) ? refuse(&x, "U+0000") : FP4_OK;
    /* The longest replacement of two bytes is \b's. */
    if (status == FP4_OK)
        status = fp4_alloc(bytes + 1, 168, (void **)&x.out);
    if (status == FP4_OK)
        status = translate(&x);
    if (status == FP4_OK)
        status = compile(p, x.out, x.used);
    fp4_free(x.out);
    if (status == FP4_OK)
        *out = p;
    else
        pattern_free(p);
    return status;
}

bool pattern_is_regex(const struct pattern *p, const char *text) {
    return p->code && strlen(text) == p->bytes && memcmp(p->text, text, p->bytes) == 0;
}

const char *pattern_where(const struct pattern *p) {
    return p->where;
}

void pattern_free(struct pattern *p) {
    if (!p)
        return;
    pcre2_code_free(p->code);
    fp4_free(p->where);
    fp4_free(p->text);
    fp4_free(p);
}

/* ---- matching ---- */

static fp4_status explodes(const struct matcher *m) {
    return fp4_fail(FP4_ERR_FORMAT, "%s: the pattern %.200s takes too long to match: it backtracks without end", m->p->where, m->p->text);
}

static fp4_status look_at_clock(const struct matcher *m) {
    return budget_clock() - m->spent_since > budget_seconds() ? explodes(m) : FP4_OK;
}

fp4_status matcher_open(struct matcher *m, const struct pattern *p) {
    *m = (struct matcher){.p = p, .last = SIZE_MAX, .limit = LIMIT_FIRST, .spent_since = budget_clock()};
    FP4_TRY(look_at_clock(m));
    if (!p->code)
        return FP4_OK;
    pcre2_match_context *context = pcre2_match_context_create(NULL);
    m->context = context;
    m->data = pcre2_match_data_create_from_pattern(p->code, NULL);
    if (!m->context || !m->data) {
        matcher_close(m);
        return fp4_fail(FP4_ERR_MEMORY, "%s: no memory to match its pattern", p->where);
    }
    pcre2_set_heap_limit(context, HEAP_KIB);
    pcre2_set_match_limit(context, m->limit);
    return FP4_OK;
}

void matcher_close(struct matcher *m) {
    if (m->p)
        budget_spend(budget_clock() - m->spent_since);
    pcre2_match_data_free(m->data);
    pcre2_match_context_free(m->context);
    *m = (struct matcher){0};
}

/* One anchored attempt; *found false: no match begins at `at`. */
static fp4_status attempt(struct matcher *m, const char *text, size_t bytes, size_t at, bool *found, size_t *start, size_t *stop) {
    uint32_t limit = LIMIT_FIRST;
    for (;;) {
        if (m->limit != limit)
            pcre2_set_match_limit(m->context, m->limit = limit);
        if (limit > LIMIT_FIRST || ++m->calls % CALLS_BETWEEN_CLOCKS == 0)
            FP4_TRY(look_at_clock(m));
        int groups = pcre2_match(m->p->code, (PCRE2_SPTR)text, bytes, at, PCRE2_ANCHORED | PCRE2_NO_UTF_CHECK, m->data, m->context);
        if (groups == PCRE2_ERROR_MATCHLIMIT && limit < LIMIT_LAST) {
            limit *= 2;
            continue;
        }
        if (groups == PCRE2_ERROR_MATCHLIMIT || groups == PCRE2_ERROR_HEAPLIMIT || groups == PCRE2_ERROR_DEPTHLIMIT)
            return explodes(m);
        *found = groups >= 0;
        if (groups < 0 && groups != PCRE2_ERROR_NOMATCH)
            return fp4_fail(FP4_ERR_MEMORY, "%s: PCRE2 cannot match its pattern: error %d", m->p->where, groups);
        if (*found) {
            const PCRE2_SIZE *ends = pcre2_get_ovector_pointer(m->data);
            *start = ends[0];
            *stop = ends[1];
        }
        return FP4_OK;
    }
}

void matcher_rewind(struct matcher *m) {
    m->at = 0;
    m->last = SIZE_MAX;
}

static fp4_status search(struct matcher *m, const char *text, size_t bytes, bool *found, size_t *start, size_t *stop) {
    if (!m->p->code) {
        const char *hit = m->at < bytes ? memmem(text + m->at, bytes - m->at, m->p->text, m->p->bytes) : NULL;
        *found = hit != NULL;
        if (hit) {
            *start = (size_t)(hit - text);
            *stop = *start + m->p->bytes;
        }
        return FP4_OK;
    }
    while (m->at <= bytes) {
        FP4_TRY(attempt(m, text, bytes, m->at, found, start, stop));
        if (*found && (*start < *stop || *stop != m->last))
            return FP4_OK;
        for (m->at++; m->at < bytes && ((uint8_t)text[m->at] & 0xC0) == 0x80;)
            m->at++;
    }
    *found = false;
    return FP4_OK;
}

fp4_status matcher_next(struct matcher *m, const char *text, size_t bytes, bool *found, size_t *start, size_t *stop) {
    *found = false;
    FP4_TRY(search(m, text, bytes, found, start, stop));
    if (*found)
        m->at = m->last = *stop;
    return FP4_OK;
}
