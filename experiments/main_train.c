/* train: can a model be trained in FP4? A trial is one run of the training write-up's net (PROTOCOLS.md D) under one recipe. */
#include <math.h>
#include <string.h>

#include "experiments/run.h"
#include "experiments/selftrain.h"
#include "experiments/source.h"
#include "experiments/train_data.h"
#include "fp4lab/recipes.h"

/* ---- arms ---- */

struct arm {
    const char *name, *recipe; /* recipe NULL: an n-gram baseline */
    bool no_positions;
    int order;
    const char *what;
};
static const struct arm arms[] = {
    {"bf16", "bf16", false, 0, "mixed-precision baseline"},
    {"fp4_frozen", "fp4_frozen", false, 0, "FP4 weights that are never trained (as published), with positions"},
    {"fp4_weight_ste", "fp4_weight_ste", false, 0, "FP4 weights, straight-through gradient"},
    {"nvfp4", "nvfp4", false, 0, "NVFP4 recipe, all three products"},
    {"bf16_nopos", "bf16", true, 0, "baseline as published: the net sees no positions"},
    {"fp4_frozen_nopos", "fp4_frozen", true, 0, "FP4 as published: frozen weights, no positions"},
    {"unigram", NULL, false, 1, "add-one smoothed counts"},
    {"bigram", NULL, false, 2, "add-one smoothed counts"},
};
enum { N_ARMS = sizeof arms / sizeof *arms };

/* ---- what a profile runs ---- */

struct setup {
    size_t n_embd, n_layer, n_head, n_ff, context, batch, accumulate, steps, n_train, n_train_leaky, n_eval, evaluations;
    double lr;
    int seeds;
    bool tokenizer; /* prose in SmolLM2's tokens, else in bytes */
};
/* full: the published size; its 5,000 "steps" at accumulation 4 are 1,250 updates. The small nets learn in a fifth of these updates, at four times the published
 * rate. A leaky split shows only when the net sees its text often (published: about 120 times), so the leaky text is short where updates are few. */
static const struct setup setups[] = {
    [FP4_PROFILE_SMOKE] = {.n_embd = 64, .n_layer = 2, .n_head = 2, .n_ff = 128, .context = 64, .batch = 8, .accumulate = 1, .steps = 40, .n_train = 20000,
                           .n_train_leaky = 2000, .n_eval = 16, .evaluations = 4, .lr = 4e-3, .seeds = 2},
    [FP4_PROFILE_DEFAULT] = {.n_embd = 96, .n_layer = 2, .n_head = 3, .n_ff = 256, .context = 64, .batch = 16, .accumulate = 1, .steps = 200, .n_train = 200000,
                             .n_train_leaky = 5000, .n_eval = 48, .evaluations = 8, .lr = 4e-3, .seeds = 3},
    [FP4_PROFILE_FULL] = {.n_embd = 384, .n_layer = 6, .n_head = 8, .n_ff = 1536, .context = 512, .batch = 24, .accumulate = 4, .steps = 1250, .n_train = 500000,
                          .n_train_leaky = 500000, .n_eval = 64, .evaluations = 25, .lr = 1e-3, .seeds = 3, .tokenizer = true},
};
static const struct fp4_adamw schedule = {.beta1 = 0.9, .beta2 = 0.999, .eps = 1e-8, .weight_decay = 0.1}; /* the rate is the setup's */
static const double max_norm = 1, warmup_share = 0.05, last_share = 0.1;

/* The leaky split is the published one; only the published arms run on it. */
static const struct {
    const char *name;
    bool published_only;
} items[] = {{"generated", false}, {"bible", false}, {"bible_leaky", true}};
enum { N_ITEMS = sizeof items / sizeof *items };

struct payload {
    const struct arm *arm;
    const char *item;
};
struct train {
    struct run_options options;
    struct setup setup;
    struct payload payloads[N_ARMS * N_ITEMS];
    size_t n_payloads;
    struct train_data data; /* of `item` */
    const char *item;       /* NULL: none open */
    struct fp4_tokenizer *tokenizer;
};

