/* Tables (Markdown pipe tables) and the data of the figures (TSV with a header line). */
#include <stdarg.h>
#include <string.h>

#include "stats/facts.h"

static void append(struct facts *f, const char *text) {
    if (f->status != FP4_OK)
        return;
    size_t have = f->line ? strlen(f->line) : 0, more = strlen(text) + 1;
    fp4_status status = FP4_RESERVE(f->line, have, have + more, &f->line_size);
    if (status == FP4_OK)
        memcpy(f->line + have, text, more);
    facts_broken(f, status);
}

static void flush_line(struct facts *f) {
    if (f->status == FP4_OK && json_array_append_new(f->lines, json_string(f->line ? f->line : "")) != 0)
        facts_broken(f, fp4_fail(FP4_ERR_MEMORY, "facts: a line of '%s' cannot be stored (not UTF-8?)", f->table));
    if (f->line)
        f->line[0] = '\0';
}

static void begin(struct facts *f, const char *name) {
    snprintf(f->table, sizeof f->table, "%s", name);
    json_decref(f->lines);
    f->lines = json_array();
    if (f->line)
        f->line[0] = '\0';
    if (!f->lines)
        facts_broken(f, fp4_fail(FP4_ERR_MEMORY, "facts: no memory for '%s'", name));
}

/* Joins the lines into files[name + suffix] and notes the entry in root[section]. */
static void end(struct facts *f, const char *section, const char *suffix) {
    if (f->status != FP4_OK)
        return;
    size_t total = 1, i;
    json_t *l;
    json_array_foreach(f->lines, i, l) total += json_string_length(l) + 1;
    char *text, *at;
    facts_broken(f, FP4_NEW(text, total));
    at = text;
    char name[FACT_KEY + 8];
    snprintf(name, sizeof name, "%s%s", f->table, suffix);
    if (text) {
        json_array_foreach(f->lines, i, l) {
            memcpy(at, json_string_value(l), json_string_length(l));
            at += json_string_length(l);
            *at++ = '\n';
        }
        *at = '\0';
    }
    if (json_object_get(f->files, name) || json_object_set_new(f->files, name, json_string(text)) != 0 ||
        json_object_set_new(json_object_get(f->root, section), f->table, json_pack("{s:s}", "file", name)) != 0)
        facts_broken(f, fp4_fail(FP4_ERR_MEMORY, "facts: '%s' cannot be stored, or is set twice", name));
    fp4_free(text);
}

static void missing(struct facts *f, const char *section, const char *name, const char *why) {
    if (f->status == FP4_OK &&
        json_object_set_new(json_object_get(f->root, section), name, json_pack("{s:s}", "why", why)) != 0)
        facts_broken(f, fp4_fail(FP4_ERR_MEMORY, "facts: '%s' cannot be stored", name));
}

void facts_escape(const char *s, char *out, size_t size) {
    size_t n = 0, left = strlen(s);
    while (left && n + 2 * FP4_ESCAPED < size) {
        char safe[FP4_ESCAPED];
        size_t used = (unsigned char)*s < ' ' ? 1 : fp4_escape(s, left, safe);
        for (const char *c = (unsigned char)*s < ' ' ? " " : safe; *c; c++) {
            if (strchr("\\|*_`<>[]$#~^@{}", *c))
                out[n++] = '\\';
            out[n++] = *c;
        }
        s += used;
        left -= used;
    }
    out[n] = '\0';
}

void table_begin(struct facts *f, const char *name, const char *columns) {
    begin(f, name);
    char rule[1024] = "|";
    append(f, "|");
    for (const char *c = columns; *c;) {
        bool right = *c == '>';
        c += *c == '<' || *c == '>';
        size_t n = strcspn(c, "|");
        char name[256], cell[512];
        snprintf(name, sizeof name, "%.*s", (int)n, c);
        facts_escape(name, cell, sizeof cell);
        append(f, " ");
        append(f, cell);
        append(f, " |");
        strncat(rule, right ? "---:|" : ":---|", sizeof rule - strlen(rule) - 1);
        c += n + (c[n] == '|');
    }
    flush_line(f);
    append(f, rule);
    flush_line(f);
    append(f, "|");
}

static void append_escaped(struct facts *f, const char *s) {
    char out[2048];
    facts_escape(s, out, sizeof out);
    append(f, out);
}

void table_cell(struct facts *f, const char *format, ...) {
    char text[1024];
    va_list a;
    va_start(a, format);
    vsnprintf(text, sizeof text, format, a);
    va_end(a);
    append(f, " ");
    append_escaped(f, text);
    append(f, " |");
}

void table_fact(struct facts *f, const char *key, const struct fact *v) {
    char text[FACT_TEXT], interval[FACT_TEXT], in[FACT_KEY];
    fact_text(v, text, interval);
    facts_number(f, key, facts_key(in, "table:%s", f->table), v);
    if (interval[0])
        table_cell(f, "%s %s", text, interval);
    else
        table_cell(f, "%s", text);
}

void table_published(struct facts *f, const char *path) {
    table_cell(f, "%s", published_text(f, path));
}

void table_not_run(struct facts *f, const char *why) {
    table_cell(f, "not run: %s", why);
}

void table_row(struct facts *f) {
    flush_line(f);
    append(f, "|");
}

void table_end(struct facts *f) {
    if (json_array_size(f->lines) <= 2)
        missing(f, "tables", f->table, "no trial of the results belongs in it");
    else
        end(f, "tables", ".md");
}

void table_missing(struct facts *f, const char *name, const char *why) {
    missing(f, "tables", name, why);
}

void figure_begin(struct facts *f, const char *name, const char *columns) {
    begin(f, name);
    append(f, columns);
    flush_line(f);
}

void figure_row(struct facts *f, const char *format, ...) {
    char text[1024], safe[FP4_ESCAPED * sizeof text];
    va_list a;
    va_start(a, format);
    vsnprintf(text, sizeof text, format, a);
    va_end(a);
    char *to = safe;
    for (size_t at = 0, n = strlen(text), used; at < n; at += used) {
        used = fp4_escape(text + at, n - at, to);
        if (text[at] == '\t' || text[at] == '\n') /* of the format */
            snprintf(to, 2, "%c", text[at]);
        to += strlen(to);
    }
    *to = '\0';
    append(f, safe);
    flush_line(f);
}

void figure_end(struct facts *f) {
    end(f, "figures", ".tsv");
}

void figure_missing(struct facts *f, const char *name, const char *why) {
    missing(f, "figures", name, why);
}
