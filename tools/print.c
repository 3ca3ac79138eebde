/* One document, four forms: text for a terminal, JSON, CSV (RFC 4180), Markdown. */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "lib/base/json.h"
#include "tools/tool.h"

json_t *tool_number(double x) { return isfinite(x) ? json_real(x) : json_null(); }

json_t *tool_text(const char *bytes, size_t n) {
    char *repaired;
    size_t length;
    if (fp4_utf8_repair(bytes, n, &repaired, &length) != FP4_OK)
        return NULL;
    json_t *text = json_stringn(repaired, length);
    fp4_free(repaired);
    return text;
}

/* A value as it stands in a cell; control characters are escaped, since names come from untrusted files. */
static void write_value(FILE *out, const json_t *value, bool exact) {
    switch (json_typeof(value)) {
    case JSON_STRING:
        for (const char *s = json_string_value(value), *end = s + json_string_length(value); s < end;) {
            char safe[FP4_ESCAPED];
            size_t used = fp4_escape(s, (size_t)(end - s), safe);
            fputs(*s == '\n' ? "\\n" : safe, out);
            s += used;
        }
        break;
    case JSON_INTEGER: fprintf(out, "%" JSON_INTEGER_FORMAT, json_integer_value(value)); break;
    case JSON_REAL: fprintf(out, exact ? "%.17g" : "%.7g", json_real_value(value)); break;
    case JSON_TRUE: fputs("yes", out); break;
    case JSON_FALSE: fputs("no", out); break;
    case JSON_NULL: fputs(exact ? "" : "-", out); break;
    case JSON_ARRAY:
        for (size_t i = 0; i < json_array_size(value); i++) {
            if (i)
                fputs(exact ? " " : "×", out);
            write_value(out, json_array_get(value, i), exact);
        }
        break;
    case JSON_OBJECT: break; /* no cell holds one */
    }
}

static char *cell(const json_t *value, bool exact) {
    char *text = NULL;
    size_t n;
    FILE *out = open_memstream(&text, &n);
    if (!out)
        return NULL;
    write_value(out, value, exact);
    return fclose(out) == 0 ? text : NULL;
}

/* Columns on a terminal: code points, which is right but for wide and combining characters. */
static int width(const char *text) {
    int n = 0;
    for (; *text; text++)
        n += ((unsigned char)*text & 0xc0) != 0x80;
    return n;
}

static void put_padded(const char *text, int columns, bool right) {
    int blanks = columns - width(text);
    if (right)
        printf("%*s%s", blanks > 0 ? blanks : 0, "", text);
    else
        printf("%s%*s", text, blanks > 0 ? blanks : 0, "");
}

static void put_csv(const char *text) {
    if (!strpbrk(text, ",\"\r\n")) {
        fputs(text, stdout);
        return;
    }
    putchar('"');
    for (; *text; text++)
        fputs(*text == '"' ? "\"\"" : (char[]){*text, 0}, stdout);
    putchar('"');
}

static void put_md(const char *text) {
    for (; *text; text++) {
        if (*text == '|' || *text == '\\')
            putchar('\\');
        putchar(*text);
    }
}

static void put_cell(enum tool_format format, const char *text, bool first, int columns, bool right) {
    switch (format) {
    case TOOL_TEXT:
        fputs(first ? "" : "  ", stdout);
        put_padded(text, columns, right);
        break;
    case TOOL_CSV:
        fputs(first ? "" : ",", stdout);
        put_csv(text);
        break;
    default:
        fputs(first ? "| " : " | ", stdout);
        put_md(text);
    }
}

enum { MAX_COLUMNS = 32 };
struct layout {
    size_t n;
    const char *key[MAX_COLUMNS];
    int width[MAX_COLUMNS];
    bool right[MAX_COLUMNS];
};

