/* build/facts: results → the facts, tables and figure data of the report; their digest; the report's Markdown. */
#include <getopt.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "lib/base/json.h"
#include "stats/facts.h"

static const char HELP[] =
    "facts --results FOLDER --published FILE --out FOLDER [--bench FILE]\n"
    "    computes facts.json (each number with text, n, interval, method), the tables (*.md) and the figures' data (*.tsv)\n"
    "facts --render TEMPLATE --facts FOLDER [--out FILE]\n"
    "    puts the facts into REPORT.md.in; a key that is missing or unused, and a typed-in number, is a fault with its line: exit 1\n"
    "facts --digest RESULTS...\n"
    "    prints the SHA-256 over all trials but for times and machine; RESULTS are files or folders\n"
    "\n"
    "  --results FOLDER   holds *.jsonl (schema 1); may be given more than once\n"
    "  --published FILE   stats/published.json: the numbers of the write-ups\n"
    "  --bench FILE       Google Benchmark's JSON; left out when it does not exist\n"
    "  --help, --version\n"
    "Exit status: 0 done, 1 the template has faults, 2 an error.\n";

enum { MAX_PATHS = 64 };
static const char TOO_MANY[] = "too many results: at most 64 files and folders";

struct options {
    const char *results[MAX_PATHS], *published, *out, *bench, *template, *facts;
    size_t n_results;
    bool digest;
};

static int error(void) {
    fprintf(stderr, "facts: %s\n", fp4_last_error());
    return 2;
}

/* Output that was not written (a full disk, say) must not look like success. */
static int written(void) {
    if (fflush(stdout) == 0 && !ferror(stdout))
        return 0;
    fp4_fail(FP4_ERR_IO, "standard output: cannot write; look for a full disk or a closed pipe");
    return error();
}

static int digest(const struct options *o) {
    struct results r;
    char hex[65];
    if (results_load(o->results, o->n_results, &r) != FP4_OK)
        return error();
    fp4_status s = results_digest(&r, hex);
    results_free(&r);
    if (s != FP4_OK)
        return error();
    printf("%s\n", hex);
    return written();
}

static fp4_status load_json(const char *path, json_t **out) {
    json_error_t e;
    char *text;
    size_t size;
    FP4_TRY(fp4_read_file(path, (size_t)64 << 20, &text, &size));
    *out = json_parse(text, size, JSON_REJECT_DUPLICATES, &e);
    fp4_free(text);
    return *out ? FP4_OK : fp4_fail(json_fault(&e), "%s:%d: %s", path, e.line, e.text);
}

static fp4_status compute(const struct options *o) {
    struct results r;
    struct facts f;
    json_t *published = NULL, *bench = NULL;
    if (o->bench && access(o->bench, F_OK) == 0)
        FP4_TRY(load_json(o->bench, &bench));
    fp4_status s = load_json(o->published, &published);
    if (s == FP4_OK)
        s = results_load(o->results, o->n_results, &r);
    if (s != FP4_OK) {
        json_decref(published);
        json_decref(bench);
        return s;
    }
    s = facts_begin(&f, &r, published, bench);
    if (s == FP4_OK) {
        facts_all(&f);
        s = facts_write(&f, o->out);
    }
    if (s != FP4_OK && strncmp(fp4_last_error(), "facts: ", 7) == 0) /* what was found wrong when all results were together */
        s = fp4_fail(s, "%s: %s", o->results[0], fp4_last_error() + 7);
    facts_free(&f);
    results_free(&r);
    return s;
}

/* They quote the template. */
static void print_faults(const char *faults) {
    char safe[FP4_ESCAPED];
    for (size_t left = strlen(faults), used; left; faults += used, left -= used) {
        used = fp4_escape(faults, left, safe);
        fputs(*faults == '\n' ? "\n" : safe, stderr);
    }
}

static int render(const struct options *o) {
    char *text, *faults;
    fp4_status s = facts_render(o->template, o->facts, &text, &faults);
    bool faulty = faults && *faults;
    if (faulty)
        print_faults(faults);
    if (s == FP4_OK && o->out)
        s = fp4_write_file(o->out, text, strlen(text));
    else if (s == FP4_OK)
        fputs(text, stdout);
    free(text);
    free(faults);
    return s == FP4_OK ? written() : faulty ? 1 : error();
}

static int usage(const char *why) {
    fprintf(stderr, "facts: %s; see facts --help\n", why);
    return 2;
}

static bool add_result(struct options *o, const char *path) {
    if (o->n_results == MAX_PATHS)
        return false;
    o->results[o->n_results++] = path;
    return true;
}

int main(int argc, char **argv) {
    static const struct option known[] = {{"results", 1, 0, 'r'}, {"published", 1, 0, 'p'}, {"out", 1, 0, 'o'},    {"bench", 1, 0, 'b'},
                                          {"render", 1, 0, 't'},  {"facts", 1, 0, 'f'},     {"digest", 0, 0, 'd'}, {"help", 0, 0, 'h'},
                                          {"version", 0, 0, 'v'},
                                          {0, 0, 0, 0}};
    struct options o = {0};
    fp4_hold_standard_files();
    opterr = 0;
    for (int c; (c = getopt_long(argc, argv, ":h", known, NULL)) != -1;) {
        switch (c) {
        case 'r': if (!add_result(&o, optarg)) return usage(TOO_MANY); break;
        case 'p': o.published = optarg; break;
        case 'o': o.out = optarg; break;
        case 'b': o.bench = optarg; break;
        case 't': o.template = optarg; break;
        case 'f': o.facts = optarg; break;
        case 'd': o.digest = true; break;
        case 'h': fputs(HELP, stdout); return written();
        case 'v': puts("facts (fp4lab) " FP4_VERSION); return written();
        default:
            fp4_fail(FP4_ERR_ARG, "%s: %s; see facts --help", argv[optind - 1], c == ':' ? "needs a value" : "unknown or ambiguous option");
            return error();
        }
    }
    for (int i = optind; i < argc; i++)
        if (!o.digest || !add_result(&o, argv[i]))
            return usage(o.digest ? TOO_MANY : "an argument that is no option");
    if (o.digest)
        return o.n_results ? digest(&o) : usage("--digest needs results");
    if (o.template)
        return o.facts ? render(&o) : usage("--render needs --facts");
    if (!o.n_results || !o.published || !o.out)
        return usage("--results, --published and --out are needed");
    return compute(&o) == FP4_OK ? 0 : error();
}
