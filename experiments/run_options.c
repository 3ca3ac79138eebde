/* The command line of the experiments. */
#include "experiments/run_internal.h"

#include <errno.h>
#include <getopt.h>
#include <limits.h>
#include <stdlib.h>
#include <string.h>

static const char *const profiles[] = {"smoke", "default", "full"};

const char *run_profile_name(enum fp4_profile profile) { return profiles[profile]; }

static void print_help(const struct run_experiment *e) {
    printf("usage: %s [OPTION]...\n%s\n\n", e->name, e->summary);
    fputs("  --model NAMES      models, comma-separated: by name, path, or ORG/NAME of a hub (default: the profile's)\n"
          "  --arms NAMES       arms, comma-separated (default: the profile's; see --list-arms)\n"
          "  --items NAMES      items, comma-separated (default: the profile's)\n"
          "  --seeds N          seeds or replicates of each trial that uses randomness (default: the profile's)\n"
          "  --profile NAME     smoke, default or full (default: default)\n"
          "  --shard I/N        run every N-th trial of the plan, from the I-th on\n"
          "  --threads N        threads (default: all processors); results do not depend on it\n"
          "  --out FOLDER       where results go (default: out/PROFILE)\n"
          "  --seed N           base seed of all randomness (default: 1)\n"
          "  --offline          use no downloaded input\n"
          "  --dry-run          list the trials, an estimate of their time and the memory that they need, run nothing\n"
          "  --weights-in PLACE memory, file (converted when used; the same bits) or auto (default)\n"
          "  --ignore-memory    go on where the memory that is needed is not there\n"
          "  --allow-nonfinite  go on with a checkpoint that holds NaN or infinity\n"
          "  --list-arms        list the arms\n"
          "  --help, --version\n",
          stdout);
    if (e->saves)
        printf("  --save FOLDER      %s\n", e->saves);
    putchar('\n');
    printf("Results are appended to FOLDER/%s.jsonl, one line a trial. The same command continues an interrupted run.\n", e->name);
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
        FP4_TRY(number_option("seeds", text, 1, 100000, &v));
        o->seeds = (int)v;
        return FP4_OK;
    case OPT_THREADS:
        FP4_TRY(number_option("threads", text, 1, 4096, &v));
        o->threads = (int)v;
        return FP4_OK;
    case OPT_SEED:
        FP4_TRY(number_option("seed", text, 0, (long)UINT32_MAX, &v));
        o->seed = (uint32_t)v;
        return FP4_OK;
    default: return fp4_fail(FP4_ERR_ARG, "see --help");
    }
}

enum run_action run_options_parse(const struct run_experiment *e, int argc, char **argv, struct run_options *o, char folder[64]) {
    *o = (struct run_options){.program = e->name, .profile = FP4_PROFILE_DEFAULT, .shard = 1, .n_shards = 1, .seed = 1, .load.refuse_nonfinite = true};
    optind = 0; /* glibc: start afresh, tests parse more than once */
    int option;
    while ((option = getopt_long(argc, argv, "", options, NULL)) != -1) {
        if (option == OPT_HELP) {
            print_help(e);
            return RUN_EXIT_OK;
        }
        if (option == OPT_VERSION) {
            printf("%s (fp4lab) %s\n", e->name, FP4_VERSION);
            return RUN_EXIT_OK;
        }
        if (option == '?') { /* getopt has said what is wrong */
            fprintf(stderr, "%s: see --help\n", e->name);
            return RUN_EXIT_ERROR;
        }
        if (take_option(option, optarg, o) != FP4_OK) {
            fprintf(stderr, "%s: %s\n", e->name, fp4_last_error());
            return RUN_EXIT_ERROR;
        }
    }
    if (o->save && !e->saves) {
        fprintf(stderr, "%s: --save: this experiment makes nothing to keep; see --help\n", e->name);
        return RUN_EXIT_ERROR;
    }
    if (optind < argc) {
        fprintf(stderr, "%s: %s: arguments without an option are not taken; see --help\n", e->name, argv[optind]);
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