static void list_arms(FILE *out) {
    for (size_t i = 0; i < N_ARMS; i++)
        fprintf(out, "%-18s %s\n", arms[i].name, arms[i].what);
}

static bool is_generated(const char *item) { return strcmp(item, "generated") == 0; }
static bool is_leaky(const char *item) { return strcmp(item, "bible_leaky") == 0; }
static size_t n_train_of(const struct setup *s, const char *item) { return is_leaky(item) ? s->n_train_leaky : s->n_train; }

/* What the net and its training are; NULL without memory. */
static json_t *net_config(const struct setup *s, const struct arm *a) {
    json_t *shape = json_pack("{s:s, s:b, s:s, s:I, s:I, s:I, s:I}", "recipe", a->recipe, "no_positions", a->no_positions, "head", "untied", "n_embd",
                              (json_int_t)s->n_embd, "n_layer", (json_int_t)s->n_layer, "n_head", (json_int_t)s->n_head, "n_ff", (json_int_t)s->n_ff);
    json_t *training = json_pack("{s:I, s:I, s:I, s:I, s:f, s:f, s:f, s:f, s:f, s:f, s:f, s:f}", "batch", (json_int_t)s->batch, "accumulate",
                                 (json_int_t)s->accumulate, "steps", (json_int_t)s->steps, "evaluations", (json_int_t)s->evaluations, "lr", s->lr, "beta1",
                                 schedule.beta1, "beta2", schedule.beta2, "eps", schedule.eps, "weight_decay", schedule.weight_decay, "max_norm",
                                 max_norm, "warmup_share", warmup_share, "last_share", last_share);
    if (!shape || !training || json_object_update(shape, training) != 0) {
        json_decref(shape);
        shape = NULL;
    }
    json_decref(training);
    return shape;
}

static json_t *config_of(const struct setup *s, const struct arm *a, const char *item) {
    const char *pin = fp4_documents_pin("bible");
    json_t *config = json_pack("{s:s, s:s, s:I, s:I, s:I}", "data", item, "tokens", is_generated(item) ? "words" : s->tokenizer ? "smollm2" : "bytes", "n_train",
                               (json_int_t)n_train_of(s, item), "n_eval", (json_int_t)s->n_eval, "context", (json_int_t)s->context);
    json_t *source = is_generated(item) ? json_pack("{s:i}", "corpus_seed", SELFTRAIN_CORPUS_SEED) : json_pack("{s:s}", "text_sha256", pin ? pin : "");
    json_t *more = a->recipe ? net_config(s, a) : json_pack("{s:i, s:s}", "order", a->order, "smoothing", "add one");
    if (!config || !source || !more || json_object_update(config, source) != 0 || json_object_update(config, more) != 0) {
        json_decref(config);
        config = NULL;
    }
    json_decref(source);
    json_decref(more);
    return config; /* run_add says that there was no memory */
}

/* Seconds of a trial on cores with AVX-512: products run at some 80 gigaflop/s a core, and every activation costs time of its own, more where it is quantized. For
 * --dry-run and the progress bar only. */
static double estimate(const struct setup *s, const struct arm *a, const char *item) {
    double d = (double)s->n_embd, f = (double)s->n_ff, layers = (double)s->n_layer, vocabulary = is_generated(item) ? 354 : s->tokenizer ? 49152 : 256;
    double weights = layers * (4 * d * d + 2 * d * f) + d * vocabulary, activations = layers * (12 * d + 4 * f + (double)(s->context * s->n_head)) + 3 * vocabulary;
    double tokens = (double)(s->steps * s->accumulate * s->batch * s->context);
    tokens += (double)(s->evaluations + 1) * (double)(s->n_eval * s->context) / 3; /* forward only */
    double quantizers = strcmp(a->recipe, "nvfp4") == 0 ? 2 : 1;
    double cores = fp4_threads() > 1 ? 0.8 * fp4_threads() : 1;
    return tokens * (6 * weights / 8e10 + quantizers * activations * 1.5e-9) / cores;
}

