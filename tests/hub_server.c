/* The misbehaving hub: plain sockets, a thread for each connection, one request each. */
#include "tests/hub_server.h"

#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <openssl/evp.h>
#include <openssl/pem.h>
#include <openssl/ssl.h>
#include <openssl/x509v3.h>
#include <poll.h>
#include <pthread.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/socket.h>
#include <unistd.h>

#include "tests/support.h"

const char hub_server_commit[41] = "0123456789abcdef0123456789abcdef01234567";

/* ---- what it holds ---- */

enum { WEIGHTS_BYTES = 300000, MAX_REQUESTS = 512, REQUEST_BYTES = 8192 };

static uint8_t weights[WEIGHTS_BYTES];
static const char config[] = "{\"model_type\": \"llama\"}", tokenizer[] = "{\"version\": \"1.0\"}", readme[] = "# tiny\n", part[] = "a part\n";
static const char index_json[] = "{\"metadata\": {}, \"weight_map\": {\"a\": \"model-00001-of-00002.safetensors\", \"b\": \"model-00002-of-00002.safetensors\", "
                                 "\"c\": \"model-00001-of-00002.safetensors\"}}";
/* 72 bytes of header; the tensor's two floats are zeros. */
static const char real[] = "\x48\0\0\0\0\0\0\0{\"t.weight\": {\"dtype\": \"F32\", \"shape\": [1, 2], \"data_offsets\": [0, 8]}} \0\0\0\0\0\0\0";
static const char pickles_json[] = "{\"weight_map\": {\"a\": \"pytorch_model-00001-of-00002.bin\", \"b\": \"pytorch_model-00002-of-00002.bin\", \"c\": \"other.bin\"}}";
static const char odd_json[] = "{\"weight_map\": {\"a\": \"weights-a.safetensors\"}}", torn_json[] = "{\"weight_map\": {\"a\": \"absent.safetensors\"}}";

struct served {
    const char *repo, *name;
    const void *data;
    size_t bytes;
    bool lfs;
};
#define TEXT(repo, name, text) {repo, name, text, sizeof text - 1, false}
static const struct served files[] = {
    TEXT("org/tiny", "config.json", config),
    TEXT("org/tiny", "README.md", readme),
    TEXT("org/tiny", "tokenizer.json", tokenizer),
    {"org/tiny", "model.safetensors", weights, WEIGHTS_BYTES, true},
    {"org/tiny", "pytorch_model.bin", weights + 1, 1000, true},
    TEXT("org/sharded", "config.json", config),
    TEXT("org/sharded", "model.safetensors.index.json", index_json),
    {"org/sharded", "model-00001-of-00002.safetensors", weights + 2, 5000, true},
    {"org/sharded", "model-00002-of-00002.safetensors", weights + 3, 6000, true},
    TEXT("org/sharded", "extra/part.txt", part),
    TEXT("org/real", "config.json", config),
    {"org/real", "model.safetensors", real, sizeof real, true},
    {"org/bare", "model.safetensors", real, sizeof real, true},
    TEXT("org/odd", "config.json", config),
    TEXT("org/odd", "model.safetensors.index.json", odd_json),
    {"org/odd", "weights-a.safetensors", weights + 4, 4000, true},
    TEXT("org/torn", "config.json", config),
    TEXT("org/torn", "model.safetensors.index.json", torn_json),
    {"org/ggufs", "a.gguf", weights + 5, 7000, true},
    {"org/ggufs", "b.gguf", weights + 6, 8000, true},
    {"org/gguf", "only.gguf", weights + 7, 9000, true},
    TEXT("org/pickle", "config.json", config),
    {"org/pickle", "pytorch_model.bin", weights + 1, 1000, true},
    TEXT("org/pickles", "config.json", config),
    TEXT("org/pickles", "pytorch_model.bin.index.json", pickles_json),
    {"org/pickles", "pytorch_model-00001-of-00002.bin", weights + 2, 5000, true},
    {"org/pickles", "pytorch_model-00002-of-00002.bin", weights + 3, 6000, true},
    {"org/pickles", "other.bin", weights + 4, 4000, true},
    {"org/barepickle", "pytorch_model.bin", weights + 1, 1000, true},
    TEXT("org/text", "config.json", config),
};
enum { N_FILES = sizeof files / sizeof *files };

