/* REPORT.md.in + facts → Markdown, and the rules that keep typed-in results out of the report. */
#include <ctype.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include "stats/facts.h"

enum { LINE_LIMIT = 1 << 14, TEMPLATE_LIMIT = 1 << 24, DEPTH = 16 };

/* An open {{#if}} or {{#claim}}. */
struct block {
    bool claim, outer, shown;
    unsigned seen; /* verdicts a claim has given words for */
    const char *verdict;
    char key[FACT_KEY];
    size_t line;
};

struct render {
    const char *path, *folder;
    json_t *facts, *used;
    FILE *out, *faults;
    size_t line, n_faults;
    struct block blocks[DEPTH];
    size_t depth;
    bool shown, in_comment, in_code;
};

static void fault(struct render *r, const char *format, ...) __attribute__((format(printf, 2, 3)));
static void fault(struct render *r, const char *format, ...) {
    va_list a;
    va_start(a, format);
    if (r->line)
        fprintf(r->faults, "%s:%zu: ", r->path, r->line);
    else
        fprintf(r->faults, "%s: ", r->path);
    vfprintf(r->faults, format, a);
    fputc('\n', r->faults);
    va_end(a);
    r->n_faults++;
}

static json_t *entry(struct render *r, const char *section, const char *key) {
    json_t *e = json_object_get(json_object_get(r->facts, section), key);
    if (e) {
        char name[2 * FACT_KEY];
        snprintf(name, sizeof name, "%s:%s", section, key);
        json_object_set_new(r->used, name, json_true());
    }
    return e;
}

/* {{key}} and {{key:ci}}, {{key:interval}}, {{key:n}}, {{key:more}}, {{key:less}}, {{key:p}} */
static void put_number(struct render *r, json_t *e, const char *key, const char *which) {
    const char *text = json_string_value(json_object_get(e, "text"));
    const char *interval = json_string_value(json_object_get(e, "interval"));
    json_t *n = json_object_get(e, "n");
    if (!which) {
        fputs(text, r->out);
    } else if (!strcmp(which, "ci")) {
        fprintf(r->out, interval ? "%s %s" : "%s", text, interval);
    } else if (!strcmp(which, "interval")) {
        fputs(interval ? interval : text, r->out);
    } else if (!strcmp(which, "n")) {
        if (json_is_integer(n))
            fprintf(r->out, "%" JSON_INTEGER_FORMAT, json_integer_value(n));
        else
            fputs(text, r->out);
    } else if (!strcmp(which, "p")) {
        fprintf(r->out, !json_object_get(e, "value") || *text == '<' ? "p %s" : "p = %s", text);
    } else if (!strcmp(which, "more") || !strcmp(which, "less")) {
        const char *size = json_string_value(json_object_get(e, which));
        if (!size && json_object_get(e, "value"))
            fault(r, "'%s' has no sign, so no '%s'", key, which);
        fputs(size ? size : text, r->out);
    } else {
        fault(r, "'%s': no part '%s' of a number; ci, interval, n, more, less or p", key, which);
    }
}

static void put_key(struct render *r, const char *name) {
    char key[FACT_KEY];
    snprintf(key, sizeof key, "%.*s", FACT_KEY - 1, name);
    char *which = strchr(key, ':');
    if (which)
        *which++ = '\0';
    json_t *number = entry(r, "numbers", key), *word = number ? NULL : entry(r, "words", key);
    if (number && r->shown)
        put_number(r, number, key, which);
    else if (word && r->shown)
        fputs(json_string_value(word), r->out);
    else if (!number && !word)
        fault(r, "no fact has the key '%s'", key);
}

/* What an {{#if}} asks for: a flag's value, or whether a number, table, figure or word is there. */
static bool truth(struct render *r, const char *key) {
    if (!strncmp(key, "table:", 6) || !strncmp(key, "figure:", 7)) {
        bool table = key[0] == 't';
        json_t *e = json_object_get(json_object_get(r->facts, table ? "tables" : "figures"), strchr(key, ':') + 1);
        if (!e)
            fault(r, "no %s '%s'", table ? "table" : "figure", strchr(key, ':') + 1);
        return json_object_get(e, "file") != NULL;
    }
    json_t *e = entry(r, "flags", key);
    if (e)
        return json_is_true(e);
    e = entry(r, "numbers", key);
    if (e)
        return json_object_get(e, "value") != NULL;
    if (!entry(r, "words", key)) {
        fault(r, "no fact has the key '%s'", key);
        return false;
    }
    return true;
}

static void open_block(struct render *r, const char *key, bool claim) {
    if (r->depth == DEPTH) {
        fault(r, "more than %d blocks inside each other", DEPTH);
        return;
    }
    struct block *b = &r->blocks[r->depth++];
    *b = (struct block){.claim = claim, .outer = r->shown, .line = r->line};
    snprintf(b->key, sizeof b->key, "%s", key);
    if (!claim) {
        b->shown = truth(r, key);
        r->shown = b->outer && b->shown;
        return;
    }
    json_t *e = entry(r, "claims", key);
    if (!e)
        fault(r, "no claim '%s'", key);
    b->verdict = e ? json_string_value(json_object_get(e, "verdict")) : "";
    r->shown = false;
}

