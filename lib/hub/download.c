/* One file: what the server says of it, the lock, the download that continues, the check, the link. */
#include <errno.h>
#include <fcntl.h>
#include <openssl/evp.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <time.h>
#include <unistd.h>

#include "lib/hub/internal.h"

enum { PREFIX_BYTES = 1 << 20, PROGRESS_THAT_COUNTS = 1 << 20 };

/* ---- the hash of a blob ---- */

/* SHA-256 of an LFS file; of a small file the SHA-1 that git gives it: of "blob SIZE\0" and the bytes. */
static fp4_status digest_begin(EVP_MD_CTX **context, const char *hash, int64_t size) {
    bool git = strlen(hash) == 40;
    char head[40];
    int n = snprintf(head, sizeof head, "blob %lld", (long long)size) + 1;
    if (!*context)
        *context = EVP_MD_CTX_new();
    if (!*context || EVP_DigestInit_ex(*context, git ? EVP_sha1() : EVP_sha256(), NULL) != 1 ||
        (git && EVP_DigestUpdate(*context, head, (size_t)n) != 1))
        return fp4_fail(FP4_ERR_MEMORY, "libcrypto: cannot start a digest");
    return FP4_OK;
}

static void digest_end(EVP_MD_CTX *context, char hex[2 * EVP_MAX_MD_SIZE + 1]) {
    unsigned char digest[EVP_MAX_MD_SIZE];
    unsigned int n = 0;
    EVP_DigestFinal_ex(context, digest, &n);
    hex[0] = 0;
    for (unsigned int i = 0; i < n; i++)
        snprintf(hex + 2 * i, 3, "%02x", digest[i]);
}

/* ---- a download into BLOB.incomplete ---- */

struct download {
    struct hub *h;
    const struct fp4_hub_file *file;
    char part[PATH_MAX];
    int fd;
    uint64_t have;
    EVP_MD_CTX *digest;
    bool ignore_range; /* the server's answer to a range was not that range */
};

static fp4_status no_room(const struct download *d, int error) {
    uint64_t left = (uint64_t)d->file->bytes - d->have;
    return fp4_fail(FP4_ERR_IO, "%s: cannot write: %s; %.1f MB more are needed: free them or set HF_HUB_CACHE to another disk (the same command continues)",
                    d->part, strerror(error), (double)left / 1e6);
}

static fp4_status start_over(struct download *d) {
    if (ftruncate(d->fd, 0) != 0)
        return no_room(d, errno);
    d->have = 0;
    return digest_begin(&d->digest, d->file->hash, d->file->bytes);
}

static fp4_status part_begin(void *context, const struct hub_reply *r) {
    struct download *d = context;
    if (r->status == 206 && (r->range_first != (int64_t)d->have || (r->range_total >= 0 && r->range_total != d->file->bytes))) {
        d->ignore_range = true;
        return fp4_fail(FP4_ERR_FORMAT, "the server answers with another range than the one asked for");
    }
    if (r->status == 200 && d->have)
        FP4_TRY(start_over(d)); /* it ignores ranges */
    if (r->length >= 0 && (uint64_t)r->length != (uint64_t)d->file->bytes - d->have)
        return fp4_fail(FP4_ERR_FORMAT, "announced with %lld bytes, now sent with %llu; look at HF_ENDPOINT and proxies",
                        (long long)d->file->bytes, (unsigned long long)((uint64_t)r->length + d->have));
    return FP4_OK;
}

static fp4_status part_write(void *context, const void *data, size_t n) {
    struct download *d = context;
    if (n > (uint64_t)d->file->bytes - d->have)
        return fp4_fail(FP4_ERR_FORMAT, "the server sends more than the %lld bytes it announced; look at HF_ENDPOINT and proxies",
                        (long long)d->file->bytes);
    for (const char *p = data; n;) {
        ssize_t done = pwrite(d->fd, p, n, (off_t)d->have); /* at its place, whatever was truncated before */
        if (done < 0 && errno == EINTR)
            continue;
        if (done < 0)
            return no_room(d, errno);
        EVP_DigestUpdate(d->digest, p, (size_t)done);
        p += done;
        n -= (size_t)done;
        d->have += (uint64_t)done;
        d->h->received += (uint64_t)done;
    }
    fp4_progress_update(&d->h->progress, (double)d->h->received);
    return FP4_OK;
}