static void fill_weights(void) {
    for (size_t i = 0; i < WEIGHTS_BYTES; i++)
        weights[i] = (uint8_t)((i * 2654435761u) >> 13);
}

const uint8_t *hub_server_file(const char *repo, const char *name, size_t *bytes) {
    for (size_t i = 0; i < N_FILES; i++)
        if (strcmp(files[i].repo, repo) == 0 && strcmp(files[i].name, name) == 0) {
            *bytes = files[i].bytes;
            return files[i].data;
        }
    return NULL;
}

static void hash_of(const struct served *f, bool sha256, char hex[65]) {
    char head[32];
    unsigned char digest[EVP_MAX_MD_SIZE];
    unsigned int n;
    EVP_MD_CTX *context = EVP_MD_CTX_new();
    EVP_DigestInit_ex(context, sha256 ? EVP_sha256() : EVP_sha1(), NULL);
    if (!sha256)
        EVP_DigestUpdate(context, head, (size_t)snprintf(head, sizeof head, "blob %zu", f->bytes) + 1);
    EVP_DigestUpdate(context, f->data, f->bytes);
    EVP_DigestFinal_ex(context, digest, &n);
    EVP_MD_CTX_free(context);
    for (unsigned int i = 0; i < n; i++)
        snprintf(hex + 2 * i, 3, "%02x", digest[i]);
}

/* ---- the server ---- */

struct seen {
    char line[512], range[64]; /* line: "GET /path" */
    bool token, content;
};
struct hub_server {
    int sockets[2], ports[2]; /* hub, content network */
    char endpoint[64];
    atomic_int fault, weights_asked, listings_asked, open_connections;
    atomic_ullong sent;
    atomic_bool stop;
    SSL_CTX *tls;
    pthread_t thread;
    pthread_mutex_t mutex;
    struct seen seen[MAX_REQUESTS];
    size_t n_seen;
};
struct connection {
    struct hub_server *s;
    int fd;
    bool content;
    SSL *tls;
    struct seen request;
};

static bool send_all(const struct connection *c, const void *data, size_t n) {
    for (const char *p = data; n;) {
        ssize_t done = c->tls ? SSL_write(c->tls, p, (int)n) : send(c->fd, p, n, MSG_NOSIGNAL);
        if (done <= 0)
            return false;
        p += done;
        n -= (size_t)done;
    }
    return true;
}

__attribute__((format(printf, 2, 3))) static bool say(const struct connection *c, const char *format, ...) {
    char text[4096];
    va_list arguments;
    va_start(arguments, format);
    int n = vsnprintf(text, sizeof text, format, arguments);
    va_end(arguments);
    return send_all(c, text, (size_t)n);
}

static void answer(const struct connection *c, int status, const char *more) {
    say(c, "HTTP/1.1 %d X\r\nConnection: close\r\n%sContent-Length: 0\r\n\r\n", status, more);
}

/* Until the client hangs up, or the server stops. */
static void linger(const struct connection *c) {
    struct pollfd p = {.fd = c->fd, .events = POLLIN | POLLRDHUP};
    while (!atomic_load(&c->s->stop) && !(poll(&p, 1, 50) > 0 && (p.revents & (POLLRDHUP | POLLHUP | POLLERR | POLLIN))))
        ;
}

/* ---- lists of files ---- */

static size_t put_file(char *out, size_t room, const struct served *f, int fault, bool tree) {
    char sha1[65], sha256[65], lfs[256] = "";
    size_t bytes = f->bytes;
    hash_of(f, false, sha1);
    hash_of(f, true, sha256);
    if (fault == HUB_PLAIN_LISTING || fault == HUB_NO_SIZE || fault == HUB_BAD_ETAG || fault == HUB_HUGE_SIZE)
        return (size_t)snprintf(out, room, "{\"rfilename\": \"%s\"},", f->name);
    if (f->lfs)
        snprintf(lfs, sizeof lfs, ", \"lfs\": {\"%s\": \"%s\", \"size\": %zu, \"pointerSize\": 131}", tree ? "oid" : "sha256", sha256, bytes);
    return tree ? (size_t)snprintf(out, room, "{\"type\": \"file\", \"path\": \"%s\", \"size\": %zu, \"oid\": \"%s\"%s},", f->name, bytes, sha1, lfs)
                : (size_t)snprintf(out, room, "{\"rfilename\": \"%s\", \"size\": %zu, \"blobId\": \"%s\"%s},", f->name, bytes, sha1, lfs);
}