static void close_block(struct render *r, bool claim) {
    if (!r->depth || r->blocks[r->depth - 1].claim != claim) {
        fault(r, "{{/%s}} closes nothing", claim ? "claim" : "if");
        return;
    }
    struct block *b = &r->blocks[--r->depth];
    for (int v = 0; claim && v < 4; v++)
        if (!(b->seen & 1u << v))
            fault(r, "claim '%s' has no words for '%s'", b->key, verdict_name((enum verdict)v));
    r->shown = b->outer;
}

static void branch(struct render *r, const char *word) {
    struct block *b = r->depth ? &r->blocks[r->depth - 1] : NULL;
    if (!strcmp(word, "else") && b && !b->claim) {
        r->shown = b->outer && !b->shown;
        return;
    }
    for (int v = 0; v < 4; v++)
        if (b && b->claim && !strcmp(word, verdict_name((enum verdict)v))) {
            b->seen |= 1u << v;
            r->shown = b->outer && !strcmp(word, b->verdict);
            return;
        }
    fault(r, "'{{#%s}}' does not belong here", word);
}

static void include_table(struct render *r, const char *name) {
    json_t *e = entry(r, "tables", name);
    const char *file = json_string_value(json_object_get(e, "file"));
    const char *why = json_string_value(json_object_get(e, "why"));
    if (!e)
        fault(r, "no table '%s'", name);
    if (!e || !r->shown)
        return;
    if (why) {
        fprintf(r->out, "*No table: %s.*\n", why);
        return;
    }
    char path[4096], *text;
    size_t size;
    snprintf(path, sizeof path, "%s/%s", r->folder, file);
    if (fp4_read_file(path, TEMPLATE_LIMIT, &text, &size) != FP4_OK) {
        fault(r, "%s", fp4_last_error());
        return;
    }
    fputs(text, r->out);
    fp4_free(text);
}

static void put_text(struct render *r, const char *s, bool code);

/* {{figure:NAME}} caption */
static void include_figure(struct render *r, const char *name, const char *caption) {
    json_t *e = entry(r, "figures", name);
    const char *why = json_string_value(json_object_get(e, "why"));
    if (!e)
        fault(r, "no figure '%s'", name);
    if (!*caption)
        fault(r, "figure '%s' has no caption", name);
    bool shown = r->shown && e;
    if (shown && why)
        fprintf(r->out, "*No figure: %s.*\n", why);
    if (why)
        r->shown = false; /* the caption is still checked */
    if (shown && !why)
        fputs("![", r->out);
    put_text(r, caption, false);
    if (shown && !why)
        fprintf(r->out, "](figures/%s.svg)\n", name);
    r->shown = r->shown || shown;
}

static bool in_word(char c) {
    return isalnum((unsigned char)c) || c == '_';
}

/* A result typed by hand: a digit in a word that does not begin with a letter. NVFP4, W4A4 and Q4_1 are names, and so is a part with letters of a
 * name with hyphens (SmolLM2-135M); 0.5, 3.1e-4 and the 2 of Llama-2 are not. */
static void check_digits(struct render *r, const char *s, size_t n) {
    for (size_t i = 0; i < n;) {
        if (!in_word(s[i])) {
            i++;
            continue;
        }
        size_t end = i;
        bool letters = false;
        while (end < n && in_word(s[end]))
            letters = isalpha((unsigned char)s[end++]) || letters;
        bool part = letters && i >= 2 && s[i - 1] == '-' && isalnum((unsigned char)s[i - 2]);
        if (isdigit((unsigned char)s[i]) && !part)
            fault(r, "a number is typed in: '%.*s'; use a key, or {{= %.*s}} if it is no result", (int)(end - i), s + i,
                  (int)(end - i), s + i);
        i = end;
    }
}

/* {{key}} or {{= literal}} at *s; moves behind it. */
static void put_braces(struct render *r, const char **s) {
    const char *end = strstr(*s, "}}");
    char inner[1024];
    if (!end) {
        fault(r, "'{{' without '}}'");
        *s += strlen(*s);
        return;
    }
    snprintf(inner, sizeof inner, "%.*s", (int)(end - *s - 2), *s + 2);
    if (inner[0] != '=')
        put_key(r, inner);
    else if (r->shown)
        fputs(inner + 1 + (inner[1] == ' '), r->out);
    *s = end + 2;
}

/* Prose with {{…}}; in `code` and in the address of ](a link) digits are free. `code`: the whole line is code. */
static void put_text(struct render *r, const char *s, bool code) {
    bool span = false;
    while (*s) {
        if (!strncmp(s, "{{", 2)) {
            put_braces(r, &s);
            continue;
        }
        size_t n = strcspn(s + 1, "{`]") + 1;
        if (*s == '`')
            span = !span;
        else if (!span && !code && !strncmp(s, "](", 2))
            n = strcspn(s, ")");
        else if (!span && !code)
            check_digits(r, s, n);
        if (r->shown)
            fwrite(s, 1, n, r->out);
        s += n;
    }
}