static fp4_status add_trials(struct train *s, struct run_plan *plan, const struct arm *a, const char *item, const char *model) {
    const struct setup *u = &s->setup;
    struct payload *p = &s->payloads[s->n_payloads++];
    *p = (struct payload){a, item};
    int seeds = a->recipe ? (s->options.seeds > 0 ? s->options.seeds : u->seeds) : 1;
    for (int seed = 0; seed < seeds; seed++) {
        struct run_trial t = {.model = model, .arm = a->name, .item = item, .seed = (int)s->options.seed + seed, .config = config_of(u, a, item),
                              .estimate = a->recipe ? estimate(u, a, item) : 0.1, .payload = p};
        FP4_TRY(run_add(plan, &t));
    }
    return FP4_OK;
}

static fp4_status note_inputs(struct train *s, struct run_plan *plan, bool *bible) {
    struct fp4_documents d;
    fp4_status status = fp4_documents_open("bible", &d);
    *bible = status == FP4_OK;
    FP4_TRY(run_input(plan, "generated", "generated by this suite, exact entropy known", "made by this suite", ""));
    if (!*bible)
        return run_missing(plan, "bible", fp4_last_error());
    status = run_input(plan, "bible", d.source, d.licence, d.sha256);
    fp4_documents_close(&d);
    if (status != FP4_OK || !s->setup.tokenizer)
        return status;
    char path[1024], sha256[65];
    if (source_find("smollm2", path, sha256) == FP4_OK)
        return fp4_tokenizer_open(path, &s->tokenizer);
    s->setup.tokenizer = false;
    return run_missing(plan, "smollm2", fp4_last_error());
}

static fp4_status plan_all(struct run_options *o, struct run_plan *plan, void **state) {
    const char *arm_names[N_ARMS], *item_names[N_ITEMS], model[] = "writeup_d";
    for (size_t i = 0; i < N_ARMS; i++)
        arm_names[i] = arms[i].name;
    for (size_t i = 0; i < N_ITEMS; i++)
        item_names[i] = items[i].name;
    FP4_TRY(run_check("arm", o->arms, arm_names, N_ARMS));
    FP4_TRY(run_check("item", o->items, item_names, N_ITEMS));
    if (o->model && strcmp(o->model, model) != 0)
        return fp4_fail(FP4_ERR_ARG, "--model %s: training starts from random weights; the only net here is %s", o->model, model);
    struct train *s;
    bool bible;
    FP4_TRY(FP4_NEW(s, 1));
    *state = s;
    s->options = *o;
    s->setup = setups[o->profile];
    FP4_TRY(note_inputs(s, plan, &bible));
    for (size_t i = 0; i < N_ITEMS; i++)
        for (size_t a = 0; a < N_ARMS; a++) {
            bool published = !arms[a].recipe || arms[a].no_positions || strcmp(arms[a].name, "bf16") == 0 || strcmp(arms[a].name, "fp4_frozen") == 0;
            if (run_selected(o->arms, arms[a].name) && run_selected(o->items, items[i].name) && (bible || is_generated(items[i].name)) &&
                (published || !items[i].published_only))
                FP4_TRY(add_trials(s, plan, &arms[a], items[i].name, model));
        }
    return FP4_OK;
}

/* ---- one run ---- */

struct loop {
    const struct setup *setup;
    const struct train_data *data;
    struct fp4_model *model;
    struct fp4_optimizer *optimizer;
    const struct fp4_recipe *recipe;
    uint32_t seed;
    json_t *curve, *clock;
    double start, evaluating; /* seconds: of the clock; spent in evaluations */
};

/* Linear warm-up over 5 % of the updates, then cosine to a tenth. */
static double rate_at(const struct setup *s, size_t step) {
    double warmup = ceil(warmup_share * (double)s->steps), t = (double)step + 1;
    if (t <= warmup)
        return s->lr * t / warmup;
    double progress = (t - warmup) / ((double)s->steps - warmup);
    return s->lr * (last_share + (1 - last_share) * 0.5 * (1 + cos(3.141592653589793 * progress)));
}

/* Mean squared difference between the weights and their quantized values over the layers with a 4-bit forward weight; NaN when there is none. BF16
 * does not count. */
