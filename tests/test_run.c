/* The runner: trials, resume, shards, kills, faults. A toy experiment runs in child processes. */
#include "experiments/run_internal.h"
#include "tests/folders.h"
#include "tests/support.h"

#include "experiments/run.h"
#include "stats/results.h"

#include <errno.h>
#include <math.h>
#include <fcntl.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

/* ---- the toy: its outcome is a sum over addressed random numbers, cut by shape ---- */

enum { TOY_ITEMS = 12, TOY_PARTS = 40 };
static const char *const toy_arms[] = {"plain", "squared"};
static int toy_pause_us, toy_pauses = 1; /* how long a trial takes */
static size_t toy_needs;                 /* bytes of memory; 0: not said */
static const char *toy_checkpoint;       /* opened while it plans; NULL: none */

static void toy_list(FILE *out) { fprintf(out, "plain\nsquared\n"); }

static fp4_status toy_plan(struct run_options *o, struct run_plan *plan, void **state) {
    FP4_TRY(run_check("arm", o->arms, toy_arms, 2));
    FP4_TRY(run_input(plan, "nothing", "made here", "CC0", "00"));
    for (int item = 1; item <= TOY_ITEMS; item++)
        for (int arm = 0; arm < 2; arm++) {
            char name[12];
            snprintf(name, sizeof name, "%d", item);
            if (!run_selected(o->arms, toy_arms[arm]) || !run_selected(o->items, name))
                continue;
            struct run_trial t = {.model = "toy", .arm = toy_arms[arm], .item = name, .seed = (int)o->seed, .estimate = 1e-3};
            t.config = json_pack("{s:i, s:i}", "parts", TOY_PARTS, "base_seed", (int)o->seed);
            FP4_TRY(run_add(plan, &t));
        }
    *state = plan;
    struct fp4_model *m = NULL;
    if (toy_checkpoint)
        FP4_TRY(fp4_model_open(toy_checkpoint, fp4_backend_cpu(), &o->load, &m));
    fp4_model_free(m);
    return toy_needs ? run_memory(plan, "toy", &(struct fp4_memory){.weights_in = FP4_WEIGHTS_MEMORY, .total = toy_needs, .available = 1 << 30}) : FP4_OK;
}

struct toy_sum {
    uint32_t seed, item;
    bool squared;
    double part[TOY_PARTS];
};

static void toy_part(void *context, size_t task) {
    struct toy_sum *s = context;
    struct fp4_random r = {.seed = s->seed, .stream = FP4_STREAM_TEST, .step = s->item};
    float u[100];
    fp4_random_uniform(&r, task * 100, 100, u);
    for (int i = 0; i < 100; i++)
        s->part[task] += s->squared ? (double)u[i] * (double)u[i] : (double)u[i];
}

static fp4_status toy_trial(void *state, const struct run_trial *t, json_t *outcome, json_t *time_object) {
    (void)state;
    for (int i = 0; toy_pause_us && i < toy_pauses; i++) {
        struct timespec left = {0, toy_pause_us * 1000L};
        while (nanosleep(&left, &left) != 0 && errno == EINTR) /* a signal must not make the trial shorter */
            ;
    }
    struct toy_sum s = {.seed = (uint32_t)t->seed, .item = (uint32_t)atoi(t->item), .squared = t->arm[0] == 's'};
    fp4_parallel_for(TOY_PARTS, toy_part, &s);
    double sum = 0;
    for (int i = 0; i < TOY_PARTS; i++)
        sum += s.part[i];
    json_object_set_new(outcome, "sum", json_real(sum));
    json_object_set_new(time_object, "pause", json_integer(toy_pause_us));
    return FP4_OK;
}

static void toy_close(void *state) { (void)state; }

static const struct run_experiment toy = {
    .name = "toy", .summary = "A toy.", .models = "the toy", .list_arms = toy_list, .plan = toy_plan, .trial = toy_trial, .close = toy_close};

/* ---- children ---- */

struct child_setup {
    rlim_t file_limit; /* 0: none */
    const char *log;   /* stderr and stdout go there; NULL: /dev/null */
};

