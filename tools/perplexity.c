/* fp4lab perplexity: windows that do not overlap, each from position 0; every token of a window but its first counts; the tail is
 * dropped. perplexity = exp(mean negative log-likelihood). */
#include <math.h>

#include "tools/tool.h"

struct request {
    struct tool_input in;
    size_t window, windows;
    double limit; /* 0: none */
    enum tool_format format;
};

struct result {
    double nll; /* sum, nats */
    size_t counted, windows;
};

enum { DEFAULT_WINDOW = 2048 };

static fp4_status plan(struct request *r, const struct tool_session *s, size_t *n) {
    size_t context = fp4_model_config(s->model)->n_ctx;
    if (r->window == 0)
        r->window = context < DEFAULT_WINDOW ? context : DEFAULT_WINDOW;
    if (r->window < 2 || r->window > context)
        return fp4_fail(FP4_ERR_ARG, "--window %zu: this model takes 2 to %zu tokens", r->window, context);
    *n = s->n_ids / r->window;
    if (*n == 0)
        return fp4_fail(FP4_ERR_ARG, "%s: %zu tokens are less than one window of %zu; give more text or a smaller --window",
                        r->in.text ? r->in.text : "--tokens", s->n_ids, r->window);
    if (r->windows && r->windows < *n)
        *n = r->windows;
    return FP4_OK;
}

static fp4_status score(const struct request *r, const struct tool_session *s, size_t n, struct result *out, json_t *table) {
    double *nll;
    size_t counted = r->window - 1;
    FP4_TRY(FP4_NEW(nll, counted));
    struct fp4_progress progress;
    fp4_progress_begin(&progress, "windows", (double)n);
    fp4_status status = FP4_OK;
    for (size_t w = 0; w < n && status == FP4_OK; w++) {
        struct fp4_score score = {.nll = nll};
        status = fp4_model_score(s->model, s->ids + w * r->window, r->window, &score);
        double sum = 0;
        for (size_t i = 0; status == FP4_OK && i < counted; i++)
            sum += nll[i];
        out->nll += sum;
        out->counted += counted;
        out->windows++;
        json_array_append_new(table, json_pack("{s:I,s:I,s:o,s:o}", "window", (json_int_t)w, "tokens", (json_int_t)counted, "nll",
                                               tool_number(sum / (double)counted), "perplexity", tool_number(exp(sum / (double)counted))));
        fp4_progress_update(&progress, (double)(w + 1));
    }
    fp4_progress_end(&progress);
    fp4_free(nll);
    return status;
}

static fp4_status show(const struct request *r, const struct result *result, size_t n_ids, double seconds, json_t *table) {
    double mean = result->nll / (double)result->counted;
    json_t *fields = json_pack("{s:o,s:o,s:I,s:I,s:I,s:I}", "perplexity", tool_number(exp(mean)), "nll", tool_number(mean), "tokens_counted",
                               (json_int_t)result->counted, "tokens_in_text", (json_int_t)n_ids, "window", (json_int_t)r->window, "windows",
                               (json_int_t)result->windows);
    tool_add_policy(fields, &r->in);
    json_object_set_new(fields, "seconds", tool_number(seconds));
    json_object_set_new(fields, "tokens_per_second", tool_number((double)(result->windows * r->window) / seconds));
    return tool_print(r->format, fields, "per_window", json_incref(table));
}

static fp4_status run(struct request *r, bool *within) {
    struct tool_session s;
    struct result result = {0};
    size_t n = 0;
    FP4_TRY(tool_open(&r->in, false, &s));
    json_t *table = json_array();
    fp4_status status = plan(r, &s, &n);
    double start = fp4_now();
    if (status == FP4_OK)
        status = score(r, &s, n, &result, table);
    if (status == FP4_OK)
        status = show(r, &result, s.n_ids, fp4_now() - start, table);
    *within = status == FP4_OK && (r->limit == 0 || exp(result.nll / (double)result.counted) <= r->limit);
    json_decref(table);
    tool_close(&s);
    return status;
}

int command_perplexity(int argc, char **argv) {
    struct request r = {.in.seed = 1};
    const struct tool_option options[] = {
        TOOL_MODEL_OPTIONS(r.in),
        {"window", "N", TOOL_COUNT, &r.window, "tokens in a window (default: 2048, or the model's context where that is less)"},
        {"windows", "N", TOOL_COUNT, &r.windows, "how many windows, from the start of the text; 0: all (default)"},
        {"max-perplexity", "X", TOOL_NUMBER, &r.limit, "exit with 1 when the perplexity is above X"}};
    struct tool_line line = {.name = "perplexity", .positional = "", .options = options, .n_options = sizeof options / sizeof *options,
                             .lists_formats = true, .summary = "Perplexity of a model on a text, with quantized linear layers or without.",
                             .notes = "Windows do not overlap and start at position 0; all tokens of a window but its first count; the tail of the\n"
                                      "text is dropped. No begin token is added."};
    bool done, within;
    if (tool_parse(&line, argc, argv, &done) != FP4_OK)
        return tool_error();
    if (done)
        return TOOL_OK;
    r.format = line.format;
    if (run(&r, &within) != FP4_OK)
        return tool_error();
    return within ? TOOL_OK : TOOL_NO;
}
