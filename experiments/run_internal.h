/* experiments/run_internal.h: the parts of run.c among themselves. */
#ifndef FP4LAB_EXPERIMENTS_RUN_INTERNAL_H
#define FP4LAB_EXPERIMENTS_RUN_INTERNAL_H

#include "experiments/run.h"

/* ---- command line: run_options.c ---- */
enum run_action { RUN_GO, RUN_EXIT_OK, RUN_EXIT_ERROR };
/* Fills o; prints help, version, arms, or what is wrong. o's strings point into argv or into `folder`. */
enum run_action run_options_parse(const struct run_experiment *e, int argc, char **argv, struct run_options *o, char folder[64]);
const char *run_profile_name(enum fp4_profile profile);

/* ---- plan: run_plan.c ---- */
struct run_entry {
    struct run_trial trial; /* strings and config are owned by the plan */
    char key[65];
    bool done;              /* some results file of OUT has it */
};
struct run_plan {
    const char *experiment;
    struct run_entry *entries;
    size_t n, room;
    json_t *keys;           /* object: key → index of its entry */
    json_t *inputs, *missing, *settings;
    struct run_needs {
        char model[256];
        struct fp4_memory memory;
    } *needs;
    size_t n_needs;
};
fp4_status run_plan_begin(struct run_plan *plan, const char *experiment);
void run_plan_end(struct run_plan *plan);
/* A trial's line without outcome and time. */
fp4_status run_plan_line(const struct run_plan *plan, const struct run_entry *e, json_t **line);
/* Prints the plan, one line a trial, and the estimate. */
void run_plan_print(const struct run_plan *plan, const struct run_options *o, FILE *out);
/* FP4_ERR_MEMORY when a model that an entry of this shard is left for does not fit. */
fp4_status run_plan_fits(const struct run_plan *plan, const struct run_options *o);
/* True when entry i belongs to the run's shard. */
bool run_in_shard(const struct run_options *o, size_t i);
/* "3 min 20 s" into text. */
void run_duration(double seconds, char text[32]);

/* ---- results file: run_file.c ---- */
struct run_file {
    char path[4096];
    int fd;
    long long end; /* bytes of whole lines */
};
/* Marks the plan's entries that some results file of the experiment in OUT has. A missing folder has none. */
fp4_status run_file_scan(const struct run_options *o, struct run_plan *plan);
/* Creates OUT and the file, locks it, cuts a torn last line. */
fp4_status run_file_open(struct run_file *f, const struct run_options *o);
/* Appends one line: whole and on the disk, or not at all. */
fp4_status run_file_append(struct run_file *f, json_t *line);
void run_file_close(struct run_file *f);

/* ---- manifest: run_machine.c ---- */
fp4_status run_manifest(const struct run_plan *plan, const struct run_options *o, json_t **line);

#endif
