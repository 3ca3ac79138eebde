/* The training loop: updates, points of the curve, what is said of a run. */
#include "experiments/train_run.h"

#include <math.h>
#include <string.h>

#include "fp4lab/recipes.h"

static const struct fp4_adamw schedule = {.beta1 = 0.9, .beta2 = 0.999, .eps = 1e-8, .weight_decay = 0.1}; /* the rate is the setup's */
static const double max_norm = 1, warmup_share = 0.05, last_share = 0.1;

json_t *train_config(const struct train_setup *s, const char *recipe, bool no_positions) {
    json_t *shape = json_pack("{s:s, s:b, s:s, s:I, s:I, s:I, s:I}", "recipe", recipe, "no_positions", no_positions, "head", "untied", "n_embd",
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
    if (shape && s->dropout > 0)
        json_object_set_new(shape, "dropout", json_real(s->dropout));
    return shape;
}

struct loop {
    const struct train_setup *setup;
    const struct train_data *data;
    struct fp4_model *model;
    struct fp4_optimizer *optimizer;
    const struct fp4_recipe *recipe;
    uint32_t seed;
    json_t *curve, *clock;
    double start, evaluating; /* seconds: of the clock; spent in evaluations */
};

double train_rate(const struct train_setup *s, size_t step) {
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
    const struct train_setup *s = l->setup;
    struct fp4_adamw h = schedule;
    h.lr = train_rate(s, step);
    *loss = 0;
    FP4_TRY(l->recipe->apply(l->model, step, s->steps));
    FP4_TRY(fp4_model_zero_grad(l->model));
    for (size_t part = 0; part < s->accumulate; part++) {
        uint32_t address = (uint32_t)(step * s->accumulate + part);
        double part_loss;
        train_data_batch(l->data, l->seed, address, s->batch, inputs, targets);
        struct fp4_pass pass = {.seed = l->seed, .step = address, .training = true};
        fp4_model_set_pass(l->model, &pass);
        FP4_TRY(fp4_model_loss_backward(l->model, inputs, targets, s->batch, s->context, 1.0f / (float)s->accumulate, &part_loss));
        pass.training = false; /* evaluations follow */
        fp4_model_set_pass(l->model, &pass);
        *loss += part_loss / (double)s->accumulate;
    }
    if (!isfinite(*loss))
        return fp4_fail(FP4_ERR_NUMERIC, "train: the loss is not finite at step %zu", step);
    return fp4_optimizer_step(l->optimizer, &h, max_norm, norm);
}

static fp4_status run_loop(struct loop *l) {
    const struct train_setup *s = l->setup;
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

static void describe_run(const struct loop *l, json_t *outcome, json_t *time) {
    const struct train_setup *u = l->setup;
    const json_t *last = json_array_get(l->curve, json_array_size(l->curve) - 1);
    json_t *final = json_pack("{s:O, s:O}", "loss", json_object_get(last, "eval_loss"), "accuracy", json_object_get(last, "accuracy"));
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

struct fp4_config train_model_config(const struct train_setup *s, size_t n_vocab, bool no_positions) {
    return (struct fp4_config){.arch = FP4_ARCH_WRITEUP_D, .n_vocab = n_vocab, .n_embd = s->n_embd, .n_layer = s->n_layer, .n_head = s->n_head,
                               .n_kv_head = s->n_head, .head_dim = s->n_embd / s->n_head, .n_ff = s->n_ff, .n_ctx = s->context, .norm_eps = 0x1p-23f,
                               .rope_theta = 1e4, .no_positions = no_positions, .dropout = s->dropout, .bos_id = -1, .eos_id = -1};
}

fp4_status train_run(const struct train_setup *s, const struct train_data *data, const char *recipe, bool no_positions, uint32_t seed, const char *save,
                     json_t *outcome, json_t *time) {
    struct fp4_config config = train_model_config(s, data->n_vocab, no_positions);
    const struct fp4_recipe *found = fp4_recipe_find(recipe);
    if (!found)
        return fp4_fail(FP4_ERR_ARG, "train: unknown recipe '%s'", recipe);
    struct loop l = {.setup = s, .data = data, .recipe = found, .seed = seed, .curve = json_array(), .clock = json_array(),
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
    if (status == FP4_OK && save)
        status = fp4_model_save(l.model, save);
    json_decref(l.curve);
    json_decref(l.clock);
    fp4_optimizer_free(l.optimizer);
    fp4_model_free(l.model);
    return status;
}
