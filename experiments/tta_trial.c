/* One trial of the adaptation experiment: a prompt under an arm. */
#include "experiments/tta.h"

#include <math.h>
#include <string.h>

const double tta_temperature = 0.7;

/* ---- configuration ---- */

static json_t *operands_of(const struct tta_arm *arm) {
    static const char *const names[FP4_OPERANDS] = {"forward_x", "forward_w", "dgrad_dy", "dgrad_w", "wgrad_dy", "wgrad_x"};
    json_t *o = json_object();
    for (int i = 0; o && i < FP4_OPERANDS; i++)
        json_object_set_new(o, names[i], json_string(arm->operand[i] ? arm->operand[i] : "none"));
    return o;
}

json_t *tta_config(const struct tta_work *w, const char *model) {
    const struct tta_arm *arm = w->arm;
    struct fp4_adamw h = fp4_adapt_published().adamw;
    json_t *c = json_pack("{s:o, s:s, s:s, s:f, s:i, s:i, s:o, s:b, s:b, s:b}", "model", source_identity(model), "prompt", w->item->prompt,
                          "expected", w->item->expected, "temperature", arm->kind == TTA_GREEDY ? 0.0 : tta_temperature, "top_k", TTA_TOP_K,
                          "draws", TTA_DRAWS, "operands", operands_of(arm), "quantized_head", arm->head, "untied_head", arm->untied,
                          "begin_token", w->begins);
    if (!c || (arm->kind != TTA_ADAPT && arm->kind != TTA_MATCHED))
        return c;
    json_t *a = json_pack("{s:I, s:f, s:f, s:f, s:f, s:f, s:s, s:f}", "steps", (json_int_t)w->steps, "lr", arm->lr, "beta1", h.beta1, "beta2",
                          h.beta2, "eps", h.eps, "weight_decay", h.weight_decay, "loss", "-sum p ln(p + 1e-8), last position", "dropout", w->dropout);
    if (!a || json_object_set_new(c, arm->kind == TTA_ADAPT ? "adaptation" : "matched_to", a) != 0) {
        json_decref(c);
        return NULL;
    }
    return c;
}

/* An adaptation under dropout depends on the seed, and so does the temperature that matches it. */
bool tta_stochastic(const struct tta_work *w) {
    return w->arm->stochastic || (w->dropout > 0 && (w->arm->kind == TTA_ADAPT || w->arm->kind == TTA_MATCHED));
}

/* ---- the prompt as tokens ---- */

struct tokens {
    int32_t *prompt, *expected, *greedy;
    size_t n_prompt, n_expected;
    uint8_t *substring;
};

static void tokens_free(struct tokens *t) {
    fp4_free(t->prompt);
    fp4_free(t->expected);
    fp4_free(t->greedy);
    fp4_free(t->substring);
}

static fp4_status mark_substrings(const struct source *s, const char *expected, uint8_t *mark) {
    size_t n = s->corpus ? fp4_corpus_vocab(s->corpus) : fp4_tokenizer_vocab(s->tokenizer);
    for (size_t i = 0; i < n; i++) {
        char *text;
        int32_t id = (int32_t)i;
        FP4_TRY(source_detokenize(s, &id, 1, &text));
        mark[i] = fp4_substring_success(text, expected);
        fp4_free(text);
    }
    return FP4_OK;
}

static fp4_status tokens_make(const struct source *s, const struct fp4_corpus_task *item, struct tokens *out) {
    FP4_TRY(source_prompt(s, item->prompt, &out->prompt, &out->n_prompt));
    FP4_TRY(source_tokenize(s, item->expected, &out->expected, &out->n_expected));
    FP4_TRY(FP4_NEW(out->greedy, out->n_expected));
    FP4_TRY(FP4_NEW(out->substring, fp4_model_config(s->model)->n_vocab));
    return mark_substrings(s, item->expected, out->substring);
}

/* ---- adaptation, and the entropy that the matched arms need ---- */

static fp4_status adapt(struct tta_state *s, const struct tta_work *w, uint32_t seed, const struct tokens *tokens, struct fp4_adapt_trace *trace) {
    struct fp4_adapt_options o = fp4_adapt_published();
    o.steps = w->steps;
    o.adamw.lr = w->arm->lr;
    o.seed = seed;
    o.training = true;
    FP4_TRY(tta_model_ready(&s->model));
    return fp4_adapt(s->model.source.model, s->model.optimizer, tokens->prompt, tokens->n_prompt, &o, trace);
}

