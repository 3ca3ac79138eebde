/* Caches of the hub's suites. */
#include "tests/hub_support.h"

#include <ftw.h>
#include <openssl/evp.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "tests/support.h"

void hub_environment(void) {
    static const char *const names[] = {"HF_HOME", "HF_HUB_CACHE", "HUGGINGFACE_HUB_CACHE", "XDG_CACHE_HOME", "HF_ENDPOINT", "HF_TOKEN", "HUGGING_FACE_HUB_TOKEN",
                                        "HF_TOKEN_PATH", "HF_HUB_DISABLE_IMPLICIT_TOKEN", "HF_HUB_OFFLINE", "TRANSFORMERS_OFFLINE", "HF_HUB_ETAG_TIMEOUT",
                                        "HF_HUB_DOWNLOAD_TIMEOUT", "http_proxy", "https_proxy", "HTTPS_PROXY", "all_proxy", "ALL_PROXY", "CURL_CA_BUNDLE", "SSL_CERT_FILE", "REQUESTS_CA_BUNDLE"};
    for (size_t i = 0; i < sizeof names / sizeof *names; i++)
        unsetenv(names[i]);
    setenv("HOME", "/nonexistent", 1);
    setenv("HF_TOKEN", HUB_TOKEN_OF_TESTS, 1);
}

void hub_use_server(struct hub_server *s, char root[FOLDER_MAX]) {
    /* In memory where there is such a disk: each blob is synced, hundreds of times here. */
    folder_make_below(access("/dev/shm", W_OK) == 0 ? "/dev/shm" : "/tmp", root);
    setenv("HF_HOME", root, 1);
    setenv("HF_ENDPOINT", hub_server_endpoint(s), 1);
}

static bool parts_allowed, refs_allowed;
static size_t root_length;

/* The hash of a blob's contents, of the kind that its name has. */
static void check_blob(const char *path, const char *name) {
    struct fp4_map map;
    char head[32], hex[2 * EVP_MAX_MD_SIZE + 1] = "";
    unsigned char digest[EVP_MAX_MD_SIZE];
    unsigned int n;
    EVP_MD_CTX *context = EVP_MD_CTX_new();
    must(fp4_map_open(path, &map));
    EVP_DigestInit_ex(context, strlen(name) == 40 ? EVP_sha1() : EVP_sha256(), NULL);
    if (strlen(name) == 40)
        EVP_DigestUpdate(context, head, (size_t)snprintf(head, sizeof head, "blob %zu", map.size) + 1);
    EVP_DigestUpdate(context, map.data, map.size);
    EVP_DigestFinal_ex(context, digest, &n);
    EVP_MD_CTX_free(context);
    for (unsigned int i = 0; i < n; i++)
        snprintf(hex + 2 * i, 3, "%02x", digest[i]);
    cr_assert_str_eq(hex, name, "%s", path);
    fp4_map_close(&map);
}

static int check_entry(const char *path, const struct stat *info, int type, struct FTW *where) {
    const char *name = path + where->base, *inside = path + root_length;
    bool blob = strstr(inside, "/blobs/") != NULL, link = strstr(inside, "/snapshots/") != NULL;
    if (type == FTW_D || type == FTW_DP)
        return 0;
    cr_assert_eq(strncmp(inside, "/hub/", 5), 0, "%s: outside the cache", path);
    cr_assert(refs_allowed || !strstr(inside, "/refs/"), "%s: the revision leads to what is not there", path);
    if (strstr(name, ".incomplete"))
        cr_assert(blob && parts_allowed, "%s: is left over", path);
    else if (blob)
        check_blob(path, name);
    if (link) {
        char target[512];
        ssize_t n = readlink(path, target, sizeof target - 1);
        cr_assert_gt(n, 0, "%s: not a link", path);
        target[n] = 0;
        cr_assert(strncmp(target, "../../", 6) == 0 && strstr(target, "/blobs/"), "%s → %s", path, target);
        cr_assert_eq(access(path, R_OK), 0, "%s → %s: leads nowhere", path, target);
    }
    return info == NULL;
}

void hub_check_cache(const char *root, bool parts, bool refs) {
    parts_allowed = parts;
    refs_allowed = refs;
    root_length = strlen(root);
    cr_assert_eq(nftw(root, check_entry, 16, FTW_PHYS), 0);
}

bool hub_same_file(const char *folder, const char *repo, const char *name) {
    char path[1200];
    struct fp4_map map;
    size_t n;
    const uint8_t *want = hub_server_file(repo, name, &n);
    snprintf(path, sizeof path, "%s/%s", folder, name);
    if (!want || fp4_map_open(path, &map) != FP4_OK)
        return false;
    bool same = map.size == n && memcmp(map.data, want, n) == 0;
    fp4_map_close(&map);
    return same;
}