/* arguments: blank-separated. */
static pid_t start(const char *arguments, const struct child_setup *setup) {
    pid_t pid = fork();
    cr_assert_geq(pid, 0);
    if (pid)
        return pid;
    char text[2048], *argv[40] = {"toy"};
    int argc = 1;
    snprintf(text, sizeof text, "%s", arguments);
    for (char *save, *word = strtok_r(text, " ", &save); word; word = strtok_r(NULL, " ", &save))
        argv[argc++] = word;
    int fd = open(setup && setup->log ? setup->log : "/dev/null", O_WRONLY | O_CREAT | O_TRUNC, 0666);
    dup2(fd, STDOUT_FILENO);
    dup2(fd, STDERR_FILENO);
    if (setup && setup->file_limit)
        setrlimit(RLIMIT_FSIZE, &(struct rlimit){setup->file_limit, setup->file_limit});
    int rc = run_main(&toy, argc, argv);
    fflush(NULL);
    _exit(rc);
}

static int finish(pid_t pid) {
    int status;
    cr_assert_eq(waitpid(pid, &status, 0), pid);
    return WIFEXITED(status) ? WEXITSTATUS(status) : 1000 + WTERMSIG(status);
}

static int run_toy(const char *arguments) { return finish(start(arguments, NULL)); }

/* Runs, and returns what it said (static). */
static const char *said(const char *arguments, int expected, rlim_t file_limit) {
    static char text[8192];
    char log[] = "/tmp/fp4lab-log-XXXXXX", *got;
    close(mkstemp(log));
    struct child_setup setup = {file_limit, log};
    int rc = finish(start(arguments, &setup));
    size_t n;
    must(fp4_read_file(log, sizeof text - 1, &got, &n));
    memcpy(text, got, n + 1);
    fp4_free(got);
    unlink(log);
    cr_assert_eq(rc, expected, "exit %d: %s", rc, text);
    return text;
}

static char folder[FOLDER_MAX];
static void make_folder(void) { folder_make(folder); }
TestSuite(run, .init = make_folder, .timeout = 120);

static const char *out_arguments(const char *sub, const char *rest) {
    static char texts[4][2048];
    static unsigned int next;
    char *t = texts[next++ % 4];
    snprintf(t, sizeof texts[0], "--out %s/%s %s", folder, sub, rest);
    return t;
}

static size_t load_digest(const char *path, char hex[65]) {
    struct results r;
    must(results_load(&path, 1, &r));
    must(results_digest(&r, hex));
    size_t n = json_array_size(r.trials);
    results_free(&r);
    return n;
}

/* The digest of an undisturbed run: what all others are held to. */
static void expect_same(const char *path) {
    char want[65], got[65];
    if (access(folder_file(folder, "reference"), F_OK) != 0)
        cr_assert_eq(run_toy(out_arguments("reference", "--threads 2")), 0);
    cr_assert_eq(load_digest(folder_file(folder, "reference"), want), 2 * TOY_ITEMS);
    cr_assert_eq(load_digest(path, got), 2 * TOY_ITEMS);
    cr_assert_str_eq(got, want);
}

/* ---- tests ---- */

Test(run, digest_is_equal_for_any_number_of_threads) {
    static const char *const counts[] = {"1", "2", "3", "7"};
    for (int i = 0; i < 4; i++) {
        char arguments[64];
        snprintf(arguments, sizeof arguments, "--threads %s", counts[i]);
        cr_assert_eq(run_toy(out_arguments(counts[i], arguments)), 0);
        expect_same(folder_file(folder, counts[i]));
    }
}

Test(run, digest_is_equal_for_one_shard_or_three) {
    cr_assert_eq(run_toy(out_arguments("s", "--shard 2/3")), 0);
    cr_assert_eq(run_toy(out_arguments("s", "--shard 1/3")), 0);
    cr_assert_eq(run_toy(out_arguments("s", "--shard 3/3")), 0);
    expect_same(folder_file(folder, "s"));
    cr_assert_not_null(strstr(said(out_arguments("s", ""), 0, 0), "nothing left"), "a whole run after the shards has nothing to do");
    expect_same(folder_file(folder, "s"));
}

Test(run, digest_tells_other_results_apart) {
    char a[65], b[65];
    cr_assert_eq(run_toy(out_arguments("a", "")), 0);
    cr_assert_eq(run_toy(out_arguments("b", "--seed 2")), 0);
    load_digest(folder_file(folder, "a"), a);
    load_digest(folder_file(folder, "b"), b);
    cr_assert_str_neq(a, b);
}

