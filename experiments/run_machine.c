/* The manifest: inputs, settings, and the machine with its clock. */
#include "experiments/run_internal.h"
#include "fp4lab/formats.h"
#include "fp4lab/model.h"
#include "stats/results.h"

#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#if defined(__clang__)
#define COMPILER "clang " __clang_version__
#else
#define COMPILER "gcc " __VERSION__
#endif

/* `git describe` of the tree that holds the program; empty when it is not in one. */
static void git_describe(char out[128]) {
    char self[3072], command[4096];
    out[0] = 0;
    ssize_t n = readlink("/proc/self/exe", self, sizeof self - 1);
    if (n <= 0)
        return;
    self[n] = 0;
    *strrchr(self, '/') = 0;
    if (strchr(self, '\'')) /* no quoting that would survive it */
        return;
    snprintf(command, sizeof command, "git -C '%s' describe --always --dirty --tags 2>/dev/null", self);
    FILE *pipe = popen(command, "r");
    if (!pipe)
        return;
    if (!fgets(out, 128, pipe))
        out[0] = 0;
    out[strcspn(out, "\n")] = 0;
    pclose(pipe);
}

static json_t *machine_of(void) {
    char cpu[128], git[128], date[32];
    fp4_cpu_name(cpu);
    git_describe(git);
    time_t now = time(NULL);
    struct tm utc;
    strftime(date, sizeof date, "%Y-%m-%dT%H:%M:%SZ", gmtime_r(&now, &utc));
    double memory = (double)sysconf(_SC_PHYS_PAGES) * (double)sysconf(_SC_PAGESIZE);
    return json_pack("{s:s, s:i, s:i, s:s, s:s, s:s, s:I, s:s, s:s, s:s}", "cpu", cpu, "cores", (int)sysconf(_SC_NPROCESSORS_ONLN), "threads",
                     fp4_threads(), "blas_core", fp4_blas_core(), "rung", fp4_cpu_level_name(fp4_cpu_level()), "compiler", COMPILER,
                     "memory_bytes", (json_int_t)memory, "git", git, "version", FP4_VERSION, "date", date);
}

fp4_status run_manifest(const struct run_plan *plan, const struct run_options *o, json_t **line) {
    FP4_TRY(fp4_blas_init());
    char shard[32];
    snprintf(shard, sizeof shard, "%d/%d", o->shard, o->n_shards);
    *line = json_pack("{s:s, s:i, s:s, s:s, s:I, s:s, s:O, s:O, s:O, s:o}", "type", "manifest", "schema", RESULTS_SCHEMA, "experiment",
                      plan->experiment, "profile", run_profile_name(o->profile), "seed", (json_int_t)o->seed, "shard", shard, "inputs",
                      plan->inputs, "missing", plan->missing, "settings", plan->settings, "machine", machine_of());
    return *line ? FP4_OK : fp4_fail(FP4_ERR_MEMORY, "no memory for the manifest");
}
