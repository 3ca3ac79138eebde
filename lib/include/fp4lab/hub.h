/* fp4lab/hub.h: checkpoints from a model hub, by name, in the cache that Hugging Face's own tools use: what they downloaded is found
 * here, what is fetched here they find. Layout and variables: huggingface_hub's guide "Understand caching" and its page "Environment
 * variables".
 *
 *   cache      HF_HUB_CACHE, else HUGGINGFACE_HUB_CACHE, else HF_HOME/hub, else XDG_CACHE_HOME/huggingface/hub, else ~/.cache/huggingface/hub
 *   server     HF_ENDPOINT (default https://huggingface.co); proxies as libcurl takes them from the environment; certificates of an authority of
 *              one's own from the file CURL_CA_BUNDLE, SSL_CERT_FILE or REQUESTS_CA_BUNDLE
 *   token      HF_TOKEN, else HUGGING_FACE_HUB_TOKEN, else the file HF_TOKEN_PATH, else HF_HOME/token; not when
 *              HF_HUB_DISABLE_IMPLICIT_TOKEN=1. Sent to HF_ENDPOINT only, never to a host it redirects to, and never printed.
 *   offline    HF_HUB_OFFLINE=1 or TRANSFORMERS_OFFLINE=1: the cache only
 *   time       HF_HUB_ETAG_TIMEOUT, HF_HUB_DOWNLOAD_TIMEOUT: seconds without an answer, without a byte (default 10)
 *   progress   HF_HUB_DISABLE_PROGRESS_BARS=1: none */
#ifndef FP4LAB_HUB_H
#define FP4LAB_HUB_H

#include "fp4lab/base.h"

enum { FP4_HUB_REPO = 128, FP4_HUB_REVISION = 256, FP4_HUB_FILE = 512, FP4_HUB_PATH = 1024 };

/* A repository, a revision of it (branch, tag, commit), and one file or "" for what a model needs. */
struct fp4_hub_spec {
    char repo[FP4_HUB_REPO], revision[FP4_HUB_REVISION], file[FP4_HUB_FILE];
};
/* ORG/NAME[@REVISION][:FILE]; the revision is "main" when none is named. FP4_ERR_ARG says what is wrong. */
fp4_status fp4_hub_parse(const char *text, struct fp4_hub_spec *out);

/* What a repository's name led to. */
struct fp4_hub_found {
    char path[FP4_HUB_PATH];                 /* the snapshot's folder, or the GGUF file in it */
    char repo[FP4_HUB_REPO], commit[41];     /* "" for a path of the user's own */
    size_t files, downloaded;                /* fetch: files it is made of; how many of them were not there */
    uint64_t bytes;                          /* fetch: received */
};

/* All optional; zero-initialised is the default. */
struct fp4_hub_options {
    const char *include, *exclude; /* comma-separated patterns of fnmatch(3) over names; include: these instead of what a model needs */
    bool offline;                  /* the cache only, as with HF_HUB_OFFLINE */
    int retries;                   /* further tries without progress after a failure that may pass; 0: 4; −1: none */
    double backoff;                /* seconds before the first of them, doubled each time; 0: 0.5 */
    double longest_wait;           /* seconds of a Retry-After that are obeyed; a server that wants more is an error; 0: 120 */
    double timeout;                /* seconds without a byte, instead of the variables above; 0: those */
};

/* In the cache, without network. FP4_ERR_IO: not there or not whole; the message says what to do. */
fp4_status fp4_hub_find(const struct fp4_hub_spec *spec, struct fp4_hub_found *out);

/* What a fetch would bring, by name; bytes −1: the server does not say. */
struct fp4_hub_file {
    char *name;
    int64_t bytes;
    char hash[65]; /* SHA-256 or git's SHA-1 of the contents; "": not announced */
    bool cached;
};
struct fp4_hub_listing {
    char commit[41];
    struct fp4_hub_file *files;
    size_t n;
};
/* Asks the server; writes nothing. */
fp4_status fp4_hub_list(const struct fp4_hub_spec *spec, const struct fp4_hub_options *options, struct fp4_hub_listing *out);
void fp4_hub_listing_free(struct fp4_hub_listing *listing);

/* Brings what is missing into the cache (progress on stderr when it is a terminal; what is tried again goes to fp4_warn's handler). A file
 * gets its name once its SHA-256, or the SHA-1 that git gives a small file, is the announced one. An interrupted fetch is continued by the
 * same call; two at a time share the work.
 * What a model needs: configuration, tokenizer, and safetensors (one file, or index and shards), else pytorch_model.bin (likewise); of a
 * repository with GGUF only, the one GGUF file, or FP4_ERR_ARG with the list. */
fp4_status fp4_hub_fetch(const struct fp4_hub_spec *spec, const struct fp4_hub_options *options, struct fp4_hub_found *out);

/* Of a model that the user named: an existing path is itself; else what has the form ORG/NAME is found in the cache, or fetched unless
 * offline; any other text is itself, for its reader to refuse. */
fp4_status fp4_hub_locate(const char *model, const struct fp4_hub_options *options, struct fp4_hub_found *out);

#endif