/* Opens the part, and takes what an earlier fetch left of it. */
static fp4_status open_part(struct download *d) {
    static const size_t piece = PREFIX_BYTES;
    struct stat info;
    char *bytes;
    d->fd = open(d->part, O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK, 0666);
    if (d->fd < 0)
        return fp4_fail(FP4_ERR_IO, "%s: cannot create: %s; set HF_HUB_CACHE to a folder that can be written", d->part, strerror(errno));
    if (fstat(d->fd, &info) != 0 || !S_ISREG(info.st_mode))
        return fp4_fail(FP4_ERR_IO, "%s: not a regular file; remove it", d->part);
    FP4_TRY(digest_begin(&d->digest, d->file->hash, d->file->bytes));
    if (info.st_size > d->file->bytes)
        return start_over(d);
    FP4_TRY(FP4_NEW(bytes, piece));
    ssize_t n;
    while ((n = read(d->fd, bytes, piece)) > 0) {
        EVP_DigestUpdate(d->digest, bytes, (size_t)n);
        d->have += (uint64_t)n;
    }
    fp4_free(bytes);
    return n == 0 ? FP4_OK : fp4_fail(FP4_ERR_IO, "%s: cannot read: %s", d->part, strerror(errno));
}

/* Until all bytes are there. Tries are counted from the last one that brought something. */
static fp4_status receive(struct download *d, const char *url, const char *what) {
    struct hub_reply reply;
    int attempt = 0, restarts = 0;
    while (d->have < (uint64_t)d->file->bytes) {
        uint64_t before = d->have;
        struct hub_request request = {.url = url, .from = d->have, .stall = d->h->download_timeout, .begin = part_begin, .write = part_write, .context = d};
        d->ignore_range = false;
        fp4_status status = hub_exchange(d->h, &request, &reply);
        if (d->ignore_range && restarts++ == 0) {
            FP4_TRY(start_over(d));
            continue;
        }
        if (status == FP4_OK && (reply.status == 200 || reply.status == 206)) {
            if (d->have == (uint64_t)d->file->bytes)
                break;
            reply.transient = true; /* without Content-Length, a cut line looks like an end */
            status = fp4_fail(FP4_ERR_IO, "the server ended after %llu of %lld bytes; run the same command again: it continues",
                              (unsigned long long)d->have, (long long)d->file->bytes);
        }
        if (d->have >= before + PROGRESS_THAT_COUNTS)
            attempt = 0;
        FP4_TRY(hub_try_again(d->h, status, &reply, what, &attempt));
    }
    return FP4_OK;
}

static fp4_status verify(struct download *d, const char *what) {
    char hex[2 * EVP_MAX_MD_SIZE + 1];
    struct stat info;
    digest_end(d->digest, hex);
    if (strcmp(hex, d->file->hash) == 0 && fstat(d->fd, &info) == 0 && info.st_size == d->file->bytes)
        return FP4_OK;
    unlink(d->part);
    return fp4_fail(FP4_ERR_FORMAT, "%s: wrong contents: the server announced %s %s, what came has %s; removed: run the same command again, and look at "
                                    "HF_ENDPOINT and proxies if it stays so", what, strlen(d->file->hash) == 40 ? "git sha1" : "sha256", d->file->hash, hex);
}

static fp4_status into_blob(struct hub *h, const struct fp4_hub_file *file, const char *url, const char *blob) {
    char what[HUB_WHAT];
    struct download d = {.h = h, .file = file, .fd = -1};
    snprintf(what, sizeof what, "%s: %s", h->spec->repo, file->name);
    fp4_status status = hub_path(d.part, "%s.incomplete", blob);
    if (status == FP4_OK)
        status = open_part(&d);
    if (status == FP4_OK)
        status = receive(&d, url, what);
    if (status == FP4_OK)
        status = verify(&d, what);
    else if (status == FP4_ERR_FORMAT)
        unlink(d.part); /* from a server that contradicts itself: nothing to continue from */
    if (status == FP4_OK && fsync(d.fd) != 0 && errno != EINVAL)
        status = no_room(&d, errno);
    if (status == FP4_OK && rename(d.part, blob) != 0)
        status = fp4_fail(FP4_ERR_IO, "%s: cannot rename into place: %s", blob, strerror(errno));
    if (d.fd >= 0)
        close(d.fd);
    EVP_MD_CTX_free(d.digest);
    h->downloaded += status == FP4_OK;
    return status;
}

/* ---- the lock that Hugging Face's tools take too: flock on CACHE/.locks/models--ORG--NAME/HASH.lock ---- */

