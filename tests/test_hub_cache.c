/* The cache of the hub: names, variables, what is there already, leftovers of other fetches, disks that are full or read-only, and Hugging
 * Face's own tools beside it. */
#include <dirent.h>
#include <fcntl.h>
#include <sched.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "fp4lab/hub.h"
#include "lib/base/memory.h"
#include "tests/bytes.h"
#include "tests/hub_support.h"
#include "tests/support.h"

TestSuite(hub_cache, .init = hub_environment, .timeout = 120);

static const struct fp4_hub_options quick = {.backoff = 0.01, .timeout = 5};

static fp4_status fetch(const char *model, struct fp4_hub_found *found) {
    struct fp4_hub_spec spec;
    must(fp4_hub_parse(model, &spec));
    return fp4_hub_fetch(&spec, &quick, found);
}

static fp4_status find(const char *model, struct fp4_hub_found *found) {
    struct fp4_hub_spec spec;
    must(fp4_hub_parse(model, &spec));
    return fp4_hub_find(&spec, found);
}

static void fails_with(fp4_status status, const char *part) {
    cr_assert_neq(status, FP4_OK, "%s: no error", part);
    cr_assert_not_null(strstr(fp4_last_error(), part), "\"%s\" is not in: %s", part, fp4_last_error());
}

/* Waits for a child that fetches; true: it succeeded. */
static bool child_succeeded(pid_t pid) {
    int status;
    cr_assert_eq(waitpid(pid, &status, 0), pid);
    return WIFEXITED(status) && WEXITSTATUS(status) == 0;
}

static pid_t fetch_in_child(const char *model) {
    struct fp4_hub_found found;
    pid_t pid = fork();
    cr_assert_geq(pid, 0);
    if (pid == 0)
        _exit(fetch(model, &found) == FP4_OK ? 0 : 1);
    return pid;
}

/* ---- names ---- */

Test(hub_cache, names_of_repositories) {
    static const struct {
        const char *text, *repo, *revision, *file;
    } good[] = {{"facebook/opt-125m", "facebook/opt-125m", "main", ""},
                {"a/b_c.d@refs/pr/3", "a/b_c.d", "refs/pr/3", ""},
                {"a/b:x/y Q4_K.gguf", "a/b", "main", "x/y Q4_K.gguf"},
                {"a/b@v1.0:c.gguf", "a/b", "v1.0", "c.gguf"}};
    static const char *const bad[] = {"",      "a",          "a/",     "/a",         "a/b/c",   "../a",   "a/..",       "a/b@",        "a/b@../../x", "a/b@/x",  "a/b:",
                                      "a/b:/", "a/b:../x",   "-a/b",   "a/b-",       ".a/b",    "a/b.",   "a/b--c",     "a/b..c",      "a b/c",       "a/b\n",   "a/b:x\n",
                                      "a/b@x\033", "a/b:x/./y", "a/b:x//y", "a/b:x\\y", "a/\xc3\xa9", "~/b", "a/b:..", "a/b:\xff", ("a/b:\xc2\x9b" "1m"), "a/b@x/../y"};
    struct fp4_hub_spec spec;
    for (size_t i = 0; i < sizeof good / sizeof *good; i++) {
        must(fp4_hub_parse(good[i].text, &spec));
        cr_assert_str_eq(spec.repo, good[i].repo);
        cr_assert_str_eq(spec.revision, good[i].revision);
        cr_assert_str_eq(spec.file, good[i].file);
    }
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++)
        cr_assert_eq(fp4_hub_parse(bad[i], &spec), FP4_ERR_ARG, "\"%s\" was taken", bad[i]);
}

/* A snapshot made by hand below `cache`. */
static void make_snapshot(const char *cache) {
    char folder[400], path[512];
    snprintf(folder, sizeof folder, "%s/models--org--tiny/snapshots/%s", cache, hub_server_commit);
    must(fp4_make_dirs(folder));
    static const char *const names[] = {"config.json", "model.safetensors"};
    for (int i = 0; i < 2; i++) {
        snprintf(path, sizeof path, "%s/%s", folder, names[i]);
        write_bytes(path, "{}", 2);
    }
    snprintf(folder, sizeof folder, "%s/models--org--tiny/refs", cache);
    must(fp4_make_dirs(folder));
    snprintf(path, sizeof path, "%s/main", folder);
    write_bytes(path, hub_server_commit, 40);
}

