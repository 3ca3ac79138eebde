/* Files: read-only maps, bounded reads, folders. */
#include "fp4lab/base.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

void fp4_hold_standard_files(void) {
    for (int fd = STDIN_FILENO; fd <= STDERR_FILENO; fd++)
        if (fcntl(fd, F_GETFD) < 0 && open("/dev/null", fd == STDIN_FILENO ? O_WRONLY : O_RDONLY) < 0)
            return; /* takes the lowest number that is free: this one */
}

fp4_status fp4_map_open(const char *path, struct fp4_map *out) {
    *out = (struct fp4_map){0};
    /* O_NONBLOCK: a pipe must be refused, not waited for. */
    int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
    if (fd < 0)
        return fp4_fail(FP4_ERR_IO, "%s: cannot open: %s", path, strerror(errno));
    struct stat info;
    if (fstat(fd, &info) != 0 || !S_ISREG(info.st_mode)) {
        close(fd);
        return fp4_fail(FP4_ERR_IO, "%s: not a regular file; name a file", path);
    }
    if (info.st_size == 0) {
        close(fd);
        *out = (struct fp4_map){(const uint8_t *)"", 0};
        return FP4_OK;
    }
    void *data = mmap(NULL, (size_t)info.st_size, PROT_READ, MAP_PRIVATE, fd, 0);
    int error = errno;
    close(fd);
    if (data == MAP_FAILED)
        return fp4_fail(FP4_ERR_IO, "%s: cannot map: %s", path, strerror(error));
    *out = (struct fp4_map){data, (size_t)info.st_size};
    return FP4_OK;
}

void fp4_map_close(struct fp4_map *map) {
    if (map->size)
        munmap((void *)(uintptr_t)map->data, map->size);
    *map = (struct fp4_map){0};
}

fp4_status fp4_read_file(const char *path, size_t limit, char **text, size_t *size) {
    struct fp4_map map;
    *text = NULL;
    FP4_TRY(fp4_map_open(path, &map));
    fp4_status status = FP4_OK;
    if (map.size > limit)
        status = fp4_fail(FP4_ERR_FORMAT, "%s: %zu bytes, more than the %zu allowed here", path, map.size, limit);
    if (status == FP4_OK)
        status = FP4_NEW(*text, map.size + 1);
    if (status == FP4_OK) {
        memcpy(*text, map.data, map.size);
        if (size)
            *size = map.size;
    }
    fp4_map_close(&map);
    return status;
}

fp4_status fp4_make_dirs(const char *path) {
    char partial[4096];
    size_t n = strlen(path);
    if (n == 0 || n >= sizeof partial)
        return fp4_fail(FP4_ERR_ARG, "%s: not a usable folder name", path);
    memcpy(partial, path, n + 1);
    for (size_t i = 1; i <= n; i++) {
        if (partial[i] != '/' && partial[i] != 0)
            continue;
        char keep = partial[i];
        partial[i] = 0;
        if (mkdir(partial, 0777) != 0 && errno != EEXIST)
            return fp4_fail(FP4_ERR_IO, "%s: cannot create folder: %s", partial, strerror(errno));
        partial[i] = keep;
    }
    struct stat info;
    if (stat(path, &info) != 0 || !S_ISDIR(info.st_mode))
        return fp4_fail(FP4_ERR_IO, "%s: exists and is not a folder", path);
    return FP4_OK;
}
