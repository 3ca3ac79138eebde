/* Names, settings from the environment, and the layout of the cache. */
#include <ctype.h>
#include <curl/curl.h>
#include <dirent.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/stat.h>

#include "lib/hub/internal.h"
#include "lib/io/shards.h"

/* ---- names ---- */

bool hub_is_hex(const char *text, size_t n) { return strlen(text) == n && strspn(text, "0123456789abcdef") == n; }

bool hub_name_safe(const char *name) {
    size_t n = strlen(name);
    if (n == 0 || n >= FP4_HUB_FILE || name[0] == '/' || name[n - 1] == '/')
        return false;
    for (const char *p = name; *p;) {
        char shown[FP4_ESCAPED];
        size_t used = fp4_escape(p, (size_t)(name + n - p), shown);
        if (*p == '\\' || strncmp(shown, p, used) != 0)
            return false; /* control characters, or what hides or turns text: such a name would lie in every output */
        p += used;
    }
    for (const char *p = name; p; p = strchr(p, '/')) {
        p += *p == '/';
        size_t part = strcspn(p, "/");
        if (part == 0 || part > 255 || (part == 1 && p[0] == '.') || (part == 2 && p[0] == '.' && p[1] == '.'))
            return false;
    }
    return true;
}

/* The hub's rule for each half: letters, digits, '-', '_', '.'; no '--' or '..', neither '-' nor '.' at an end. */
static bool half_ok(const char *half, size_t n) {
    if (n == 0 || n > 96 || strchr("-.", half[0]) || strchr("-.", half[n - 1]))
        return false;
    for (size_t i = 0; i < n; i++) {
        if (!isascii((unsigned char)half[i]) || (!isalnum((unsigned char)half[i]) && !strchr("-_.", half[i])))
            return false;
        if (i && half[i] == half[i - 1] && (half[i] == '-' || half[i] == '.'))
            return false;
    }
    return true;
}

static bool take(char *out, size_t size, const char *text, size_t n) {
    if (n >= size)
        return false;
    memcpy(out, text, n);
    out[n] = 0;
    return true;
}

fp4_status fp4_hub_parse(const char *text, struct fp4_hub_spec *out) {
    *out = (struct fp4_hub_spec){.revision = "main"};
    size_t repo = strcspn(text, "@:"), slash = strcspn(text, "/");
    if (slash >= repo || !half_ok(text, slash) || !half_ok(text + slash + 1, repo - slash - 1) || !take(out->repo, FP4_HUB_REPO, text, repo))
        return fp4_fail(FP4_ERR_ARG, "%s: not the name of a repository; write ORG/NAME, ORG/NAME@REVISION or ORG/NAME:FILE", text);
    const char *rest = text + repo;
    if (*rest == '@') {
        size_t n = strcspn(++rest, ":");
        if (!take(out->revision, FP4_HUB_REVISION, rest, n) || !hub_name_safe(out->revision))
            return fp4_fail(FP4_ERR_ARG, "%s: what follows @ is not a branch, a tag or a commit", text);
        rest += n;
    }
    if (*rest == ':' && (!take(out->file, FP4_HUB_FILE, rest + 1, strlen(rest + 1)) || !hub_name_safe(out->file)))
        return fp4_fail(FP4_ERR_ARG, "%s: what follows : is not the name of a file in a repository", text);
    return FP4_OK;
}

/* ---- settings ---- */

static const char *variable(const char *name) {
    const char *value = getenv(name);
    return value && *value ? value : NULL;
}

static bool is_true(const char *name) {
    const char *value = variable(name);
    return value && (strcmp(value, "1") == 0 || strcasecmp(value, "on") == 0 || strcasecmp(value, "yes") == 0 || strcasecmp(value, "true") == 0);
}

bool hub_is_offline(const struct fp4_hub_options *options) {
    return (options && options->offline) || is_true("HF_HUB_OFFLINE") || is_true("TRANSFORMERS_OFFLINE");
}

fp4_status hub_path(char out[PATH_MAX], const char *format, ...) {
    va_list arguments;
    va_start(arguments, format);
    int n = vsnprintf(out, PATH_MAX, format, arguments);
    va_end(arguments);
    return n >= 0 && n < PATH_MAX ? FP4_OK : fp4_fail(FP4_ERR_ARG, "%.200s...: path too long; set HF_HUB_CACHE to a shorter one", out);
}

/* A folder from a variable, ~ expanded as Hugging Face's tools do, then a suffix. */
static fp4_status folder_from(char out[PATH_MAX], const char *value, const char *suffix) {
    const char *home = variable("HOME");
    if (value[0] == '~' && (value[1] == '/' || value[1] == 0)) {
        if (!home)
            return fp4_fail(FP4_ERR_ARG, "%s: HOME is not set, so ~ is nothing; set HF_HUB_CACHE to a full path", value);
        return hub_path(out, "%s%s%s", home, value + 1, suffix);
    }
    return hub_path(out, "%s%s", value, suffix);
}

