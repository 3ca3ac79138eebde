/* The hub from outside: `fp4lab fetch` and models by name on command lines, and Hugging Face's own tools on the same cache. */
#include <jansson.h>
#include <pty.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "experiments/source.h"
#include "fp4lab/hub.h"
#include "tests/hub_support.h"
#include "tests/program.h"
#include "tests/support.h"

TestSuite(hub_tool, .init = hub_environment, .timeout = 120);

enum { OUTPUT_MAX = 1 << 16 };

/* Runs a command through the shell, stderr with stdout; its exit status. */
static int shell(char output[OUTPUT_MAX], const char *command) {
    FILE *f = popen(command, "r");
    cr_assert_not_null(f);
    size_t n = fread(output, 1, OUTPUT_MAX - 1, f);
    output[n] = 0;
    int status = pclose(f);
    cr_assert(WIFEXITED(status), "%s: killed by signal %d", command, WTERMSIG(status));
    return WEXITSTATUS(status);
}

static int tool(char output[OUTPUT_MAX], const char *arguments) {
    char program[PATH_MAX], command[PATH_MAX + 512];
    program_path("fp4lab", program);
    snprintf(command, sizeof command, "'%s' %s 2>&1", program, arguments);
    return shell(output, command);
}

static json_t *json_of(const char *text) {
    json_error_t error;
    json_t *root = json_loads(text, JSON_REJECT_DUPLICATES, &error);
    cr_assert_not_null(root, "%s: %s", error.text, text);
    return root;
}

static const char *text_of(json_t *root, const char *key) {
    const char *text = json_string_value(json_object_get(root, key));
    cr_assert_not_null(text, "%s", key);
    return text;
}

static json_int_t count_of(json_t *root, const char *key) {
    cr_assert(json_is_integer(json_object_get(root, key)), "%s", key);
    return json_integer_value(json_object_get(root, key));
}

Test(hub_tool, dry_run_then_fetch) {
    struct hub_server *s = hub_server_start(HUB_FINE);
    char root[FOLDER_MAX], path[128], output[OUTPUT_MAX];
    struct stat info;
    hub_use_server(s, root);
    cr_assert_eq(tool(output, "fetch org/sharded --dry-run -o json"), 0, "%s", output);
    json_t *plan = json_of(output), *files = json_object_get(plan, "files");
    cr_assert_str_eq(text_of(plan, "commit"), hub_server_commit);
    cr_assert_eq(json_array_size(files), 4);
    cr_assert_gt(count_of(plan, "bytes_to_fetch"), 11000);
    cr_assert_eq(count_of(plan, "bytes_to_fetch"), count_of(plan, "bytes_all"));
    snprintf(path, sizeof path, "%s/hub", root);
    cr_assert_neq(stat(path, &info), 0, "a dry run wrote %s", path);
    cr_assert_eq(tool(output, "fetch org/sharded -o json"), 0, "%s", output);
    json_t *done = json_of(output);
    cr_assert_eq(count_of(done, "files_downloaded"), 4);
    cr_assert_eq(count_of(done, "bytes_received"), count_of(plan, "bytes_to_fetch"));
    cr_assert(hub_same_file(text_of(done, "path"), "org/sharded", "model-00002-of-00002.safetensors"));
    cr_assert_eq(tool(output, "fetch org/sharded"), 0, "%s", output);
    output[strlen(output) - 1] = 0;
    cr_assert_str_eq(strrchr(output, '\n') + 1, text_of(done, "path"), "the last line is the path");
    cr_assert_eq(tool(output, "fetch org/sharded --dry-run -o json --revision other"), 0, "%s", output);
    json_t *again = json_of(output);
    cr_assert_eq(count_of(again, "bytes_to_fetch"), 0);
    cr_assert_str_eq(text_of(again, "revision"), "other");
    json_decref(plan);
    json_decref(done);
    json_decref(again);
    hub_server_stop(s);
}

