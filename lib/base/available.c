/* How much memory is left to this process. */
#include "fp4lab/base.h"

#include <stdlib.h>
#include <string.h>

/* A file's first number. "max" and files that are not there: false. */
static bool read_number(const char *path, size_t *out) {
    unsigned long long value;
    FILE *f = fopen(path, "re");
    bool read = f && fscanf(f, "%llu", &value) == 1;
    if (f)
        fclose(f);
    if (read)
        *out = (size_t)value;
    return read;
}

/* The number behind `key` in a file of "key number" lines; 0 when it is not there. */
static size_t read_field(const char *path, const char *key) {
    char line[256];
    size_t value = 0, length = strlen(key);
    FILE *f = fopen(path, "re");
    while (f && fgets(line, sizeof line, f))
        if (strncmp(line, key, length) == 0 && sscanf(line + length, " %zu", &value) == 1)
            break;
    if (f)
        fclose(f);
    return value;
}

/* What a group leaves: its limit less what it uses; pages of files that are not in active use are given up for the asking. */
static void lower_to_group(const char *group, const char *limit_name, const char *usage_name, const char *inactive, size_t *left) {
    char path[4200];
    size_t limit, usage;
    snprintf(path, sizeof path, "%s/%s", group, limit_name);
    if (!read_number(path, &limit))
        return;
    snprintf(path, sizeof path, "%s/%s", group, usage_name);
    if (!read_number(path, &usage))
        return;
    snprintf(path, sizeof path, "%s/memory.stat", group);
    size_t reclaimable = read_field(path, inactive);
    usage -= reclaimable < usage ? reclaimable : usage;
    size_t rest = limit > usage ? limit - usage : 0;
    *left = rest < *left ? rest : *left;
}

/* The group and every group above it, as proc(5) and cgroups(7) lay them out: version 2 in one tree, version 1's memory controller in its own. */
static void lower_to_groups(size_t *left) {
    char line[4096];
    FILE *f = fopen("/proc/self/cgroup", "re");
    while (f && fgets(line, sizeof line, f)) {
        line[strcspn(line, "\n")] = 0;
        bool second = strncmp(line, "0::", 3) == 0;
        const char *at = second ? line + 2 : strstr(line, ":memory:");
        if (!at)
            continue;
        char group[4096 + 32];
        snprintf(group, sizeof group, "%s%s", second ? "/sys/fs/cgroup" : "/sys/fs/cgroup/memory", second ? at + 1 : at + 8);
        size_t root = strlen(second ? "/sys/fs/cgroup" : "/sys/fs/cgroup/memory");
        while (strlen(group) >= root) {
            if (second)
                lower_to_group(group, "memory.max", "memory.current", "inactive_file", left);
            else
                lower_to_group(group, "memory.limit_in_bytes", "memory.usage_in_bytes", "total_inactive_file", left);
            char *slash = strrchr(group, '/');
            *slash = 0;
        }
    }
    if (f)
        fclose(f);
}

size_t fp4_memory_available(void) {
    size_t left = SIZE_MAX, kib = read_field("/proc/meminfo", "MemAvailable:");
    if (kib)
        left = kib * 1024;
    lower_to_groups(&left);
    const char *text = getenv("FP4LAB_MEMORY");
    char *end;
    if (text && *text) {
        unsigned long long asked = strtoull(text, &end, 10);
        if (!*end && asked < left)
            left = (size_t)asked;
    }
    return left;
}