Test(hub_cache, variables_name_the_cache) {
    static const struct {
        const char *variable, *value, *below; /* values in the order of precedence, lowest first; all below one folder */
    } steps[] = {{"HOME", "/user", "/user/.cache/huggingface/hub"},
                 {"XDG_CACHE_HOME", "/xdg", "/xdg/huggingface/hub"},
                 {"HF_HOME", "/hf", "/hf/hub"},
                 {"HUGGINGFACE_HUB_CACHE", "/legacy", "/legacy"},
                 {"HF_HUB_CACHE", "/cache", "/cache"}};
    char root[FOLDER_MAX], path[256];
    struct fp4_hub_found found;
    folder_make(root);
    for (size_t i = 0; i < sizeof steps / sizeof *steps; i++) {
        snprintf(path, sizeof path, "%s%s", root, steps[i].value);
        setenv(steps[i].variable, path, 1);
        snprintf(path, sizeof path, "%s%s", root, steps[i].below);
        fails_with(find("org/tiny", &found), path);
        make_snapshot(path);
        must(find("org/tiny", &found));
        cr_assert_eq(strncmp(found.path, path, strlen(path)), 0, "%s is not below %s", found.path, path);
        cr_assert_str_eq(found.commit, hub_server_commit);
    }
    setenv("HF_HUB_CACHE", "~/.cache/huggingface/hub", 1);
    must(find("org/tiny", &found));
    snprintf(path, sizeof path, "%s%s", root, steps[0].below);
    cr_assert_eq(strncmp(found.path, path, strlen(path)), 0);
}

Test(hub_cache, wrong_variables_are_named) {
    struct fp4_hub_found found;
    static const char *const endpoints[] = {"ftp://x", "huggingface.co", "http://user:word@127.0.0.1", "http://127.0.0.1/?q", "file:///etc"};
    for (size_t i = 0; i < sizeof endpoints / sizeof *endpoints; i++) {
        setenv("HF_ENDPOINT", endpoints[i], 1);
        fails_with(fetch("org/tiny", &found), "HF_ENDPOINT");
    }
    unsetenv("HF_ENDPOINT");
    setenv("HF_TOKEN", "hf_secret\r\nX-Injected: 1", 1);
    fails_with(fetch("org/tiny", &found), "HF_TOKEN: holds characters");
    cr_assert_null(strstr(fp4_last_error(), "hf_secret"));
    setenv("HF_TOKEN", "x", 1);
    setenv("HF_ENDPOINT", "http://127.0.0.1:1", 1);
    fails_with(fetch("org/tiny", &found), "cannot be reached");
}

/* ---- tokens ---- */

Test(hub_cache, tokens_from_files_or_none) {
    struct hub_server *s = hub_server_start(HUB_FINE);
    char root[FOLDER_MAX], path[128];
    struct fp4_hub_found found;
    hub_use_server(s, root);
    unsetenv("HF_TOKEN");
    must(fetch("org/tiny", &found));
    cr_assert_eq(hub_server_tokens(s, false), 0);
    snprintf(path, sizeof path, "%s/token", root);
    write_bytes(path, "hf_fromAFile\n", 13);
    must(fetch("org/tiny", &found));
    cr_assert_eq(hub_server_tokens(s, false), 1);
    setenv("HF_HUB_DISABLE_IMPLICIT_TOKEN", "1", 1);
    must(fetch("org/tiny", &found));
    cr_assert_eq(hub_server_tokens(s, false), 1);
    unsetenv("HF_HUB_DISABLE_IMPLICIT_TOKEN");
    unlink(path);
    snprintf(path, sizeof path, "%s/other", root);
    write_bytes(path, "hf_fromAnother", 14);
    setenv("HF_TOKEN_PATH", path, 1);
    must(fetch("org/tiny", &found));
    cr_assert_eq(hub_server_tokens(s, false), 2);
    hub_server_stop(s);
}

