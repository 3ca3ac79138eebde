/* What a repository holds, and which of it a model needs. */
#include <ctype.h>
#include <fnmatch.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "lib/base/json.h"
#include "lib/hub/internal.h"

/* The answer of the largest repositories has some MB. */
enum { LISTING_MAX = 32 << 20, FILES_MAX = 100000, VALUES_MAX = 12 * FILES_MAX };

/* ---- a bounded answer in memory ---- */

struct buffer {
    char *text;
    size_t n, room;
};

static fp4_status buffer_begin(void *context, const struct hub_reply *reply) {
    struct buffer *b = context;
    b->n = 0;
    if (reply->status != 200)
        return fp4_fail(FP4_ERR_FORMAT, "the server answers %ld with a part of its list of files; look at HF_ENDPOINT and proxies", reply->status);
    if (reply->length > LISTING_MAX)
        return fp4_fail(FP4_ERR_FORMAT, "the server's list of files has more than %d MiB; look at HF_ENDPOINT", LISTING_MAX >> 20);
    return FP4_OK;
}

static fp4_status buffer_write(void *context, const void *data, size_t n) {
    struct buffer *b = context;
    if (n > LISTING_MAX - b->n)
        return fp4_fail(FP4_ERR_FORMAT, "the server's list of files has more than %d MiB; look at HF_ENDPOINT", LISTING_MAX >> 20);
    FP4_TRY(FP4_RESERVE(b->text, b->n, b->n + n, &b->room));
    memcpy(b->text + b->n, data, n);
    b->n += n;
    return FP4_OK;
}

static fp4_status get_listing(struct hub *h, struct buffer *b) {
    char url[2048], revision[3 * FP4_HUB_REVISION], what[HUB_WHAT];
    struct hub_reply reply;
    int attempt = 0;
    hub_escape(h->spec->revision, false, revision);
    snprintf(url, sizeof url, "%s/api/models/%s/revision/%s?blobs=true", h->endpoint, h->spec->repo, revision);
    snprintf(what, sizeof what, "%s@%s", h->spec->repo, h->spec->revision);
    struct hub_request request = {.url = url, .stall = h->answer_timeout, .total = 12 * h->answer_timeout,
                                  .begin = buffer_begin, .write = buffer_write, .context = b};
    for (;;) {
        fp4_status status = hub_exchange(h, &request, &reply);
        if (status == FP4_OK && reply.status == 200)
            return FP4_OK;
        FP4_TRY(hub_try_again(h, status, &reply, what, &attempt));
    }
}

/* An empty array of two bytes takes a hundred once it is read: an answer of nothing but those is refused before. An entry has eight values. */
static bool too_many_values(const struct buffer *b) {
    size_t n = 0;
    for (size_t i = 0; i < b->n; i++)
        n += b->text[i] == ',' || b->text[i] == '[' || b->text[i] == '{';
    return n > VALUES_MAX;
}

/* ---- its contents ---- */

static int by_name(const void *a, const void *b) { return strcmp(((const struct fp4_hub_file *)a)->name, ((const struct fp4_hub_file *)b)->name); }

void fp4_hub_listing_free(struct fp4_hub_listing *l) {
    for (size_t i = 0; i < l->n; i++)
        fp4_free(l->files[i].name);
    fp4_free(l->files);
    *l = (struct fp4_hub_listing){0};
}

/* {"rfilename", "size", "blobId", "lfs": {"sha256", "size"}}; a server that ignores blobs=true gives the name alone. */
static fp4_status read_entry(const struct hub *h, json_t *entry, struct fp4_hub_file *f) {
    json_t *name = json_object_get(entry, "rfilename"), *lfs = json_object_get(entry, "lfs"), *size = json_object_get(entry, "size");
    const char *git = json_string_value(json_object_get(entry, "blobId")), *sha = json_string_value(json_object_get(lfs, "sha256"));
    if (!json_is_string(name) || strlen(json_string_value(name)) != json_string_length(name) || !hub_name_safe(json_string_value(name)))
        return fp4_fail(FP4_ERR_FORMAT, "%s: the server lists a file named \"%.200s\", which could leave the cache or deceive its reader; refused: look at HF_ENDPOINT",
                        h->spec->repo, json_is_string(name) ? json_string_value(name) : "");
    if (json_is_object(lfs) && json_is_integer(json_object_get(lfs, "size")))
        size = json_object_get(lfs, "size");
    f->bytes = json_is_integer(size) ? (int64_t)json_integer_value(size) : -1;
    if (json_is_integer(size) && f->bytes < 0)
        return fp4_fail(FP4_ERR_FORMAT, "%s: the server gives %s a negative size; look at HF_ENDPOINT", h->spec->repo, json_string_value(name));
    if (sha && hub_is_hex(sha, 64))
        snprintf(f->hash, sizeof f->hash, "%s", sha);
    else if (!lfs && git && hub_is_hex(git, 40))
        snprintf(f->hash, sizeof f->hash, "%s", git);
    return fp4_strdup(json_string_value(name), &f->name);
}

