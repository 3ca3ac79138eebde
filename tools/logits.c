/* fp4lab logits: what a model expects after a text. */
#include <math.h>
#include <stdlib.h>

#include "tools/tool.h"

struct choice {
    int32_t id;
    float logit;
};

/* Largest first; equal ones by id. NaN sinks to the end. */
static int by_logit(const void *a, const void *b) {
    const struct choice *x = a, *y = b;
    if (isnan(x->logit) != isnan(y->logit))
        return isnan(x->logit) ? 1 : -1;
    if (x->logit != y->logit && !isnan(x->logit))
        return x->logit > y->logit ? -1 : 1;
    return (x->id > y->id) - (x->id < y->id);
}

static fp4_status show(const struct tool_input *in, const struct tool_session *s, const float *logits, size_t top, enum tool_format format) {
    size_t n = fp4_model_config(s->model)->n_vocab;
    struct choice *choices;
    FP4_TRY(FP4_NEW(choices, n));
    for (size_t i = 0; i < n; i++)
        choices[i] = (struct choice){(int32_t)i, logits[i]};
    qsort(choices, n, sizeof *choices, by_logit);
    double sum = 0, largest = (double)choices[0].logit;
    for (size_t i = 0; i < n; i++)
        sum += exp((double)logits[i] - largest);
    json_t *table = json_array();
    for (size_t i = 0; i < (top && top < n ? top : n); i++) {
        double logit = (double)choices[i].logit;
        json_array_append_new(table, json_pack("{s:I,s:i,s:o,s:o,s:n}", "rank", (json_int_t)i + 1, "id", (int)choices[i].id, "logit",
                                               tool_number(logit), "probability", tool_number(exp(logit - largest) / sum), "text"));
    }
    fp4_status status = tool_add_texts(s, table);
    if (status != FP4_OK) {
        fp4_free(choices);
        json_decref(table);
        return status;
    }
    json_t *fields = json_pack("{s:I,s:i,s:o,s:o}", "tokens", (json_int_t)s->n_ids, "greedy_id", (int)choices[0].id, "logsumexp",
                               tool_number(largest + log(sum)), "entropy", tool_number(fp4_logits_entropy(logits, n, 1)));
    tool_add_policy(fields, in);
    fp4_free(choices);
    return tool_print(format, fields, "logits", table);
}

static fp4_status run(const struct tool_input *in, size_t top, enum tool_format format) {
    struct tool_session s;
    float *logits = NULL;
    bool done = false;
    FP4_TRY(tool_open(in, true, &s));
    fp4_status status = tool_fits(in, &s, 0);
    if (status == FP4_OK)
        status = tool_load(in, &(struct fp4_use){.tokens = s.n_ids}, format, &s, &done);
    if (status != FP4_OK || done) {
        tool_close(&s);
        return status;
    }
    status = FP4_NEW(logits, s.config.n_vocab);
    if (status == FP4_OK)
        status = fp4_model_logits(s.model, s.ids, s.n_ids, 1, logits);
    if (status == FP4_OK)
        status = show(in, &s, logits, top, format);
    fp4_free(logits);
    tool_close(&s);
    return status;
}

int command_logits(int argc, char **argv) {
    struct tool_input in = {.seed = 1};
    size_t top = 10;
    bool done;
    const struct tool_option options[] = {TOOL_MODEL_OPTIONS(in),
                                          {"prompt", "TEXT", TOOL_STRING, &in.prompt, "literal text, in place of --text"},
                                          {"top", "N", TOOL_COUNT, &top, "how many tokens to list; 0: all (default: 10)"}};
    struct tool_line line = {.name = "logits", .positional = "", .options = options, .n_options = sizeof options / sizeof *options,
                             .summary = "Logits of the next token after a text or token ids, most probable first."};
    if (tool_parse(&line, argc, argv, &done) != FP4_OK)
        return tool_error();
    if (done)
        return TOOL_OK;
    return run(&in, top, line.format) == FP4_OK ? TOOL_OK : tool_error_on(in.model, in.text);
}
