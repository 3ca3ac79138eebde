/* Files: read-only maps, bounded reads, atomic writes. */
#include "fp4lab/base.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

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

static fp4_status write_all(int fd, const char *path, const void *data, size_t bytes) {
    const char *p = data;
    while (bytes) {
        ssize_t n = write(fd, p, bytes);
        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0)
            return fp4_fail(FP4_ERR_IO, "%s: cannot write: %s", path, strerror(errno));
        p += n;
        bytes -= (size_t)n;
    }
    return FP4_OK;
}

static fp4_status sync_file(int fd, const char *path) {
    if (fsync(fd) != 0 && errno != EINVAL)
        return fp4_fail(FP4_ERR_IO, "%s: cannot write: %s", path, strerror(errno));
    return FP4_OK;
}

fp4_status fp4_write_file(const char *path, const void *data, size_t bytes) {
    return fp4_write_pieces(path, &(struct fp4_piece){data, bytes}, 1);
}

fp4_status fp4_write_pieces(const char *path, const struct fp4_piece *pieces, size_t n_pieces) {
    char temporary[4096];
    int n = snprintf(temporary, sizeof temporary, "%s.%ld.part", path, (long)getpid());
    if (n < 0 || (size_t)n >= sizeof temporary)
        return fp4_fail(FP4_ERR_ARG, "%s: path too long", path);
    int fd = open(temporary, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0666);
    if (fd < 0)
        return fp4_fail(FP4_ERR_IO, "%s: cannot create: %s", temporary, strerror(errno));
    fp4_status status = FP4_OK;
    for (size_t i = 0; i < n_pieces && status == FP4_OK; i++)
        status = write_all(fd, path, pieces[i].data, pieces[i].bytes);
    if (status == FP4_OK)
        status = sync_file(fd, path);
    if (close(fd) != 0 && status == FP4_OK)
        status = fp4_fail(FP4_ERR_IO, "%s: cannot write: %s", path, strerror(errno));
    if (status == FP4_OK && rename(temporary, path) != 0)
        status = fp4_fail(FP4_ERR_IO, "%s: cannot rename into place: %s", path, strerror(errno));
    if (status != FP4_OK)
        unlink(temporary);
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
