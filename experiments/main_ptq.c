/* ptq: which post-training method makes W4A4 accurate? A trial scores one text under one arm and one replicate (SCHEMA.md). */
#include "experiments/ptq_text.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "experiments/selftrain.h"
#include "fp4lab/methods.h"

/* ---- arms: a method and two quantizers ---- */

struct arm {
    const char *name, *method, *weights, *activations, *what;
    bool full_only;
};
static const struct arm arms[] = {
    {"unquantized", NULL, "none", "none", "the model as it is", false},
    {"rtn_w_nvfp4", "rtn", "nvfp4:te", "none", "weights only", false},
    {"rtn_w_mxfp4", "rtn", "mxfp4:floor", "none", "weights only", false},
    {"rtn_w_int4", "rtn", "int4:sym7", "none", "weights only, groups of 128", false},
    {"rtn_nvfp4", "rtn", "nvfp4:te", "nvfp4:te", "W4A4, round to nearest", false},
    {"rtn_mxfp4", "rtn", "mxfp4:floor", "mxfp4:floor", "W4A4, round to nearest", false},
    {"rtn_int4", "rtn", "int4:sym7", "int4:sym7", "W4A4, round to nearest, groups of 128", false},
    {"four_over_six_nvfp4", "rtn", "nvfp4:fouroversix", "nvfp4:fouroversix", "W4A4, adaptive block scaling", false},
    {"gptq_nvfp4", "gptq", "nvfp4:te", "nvfp4:te", "W4A4, second-order error compensation", false},
    {"hadamard_nvfp4", "rtn", "nvfp4:te,had16", "nvfp4:te,had16", "W4A4, block Hadamard of 16", false},
    {"hadamard_mxfp4", "rtn", "mxfp4:floor,had32", "mxfp4:floor,had32", "W4A4, block Hadamard of 32", false},
    {"gptq_hadamard_nvfp4", "gptq", "nvfp4:te,had16", "nvfp4:te,had16", "W4A4, GPTQ in a block Hadamard basis", true},
    {"gptq_mxfp4", "gptq", "mxfp4:floor", "mxfp4:floor", "W4A4, second-order error compensation", true},
    {"adacodec_quantizer", "rtn", "nvfp4:adacodec_run", "nvfp4:adacodec_run", "W4A4 by the write-up's quantizer as it runs, no codec", true},
};
enum { N_ARMS = sizeof arms / sizeof *arms };

/* ---- what a profile runs ---- */

struct workload {
    const char *model, *text;
    size_t length;     /* tokens of a window, where the model's context has as many */
    size_t windows[3]; /* by profile; 0: not in it; ALL: all that the text holds */
};
enum { ALL = 1 << 30 };
static const struct workload workloads[] = {
    {"smollm2", "bible", 1024, {0, 3, 32}},
    {"smollm2", "wikitext2", 2048, {0, 1, ALL}},
    {"smollm2", "gcide", 1024, {0, 0, 32}},
    {"selftrained", "generated", 128, {8, 32, 128}},
};
enum { N_WORKLOADS = sizeof workloads / sizeof *workloads };
static const int replicates_of_profile[] = {3, 3, 8};

/* Calibration of a model: always from the calibration half of this text, whatever text is evaluated. */
struct calibration_plan {
    const char *text;
    size_t length, sequences[3];
};
static const struct calibration_plan calibration_plans[] = {{"bible", 512, {4, 8, 128}}, {"generated", 128, {8, 16, 64}}};
static const double damping = 0.01;

/* Seconds a scored token on two cores, for estimates only. */
static double seconds_a_token(double scale) { return fmax(2e-5, 1.5e-3 * scale); }

/* ---- state ---- */

struct evaluation {
    const struct workload *work;
    char model[1024];  /* the workload's, or the user's path */
    size_t context;    /* of the model */
    double scale;      /* source_scale */
    size_t length;     /* tokens of a window */
    size_t n_windows;
    struct ptq_text text;
    float *reference;  /* [n_windows, length, width]: final hidden states of the unquantized model */
    bool open;
};
struct payload {
    const struct arm *arm;
    struct evaluation *evaluation;
};
struct ptq {
    struct run_options options;
    struct evaluation *evaluations; /* N_WORKLOADS for each model */
    struct payload *payloads;       /* N_ARMS for each evaluation */
    size_t n_evaluations, n_payloads;
    struct source source;            /* the model in memory; name "" when none */
    struct fp4_snapshot *original;
    const struct arm *applied;       /* NULL: original weights, no policies */
    struct fp4_method_result result; /* of the applied arm */
    double method_seconds;
    char calibration_sha256[65];     /* of the applied arm's calibration tokens; "" when it has none */
    size_t calibration_first;
};