Test(hub_tool, files_by_pattern_and_by_name) {
    struct hub_server *s = hub_server_start(HUB_FINE);
    char root[FOLDER_MAX], output[OUTPUT_MAX];
    hub_use_server(s, root);
    cr_assert_eq(tool(output, "fetch org/sharded -o json --include '*.txt,*.json' --exclude 'config*'"), 0, "%s", output);
    json_t *done = json_of(output);
    cr_assert_eq(count_of(done, "files_count"), 2);
    cr_assert(hub_same_file(text_of(done, "path"), "org/sharded", "extra/part.txt"));
    cr_assert_not(hub_same_file(text_of(done, "path"), "org/sharded", "config.json"));
    json_decref(done);
    cr_assert_eq(tool(output, "fetch org/ggufs --file b.gguf -o json"), 0, "%s", output);
    done = json_of(output);
    cr_assert_str_eq(strrchr(text_of(done, "path"), '/'), "/b.gguf");
    json_decref(done);
    cr_assert_eq(tool(output, "fetch org/ggufs"), 2);
    cr_assert_not_null(strstr(output, "a.gguf"), "%s", output);
    cr_assert_eq(tool(output, "fetch org/sharded --include '*.none'"), 2);
    cr_assert_not_null(strstr(output, "no file is left"), "%s", output);
    cr_assert_eq(tool(output, "fetch org/sharded --revision ../x"), 2);
    cr_assert_not_null(strstr(output, "is not a branch"), "%s", output);
    hub_check_cache(root, false, true);
    hub_server_stop(s);
}

/* A name on a command line fetches the model the first time, and finds it the second time without a request. */
Test(hub_tool, models_by_name) {
    struct hub_server *s = hub_server_start(HUB_FINE);
    char root[FOLDER_MAX], output[OUTPUT_MAX];
    hub_use_server(s, root);
    cr_assert_eq(tool(output, "info org/real --offline"), 2);
    cr_assert_not_null(strstr(output, "nothing is downloaded offline"), "%s", output);
    cr_assert_eq(hub_server_count(s, ""), 0);
    for (int i = 0; i < 2; i++) {
        cr_assert_eq(tool(output, i ? "info org/real -o json --offline" : "info org/real -o json"), 0, "%s", output);
        json_t *root_json = json_of(output);
        cr_assert_eq(count_of(root_json, "parameters"), 2);
        json_decref(root_json);
    }
    size_t requests = hub_server_count(s, "");
    cr_assert_eq(tool(output, "quantize org/real bf16 --all"), 0, "%s", output);
    cr_assert_eq(tool(output, "logits --model org/real --tokens 1"), 2);
    cr_assert_not_null(strstr(output, hub_server_commit), "the message names the snapshot: %s", output);
    cr_assert_eq(hub_server_count(s, ""), requests);
    hub_server_stop(s);
}

/* On a terminal there is a bar; the last line is the path there too. */
Test(hub_tool, progress_on_a_terminal) {
    struct hub_server *s = hub_server_start(HUB_SLOW);
    char root[FOLDER_MAX], output[OUTPUT_MAX], program[PATH_MAX];
    int terminal, status;
    size_t n = 0;
    hub_use_server(s, root);
    program_path("fp4lab", program);
    pid_t pid = forkpty(&terminal, NULL, NULL, NULL);
    if (pid < 0)
        skip_test("progress on a terminal", "this machine gives no terminal");
    if (pid == 0) {
        execl(program, "fp4lab", "fetch", "org/tiny", (char *)NULL);
        _exit(99);
    }
    for (ssize_t got; n + 1 < sizeof output && (got = read(terminal, output + n, sizeof output - 1 - n)) > 0;)
        n += (size_t)got;
    output[n] = 0;
    cr_assert_eq(waitpid(pid, &status, 0), pid);
    cr_assert(WIFEXITED(status) && WEXITSTATUS(status) == 0, "%s", output);
    cr_assert_not_null(strstr(output, "model.safetensors"), "%s", output);
    cr_assert_not_null(strstr(output, "[####"), "%s", output);
    cr_assert_null(strstr(output, HUB_TOKEN_OF_TESTS), "%s", output);
    close(terminal);
    hub_server_stop(s);
}

/* Results say which commit of which repository, and the hash of its weights. */
Test(hub_tool, experiments_record_repository_and_commit) {
    struct hub_server *s = hub_server_start(HUB_FINE);
    char root[FOLDER_MAX], path[1024], want[65];
    size_t n;
    const uint8_t *data = hub_server_file("org/real", "model.safetensors", &n);
    hub_use_server(s, root);
    must(source_find("org/real@branch", path));
    must(fp4_sha256_buffer(data, n, want));
    cr_assert(hub_same_file(path, "org/real", "config.json"));
    json_t *identity = source_identity("org/real@branch");
    cr_assert_str_eq(text_of(identity, "repo"), "org/real");
    cr_assert_str_eq(text_of(identity, "commit"), hub_server_commit);
    cr_assert_str_eq(text_of(identity, "sha256"), want);
    json_decref(identity);
    hub_server_stop(s);
}

/* ---- Hugging Face's tools ---- */

