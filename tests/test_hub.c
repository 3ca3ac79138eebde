/* Fetching from a hub that misbehaves (tests/hub_server.h): each row of the table is a way to misbehave, and what comes of it. Whatever
 * happens, nothing is outside the cache, and no blob holds other bytes than its name says. */
#include <dirent.h>
#include <openssl/evp.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "fp4lab/hub.h"
#include "tests/hub_server.h"
#include "tests/hub_support.h"
#include "tests/support.h"

TestSuite(hub, .init = hub_environment, .timeout = 120);

struct row {
    const char *name;
    enum hub_fault fault;
    const char *model, *error; /* error: a part of the message; NULL: it succeeds */
    int retries;               /* −1: none */
    size_t weights;            /* GET requests for weights on the content network, 0: not counted */
};
static const struct row rows[] = {
    {"well-behaved", HUB_FINE, "org/tiny", NULL, 0, 1},
    {"list of files without sizes and hashes", HUB_PLAIN_LISTING, "org/tiny", NULL, 0, 1},
    {"10000 further files", HUB_MANY_FILES, "org/tiny", NULL, 0, 1},
    {"shards by an index", HUB_FINE, "org/sharded", NULL, 0, 2},
    {"shards of unusual names", HUB_FINE, "org/odd", NULL, 0, 1},
    {"an index names what is not there", HUB_FINE, "org/torn", "names absent.safetensors, which the repository does not have", 0, 0},
    {"one GGUF file", HUB_FINE, "org/gguf", NULL, 0, 1},
    {"two GGUF files", HUB_FINE, "org/ggufs", "choose one as org/ggufs:FILE: a.gguf (0 MB), b.gguf", 0, 0},
    {"two GGUF files, one named", HUB_FINE, "org/ggufs:b.gguf", NULL, 0, 1},
    {"a file it does not have", HUB_FINE, "org/ggufs:c.gguf", "has no file c.gguf", 0, 0},
    {"no config.json", HUB_FINE, "org/bare", "has safetensors and no config.json", 0, 0},
    {"PyTorch's weights only", HUB_FINE, "org/pickle", NULL, 0, 1},
    {"PyTorch's shards by an index", HUB_FINE, "org/pickles", NULL, 0, 3},
    {"neither safetensors nor PyTorch nor GGUF", HUB_FINE, "org/text", "neither model.safetensors nor pytorch_model.bin nor a GGUF file", 0, 0},
    {"PyTorch's weights without config.json", HUB_FINE, "org/barepickle", "has PyTorch's weights and no config.json", 0, 0},
    {"another revision", HUB_FINE, "org/tiny@refs/pr/1", NULL, 0, 1},
    {"401", HUB_401, "org/tiny", "does not accept the token (401) (the server says: Invalid username or password.)", 0, 0},
    {"403, gated", HUB_403_GATED, "org/tiny", "accept its licence at", 0, 0},
    {"403, gated at its files", HUB_GATED_FILES, "org/tiny", "accept its licence at", 0, 0},
    {"repository renamed", HUB_RENAMED, "org/old", NULL, 0, 1},
    {"404, repository", HUB_404_REPO, "org/tiny", "no such repository", 0, 0},
    {"404, revision", HUB_404_REVISION, "org/tiny@v9", "there is no revision v9", 0, 0},
    {"404, file", HUB_404_FILE, "org/tiny", "no such file in this revision", 0, 0},
    {"another status", HUB_418, "org/tiny", "answers 418", 0, 0},
    {"429 with Retry-After, then well", HUB_429_ONCE, "org/tiny", NULL, 0, 1},
    {"429 with a Retry-After of a day", HUB_429_LONG, "org/tiny", "wanted pause 86400 s", 0, 0},
    {"503, then well", HUB_503_ONCE, "org/tiny", NULL, 0, 1},
    {"503 on the content network, then well", HUB_503_CONTENT_ONCE, "org/tiny", NULL, 0, 2},
    {"503 for ever", HUB_503, "org/tiny", "the server fails (503)", 2, 0},
    {"line cut, continued by a range", HUB_CUT, "org/tiny", NULL, 0, 2},
    {"line cut, no second try", HUB_CUT, "org/tiny", "cut the line", -1, 1},
    {"line cut, ranges ignored", HUB_CUT_NO_RANGE, "org/tiny", NULL, 0, 2},
    {"line cut, another range", HUB_CUT_WRONG_RANGE, "org/tiny", NULL, 0, 3},
    {"line cut, another total", HUB_CUT_WRONG_TOTAL, "org/tiny", NULL, 0, 3},
    {"a range that nobody asked for", HUB_WRONG_RANGE, "org/tiny", "another range than the one asked for", 0, 2},
    {"wrong sha256", HUB_WRONG_SHA256, "org/tiny", "wrong contents: the server announced sha256", 0, 1},
    {"wrong git sha1", HUB_WRONG_SHA1, "org/tiny", "wrong contents: the server announced git sha1", 0, 0},
    {"ends early without Content-Length, then well", HUB_SHORT_ONCE, "org/tiny", NULL, 0, 2},
    {"ends early without Content-Length, always", HUB_SHORT, "org/tiny", "ended after 150000 of 300000 bytes", 2, 0},
    {"endless body", HUB_ENDLESS, "org/tiny", "more than the 300000 bytes it announced", 0, 1},
    {"another length than announced", HUB_OTHER_LENGTH, "org/tiny", "announced with 300000 bytes, now sent with 300001", 0, 1},
    {"stalled in a file", HUB_STALL, "org/tiny", "stalled", -1, 1},
    {"stalled before its first answer", HUB_STALL_FIRST, "org/tiny", "stalled", -1, 0},
    {"redirects without end", HUB_REDIRECT_LOOP, "org/tiny", "redirected without end", 0, 0},
    {"redirect to file://", HUB_REDIRECT_FILE, "org/tiny", "no web address", 0, 0},
    {"redirect with a password", HUB_REDIRECT_PASSWORD, "org/tiny", "no web address", 0, 0},
    {"file named ../../x", HUB_NAME_UP, "org/tiny", "a file named \"../../x\"", 0, 0},
    {"file with an absolute name", HUB_NAME_ABSOLUTE, "org/tiny", "a file named \"/etc/cron.d/x\"", 0, 0},
    {"control characters in a name", HUB_NAME_CONTROL, "org/tiny", "a file named \"a\\x1b[31mb\"", 0, 0},
    {"a name whose letters are turned round", HUB_NAME_TURNED, "org/tiny", "a file named \"a\\u202eguff.gguf\"", 0, 0},
    {"a zero in a name", HUB_NAME_ZERO, "org/tiny", "not JSON", 0, 0},
    {"one name twice", HUB_NAME_TWICE, "org/tiny", "lists config.json twice", 0, 0},
    {"list of files is no JSON", HUB_NOT_JSON, "org/tiny", "is not JSON", 0, 0},
    {"list of files nested deeply", HUB_DEEP_JSON, "org/tiny", "is not JSON", 0, 0},
    {"list of files without end", HUB_HUGE_JSON, "org/tiny", "has more than 32 MiB", 0, 0},
    {"list of many empty values", HUB_MANY_VALUES, "org/tiny", "more than the 100000 files", 0, 0},
    {"a part of the list of files", HUB_PART_OF_LIST, "org/tiny", "answers 206", 0, 0},
    {"headers without end", HUB_HEADERS, "org/tiny", "of headers", 0, 0},
    {"commit ../../../../tmp", HUB_BAD_COMMIT, "org/tiny", "not that of a model hub", 0, 0},
    {"a file of another commit", HUB_OTHER_COMMIT, "org/tiny", "contradicts itself about its commit", 0, 0},
    {"etag ../../../../x", HUB_BAD_ETAG, "org/tiny", "no hash to check it by", 0, 0},
    {"another etag than listed", HUB_OTHER_ETAG, "org/tiny", "contradicts itself about its hash", 0, 0},
    {"no size anywhere", HUB_NO_SIZE, "org/tiny", "does not say its size", 0, 0},
    {"a size beyond the disk", HUB_HUGE_SIZE, "org/tiny", "MB are needed,", 0, 0},
};