/* HF_HOME, with a suffix. */
static fp4_status home_folder(char out[PATH_MAX], const char *suffix) {
    char tail[64];
    if (variable("HF_HOME"))
        return folder_from(out, variable("HF_HOME"), suffix);
    snprintf(tail, sizeof tail, "/huggingface%s", suffix);
    return folder_from(out, variable("XDG_CACHE_HOME") ? variable("XDG_CACHE_HOME") : "~/.cache", tail);
}

static fp4_status set_cache(struct hub *h) {
    char path[PATH_MAX];
    const char *named = variable("HF_HUB_CACHE") ? variable("HF_HUB_CACHE") : variable("HUGGINGFACE_HUB_CACHE");
    FP4_TRY(named ? folder_from(path, named, "") : home_folder(path, "/hub"));
    int n = snprintf(h->cache, sizeof h->cache, "%s", path);
    if (n < 0 || (size_t)n + FP4_HUB_REPO + 64 >= sizeof h->cache)
        return fp4_fail(FP4_ERR_ARG, "%.200s...: path too long; set HF_HUB_CACHE to a shorter one", path);
    char *end = h->folder + snprintf(h->folder, sizeof h->folder, "%s/models--", h->cache);
    for (const char *p = h->spec->repo; *p; p++)
        end = *p == '/' ? memcpy(end, "--", 2), end + 2 : (*end = *p, end + 1);
    *end = 0;
    return FP4_OK;
}

/* Without blanks at its ends; anything else than visible ASCII inside would let it write headers of its own. */
static fp4_status set_token(struct hub *h, const char *text, const char *source) {
    text += strspn(text, " \t\r\n");
    size_t n = strlen(text);
    while (n && strchr(" \t\r\n", text[n - 1]))
        n--;
    if (!take(h->token, sizeof h->token, text, n))
        return fp4_fail(FP4_ERR_ARG, "%s: too long for a token", source);
    for (size_t i = 0; i < n; i++)
        if (h->token[i] <= 0x20 || h->token[i] >= 0x7f) {
            explicit_bzero(h->token, sizeof h->token);
            return fp4_fail(FP4_ERR_ARG, "%s: holds characters that no token has; copy the token again", source);
        }
    return FP4_OK;
}

static fp4_status find_token(struct hub *h) {
    char path[PATH_MAX], *text;
    struct stat info;
    if (is_true("HF_HUB_DISABLE_IMPLICIT_TOKEN"))
        return FP4_OK;
    if (variable("HF_TOKEN"))
        return set_token(h, variable("HF_TOKEN"), "HF_TOKEN");
    if (variable("HUGGING_FACE_HUB_TOKEN"))
        return set_token(h, variable("HUGGING_FACE_HUB_TOKEN"), "HUGGING_FACE_HUB_TOKEN");
    FP4_TRY(variable("HF_TOKEN_PATH") ? folder_from(path, variable("HF_TOKEN_PATH"), "") : home_folder(path, "/token"));
    if (stat(path, &info) != 0)
        return FP4_OK;
    FP4_TRY(fp4_read_file(path, 4096, &text, NULL));
    fp4_status status = set_token(h, text, path);
    explicit_bzero(text, strlen(text));
    fp4_free(text);
    return status;
}

static double seconds(const char *name) {
    double value = variable(name) ? strtod(variable(name), NULL) : 0;
    return value > 0 && value <= 86400 ? value : 10;
}

static fp4_status set_endpoint(struct hub *h) {
    const char *named = variable("HF_ENDPOINT") ? variable("HF_ENDPOINT") : "https://huggingface.co";
    size_t n = strlen(named);
    while (n && named[n - 1] == '/')
        n--;
    bool ok = (strncasecmp(named, "https://", 8) == 0 || strncasecmp(named, "http://", 7) == 0) && take(h->endpoint, HUB_ENDPOINT, named, n);
    for (const char *p = h->endpoint; *p; p++)
        ok = ok && *p > 0x20 && *p < 0x7f && !strchr("@?#\\", *p);
    return ok ? FP4_OK : fp4_fail(FP4_ERR_ARG, "HF_ENDPOINT: not an address of the form https://HOST");
}

fp4_status hub_begin(struct hub *h, const struct fp4_hub_spec *spec, const struct fp4_hub_options *options) {
    *h = (struct hub){.spec = spec};
    if (options)
        h->options = *options;
    struct fp4_hub_options *o = &h->options;
    o->retries = o->retries == 0 ? 4 : o->retries < 0 ? 0 : o->retries;
    o->backoff = o->backoff > 0 ? o->backoff : 0.5;
    o->longest_wait = o->longest_wait > 0 ? o->longest_wait : 120;
    h->answer_timeout = o->timeout > 0 ? o->timeout : seconds("HF_HUB_ETAG_TIMEOUT");
    h->download_timeout = o->timeout > 0 ? o->timeout : seconds("HF_HUB_DOWNLOAD_TIMEOUT");
    h->progress_wanted = !is_true("HF_HUB_DISABLE_PROGRESS_BARS");
    FP4_TRY(set_cache(h));
    FP4_TRY(set_endpoint(h));
    return find_token(h);
}