static void python(char output[OUTPUT_MAX], const char *script) {
    char command[2048];
    const char *program = getenv("FP4LAB_PYTHON");
    program = program && *program ? program : "python3";
    snprintf(command, sizeof command,
             "HF_HUB_DISABLE_PROGRESS_BARS=1 HF_HUB_DISABLE_TELEMETRY=1 '%s' -c 'try:\n    import huggingface_hub as h\nexcept ImportError:\n    raise "
             "SystemExit(77)\n%s' 2>&1", program, script);
    int status = shell(output, command);
    if (status == 77 || status == 127)
        skip_test("Hugging Face's tools", "no Python with huggingface_hub; name one in FP4LAB_PYTHON");
    cr_assert_eq(status, 0, "%s", output);
}

/* A server, and org/tiny fetched from it; the requests so far. */
static size_t with_tiny(struct hub_server **s, char root[FOLDER_MAX], struct fp4_hub_found *found) {
    struct fp4_hub_spec spec;
    *s = hub_server_start(HUB_FINE);
    hub_use_server(*s, root);
    must(fp4_hub_parse("org/tiny", &spec));
    must(fp4_hub_fetch(&spec, NULL, found));
    return hub_server_count(*s, "");
}

Test(hub_tool, hugging_face_finds_what_is_fetched) {
    struct hub_server *s;
    char root[FOLDER_MAX], output[OUTPUT_MAX];
    struct fp4_hub_found found;
    size_t requests = with_tiny(&s, root, &found);
    python(output, "print(h.hf_hub_download(\"org/tiny\", \"model.safetensors\", local_files_only=True))\n"
                   "assert isinstance(h.try_to_load_from_cache(\"org/tiny\", \"config.json\"), str)\n"
                   "assert h.try_to_load_from_cache(\"org/tiny\", \"merges.txt\") is not None\n"
                   "assert h.try_to_load_from_cache(\"org/tiny\", \"README.md\") is None\n"
                   "info = h.scan_cache_dir()\n"
                   "assert not info.warnings, info.warnings\n"
                   "assert [r.repo_id for r in info.repos] == [\"org/tiny\"]\n"
                   "print(h.snapshot_download(\"org/tiny\", local_files_only=True))");
    output[strlen(output) - 1] = 0;
    cr_assert_str_eq(strrchr(output, '\n') + 1, found.path, "%s", output);
    cr_assert_eq(hub_server_count(s, ""), requests);
    python(output, "print(h.snapshot_download(\"org/tiny\", allow_patterns=[\"*.json\", \"*.safetensors\"]))");
    cr_assert_eq(hub_server_count(s, "GET /content/"), 1, "it was downloaded again");
    hub_server_stop(s);
}

Test(hub_tool, transformers_reads_what_is_fetched) {
    struct hub_server *s;
    char root[FOLDER_MAX], output[OUTPUT_MAX];
    struct fp4_hub_found found;
    size_t requests = with_tiny(&s, root, &found);
    python(output, "try:\n    from transformers import AutoConfig\nexcept ImportError:\n    print(\"none\")\n    raise SystemExit\n"
                   "print(AutoConfig.from_pretrained(\"org/tiny\", local_files_only=True).model_type)");
    cr_assert_eq(hub_server_count(s, ""), requests);
    hub_server_stop(s);
    if (strstr(output, "none"))
        skip_test("transformers", "this Python has huggingface_hub, not transformers");
    cr_assert_not_null(strstr(output, "llama"), "%s", output);
}

Test(hub_tool, what_hugging_face_downloaded_is_found) {
    struct hub_server *s = hub_server_start(HUB_FINE);
    char root[FOLDER_MAX], output[OUTPUT_MAX];
    struct fp4_hub_spec spec;
    struct fp4_hub_found found;
    hub_use_server(s, root);
    python(output, "print(h.snapshot_download(\"org/sharded\"))");
    output[strlen(output) - 1] = 0;
    must(fp4_hub_parse("org/sharded", &spec));
    must(fp4_hub_find(&spec, &found));
    char *last = strrchr(output, '\n');
    cr_assert_str_eq(last ? last + 1 : output, found.path);
    size_t contents = hub_server_count(s, "/resolve/") + hub_server_count(s, "/content/");
    must(fp4_hub_fetch(&spec, NULL, &found));
    cr_assert_eq(found.downloaded, 0);
    cr_assert_eq(hub_server_count(s, "/resolve/") + hub_server_count(s, "/content/"), contents);
    hub_check_cache(root, false, true);
    hub_server_stop(s);
}
