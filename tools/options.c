/* Command lines from tables, through getopt_long. */
#include <errno.h>
#include <getopt.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "tools/tool.h"

enum { MAX_OPTIONS = 32, FIRST_VALUE = 1000, VALUE_THREADS = 900, VALUE_OFFLINE, VALUE_HELP };

static const char *const formats[] = {"text", "json", "csv", "md"};

static void print_option(const char *dashes, const char *name, const char *argument, const char *text) {
    int n = printf("  %s%s%s%s", dashes, name, argument ? " " : "", argument ? argument : "");
    printf("%*s %s\n", n < 26 ? 26 - n : 0, "", text);
}

static void print_help(const struct tool_line *line) {
    printf("usage: fp4lab %s%s%s [OPTION]...\n%s\n\n", line->name, *line->positional ? " " : "", line->positional, line->summary);
    for (size_t i = 0; i < line->n_options; i++)
        print_option("--", line->options[i].name, line->options[i].argument, line->options[i].help);
    print_option("-o, --", "output", "FORMAT", "text, json, csv (the table alone, where there is one) or md (default: text)");
    print_option("--", "threads", "N", "threads (default: all processors); results do not depend on it");
    print_option("--", "offline", NULL, "a model by name from the cache only, never from the network");
    print_option("--", "help", NULL, "this text");
    if (line->notes)
        printf("\n%s\n", line->notes);
    if (line->lists_formats) {
        puts("\nFormats:");
        fp4_quantizer_list(stdout);
    }
}

static fp4_status read_count(const char *name, const char *text, size_t *out) {
    char *end;
    errno = 0;
    unsigned long long value = strtoull(text, &end, 10);
    if (errno || end == text || *end || *text == '-' || value > INT32_MAX)
        return fp4_fail(FP4_ERR_ARG, "--%s %s: not a whole number from 0 to %d", name, text, INT32_MAX);
    *out = (size_t)value;
    return FP4_OK;
}

static fp4_status read_number(const char *name, const char *text, double *out) {
    char *end;
    double value = strtod(text, &end);
    if (end == text || *end || !isfinite(value) || value < 0)
        return fp4_fail(FP4_ERR_ARG, "--%s %s: not a number of at least 0", name, text);
    *out = value;
    return FP4_OK;
}

static fp4_status set_option(const struct tool_option *o, const char *text) {
    switch (o->kind) {
    case TOOL_STRING:
        if (!*text && (strcmp(o->argument, "PATH") == 0 || strcmp(o->argument, "FILE") == 0))
            return fp4_fail(FP4_ERR_ARG, "--%s: the name is empty", o->name);
        *(const char **)o->target = text;
        return FP4_OK;
    case TOOL_FLAG: *(bool *)o->target = true; return FP4_OK;
    case TOOL_COUNT: return read_count(o->name, text, o->target);
    case TOOL_NUMBER: return read_number(o->name, text, o->target);
    case TOOL_QUANTIZER: break;
    }
    fp4_status status = fp4_quantizer_parse(text, o->target);
    return status == FP4_OK ? FP4_OK : fp4_fail(status, "--%s: %s", o->name, fp4_last_error());
}

static fp4_status set_format(const char *text, enum tool_format *out) {
    for (int i = 0; i < 4; i++)
        if (strcmp(text, formats[i]) == 0) {
            *out = (enum tool_format)i;
            return FP4_OK;
        }
    return fp4_fail(FP4_ERR_ARG, "-o %s: no such output format; text, json, csv and md exist", text);
}

static fp4_status handle(struct tool_line *line, int value, const char *bad, bool *done) {
    size_t threads = 0;
    if (value >= FIRST_VALUE)
        return set_option(&line->options[value - FIRST_VALUE], optarg);
    switch (value) {
    case 'o': return set_format(optarg, &line->format);
    case VALUE_THREADS:
        FP4_TRY(read_count("threads", optarg, &threads));
        fp4_set_threads((int)threads);
        return FP4_OK;
    case VALUE_OFFLINE: return setenv("HF_HUB_OFFLINE", "1", 1) == 0 ? FP4_OK : fp4_fail(FP4_ERR_MEMORY, "--offline: no memory");
    case VALUE_HELP:
        print_help(line);
        *done = true;
        return FP4_OK;
    case ':': return fp4_fail(FP4_ERR_ARG, "%s: needs a value; 'fp4lab %s --help' says which", bad, line->name);
    default: return fp4_fail(FP4_ERR_ARG, "%s: unknown or ambiguous option; 'fp4lab %s --help' lists them", bad, line->name);
    }
}

fp4_status tool_parse(struct tool_line *line, int argc, char **argv, bool *done) {
    struct option table[MAX_OPTIONS] = {{"output", required_argument, NULL, 'o'},
                                        {"threads", required_argument, NULL, VALUE_THREADS},
                                        {"offline", no_argument, NULL, VALUE_OFFLINE},
                                        {"help", no_argument, NULL, VALUE_HELP}};
    for (size_t i = 0; i < line->n_options && i + 5 < MAX_OPTIONS; i++)
        table[4 + i] = (struct option){line->options[i].name, line->options[i].argument ? required_argument : no_argument, NULL,
                                       FIRST_VALUE + (int)i};
    *done = false;
    opterr = 0;
    optind = 0; /* glibc: start afresh, whatever an earlier line has left */
    for (int value; !*done && (value = getopt_long(argc, argv, ":o:", table, NULL)) != -1;) {
        /* getopt permutes: what it looked at last is before optind */
        const char *bad = optind > 0 && optind <= argc ? argv[optind - 1] : "option";
        FP4_TRY(handle(line, value, bad, done));
    }
    line->args = argv + optind;
    line->n_args = (size_t)(argc - optind);
    if (*done)
        return FP4_OK;
    if (line->n_args < line->min_args)
        return fp4_fail(FP4_ERR_ARG, "%s: %s is missing; 'fp4lab %s --help' shows how", line->name, line->positional, line->name);
    if (line->n_args > line->max_args)
        return fp4_fail(FP4_ERR_ARG, "%s: one argument too many; 'fp4lab %s --help' shows how", line->args[line->max_args], line->name);
    return FP4_OK;
}
