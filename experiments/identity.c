/* Hashes of checkpoints: files side by side, each once. */
#include "experiments/identity.h"

#include <string.h>
#include <sys/stat.h>

/* What was hashed before. Planning asks for a model's identity with every trial. */
struct known {
    struct known *next;
    char *path;
    struct stat info;
    char hex[65];
};
static struct known *all_known;

static bool unchanged(const struct stat *a, const struct stat *b) {
    return a->st_dev == b->st_dev && a->st_ino == b->st_ino && a->st_size == b->st_size && a->st_mtim.tv_sec == b->st_mtim.tv_sec &&
           a->st_mtim.tv_nsec == b->st_mtim.tv_nsec;
}

static struct known *find(const char *path) {
    for (struct known *k = all_known; k; k = k->next)
        if (strcmp(k->path, path) == 0)
            return k;
    return NULL;
}

static fp4_status remember(const char *path, const struct stat *info, const char hex[65]) {
    struct known *k = find(path);
    if (!k) {
        FP4_TRY(FP4_NEW(k, 1));
        fp4_status status = fp4_strdup(path, &k->path);
        if (status != FP4_OK) {
            fp4_free(k);
            return status;
        }
        k->next = all_known;
        all_known = k;
    }
    k->info = *info;
    memcpy(k->hex, hex, 65);
    return FP4_OK;
}

struct file {
    const char *path;
    struct stat info;
    bool known;
    fp4_status status;
    char hex[65];
};

static void hash_task(void *context, size_t i) {
    struct file *f = (struct file *)context + i;
    if (!f->known)
        f->status = fp4_sha256_file(f->path, f->hex);
}

/* The hashes of n files, side by side where there are several. */
static fp4_status hash_files(struct file *files, size_t n) {
    for (size_t i = 0; i < n; i++) {
        const struct known *k = find(files[i].path);
        if (stat(files[i].path, &files[i].info) != 0)
            return fp4_sha256_file(files[i].path, files[i].hex); /* says what is wrong */
        files[i].known = k && unchanged(&k->info, &files[i].info);
        if (files[i].known)
            memcpy(files[i].hex, k->hex, 65);
    }
    fp4_parallel_for(n, hash_task, files);
    for (size_t i = 0; i < n; i++) {
        if (files[i].status != FP4_OK) /* another thread has the message */
            return fp4_sha256_file(files[i].path, files[i].hex);
        FP4_TRY(remember(files[i].path, &files[i].info, files[i].hex));
    }
    return FP4_OK;
}

static fp4_status of_file(const char *path, char sha256[65], size_t *bytes) {
    struct file f = {.path = path};
    FP4_TRY(hash_files(&f, 1));
    memcpy(sha256, f.hex, 65);
    *bytes = (size_t)f.info.st_size;
    return FP4_OK;
}

static fp4_status of_shards(const char *index, const struct fp4_checkpoint *c, char sha256[65], size_t *bytes) {
    size_t n = fp4_checkpoint_n_files(c) + 1;
    struct file *files;
    char (*hex)[65] = NULL;
    FP4_TRY(FP4_NEW(files, n));
    files[0].path = index;
    for (size_t i = 1; i < n; i++)
        files[i].path = fp4_checkpoint_file(c, i - 1);
    fp4_status status = hash_files(files, n);
    if (status == FP4_OK)
        status = FP4_NEW(hex, n);
    *bytes = 0;
    for (size_t i = 0; status == FP4_OK && i < n; i++) {
        memcpy(hex[i], files[i].hex, 65);
        *bytes += (size_t)files[i].info.st_size;
    }
    if (status == FP4_OK)
        status = fp4_sha256_buffer(hex, n * sizeof *hex, sha256);
    fp4_free(hex);
    fp4_free(files);
    return status;
}

fp4_status identity_of(const char *path, char sha256[65], size_t *bytes) {
    struct stat info;
    char file[4096];
    bool sharded;
    if (stat(path, &info) != 0 || !S_ISDIR(info.st_mode))
        return of_file(path, sha256, bytes);
    FP4_TRY(fp4_checkpoint_in_folder(path, file, &sharded));
    if (!sharded)
        return of_file(file, sha256, bytes);
    struct fp4_checkpoint *c;
    FP4_TRY(fp4_checkpoint_open(path, &c));
    fp4_status status = of_shards(file, c, sha256, bytes);
    fp4_checkpoint_close(c);
    return status;
}