void hub_end(struct hub *h) {
    if (h->easy)
        curl_easy_cleanup(h->easy);
    h->easy = NULL;
    explicit_bzero(h->token, sizeof h->token);
}

/* ---- what is there ---- */

fp4_status hub_make_dirs(const char *path) {
    fp4_status status = fp4_make_dirs(path);
    return status == FP4_OK ? FP4_OK : fp4_fail(status, "%s; set HF_HUB_CACHE to a folder that can be written", fp4_last_error());
}

int64_t hub_file_size(const char *path) {
    struct stat info;
    return stat(path, &info) == 0 && S_ISREG(info.st_mode) ? (int64_t)info.st_size : -1;
}

bool hub_known_commit(const struct hub *h, char commit[41]) {
    char path[PATH_MAX], *text;
    size_t n = 0;
    if (hub_is_hex(h->spec->revision, 40))
        return take(commit, 41, h->spec->revision, 40);
    if (hub_path(path, "%s/refs/%s", h->folder, h->spec->revision) != FP4_OK || hub_file_size(path) < 0 ||
        fp4_read_file(path, 256, &text, &n) != FP4_OK)
        return false;
    while (n && isspace((unsigned char)text[n - 1]))
        text[--n] = 0;
    bool known = hub_is_hex(text, 40) && take(commit, 41, text, n);
    fp4_free(text);
    return known;
}

/* FP4_ERR_IO names the first shard that is not there. */
static fp4_status shards_there(const struct hub *h, const char *snapshot, const char *index) {
    char path[PATH_MAX];
    struct io_shards shards;
    fp4_status status = io_shards_open(index, &shards);
    for (size_t i = 0; i < shards.n && status == FP4_OK; i++) {
        status = hub_path(path, "%s/%s", snapshot, shards.names[i]);
        if (status == FP4_OK && hub_file_size(path) < 0)
            status = fp4_fail(FP4_ERR_IO, "%s: only a part of it is in %s (%s is missing)", h->spec->repo, h->cache, shards.names[i]);
    }
    io_shards_free(&shards);
    return status;
}

static int is_gguf(const struct dirent *entry) { return hub_ends_with(entry->d_name, ".gguf"); }

static fp4_status only_gguf(const struct hub *h, const char *snapshot, char path[PATH_MAX]) {
    struct dirent **entries;
    int n = scandir(snapshot, &entries, is_gguf, alphasort);
    fp4_status status = FP4_OK;
    if (n == 1)
        status = hub_path(path, "%s/%s", snapshot, entries[0]->d_name);
    else if (n > 1)
        status = fp4_fail(FP4_ERR_ARG, "%s: %d GGUF files are in the cache; choose one as %s:%s", h->spec->repo, n, h->spec->repo, entries[0]->d_name);
    else
        status = fp4_fail(FP4_ERR_IO, "%s: only a part of it is in %s", h->spec->repo, h->cache);
    for (int i = 0; i < n; i++)
        free(entries[i]);
    if (n >= 0)
        free(entries);
    return status;
}

fp4_status hub_snapshot_model(const struct hub *h, const char *commit, char path[FP4_HUB_PATH]) {
    char snapshot[PATH_MAX], file[PATH_MAX];
    FP4_TRY(hub_path(snapshot, "%s/snapshots/%s", h->folder, commit));
    if (*h->spec->file) {
        FP4_TRY(hub_path(file, "%s/%s", snapshot, h->spec->file));
        if (hub_file_size(file) < 0)
            return fp4_fail(FP4_ERR_IO, "%s: %s is not in %s", h->spec->repo, h->spec->file, h->cache);
    } else {
        FP4_TRY(hub_path(file, "%s/config.json", snapshot));
        bool folder = hub_file_size(file) >= 0;
        bool single = false, sharded = false;
        for (size_t i = 0; hub_weights(i, false) && !single && !sharded; i++) {
            FP4_TRY(hub_path(file, "%s/%s", snapshot, hub_weights(i, false)));
            single = hub_file_size(file) >= 0;
            FP4_TRY(hub_path(file, "%s/%s", snapshot, hub_weights(i, true)));
            sharded = !single && hub_file_size(file) >= 0;
        }
        if (folder && sharded)
            FP4_TRY(shards_there(h, snapshot, file));
        if (folder && (single || sharded))
            FP4_TRY(hub_path(file, "%s", snapshot));
        else
            FP4_TRY(only_gguf(h, snapshot, file));
    }
    return take(path, FP4_HUB_PATH, file, strlen(file)) ? FP4_OK
                                                        : fp4_fail(FP4_ERR_ARG, "%.200s...: path too long; set HF_HUB_CACHE to a shorter one", file);
}