static void send_listing(const struct connection *c, const char *repo, int fault, bool tree) {
    static const struct {
        int fault;
        const char *entry;
    } odd[] = {{HUB_NAME_UP, "{\"rfilename\": \"../../x\"},"},           {HUB_NAME_ABSOLUTE, "{\"rfilename\": \"/etc/cron.d/x\"},"},
               {HUB_NAME_CONTROL, "{\"rfilename\": \"a\\u001b[31mb\"},"}, {HUB_NAME_TURNED, "{\"rfilename\": \"a\u202eguff.gguf\"},"}, {HUB_NAME_ZERO, "{\"rfilename\": \"config.json\\u0000/../x\"},"},
               {HUB_NAME_TWICE, "{\"rfilename\": \"config.json\"},"}};
    enum { ROOM = 2 << 20 };
    char *text = malloc(ROOM);
    const char *commit = fault == HUB_BAD_COMMIT ? "../../../../tmp" : hub_server_commit;
    size_t n = tree ? (size_t)snprintf(text, ROOM, "[")
                    : (size_t)snprintf(text, ROOM, "{\"id\": \"%s\", \"modelId\": \"%s\", \"private\": false, \"gated\": false, \"tags\": [], \"downloads\": 0, "
                                                   "\"likes\": 0, \"sha\": \"%s\", \"siblings\": [", repo, repo, commit);
    for (size_t i = 0; i < N_FILES; i++)
        if (strcmp(files[i].repo, repo) == 0)
            n += put_file(text + n, ROOM - n, &files[i], fault, tree);
    for (size_t i = 0; i < sizeof odd / sizeof *odd; i++)
        if (odd[i].fault == fault)
            n += (size_t)snprintf(text + n, ROOM - n, "%s", odd[i].entry);
    for (int i = 0; fault == HUB_MANY_FILES && i < 10000; i++)
        n += (size_t)snprintf(text + n, ROOM - n, "{\"rfilename\": \"deep/folder-%d/file-%d.txt\", \"size\": 1},", i % 100, i);
    n += (size_t)snprintf(text + n - 1, ROOM - n, tree ? "]" : "]}") - 1;
    say(c, "HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Type: application/json\r\nContent-Length: %zu\r\n\r\n", n);
    send_all(c, text, n);
    free(text);
}

enum { FLOOD = 200 << 20 }; /* more than anybody may swallow */

static void flood(const struct connection *c, const char *piece, size_t limit) {
    char block[8192];
    size_t n = strlen(piece), used = 0;
    while (used + n <= sizeof block) {
        memcpy(block + used, piece, n);
        used += n;
    }
    for (size_t total = 0; total < limit && !atomic_load(&c->s->stop) && send_all(c, block, used); total += used)
        ;
}