static fp4_status quantization_error(struct fp4_model *m, double *error) {
    double sum = 0;
    size_t n = 0;
    for (size_t i = 0; i < fp4_model_n_linear(m); i++) {
        const struct fp4_linear *linear = fp4_model_linear(m, i);
        const struct fp4_quantizer *q = &linear->policy.operand[FP4_FWD_W];
        char spelling[FP4_SPELLING_MAX];
        fp4_quantizer_spell(q, spelling);
        if (fp4_quantizer_is_none(q) || strcmp(spelling, "bf16") == 0)
            continue;
        struct fp4_param *param = fp4_model_param(m, linear->param);
        float *w, *rounded = NULL;
        FP4_TRY(FP4_NEW(w, param->elements));
        fp4_status status = FP4_NEW(rounded, param->elements);
        if (status == FP4_OK)
            status = fp4_model_get(m, param, w);
        if (status == FP4_OK)
            status = fp4_fake_quantize(q, param->rows, param->cols, w, rounded, NULL);
        for (size_t k = 0; status == FP4_OK && k < param->elements; k++)
            sum += ((double)w[k] - (double)rounded[k]) * ((double)w[k] - (double)rounded[k]);
        n += param->elements;
        fp4_free(w);
        fp4_free(rounded);
        FP4_TRY(status);
    }
    *error = n ? sum / (double)n : NAN;
    return FP4_OK;
}

/* Of n_eval windows, inputs and targets [n_eval, context]. */
static fp4_status evaluate(const struct loop *l, const int32_t *inputs, const int32_t *targets, double *loss, double *accuracy) {
    const struct train_data *d = l->data;
    double losses = 0, hits = 0;
    size_t at_once = l->setup->batch, done = 0;
    while (done < d->n_eval) { /* at most a training batch at a time: the same memory */
        size_t rows = d->n_eval - done < at_once ? d->n_eval - done : at_once;
        double part_loss, part_accuracy;
        FP4_TRY(fp4_model_evaluate(l->model, inputs + done * d->context, targets + done * d->context, rows, d->context, &part_loss, &part_accuracy));
        losses += part_loss * (double)rows;
        hits += part_accuracy * (double)rows;
        done += rows;
    }
    *loss = losses / (double)d->n_eval;
    *accuracy = hits / (double)d->n_eval;
    return FP4_OK;
}

/* A number of a point of the curve; JSON knows no NaN. */
static fp4_status put(json_t *point, const char *name, double value, size_t step) {
    json_t *number = json_real(value);
    if (!number)
        return fp4_fail(FP4_ERR_NUMERIC, "train: %s is not finite at step %zu", name, step);
    return json_object_set_new(point, name, number) == 0 ? FP4_OK : fp4_fail(FP4_ERR_MEMORY, "train: no memory for the curve");
}

/* The net as it is: {"eval_loss", "accuracy"}, on a leaky split "clean_loss" and "clean_accuracy" too, "quant_error" where weights are in four bits. */
static fp4_status measure(const struct loop *l, size_t step, json_t *point) {
    const struct train_data *d = l->data;
    double loss, accuracy, error;
    FP4_TRY(evaluate(l, d->eval_inputs, d->eval_targets, &loss, &accuracy));
    FP4_TRY(put(point, "eval_loss", loss, step));
    FP4_TRY(put(point, "accuracy", accuracy, step));
    if (d->leaky) {
        FP4_TRY(evaluate(l, d->clean_inputs, d->clean_targets, &loss, &accuracy));
        FP4_TRY(put(point, "clean_loss", loss, step));
        FP4_TRY(put(point, "clean_accuracy", accuracy, step));
    }
    FP4_TRY(quantization_error(l->model, &error));
    return isnan(error) ? FP4_OK : put(point, "quant_error", error, step);
}