/* A window, or a calibration sequence, is never longer than the model's context. */
static size_t within(size_t context, size_t length) { return length < context ? length : context; }

static struct calibration_plan calibration_of(const char *model, size_t context) {
    struct calibration_plan c = calibration_plans[strcmp(model, "selftrained") == 0];
    c.length = within(context, c.length);
    return c;
}
static bool needs_calibration(const struct arm *a) { return a->method && fp4_method_find(a->method)->needs_calibration; }

/* ---- plan ---- */

static void list_arms(FILE *out) {
    for (size_t i = 0; i < N_ARMS; i++)
        fprintf(out, "%-22s weights %-20s activations %-20s %s%s\n", arms[i].name, arms[i].weights, arms[i].activations, arms[i].what,
                arms[i].full_only ? " (profile full, or by name)" : "");
}

static json_t *config_of(const struct ptq *s, const struct arm *a, const struct evaluation *e) {
    const struct calibration_plan c = calibration_of(e->model, e->context);
    const char *pin = fp4_documents_pin(e->work->text);
    json_t *config = json_pack("{s:o, s:s, s:s, s:s, s:s, s:s, s:i, s:o, s:s}", "model", source_identity(e->model), "method",
                               a->method ? a->method : "none", "weights", a->weights, "activations", a->activations, "text",
                               e->work->text, "text_sha256", pin ? pin : "", "window", (int)e->length, "windows",
                               e->n_windows == ALL ? json_string("all") : json_integer((json_int_t)e->n_windows), "perturbation", "embedding look-ups times 1 +- 2^-23, none in replicate 0");
    if (config && needs_calibration(a))
        json_object_set_new(config, "calibration",
                            json_pack("{s:s, s:i, s:i, s:f}", "text", c.text, "sequences", (int)c.sequences[s->options.profile],
                                      "length", (int)c.length, "damping", damping));
    return config;
}

static fp4_status add_trials(struct ptq *s, struct run_plan *plan, const struct arm *a, struct evaluation *e) {
    int replicates = s->options.seeds > 0 ? s->options.seeds : replicates_of_profile[s->options.profile];
    struct payload *p = &s->payloads[s->n_payloads++];
    *p = (struct payload){a, e};
    for (int r = 0; r < replicates; r++) {
        double tokens = e->n_windows == ALL ? 290000 : (double)(e->n_windows * e->length);
        struct run_trial t = {.model = e->model, .arm = a->name, .item = e->work->text, .replicate = r, .config = config_of(s, a, e),
                              .estimate = tokens * seconds_a_token(e->scale), .payload = p};
        if (!t.config)
            return fp4_fail(FP4_ERR_MEMORY, "ptq: out of memory");
        FP4_TRY(run_add(plan, &t));
    }
    return FP4_OK;
}

/* Notes a text among the inputs, or among those missing. */
static fp4_status note_text(struct run_plan *plan, const char *name, bool *there) {
    struct fp4_documents d;
    *there = true;
    if (strcmp(name, "generated") == 0)
        return run_input(plan, name, "generated by this suite, exact entropy known", "made by this suite", "");
    fp4_status status = fp4_documents_open(name, &d);
    *there = status == FP4_OK;
    if (status != FP4_OK)
        return run_missing(plan, name, fp4_last_error());
    status = run_input(plan, name, d.source, d.licence, d.sha256);
    fp4_documents_close(&d);
    return status;
}

