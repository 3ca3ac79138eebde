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

static fp4_status open_regular(const char *path, int *fd, size_t *size) {
    /* O_NONBLOCK: a pipe must be refused, not waited for. */
    *fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
    if (*fd < 0)
        return fp4_fail(FP4_ERR_IO, "%s: cannot open: %s", path, strerror(errno));
    struct stat info;
    if (fstat(*fd, &info) != 0 || !S_ISREG(info.st_mode)) {
        close(*fd);
        return fp4_fail(FP4_ERR_IO, "%s: not a regular file; name a file", path);
    }
    *size = (size_t)info.st_size;
    return FP4_OK;
}

fp4_status fp4_map_open(const char *path, struct fp4_map *out) {
    int fd;
    size_t size;
    *out = (struct fp4_map){0};
    FP4_TRY(open_regular(path, &fd, &size));
    if (size == 0) {
        close(fd);
        *out = (struct fp4_map){(const uint8_t *)"", 0};
        return FP4_OK;
    }
    void *data = mmap(NULL, size, PROT_READ, MAP_PRIVATE, fd, 0);
    int error = errno;
    close(fd);
    if (data == MAP_FAILED)
        return fp4_fail(FP4_ERR_IO, "%s: cannot map: %s", path, strerror(error));
    *out = (struct fp4_map){data, size};
    return FP4_OK;
}

void fp4_map_close(struct fp4_map *map) {
    if (map->size)
        munmap((void *)(uintptr_t)map->data, map->size);
    *map = (struct fp4_map){0};
}

/* Reads, does not map: a file that is cut short meanwhile is an error in whatever program this is. What is appended meanwhile is left. */
static fp4_status read_all(const char *path, int fd, char *text, size_t size) {
    for (size_t have = 0; have < size;) {
        ssize_t n = read(fd, text + have, size - have);
        if (n < 0 && errno == EINTR)
            continue;
        if (n <= 0)
            return fp4_fail(FP4_ERR_IO, "%s: offset %zu of %zu: cannot read: %s", path, have, size, n < 0 ? strerror(errno) : "cut short meanwhile");
        have += (size_t)n;
    }
    text[size] = 0;
    return FP4_OK;
}

fp4_status fp4_read_file(const char *path, size_t limit, char **text, size_t *size) {
    int fd;
    size_t bytes;
    *text = NULL;
    FP4_TRY(open_regular(path, &fd, &bytes));
    fp4_status status = FP4_OK;
    if (bytes > limit)
        status = fp4_fail(FP4_ERR_FORMAT, "%s: %zu bytes, more than the %zu allowed here", path, bytes, limit);
    if (status == FP4_OK)
        status = FP4_NEW(*text, bytes + 1);
    if (status == FP4_OK)
        status = read_all(path, fd, *text, bytes);
    close(fd);
    if (status != FP4_OK) {
        fp4_free(*text);
        *text = NULL;
    } else if (size) {
        *size = bytes;
    }
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
