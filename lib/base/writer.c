/* Files that appear whole or not at all. */
#include "fp4lab/base.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <unistd.h>

struct fp4_writer {
    int fd;
    char *path, *temporary;
};

/* A disk that cannot be asked is tried: a write that finds no room says so itself. */
static fp4_status compare_room(const char *path, const struct statvfs *disk, uint64_t bytes) {
    uint64_t room = (uint64_t)disk->f_bavail * disk->f_frsize;
    if (room < bytes)
        return fp4_fail(FP4_ERR_IO, "%s: needs %.1f MB, the disk has room for %.1f MB; make room or name another folder", path, (double)bytes / 1e6,
                        (double)room / 1e6);
    return FP4_OK;
}

static fp4_status check_room(int fd, const char *path, uint64_t bytes) {
    struct statvfs disk;
    return fstatvfs(fd, &disk) == 0 ? compare_room(path, &disk, bytes) : FP4_OK;
}

fp4_status fp4_disk_room(const char *folder, uint64_t bytes) {
    struct statvfs disk;
    return statvfs(folder, &disk) == 0 ? compare_room(folder, &disk, bytes) : FP4_OK;
}

static fp4_status begin(struct fp4_writer *w, const char *path, uint64_t bytes) {
    char temporary[4096];
    struct stat there;
    int n = snprintf(temporary, sizeof temporary, "%s.%ld.part", path, (long)getpid());
    if (n < 0 || (size_t)n >= sizeof temporary)
        return fp4_fail(FP4_ERR_ARG, "%s: path too long", path);
    if (stat(path, &there) == 0 && !S_ISREG(there.st_mode)) /* a device or a pipe would lose its name to the file */
        return fp4_fail(FP4_ERR_IO, "%s: is there, and is not a regular file; name a file", path);
    FP4_TRY(fp4_strdup(path, &w->path));
    w->fd = open(temporary, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0666);
    if (w->fd < 0)
        return fp4_fail(FP4_ERR_IO, "%s: cannot create: %s", path, strerror(errno));
    fp4_status status = fp4_strdup(temporary, &w->temporary);
    if (status != FP4_OK)
        unlink(temporary);
    return status == FP4_OK ? check_room(w->fd, path, bytes) : status;
}

fp4_status fp4_writer_open(const char *path, uint64_t bytes, struct fp4_writer **out) {
    struct fp4_writer *w;
    *out = NULL;
    FP4_TRY(FP4_NEW(w, 1));
    w->fd = -1;
    fp4_status status = begin(w, path, bytes);
    if (status != FP4_OK) {
        fp4_writer_abandon(w);
        return status;
    }
    *out = w;
    return FP4_OK;
}

fp4_status fp4_writer_put(struct fp4_writer *w, const void *data, size_t bytes) {
    const char *p = data;
    while (bytes) {
        ssize_t n = write(w->fd, p, bytes);
        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0)
            return fp4_fail(FP4_ERR_IO, "%s: cannot write: %s", w->path, strerror(errno));
        p += n;
        bytes -= (size_t)n;
    }
    return FP4_OK;
}

static fp4_status finish(struct fp4_writer *w) {
    int fd = w->fd;
    if (fsync(fd) != 0 && errno != EINVAL)
        return fp4_fail(FP4_ERR_IO, "%s: cannot write: %s", w->path, strerror(errno));
    w->fd = -1;
    if (close(fd) != 0)
        return fp4_fail(FP4_ERR_IO, "%s: cannot write: %s", w->path, strerror(errno));
    if (rename(w->temporary, w->path) != 0)
        return fp4_fail(FP4_ERR_IO, "%s: cannot rename into place: %s", w->path, strerror(errno));
    fp4_free(w->temporary);
    w->temporary = NULL;
    return FP4_OK;
}

fp4_status fp4_writer_commit(struct fp4_writer *w) {
    fp4_status status = finish(w);
    fp4_writer_abandon(w); /* removes what did not get its name */
    return status;
}

void fp4_writer_abandon(struct fp4_writer *w) {
    if (!w)
        return;
    if (w->fd >= 0)
        close(w->fd);
    if (w->temporary)
        unlink(w->temporary);
    fp4_free(w->temporary);
    fp4_free(w->path);
    fp4_free(w);
}

fp4_status fp4_write_file(const char *path, const void *data, size_t bytes) {
    struct fp4_writer *w;
    FP4_TRY(fp4_writer_open(path, bytes, &w));
    fp4_status status = fp4_writer_put(w, data, bytes);
    if (status == FP4_OK)
        return fp4_writer_commit(w);
    fp4_writer_abandon(w);
    return status;
}