static void measure(const json_t *table, struct layout *l) {
    const char *key;
    json_t *value, *row;
    size_t i;
    l->n = 0;
    json_object_foreach(json_array_get(table, 0), key, value) {
        if (l->n == MAX_COLUMNS)
            break;
        l->key[l->n] = key;
        l->width[l->n] = width(key);
        l->right[l->n++] = json_is_number(value);
    }
    json_array_foreach(table, i, row) for (size_t k = 0; k < l->n; k++) {
        char *text = cell(json_object_get(row, l->key[k]), false);
        int w = text ? width(text) : 0;
        free(text);
        l->width[k] = w > l->width[k] ? w : l->width[k];
    }
}

static void end_row(enum tool_format format) { puts(format == TOOL_MD ? " |" : ""); }

static void print_table(enum tool_format format, const json_t *table) {
    struct layout l;
    json_t *row;
    size_t i;
    measure(table, &l);
    for (size_t k = 0; k < l.n; k++)
        put_cell(format, l.key[k], k == 0, k + 1 == l.n && !l.right[k] ? 0 : l.width[k], l.right[k]);
    end_row(format);
    if (format == TOOL_MD) {
        for (size_t k = 0; k < l.n; k++)
            fputs(l.right[k] ? "|---:" : "|---", stdout);
        puts("|");
    }
    json_array_foreach(table, i, row) {
        for (size_t k = 0; k < l.n; k++) {
            char *text = cell(json_object_get(row, l.key[k]), format == TOOL_CSV);
            /* the last column needs no blanks behind it */
            put_cell(format, text ? text : "", k == 0, k + 1 == l.n && !l.right[k] ? 0 : l.width[k], l.right[k]);
            free(text);
        }
        end_row(format);
    }
}

static void print_fields(enum tool_format format, const json_t *fields) {
    const char *key;
    json_t *value;
    int columns = 0;
    json_object_foreach((json_t *)(uintptr_t)fields, key, value) columns = width(key) > columns ? width(key) : columns;
    json_object_foreach((json_t *)(uintptr_t)fields, key, value) {
        char *text = cell(value, false);
        if (format == TOOL_MD) {
            printf("- %s: ", key);
            put_md(text ? text : "");
            putchar('\n');
        } else {
            put_padded(key, columns, false);
            printf("  %s\n", text ? text : "");
        }
        free(text);
    }
}

/* JSON in ASCII; Jansson leaves DEL as it is. */
static int put_json(const char *text, size_t n, void *out) {
    for (const char *end = text + n, *delete; text < end; text = delete + 1) {
        delete = memchr(text, 0x7f, (size_t)(end - text));
        fwrite(text, 1, (size_t)((delete ? delete : end) - text), out);
        if (!delete)
            break;
        fputs("\\u007f", out);
    }
    return ferror(out) ? -1 : 0;
}

static fp4_status print_json(json_t *fields, const char *name, json_t *table) {
    if (table)
        json_object_set(fields, name, table);
    int rc = json_dump_callback(fields, put_json, stdout, JSON_INDENT(2) | JSON_ENSURE_ASCII);
    putchar('\n');
    return rc == 0 ? FP4_OK : fp4_fail(FP4_ERR_IO, "standard output: cannot write");
}

/* Without a table CSV is one row: the fields. */
static void print_plain(enum tool_format format, json_t *fields, json_t *table) {
    if (format == TOOL_CSV) {
        json_t *rows = table ? json_incref(table) : json_pack("[O]", fields);
        print_table(format, rows);
        json_decref(rows);
        return;
    }
    print_fields(format, fields);
    if (table && json_array_size(table)) {
        if (json_object_size(fields))
            putchar('\n');
        print_table(format, table);
    }
}

fp4_status tool_print(enum tool_format format, json_t *fields, const char *name, json_t *table) {
    fp4_status status = json_whole("output");
    if (status == FP4_OK && !fields)
        status = fp4_fail(FP4_ERR_MEMORY, "no memory for the output");
    else if (status == FP4_OK && format == TOOL_JSON)
        status = print_json(fields, name, table);
    else if (status == FP4_OK)
        print_plain(format, fields, table);
    json_decref(fields);
    json_decref(table);
    return status;
}

void tool_print_ids(const int32_t *ids, size_t n) {
    for (size_t i = 0; i < n; i++)
        printf("%s%d", i ? "," : "", (int)ids[i]);
    putchar('\n');
}
