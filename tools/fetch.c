/* fp4lab fetch: checkpoints from a model hub into the cache that Hugging Face's tools share. */
#include <string.h>

#include "tools/tool.h"

struct request {
    struct fp4_hub_spec spec;
    struct fp4_hub_options options;
    bool dry_run;
    enum tool_format format;
};

static json_t *head_fields(const struct request *r, const char *commit) {
    return json_pack("{s:s,s:s,s:s}", "repo", r->spec.repo, "revision", r->spec.revision, "commit", commit);
}

/* What would be fetched; sums over the files whose size the server says. */
static fp4_status dry_run(const struct request *r) {
    struct fp4_hub_listing l;
    FP4_TRY(fp4_hub_list(&r->spec, &r->options, &l));
    json_t *table = json_array();
    int64_t total = 0, missing = 0;
    for (size_t i = 0; i < l.n; i++) {
        const struct fp4_hub_file *f = &l.files[i];
        int64_t bytes = f->bytes > 0 ? f->bytes : 0;
        total = bytes > INT64_MAX - total ? INT64_MAX : total + bytes;
        missing = f->cached ? missing : bytes > INT64_MAX - missing ? INT64_MAX : missing + bytes;
        json_array_append_new(table, json_pack("{s:o,s:o,s:b,s:s}", "file", tool_text(f->name, strlen(f->name)), "bytes",
                                               f->bytes < 0 ? json_null() : json_integer(f->bytes), "cached", (int)f->cached, "hash", f->hash));
    }
    json_t *fields = head_fields(r, l.commit);
    json_object_set_new(fields, "bytes_all", json_integer(total));
    json_object_set_new(fields, "bytes_to_fetch", json_integer(missing));
    fp4_hub_listing_free(&l);
    return tool_print(r->format, fields, "files", table);
}

static fp4_status fetch(const struct request *r) {
    struct fp4_hub_found found;
    FP4_TRY(fp4_hub_fetch(&r->spec, &r->options, &found));
    json_t *fields = head_fields(r, found.commit);
    json_object_set_new(fields, "files_count", json_integer((json_int_t)found.files));
    json_object_set_new(fields, "files_downloaded", json_integer((json_int_t)found.downloaded));
    json_object_set_new(fields, "bytes_received", json_integer((json_int_t)found.bytes));
    json_object_set_new(fields, "path", tool_text(found.path, strlen(found.path)));
    FP4_TRY(tool_print(r->format, fields, "files", NULL));
    if (r->format == TOOL_TEXT)
        puts(found.path); /* alone in the last line, for scripts */
    return FP4_OK;
}

/* The options say the same as @ and : in the name. */
static fp4_status run(struct request *r, const char *name, const char *revision, const char *file) {
    char text[FP4_HUB_REPO + FP4_HUB_REVISION + FP4_HUB_FILE + 3];
    FP4_TRY(fp4_hub_parse(name, &r->spec));
    if (!file && *r->spec.file)
        file = r->spec.file;
    int n = snprintf(text, sizeof text, "%s@%s%s%s", r->spec.repo, revision ? revision : r->spec.revision, file ? ":" : "", file ? file : "");
    if ((size_t)n >= sizeof text)
        return fp4_fail(FP4_ERR_ARG, "%s: --revision or --file is longer than a hub allows", name);
    FP4_TRY(fp4_hub_parse(text, &r->spec));
    return r->dry_run ? dry_run(r) : fetch(r);
}

int command_fetch(int argc, char **argv) {
    struct request r = {0};
    const char *revision = NULL, *file = NULL;
    bool done;
    const struct tool_option options[] = {
        {"revision", "NAME", TOOL_STRING, &revision, "branch, tag or commit, as after @ (default: main)"},
        {"file", "NAME", TOOL_STRING, &file, "this file alone, as after : (a GGUF file of several, say)"},
        {"include", "PATTERNS", TOOL_STRING, &r.options.include, "files that match one of these, comma-separated, instead of what a model needs"},
        {"exclude", "PATTERNS", TOOL_STRING, &r.options.exclude, "not the files that match one of these"},
        {"dry-run", NULL, TOOL_FLAG, &r.dry_run, "list the files and their bytes, and fetch nothing"}};
    struct tool_line line = {
        .name = "fetch", .positional = "ORG/NAME[@REVISION][:FILE]", .min_args = 1, .max_args = 1, .options = options,
        .n_options = sizeof options / sizeof *options,
        .summary = "Brings a checkpoint from a model hub into the cache that Hugging Face's tools use, and prints its path in the last line.",
        .notes = "What a model needs: config.json, tokenizer, and safetensors, else pytorch_model.bin (a repository of GGUF files: one of them). What is there is used; an\n"
                 "interrupted fetch is continued by the same command; a file gets its name when its hash is right.\n"
                 "Environment: HF_ENDPOINT, HF_TOKEN (or HF_TOKEN_PATH), HF_HUB_CACHE (or HF_HOME), HF_HUB_OFFLINE, HF_HUB_ETAG_TIMEOUT,\n"
                 "HF_HUB_DOWNLOAD_TIMEOUT, HF_HUB_DISABLE_IMPLICIT_TOKEN, and the proxies of libcurl. The token goes to HF_ENDPOINT only."};
    if (tool_parse(&line, argc, argv, &done) != FP4_OK)
        return tool_error();
    if (done)
        return TOOL_OK;
    r.format = line.format;
    return run(&r, line.args[0], revision, file) == FP4_OK ? TOOL_OK : tool_error();
}