Test(run, an_interrupted_run_goes_on) {
    toy_pause_us = 3000;
    pid_t pid = start(out_arguments("i", "--threads 1"), NULL);
    nanosleep(&(struct timespec){0, 60000000}, NULL);
    kill(pid, SIGINT);
    int rc = finish(pid);
    cr_assert(rc == 2 || rc == 0, "exit %d", rc);
    toy_pause_us = 0;
    cr_assert_eq(run_toy(out_arguments("i", "--threads 3")), 0);
    expect_same(folder_file(folder, "i"));
}

/* Signals that arrive together are one wish: the trial in flight is finished. A later one drops it. */
Test(run, a_first_signal_finishes_the_trial_and_a_later_one_drops_it) {
    for (int later = 0; later < 2; later++) {
        const char *sub = later ? "sig1" : "sig0";
        toy_pause_us = 900000;
        toy_pauses = 5;
        pid_t pid = start(out_arguments(sub, "--items 1"), NULL);
        struct stat info = {0}; /* a manifest in the file: the trial of 4.5 s has begun, or is about to */
        for (int i = 0; (stat(folder_file(folder, later ? "sig1/toy.jsonl" : "sig0/toy.jsonl"), &info) != 0 || info.st_size == 0) && i < 2000; i++)
            nanosleep(&(struct timespec){0, 10000000}, NULL);
        nanosleep(&(struct timespec){0, 400000000}, NULL);
        for (int i = 0; i < 4; i++)
            kill(pid, SIGTERM);
        if (later) {
            nanosleep(&(struct timespec){2, 100000000}, NULL);
            kill(pid, SIGTERM);
        }
        cr_assert_eq(finish(pid), 2);
        char hex[65];
        cr_assert_eq(load_digest(folder_file(folder, sub), hex), later ? 0 : 1);
    }
}

/* Kills at moments that an addressed generator spreads over the run; with each start the run gets further. */
Test(run, a_killed_run_goes_on) {
    enum { KILLS = 12 };
    struct fp4_random r = {.seed = 5, .stream = FP4_STREAM_TEST};
    float u[KILLS];
    fp4_random_uniform(&r, 0, KILLS, u);
    toy_pause_us = 2000;
    int killed = 0;
    for (int i = 0; i < KILLS; i++) {
        pid_t pid = start(out_arguments("k", "--threads 2"), NULL);
        nanosleep(&(struct timespec){0, (long)(5e6f + 40e6f * u[i])}, NULL);
        kill(pid, SIGKILL);
        killed += finish(pid) == 1000 + SIGKILL;
    }
    cr_assert_gt(killed, 0, "no run was killed: the test shows nothing");
    cr_assert_eq(run_toy(out_arguments("k", "")), 0);
    expect_same(folder_file(folder, "k"));
}

static void append_text(const char *path, const char *text) {
    FILE *f = fopen(path, "a");
    cr_assert_not_null(f);
    fputs(text, f);
    fclose(f);
}

Test(run, a_torn_last_line_is_cut_and_run_again) {
    cr_assert_eq(run_toy(out_arguments("t", "--items 1,2,3,4,5")), 0);
    const char *path = folder_file(folder, "t/toy.jsonl");
    struct stat info;
    cr_assert_eq(stat(path, &info), 0);
    cr_assert_eq(truncate(path, info.st_size - 20), 0);
    cr_assert_eq(run_toy(out_arguments("t", "")), 0);
    expect_same(folder_file(folder, "t"));
}

Test(run, a_full_disk_loses_nothing) {
    cr_assert_eq(run_toy(out_arguments("f", "--items 1")), 0);
    struct stat info;
    cr_assert_eq(stat(folder_file(folder, "f/toy.jsonl"), &info), 0);
    const char *text = said(out_arguments("f", ""), 2, (rlim_t)info.st_size + 3000);
    cr_assert_not_null(strstr(text, "toy.jsonl: cannot write"), "%s", text);
    char hex[65];
    size_t n = load_digest(folder_file(folder, "f"), hex);
    cr_assert(n >= 2 && n < 2 * TOY_ITEMS, "%zu trials", n);
    struct results r;
    const char *path = folder_file(folder, "f");
    must(results_load(&path, 1, &r));
    cr_assert_eq(r.torn, 0, "the part that fitted must be cut off");
    results_free(&r);
    cr_assert_eq(run_toy(out_arguments("f", "")), 0);
    expect_same(folder_file(folder, "f"));
}

