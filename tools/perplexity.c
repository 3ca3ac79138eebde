/* fp4lab perplexity: of a model on a text, counted by a named protocol (fp4lab/text.h), with an interval. */
#include <math.h>
#include <string.h>

#include "stats/stats.h"
#include "tools/tool.h"

struct request {
    struct tool_input in;
    const char *name, *bos, *join, *tail;
    size_t window, stride, windows;
    double limit; /* 0: none */
    enum tool_format format;
    struct fp4_windows plan;
};

static const char *const bos_names[] = {"none", "text", "window", "replace"};
static const char *const join_names[] = {"none", "blanks", "newlines"};
static const char *const tail_names[] = {"drop", "keep"};

static fp4_status choose(const char *option, const char *text, const char *const *names, int n, int *out) {
    char all[64] = "";
    for (int i = 0; i < n; i++) {
        if (strcmp(text, names[i]) == 0) {
            *out = i;
            return FP4_OK;
        }
        snprintf(all + strlen(all), sizeof all - strlen(all), "%s%s", i ? ", " : "", names[i]);
    }
    return fp4_fail(FP4_ERR_ARG, "--%s %s: one of %s", option, text, all);
}

static fp4_status read_protocol(struct request *r) {
    const struct fp4_protocol *p = fp4_protocol_find(r->name);
    int choice = 0;
    if (!p)
        return fp4_fail(FP4_ERR_ARG, "--protocol %s: no such protocol; 'fp4lab perplexity --help' lists them", r->name);
    r->plan = p->plan;
    r->in.join = p->join;
    if (r->bos) {
        FP4_TRY(choose("bos", r->bos, bos_names, 4, &choice));
        r->plan.bos = (enum fp4_bos)choice;
    }
    if (r->join) {
        FP4_TRY(choose("join", r->join, join_names, 3, &choice));
        r->in.join = (enum fp4_join)choice;
    }
    if (r->tail) {
        FP4_TRY(choose("tail", r->tail, tail_names, 2, &choice));
        r->plan.keep_tail = choice == 1;
    }
    return FP4_OK;
}

/* Fits the protocol to the model: its context, its begin token. */
static fp4_status plan(struct request *r, struct tool_session *s) {
    const struct fp4_config *config = &s->config;
    struct fp4_windows *w = &r->plan;
    size_t context = config->n_ctx, published = w->window;
    if (r->window && (r->window < 2 || r->window > context))
        return fp4_fail(FP4_ERR_ARG, "--window %zu: this model takes 2 to %zu tokens", r->window, context);
    if (r->window || published > context)
        w->window = r->window ? r->window : context;
    if (r->stride)
        w->stride = r->stride;
    else if (w->window != published) /* the published share of the window */
        w->stride = w->stride && w->window * w->stride / published == 0 ? 1 : w->window * w->stride / published;
    if (!r->bos && w->bos != FP4_BOS_WINDOW && !config->add_bos)
        w->bos = FP4_BOS_NONE;
    if (w->bos != FP4_BOS_NONE && config->bos_id < 0)
        return fp4_fail(FP4_ERR_ARG, "--bos %s: this model's configuration names no begin token", bos_names[w->bos]);
    if (w->bos == FP4_BOS_TEXT)
        FP4_TRY(tool_begin_with(s, config->bos_id));
    w->n = s->n_ids;
    FP4_TRY(fp4_windows_check(w));
    if (fp4_windows_count(w) == 0)
        return fp4_fail(FP4_ERR_ARG, "%s: %zu tokens are less than one window of %zu; give more text or a smaller --window",
                        r->in.text ? r->in.text : "--tokens", s->n_ids, w->window);
    return FP4_OK;
}

struct scoring {
    struct fp4_model *model;
    struct fp4_progress progress;
};

static fp4_status loss(void *context, size_t window, const int32_t *ids, size_t n, double *nll) {
    struct scoring *s = context;
    struct fp4_score score = {.nll = nll};
    fp4_progress_update(&s->progress, (double)window);
    return fp4_model_score(s->model, ids, n, &score);
}