static void serve_api(const struct connection *c, const char *repo, bool tree) {
    int fault = atomic_load(&c->s->fault), asked = atomic_fetch_add(&c->s->listings_asked, 1);
    bool known = false;
    for (size_t i = 0; i < N_FILES; i++)
        known = known || strcmp(files[i].repo, repo) == 0;
    switch (fault) {
    case HUB_401: answer(c, 401, "X-Error-Code: RepoNotFound\r\nX-Error-Message: Invalid username or password.\r\n"); return;
    case HUB_403_GATED: answer(c, 403, "X-Error-Code: GatedRepo\r\nX-Error-Message: Access to model org/tiny is restricted.\r\n"); return;
    case HUB_404_REVISION: answer(c, 404, "X-Error-Code: RevisionNotFound\r\n"); return;
    case HUB_418: answer(c, 418, ""); return;
    case HUB_503: answer(c, 503, ""); return;
    case HUB_429_LONG: answer(c, 429, "Retry-After: 86400\r\n"); return;
    case HUB_STALL_FIRST: linger(c); return;
    case HUB_NOT_JSON: say(c, "HTTP/1.1 200 OK\r\nConnection: close\r\n\r\n<html>log in</html>"); return;
    case HUB_DEEP_JSON: say(c, "HTTP/1.1 200 OK\r\nConnection: close\r\n\r\n"); flood(c, "[", 1 << 20); return;
    case HUB_MANY_VALUES: say(c, "HTTP/1.1 200 OK\r\nConnection: close\r\n\r\n["); flood(c, "[],", 4 << 20); return;
    case HUB_PART_OF_LIST: answer(c, 206, "Content-Range: bytes 0-0/2\r\n"); return;
    case HUB_HUGE_JSON: say(c, "HTTP/1.1 200 OK\r\nConnection: close\r\n\r\n[\""); flood(c, "0123456789abcdef", FLOOD); return;
    case HUB_HEADERS: say(c, "HTTP/1.1 200 OK\r\n"); flood(c, "X-Filler: 0123456789abcdef\r\n", FLOOD); return;
    default: break;
    }
    if (fault == HUB_429_ONCE && asked == 0)
        answer(c, 429, "Retry-After: 1\r\n");
    else if (fault == HUB_503_ONCE && asked == 0)
        answer(c, 503, "");
    else if (fault == HUB_404_REPO || !known)
        answer(c, 404, "X-Error-Code: RepoNotFound\r\nX-Error-Message: Repository not found\r\n");
    else
        send_listing(c, repo, fault, tree);
}

/* ---- contents ---- */

static void send_contents(const struct connection *c, const struct served *f, const char *head, size_t from, size_t to, bool flipped) {
    uint8_t *copy = malloc(f->bytes + 1);
    memcpy(copy, f->data, f->bytes);
    if (flipped)
        copy[f->bytes - 1] ^= 1;
    int fault = atomic_load(&c->s->fault);
    bool ok = send_all(c, head, strlen(head));
    for (size_t at = from, step; ok && at < to; at += step) {
        step = to - at < 4096 ? to - at : 4096;
        ok = send_all(c, copy + at, step);
        atomic_fetch_add(&c->s->sent, step);
        if (fault == HUB_SLOW && f->lfs)
            usleep(20000);
    }
    free(copy);
}

/* The weights, from the content network or, where nothing redirects, from the hub. */
static void serve_weights(const struct connection *c, const struct served *f) {
    int fault = atomic_load(&c->s->fault), asked = atomic_fetch_add(&c->s->weights_asked, 1);
    char head[256];
    size_t from = strtoul(strncmp(c->request.range, "bytes=", 6) == 0 ? c->request.range + 6 : "0", NULL, 10), to = f->bytes, total = f->bytes;
    bool cut = asked == 0 && (fault == HUB_CUT || fault == HUB_CUT_NO_RANGE || fault == HUB_CUT_WRONG_RANGE || fault == HUB_CUT_WRONG_TOTAL);
    if (fault == HUB_503_CONTENT_ONCE && asked == 0) {
        answer(c, 503, "");
        return;
    }
    if (fault == HUB_CUT_NO_RANGE)
        from = 0;
    if (cut || fault == HUB_STALL)
        to = from + (total - from) / 3;
    if ((fault == HUB_SHORT_ONCE && asked == 0) || fault == HUB_SHORT)
        to = from < total / 2 ? total / 2 : from;
    size_t first = from + (fault == HUB_CUT_WRONG_RANGE && from ? 7 : 0) + (fault == HUB_WRONG_RANGE ? 5 : 0);
    int n = snprintf(head, sizeof head, "HTTP/1.1 %s\r\nConnection: close\r\nETag: \"0123456789abcdef0123456789abcdef\"\r\n", first ? "206 Partial Content" : "200 OK");
    if (first)
        n += snprintf(head + n, sizeof head - (size_t)n, "Content-Range: bytes %zu-%zu/%zu\r\n", first, total - 1, total + (fault == HUB_CUT_WRONG_TOTAL));
    if (fault != HUB_SHORT && fault != HUB_SHORT_ONCE && fault != HUB_ENDLESS)
        n += snprintf(head + n, sizeof head - (size_t)n, "Content-Length: %zu\r\n", total - from + (fault == HUB_OTHER_LENGTH));
    snprintf(head + n, sizeof head - (size_t)n, "\r\n");
    send_contents(c, f, head, from, to, fault == HUB_WRONG_SHA256);
    if (fault == HUB_ENDLESS)
        flood(c, "0123456789abcdef", FLOOD);
    if (fault == HUB_STALL)
        linger(c);
}

