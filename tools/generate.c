/* fp4lab generate: continue a prompt. */
#include <string.h>

#include "tools/tool.h"

enum { USUAL_N = 64 };
#define DEFAULT_N SIZE_MAX /* no --n: what --n takes is smaller */

struct request {
    struct tool_input in;
    size_t n, top_k;
    double temperature;
    bool past_end;
    enum tool_format format;
};

/* A model must not steer a terminal: nothing that fp4_escape would change is written but line ends, tabs, and the joiners that words and emoji are
 * spelled with (U+200C, U+200D). -o json has the text as it is. */
static void write_text(const char *text, size_t n) {
    size_t used;
    for (size_t i = 0; i < n; i += used) {
        char safe[FP4_ESCAPED];
        bool joiner = n - i >= 3 && (memcmp(text + i, "\xe2\x80\x8c", 3) == 0 || memcmp(text + i, "\xe2\x80\x8d", 3) == 0);
        used = fp4_escape(text + i, n - i, safe);
        if (joiner || text[i] == '\n' || text[i] == '\t')
            fwrite(text + i, 1, used, stdout);
        else
            fputs(safe, stdout);
    }
    if (n && text[n - 1] != '\n')
        putchar('\n');
}

static fp4_status decode(const struct tool_session *s, const int32_t *ids, size_t n, char **text, size_t *bytes) {
    char *raw;
    size_t raw_bytes;
    FP4_TRY(fp4_detokenize(s->tokenizer, ids, n, true, &raw, &raw_bytes));
    fp4_status status = fp4_utf8_repair(raw, raw_bytes, text, bytes);
    fp4_free(raw);
    return status;
}

static fp4_status show_text(const struct tool_session *s, const int32_t *ids, size_t n) {
    if (!s->tokenizer) {
        tool_print_ids(ids, n);
        return FP4_OK;
    }
    char *text;
    size_t bytes;
    FP4_TRY(decode(s, ids, n, &text, &bytes));
    write_text(text, bytes);
    fp4_free(text);
    return FP4_OK;
}

static fp4_status show_table(const struct request *r, const struct tool_session *s, const int32_t *ids, size_t n) {
    json_t *fields = json_pack("{s:I,s:I}", "prompt_tokens", (json_int_t)s->n_ids, "generated_tokens", (json_int_t)(n - s->n_ids));
    tool_add_policy(fields, &r->in);
    json_object_set_new(fields, "temperature", tool_number(r->temperature));
    json_object_set_new(fields, "top_k", json_integer((json_int_t)r->top_k));
    json_object_set_new(fields, "seed", json_integer((json_int_t)r->in.seed));
    char *text = NULL;
    size_t bytes = 0;
    if (s->tokenizer && decode(s, ids + s->n_ids, n - s->n_ids, &text, &bytes) == FP4_OK)
        json_object_set_new(fields, "text", json_stringn(text, bytes));
    fp4_free(text);
    json_t *table = json_array();
    for (size_t i = s->n_ids; i < n; i++)
        json_array_append_new(table, json_pack("{s:I,s:i,s:n}", "position", (json_int_t)i, "id", (int)ids[i], "text"));
    fp4_status status = tool_add_texts(s, table);
    if (status != FP4_OK) {
        json_decref(fields);
        json_decref(table);
        return status;
    }
    return tool_print(r->format, fields, "generated", table);
}

static fp4_status generate(const struct request *r, struct tool_session *s) {
    FP4_TRY(tool_fits(&r->in, s, r->n == DEFAULT_N ? 0 : r->n));
    int32_t *ids;
    size_t room = s->config.n_ctx - s->n_ids, n_new = r->n == DEFAULT_N ? (room < USUAL_N ? room : USUAL_N) : r->n, total = s->n_ids + n_new, n = s->n_ids;
    bool done;
    FP4_TRY(tool_load(&r->in, &(struct fp4_use){.tokens = s->n_ids, .cache = total}, r->format, s, &done));
    if (done)
        return FP4_OK;
    FP4_TRY(FP4_NEW(ids, total));
    memcpy(ids, s->ids, s->n_ids * sizeof *ids);
    struct fp4_sampler sampler = {.temperature = r->temperature, .top_k = (int)r->top_k,
                                  .random = {.seed = (uint32_t)r->in.seed, .stream = FP4_STREAM_SAMPLE}};
    int eos = r->past_end ? -1 : fp4_model_config(s->model)->eos_id;
    fp4_status status = fp4_model_generate(s->model, ids, s->n_ids, n_new, &sampler, eos, &n);
    if (status == FP4_OK)
        status = r->format == TOOL_TEXT ? show_text(s, ids, n) : show_table(r, s, ids, n);
    fp4_free(ids);
    return status;
}

static fp4_status run(const struct request *r) {
    struct tool_session s;
    FP4_TRY(tool_open(&r->in, true, &s));
    fp4_status status = generate(r, &s);
    tool_close(&s);
    return status;
}

int command_generate(int argc, char **argv) {
    struct request r = {.in.seed = 1, .n = DEFAULT_N};
    const struct tool_option options[] = {
        TOOL_MODEL_OPTIONS(r.in),
        {"prompt", "TEXT", TOOL_STRING, &r.in.prompt, "the text to continue, in place of --text"},
        {"n", "N", TOOL_COUNT, &r.n, "at most this many new tokens (default: 64, or what the context has room for)"},
        {"temperature", "T", TOOL_NUMBER, &r.temperature, "0: always the most probable token (default)"},
        {"top-k", "K", TOOL_COUNT, &r.top_k, "sample among the K most probable; 0: all (default)"},
        {"past-end", NULL, TOOL_FLAG, &r.past_end, "go on after the end token"}};
    struct tool_line line = {.name = "generate", .positional = "", .options = options, .n_options = sizeof options / sizeof *options,
                             .summary = "Continues a prompt. Text output is prompt and continuation; -o json has ids and pieces."};
    bool done;
    if (tool_parse(&line, argc, argv, &done) != FP4_OK)
        return tool_error();
    if (done)
        return TOOL_OK;
    r.format = line.format;
    return run(&r) == FP4_OK ? TOOL_OK : tool_error_on(r.in.model, r.in.text);
}
