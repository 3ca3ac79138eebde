/* The command line of the experiments. */
#include "experiments/run_internal.h"

#include <errno.h>
#include <getopt.h>
#include <limits.h>
#include <stdlib.h>
#include <string.h>

enum { MAX_SEED = 2000000000, MAX_SEEDS = 100000 }; /* together below 2^31: a trial's seed is an int */

static const char *const profiles[] = {"smoke", "default", "full"};

const char *run_profile_name(enum fp4_profile profile) { return profiles[profile]; }

static void print_help(const struct run_experiment *e) {
    printf("usage: %s [OPTION]...\n%s\n\n", e->name, e->summary);
    printf("  --model NAMES      %s\n", e->models);
    fputs("  --arms NAMES       arms, comma-separated (default: the profile's; see --list-arms)\n"
          "  --items NAMES      items, comma-separated (default: the profile's)\n"
          "  --seeds N          seeds or replicates of each trial that uses randomness (default: the profile's)\n"
          "  --profile NAME     smoke, default or full (default: default)\n"
          "  --shard I/N        run every N-th trial of the plan, from the I-th on\n"
          "  --threads N        threads (default: all processors); results do not depend on it\n"
          "  --out FOLDER       where results go (default: out/PROFILE)\n"
          "  --seed N           base seed of all randomness (default: 1)\n"
          "  --offline          download nothing, and leave out smollm2; texts that are there are used\n"
          "  --dry-run          list the trials, an estimate of their time and the memory that they need, run nothing\n"
          "  --weights-in PLACE memory, file (converted when used; the same bits) or auto (default)\n"
          "  --ignore-memory    go on where the memory that is needed is not there\n"
          "  --allow-nonfinite  go on with a checkpoint that holds NaN or infinity\n"
          "  --list-arms        list the arms\n",
          stdout);
    if (e->saves)
        printf("  --save FOLDER      %s\n", e->saves);
    puts("  --help             this text\n"
         "  --version          the version\n");
    if (e->notes)
        puts(e->notes);
    printf("Results are appended to FOLDER/%s.jsonl (with --shard, %s.shard-I-of-N.jsonl), one line of JSON a trial; experiments/SCHEMA.md says what a\n"
           "line holds. The same command continues an interrupted run. Exit status: 0 done, 2 an error or a run that was stopped.\n",
           e->name, e->name);
}

static bool parse_number(const char *text, long low, long high, long *out) {
    char *end;
    errno = 0;
    long v = strtol(text, &end, 10);
    if (errno || end == text || *end || v < low || v > high)
        return false;
    *out = v;
    return true;
}

static fp4_status number_option(const char *name, const char *text, long low, long high, long *out) {
    return parse_number(text, low, high, out)
               ? FP4_OK
               : fp4_fail(FP4_ERR_ARG, "--%s %s: not a whole number from %ld to %ld", name, text, low, high);
}

static fp4_status shard_option(const char *text, struct run_options *o) {
    char first[16];
    const char *slash = strchr(text, '/');
    size_t n = slash ? (size_t)(slash - text) : 0;
    long i, of;
    if (n == 0 || n >= sizeof first)
        return fp4_fail(FP4_ERR_ARG, "--shard %s: write it as I/N, for example 1/3", text);
    memcpy(first, text, n);
    first[n] = 0;
    if (!parse_number(slash + 1, 1, 10000, &of) || !parse_number(first, 1, of, &i))
        return fp4_fail(FP4_ERR_ARG, "--shard %s: write it as I/N with 1 ≤ I ≤ N ≤ 10000", text);
    o->shard = (int)i;
    o->n_shards = (int)of;
    return FP4_OK;
}

static fp4_status profile_option(const char *text, struct run_options *o) {
    for (int i = 0; i < 3; i++)
        if (strcmp(text, profiles[i]) == 0) {
            o->profile = (enum fp4_profile)i;
            return FP4_OK;
        }
    return fp4_fail(FP4_ERR_ARG, "--profile %s: not known; known: smoke, default, full", text);
}

enum { OPT_MODEL = 1000, OPT_ARMS, OPT_ITEMS, OPT_SEEDS, OPT_PROFILE, OPT_SHARD, OPT_THREADS, OPT_OUT, OPT_SEED, OPT_OFFLINE, OPT_DRY,
       OPT_WEIGHTS_IN, OPT_IGNORE_MEMORY, OPT_NONFINITE, OPT_LIST, OPT_SAVE, OPT_HELP, OPT_VERSION };

