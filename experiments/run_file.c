/* The results file: one writer, whole lines only. */
#include "experiments/run_internal.h"
#include "lib/base/json.h"
#include "stats/results.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

static fp4_status results_path(const struct run_options *o, char path[4096]) {
    int n = o->n_shards > 1 ? snprintf(path, 4096, "%s/%s.shard-%d-of-%d.jsonl", o->out, o->program, o->shard, o->n_shards)
                            : snprintf(path, 4096, "%s/%s.jsonl", o->out, o->program);
    return n > 0 && n < 4096 ? FP4_OK : fp4_fail(FP4_ERR_ARG, "%s: path too long", o->out);
}

/* NAME.jsonl or NAME.shard-i-of-n.jsonl; *n_shards = n, 1 for a whole run. */
static bool is_results_of(const char *program, const char *name, int *n_shards) {
    size_t n = strlen(program);
    int i, used = 0;
    *n_shards = 1;
    if (strncmp(name, program, n) != 0)
        return false;
    if (strcmp(name + n, ".jsonl") == 0)
        return true;
    return sscanf(name + n, ".shard-%d-of-%d.jsonl%n", &i, n_shards, &used) == 2 && used > 0 && name[n + (size_t)used] == 0;
}

/* Calls visit for every results file of the experiment in OUT, in the order of names. */
static fp4_status each_file(const struct run_options *o, fp4_status (*visit)(void *context, const char *path, int n_shards), void *context) {
    struct dirent **names = NULL;
    int n = scandir(o->out, &names, NULL, alphasort);
    if (n < 0 && errno == ENOENT)
        return FP4_OK;
    if (n < 0)
        return fp4_fail(FP4_ERR_IO, "%s: cannot list: %s; name another folder with --out", o->out, strerror(errno));
    fp4_status status = FP4_OK;
    for (int i = 0; i < n; i++) {
        char path[4096];
        int n_shards, length = snprintf(path, sizeof path, "%s/%s", o->out, names[i]->d_name);
        if (status == FP4_OK && length > 0 && (size_t)length < sizeof path && is_results_of(o->program, names[i]->d_name, &n_shards))
            status = visit(context, path, n_shards);
        free(names[i]);
    }
    free(names);
    return status;
}

/* ---- what is there ---- */

struct scan {
    struct run_plan *plan;
    const char *path;
};

static fp4_status mark_line(void *context, json_t *object) {
    struct scan *s = context;
    const char *experiment = json_string_value(json_object_get(object, "experiment"));
    if (strcmp(experiment, s->plan->experiment) != 0)
        return fp4_fail(FP4_ERR_FORMAT, "%s: holds results of '%.40s'; move it away or name another folder with --out", s->path, experiment);
    json_t *index = json_object_get(s->plan->keys, json_string_value(json_object_get(object, "key")));
    if (index)
        s->plan->entries[json_integer_value(index)].done = true;
    return FP4_OK;
}

static fp4_status mark_file(void *context, const char *path, int n_shards) {
    (void)n_shards;
    struct scan *s = context;
    s->path = path;
    return results_walk(path, mark_line, s, NULL);
}

fp4_status run_file_scan(const struct run_options *o, struct run_plan *plan) {
    struct scan s = {.plan = plan};
    return each_file(o, mark_file, &s);
}

/* ---- writing ---- */

static fp4_status cannot_write(const char *path) {
    return fp4_fail(FP4_ERR_IO, "%s: cannot write: %s; %s", path, strerror(errno),
                    errno == ENOSPC || errno == EDQUOT || errno == EFBIG ? "make room, then the same command continues" : "name another folder with --out");
}

struct others {
    const struct run_options *o;
    const char *own;
};

/* The lock of a killed run can outlive it for a moment, in a child that had not yet become git (for the manifest): worth a second. */
static bool lock(int fd, int kind) {
    for (int tries = 0; flock(fd, kind | LOCK_NB) != 0; tries++) {
        if (errno != EWOULDBLOCK || tries == 50)
            return false;
        nanosleep(&(struct timespec){0, 20000000}, NULL);
    }
    return true;
}

/* Shards of one and the same division have no trial in common; any other pair of runs may have. */
static fp4_status refuse_running(void *context, const char *path, int n_shards) {
    const struct others *c = context;
    if (strcmp(path, c->own) == 0 || (n_shards > 1 && n_shards == c->o->n_shards))
        return FP4_OK;
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0)
        return fp4_fail(FP4_ERR_IO, "%s: cannot open: %s", path, strerror(errno));
    bool busy = !lock(fd, LOCK_SH) && errno == EWOULDBLOCK;
    close(fd);
    return busy ? fp4_fail(FP4_ERR_IO, "%s: another run, divided differently, is writing here; wait for it or name another folder with --out", path)
                : FP4_OK;
}

static fp4_status lock_and_cut(struct run_file *f, const struct run_options *o) {
    if (!lock(f->fd, LOCK_EX))
        return errno == EWOULDBLOCK
                   ? fp4_fail(FP4_ERR_IO, "%s: another run is writing here; wait for it or name another folder with --out", f->path)
                   : cannot_write(f->path);
    struct others c = {o, f->path};
    FP4_TRY(each_file(o, refuse_running, &c));
    size_t whole;
    FP4_TRY(results_walk(f->path, NULL, NULL, &whole));
    f->end = (long long)whole;
    struct stat info;
    if (fstat(f->fd, &info) != 0)
        return cannot_write(f->path);
    if (info.st_size > f->end && (ftruncate(f->fd, f->end) != 0 || fdatasync(f->fd) != 0))
        return cannot_write(f->path);
    return FP4_OK;
}

fp4_status run_file_open(struct run_file *f, const struct run_options *o) {
    f->fd = -1;
    FP4_TRY(results_path(o, f->path));
    FP4_TRY(fp4_make_dirs(o->out));
    f->fd = open(f->path, O_RDWR | O_CREAT | O_APPEND | O_CLOEXEC, 0666);
    if (f->fd < 0)
        return cannot_write(f->path);
    fp4_status status = lock_and_cut(f, o);
    if (status != FP4_OK)
        run_file_close(f);
    return status;
}

fp4_status run_file_append(struct run_file *f, json_t *line) {
    char *text = json_text(line, JSON_COMPACT | JSON_REAL_PRECISION(17));
    if (!text)
        return fp4_fail(FP4_ERR_MEMORY, "no memory for a line of results");
    size_t n = strlen(text) + 1;
    text[n - 1] = '\n'; /* in the place of the zero */
    ssize_t written = write(f->fd, text, n);
    if (written >= 0 && (size_t)written < n) { /* a full disk takes a part; what is left names the reason */
        ssize_t rest = write(f->fd, text + written, n - (size_t)written);
        written = rest < 0 ? rest : written + rest;
    }
    int error = errno;
    free(text);
    if (written == (ssize_t)n && fdatasync(f->fd) == 0) {
        f->end += written;
        return FP4_OK;
    }
    if (written >= 0)
        error = written == (ssize_t)n ? errno : ENOSPC;
    if (ftruncate(f->fd, f->end) == 0)
        fdatasync(f->fd); /* else the next start cuts the line */
    errno = error;
    return cannot_write(f->path);
}

void run_file_close(struct run_file *f) {
    if (f->fd >= 0)
        close(f->fd);
    f->fd = -1;
}