Test(hub_cache, without_a_token_it_is_asked_for) {
    static const enum hub_fault faults[] = {HUB_401, HUB_GATED_FILES};
    for (int i = 0; i < 2; i++) {
        struct hub_server *s = hub_server_start(faults[i]);
        char root[FOLDER_MAX];
        struct fp4_hub_found found;
        hub_use_server(s, root);
        unsetenv("HF_TOKEN");
        fails_with(fetch("org/tiny", &found), "access is refused (401)");
        cr_assert_not_null(strstr(fp4_last_error(), "/org/tiny and set HF_TOKEN"), "%s", fp4_last_error());
        hub_server_stop(s);
    }
}

/* ---- secure connections ---- */

Test(hub_cache, never_from_https_to_http) {
    char root[FOLDER_MAX], certificate[FOLDER_MAX + 16];
    struct fp4_hub_found found;
    folder_make(root);
    snprintf(certificate, sizeof certificate, "%s/authority.pem", root);
    struct hub_server *s = hub_server_start_tls(HUB_FINE, certificate);
    setenv("HF_HOME", root, 1);
    setenv("HF_ENDPOINT", hub_server_endpoint(s), 1);
    fails_with(fetch("org/tiny", &found), "no secure connection"); /* signed by nobody we know */
    cr_assert_eq(hub_server_count(s, ""), 0);
    setenv("SSL_CERT_FILE", certificate, 1);
    fails_with(fetch("org/tiny", &found), "redirected from https to http");
    cr_assert_gt(hub_server_tokens(s, false), 0);
    cr_assert_eq(hub_server_count(s, "/content/"), 0);
    unlink(certificate);
    hub_check_cache(root, true, false);
    hub_server_stop(s);
}

/* ---- what is there is used ---- */

Test(hub_cache, nothing_is_fetched_twice) {
    struct hub_server *s = hub_server_start(HUB_FINE);
    char root[FOLDER_MAX];
    struct fp4_hub_found found;
    hub_use_server(s, root);
    must(fetch("org/tiny", &found));
    cr_assert_eq(found.files, 3);
    cr_assert_eq(found.downloaded, 3);
    static const char *const names[] = {"config.json", "tokenizer.json", "model.safetensors"};
    for (int i = 0; i < 3; i++)
        cr_assert(hub_same_file(found.path, "org/tiny", names[i]), "%s", names[i]);
    size_t resolved = hub_server_count(s, "/resolve/"), contents = hub_server_count(s, "/content/");
    cr_assert_eq(hub_server_count(s, "README"), 0);
    cr_assert_eq(hub_server_count(s, "pytorch_model"), 0);
    static const char *const again[] = {"org/tiny", "org/tiny@branch/of/mine", "org/tiny@0123456789abcdef0123456789abcdef01234567"};
    for (int i = 0; i < 3; i++) {
        must(fetch(again[i], &found));
        cr_assert_eq(found.downloaded, 0);
        must(find(again[i], &found));
    }
    cr_assert_eq(hub_server_count(s, "/resolve/"), resolved);
    cr_assert_eq(hub_server_count(s, "/content/"), contents);
    cr_assert_eq(hub_server_count(s, "/api/"), 4);
    hub_check_cache(root, false, true);
    hub_server_stop(s);
}

Test(hub_cache, offline) {
    struct hub_server *s = hub_server_start(HUB_FINE);
    char root[FOLDER_MAX];
    struct fp4_hub_found found;
    struct fp4_hub_listing listing;
    struct fp4_hub_spec spec;
    const struct fp4_hub_options offline = {.offline = true};
    hub_use_server(s, root);
    must(fp4_hub_parse("org/tiny", &spec));
    setenv("HF_HUB_OFFLINE", "1", 1);
    fails_with(fetch("org/tiny", &found), "nothing is downloaded offline");
    fails_with(fp4_hub_list(&spec, &quick, &listing), "HF_HUB_OFFLINE");
    fails_with(fp4_hub_locate("org/tiny", NULL, &found), "nor is there a file or folder org/tiny");
    unsetenv("HF_HUB_OFFLINE");
    fails_with(fp4_hub_fetch(&spec, &offline, &found), "nothing is downloaded offline");
    cr_assert_eq(hub_server_count(s, ""), 0);
    must(fetch("org/tiny", &found));
    size_t requests = hub_server_count(s, "");
    setenv("TRANSFORMERS_OFFLINE", "yes", 1);
    must(fetch("org/tiny", &found));
    must(fp4_hub_locate("org/tiny", NULL, &found));
    cr_assert(hub_same_file(found.path, "org/tiny", "model.safetensors"));
    cr_assert_eq(hub_server_count(s, ""), requests);
    hub_server_stop(s);
}