/* Adds an evaluation of `model` on a workload's text when the profile has it and both can be had. */
static fp4_status add_evaluation(struct ptq *s, struct run_plan *plan, const struct workload *w, const char *model, const struct fp4_config *config) {
    size_t windows = w->windows[s->options.profile];
    bool there;
    if (windows == 0 && !s->options.items && !s->options.model)
        return FP4_OK;
    if (!run_selected(s->options.items, w->text))
        return FP4_OK;
    FP4_TRY(note_text(plan, w->text, &there));
    if (!there)
        return FP4_OK;
    struct evaluation *e = &s->evaluations[s->n_evaluations++];
    *e = (struct evaluation){.work = w, .context = config->n_ctx, .scale = source_scale(config),
                             .length = within(config->n_ctx, w->length), .n_windows = windows ? windows : 1};
    snprintf(e->model, sizeof e->model, "%s", model);
    return FP4_OK;
}

static bool is_planned(const struct ptq *s, const struct arm *a) {
    return run_selected(s->options.arms, a->name) && (!a->full_only || s->options.arms || s->options.profile == FP4_PROFILE_FULL);
}

enum { TEXT_BYTES = 32 << 20 };  /* the longest text, its tokens and where its documents are */
enum { TOKENS_OF_ALL = 290000 }; /* where a workload takes all windows of a text: WikiText-2's test split by small vocabularies */

/* What the planned arms need of a model at the most: hidden states of the unquantized model on every text, and of the calibration tokens. */
static struct fp4_use use_of(const struct ptq *s, const char *model, const struct fp4_config *config) {
    const struct calibration_plan c = calibration_of(model, config->n_ctx);
    size_t width = config->n_word ? config->n_word : config->n_embd;
    struct fp4_use use = {.reference = true, .snapshot = true, .other = TEXT_BYTES};
    for (size_t i = 0; i < s->n_evaluations; i++) {
        const struct evaluation *e = &s->evaluations[i];
        if (strcmp(e->model, model) != 0)
            continue;
        use.tokens = e->length > use.tokens ? e->length : use.tokens;
        use.other += (e->n_windows == ALL ? TOKENS_OF_ALL : e->n_windows * e->length) * width * sizeof(float);
    }
    for (size_t a = 0; a < N_ARMS; a++) {
        if (!is_planned(s, &arms[a]))
            continue;
        use.quantized = use.quantized || strcmp(arms[a].activations, "none") != 0;
        use.rewrites = use.rewrites || arms[a].method;
        use.hessians = use.hessians || needs_calibration(&arms[a]);
    }
    if (use.hessians) {
        use.tokens = c.length > use.tokens ? c.length : use.tokens;
        use.other += c.sequences[s->options.profile] * c.length * config->n_embd * sizeof(float);
    }
    return use;
}

/* A model whose context is short is scored, and calibrated, in windows of its context: said once, and in the manifest for every model. */
static fp4_status note_windows(const struct ptq *s, struct run_plan *plan) {
    json_t *windows = json_array();
    for (size_t i = 0; i < s->n_evaluations; i++) {
        const struct evaluation *e = &s->evaluations[i];
        if (e->length < e->work->length)
            fp4_warn("%s: its context is %zu tokens: windows of %s have %zu, not %zu", e->model, e->context, e->work->text, e->length, e->work->length);
        json_array_append_new(windows, json_pack("{s:s, s:s, s:I, s:I, s:I}", "model", e->model, "item", e->work->text, "context", (json_int_t)e->context,
                                                 "window", (json_int_t)e->length, "calibration", (json_int_t)calibration_of(e->model, e->context).length));
    }
    return run_setting(plan, "windows", windows);
}

static fp4_status plan_model(struct ptq *s, struct run_plan *plan, const char *model) {
    bool there, own = strcmp(model, "selftrained") == 0;
    size_t first = s->n_evaluations;
    struct fp4_config config;
    struct source words;
    FP4_TRY(source_plan(plan, &s->options, model, &there));
    if (!there)
        return FP4_OK;
    FP4_TRY(source_config(model, &config));
    FP4_TRY(source_words(model, &words)); /* a model without its tokenizer is known before the work begins */
    source_close(&words);
    if (config.n_ctx < 2)
        return fp4_fail(FP4_ERR_ARG, "%s: its context is one token, which leaves nothing to predict; take another model", model);
    for (size_t w = 0; w < N_WORKLOADS; w++)
        if ((strcmp(workloads[w].model, "selftrained") == 0) == own)
            FP4_TRY(add_evaluation(s, plan, &workloads[w], model, &config));
    if (s->n_evaluations > first) {
        struct fp4_use use = use_of(s, model, &config);
        FP4_TRY(source_memory(plan, model, s->options.load.weights_in, &use));
    }
    for (size_t a = 0; a < N_ARMS; a++)
        if (is_planned(s, &arms[a]))
            for (size_t e = first; e < s->n_evaluations; e++)
                FP4_TRY(add_trials(s, plan, &arms[a], &s->evaluations[e]));
    return FP4_OK;
}