static void run_row(const struct row *r) {
    double began = fp4_now();
    struct hub_server *s = hub_server_start(r->fault);
    char root[FOLDER_MAX];
    hub_use_server(s, root);
    struct fp4_hub_spec spec;
    struct fp4_hub_found found;
    const struct fp4_hub_options options = {.retries = r->retries, .backoff = 0.01, .timeout = 1};
    must(fp4_hub_parse(r->model, &spec));
    fp4_status status = fp4_hub_fetch(&spec, &options, &found);
    fprintf(stderr, "HUB %.2f s %-45s → %s\n", fp4_now() - began, r->name, status == FP4_OK ? "fetched" : fp4_last_error());
    if (r->error) {
        cr_assert_neq(status, FP4_OK, "%s: fetched", r->name);
        cr_assert_not_null(strstr(fp4_last_error(), r->error), "%s: \"%s\" is not in: %s", r->name, r->error, fp4_last_error());
        cr_assert_null(strstr(fp4_last_error(), HUB_TOKEN_OF_TESTS), "%s: %s", r->name, fp4_last_error());
        cr_assert_null(strstr(fp4_last_error(), "Signature"), "%s: a signed address is shown: %s", r->name, fp4_last_error());
        cr_assert_neq(fp4_hub_find(&spec, &found), FP4_OK, "%s: found after a failure", r->name);
    } else {
        cr_assert_eq(status, FP4_OK, "%s: %s", r->name, fp4_last_error());
        cr_assert_str_eq(found.commit, hub_server_commit);
        must(fp4_hub_find(&spec, &found));
    }
    if (r->weights)
        cr_assert_eq(hub_server_count(s, "GET /content/"), r->weights, "%s: %zu requests", r->name, hub_server_count(s, "GET /content/"));
    cr_assert_gt(hub_server_tokens(s, false), 0, "%s: no token on the hub", r->name);
    cr_assert_eq(hub_server_tokens(s, true), 0, "%s: the token went to the content network", r->name);
    /* A server that contradicts itself leaves nothing to continue from; a cut line does. */
    hub_check_cache(root, status == FP4_ERR_IO, status == FP4_OK);
    hub_server_stop(s);
}

/* Two halves: Criterion runs them side by side. */
static void run_rows(size_t first) {
    for (size_t i = first; i < sizeof rows / sizeof *rows; i += 2)
        run_row(&rows[i]);
}
Test(hub, misbehaviour_of_even_rows) { run_rows(0); }
Test(hub, misbehaviour_of_odd_rows) { run_rows(1); }
