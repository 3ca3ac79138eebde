/* One request through libcurl: redirects by hand, so that the token goes nowhere else; bounded headers, bodies and times. */
#include <curl/curl.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <time.h>

#include "lib/hub/internal.h"

enum { MAX_REDIRECTS = 10, MAX_HEADER_BYTES = 128 << 10, MAX_REFUSAL_BYTES = 64 << 10, URL_MAX = 8192, RECEIVE_BYTES = 256 << 10,
       TRICKLE_LIMIT = 128, TRICKLE_SECONDS = 60 };

void hub_escape(const char *text, bool keep_slash, char *out) {
    static const char plain[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-._~"; /* RFC 3986, unreserved */
    size_t n = 0;
    for (; *text; text++)
        if (strchr(plain, *text) || (keep_slash && *text == '/'))
            out[n++] = *text;
        else
            n += (size_t)snprintf(out + n, 4, "%%%02X", (unsigned int)(unsigned char)*text);
    out[n] = 0;
}

/* ---- addresses ---- */

struct origin {
    char scheme[8], host[256], port[8];
};

/* False: not an http(s) address, or one with a name and password in it. */
static bool origin_of(const char *url, struct origin *out) {
    CURLU *u = curl_url();
    char *scheme = NULL, *host = NULL, *port = NULL;
    bool ok = u && curl_url_set(u, CURLUPART_URL, url, CURLU_DISALLOW_USER) == CURLUE_OK &&
              curl_url_get(u, CURLUPART_SCHEME, &scheme, 0) == CURLUE_OK && curl_url_get(u, CURLUPART_HOST, &host, 0) == CURLUE_OK &&
              curl_url_get(u, CURLUPART_PORT, &port, CURLU_DEFAULT_PORT) == CURLUE_OK &&
              (strcasecmp(scheme, "http") == 0 || strcasecmp(scheme, "https") == 0) && strlen(host) < sizeof out->host &&
              strlen(port) < sizeof out->port;
    if (ok) {
        strcpy(out->scheme, scheme);
        strcpy(out->host, host);
        strcpy(out->port, port);
    }
    curl_free(scheme);
    curl_free(host);
    curl_free(port);
    curl_url_cleanup(u);
    return ok;
}

static bool same_origin(const struct origin *a, const struct origin *b) {
    return strcasecmp(a->scheme, b->scheme) == 0 && strcasecmp(a->host, b->host) == 0 && strcmp(a->port, b->port) == 0;
}

/* ---- one answer ---- */

struct exchange {
    struct hub *hub;
    const struct hub_request *request;
    struct hub_reply *reply;
    size_t header_bytes, refused_bytes;
    bool begun;
    double heard; /* when the last byte came */
    curl_off_t bytes;
    fp4_status status; /* of what ended it from our side */
    char error[CURL_ERROR_SIZE];
};

static void trim_copy(char *out, size_t size, const char *value, size_t n) {
    size_t kept = 0;
    while (n && (*value == ' ' || *value == '\t'))
        value++, n--;
    while (n && strchr(" \t\r\n", value[n - 1]))
        n--;
    for (size_t i = 0; i < n && kept + 1 < size; i++)
        out[kept++] = value[i] >= 0x20 && value[i] < 0x7f ? value[i] : '?';
    out[kept] = 0;
}

/* W/"x", "x" or x. Longer than any hash: nothing that could be checked, so the cut does no harm. */
static void etag_copy(char *out, size_t size, const char *value, size_t n) {
    char raw[128];
    trim_copy(raw, sizeof raw, value, n);
    char *p = strncmp(raw, "W/", 2) == 0 ? raw + 2 : raw;
    p += *p == '"';
    p[strcspn(p, "\"")] = 0;
    snprintf(out, size, "%.79s", p);
}

static int64_t count_of(const char *value, size_t n) {
    char raw[32], *end;
    trim_copy(raw, sizeof raw, value, n);
    long long count = strtoll(raw, &end, 10);
    return end != raw && *end == 0 && count >= 0 && count < LLONG_MAX ? count : -1;
}

/* "bytes 10-99/100"; a star for a total that is not known. */
static void range_of(struct hub_reply *r, const char *value, size_t n) {
    char raw[96];
    long long first, last, total;
    trim_copy(raw, sizeof raw, value, n);
    int got = sscanf(raw, "bytes %lld-%lld/%lld", &first, &last, &total);
    if (got >= 2 && first >= 0 && last >= first) {
        r->range_first = first;
        r->range_total = got == 3 ? total : -1;
    }
}

static void read_header(struct hub_reply *r, const char *name, size_t length, const char *value, size_t n) {
    const struct {
        const char *name;
        char *text;
        size_t size;
    } texts[] = {{"x-repo-commit", r->commit, sizeof r->commit},
                 {"x-error-code", r->error_code, sizeof r->error_code},
                 {"x-error-message", r->error_text, sizeof r->error_text}};
    for (size_t i = 0; i < sizeof texts / sizeof *texts; i++)
        if (strlen(texts[i].name) == length && strncasecmp(name, texts[i].name, length) == 0 && !*texts[i].text)
            trim_copy(texts[i].text, texts[i].size, value, n);
    if (length == 4 && strncasecmp(name, "etag", 4) == 0)
        etag_copy(r->etag, sizeof r->etag, value, n);
    else if (length == 13 && strncasecmp(name, "x-linked-etag", 13) == 0 && !*r->linked_etag)
        etag_copy(r->linked_etag, sizeof r->linked_etag, value, n);
    else if (length == 13 && strncasecmp(name, "x-linked-size", 13) == 0 && r->linked_size < 0)
        r->linked_size = count_of(value, n);
    else if (length == 14 && strncasecmp(name, "content-length", 14) == 0)
        r->length = count_of(value, n);
    else if (length == 13 && strncasecmp(name, "content-range", 13) == 0)
        range_of(r, value, n);
}

static size_t on_header(char *line, size_t size, size_t count, void *context) {
    struct exchange *x = context;
    size_t n = size * count;
    x->header_bytes += n;
    if (x->header_bytes > MAX_HEADER_BYTES) {
        x->status = fp4_fail(FP4_ERR_FORMAT, "the server sends more than %d KiB of headers", MAX_HEADER_BYTES >> 10);
        return 0;
    }
    if (n > 5 && strncasecmp(line, "HTTP/", 5) == 0) { /* a new answer: of a proxy, or after 100 Continue */
        x->reply->length = x->reply->range_first = x->reply->range_total = -1;
        x->reply->etag[0] = 0;
        return n;
    }
    char *colon = memchr(line, ':', n);
    if (colon)
        read_header(x->reply, line, (size_t)(colon - line), colon + 1, n - (size_t)(colon + 1 - line));
    return n;
}

static size_t on_body(char *data, size_t size, size_t count, void *context) {
    struct exchange *x = context;
    size_t n = size * count;
    curl_easy_getinfo(x->hub->easy, CURLINFO_RESPONSE_CODE, &x->reply->status);
    if (x->reply->status != 200 && x->reply->status != 206) { /* a page for people: not needed */
        x->refused_bytes += n;
        return x->refused_bytes <= MAX_REFUSAL_BYTES ? n : 0;
    }
    if (!x->begun && x->request->begin)
        x->status = x->request->begin(x->request->context, x->reply);
    x->begun = true;
    if (x->status == FP4_OK && x->request->write)
        x->status = x->request->write(x->request->context, data, n);
    return x->status == FP4_OK ? n : 0;
}

/* ---- libcurl ---- */

/* Called at least once a second. libcurl's own limit of speed looks at an average over seconds: too late for short limits. */
static int on_progress(void *context, curl_off_t total, curl_off_t now, curl_off_t up_total, curl_off_t up_now) {
    struct exchange *x = context;
    (void)total;
    (void)up_total;
    (void)up_now;
    curl_off_t bytes = now + (curl_off_t)x->header_bytes;
    if (bytes != x->bytes) {
        x->bytes = bytes;
        x->heard = fp4_now();
    }
    return fp4_now() - x->heard > x->request->stall;
}

static void global_init(void) { curl_global_init(CURL_GLOBAL_DEFAULT); }

static fp4_status easy_handle(struct hub *h) {
    static pthread_once_t once = PTHREAD_ONCE_INIT;
    pthread_once(&once, global_init);
    if (!h->easy)
        h->easy = curl_easy_init();
    else
        curl_easy_reset(h->easy);
    return h->easy ? FP4_OK : fp4_fail(FP4_ERR_MEMORY, "libcurl: no memory");
}

static struct curl_slist *headers(const struct hub *h, bool with_token) {
    char line[HUB_TOKEN + 32];
    struct curl_slist *list = curl_slist_append(NULL, "Accept-Encoding: identity"), *longer; /* sizes and ranges of the file itself */
    if (!list || !with_token || !*h->token)
        return list;
    snprintf(line, sizeof line, "Authorization: Bearer %s", h->token);
    longer = curl_slist_append(list, line);
    explicit_bzero(line, sizeof line);
    if (!longer)
        curl_slist_free_all(list);
    return longer;
}

static void set_options(struct exchange *x, const char *url, struct curl_slist *list) {
    CURL *easy = x->hub->easy;
    const struct hub_request *r = x->request;
    /* Of a company's own authority, as curl and Python's requests take them. */
    static const char *const certificates[] = {"CURL_CA_BUNDLE", "SSL_CERT_FILE", "REQUESTS_CA_BUNDLE"};
    char range[32];
    curl_easy_setopt(easy, CURLOPT_URL, url);
    curl_easy_setopt(easy, CURLOPT_PROTOCOLS_STR, "http,https");
    curl_easy_setopt(easy, CURLOPT_FOLLOWLOCATION, 0L);
    curl_easy_setopt(easy, CURLOPT_NOBODY, r->head ? 1L : 0L);
    curl_easy_setopt(easy, CURLOPT_HTTPHEADER, list);
    curl_easy_setopt(easy, CURLOPT_USERAGENT, "fp4lab/" FP4_VERSION);
    curl_easy_setopt(easy, CURLOPT_NOSIGNAL, 1L);
    curl_easy_setopt(easy, CURLOPT_CONNECTTIMEOUT_MS, (long)(r->stall * 1000));
    curl_easy_setopt(easy, CURLOPT_NOPROGRESS, 0L);
    curl_easy_setopt(easy, CURLOPT_XFERINFOFUNCTION, on_progress);
    curl_easy_setopt(easy, CURLOPT_XFERINFODATA, x);
    curl_easy_setopt(easy, CURLOPT_LOW_SPEED_LIMIT, (long)TRICKLE_LIMIT); /* not silent, and yet no download */
    curl_easy_setopt(easy, CURLOPT_LOW_SPEED_TIME, (long)TRICKLE_SECONDS + (long)r->stall);
    curl_easy_setopt(easy, CURLOPT_TIMEOUT_MS, (long)(r->total * 1000));
    curl_easy_setopt(easy, CURLOPT_BUFFERSIZE, (long)RECEIVE_BYTES);
    curl_easy_setopt(easy, CURLOPT_ERRORBUFFER, x->error);
    curl_easy_setopt(easy, CURLOPT_HEADERFUNCTION, on_header);
    curl_easy_setopt(easy, CURLOPT_HEADERDATA, x);
    curl_easy_setopt(easy, CURLOPT_WRITEFUNCTION, on_body);
    curl_easy_setopt(easy, CURLOPT_WRITEDATA, x);
    for (size_t i = 0; i < sizeof certificates / sizeof *certificates; i++)
        if (getenv(certificates[i]) && *getenv(certificates[i])) {
            curl_easy_setopt(easy, CURLOPT_CAINFO, getenv(certificates[i]));
            break;
        }
    if (r->from) {
        snprintf(range, sizeof range, "%llu-", (unsigned long long)r->from);
        curl_easy_setopt(easy, CURLOPT_RANGE, range);
    }
}

/* Host and port of an address, without what may be secret in the rest of it. */
static void place_of(const char *url, char out[280]) {
    struct origin o;
    if (origin_of(url, &o))
        snprintf(out, 280, "%s:%s", o.host, o.port);
    else
        snprintf(out, 280, "the server");
}

static fp4_status failed(struct exchange *x, const char *url, CURLcode code) {
    char place[280];
    place_of(url, place);
    struct hub_reply *r = x->reply;
    const char *why = *x->error ? x->error : curl_easy_strerror(code);
    switch (code) {
    case CURLE_COULDNT_RESOLVE_HOST:
    case CURLE_COULDNT_RESOLVE_PROXY:
    case CURLE_COULDNT_CONNECT:
        r->transient = x->hub->answered;
        return fp4_fail(FP4_ERR_IO, "%s cannot be reached (%.200s); look at the network, HF_ENDPOINT and proxies, or use --offline for what the cache has",
                        place, why);
    case CURLE_ABORTED_BY_CALLBACK:
        snprintf(x->error, sizeof x->error, "no byte for %g seconds", x->request->stall);
        why = x->error;
        /* fall through */
    case CURLE_OPERATION_TIMEDOUT:
        r->transient = true;
        return fp4_fail(FP4_ERR_IO, "%s stalled (%.200s); run the same command again, with a larger HF_HUB_DOWNLOAD_TIMEOUT on a slow line", place, why);
    case CURLE_PARTIAL_FILE:
    case CURLE_RECV_ERROR:
    case CURLE_SEND_ERROR:
    case CURLE_GOT_NOTHING:
    case CURLE_HTTP2:
    case CURLE_HTTP2_STREAM:
        r->transient = true;
        return fp4_fail(FP4_ERR_IO, "%s cut the line (%.200s); run the same command again: it continues", place, why);
    case CURLE_PEER_FAILED_VERIFICATION:
    case CURLE_SSL_CACERT_BADFILE:
    case CURLE_SSL_CONNECT_ERROR:
        return fp4_fail(FP4_ERR_IO, "%s: no secure connection (%.200s); look at the clock, at proxies, at the package ca-certificates and at SSL_CERT_FILE", place, why);
    default: return fp4_fail(FP4_ERR_IO, "%s: %.200s", place, why);
    }
}

/* One request and its answer. *next: where that redirects to, fp4_alloc'ed, or NULL. */
static fp4_status once(struct hub *h, const struct hub_request *request, const char *url, bool with_token, struct hub_reply *reply, char **next) {
    struct exchange x = {.hub = h, .request = request, .reply = reply, .heard = fp4_now()};
    char *location = NULL;
    *next = NULL;
    FP4_TRY(easy_handle(h));
    struct curl_slist *list = headers(h, with_token);
    if (!list)
        return fp4_fail(FP4_ERR_MEMORY, "libcurl: no memory");
    reply->status = 0;
    reply->length = reply->range_first = reply->range_total = -1;
    set_options(&x, url, list);
    CURLcode code = curl_easy_perform(h->easy);
    curl_slist_free_all(list);
    curl_easy_getinfo(h->easy, CURLINFO_RESPONSE_CODE, &reply->status);
    if (x.status != FP4_OK)
        return x.status;
    if (code != CURLE_OK && x.refused_bytes <= MAX_REFUSAL_BYTES)
        return failed(&x, url, code);
    h->answered = true;
    curl_off_t wait = 0;
    curl_easy_getinfo(h->easy, CURLINFO_RETRY_AFTER, &wait);
    reply->retry_after = wait > 0 ? (double)wait : 0;
    if (reply->status >= 300 && reply->status < 400)
        curl_easy_getinfo(h->easy, CURLINFO_REDIRECT_URL, &location);
    if (!x.begun && (reply->status == 200 || reply->status == 206) && request->begin)
        FP4_TRY(request->begin(request->context, reply)); /* an empty body */
    return location ? fp4_strdup(location, next) : FP4_OK;
}

fp4_status hub_exchange(struct hub *h, const struct hub_request *request, struct hub_reply *reply) {
    struct origin home, here, there;
    char *url, *next;
    *reply = (struct hub_reply){.linked_size = -1, .length = -1, .range_first = -1, .range_total = -1};
    if (!origin_of(h->endpoint, &home) || !origin_of(request->url, &here))
        return fp4_fail(FP4_ERR_ARG, "HF_ENDPOINT: not an address of the form https://HOST");
    bool with_token = same_origin(&home, &here);
    FP4_TRY(fp4_strdup(request->url, &url));
    for (int hops = 0;; hops++) {
        fp4_status status = once(h, request, url, with_token, reply, &next);
        fp4_free(url);
        if (status != FP4_OK || !next || (request->head && *reply->linked_etag)) {
            fp4_free(next);
            return status;
        }
        url = next;
        bool known = strlen(url) < URL_MAX && origin_of(url, &there);
        const char *wrong = !known                                                                    ? "is redirected to something that is no web address"
                            : strcasecmp(here.scheme, "https") == 0 && strcasecmp(there.scheme, "http") == 0 ? "is redirected from https to http"
                            : hops >= MAX_REDIRECTS                                                   ? "is redirected without end"
                                                                                                      : NULL;
        if (wrong) {
            fp4_free(url);
            return fp4_fail(FP4_ERR_FORMAT, "the request %s; refused: look at HF_ENDPOINT and proxies", wrong);
        }
        with_token = with_token && same_origin(&home, &there);
        here = there;
    }
}

/* ---- refusals and further tries ---- */

static fp4_status refusal(const struct hub *h, const struct hub_reply *r, const char *what) {
    const char *repo = h->spec->repo, *said = *r->error_text ? r->error_text : "", *open = *said ? " (the server says: " : "", *close = *said ? ")" : "";
    bool gated = strcmp(r->error_code, "GatedRepo") == 0;
    if (r->status == 401 || r->status == 403)
        return *h->token && !gated && r->status == 401
                   ? fp4_fail(FP4_ERR_IO, "%s: the server does not accept the token (401)%s%s%s; renew HF_TOKEN, and check the name", what, open, said, close)
                   : fp4_fail(FP4_ERR_IO, "%s: access is refused (%ld)%s%s%s; check the name; if it is private or gated, accept its licence at %s/%s and set "
                                          "HF_TOKEN to a token of that account", what, r->status, open, said, close, h->endpoint, repo);
    if (r->status == 404 && strcmp(r->error_code, "RevisionNotFound") == 0)
        return fp4_fail(FP4_ERR_IO, "%s: there is no revision %s; see %s/%s/tree/main for branches and tags", what, h->spec->revision, h->endpoint, repo);
    if (r->status == 404 && strcmp(r->error_code, "EntryNotFound") == 0)
        return fp4_fail(FP4_ERR_IO, "%s: no such file in this revision; see %s/%s/tree/main", what, h->endpoint, repo);
    if (r->status == 404)
        return fp4_fail(FP4_ERR_IO, "%s: there is no such repository at %s%s%s%s; check the name (a private one needs HF_TOKEN)", what, h->endpoint, open, said,
                        close);
    if (r->status == 429)
        return fp4_fail(FP4_ERR_IO, "%s: too many requests (429), wanted pause %.0f s; try again later, or set HF_TOKEN for a higher limit", what,
                        r->retry_after);
    if (r->status >= 500)
        return fp4_fail(FP4_ERR_IO, "%s: the server fails (%ld)%s%s%s; try again later", what, r->status, open, said, close);
    return fp4_fail(FP4_ERR_IO, "%s: the server answers %ld%s%s%s; look at HF_ENDPOINT and proxies", what, r->status, open, said, close);
}

static void wait_seconds(double t) {
    struct timespec left = {(time_t)t, (long)((t - (double)(time_t)t) * 1e9)};
    while (nanosleep(&left, &left) != 0)
        ;
}

fp4_status hub_try_again(struct hub *h, fp4_status status, const struct hub_reply *r, const char *what, int *attempt) {
    char message[768];
    bool passing = status != FP4_OK ? r->transient : r->status == 408 || r->status == 429 || (r->status >= 500 && r->status != 501 && r->status != 505);
    double pause = h->options.backoff;
    if (status != FP4_OK)
        snprintf(message, sizeof message, "%.767s", fp4_last_error());
    for (int i = 0; i < *attempt && pause < 30; i++)
        pause *= 2;
    pause = pause > 30 ? 30 : pause;
    if (r->retry_after > pause)
        pause = r->retry_after;
    if (!passing || *attempt >= h->options.retries || pause > h->options.longest_wait) {
        if (status == FP4_OK)
            return refusal(h, r, what);
        return *attempt ? fp4_fail(status, "%s: %s (tried %d times)", what, message, *attempt + 1) : fp4_fail(status, "%s: %s", what, message);
    }
    ++*attempt;
    if (status == FP4_OK)
        fp4_warn("%s: the server answers %ld; next try in %.1f s", what, r->status, pause);
    else
        fp4_warn("%s: %s; next try in %.1f s", what, message, pause);
    wait_seconds(pause);
    return FP4_OK;
}