static const struct option options[] = {{"model", required_argument, NULL, OPT_MODEL},
                                        {"arms", required_argument, NULL, OPT_ARMS},
                                        {"items", required_argument, NULL, OPT_ITEMS},
                                        {"seeds", required_argument, NULL, OPT_SEEDS},
                                        {"profile", required_argument, NULL, OPT_PROFILE},
                                        {"shard", required_argument, NULL, OPT_SHARD},
                                        {"threads", required_argument, NULL, OPT_THREADS},
                                        {"out", required_argument, NULL, OPT_OUT},
                                        {"seed", required_argument, NULL, OPT_SEED},
                                        {"offline", no_argument, NULL, OPT_OFFLINE},
                                        {"dry-run", no_argument, NULL, OPT_DRY},
                                        {"weights-in", required_argument, NULL, OPT_WEIGHTS_IN},
                                        {"ignore-memory", no_argument, NULL, OPT_IGNORE_MEMORY},
                                        {"allow-nonfinite", no_argument, NULL, OPT_NONFINITE},
                                        {"list-arms", no_argument, NULL, OPT_LIST},
                                        {"save", required_argument, NULL, OPT_SAVE},
                                        {"help", no_argument, NULL, OPT_HELP},
                                        {"version", no_argument, NULL, OPT_VERSION},
                                        {0}};

static fp4_status take_option(int option, const char *text, struct run_options *o) {
    long v = 0;
    switch (option) {
    case OPT_MODEL: o->model = text; return FP4_OK;
    case OPT_ARMS: o->arms = text; return FP4_OK;
    case OPT_ITEMS: o->items = text; return FP4_OK;
    case OPT_PROFILE: return profile_option(text, o);
    case OPT_SHARD: return shard_option(text, o);
    case OPT_OUT: o->out = text; return *text ? FP4_OK : fp4_fail(FP4_ERR_ARG, "--out: the folder's name is empty");
    case OPT_SAVE: o->save = text; return *text ? FP4_OK : fp4_fail(FP4_ERR_ARG, "--save: the folder's name is empty");
    case OPT_OFFLINE:
        o->offline = true;
        return setenv("HF_HUB_OFFLINE", "1", 1) == 0 ? FP4_OK : fp4_fail(FP4_ERR_MEMORY, "--offline: no memory");
    case OPT_DRY: o->dry_run = true; return FP4_OK;
    case OPT_WEIGHTS_IN: return fp4_weights_in_parse(text, &o->load.weights_in);
    case OPT_IGNORE_MEMORY: o->load.ignore_memory = true; return FP4_OK;
    case OPT_NONFINITE: o->load.refuse_nonfinite = false; return FP4_OK;
    case OPT_LIST: o->list_arms = true; return FP4_OK;
    case OPT_SEEDS:
        FP4_TRY(number_option("seeds", text, 1, MAX_SEEDS, &v));
        o->seeds = (int)v;
        return FP4_OK;
    case OPT_THREADS:
        FP4_TRY(number_option("threads", text, 1, 4096, &v));
        o->threads = (int)v;
        return FP4_OK;
    case OPT_SEED:
        FP4_TRY(number_option("seed", text, 0, MAX_SEED, &v));
        o->seed = (uint32_t)v;
        return FP4_OK;
    default: return fp4_fail(FP4_ERR_ARG, "see --help");
    }
}

/* One line about what getopt_long does not understand: it permutes, and what it looked at last is before optind. */
static fp4_status refused(int option, int argc, char **argv) {
    const char *what = optind > 0 && optind <= argc ? argv[optind - 1] : "option";
    return option == ':' ? fp4_fail(FP4_ERR_ARG, "%s: needs a value; see --help", what)
                         : fp4_fail(FP4_ERR_ARG, "%s: unknown or ambiguous option, or a value where none is taken; see --help", what);
}

enum run_action run_options_parse(const struct run_experiment *e, int argc, char **argv, struct run_options *o, char folder[64]) {
    *o = (struct run_options){.program = e->name, .profile = FP4_PROFILE_DEFAULT, .shard = 1, .n_shards = 1, .seed = 1, .load.refuse_nonfinite = true};
    optind = 0; /* glibc: start afresh, tests parse more than once */
    opterr = 0;
    int option;
    while ((option = getopt_long(argc, argv, ":", options, NULL)) != -1) {
        if (option == OPT_HELP) {
            print_help(e);
            return RUN_EXIT_OK;
        }
        if (option == OPT_VERSION) {
            printf("%s (fp4lab) %s\n", e->name, FP4_VERSION);
            return RUN_EXIT_OK;
        }
        if ((option == '?' || option == ':' ? refused(option, argc, argv) : take_option(option, optarg, o)) != FP4_OK) {
            fprintf(stderr, "%s: %s\n", e->name, fp4_last_error());
            return RUN_EXIT_ERROR;
        }
    }
    if (o->save && !e->saves) {
        fprintf(stderr, "%s: --save: this experiment makes nothing to keep; see --help\n", e->name);
        return RUN_EXIT_ERROR;
    }
    if (optind < argc) {
        char shown[256];
        fprintf(stderr, "%s: %s: arguments without an option are not taken; see --help\n", e->name, fp4_escape_text(argv[optind], shown, sizeof shown));
        return RUN_EXIT_ERROR;
    }
    if (o->list_arms) {
        e->list_arms(stdout);
        return RUN_EXIT_OK;
    }
    if (!o->out) {
        snprintf(folder, 64, "out/%s", profiles[o->profile]);
        o->out = folder;
    }
    return RUN_GO;
}