Test(run, two_runs_do_not_write_one_file) {
    must(fp4_make_dirs(folder_file(folder, "l")));
    int fd = open(folder_file(folder, "l/toy.jsonl"), O_RDWR | O_CREAT, 0666);
    cr_assert_eq(flock(fd, LOCK_EX), 0);
    cr_assert_not_null(strstr(said(out_arguments("l", ""), 2, 0), "another run is writing"));
    cr_assert_not_null(strstr(said(out_arguments("l", "--shard 1/3"), 2, 0), "divided differently"));
    close(fd);
    cr_assert_eq(run_toy(out_arguments("l", "")), 0);
    expect_same(folder_file(folder, "l"));
}

Test(run, faults_are_one_line_that_names_the_way_out) {
    must(fp4_write_file(folder_file(folder, "file"), "x", 1));
    static const struct {
        const char *arguments, *says;
    } cases[] = {{"--out %s/file", "not a folder"},        {"--arms none --out %s/a", "known: plain, squared"},
                 {"--profile big --out %s/a", "full"},      {"--shard 4/3 --out %s/a", "1 ≤ I ≤ N"},
                 {"--seeds many --out %s/a", "--seeds"},    {"--no-such-option", "--help"},
                 {"stray --out %s/a", "stray"},             {"--threads 0 --out %s/a", "--threads"},
                 {"--out /proc/fp4lab", "cannot create"}};
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        char arguments[256];
        snprintf(arguments, sizeof arguments, cases[i].arguments, folder);
        const char *text = said(arguments, 2, 0);
        cr_assert_not_null(strstr(text, cases[i].says), "%s: %s", arguments, text);
    }
}