static fp4_status lock(const struct hub *h, const char *hash, int *fd) {
    char folder[PATH_MAX], path[PATH_MAX];
    struct stat mine, named;
    FP4_TRY(hub_path(folder, "%s/.locks/%s", h->cache, strrchr(h->folder, '/') + 1));
    FP4_TRY(hub_make_dirs(folder));
    FP4_TRY(hub_path(path, "%s/%s.lock", folder, hash));
    for (;;) {
        *fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK, 0666);
        if (*fd < 0)
            return fp4_fail(FP4_ERR_IO, "%s: cannot create: %s; set HF_HUB_CACHE to a folder that can be written", path, strerror(errno));
        int rc;
        while ((rc = flock(*fd, LOCK_EX)) != 0 && errno == EINTR)
            ;
        if (rc != 0) {
            close(*fd);
            return fp4_fail(FP4_ERR_IO, "%s: cannot lock: %s; set HF_HUB_CACHE to a folder on a disk with locks", path, strerror(errno));
        }
        /* Another program may have removed the file while we waited: then the lock is on nothing. */
        if (fstat(*fd, &mine) == 0 && stat(path, &named) == 0 && mine.st_ino == named.st_ino && mine.st_dev == named.st_dev)
            return FP4_OK;
        close(*fd);
    }
}

/* ---- what is there ---- */

static fp4_status blob_path(const struct hub *h, const char *hash, char out[PATH_MAX]) { return hub_path(out, "%s/blobs/%s", h->folder, hash); }

static bool whole(const char *path, int64_t bytes) {
    int64_t size = hub_file_size(path);
    return size >= 0 && (bytes < 0 || size == bytes);
}

bool hub_is_cached(const struct hub *h, const char *commit, const struct fp4_hub_file *file) {
    char path[PATH_MAX];
    return (hub_path(path, "%s/snapshots/%s/%s", h->folder, commit, file->name) == FP4_OK && whole(path, file->bytes)) ||
           (*file->hash && blob_path(h, file->hash, path) == FP4_OK && whole(path, file->bytes));
}

uint64_t hub_missing_bytes(const struct hub *h, const struct fp4_hub_file *file) {
    char path[PATH_MAX];
    int64_t part = -1;
    if (file->cached || file->bytes < 0)
        return 0;
    if (*file->hash && hub_path(path, "%s/blobs/%s.incomplete", h->folder, file->hash) == FP4_OK)
        part = hub_file_size(path);
    return (uint64_t)(part > 0 && part <= file->bytes ? file->bytes - part : file->bytes);
}

/* snapshots/COMMIT/NAME → ../../blobs/HASH, one more ".." for each folder in NAME. Put in place by rename: never half there. */
static fp4_status link_blob(const struct hub *h, const char *commit, const struct fp4_hub_file *file) {
    char path[PATH_MAX], folder[PATH_MAX], target[PATH_MAX], temporary[PATH_MAX], up[3 * FP4_HUB_FILE] = "../../";
    FP4_TRY(hub_path(path, "%s/snapshots/%s/%s", h->folder, commit, file->name));
    if (whole(path, file->bytes))
        return FP4_OK;
    for (const char *p = strchr(file->name, '/'); p; p = strchr(p + 1, '/'))
        strcat(up, "../");
    FP4_TRY(hub_path(target, "%sblobs/%s", up, file->hash));
    FP4_TRY(hub_path(folder, "%s", path));
    *strrchr(folder, '/') = 0;
    FP4_TRY(hub_make_dirs(folder));
    FP4_TRY(hub_path(temporary, "%s/.fp4lab-%ld.link", folder, (long)getpid()));
    unlink(temporary);
    if (symlink(target, temporary) != 0)
        return fp4_fail(FP4_ERR_IO, "%s: cannot link: %s; set HF_HUB_CACHE to a disk with symbolic links", path, strerror(errno));
    if (rename(temporary, path) != 0) {
        fp4_fail(FP4_ERR_IO, "%s: cannot rename into place: %s", path, strerror(errno));
        unlink(temporary);
        return FP4_ERR_IO;
    }
    return FP4_OK;
}

/* ---- asking for one file ---- */

static fp4_status disagree(const struct hub *h, const struct fp4_hub_file *file, const char *field) {
    return fp4_fail(FP4_ERR_FORMAT, "%s: %s: the server contradicts itself about its %s; look at HF_ENDPOINT and proxies", h->spec->repo, file->name, field);
}