static fp4_status score(const struct request *r, const struct tool_session *s, struct fp4_tally *t) {
    struct scoring scoring = {.model = s->model};
    size_t n = fp4_windows_count(&r->plan);
    fp4_progress_begin(&scoring.progress, "windows", (double)(r->windows && r->windows < n ? r->windows : n));
    fp4_status status = fp4_windows_run(&r->plan, s->ids, fp4_model_config(s->model)->bos_id, r->windows, loss, &scoring, t);
    fp4_progress_end(&scoring.progress);
    return status;
}

/* 95 %: the units of the tally as clusters. Weights are scaled to add up to the tokens counted, which changes neither mean nor error. */
static fp4_status add_interval(json_t *fields, const struct request *r, const struct fp4_tally *t) {
    struct fp4_cluster_sum *units;
    struct fp4_perplexity p;
    size_t n = 0, length = r->plan.window - (r->plan.bos == FP4_BOS_WINDOW);
    double scale = (double)t->counted / t->total.weight;
    char method[200];
    FP4_TRY(FP4_NEW(units, t->n_units));
    for (size_t i = 0; i < t->n_units; i++)
        if (t->unit[i].weight > 0)
            units[n++] = (struct fp4_cluster_sum){t->unit[i].weight * scale, t->unit[i].nll * scale};
    bool there = n >= 2 && fp4_perplexity_sums(n, units, 0.95, &p) == FP4_OK;
    fp4_free(units);
    if (there)
        snprintf(method, sizeof method, "95 %%: t with %zu degrees of freedom over %zu stretches of %zu tokens as clusters, log scale; of the text's sampling alone", n - 1, n,
                 length);
    else
        snprintf(method, sizeof method, "none: it takes two stretches of %zu tokens", length);
    json_object_set_new(fields, "ci_low", there ? tool_number(p.ci_log.lower) : json_null());
    json_object_set_new(fields, "ci_high", there ? tool_number(p.ci_log.upper) : json_null());
    json_object_set_new(fields, "interval", json_string(method));
    return FP4_OK;
}

static json_t *windows_table(const struct request *r, const struct fp4_tally *t) {
    json_t *table = json_array();
    for (size_t i = 0; i < t->windows; i++) {
        struct fp4_window x;
        fp4_windows_at(&r->plan, i, &x);
        double mean = t->window[i].nll / t->window[i].weight; /* a window of one token may weigh nothing: then null */
        json_array_append_new(table, json_pack("{s:I,s:I,s:o,s:o}", "window", (json_int_t)i, "tokens", (json_int_t)x.n_counted, "nll", tool_number(mean),
                                               "perplexity", tool_number(exp(mean))));
    }
    return table;
}

static fp4_status show(const struct request *r, const struct fp4_tally *t, double seconds) {
    const struct fp4_windows *w = &r->plan;
    double mean = t->total.nll / t->total.weight;
    size_t text = w->n - (w->bos == FP4_BOS_TEXT), fed = w->window - (w->bos == FP4_BOS_WINDOW);
    json_t *fields = json_pack("{s:o}", "perplexity", tool_number(exp(mean)));
    FP4_TRY(add_interval(fields, r, t));
    json_t *rest = json_pack("{s:o,s:I,s:I,s:I,s:s,s:I,s:I,s:I,s:s,s:s,s:s}", "nll", tool_number(mean), "tokens_counted", (json_int_t)t->counted, "tokens_in_text",
                             (json_int_t)text, "tokens_dropped", (json_int_t)(text - t->distinct), "protocol", r->name, "window", (json_int_t)w->window, "stride",
                             (json_int_t)(w->stride ? w->stride : fed), "windows", (json_int_t)t->windows, "bos", bos_names[w->bos], "join",
                             join_names[r->in.join], "tail", tail_names[w->keep_tail]);
    json_object_update(fields, rest);
    json_decref(rest);
    tool_add_policy(fields, &r->in);
    json_object_set_new(fields, "seconds", tool_number(seconds));
    json_object_set_new(fields, "tokens_per_second", tool_number((double)(t->windows * w->window) / seconds));
    return tool_print(r->format, fields, "per_window", windows_table(r, t));
}