static fp4_status read_listing(const struct hub *h, json_t *root, struct fp4_hub_listing *all) {
    const char *commit = json_string_value(json_object_get(root, "sha"));
    json_t *siblings = json_object_get(root, "siblings");
    if (!commit || !hub_is_hex(commit, 40) || !json_is_array(siblings))
        return fp4_fail(FP4_ERR_FORMAT, "%s: the server's answer is not that of a model hub (no commit, no list of files); look at HF_ENDPOINT", h->spec->repo);
    if (hub_is_hex(h->spec->revision, 40) && strcmp(commit, h->spec->revision) != 0)
        return fp4_fail(FP4_ERR_FORMAT, "%s: asked for commit %s, the server answers with %s; look at HF_ENDPOINT", h->spec->repo, h->spec->revision, commit);
    size_t n = json_array_size(siblings);
    if (n > FILES_MAX)
        return fp4_fail(FP4_ERR_FORMAT, "%s: the server lists %zu files; %d are possible", h->spec->repo, n, FILES_MAX);
    snprintf(all->commit, sizeof all->commit, "%s", commit);
    FP4_TRY(FP4_NEW(all->files, n));
    for (; all->n < n; all->n++)
        FP4_TRY(read_entry(h, json_array_get(siblings, all->n), &all->files[all->n]));
    qsort(all->files, n, sizeof *all->files, by_name);
    for (size_t i = 1; i < n; i++)
        if (strcmp(all->files[i - 1].name, all->files[i].name) == 0)
            return fp4_fail(FP4_ERR_FORMAT, "%s: the server lists %s twice; look at HF_ENDPOINT", h->spec->repo, all->files[i].name);
    return FP4_OK;
}

/* ---- choosing ---- */

/* The order of fetching: with the weights last, a snapshot that has them is whole. */
static const char *const needed[] = {"config.json",  "generation_config.json", "tokenizer.json",        "tokenizer.model",         "vocab.json",
                                     "merges.txt",   "tokenizer_config.json",  "special_tokens_map.json", "added_tokens.json", "chat_template.jinja"};
enum { N_NEEDED = sizeof needed / sizeof *needed };

const char *const *hub_needed(size_t *n) {
    *n = N_NEEDED;
    return needed;
}

struct fp4_hub_file *hub_find(const struct fp4_hub_listing *all, const char *name) {
    const struct fp4_hub_file key = {.name = (char *)(uintptr_t)name};
    return all->n ? bsearch(&key, all->files, all->n, sizeof key, by_name) : NULL;
}

static fp4_status add(struct fp4_hub_listing *chosen, const struct fp4_hub_file *f) {
    if (!f)
        return FP4_OK;
    chosen->files[chosen->n] = *f;
    FP4_TRY(fp4_strdup(f->name, &chosen->files[chosen->n].name));
    chosen->n++;
    return FP4_OK;
}

/* The kinds of weights that a folder is opened by, the better first. */
static const struct {
    const char *single, *index;
} weights[] = {{"model.safetensors", "model.safetensors.index.json"}, {"pytorch_model.bin", "pytorch_model.bin.index.json"}};
enum { N_WEIGHTS = sizeof weights / sizeof *weights };

const char *hub_weights(size_t i, bool sharded) { return i >= N_WEIGHTS ? NULL : sharded ? weights[i].index : weights[i].single; }

/* model-00001-of-00003.safetensors: the names transformers writes; what an index names besides is fetched after it. */
static bool is_shard(size_t kind, const char *name) {
    unsigned int i, of;
    int end = 0;
    int read = kind == 0 ? sscanf(name, "model-%5u-of-%5u.safetensors%n", &i, &of, &end) : sscanf(name, "pytorch_model-%5u-of-%5u.bin%n", &i, &of, &end);
    return read == 2 && end > 0 && name[end] == 0;
}

bool hub_ends_with(const char *name, const char *end) {
    size_t n = strlen(name), m = strlen(end);
    return n > m && strcasecmp(name + n - m, end) == 0;
}

static bool matches(const char *patterns, const char *name) {
    char pattern[FP4_HUB_FILE];
    for (const char *p = patterns; p && *p;) {
        size_t n = strcspn(p, ",");
        if (n && n < sizeof pattern) {
            memcpy(pattern, p, n);
            pattern[n] = 0;
            if (fnmatch(pattern, name, 0) == 0)
                return true;
        }
        p += n + (p[n] == ',');
    }
    return false;
}

/* The GGUF files with their sizes, as far as a message has room. */
static fp4_status which_gguf(const struct hub *h, const struct fp4_hub_listing *all, size_t n) {
    char list[600] = "";
    size_t used = 0, shown = 0;
    for (size_t i = 0; i < all->n; i++)
        if (hub_ends_with(all->files[i].name, ".gguf") && used + strlen(all->files[i].name) + 24 < sizeof list) {
            used += (size_t)snprintf(list + used, sizeof list - used, "%s%s", shown ? ", " : "", all->files[i].name);
            if (all->files[i].bytes >= 0)
                used += (size_t)snprintf(list + used, sizeof list - used, " (%.0f MB)", (double)all->files[i].bytes / 1e6);
            shown++;
        }
    return fp4_fail(FP4_ERR_ARG, "%s: has %zu GGUF files; choose one as %s:FILE: %s%s", h->spec->repo, n, h->spec->repo, list,
                    shown < n ? ", and more" : "");
}