static void serve_head(const struct connection *c, const struct served *f, int fault) {
    char hash[65], size[64] = "";
    hash_of(f, f->lfs, hash);
    if (fault == HUB_OTHER_ETAG)
        hash[0] = hash[0] == '0' ? '1' : '0';
    const char *etag = fault == HUB_BAD_ETAG ? "../../../../x" : hash, *commit = fault == HUB_OTHER_COMMIT ? "ffffffffffffffffffffffffffffffffffffffff" : hub_server_commit;
    unsigned long long bytes = fault == HUB_HUGE_SIZE ? 1ull << 60 : f->bytes;
    if (fault != HUB_NO_SIZE)
        snprintf(size, sizeof size, "%s: %llu\r\n", f->lfs ? "X-Linked-Size" : "Content-Length", bytes);
    if (f->lfs)
        say(c, "HTTP/1.1 302 Found\r\nConnection: close\r\nX-Repo-Commit: %s\r\nX-Linked-Etag: \"%s\"\r\n%sLocation: http://127.0.0.1:%d/content/%s/%s?Signature=of-hours\r\n\r\n", commit,
            etag, size, c->s->ports[1], f->repo, f->name);
    else
        say(c, "HTTP/1.1 200 OK\r\nConnection: close\r\nX-Repo-Commit: %s\r\nETag: \"%s\"\r\n%s\r\n", commit, etag, size);
}

static void serve_file(const struct connection *c, const struct served *f, bool head) {
    int fault = atomic_load(&c->s->fault);
    char text[512];
    if (fault == HUB_GATED_FILES) {
        answer(c, c->request.token ? 403 : 401, "X-Error-Code: GatedRepo\r\n");
    } else if (fault == HUB_404_FILE) {
        answer(c, 404, "X-Error-Code: EntryNotFound\r\n");
    } else if (fault == HUB_REDIRECT_LOOP) {
        answer(c, 302, "Location: loop\r\n");
    } else if (fault == HUB_REDIRECT_FILE) {
        answer(c, 302, "Location: file:///etc/passwd\r\n");
    } else if (fault == HUB_REDIRECT_PASSWORD) {
        answer(c, 302, "Location: http://user:word@127.0.0.1/\r\n");
    } else if (head) {
        serve_head(c, f, fault);
    } else if (f->lfs && !c->content) {
        snprintf(text, sizeof text, "X-Repo-Commit: %s\r\nLocation: http://127.0.0.1:%d/content/%s/%s?Signature=of-hours\r\n", hub_server_commit, c->s->ports[1], f->repo, f->name);
        answer(c, 302, text);
    } else if (f->lfs) {
        serve_weights(c, f);
    } else {
        char hash[65];
        hash_of(f, false, hash);
        snprintf(text, sizeof text, "HTTP/1.1 200 OK\r\nConnection: close\r\nX-Repo-Commit: %s\r\nETag: \"%s\"\r\nContent-Length: %zu\r\n\r\n", hub_server_commit, hash, f->bytes);
        send_contents(c, f, text, 0, f->bytes, fault == HUB_WRONG_SHA1);
    }
}

/* A repository that was renamed: every address below its old name leads to the same below the new one. */
static bool redirect_renamed(const struct connection *c, const char *path) {
    char more[600];
    const char *old = strstr(path, "org/old/");
    if (atomic_load(&c->s->fault) != HUB_RENAMED || !old)
        return false;
    snprintf(more, sizeof more, "Location: %.*sorg/tiny/%s\r\n", (int)(old - path), path, old + 8);
    answer(c, 307, more);
    return true;
}

