/* Trials one after the other: what is there is skipped, what is done is written at once, a signal stops between two trials. */
#include "experiments/run_internal.h"
#include "lib/base/json.h"

#include <errno.h>
#include <signal.h>
#include <stdatomic.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

/* ---- signals: the first lets the trial in flight finish, the second (or one outside a trial) ends the program ---- */

static const char *program_name;
static volatile sig_atomic_t in_trial;
static atomic_int stop_asked; /* 0: no; else the second of the clock at which it was, plus 1 */
static char message_first[128], message_last[128]; /* one write each */

static void say(const char *text) {
    if (write(STDERR_FILENO, text, strlen(text)) < 0)
        return; /* nothing can be done about it in a signal handler */
}

/* One wish can arrive as several signals at once (to the process and to its group), in several threads: within a second they are one. */
static void on_signal(int number) {
    (void)number;
    struct timespec now;
    int error = errno;
    clock_gettime(CLOCK_MONOTONIC, &now);
    int first = 0, second = (int)now.tv_sec + 1; /* never 0 */
    bool is_first = atomic_compare_exchange_strong(&stop_asked, &first, second);
    if (is_first && in_trial) {
        say(message_first);
    } else if (is_first || second > first + 1) {
        say(message_last);
        _exit(2);
    }
    errno = error;
}

static void on_lost_map(const char *message) {
    dprintf(STDERR_FILENO, "%s: %s\n", program_name, message);
    _exit(2);
}

static void catch_signals(const char *program) {
    snprintf(message_first, sizeof message_first, "\n%s: stopping after the trial in flight; once more to drop it\n", program);
    snprintf(message_last, sizeof message_last, "\n%s: stopped; what is done is kept, the same command continues\n", program);
    program_name = program;
    in_trial = 0;
    atomic_store(&stop_asked, 0);
    struct sigaction action = {.sa_handler = on_signal, .sa_flags = SA_RESTART};
    sigemptyset(&action.sa_mask);
    sigaction(SIGINT, &action, NULL);
    sigaction(SIGTERM, &action, NULL);
    fp4_catch_lost_maps(on_lost_map);
    signal(SIGXFSZ, SIG_IGN); /* a file-size limit is an error of write, not a death */
}

/* ---- the loop ---- */

struct running {
    const struct run_experiment *experiment;
    const struct run_options *options;
    struct run_plan *plan;
    struct run_file file;
    const struct run_trial **todo; /* in the plan's order */
    size_t n, n_done;
    double seconds; /* estimate of all of them */
};

static const struct run_entry *entry_of(const struct run_trial *t) {
    return (const struct run_entry *)(const void *)((const char *)t - offsetof(struct run_entry, trial));
}

static fp4_status collect(struct running *r) {
    FP4_TRY(FP4_NEW(r->todo, r->plan->n));
    for (size_t i = 0; i < r->plan->n; i++) {
        const struct run_entry *e = &r->plan->entries[i];
        if (e->done || !run_in_shard(r->options, i))
            continue;
        r->todo[r->n++] = &e->trial;
        r->seconds += e->trial.estimate;
    }
    return FP4_OK;
}

static fp4_status write_manifest(struct running *r) {
    json_t *line = NULL;
    fp4_status status = run_manifest(r->plan, r->options, &line);
    if (status == FP4_OK)
        status = run_file_append(&r->file, line);
    json_decref(line);
    return status;
}

static fp4_status run_trial_line(struct running *r, const struct run_trial *t, void *state) {
    json_t *line = NULL, *outcome = json_object(), *clock = json_object();
    double start = fp4_now();
    fp4_status status = outcome && clock ? run_plan_line(r->plan, entry_of(t), &line) : fp4_fail(FP4_ERR_MEMORY, "no memory for a trial");
    if (status == FP4_OK)
        status = r->experiment->trial(state, t, outcome, clock);
    if (status == FP4_OK && (json_object_set_new(clock, "seconds", json_real(fp4_now() - start)) != 0 ||
                             json_object_set(line, "outcome", outcome) != 0 || json_object_set(line, "time", clock) != 0))
        status = fp4_fail(FP4_ERR_MEMORY, "no memory for a trial");
    if (status == FP4_OK)
        status = json_whole("a trial"); /* fields are set by the dozen, and a line without one of them would be wrong for good */
    if (status == FP4_OK)
        status = run_file_append(&r->file, line);
    json_decref(line);
    json_decref(outcome);
    json_decref(clock);
    return status;
}

static void report_trial(const struct running *r, const struct run_trial *t, size_t i, double seconds, bool terminal) {
    char model[1024];
    if (!terminal)
        fprintf(stderr, "%s %zu/%zu %s %s item %s seed %d replicate %d: %.2f s\n", r->experiment->name, i + 1, r->n, fp4_escape_text(t->model, model, sizeof model), t->arm, t->item,
                t->seed, t->replicate, seconds);
}