static fp4_status choose_gguf(const struct hub *h, const struct fp4_hub_listing *all, struct fp4_hub_listing *chosen) {
    size_t n = 0;
    const struct fp4_hub_file *only = NULL;
    for (size_t i = 0; i < all->n; i++)
        if (hub_ends_with(all->files[i].name, ".gguf")) {
            only = &all->files[i];
            n++;
        }
    if (n == 1)
        return add(chosen, only);
    if (n > 1)
        return which_gguf(h, all, n);
    for (size_t i = 0; i < N_WEIGHTS; i++)
        if (hub_find(all, weights[i].single) || hub_find(all, weights[i].index))
            return fp4_fail(FP4_ERR_UNSUPPORTED, "%s: revision %s has %s and no config.json that says what they are; --include chooses files by pattern",
                            h->spec->repo, h->spec->revision, i ? "PyTorch's weights" : "safetensors");
    return fp4_fail(FP4_ERR_UNSUPPORTED, "%s: revision %s has neither model.safetensors nor pytorch_model.bin nor a GGUF file; --include chooses files by pattern",
                    h->spec->repo, h->spec->revision);
}

static fp4_status choose_model(const struct hub *h, const struct fp4_hub_listing *all, struct fp4_hub_listing *chosen) {
    size_t kind = 0;
    while (kind < N_WEIGHTS && !hub_find(all, weights[kind].single) && !hub_find(all, weights[kind].index))
        kind++;
    if (!hub_find(all, "config.json") || kind == N_WEIGHTS)
        return choose_gguf(h, all, chosen);
    for (size_t i = 0; i < N_NEEDED; i++)
        FP4_TRY(add(chosen, hub_find(all, needed[i])));
    if (hub_find(all, weights[kind].single))
        return add(chosen, hub_find(all, weights[kind].single));
    FP4_TRY(add(chosen, hub_find(all, weights[kind].index)));
    for (size_t i = 0; i < all->n; i++)
        if (is_shard(kind, all->files[i].name))
            FP4_TRY(add(chosen, &all->files[i]));
    return FP4_OK;
}

static fp4_status choose(const struct hub *h, const struct fp4_hub_listing *all, struct fp4_hub_listing *chosen) {
    const char *include = h->options.include, *exclude = h->options.exclude;
    snprintf(chosen->commit, sizeof chosen->commit, "%s", all->commit);
    FP4_TRY(FP4_NEW(chosen->files, all->n));
    if (*h->spec->file)
        return hub_find(all, h->spec->file) ? add(chosen, hub_find(all, h->spec->file))
                                        : fp4_fail(FP4_ERR_ARG, "%s: revision %s has no file %s; 'fp4lab fetch --dry-run --include \"*\"' lists what it has",
                                                   h->spec->repo, h->spec->revision, h->spec->file);
    if (!include)
        FP4_TRY(choose_model(h, all, chosen));
    for (size_t i = 0; include && i < all->n; i++)
        if (matches(include, all->files[i].name))
            FP4_TRY(add(chosen, &all->files[i]));
    size_t kept = 0;
    for (size_t i = 0; i < chosen->n; i++)
        if (matches(exclude, chosen->files[i].name))
            fp4_free(chosen->files[i].name);
        else
            chosen->files[kept++] = chosen->files[i];
    chosen->n = kept;
    return kept ? FP4_OK : fp4_fail(FP4_ERR_ARG, "%s: no file is left by --include and --exclude", h->spec->repo);
}

fp4_status hub_list(struct hub *h, struct fp4_hub_listing *chosen, struct fp4_hub_listing *all) {
    struct buffer b = {0};
    struct fp4_hub_listing own = {0};
    json_error_t error;
    *chosen = (struct fp4_hub_listing){0};
    fp4_status status = get_listing(h, &b);
    if (status == FP4_OK && too_many_values(&b))
        status = fp4_fail(FP4_ERR_FORMAT, "%s: the server's list of files holds more than the %d files that are possible; look at HF_ENDPOINT", h->spec->repo, FILES_MAX);
    json_t *root = status == FP4_OK ? json_parse(b.text ? b.text : "", b.n, JSON_REJECT_DUPLICATES, &error) : NULL;
    if (status == FP4_OK && !root)
        status = fp4_fail(json_fault(&error), "%s: the server's list of files is not JSON (%s); look at HF_ENDPOINT and proxies", h->spec->repo, error.text);
    fp4_free(b.text);
    if (status == FP4_OK)
        status = read_listing(h, root, &own);
    json_decref(root);
    if (status == FP4_OK)
        status = choose(h, &own, chosen);
    for (size_t i = 0; status == FP4_OK && i < chosen->n; i++)
        chosen->files[i].cached = hub_is_cached(h, own.commit, &chosen->files[i]);
    if (status != FP4_OK)
        fp4_hub_listing_free(chosen);
    if (status == FP4_OK && all)
        *all = own;
    else
        fp4_hub_listing_free(&own);
    return status;
}