static fp4_status record(struct loop *l, size_t step, double train_loss, double norm) {
    size_t tokens = step * l->setup->accumulate * l->setup->batch * l->setup->context;
    json_t *point = json_pack("{s:I, s:I}", "step", (json_int_t)step, "tokens", (json_int_t)tokens);
    json_t *at = json_pack("{s:I, s:f, s:I}", "step", (json_int_t)step, "seconds", fp4_now() - l->start, "peak_rss_bytes", (json_int_t)fp4_peak_rss());
    bool kept = json_array_append_new(l->clock, at) == 0 && json_array_append_new(l->curve, point) == 0; /* both take what is theirs, even when they fail */
    if (!kept)
        return fp4_fail(FP4_ERR_MEMORY, "train: no memory for the curve");
    double before = fp4_now();
    FP4_TRY(measure(l, step, point));
    l->evaluating += fp4_now() - before;
    if (step == 0) /* before the first update there is no training loss */
        return FP4_OK;
    FP4_TRY(put(point, "train_loss", train_loss, step));
    return put(point, "grad_norm", norm, step);
}

static fp4_status update(struct loop *l, size_t step, int32_t *inputs, int32_t *targets, double *loss, double *norm) {
    const struct setup *s = l->setup;
    struct fp4_adamw h = schedule;
    h.lr = rate_at(s, step);
    *loss = 0;
    FP4_TRY(l->recipe->apply(l->model, step, s->steps));
    FP4_TRY(fp4_model_zero_grad(l->model));
    for (size_t part = 0; part < s->accumulate; part++) {
        uint32_t address = (uint32_t)(step * s->accumulate + part);
        double part_loss;
        train_data_batch(l->data, l->seed, address, s->batch, inputs, targets);
        fp4_model_set_pass(l->model, &(struct fp4_pass){.seed = l->seed, .step = address});
        FP4_TRY(fp4_model_loss_backward(l->model, inputs, targets, s->batch, s->context, 1.0f / (float)s->accumulate, &part_loss));
        *loss += part_loss / (double)s->accumulate;
    }
    if (!isfinite(*loss))
        return fp4_fail(FP4_ERR_NUMERIC, "train: the loss is not finite at step %zu", step);
    return fp4_optimizer_step(l->optimizer, &h, max_norm, norm);
}

static fp4_status run_loop(struct loop *l) {
    const struct setup *s = l->setup;
    int32_t *inputs, *targets = NULL;
    double loss = NAN, norm = NAN;
    FP4_TRY(FP4_NEW(inputs, s->batch * s->context));
    fp4_status status = FP4_NEW(targets, s->batch * s->context);
    if (status == FP4_OK)
        status = l->recipe->apply(l->model, 0, s->steps);
    for (size_t step = 0; status == FP4_OK; step++) {
        if (step * s->evaluations % s->steps < s->evaluations) /* s->evaluations + 1 points, first and last among them */
            status = record(l, step, loss, norm);
        if (status != FP4_OK || step == s->steps)
            break;
        status = update(l, step, inputs, targets, &loss, &norm);
    }
    fp4_free(inputs);
    fp4_free(targets);
    return status;
}

static size_t trained_elements(struct fp4_model *m) {
    size_t n = fp4_model_n_elements(m);
    for (size_t i = 0; i < fp4_model_n_linear(m); i++)
        if (fp4_model_linear(m, i)->policy.frozen_weight)
            n -= fp4_model_param(m, fp4_model_linear(m, i)->param)->elements;
    return n;
}

static json_t *final_of(double loss, double accuracy) { return json_pack("{s:f, s:f}", "loss", loss, "accuracy", accuracy); }