Test(hub_cache, a_path_of_that_name_wins) {
    struct hub_server *s = hub_server_start(HUB_FINE);
    char root[FOLDER_MAX];
    struct fp4_hub_found found;
    hub_use_server(s, root);
    cr_assert_eq(chdir(root), 0);
    must(fp4_hub_locate("org/tiny", &quick, &found));
    cr_assert_str_eq(found.repo, "org/tiny");
    size_t requests = hub_server_count(s, "");
    must(fp4_make_dirs("org/tiny"));
    must(fp4_hub_locate("org/tiny", &quick, &found));
    cr_assert_str_eq(found.path, "org/tiny");
    cr_assert_str_empty(found.repo);
    static const char *const paths[] = {"out/model.gguf", "out/model.safetensors", "./org/other", "/nonexistent", "smollm2", "a/b/c"};
    for (size_t i = 0; i < sizeof paths / sizeof *paths; i++) {
        must(fp4_hub_locate(paths[i], &quick, &found));
        cr_assert_str_eq(found.path, paths[i]);
    }
    cr_assert_eq(hub_server_count(s, ""), requests);
    hub_server_stop(s);
}

/* ---- leftovers ---- */

static void blob_of_weights(const char *root, const char *suffix, char path[512]) {
    char hex[65];
    size_t n;
    const uint8_t *data = hub_server_file("org/tiny", "model.safetensors", &n);
    must(fp4_sha256_buffer(data, n, hex));
    snprintf(path, 512, "%s/hub/models--org--tiny/blobs", root);
    must(fp4_make_dirs(path));
    snprintf(path, 512, "%s/hub/models--org--tiny/blobs/%s%s", root, hex, suffix);
}

Test(hub_cache, leftovers_of_other_fetches) {
    struct hub_server *s = hub_server_start(HUB_FINE);
    char root[FOLDER_MAX], part[512], blob[512], range[64];
    struct fp4_hub_found found;
    size_t n;
    const uint8_t *data = hub_server_file("org/tiny", "model.safetensors", &n);
    uint8_t *wrong = calloc(n + 1, 1);
    hub_use_server(s, root);
    blob_of_weights(root, ".incomplete", part);
    blob_of_weights(root, "", blob);
    write_bytes(part, data, n / 2); /* the beginning: continued */
    must(fetch("org/tiny", &found));
    hub_server_last_range(s, range);
    cr_assert_str_eq(range, "bytes=150000-");
    cr_assert_eq(hub_server_count(s, "GET /content/"), 1);
    unlink(blob);
    write_bytes(part, data, n); /* the whole: checked, not fetched */
    must(fetch("org/tiny", &found));
    cr_assert_eq(hub_server_count(s, "GET /content/"), 1);
    unlink(blob);
    write_bytes(part, wrong, n / 2); /* other bytes: found out and removed, then fetched */
    fails_with(fetch("org/tiny", &found), "wrong contents");
    must(fetch("org/tiny", &found));
    unlink(blob);
    write_bytes(part, wrong, n + 1); /* too long: fetched anew */
    must(fetch("org/tiny", &found));
    write_bytes(blob, data, n - 1); /* a blob that was cut: fetched anew */
    must(fetch("org/tiny", &found));
    cr_assert(hub_same_file(found.path, "org/tiny", "model.safetensors"));
    hub_check_cache(root, false, true);
    unlink(blob);
    cr_assert_eq(symlink("/etc/passwd", part), 0); /* a link in its place is not followed */
    fails_with(fetch("org/tiny", &found), "cannot create");
    free(wrong);
    hub_server_stop(s);
}

