/* experiments/run.h: what the three experiments share: command line, trials, manifest, results file, resume, shards.
 *
 * A results file is append-only JSON Lines, schema 1, named OUT/<experiment>.jsonl (or .shard-i-of-n.jsonl). Two kinds of line:
 *
 *  {"type":"manifest","schema":1,"experiment":"tta","profile":"default","seed":1,"shard":"1/1","inputs":[{"name","source","licence","sha256"}...],
 *   "missing":[{"name","why"}...],"settings":{...},"machine":{"cpu","cores","threads","blas_core","rung","compiler","memory_bytes","git","version","date"}}
 *  {"type":"trial","schema":1,"experiment":"tta","key":"<sha256>","model":"smollm2","arm":"tta_fp4","item":"3","seed":0,"replicate":0,
 *   "config":{everything that determines the outcome},"outcome":{...},"time":{"seconds":...,...}}
 *
 * key = SHA-256 of the canonical JSON (sorted keys) of {experiment, model, arm, item, seed, replicate, config}. Everything that depends on the machine or
 * the clock is inside "time" or "machine", and nothing else is: `facts --digest` hashes the rest. A manifest line precedes the first trial
 * of each run. A torn last line (a killed run) is cut off on the next start. A line is written by one write(2) and flushed.
 *
 * A trial whose outcome could not be computed is not written; the run stops with exit 2. */
#ifndef FP4LAB_EXPERIMENTS_RUN_H
#define FP4LAB_EXPERIMENTS_RUN_H

#include <jansson.h>

#include "fp4lab/weights.h"

enum fp4_profile { FP4_PROFILE_SMOKE, FP4_PROFILE_DEFAULT, FP4_PROFILE_FULL };

struct run_plan;

struct run_options {
    const char *program;       /* "tta" */
    const char *model;         /* --model: comma list, NULL = the experiment's own default set */
    const char *arms, *items;  /* comma lists or NULL = the profile's */
    int seeds;                 /* 0 = the profile's */
    enum fp4_profile profile;
    int shard, n_shards;       /* --shard 1/3 → 1, 3 */
    int threads;               /* 0: all */
    const char *out;           /* folder */
    uint32_t seed;             /* --seed: base seed */
    const char *save;          /* --save: folder for what trials make, NULL: nothing is kept */
    bool dry_run, list_arms, offline;
    struct fp4_load load;      /* --weights-in, --ignore-memory, --allow-nonfinite; the use is the experiment's */
};

/* One trial to be run. `config` is owned by the plan. */
struct run_trial {
    const char *model, *arm, *item;
    int seed, replicate;
    json_t *config;
    double estimate;           /* seconds, for --dry-run and the progress bar */
    void *payload;             /* the experiment's own */
};

/* The experiment, handed to run_main. */
struct run_experiment {
    const char *name, *summary;
    const char *models;        /* what --model takes, for --help */
    const char *saves;         /* what --save keeps, for --help; NULL: there is no --save */
    const char *notes;         /* the end of --help; NULL: none */
    /* Prints one line an arm: name and what it is. */
    void (*list_arms)(FILE *out);
    /* Checks arms and items, loads what is needed to enumerate, calls run_add for every trial in a fixed order. */
    fp4_status (*plan)(struct run_options *o, struct run_plan *plan, void **state);
    /* What only a run needs (loading or training a model); may be NULL. Called once, after the plan, before the manifest is written, and only
     * when a trial is left to run: never for --dry-run or for a run that is complete. */
    fp4_status (*prepare)(void *state, const struct run_trial *first);
    /* Runs one trial: fills outcome (a JSON object, no clock in it) and time (a JSON object, beside the trial's seconds). */
    fp4_status (*trial)(void *state, const struct run_trial *t, json_t *outcome, json_t *time);
    void (*close)(void *state);
};

/* Everything is copied; config's reference is stolen. */
fp4_status run_add(struct run_plan *plan, const struct run_trial *t);
/* Inputs and settings for the manifest; `why` for an input that is missing. */
fp4_status run_input(struct run_plan *plan, const char *name, const char *source, const char *licence, const char *sha256);
fp4_status run_missing(struct run_plan *plan, const char *name, const char *why);
fp4_status run_setting(struct run_plan *plan, const char *name, json_t *value); /* steals */

/* What a model of the plan will need: --dry-run prints it, and a run in which some trial of that model is left does not begin when it does not
 * fit. */
fp4_status run_memory(struct run_plan *plan, const char *model, const struct fp4_memory *m);

/* True when `name` is in the comma list (NULL list: true). */
bool run_selected(const char *list, const char *name);
/* Every name of the comma list must be among known [n]; FP4_ERR_ARG names the first that is not, and all that are. NULL list: FP4_OK.
 * what: "arm". */
fp4_status run_check(const char *what, const char *list, const char *const *known, size_t n);

/* Parses the command line, plans, skips what OUT already has, runs, writes. Returns the exit status (0 done, 2 error). */
int run_main(const struct run_experiment *e, int argc, char **argv);

#endif
