/* The programs tta, ptq, train and facts as a user meets them: models of the user's, command lines, what is said when it cannot be done. */
#include <fcntl.h>
#include <jansson.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "fp4lab/model.h"
#include "fp4lab/text.h"
#include "tests/folders.h"
#include "tests/program.h"
#include "tests/support.h"

enum { MAX_ARGS = 24 };

static char folder[FOLDER_MAX];
static void begin(void) { folder_make(folder); }
TestSuite(experiments, .init = begin, .timeout = 120);

/* Runs a program with these arguments, ended by NULL. */
static struct outcome run(const char *program, ...) {
    char *argv[MAX_ARGS] = {(char *)(uintptr_t)program};
    va_list list;
    va_start(list, program);
    for (int i = 1; i + 1 < MAX_ARGS && (argv[i] = va_arg(list, char *)); i++)
        ;
    va_end(list);
    return program_run(argv, scratch_file());
}

/* Exit 2, nothing on standard output, and one line on stderr that holds `message`. */
static void fails(struct outcome o, const char *message) {
    cr_assert_eq(o.status, 2, "%s: exit %d: %s", message, o.status, o.err);
    cr_assert_not_null(strstr(o.err, message), "\"%s\" is not in: %s", message, o.err);
    cr_assert_eq(strchr(o.err, '\n'), o.err + strlen(o.err) - 1, "one line: %s", o.err);
    cr_assert_str_empty(o.out);
    outcome_free(o);
}

static void succeeds(struct outcome o, const char *says) {
    cr_assert_eq(o.status, 0, "%s", o.err);
    cr_assert_not_null(strstr(o.err, says), "\"%s\" is not in: %s", says, o.err);
    outcome_free(o);
}

/* A small Llama over bytes, with its tokenizer where wanted. */
static const char *make_model(const char *name, size_t context, bool tokenizer) {
    const struct fp4_config config = {.arch = FP4_ARCH_LLAMA, .n_vocab = 256, .n_embd = 32, .n_layer = 1, .n_head = 2, .n_kv_head = 1, .head_dim = 16,
                                      .n_ff = 32, .n_ctx = context, .norm_eps = 1e-5f, .rope_theta = 1e4, .bos_id = -1, .eos_id = -1};
    const char *path = folder_file(folder, name);
    struct fp4_model *m;
    must(fp4_model_create(&config, 1, fp4_backend_cpu(), &m));
    must(fp4_model_export(m, path, &(struct fp4_export){.dtype = FP4_F32}, NULL));
    fp4_model_free(m);
    if (tokenizer)
        must(fp4_byte_tokenizer_export(path));
    return path;
}

static long long integer(const json_t *o, const char *key) {
    cr_assert(json_is_integer(json_object_get(o, key)), "%s", key);
    return (long long)json_integer_value(json_object_get(o, key));
}

/* Manifest and trials of one run of ptq on a model of 64 tokens' context. */
static void check_windows(const char *path) {
    char *text;
    size_t n = 0, calibrated = 0;
    must(fp4_read_file(path, 1 << 20, &text, NULL));
    for (char *save, *line = strtok_r(text, "\n", &save); line; line = strtok_r(NULL, "\n", &save), n++) {
        json_t *o = json_loads(line, JSON_REJECT_DUPLICATES, NULL), *config = json_object_get(o, "config"), *outcome = json_object_get(o, "outcome");
        cr_assert_not_null(o);
        if (n == 0) {
            const json_t *windows = json_object_get(json_object_get(o, "settings"), "windows"), *first = json_array_get(windows, 0);
            cr_assert_eq(json_array_size(windows), 1);
            cr_assert_str_eq(json_string_value(json_object_get(first, "item")), "bible");
            cr_assert_eq(integer(first, "context"), 64);
            cr_assert_eq(integer(first, "window"), 64);
            cr_assert_eq(integer(first, "calibration"), 64);
        } else {
            const json_t *calibration = json_object_get(config, "calibration");
            cr_assert_eq(integer(config, "window"), 64);
            cr_assert_eq(integer(outcome, "window"), 64);
            cr_assert_eq(integer(outcome, "n_tokens"), 63 * integer(outcome, "windows"));
            calibrated += calibration && integer(calibration, "length") == 64;
            cr_assert(!calibration || integer(json_object_get(outcome, "calibration"), "n") == 64 * integer(calibration, "sequences"));
        }
        json_decref(o);
    }
    fp4_free(text);
    cr_assert_eq(n, 3);
    cr_assert_eq(calibrated, 1);
}

Test(experiments, windows_are_no_longer_than_the_models_context) {
    need_text("bible");
    const char *model = make_model("short", 64, true), *out = folder_file(folder, "out");
    succeeds(run("ptq", "--model", model, "--profile", "smoke", "--items", "bible", "--arms", "unquantized,gptq_nvfp4", "--seeds", "1", "--out", out, NULL),
             "its context is 64 tokens: windows of bible have 64, not 1024");
    check_windows(folder_file(out, "ptq.jsonl"));
}