Test(run, results_of_another_schema_are_left_alone) {
    static const struct {
        const char *line, *says;
    } cases[] = {
        {"{\"type\":\"trial\",\"schema\":2,\"experiment\":\"toy\"}\n", "another schema"},
        {"not json\n", "not JSON"},
        {"{\"type\":\"trial\",\"schema\":1,\"experiment\":\"toy\"}\n", "without key"},
        {"{\"type\":\"trial\",\"schema\":1,\"experiment\":\"toy\",\"key\":\"00\",\"model\":\"a\",\"arm\":\"b\",\"item\":\"c\",\"seed\":1,"
         "\"replicate\":0,\"config\":{},\"outcome\":{},\"time\":{}}\n",
         "the line was changed"},
        {"[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[1]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]\n", "nested too deeply"},
        {"{\"a\":1,\"a\":2}\n", "duplicate"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        char sub[16], file[32], *before, *after;
        snprintf(sub, sizeof sub, "x%zu", i);
        snprintf(file, sizeof file, "%s/toy.jsonl", sub);
        cr_assert_eq(run_toy(out_arguments(sub, "--items 1")), 0);
        append_text(folder_file(folder, file), cases[i].line);
        must(fp4_read_file(folder_file(folder, file), 1 << 20, &before, NULL));
        const char *text = said(out_arguments(sub, ""), 2, 0);
        cr_assert_not_null(strstr(text, cases[i].says), "%s", text);
        cr_assert_not_null(strstr(text, "toy.jsonl:4: "), "file and line: %s", text);
        must(fp4_read_file(folder_file(folder, file), 1 << 20, &after, NULL));
        cr_assert_str_eq(before, after, "the file must not be touched");
        fp4_free(before);
        fp4_free(after);
    }
}

Test(run, a_trial_twice_is_an_error) {
    cr_assert_eq(run_toy(out_arguments("d", "")), 0);
    const char *paths[] = {folder_file(folder, "d"), folder_file(folder, "d/toy.jsonl")};
    struct results r;
    cr_assert_eq(results_load(paths, 2, &r), FP4_ERR_FORMAT);
    cr_assert_not_null(strstr(fp4_last_error(), "twice"));
}

Test(run, a_dry_run_writes_nothing) {
    const char *text = said(out_arguments("dry", "--dry-run --arms plain"), 0, 0);
    cr_assert_not_null(strstr(text, "# 12 trials, 0 of them there"), "%s", text);
    cr_assert_neq(access(folder_file(folder, "dry"), F_OK), 0);
    cr_assert_eq(run_toy(out_arguments("dry", "--items 7")), 0);
    text = said(out_arguments("dry", "--dry-run --arms plain"), 0, 0);
    cr_assert_not_null(strstr(text, "# 12 trials, 1 of them there"), "%s", text);
}

Test(run, what_does_not_fit_is_not_begun) {
    toy_needs = (size_t)5 << 30;
    const char *text = said(out_arguments("m", "--dry-run"), 2, 0);
    cr_assert(strstr(text, "# memory: toy: 5.00 GiB") && strstr(text, "1.00 GiB available") && strstr(text, "toy: toy: needs 5.00 GiB"), "%s", text);
    text = said(out_arguments("m", ""), 2, 0);
    cr_assert(strstr(text, "--ignore-memory") && !strstr(text, "24/24"), "%s", text);
    toy_needs = (size_t)1 << 20;
    cr_assert_eq(run_toy(out_arguments("m", "--items 1")), 0);
    toy_needs = (size_t)5 << 30;
    cr_assert_eq(run_toy(out_arguments("m", "--items 1")), 0, "nothing is left to run");
    cr_assert_eq(run_toy(out_arguments("m", "")), 2);
    cr_assert_eq(run_toy(out_arguments("m", "--ignore-memory")), 0);
    toy_needs = 0;
    expect_same(folder_file(folder, "m"));
}

Test(run, a_checkpoint_with_nan_stops_it) {
    const struct fp4_config config = {.arch = FP4_ARCH_LLAMA, .n_vocab = 20, .n_embd = 8, .n_layer = 1, .n_head = 2, .n_kv_head = 1, .head_dim = 4,
                                      .n_ff = 8, .n_ctx = 16, .norm_eps = 1e-5f, .rope_theta = 1e4, .bos_id = -1, .eos_id = -1};
    struct fp4_model *m;
    must(fp4_model_create(&config, 1, fp4_backend_cpu(), &m));
    fp4_model_find_param(m, "model.norm.weight")->data[3] = NAN;
    must(fp4_model_save(m, folder_file(folder, "nan")));
    fp4_model_free(m);
    toy_checkpoint = folder_file(folder, "nan");
    const char *text = said(out_arguments("n", ""), 2, 0);
    cr_assert(strstr(text, "toy: ") && strstr(text, "tensor model.norm.weight: 1 of 8 values are NaN or infinite; --allow-nonfinite"), "%s", text);
    text = said(out_arguments("n", "--items 1 --allow-nonfinite"), 0, 0);
    cr_assert(strstr(text, "toy: warning: ") && strstr(text, "tensor model.norm.weight: 1 of 8 values are NaN or infinite\n"), "%s", text);
}

Test(run, help_version_and_arms) {
    cr_assert_not_null(strstr(said("--help", 0, 0), "--shard I/N"));
    cr_assert_not_null(strstr(said("--version", 0, 0), FP4_VERSION));
    cr_assert_str_eq(said("--list-arms", 0, 0), "plain\nsquared\n");
}

/* A manifest precedes the first trial of each run, and a run with nothing to do writes none. */
Test(run, manifests_precede_trials) {
    cr_assert_eq(run_toy(out_arguments("m", "--items 1,2")), 0);
    cr_assert_eq(run_toy(out_arguments("m", "--items 1,2,3 --threads 2")), 0);
    cr_assert_eq(run_toy(out_arguments("m", "--items 1,2,3")), 0);
    char *text;
    must(fp4_read_file(folder_file(folder, "m/toy.jsonl"), 1 << 20, &text, NULL));
    char kinds[32] = "";
    for (char *save, *line = strtok_r(text, "\n", &save); line; line = strtok_r(NULL, "\n", &save))
        strcat(kinds, strstr(line, "\"type\":\"manifest\"") ? "m" : "t");
    cr_assert_str_eq(kinds, "mttttmtt");
    fp4_free(text);
    const char *path = folder_file(folder, "m");
    struct results r;
    must(results_load(&path, 1, &r));
    json_t *machine = json_object_get(json_array_get(r.manifests, 1), "machine");
    cr_assert_eq(json_integer_value(json_object_get(machine, "threads")), 2);
    cr_assert_str_eq(json_string_value(json_object_get(machine, "version")), FP4_VERSION);
    cr_assert_gt(strlen(json_string_value(json_object_get(machine, "blas_core"))), 0);
    results_free(&r);
}

Test(run, every_trial_is_in_one_shard) {
    for (int n = 1; n <= 7; n++)
        for (size_t i = 0; i < 30; i++) {
            int shards = 0;
            for (int shard = 1; shard <= n; shard++)
                shards += run_in_shard(&(struct run_options){.shard = shard, .n_shards = n}, i);
            cr_assert_eq(shards, 1, "trial %zu of %d shards", i, n);
        }
}
