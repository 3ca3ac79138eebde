/* How much memory is left to this process. */
#include "fp4lab/base.h"

#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

/* A small file of the kernel's as text, without an allocation: what says how much memory is left must not need any. Cut at the buffer's end. */
static bool read_text(const char *path, char *text, size_t size) {
    size_t n = 0;
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0)
        return false;
    for (ssize_t got = 1; got > 0 && n + 1 < size; n += got > 0 ? (size_t)got : 0)
        got = read(fd, text + n, size - 1 - n);
    close(fd);
    text[n] = 0;
    return true;
}

/* A file's number. "max" and files that are not there: false. */
static bool read_number(const char *path, size_t *out) {
    char text[64], *end;
    if (!read_text(path, text, sizeof text))
        return false;
    unsigned long long value = strtoull(text, &end, 10);
    *out = (size_t)value;
    return end != text;
}

/* The number behind `key` in a file of "key number" lines; 0 when it is not there. */
static size_t read_field(const char *path, const char *key) {
    char text[8192];
    size_t length = strlen(key);
    if (!read_text(path, text, sizeof text))
        return 0;
    for (const char *line = text; line; line = strchr(line, '\n')) {
        line += *line == '\n';
        if (strncmp(line, key, length) == 0)
            return (size_t)strtoull(line + length, NULL, 10);
    }
    return 0;
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
static void lower_to_tree(const char *root, const char *path, bool second, size_t *left) {
    char group[4096];
    if (snprintf(group, sizeof group, "%s%s", root, path) >= (int)sizeof group)
        return;
    while (strlen(group) >= strlen(root)) {
        if (second)
            lower_to_group(group, "memory.max", "memory.current", "inactive_file", left);
        else
            lower_to_group(group, "memory.limit_in_bytes", "memory.usage_in_bytes", "total_inactive_file", left);
        *strrchr(group, '/') = 0;
    }
}

static void lower_to_groups(size_t *left) {
    char text[8192], *save;
    if (!read_text("/proc/self/cgroup", text, sizeof text))
        return;
    for (char *line = strtok_r(text, "\n", &save); line; line = strtok_r(NULL, "\n", &save)) {
        const char *first = strstr(line, ":memory:");
        if (strncmp(line, "0::", 3) == 0)
            lower_to_tree("/sys/fs/cgroup", line + 3, true, left);
        else if (first)
            lower_to_tree("/sys/fs/cgroup/memory", first + strlen(":memory:"), false, left);
    }
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
