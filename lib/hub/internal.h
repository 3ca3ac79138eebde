/* lib/hub/internal.h: what the files of the hub share. cache.c: names and paths; http.c: one request; list.c: what a repository holds;
 * download.c: one file. */
#ifndef FP4LAB_HUB_INTERNAL_H
#define FP4LAB_HUB_INTERNAL_H

#include <limits.h>

#include "fp4lab/hub.h"

enum { HUB_ENDPOINT = 512, HUB_TOKEN = 512, HUB_WHAT = 700 };

/* One use of the hub: settings, the repository, its connection. */
struct hub {
    struct fp4_hub_options options;
    const struct fp4_hub_spec *spec;
    char cache[PATH_MAX / 2];  /* folder of all repositories */
    char folder[PATH_MAX / 2]; /* of this one: CACHE/models--ORG--NAME */
    char endpoint[HUB_ENDPOINT], token[HUB_TOKEN];
    double answer_timeout, download_timeout;
    void *easy;    /* CURL *, made at the first request */
    bool progress_wanted;
    bool answered; /* the server has answered before: a lost connection may come back */
    struct fp4_progress progress;
    uint64_t received;
    size_t downloaded;
};
/* Settings from options and environment. */
fp4_status hub_begin(struct hub *h, const struct fp4_hub_spec *spec, const struct fp4_hub_options *options);
void hub_end(struct hub *h);

/* ---- cache.c ---- */

fp4_status hub_path(char out[PATH_MAX], const char *format, ...) __attribute__((format(printf, 2, 3)));
/* fp4_make_dirs, with the way out for a cache that cannot be written. */
fp4_status hub_make_dirs(const char *path);
bool hub_is_hex(const char *text, size_t n); /* exactly n lower-case hexadecimal digits */
/* Relative, of plain components, printable: what a name from a server must be. */
bool hub_name_safe(const char *name);
bool hub_is_offline(const struct fp4_hub_options *options);
/* Size of the regular file that a path leads to, −1 for none. */
int64_t hub_file_size(const char *path);
/* Commit that the cache knows for the revision; false: none. */
bool hub_known_commit(const struct hub *h, char commit[41]);
/* Path of a snapshot's model: the folder, the only GGUF file, or the file that the spec names. */
fp4_status hub_snapshot_model(const struct hub *h, const char *commit, char path[FP4_HUB_PATH]);

/* ---- http.c ---- */

struct hub_reply {
    long status; /* of HTTP; 0: none came */
    bool transient; /* a failure that may pass */
    char commit[41], etag[80], linked_etag[80], error_code[48], error_text[161];
    int64_t linked_size, length;        /* −1: not said */
    int64_t range_first, range_total;   /* of Content-Range, −1: none */
    double retry_after;
};
struct hub_request {
    const char *url;
    bool head;          /* stops at the first answer that names a linked file, wherever it redirects to */
    uint64_t from;      /* first byte wanted */
    double stall, total; /* seconds without a byte; seconds in all, 0: no limit */
    /* Body of an answer 200 or 206. begin: headers are there, a body follows. Each ends the exchange with its status. */
    fp4_status (*begin)(void *context, const struct hub_reply *reply);
    fp4_status (*write)(void *context, const void *data, size_t n);
    void *context;
};
/* FP4_OK: the server answered, with whatever status. Redirects are followed, at most 10, never from https to http; the token goes to the
 * endpoint's own host and port only. */
fp4_status hub_exchange(struct hub *h, const struct hub_request *request, struct hub_reply *reply);
/* After a failed exchange or a refusal: FP4_OK after a wait when it is worth another try (*attempt counts them), else the error for `what`. */
fp4_status hub_try_again(struct hub *h, fp4_status status, const struct hub_reply *reply, const char *what, int *attempt);
/* Percent-encodes; '/' stays when keep_slash. out [3·strlen(text) + 1]. */
void hub_escape(const char *text, bool keep_slash, char *out);

/* ---- list.c ---- */

/* Whether a name has this ending, in whatever case, and something before it. */
bool hub_ends_with(const char *name, const char *end);
/* What is to be fetched, in the order in which it is: weights last. `all`: every file of the repository. Either may be NULL. */
fp4_status hub_list(struct hub *h, struct fp4_hub_listing *chosen, struct fp4_hub_listing *all);
/* The file of that name in a listing that hub_list made, which is sorted; NULL: none. */
struct fp4_hub_file *hub_find(const struct fp4_hub_listing *all, const char *name);
/* Names that a model may have besides its weights. */
const char *const *hub_needed(size_t *n);
/* Kind i of weights, the better first: the name of the file, or of the index of shards; NULL: there are no more. */
const char *hub_weights(size_t i, bool sharded);

/* ---- download.c ---- */

/* Makes snapshots/COMMIT/NAME lead to its blob, downloading that when it is not there. */
fp4_status hub_download(struct hub *h, const char *commit, struct fp4_hub_file *file);
/* FP4_ERR_IO: the disk of the cache, or of the folder that is to hold it, has not so many bytes free. */
fp4_status hub_enough_room(const struct hub *h, uint64_t bytes);
/* Bytes of the file that are still to come. */
uint64_t hub_missing_bytes(const struct hub *h, const struct fp4_hub_file *file);
/* Whether the snapshot has the file, by its size where that is known. */
bool hub_is_cached(const struct hub *h, const char *commit, const struct fp4_hub_file *file);

#endif