Test(hub_cache, killed_and_continued) {
    struct hub_server *s = hub_server_start(HUB_SLOW);
    char root[FOLDER_MAX], part[512], range[64];
    struct fp4_hub_found found;
    struct stat info = {0};
    hub_use_server(s, root);
    blob_of_weights(root, ".incomplete", part);
    pid_t pid = fetch_in_child("org/tiny");
    for (int i = 0; i < 2000 && (stat(part, &info) != 0 || info.st_size < 40000); i++)
        usleep(5000);
    kill(pid, SIGKILL);
    cr_assert_not(child_succeeded(pid), "it was done before it could be killed");
    cr_assert_eq(stat(part, &info), 0);
    cr_assert_neq(find("org/tiny", &found), FP4_OK, "found before it was whole");
    hub_check_cache(root, true, false);
    hub_server_set(s, HUB_FINE);
    must(fetch("org/tiny", &found));
    hub_server_last_range(s, range);
    cr_assert_geq(strtol(range + 6, NULL, 10), 40000, "%s", range);
    cr_assert(hub_same_file(found.path, "org/tiny", "model.safetensors"));
    hub_check_cache(root, false, true);
    hub_server_stop(s);
}

Test(hub_cache, several_fetches_at_once) {
    struct hub_server *s = hub_server_start(HUB_SLOW);
    char root[FOLDER_MAX];
    pid_t pids[4];
    struct fp4_hub_found found;
    hub_use_server(s, root);
    for (int i = 0; i < 4; i++)
        pids[i] = fetch_in_child("org/tiny");
    for (int i = 0; i < 4; i++)
        cr_assert(child_succeeded(pids[i]), "fetch %d", i);
    cr_assert_eq(hub_server_count(s, "GET /content/"), 1, "the weights came %zu times", hub_server_count(s, "GET /content/"));
    must(find("org/tiny", &found));
    cr_assert(hub_same_file(found.path, "org/tiny", "model.safetensors"));
    hub_check_cache(root, false, true);
    hub_server_stop(s);
}

/* ---- memory ---- */

/* Each allocation of the library fails once: an error each time, and a cache that the next fetch makes whole. */
static void every_allocation_fails_once(const char *model) {
    struct hub_server *s = hub_server_start(HUB_FINE);
    struct fp4_hub_found found;
    char root[FOLDER_MAX];
    bool failed = true;
    size_t n = 0;
    hub_use_server(s, root);
    while (failed) {
        folder_empty(root);
        fp4_fail(FP4_OK, "nothing said");
        memory_fail_at(++n);
        fp4_status status = fetch(model, &found);
        failed = memory_has_failed();
        memory_fail_at(0);
        cr_assert_eq(status, failed ? FP4_ERR_MEMORY : FP4_OK, "allocation %zu: %s", n, fp4_last_error());
        cr_assert_str_neq(fp4_last_error(), failed ? "nothing said" : "");
        hub_check_cache(root, failed, true);
        must(fetch(model, &found));
        must(find(model, &found));
        hub_check_cache(root, false, true);
    }
    cr_assert_gt(n, 20);
    hub_server_stop(s);
}

Test(hub_cache, no_memory_for_one_file) { every_allocation_fails_once("org/gguf"); }
Test(hub_cache, no_memory_for_shards) { every_allocation_fails_once("org/sharded"); }

/* ---- disks ---- */

/* The limit of file size stands for a disk that fills up while a file comes. */
Test(hub_cache, a_write_that_fails) {
    struct hub_server *s = hub_server_start(HUB_FINE);
    char root[FOLDER_MAX], range[64];
    struct fp4_hub_found found;
    struct rlimit limit;
    hub_use_server(s, root);
    signal(SIGXFSZ, SIG_IGN);
    cr_assert_eq(getrlimit(RLIMIT_FSIZE, &limit), 0);
    const rlim_t before = limit.rlim_cur;
    limit.rlim_cur = 100000;
    cr_assert_eq(setrlimit(RLIMIT_FSIZE, &limit), 0);
    fp4_status status = fetch("org/tiny", &found);
    limit.rlim_cur = before;
    cr_assert_eq(setrlimit(RLIMIT_FSIZE, &limit), 0);
    fails_with(status, "cannot write: File too large; 0.2 MB more are needed");
    must(fetch("org/tiny", &found));
    hub_server_last_range(s, range);
    cr_assert_str_eq(range, "bytes=100000-");
    hub_check_cache(root, false, true);
    hub_server_stop(s);
}