static void route(const struct connection *c) {
    char org[64], name[64], rest[384], repo[130];
    const char *path = strchr(c->request.line, ' ') + 1;
    bool head = strncmp(c->request.line, "HEAD ", 5) == 0;
    if (redirect_renamed(c, path))
        return;
    if (sscanf(path, "/api/models/%63[^/]/%63[^/]/%383s", org, name, rest) == 3) {
        snprintf(repo, sizeof repo, "%s/%s", org, name);
        serve_api(c, repo, strncmp(rest, "tree/", 5) == 0);
        return;
    }
    for (size_t i = 0; i < N_FILES; i++) {
        char resolve[256], branch[256], content[256];
        snprintf(resolve, sizeof resolve, "/%s/resolve/%s/%s", files[i].repo, hub_server_commit, files[i].name);
        snprintf(branch, sizeof branch, "/%s/resolve/main/%s", files[i].repo, files[i].name);
        snprintf(content, sizeof content, "/content/%s/%s?Signature=of-hours", files[i].repo, files[i].name);
        if (strcmp(path, c->content ? content : resolve) == 0 || (!c->content && strcmp(path, branch) == 0)) {
            serve_file(c, &files[i], head);
            return;
        }
    }
    if (strstr(path, "/loop"))
        answer(c, 302, "Location: loop\r\n");
    else
        answer(c, 404, "X-Error-Code: EntryNotFound\r\n");
}

/* ---- connections ---- */

static bool read_request(struct connection *c) {
    char text[REQUEST_BYTES];
    size_t n = 0;
    while (n + 1 < sizeof text) {
        ssize_t got = c->tls ? SSL_read(c->tls, text + n, (int)(sizeof text - 1 - n)) : recv(c->fd, text + n, sizeof text - 1 - n, 0);
        if (got <= 0)
            return false;
        n += (size_t)got;
        text[n] = 0;
        if (strstr(text, "\r\n\r\n"))
            break;
    }
    char *second = strchr(text, ' ') ? strchr(strchr(text, ' ') + 1, ' ') : NULL;
    if (!second)
        return false;
    snprintf(c->request.line, sizeof c->request.line, "%.*s", (int)(second - text), text);
    c->request.token = strcasestr(text, "\r\nauthorization:") != NULL;
    c->request.content = c->content;
    char *range = strcasestr(text, "\r\nrange: ");
    if (range)
        snprintf(c->request.range, sizeof c->request.range, "%.*s", (int)strcspn(range + 9, "\r"), range + 9);
    return true;
}

static void *serve(void *context) {
    struct connection *c = context;
    if (c->s->tls && !c->content) {
        c->tls = SSL_new(c->s->tls);
        SSL_set_fd(c->tls, c->fd);
    }
    if ((!c->tls || SSL_accept(c->tls) == 1) && read_request(c)) {
        pthread_mutex_lock(&c->s->mutex);
        if (c->s->n_seen < MAX_REQUESTS)
            c->s->seen[c->s->n_seen++] = c->request;
        pthread_mutex_unlock(&c->s->mutex);
        route(c);
        if (c->tls)
            SSL_shutdown(c->tls);
        shutdown(c->fd, SHUT_WR);
    }
    SSL_free(c->tls);
    close(c->fd);
    atomic_fetch_sub(&c->s->open_connections, 1);
    free(c);
    return NULL;
}

static void *listen_loop(void *context) {
    struct hub_server *s = context;
    struct pollfd p[2] = {{.fd = s->sockets[0], .events = POLLIN}, {.fd = s->sockets[1], .events = POLLIN}};
    while (!atomic_load(&s->stop)) {
        if (poll(p, 2, 20) <= 0)
            continue;
        for (int i = 0; i < 2; i++) {
            pthread_t thread;
            int fd = p[i].revents & POLLIN ? accept(s->sockets[i], NULL, NULL) : -1;
            if (fd < 0)
                continue;
            struct connection *c = calloc(1, sizeof *c);
            *c = (struct connection){.s = s, .fd = fd, .content = i == 1};
            atomic_fetch_add(&s->open_connections, 1);
            pthread_create(&thread, NULL, serve, c);
            pthread_detach(thread);
        }
    }
    return NULL;
}