/* What is remembered holds for one model. */
static void forget_others(struct tta_state *s, const char *model) {
    if (strcmp(s->matched_model, model) == 0)
        return;
    snprintf(s->matched_model, sizeof s->matched_model, "%s", model);
    for (size_t i = 0; i <= FP4_CORPUS_TASKS; i++)
        s->matched[0][i] = s->matched[1][i] = NAN;
}

static double *remembered(struct tta_state *s, const struct tta_work *w) {
    return &s->matched[w->arm->lr == fp4_adapt_published().adamw.lr ? 0 : 1][w->number];
}

/* The entropy after an unquantized adaptation: that of the trial before, or computed again (a resumed run, another shard; under dropout, where
 * every seed has its own). */
static fp4_status adapted_entropy(struct tta_state *s, const struct tta_work *w, uint32_t seed, const struct tokens *tokens, double *entropy) {
    double own = NAN, *known = w->dropout > 0 ? &own : remembered(s, w);
    if (isnan(*known)) {
        struct fp4_adapt_trace trace = {0};
        fp4_status status = FP4_NEW(trace.entropy, w->steps + 1);
        if (status == FP4_OK)
            status = FP4_NEW(trace.loss, w->steps);
        if (status == FP4_OK)
            status = adapt(s, w, seed, tokens, &trace);
        if (status == FP4_OK) {
            *known = trace.entropy[w->steps];
            status = tta_model_restore(&s->model);
        }
        fp4_free(trace.entropy);
        fp4_free(trace.loss);
        FP4_TRY(status);
    }
    *entropy = *known;
    return FP4_OK;
}

static fp4_status matched_temperature(struct tta_state *s, const struct tta_work *w, uint32_t seed, const struct tokens *tokens, double *temperature) {
    struct fp4_model *m = s->model.source.model;
    size_t n_vocab = fp4_model_config(m)->n_vocab;
    double entropy;
    float *logits;
    FP4_TRY(adapted_entropy(s, w, seed, tokens, &entropy));
    FP4_TRY(FP4_NEW(logits, n_vocab));
    fp4_status status = fp4_model_logits(m, tokens->prompt, tokens->n_prompt, 1, logits);
    if (status == FP4_OK)
        *temperature = fp4_entropy_matched_temperature(logits, n_vocab, entropy);
    fp4_free(logits);
    return status;
}

/* ---- outcome ---- */

static fp4_status set(json_t *o, const char *name, json_t *value) {
    return value && json_object_set_new(o, name, value) == 0 ? FP4_OK
                                                             : fp4_fail(FP4_ERR_NUMERIC, "outcome %s: not a finite number, or no memory", name);
}

static json_t *reals(const double *x, size_t n) {
    json_t *a = json_array();
    for (size_t i = 0; a && i < n; i++)
        if (json_array_append_new(a, json_real(x[i])) != 0) { /* not finite */
            json_decref(a);
            return NULL;
        }
    return a;
}

static fp4_status set_greedy(json_t *o, const struct source *s, const struct tokens *t, bool match) {
    char *first, *all;
    FP4_TRY(source_detokenize(s, t->greedy, 1, &first));
    fp4_status status = source_detokenize(s, t->greedy, t->n_expected, &all);
    if (status != FP4_OK) {
        fp4_free(first);
        return status;
    }
    json_t *ids = json_array();
    for (size_t i = 0; ids && i < t->n_expected; i++)
        json_array_append_new(ids, json_integer(t->greedy[i]));
    status = set(o, "greedy_text", json_string(first));
    if (status == FP4_OK)
        status = set(o, "continuation_text", json_string(all));
    fp4_free(first);
    fp4_free(all);
    if (status == FP4_OK)
        status = set(o, "greedy_continuation", ids);
    FP4_TRY(status);
    FP4_TRY(set(o, "greedy_id", json_integer(t->greedy[0])));
    return set(o, "greedy_match", json_boolean(match));
}

static fp4_status set_success(json_t *o, const struct fp4_adapt_success *r, double temperature) {
    FP4_TRY(set(o, "temperature", json_real(temperature)));
    FP4_TRY(set(o, "p_first_t1", json_real(r->p_first_t1)));
    FP4_TRY(set(o, "p_exact", json_real(r->p_exact)));
    FP4_TRY(set(o, "p_substring", json_real(r->p_substring)));
    FP4_TRY(set(o, "p_sequence", json_real(r->p_sequence)));
    return set(o, "draws",
               json_pack("{s:i, s:I, s:I, s:I}", "n", TTA_DRAWS, "exact", (json_int_t)r->draws_exact, "substring",
                         (json_int_t)r->draws_substring, "sequence", (json_int_t)r->draws_sequence));
}