Test(experiments, models_are_a_list) {
    need_text("bible");
    char both[2 * FOLDER_MAX + 32];
    snprintf(both, sizeof both, "%s,%s", make_model("a", 64, true), make_model("b", 2048, true));
    const char *out = folder_file(folder, "out");
    succeeds(run("ptq", "--model", both, "--profile", "smoke", "--items", "bible", "--arms", "rtn_nvfp4", "--seeds", "1", "--out", out, NULL), "ptq 2/2 ");
    succeeds(run("tta", "--model", both, "--profile", "smoke", "--items", "3", "--arms", "base", "--out", out, NULL), "tta 2/2 ");
    fails(run("ptq", "--model", ",", "--out", out, NULL), "a name is empty");
    fails(run("ptq", "--model", "a\xff", "--out", out, NULL), "--model a\\xff: results cannot hold");
    fails(run("tta", "--model", "a\nb", "--out", out, NULL), "--model a\\x0ab: results cannot hold");
}

Test(experiments, what_cannot_be_done_is_said_before_the_work) {
    const char *out = folder_file(folder, "out"), *bare = make_model("bare", 64, false), *tiny = make_model("tiny", 16, true);
    fails(run("ptq", "--model", bare, "--profile", "smoke", "--out", out, NULL), "holds no tokenizer");
    fails(run("tta", "--model", tiny, "--profile", "smoke", "--items", "3", "--arms", "base", "--out", out, NULL), "prompt 3 and its answer are");
    fails(run("ptq", "--model", "selftrained", "--items", "bible", "--out", out, NULL), "no trial has this --model, --arms and --items together");
    fails(run("ptq", "--model", "smollm2", "--offline", "--out", out, NULL), "leave out --offline");
    cr_assert_neq(access(out, F_OK), 0, "nothing was begun");
    cr_assert_eq(setenv("FP4LAB_ASSETS", "/proc/none", 1), 0);
    struct outcome o = run("ptq", "--profile", "smoke", "--arms", "unquantized", "--seeds", "1", "--out", out, NULL);
    cr_assert(o.status == 2 && strstr(o.err, "set FP4LAB_ASSETS") && !strstr(o.err, "trained the small model"), "%s", o.err);
    outcome_free(o);
}

Test(experiments, wrong_command_lines_are_one_line) {
    static const char *const programs[] = {"tta", "ptq", "train", "facts"};
    for (size_t i = 0; i < sizeof programs / sizeof *programs; i++) {
        char begins[16];
        snprintf(begins, sizeof begins, "%s: --", programs[i]);
        fails(run(programs[i], "--no-such-option", NULL), begins);
        fails(run(programs[i], "--out", NULL), begins);
        fails(run(programs[i], "--help=yes", NULL), begins);
    }
    fails(run("tta", "--seed", "2147483648", NULL), "--seed 2147483648"); /* a line of results could not hold it */
}

/* As a daemon may start it: what is said must not go into the results, whose file would take the number of standard error. */
Test(experiments, closed_standard_files_do_no_harm) {
    char program[PATH_MAX], command[2 * PATH_MAX], *text;
    program_path("train", program);
    snprintf(command, sizeof command, "'%s' --profile smoke --items generated --arms unigram --out '%s' 2>&-", program, folder);
    cr_assert_eq(system(command), 0);
    must(fp4_read_file(folder_file(folder, "train.jsonl"), 1 << 20, &text, NULL));
    for (char *save, *line = strtok_r(text, "\n", &save); line; line = strtok_r(NULL, "\n", &save)) {
        json_t *o = json_loads(line, JSON_REJECT_DUPLICATES, NULL);
        cr_assert_not_null(o, "%s", line);
        json_decref(o);
    }
    fp4_free(text);
}

Test(experiments, a_full_disk_is_an_error) {
    static const char *const lines[][2] = {{"tta", "--help"}, {"ptq", "--list-arms"}, {"train", "--version"}, {"train", "--dry-run"}, {"facts", "--help"}};
    for (size_t i = 0; i < sizeof lines / sizeof *lines; i++) {
        int full = open("/dev/full", O_WRONLY);
        if (full < 0)
            skip_test("full disk", "no /dev/full");
        char *argv[] = {(char *)(uintptr_t)lines[i][0], (char *)(uintptr_t)lines[i][1], NULL};
        struct outcome o = program_run(argv, full);
        cr_assert_eq(o.status, 2, "%s %s: exit %d", lines[i][0], lines[i][1], o.status);
        cr_assert_not_null(strstr(o.err, "standard output"), "%s", o.err);
        outcome_free(o);
    }
}