/* A certificate for 127.0.0.1, signed by itself, good for an hour. */
static SSL_CTX *make_tls(const char *certificate) {
    EVP_PKEY *key = EVP_EC_gen("P-256");
    X509 *x = X509_new();
    X509_set_version(x, 2);
    ASN1_INTEGER_set(X509_get_serialNumber(x), 1);
    X509_gmtime_adj(X509_getm_notBefore(x), -60);
    X509_gmtime_adj(X509_getm_notAfter(x), 3600);
    X509_set_pubkey(x, key);
    X509_NAME_add_entry_by_txt(X509_get_subject_name(x), "CN", MBSTRING_ASC, (const unsigned char *)"fp4lab tests", -1, -1, 0);
    X509_set_issuer_name(x, X509_get_subject_name(x));
    X509_EXTENSION *names = X509V3_EXT_conf_nid(NULL, NULL, NID_subject_alt_name, "IP:127.0.0.1");
    X509_add_ext(x, names, -1);
    X509_EXTENSION_free(names);
    SSL_CTX *tls = SSL_CTX_new(TLS_server_method());
    FILE *f = fopen(certificate, "w");
    bool ok = key && f && X509_sign(x, key, EVP_sha256()) > 0 && PEM_write_X509(f, x) == 1 && SSL_CTX_use_certificate(tls, x) == 1 &&
              SSL_CTX_use_PrivateKey(tls, key) == 1;
    if (f)
        fclose(f);
    X509_free(x);
    EVP_PKEY_free(key);
    cr_assert(ok, "no certificate in %s", certificate);
    return tls;
}

struct hub_server *hub_server_start(enum hub_fault fault) { return hub_server_start_tls(fault, NULL); }

struct hub_server *hub_server_start_tls(enum hub_fault fault, const char *certificate) {
    struct hub_server *s = calloc(1, sizeof *s);
    s->tls = certificate ? make_tls(certificate) : NULL;
    fill_weights();
    atomic_store(&s->fault, (int)fault);
    pthread_mutex_init(&s->mutex, NULL);
    for (int i = 0; i < 2; i++) {
        struct sockaddr_in at = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
        socklen_t n = sizeof at;
        s->sockets[i] = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
        cr_assert(s->sockets[i] >= 0 && bind(s->sockets[i], (struct sockaddr *)&at, sizeof at) == 0 && listen(s->sockets[i], 64) == 0 &&
                      getsockname(s->sockets[i], (struct sockaddr *)&at, &n) == 0, "no loopback: %s", strerror(errno));
        s->ports[i] = ntohs(at.sin_port);
    }
    snprintf(s->endpoint, sizeof s->endpoint, "%s://127.0.0.1:%d", s->tls ? "https" : "http", s->ports[0]);
    cr_assert_eq(pthread_create(&s->thread, NULL, listen_loop, s), 0);
    return s;
}

void hub_server_stop(struct hub_server *s) {
    atomic_store(&s->stop, true);
    pthread_join(s->thread, NULL);
    while (atomic_load(&s->open_connections) > 0)
        usleep(1000);
    close(s->sockets[0]);
    close(s->sockets[1]);
    pthread_mutex_destroy(&s->mutex);
    SSL_CTX_free(s->tls);
    free(s);
}

const char *hub_server_endpoint(const struct hub_server *s) { return s->endpoint; }
uint64_t hub_server_sent(struct hub_server *s) { return atomic_load(&s->sent); }
void hub_server_set(struct hub_server *s, enum hub_fault fault) { atomic_store(&s->fault, (int)fault); }

size_t hub_server_count(struct hub_server *s, const char *part) {
    size_t n = 0;
    pthread_mutex_lock(&s->mutex);
    for (size_t i = 0; i < s->n_seen; i++)
        n += strstr(s->seen[i].line, part) != NULL;
    pthread_mutex_unlock(&s->mutex);
    return n;
}

size_t hub_server_tokens(struct hub_server *s, bool content) {
    size_t n = 0;
    pthread_mutex_lock(&s->mutex);
    for (size_t i = 0; i < s->n_seen; i++)
        n += s->seen[i].token && s->seen[i].content == content;
    pthread_mutex_unlock(&s->mutex);
    return n;
}

void hub_server_last_range(struct hub_server *s, char out[64]) {
    out[0] = 0;
    pthread_mutex_lock(&s->mutex);
    for (size_t i = 0; i < s->n_seen; i++)
        if (*s->seen[i].range)
            snprintf(out, 64, "%s", s->seen[i].range);
    pthread_mutex_unlock(&s->mutex);
}