/* In a user namespace of its own anybody may mount; where that is forbidden, the row "a size beyond the disk" of test_hub remains. */
static int fetch_on_tiny_disk(const char *root) {
    struct fp4_hub_found found;
    char message[64];
    if (unshare(CLONE_NEWNS) != 0 && unshare(CLONE_NEWUSER | CLONE_NEWNS) != 0)
        return 77;
    if (mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL) != 0 || mount("tmpfs", root, "tmpfs", 0, "size=128k") != 0)
        return 77;
    if (fetch("org/tiny", &found) == FP4_OK || !strstr(fp4_last_error(), "MB are needed, 0.1 MB are free"))
        return 1;
    snprintf(message, sizeof message, "%s/filler", root); /* now truly full: the small files fail too */
    int fd = open(message, O_WRONLY | O_CREAT, 0600);
    char block[4096] = {0};
    while (write(fd, block, sizeof block) == sizeof block)
        ;
    return fetch("org/tiny", &found) != FP4_OK && strstr(fp4_last_error(), "set HF_HUB_CACHE to another disk") ? 0 : 2;
}

Test(hub_cache, a_full_disk) {
    struct hub_server *s = hub_server_start(HUB_FINE);
    char root[FOLDER_MAX];
    int status;
    hub_use_server(s, root);
    pid_t pid = fork();
    cr_assert_geq(pid, 0);
    if (pid == 0)
        _exit(fetch_on_tiny_disk(root));
    cr_assert_eq(waitpid(pid, &status, 0), pid);
    hub_server_stop(s);
    cr_assert(WIFEXITED(status), "killed by signal %d", WTERMSIG(status));
    if (WEXITSTATUS(status) == 77)
        skip_test("a full disk", "this machine lets nobody mount a tmpfs in a namespace");
    cr_assert_eq(WEXITSTATUS(status), 0, "part %d did not fail as it should", WEXITSTATUS(status));
}

static int try_read_only(bool there) {
    struct fp4_hub_found found;
    if (getuid() == 0 && (setgid(65534) != 0 || setuid(65534) != 0))
        return 77;
    fp4_status status = fetch("org/tiny", &found);
    if (there)
        return status == FP4_OK && found.downloaded == 0 ? 0 : 1;
    return status != FP4_OK && strstr(fp4_last_error(), "Permission denied") && strstr(fp4_last_error(), "set HF_HUB_CACHE") ? 0 : 2;
}

static int change_mode(const char *path, bool writable) {
    char command[256];
    snprintf(command, sizeof command, "chmod -R %s '%s'", writable ? "u+w" : "a+rX,a-w", path);
    return system(command);
}

static void read_only(bool there) {
    struct hub_server *s = hub_server_start(HUB_FINE);
    char root[FOLDER_MAX];
    int status;
    struct fp4_hub_found found;
    hub_use_server(s, root);
    if (there)
        must(fetch("org/tiny", &found));
    cr_assert_eq(change_mode(root, false), 0);
    pid_t pid = fork();
    cr_assert_geq(pid, 0);
    if (pid == 0)
        _exit(try_read_only(there));
    cr_assert_eq(waitpid(pid, &status, 0), pid);
    cr_assert_eq(change_mode(root, true), 0);
    hub_server_stop(s);
    if (WIFEXITED(status) && WEXITSTATUS(status) == 77)
        skip_test("a read-only cache", "root, and no other user can be taken");
    cr_assert(WIFEXITED(status) && WEXITSTATUS(status) == 0, "part %d", WEXITSTATUS(status));
}

Test(hub_cache, read_only_and_empty) { read_only(false); }
Test(hub_cache, read_only_and_whole) { read_only(true); }