/* Size and hash as the headers give them: X-Linked-… for LFS files, else those of the file itself. */
static fp4_status read_metadata(const struct hub *h, const char *commit, const struct hub_reply *r, struct fp4_hub_file *file) {
    const char *hash = *r->linked_etag ? r->linked_etag : r->etag;
    int64_t size = r->linked_size >= 0 ? r->linked_size : *r->linked_etag ? -1 : r->length;
    if (!hub_is_hex(hash, 64) && !hub_is_hex(hash, 40))
        return fp4_fail(FP4_ERR_FORMAT, "%s: %s: the server gives no hash to check it by; look at HF_ENDPOINT", h->spec->repo, file->name);
    if (*r->commit && strcmp(r->commit, commit) != 0)
        return disagree(h, file, "commit");
    if (*file->hash && strcmp(file->hash, hash) != 0)
        return disagree(h, file, "hash");
    if (file->bytes >= 0 && size >= 0 && file->bytes != size)
        return disagree(h, file, "size");
    if (file->bytes < 0 && size < 0)
        return fp4_fail(FP4_ERR_FORMAT, "%s: %s: the server does not say its size; look at HF_ENDPOINT", h->spec->repo, file->name);
    snprintf(file->hash, sizeof file->hash, "%.64s", hash);
    file->bytes = file->bytes >= 0 ? file->bytes : size;
    return FP4_OK;
}

static fp4_status ask(struct hub *h, const char *commit, const char *url, struct fp4_hub_file *file) {
    char what[HUB_WHAT];
    struct hub_reply reply;
    int attempt = 0;
    struct hub_request request = {.url = url, .head = true, .stall = h->answer_timeout, .total = 3 * h->answer_timeout};
    snprintf(what, sizeof what, "%s: %s", h->spec->repo, file->name);
    for (;;) {
        fp4_status status = hub_exchange(h, &request, &reply);
        if (status == FP4_OK && (reply.status == 200 || (*reply.linked_etag && reply.status < 400)))
            return read_metadata(h, commit, &reply, file);
        FP4_TRY(hub_try_again(h, status, &reply, what, &attempt));
    }
}

fp4_status hub_enough_room(const struct hub *h, uint64_t bytes) {
    struct statvfs disk;
    char folder[PATH_MAX];
    FP4_TRY(hub_path(folder, "%s", h->cache));
    while (strchr(folder + 1, '/') && access(folder, F_OK) != 0)
        *strrchr(folder, '/') = 0;
    if (statvfs(folder, &disk) == 0 && (double)disk.f_bavail * (double)disk.f_frsize < (double)bytes)
        return fp4_fail(FP4_ERR_IO, "%s: %.1f MB are needed, %.1f MB are free; free some or set HF_HUB_CACHE to another disk", h->cache, (double)bytes / 1e6,
                        (double)disk.f_bavail * (double)disk.f_frsize / 1e6);
    return FP4_OK;
}

static fp4_status locked_download(struct hub *h, const struct fp4_hub_file *file, const char *url, const char *blob) {
    int fd;
    FP4_TRY(lock(h, file->hash, &fd));
    fp4_status status = FP4_OK;
    if (!whole(blob, file->bytes)) { /* not brought by whoever held the lock */
        status = hub_enough_room(h, hub_missing_bytes(h, file));
        if (status == FP4_OK)
            status = into_blob(h, file, url, blob);
    }
    close(fd);
    return status;
}

fp4_status hub_download(struct hub *h, const char *commit, struct fp4_hub_file *file) {
    char url[4096], name[3 * FP4_HUB_FILE], blob[PATH_MAX], folder[PATH_MAX];
    FP4_TRY(hub_path(blob, "%s/snapshots/%s/%s", h->folder, commit, file->name));
    if (whole(blob, file->bytes))
        return FP4_OK;
    hub_escape(file->name, true, name);
    snprintf(url, sizeof url, "%s/%s/resolve/%s/%s", h->endpoint, h->spec->repo, commit, name);
    FP4_TRY(hub_path(folder, "%s/blobs", h->folder));
    if (!*file->hash || blob_path(h, file->hash, blob) != FP4_OK || !whole(blob, file->bytes)) {
        FP4_TRY(ask(h, commit, url, file));
        FP4_TRY(blob_path(h, file->hash, blob));
    }
    FP4_TRY(hub_make_dirs(folder));
    if (!whole(blob, file->bytes))
        FP4_TRY(locked_download(h, file, url, blob));
    return link_blob(h, commit, file);
}