static fp4_status run_all(struct running *r, void *state) {
    struct fp4_progress progress;
    fp4_progress_begin(&progress, r->experiment->name, r->seconds);
    bool terminal = progress.on;
    double done = 0;
    fp4_status status = FP4_OK;
    for (size_t i = 0; status == FP4_OK && i < r->n && !atomic_load(&stop_asked); i++) {
        double start = fp4_now();
        in_trial = 1;
        status = run_trial_line(r, r->todo[i], state);
        in_trial = 0;
        if (status == FP4_OK) {
            report_trial(r, r->todo[i], i, fp4_now() - start, terminal);
            r->n_done++;
        }
        done += r->todo[i]->estimate;
        fp4_progress_update(&progress, done);
    }
    fp4_progress_end(&progress);
    return status;
}

static fp4_status run_rest(struct running *r, void *state) {
    FP4_TRY(run_file_open(&r->file, r->options));
    FP4_TRY(run_file_scan(r->options, r->plan));
    FP4_TRY(collect(r));
    FP4_TRY(run_plan_fits(r->plan, r->options));
    char text[32];
    run_duration(r->seconds, text);
    if (r->n == 0) {
        char out[1024];
        fprintf(stderr, "%s: nothing left to run; results are in %s%s\n", r->experiment->name, fp4_escape_text(r->options->out, out, sizeof out),
                r->options->save ? "; --save keeps what a run makes, and this one made nothing: name another --out" : "");
        return FP4_OK;
    }
    fprintf(stderr, "%s: %zu trial%s to run, about %s\n", r->experiment->name, r->n, r->n == 1 ? "" : "s", text);
    if (r->experiment->prepare)
        FP4_TRY(r->experiment->prepare(state, r->todo[0]));
    FP4_TRY(write_manifest(r));
    return run_all(r, state);
}

static fp4_status dry_run(struct running *r) {
    FP4_TRY(run_file_scan(r->options, r->plan));
    run_plan_print(r->plan, r->options, stdout);
    return run_plan_fits(r->plan, r->options);
}

/* A command that asks for nothing that there is has not done what was asked. */
static fp4_status some_trials(const struct run_plan *plan) {
    const json_t *missing = json_array_get(plan->missing, 0);
    if (plan->n)
        return FP4_OK;
    return missing ? fp4_fail(FP4_ERR_ARG, "no trial is left without %s: %s", json_string_value(json_object_get(missing, "name")),
                              json_string_value(json_object_get(missing, "why")))
                   : fp4_fail(FP4_ERR_ARG, "no trial has this --model, --arms and --items together; --dry-run without one of them lists what there is");
}

/* Output that was not written (a full disk, say) must not look like success. */
static bool written(const char *program) {
    if (fflush(stdout) == 0 && !ferror(stdout))
        return true;
    fprintf(stderr, "%s: standard output: cannot write; look for a full disk or a closed pipe\n", program);
    return false;
}

static void warn(void *context, const char *message) {
    fprintf(stderr, "%s: warning: %s\n", (const char *)context, message);
}

int run_main(const struct run_experiment *e, int argc, char **argv) {
    struct run_options options;
    char folder[64];
    fp4_hold_standard_files();
    enum run_action action = run_options_parse(e, argc, argv, &options, folder);
    if (action != RUN_GO)
        return action == RUN_EXIT_OK && written(e->name) ? 0 : 2;
    json_watch();
    catch_signals(e->name);
    fp4_set_warning_handler(warn, (void *)(uintptr_t)e->name);
    fp4_set_threads(options.threads);
    struct run_plan plan;
    void *state = NULL;
    struct running r = {.experiment = e, .options = &options, .plan = &plan, .file.fd = -1};
    fp4_status status = run_plan_begin(&plan, e->name);
    if (status == FP4_OK)
        status = e->plan(&options, &plan, &state);
    if (status == FP4_OK)
        status = some_trials(&plan);
    if (status == FP4_OK)
        status = options.dry_run ? dry_run(&r) : run_rest(&r, state);
    if (status != FP4_OK)
        fprintf(stderr, "%s: %s\n", e->name, fp4_last_error());
    else if (r.n_done < r.n)
        fprintf(stderr, "%s: stopped; what is done is kept, the same command continues\n", e->name);
    run_file_close(&r.file);
    fp4_free(r.todo);
    if (state)
        e->close(state);
    run_plan_end(&plan);
    return status == FP4_OK && r.n_done == r.n && written(e->name) ? 0 : 2;
}