static fp4_status plan_all(struct run_options *o, struct run_plan *plan, void **state) {
    const char *arm_names[N_ARMS], *texts[N_WORKLOADS];
    for (size_t i = 0; i < N_ARMS; i++)
        arm_names[i] = arms[i].name;
    for (size_t i = 0; i < N_WORKLOADS; i++)
        texts[i] = workloads[i].text;
    FP4_TRY(run_check("arm", o->arms, arm_names, N_ARMS));
    FP4_TRY(run_check("item", o->items, texts, N_WORKLOADS));
    struct ptq *s;
    FP4_TRY(FP4_NEW(s, 1));
    *state = s;
    s->options = *o;
    size_t models = 2;
    for (const char *p = o->model; p && (p = strchr(p, ',')); p++)
        models++;
    FP4_TRY(FP4_NEW(s->evaluations, models * N_WORKLOADS));
    FP4_TRY(FP4_NEW(s->payloads, models * N_WORKLOADS * N_ARMS));
    for (const char *list = o->model; list;) {
        char name[1024];
        FP4_TRY(source_next(&list, name));
        FP4_TRY(plan_model(s, plan, name));
    }
    if (!o->model && (o->profile != FP4_PROFILE_SMOKE || o->items))
        FP4_TRY(plan_model(s, plan, "smollm2"));
    if (!o->model)
        FP4_TRY(plan_model(s, plan, "selftrained"));
    return note_windows(s, plan);
}

/* ---- running ---- */

static void close_model(struct ptq *s) {
    for (size_t i = 0; i < s->n_evaluations; i++) {
        struct evaluation *e = &s->evaluations[i];
        if (e->open)
            ptq_text_close(&e->text);
        fp4_free(e->reference);
        e->reference = NULL;
        e->open = false;
    }
    fp4_snapshot_free(s->original);
    s->original = NULL;
    source_close(&s->source);
    s->applied = NULL;
}

static fp4_status use_model(struct ptq *s, const char *model) {
    if (strcmp(s->source.name, model) == 0)
        return FP4_OK;
    struct fp4_load load = s->options.load;
    struct fp4_config config;
    close_model(s);
    FP4_TRY(source_config(model, &config));
    struct fp4_use use = use_of(s, model, &config);
    load.use = &use;
    FP4_TRY(source_open(model, &load, &s->source));
    return fp4_model_snapshot(s->source.model, &s->original);
}

static fp4_status restore(struct ptq *s) {
    s->applied = NULL;
    s->result = (struct fp4_method_result){0};
    s->calibration_sha256[0] = 0;
    s->method_seconds = 0;
    fp4_model_set_policy(s->source.model, NULL, true);
    fp4_model_set_pass(s->source.model, &(struct fp4_pass){0});
    return fp4_model_restore(s->source.model, s->original);
}

/* Opens the text and computes the unquantized model's hidden states on it. */
static fp4_status use_evaluation(struct ptq *s, struct evaluation *e) {
    size_t length = e->length, width = fp4_model_width(s->source.model), first;
    if (!e->open) {
        FP4_TRY(ptq_text_open(&s->source, e->work->text, &e->text));
        e->open = true;
        size_t most = ptq_text_windows(&e->text, length);
        if (e->n_windows == ALL)
            e->n_windows = most;
    }
    if (e->reference)
        return FP4_OK;
    FP4_TRY(restore(s));
    FP4_TRY(FP4_NEW(e->reference, e->n_windows * length * width));
    for (size_t w = 0; w < e->n_windows; w++) {
        FP4_TRY(ptq_text_window(&e->text, w, e->n_windows, length, &first));
        FP4_TRY(fp4_model_hidden(s->source.model, e->text.tokens + first, length, e->reference + w * length * width));
    }
    return FP4_OK;
}

