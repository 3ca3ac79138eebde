/* Finding, listing, fetching. */
#include "fp4lab/hub.h"

#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "lib/hub/internal.h"
#include "lib/io/shards.h"

static void describe(const struct hub *h, const char *commit, struct fp4_hub_found *out) {
    snprintf(out->repo, sizeof out->repo, "%s", h->spec->repo);
    snprintf(out->commit, sizeof out->commit, "%s", commit);
}

static fp4_status find_in(const struct hub *h, struct fp4_hub_found *out) {
    char commit[41], folder[PATH_MAX];
    struct stat info;
    *out = (struct fp4_hub_found){0};
    bool known = hub_known_commit(h, commit);
    if (known)
        FP4_TRY(hub_path(folder, "%s/snapshots/%s", h->folder, commit));
    if (!known || stat(folder, &info) != 0)
        return fp4_fail(FP4_ERR_IO, "%s@%s: not in %s", h->spec->repo, h->spec->revision, h->cache);
    FP4_TRY(hub_snapshot_model(h, commit, out->path));
    describe(h, commit, out);
    return FP4_OK;
}

fp4_status fp4_hub_find(const struct fp4_hub_spec *spec, struct fp4_hub_found *out) {
    struct hub h;
    *out = (struct fp4_hub_found){0};
    fp4_status status = hub_begin(&h, spec, NULL);
    if (status == FP4_OK)
        status = find_in(&h, out);
    hub_end(&h);
    return status == FP4_ERR_IO ? fp4_fail(status, "%s; bring it with: fp4lab fetch %s@%s", fp4_last_error(), spec->repo, spec->revision) : status;
}

fp4_status fp4_hub_list(const struct fp4_hub_spec *spec, const struct fp4_hub_options *options, struct fp4_hub_listing *out) {
    struct hub h;
    *out = (struct fp4_hub_listing){0};
    if (hub_is_offline(options))
        return fp4_fail(FP4_ERR_ARG, "%s: its list of files is at the server, which HF_HUB_OFFLINE or --offline excludes", spec->repo);
    fp4_status status = hub_begin(&h, spec, options);
    if (status == FP4_OK)
        status = hub_list(&h, out, NULL);
    hub_end(&h);
    return status;
}

/* ---- fetching ---- */

/* Shards that the index names and the usual pattern does not. */
static fp4_status fetch_shards(struct hub *h, const struct fp4_hub_listing *all, const char *index) {
    char path[PATH_MAX];
    struct io_shards shards;
    FP4_TRY(hub_path(path, "%s/snapshots/%s/%s", h->folder, all->commit, index));
    fp4_status status = io_shards_open(path, &shards);
    for (size_t i = 0; i < shards.n && status == FP4_OK; i++) {
        struct fp4_hub_file *file = hub_find(all, shards.names[i]);
        status = file ? hub_download(h, all->commit, file)
                      : fp4_fail(FP4_ERR_FORMAT, "%s: its index names %s, which the repository does not have", h->spec->repo, shards.names[i]);
    }
    io_shards_free(&shards);
    return status;
}

/* refs/REVISION holds the commit. Written last: until all is there, the revision leads to what it led to before. */
static fp4_status write_ref(const struct hub *h, const char *commit) {
    char path[PATH_MAX], folder[PATH_MAX], known[41];
    if (strcmp(h->spec->revision, commit) == 0 || (hub_known_commit(h, known) && strcmp(known, commit) == 0))
        return FP4_OK;
    FP4_TRY(hub_path(path, "%s/refs/%s", h->folder, h->spec->revision));
    FP4_TRY(hub_path(folder, "%s", path));
    *strrchr(folder, '/') = 0;
    FP4_TRY(hub_make_dirs(folder));
    return fp4_write_file(path, commit, strlen(commit));
}

/* An empty file .no_exist/COMMIT/NAME tells transformers that it need not ask for NAME. A help only: failures do not matter. */
static void note_absent(const struct hub *h, const struct fp4_hub_listing *all) {
    char path[PATH_MAX], folder[PATH_MAX];
    size_t n;
    const char *const *needed = hub_needed(&n);
    if (hub_path(folder, "%s/.no_exist/%s", h->folder, all->commit) != FP4_OK)
        return;
    for (size_t i = 0; i < n; i++) {
        bool there = false;
        for (size_t k = 0; k < all->n && !there; k++)
            there = strcmp(all->files[k].name, needed[i]) == 0;
        if (there || hub_path(path, "%s/%s", folder, needed[i]) != FP4_OK || fp4_make_dirs(folder) != FP4_OK)
            continue;
        int fd = open(path, O_WRONLY | O_CREAT | O_CLOEXEC, 0666);
        if (fd >= 0)
            close(fd);
    }
}