static fp4_status run(struct request *r, bool *within) {
    struct tool_session s;
    struct fp4_tally t = {0};
    bool done = false;
    *within = true;
    FP4_TRY(read_protocol(r));
    FP4_TRY(tool_open(&r->in, false, &s));
    fp4_status status = plan(r, &s);
    if (status == FP4_OK)
        status = tool_load(&r->in, &(struct fp4_use){.tokens = r->plan.window}, r->format, &s, &done);
    if (status != FP4_OK || done) {
        tool_close(&s);
        return status;
    }
    double start = fp4_now();
    if (status == FP4_OK)
        status = score(r, &s, &t);
    *within = status == FP4_OK && (r->limit == 0 || exp(t.total.nll / t.total.weight) <= r->limit);
    if (status == FP4_OK)
        status = show(r, &t, fp4_now() - start);
    fp4_tally_free(&t);
    tool_close(&s);
    return status;
}

static void describe_protocols(char *text, size_t size) {
    size_t n = (size_t)snprintf(text, size, "%s", "Protocols:\n");
    const struct fp4_protocol *p;
    for (size_t i = 0; (p = fp4_protocol_at(i)) && n < size; i++)
        n += (size_t)snprintf(text + n, size - n, "  %-14s %s.\n%17s(%s.)\n", p->name, p->what, "", p->source);
    if (n < size)
        snprintf(text + n, size - n,
                 "--window, --stride, --bos, --join and --tail change a protocol; a --window other than its own scales its stride. A model whose context is shorter\n"
                 "takes windows of its context. Protocols but `bos` put a begin token only where the model's configuration adds one; --bos always does.\n"
                 "tokens_dropped: tokens of the text that were never counted (first of a window, context of a window that counts half, tail, beyond --windows).");
}

int command_perplexity(int argc, char **argv) {
    struct request r = {.in.seed = 1, .name = "disjoint"};
    static char notes[8192];
    const struct tool_option options[] = {
        TOOL_MODEL_OPTIONS(r.in),
        {"protocol", "NAME", TOOL_STRING, &r.name, "how it is counted (default: disjoint); see below"},
        {"window", "N", TOOL_COUNT, &r.window, "places of a window (default: the protocol's, or the model's context where that is less)"},
        {"stride", "N", TOOL_COUNT, &r.stride, "tokens from one window to the next (default: the protocol's)"},
        {"bos", "WHERE", TOOL_STRING, &r.bos, "begin token: none, text (once), window (before each), replace (the first of each)"},
        {"join", "HOW", TOOL_STRING, &r.join, "lines of the text: none (as it is), blanks, newlines (two); lines of white space become empty"},
        {"tail", "WHAT", TOOL_STRING, &r.tail, "what does not fill a window at the end: drop or keep"},
        {"windows", "N", TOOL_COUNT, &r.windows, "how many windows, from the start of the text; 0: all (default)"},
        {"max-perplexity", "X", TOOL_NUMBER, &r.limit, "exit with 1 when the perplexity is above X"}};
    describe_protocols(notes, sizeof notes);
    struct tool_line line = {.name = "perplexity", .positional = "", .options = options, .n_options = sizeof options / sizeof *options,
                             .lists_formats = true, .summary = "Perplexity of a model on a text, with quantized linear layers or without.", .notes = notes};
    bool done, within;
    if (tool_parse(&line, argc, argv, &done) != FP4_OK)
        return tool_error();
    if (done)
        return TOOL_OK;
    r.format = line.format;
    if (run(&r, &within) != FP4_OK)
        return tool_error_on(r.in.model, r.in.text);
    return within ? TOOL_OK : TOOL_NO;
}
