/* Which rung of the CPU kernels runs: the best that the CPU has, or what FP4LAB_CPU names. */
#include "lib/kernels/cpu/kernels.h"

#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/utsname.h>

static const char *const names[] = {"ref", "avx2", "avx512"};
static const struct fp4_cpu_kernels *const tables[] = {&fp4_cpu_kernels_ref, &fp4_cpu_kernels_avx2, &fp4_cpu_kernels_avx512};
static atomic_int selected = -1; /* not yet */

enum fp4_cpu_level fp4_cpu_detect(void) {
    __builtin_cpu_init();
    if (!__builtin_cpu_supports("avx2") || !__builtin_cpu_supports("fma"))
        return FP4_CPU_REF;
    bool wide = __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw") && __builtin_cpu_supports("avx512dq") &&
                __builtin_cpu_supports("avx512vl");
    return wide ? FP4_CPU_AVX512 : FP4_CPU_AVX2;
}

const char *fp4_cpu_level_name(enum fp4_cpu_level level) { return names[level]; }

void fp4_cpu_name(char out[128]) {
    struct utsname u;
    snprintf(out, 128, "%s", uname(&u) == 0 ? u.machine : "unknown");
    FILE *f = fopen("/proc/cpuinfo", "r");
    char line[512];
    while (f && fgets(line, sizeof line, f)) {
        char *value = strncmp(line, "model name", 10) == 0 ? strchr(line, ':') : NULL;
        if (!value)
            continue;
        value += strspn(value, ": \t");
        snprintf(out, 128, "%.*s", (int)strcspn(value, "\n"), value);
        break;
    }
    if (f)
        fclose(f);
}

fp4_status fp4_cpu_select(const char *name) {
    enum fp4_cpu_level best = fp4_cpu_detect();
    if (!name)
        name = getenv("FP4LAB_CPU");
    if (!name || !*name) {
        atomic_store(&selected, (int)best);
        return FP4_OK;
    }
    for (int level = 0; level < 3; level++) {
        if (strcmp(name, names[level]) != 0)
            continue;
        if (level > (int)best)
            return fp4_fail(FP4_ERR_ARG, "FP4LAB_CPU: this CPU has no %s; use %s", name, names[best]);
        atomic_store(&selected, level);
        return FP4_OK;
    }
    return fp4_fail(FP4_ERR_ARG, "FP4LAB_CPU: no level \"%s\"; use ref, avx2 or avx512", name);
}

enum fp4_cpu_level fp4_cpu_level(void) {
    int level = atomic_load(&selected);
    if (level < 0 && fp4_cpu_select(NULL) == FP4_OK)
        level = atomic_load(&selected);
    return level < 0 ? FP4_CPU_REF : (enum fp4_cpu_level)level;
}

fp4_status fp4_cpu_kernels_get(const struct fp4_cpu_kernels **out) {
    if (atomic_load(&selected) < 0)
        FP4_TRY(fp4_cpu_select(NULL));
    *out = tables[atomic_load(&selected)];
    return FP4_OK;
}

const struct fp4_cpu_kernels *fp4_cpu_kernels_now(void) { return tables[fp4_cpu_level()]; }

const struct fp4_cpu_kernels *fp4_cpu_kernels_of(enum fp4_cpu_level level) {
    return level <= fp4_cpu_detect() ? tables[level] : NULL;
}