/* Tokens of the calibration sequences, [n, length], and their hash. */
static fp4_status calibration_tokens(struct ptq *s, const struct calibration_plan *c, size_t n, int32_t **out) {
    struct ptq_text text;
    FP4_TRY(ptq_text_open(&s->source, c->text, &text));
    fp4_status status = FP4_NEW(*out, n * c->length);
    for (size_t i = 0; status == FP4_OK && i < n; i++) {
        size_t first;
        status = ptq_text_calibration(&text, i, n, c->length, &first);
        if (status == FP4_OK)
            memcpy(*out + i * c->length, text.tokens + first, sizeof **out * c->length);
        if (i == 0)
            s->calibration_first = first;
    }
    ptq_text_close(&text);
    return status == FP4_OK ? fp4_sha256_buffer(*out, sizeof **out * n * c->length, s->calibration_sha256) : status;
}

static fp4_status use_arm(struct ptq *s, const struct arm *a) {
    if (s->applied == a)
        return FP4_OK;
    FP4_TRY(restore(s));
    if (!a->method) {
        s->applied = a;
        return FP4_OK;
    }
    const struct calibration_plan c = calibration_of(s->source.name, fp4_model_config(s->source.model)->n_ctx);
    struct fp4_method_options o = {.n_sequences = c.sequences[s->options.profile], .length = c.length, .damping = damping};
    int32_t *tokens = NULL;
    FP4_TRY(fp4_quantizer_parse(a->weights, &o.weights));
    FP4_TRY(fp4_quantizer_parse(a->activations, &o.activations));
    if (needs_calibration(a))
        FP4_TRY(calibration_tokens(s, &c, o.n_sequences, &tokens));
    o.calibration = tokens;
    double start = fp4_now();
    fp4_status status = fp4_method_find(a->method)->apply(s->source.model, &o, &s->result);
    s->method_seconds = fp4_now() - start;
    fp4_free(tokens);
    s->applied = status == FP4_OK ? a : NULL;
    return status;
}

/* ---- scoring ---- */

struct sums {
    size_t n, top1;
    double nll, kl;
};
struct scores {
    double *nll, *kl;      /* [length − 1] of one window */
    uint8_t *top1;
    double *all_kl;        /* [tokens]: for quantiles */
    struct sums total, *document; /* [n_documents] */
    size_t done;
};

static fp4_status score_windows(struct ptq *s, struct evaluation *e, struct scores *x) {
    size_t length = e->length, width = fp4_model_width(s->source.model), first;
    for (size_t w = 0; w < e->n_windows; w++) {
        struct fp4_score score = {.nll = x->nll, .kl = x->kl, .top1 = x->top1, .reference = e->reference + w * length * width};
        FP4_TRY(ptq_text_window(&e->text, w, e->n_windows, length, &first));
        FP4_TRY(fp4_model_score(s->source.model, e->text.tokens + first, length, &score));
        for (size_t j = 0; j + 1 < length; j++) {
            struct sums *sums[] = {&x->total, &x->document[e->text.document[first + j + 1]]};
            if (!isfinite(x->nll[j]))
                return fp4_fail(FP4_ERR_NUMERIC, "%s: the loss of token %zu is not finite", e->work->text, first + j + 1);
            for (size_t k = 0; k < 2; k++) {
                sums[k]->n++;
                sums[k]->top1 += x->top1[j];
                sums[k]->nll += x->nll[j];
                sums[k]->kl += x->kl[j];
            }
            x->all_kl[x->done++] = x->kl[j];
        }
    }
    return FP4_OK;
}