static fp4_status fetch_files(struct hub *h, const struct fp4_hub_listing *chosen, const struct fp4_hub_listing *all) {
    uint64_t missing = 0;
    const char *index = NULL;
    for (size_t i = 0; i < chosen->n; i++)
        missing += hub_missing_bytes(h, &chosen->files[i]);
    if (missing)
        FP4_TRY(hub_enough_room(h, missing));
    if (h->progress_wanted)
        fp4_progress_begin(&h->progress, h->spec->repo, (double)missing);
    for (size_t i = 0; i < chosen->n; i++) {
        h->progress.label = chosen->files[i].name;
        FP4_TRY(hub_download(h, chosen->commit, &chosen->files[i]));
        for (size_t k = 0; hub_weights(k, true); k++)
            if (strcmp(chosen->files[i].name, hub_weights(k, true)) == 0)
                index = hub_weights(k, true);
    }
    if (index && !h->options.include && !h->options.exclude && !*h->spec->file)
        FP4_TRY(fetch_shards(h, all, index));
    note_absent(h, all);
    return write_ref(h, chosen->commit);
}

/* The model in the snapshot; its folder when the user chose files by pattern. */
static fp4_status fetched_path(const struct hub *h, const char *commit, struct fp4_hub_found *out) {
    char path[PATH_MAX];
    if (!h->options.include && !h->options.exclude)
        return hub_snapshot_model(h, commit, out->path);
    FP4_TRY(hub_path(path, "%s/snapshots/%s", h->folder, commit));
    int n = snprintf(out->path, sizeof out->path, "%s", path);
    return n < FP4_HUB_PATH ? FP4_OK : fp4_fail(FP4_ERR_ARG, "%.200s...: path too long; set HF_HUB_CACHE to a shorter one", path);
}

static fp4_status fetch_with(struct hub *h, struct fp4_hub_found *out) {
    struct fp4_hub_listing chosen, all = {0};
    FP4_TRY(hub_list(h, &chosen, &all));
    fp4_status status = fetch_files(h, &chosen, &all);
    fp4_progress_end(&h->progress);
    if (status == FP4_OK)
        status = fetched_path(h, chosen.commit, out);
    describe(h, chosen.commit, out);
    out->files = chosen.n;
    out->downloaded = h->downloaded;
    out->bytes = h->received;
    fp4_hub_listing_free(&chosen);
    fp4_hub_listing_free(&all);
    return status;
}

fp4_status fp4_hub_fetch(const struct fp4_hub_spec *spec, const struct fp4_hub_options *options, struct fp4_hub_found *out) {
    struct hub h;
    *out = (struct fp4_hub_found){0};
    fp4_status status = hub_begin(&h, spec, options);
    if (status == FP4_OK && hub_is_offline(options)) {
        status = find_in(&h, out);
        if (status == FP4_ERR_IO)
            status = fp4_fail(status, "%s, and nothing is downloaded offline; leave out --offline and HF_HUB_OFFLINE to fetch it", fp4_last_error());
    } else if (status == FP4_OK)
        status = fetch_with(&h, out);
    hub_end(&h);
    return status;
}

/* ---- models by name ---- */

/* Of the form ORG/NAME, and not a file's name that was mistyped. */
static bool names_repository(const char *model, struct fp4_hub_spec *spec) {
    if (fp4_hub_parse(model, spec) != FP4_OK)
        return false;
    return !hub_ends_with(spec->repo, ".gguf") && !hub_ends_with(spec->repo, ".safetensors") && !hub_ends_with(spec->repo, ".json");
}

fp4_status fp4_hub_locate(const char *model, const struct fp4_hub_options *options, struct fp4_hub_found *out) {
    struct fp4_hub_spec spec;
    struct stat info;
    *out = (struct fp4_hub_found){0};
    if (lstat(model, &info) == 0 || !names_repository(model, &spec)) {
        int n = snprintf(out->path, sizeof out->path, "%s", model);
        return n < FP4_HUB_PATH ? FP4_OK : fp4_fail(FP4_ERR_ARG, "%.200s...: path too long", model);
    }
    if (fp4_hub_find(&spec, out) == FP4_OK)
        return FP4_OK;
    fp4_status status = fp4_hub_fetch(&spec, options, out);
    return status == FP4_OK ? FP4_OK : fp4_fail(status, "%s (nor is there a file or folder %.200s)", fp4_last_error(), model);
}
