/* A trial of the post-training experiment: the model under an arm, scored against itself unquantized. */
#include "experiments/ptq.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

/* ---- calibration ---- */

static const struct ptq_calibration calibrations[] = {{"bible", 512, {4, 8, 128}, 0.01}, {"generated", 128, {8, 16, 64}, 0.01}};

struct ptq_calibration ptq_calibration_of(const char *model, size_t context) {
    struct ptq_calibration c = calibrations[strcmp(model, "selftrained") == 0];
    c.length = c.length < context ? c.length : context;
    return c;
}

bool ptq_needs_calibration(const struct arm *a) { return a->method && fp4_method_find(a->method)->needs_calibration; }

/* ---- the model in memory ---- */

void ptq_close_model(struct ptq *s) {
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

static fp4_status use_model(struct ptq *s, const struct evaluation *e) {
    if (strcmp(s->source.name, e->model) == 0)
        return FP4_OK;
    struct fp4_load load = s->options.load;
    load.use = &e->use;
    ptq_close_model(s);
    FP4_TRY(source_open(e->model, &load, &s->source));
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
        if (e->n_windows == PTQ_ALL)
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
static fp4_status calibration_tokens(struct ptq *s, const struct ptq_calibration *c, size_t n, int32_t **out) {
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
    const struct ptq_calibration c = ptq_calibration_of(s->source.name, fp4_model_config(s->source.model)->n_ctx);
    struct fp4_method_options o = {.n_sequences = c.sequences[s->options.profile], .length = c.length, .damping = c.damping};
    int32_t *tokens = NULL;
    FP4_TRY(fp4_quantizer_parse(a->weights, &o.weights));
    FP4_TRY(fp4_quantizer_parse(a->activations, &o.activations));
    fp4_status status = ptq_needs_calibration(a) ? calibration_tokens(s, &c, o.n_sequences, &tokens) : FP4_OK;
    o.calibration = tokens;
    double start = fp4_now();
    if (status == FP4_OK)
        status = fp4_method_find(a->method)->apply(s->source.model, &o, &s->result);
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
        const struct ptq_calibration c = ptq_calibration_of(e->model, e->context);
        json_object_set_new(outcome, "calibration",
                            json_pack("{s:s, s:I, s:I, s:s}", "text", c.text, "first", (json_int_t)s->calibration_first, "n",
                                      (json_int_t)(c.length * c.sequences[s->options.profile]), "sha256", s->calibration_sha256));
    }
    return FP4_OK;
}

fp4_status ptq_trial(void *state, const struct run_trial *t, json_t *outcome, json_t *time) {
    struct ptq *s = state;
    const struct payload *p = t->payload;
    struct evaluation *e = p->evaluation;
    FP4_TRY(use_model(s, e));
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