static int by_value(const void *a, const void *b) {
    double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

/* The q-quantile as the ⌈qn⌉-th smallest value. */
static double quantile(const double *sorted, size_t n, double q) {
    size_t rank = (size_t)ceil(q * (double)n);
    return sorted[rank > 0 ? rank - 1 : 0];
}

static fp4_status describe(const struct ptq *s, const struct evaluation *e, struct scores *x, json_t *outcome) {
    size_t n = x->total.n;
    json_t *clusters = json_array();
    qsort(x->all_kl, n, sizeof *x->all_kl, by_value);
    for (size_t d = 0; d < e->text.n_documents; d++)
        if (x->document[d].n)
            json_array_append_new(clusters, json_pack("{s:I, s:I, s:f, s:f, s:I}", "id", (json_int_t)d, "n", (json_int_t)x->document[d].n, "nll",
                                                      x->document[d].nll, "kl", x->document[d].kl, "top1",
                                                      (json_int_t)x->document[d].top1));
    double mean = x->total.nll / (double)n;
    json_t *part = json_pack("{s:I, s:I, s:I, s:f, s:f, s:f, s:f, s:f, s:f, s:o, s:I, s:I, s:I, s:I}", "windows", (json_int_t)e->n_windows,
                             "window", (json_int_t)e->length, "n_tokens", (json_int_t)n, "nll_mean", mean, "ppl", exp(mean), "kl_mean",
                             x->total.kl / (double)n, "kl_median", quantile(x->all_kl, n, 0.5), "kl_p99", quantile(x->all_kl, n, 0.99),
                             "top1", (double)x->total.top1 / (double)n, "clusters", clusters, "packed_bytes",
                             (json_int_t)s->result.packed_bytes, "unquantized_bytes", (json_int_t)s->result.unquantized_bytes,
                             "n_quantized", (json_int_t)s->result.n_quantized, "file_bytes", (json_int_t)s->source.file_bytes);
    if (!part || json_object_update(outcome, part) != 0) {
        json_decref(part);
        return fp4_fail(FP4_ERR_MEMORY, "ptq: out of memory");
    }
    json_decref(part);
    if (s->calibration_sha256[0]) {
        const struct calibration_plan c = calibration_of(e->model, e->context);
        json_object_set_new(outcome, "calibration",
                            json_pack("{s:s, s:I, s:I, s:s}", "text", c.text, "first", (json_int_t)s->calibration_first, "n",
                                      (json_int_t)(c.length * c.sequences[s->options.profile]), "sha256", s->calibration_sha256));
    }
    return FP4_OK;
}

static fp4_status trial(void *state, const struct run_trial *t, json_t *outcome, json_t *time) {
    struct ptq *s = state;
    const struct payload *p = t->payload;
    struct evaluation *e = p->evaluation;
    FP4_TRY(use_model(s, e->model));
    FP4_TRY(use_evaluation(s, e));
    FP4_TRY(use_arm(s, p->arm));
    fp4_model_set_pass(s->source.model, &(struct fp4_pass){.replicate = (uint32_t)t->replicate});
    size_t length = e->length;
    struct scores x = {0};
    double start = fp4_now();
    fp4_status status = FP4_NEW(x.nll, length);
    if (status == FP4_OK)
        status = FP4_NEW(x.kl, length);
    if (status == FP4_OK)
        status = FP4_NEW(x.top1, length);
    if (status == FP4_OK)
        status = FP4_NEW(x.all_kl, e->n_windows * length);
    if (status == FP4_OK)
        status = FP4_NEW(x.document, e->text.n_documents);
    if (status == FP4_OK)
        status = score_windows(s, e, &x);
    if (status == FP4_OK)
        status = describe(s, e, &x, outcome);
    double seconds = fp4_now() - start;
    json_object_set_new(time, "method_seconds", json_real(s->method_seconds));
    json_object_set_new(time, "tokens_per_second", json_real((double)(e->n_windows * length) / seconds));
    fp4_free(x.nll), fp4_free(x.kl), fp4_free(x.top1), fp4_free(x.all_kl), fp4_free(x.document);
    return status;
}

static void close_state(void *state) {
    struct ptq *s = state;
    close_model(s);
    fp4_free(s->evaluations);
    fp4_free(s->payloads);
    fp4_free(s);
}

int main(int argc, char **argv) {
    static const struct run_experiment ptq = {
        .name = "ptq",
        .summary = "Which post-training method makes 4-bit weights and activations accurate?",
        .models = "models, comma-separated: smollm2, selftrained, a path, or ORG/NAME of a hub (default: the profile's)",
        .notes = "Windows of a text, and calibration sequences, are as long as the model's context where that is less than the profile's; config and manifest\n"
                 "have the lengths. Nothing here depends on --seed: replicates are perturbations, addressed by their number.",
        .list_arms = list_arms,
        .plan = plan_all,
        .trial = trial,
        .close = close_state,
    };
    return run_main(&ptq, argc, argv);
}