static void describe_run(const struct loop *l, json_t *outcome, json_t *time) {
    const struct setup *u = l->setup;
    const json_t *last = json_array_get(l->curve, json_array_size(l->curve) - 1);
    json_t *final = final_of(json_real_value(json_object_get(last, "eval_loss")), json_real_value(json_object_get(last, "accuracy")));
    const char *const clean[] = {"clean_loss", "clean_accuracy"};
    for (size_t i = 0; i < 2; i++)
        if (json_object_get(last, clean[i]))
            json_object_set(final, clean[i], json_object_get(last, clean[i]));
    json_object_set_new(outcome, "final", final);
    json_object_set_new(outcome, "n_params", json_integer((json_int_t)fp4_model_n_elements(l->model)));
    json_object_set_new(outcome, "n_trained", json_integer((json_int_t)trained_elements(l->model)));
    json_object_set_new(outcome, "steps", json_integer((json_int_t)u->steps));
    json_object_set_new(outcome, "batch", json_integer((json_int_t)(u->batch * u->accumulate)));
    json_object_set_new(outcome, "context", json_integer((json_int_t)u->context));
    json_object_set(outcome, "curve", l->curve);
    json_object_set_new(time, "tokens_per_second",
                        json_real((double)(u->steps * u->accumulate * u->batch * u->context) / (fp4_now() - l->start - l->evaluating)));
    json_object_set_new(time, "peak_rss_bytes", json_integer((json_int_t)fp4_peak_rss()));
    json_object_set(time, "curve", l->clock);
}

static fp4_status run_net(struct train *s, const struct arm *a, uint32_t seed, json_t *outcome, json_t *time) {
    const struct setup *u = &s->setup;
    struct fp4_config config = {.arch = FP4_ARCH_WRITEUP_D, .n_vocab = s->data.n_vocab, .n_embd = u->n_embd, .n_layer = u->n_layer, .n_head = u->n_head,
                                .n_kv_head = u->n_head, .head_dim = u->n_embd / u->n_head, .n_ff = u->n_ff, .n_ctx = u->context,
                                .norm_eps = 0x1p-23f, .rope_theta = 1e4, .no_positions = a->no_positions, .bos_id = -1, .eos_id = -1};
    struct loop l = {.setup = u, .data = &s->data, .recipe = fp4_recipe_find(a->recipe), .seed = seed, .curve = json_array(), .clock = json_array(),
                     .start = fp4_now()};
    fp4_reset_peak_rss();
    fp4_status status = fp4_model_create(&config, seed, fp4_backend_cpu(), &l.model);
    if (status == FP4_OK)
        status = fp4_model_enable_grad(l.model);
    if (status == FP4_OK)
        status = fp4_optimizer_create(l.model, &l.optimizer);
    if (status == FP4_OK)
        status = run_loop(&l);
    if (status == FP4_OK)
        describe_run(&l, outcome, time);
    json_decref(l.curve);
    json_decref(l.clock);
    fp4_optimizer_free(l.optimizer);
    fp4_model_free(l.model);
    return status;
}

static fp4_status use_item(struct train *s, const char *item) {
    if (s->item && strcmp(s->item, item) == 0)
        return FP4_OK;
    train_data_close(&s->data);
    s->item = NULL;
    FP4_TRY(train_data_open(item, is_generated(item) ? NULL : s->tokenizer, n_train_of(&s->setup, item), s->setup.n_eval, s->setup.context, &s->data));
    s->item = item;
    return FP4_OK;
}

static fp4_status trial(void *state, const struct run_trial *t, json_t *outcome, json_t *time) {
    struct train *s = state;
    const struct payload *p = t->payload;
    double start = fp4_now(), loss, accuracy;
    FP4_TRY(use_item(s, p->item));
    if (p->arm->recipe) {
        FP4_TRY(run_net(s, p->arm, (uint32_t)t->seed, outcome, time));
    } else {
        FP4_TRY(train_data_ngram(&s->data, s->data.eval_inputs, s->data.eval_targets, p->arm->order, &loss, &accuracy));
        json_object_set_new(outcome, "final", final_of(loss, accuracy));
    }
    if (isfinite(s->data.entropy_floor))
        json_object_set_new(outcome, "entropy_floor", json_real(s->data.entropy_floor));
    json_object_set_new(time, "seconds", json_real(fp4_now() - start));
    return FP4_OK;
}

static void close_state(void *state) {
    struct train *s = state;
    train_data_close(&s->data);
    fp4_tokenizer_close(s->tokenizer);
    fp4_free(s);
}

int main(int argc, char **argv) {
    static const struct run_experiment train = {
        .name = "train",
        .summary = "can a model be trained in FP4?",
        .list_arms = list_arms,
        .plan = plan_all,
        .trial = trial,
        .close = close_state,
    };
    return run_main(&train, argc, argv);
}