/* A line that is a directive as a whole: {{#…}}, {{/…}}, {{table:…}}, {{figure:…}} caption. */
static bool directive(struct render *r, const char *line) {
    const char *end = strstr(line, "}}");
    if (strncmp(line, "{{", 2) != 0 || !end)
        return false;
    char inner[FACT_KEY];
    snprintf(inner, sizeof inner, "%.*s", (int)(end - line - 2), line + 2);
    const char *rest = end + 2 + strspn(end + 2, " ");
    if (!strncmp(inner, "figure:", 7)) {
        include_figure(r, inner + 7, rest);
        return true;
    }
    bool known = inner[0] == '#' || inner[0] == '/' || !strncmp(inner, "table:", 6);
    if (!known)
        return false;
    if (*rest)
        fault(r, "'{{%s}}' stands alone on its line", inner);
    if (!strncmp(inner, "#if ", 4))
        open_block(r, inner + 4, false);
    else if (!strncmp(inner, "#claim ", 7))
        open_block(r, inner + 7, true);
    else if (inner[0] == '#')
        branch(r, inner + 1);
    else if (inner[0] == '/')
        close_block(r, !strcmp(inner, "/claim"));
    else
        include_table(r, inner + 6);
    return true;
}

static void one_line(struct render *r, const char *line) {
    if (r->in_comment || !strncmp(line, "<!--", 4)) {
        r->in_comment = !strstr(line, "-->");
        return;
    }
    bool fence = !strncmp(line, "```", 3);
    if (fence)
        r->in_code = !r->in_code;
    if (!fence && !r->in_code && directive(r, line))
        return;
    put_text(r, line, fence || r->in_code);
    if (r->shown)
        fputc('\n', r->out);
}

static bool is_used(struct render *r, const char *section, const char *key) {
    char name[2 * FACT_KEY];
    snprintf(name, sizeof name, "%s:%s", section, key);
    return json_object_get(r->used, name) != NULL;
}

/* Numbers of an included table, claim or figure count as used with it. */
static void check_all_used(struct render *r) {
    const char *section, *key;
    json_t *all, *e;
    r->line = 0;
    json_object_foreach(r->facts, section, all) {
        json_object_foreach(all, key, e) {
            const char *in = json_string_value(json_object_get(e, "in"));
            bool used = is_used(r, section, key);
            if (in && !used) {
                const char *name = strchr(in, ':') + 1;
                used = is_used(r, in[0] == 't' ? "tables" : in[0] == 'c' ? "claims" : "figures", name);
            }
            if (!used)
                fault(r, "the report does not use '%s' (%s)", key, section);
        }
    }
}

static fp4_status render_lines(struct render *r, char *text) {
    for (char *at = text; at && *at;) {
        char *end = strchr(at, '\n');
        if (end)
            *end = '\0';
        r->line++;
        if (strlen(at) > LINE_LIMIT)
            return fp4_fail(FP4_ERR_FORMAT, "%s:%zu: a line of more than %d bytes", r->path, r->line, LINE_LIMIT);
        one_line(r, at);
        at = end ? end + 1 : NULL;
    }
    if (r->depth) {
        struct block *b = &r->blocks[r->depth - 1];
        fault(r, "the block '%s' of line %zu is never closed", b->key, b->line);
    }
    if (r->in_comment || r->in_code)
        fault(r, "a comment or a code block is never closed");
    check_all_used(r);
    return FP4_OK;
}

fp4_status facts_render(const char *template_path, const char *folder, char **text, char **faults) {
    char path[4096], *source = NULL;
    size_t size, n_text, n_faults;
    json_error_t error;
    *text = *faults = NULL;
    snprintf(path, sizeof path, "%s/facts.json", folder);
    struct render r = {.path = template_path, .folder = folder, .shown = true};
    FP4_TRY(fp4_read_file(template_path, TEMPLATE_LIMIT, &source, &size));
    r.facts = json_load_file(path, 0, &error);
    r.used = json_object();
    r.out = open_memstream(text, &n_text);
    r.faults = open_memstream(faults, &n_faults);
    fp4_status s = FP4_OK;
    if (!r.facts)
        s = error.line > 0 ? fp4_fail(FP4_ERR_FORMAT, "%s:%d: %s", path, error.line, error.text)
                           : fp4_fail(FP4_ERR_IO, "%s: cannot be read; facts --results FOLDER --published FILE --out %s makes it", path, folder);
    else if (!r.used || !r.out || !r.faults)
        s = fp4_fail(FP4_ERR_MEMORY, "%s: no memory", template_path);
    else
        s = render_lines(&r, source);
    if (r.out)
        fclose(r.out);
    if (r.faults)
        fclose(r.faults);
    json_decref(r.facts);
    json_decref(r.used);
    fp4_free(source);
    if (s == FP4_OK && r.n_faults)
        s = fp4_fail(FP4_ERR_FORMAT, "%s: %zu faults", template_path, r.n_faults);
    return s;
}
