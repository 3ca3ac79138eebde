/* Command lines: words separated by newlines, the first of them the program. Only parsed: nothing is opened, nothing runs. What would be
 * printed goes nowhere. */
#include <string.h>

#include "experiments/run_internal.h"
#include "tests/fuzz/fuzz.h"
#include "tools/tool.h"

enum { MAX_WORDS = 64 };

static void list_arms(FILE *out) { fputs("base\n", out); }

static void experiment_line(int argc, char **argv) {
    static const struct run_experiment e = {.name = "tta", .summary = "fuzzed", .list_arms = list_arms};
    static const char *const known[] = {"base", "tta", "tta_fp4"};
    struct run_options o;
    char folder[64];
    if (run_options_parse(&e, argc, argv, &o, folder) != RUN_GO)
        return;
    fuzz_promise(o.shard >= 1 && o.shard <= o.n_shards && o.out && *o.out && o.threads >= 0 && o.seeds >= 0);
    for (size_t i = 0; i < sizeof known / sizeof *known; i++)
        if (o.arms && run_selected(o.arms, known[i]))
            fuzz_promise(strstr(o.arms, known[i]) != NULL);
    run_check("arm", o.arms, known, sizeof known / sizeof *known);
}

static void tool_command(int argc, char **argv) {
    struct tool_input in = {0};
    size_t window = 0;
    double temperature = 0;
    bool done, plain = false;
    const struct tool_option options[] = {TOOL_MODEL_OPTIONS(in),
                                          {"window", "N", TOOL_COUNT, &window, "a count"},
                                          {"temperature", "T", TOOL_NUMBER, &temperature, "a number"},
                                          {"plain", NULL, TOOL_FLAG, &plain, "a flag"}};
    struct tool_line line = {.name = "fuzzed", .positional = "FILE", .min_args = 0, .max_args = 2, .options = options,
                             .n_options = sizeof options / sizeof *options, .summary = "fuzzed", .lists_formats = true};
    if (tool_parse(&line, argc, argv, &done) != FP4_OK)
        return;
    fuzz_promise(done || line.n_args <= 2);
    fuzz_promise(window <= INT32_MAX && temperature >= 0);
}

void fuzz_command(const uint8_t *data, size_t size) {
    static FILE *nowhere;
    char *words, *argv[MAX_WORDS + 1];
    int argc = 0;
    if (!nowhere)
        nowhere = fopen("/dev/null", "w");
    if (!nowhere || fp4_alloc(size + 1, 1, (void **)&words) != FP4_OK)
        return;
    memcpy(words, data, size);
    for (char *word = words; word && argc < MAX_WORDS;) {
        argv[argc++] = word;
        word = strchr(word, '\n');
        if (word)
            *word++ = 0;
    }
    argv[argc] = NULL;
    /* With glibc these are ordinary variables. */
    FILE *out = stdout, *error = stderr;
    stdout = stderr = nowhere;
    int threads = fp4_threads();
    if (strcmp(argv[0], "fp4lab") == 0)
        tool_command(argc, argv);
    else
        experiment_line(argc, argv);
    fp4_set_threads(threads);
    stdout = out;
    stderr = error;
    fp4_free(words);
}