static fp4_status measure(struct tta_state *s, const struct tta_work *w, const struct run_trial *t, struct tokens *tokens, json_t *outcome) {
    struct fp4_adapt_sampling sampling = {
        .temperature = w->arm->kind == TTA_GREEDY ? 0 : tta_temperature,
        .top_k = TTA_TOP_K,
        .n_draws = TTA_DRAWS,
        .random = {.seed = (uint32_t)t->seed, .stream = FP4_STREAM_SAMPLE, .layer = (uint32_t)w->number}};
    struct fp4_adapt_task task = {tokens->prompt, tokens->expected, tokens->n_prompt, tokens->n_expected, tokens->substring};
    struct fp4_adapt_success success;
    if (w->arm->kind == TTA_MATCHED) {
        /* Logits divided by T have the adapted entropy; then the same sampler works on them as on the adapted model's. */
        double matched;
        FP4_TRY(matched_temperature(s, w, (uint32_t)t->seed, tokens, &matched));
        FP4_TRY(set(outcome, "matched_temperature", json_real(matched)));
        sampling.temperature = matched * tta_temperature;
    }
    FP4_TRY(fp4_adapt_measure(s->model.source.model, &task, &sampling, &success, tokens->greedy));
    if (w->arm->kind != TTA_ADAPT)
        FP4_TRY(set(outcome, "entropy", reals(&success.entropy, 1)));
    FP4_TRY(set_success(outcome, &success, sampling.temperature));
    return set_greedy(outcome, &s->model.source, tokens, success.greedy_match);
}

static fp4_status adapt_and_measure(struct tta_state *s, const struct tta_work *w, const struct run_trial *t, struct tokens *tokens,
                                    json_t *outcome, json_t *time) {
    struct fp4_adapt_trace trace = {0};
    double start = fp4_now();
    fp4_status status = FP4_NEW(trace.entropy, w->steps + 1);
    if (status == FP4_OK)
        status = FP4_NEW(trace.loss, w->steps);
    if (status == FP4_OK)
        status = adapt(s, w, (uint32_t)t->seed, tokens, &trace);
    if (status == FP4_OK)
        status = set(time, "adaptation_seconds", json_real(fp4_now() - start));
    if (status == FP4_OK)
        status = measure(s, w, t, tokens, outcome);
    if (status == FP4_OK)
        status = set(outcome, "entropy", reals(trace.entropy, w->steps + 1));
    if (status == FP4_OK)
        status = set(outcome, "loss", reals(trace.loss, w->steps));
    if (status == FP4_OK)
        status = set(outcome, "grad_norm", json_real(trace.grad_norm));
    if (status == FP4_OK && !tta_stochastic(w))
        *remembered(s, w) = trace.entropy[w->steps];
    fp4_free(trace.entropy);
    fp4_free(trace.loss);
    FP4_TRY(status);
    FP4_TRY(tta_model_restore(&s->model));
    return set(outcome, "weights_restored", json_true());
}

fp4_status tta_trial(void *state, const struct run_trial *t, json_t *outcome, json_t *time) {
    struct tta_state *s = state;
    const struct tta_work *w = t->payload;
    struct tokens tokens = {0};
    struct fp4_policy policy;
    FP4_TRY(tta_model_use(&s->model, t->model, w->arm->untied, &s->options.load));
    forget_others(s, t->model);
    FP4_TRY(tta_arm_policy(w->arm, &policy));
    fp4_model_set_policy(s->model.source.model, &policy, w->arm->head);
    fp4_model_set_pass(s->model.source.model, &(struct fp4_pass){.seed = (uint32_t)t->seed});
    fp4_status status = tokens_make(&s->model.source, w->item, &tokens);
    if (status == FP4_OK)
        status = set(outcome, "prompt", json_string(w->item->prompt));
    if (status == FP4_OK)
        status = set(outcome, "expected", json_string(w->item->expected));
    if (status == FP4_OK)
        status = set(outcome, "n_prompt", json_integer((json_int_t)tokens.n_prompt));
    if (status == FP4_OK)
        status = set(outcome, "n_expected", json_integer((json_int_t)tokens.n_expected));
    if (status == FP4_OK)
        status = set(outcome, "weights_sha256", json_string(s->model.hash));
    if (status == FP4_OK)
        status = w->arm->kind == TTA_ADAPT ? adapt_and_measure(s, w, t, &tokens, outcome, time) : measure(s, w, t, &tokens, outcome);
    tokens_free(&tokens);
    return status;
}
