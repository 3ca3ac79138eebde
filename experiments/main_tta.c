/* tta: does test-time adaptation by entropy minimisation survive FP4? (WRITEUPS.md A) */
#include "experiments/selftrain.h"
#include "experiments/tta.h"

#include <math.h>
#include <string.h>

static void list_arms(FILE *out) {
    for (size_t i = 0; i < tta_n_arms; i++)
        fprintf(out, "%-22s %s\n", tta_arms[i].name, tta_arms[i].summary);
}

/* ---- what a profile runs ---- */

struct scale {
    const char *arms, *items; /* NULL: all */
    int seeds;                /* of stochastic arms */
    size_t steps;
};

/* The default's 5 steps and one seed keep all arms and prompts of the large model within a few minutes; at 1e-4 its entropy is near 0
 * after two steps. Full is as published: 10 steps. */
static struct scale scale_of(enum fp4_profile profile, bool small) {
    if (profile == FP4_PROFILE_SMOKE)
        return small ? (struct scale){NULL, "3,8,11", 1, 10} : (struct scale){"base,fp4_no_adapt,tta", "4", 1, 2};
    if (profile == FP4_PROFILE_DEFAULT)
        return small ? (struct scale){NULL, NULL, 2, 10} : (struct scale){NULL, NULL, 1, 5};
    return (struct scale){NULL, NULL, 5, 10};
}

/* Seconds of a trial on two cores, as measured: reading the weights sets the pace, quantizing them adds to it. The matched arms reuse the
 * adaptation before them. */
static double estimate(const struct tta_arm *arm, size_t steps, double share) {
    double step = 0.2, pass = 0.08;
    const char *w = arm->operand[FP4_FWD_W];
    if (w) {
        step += arm->untied ? 0.45 : 0.15;
        pass *= 3;
    }
    double adaptation = arm->kind == TTA_ADAPT ? 0.5 + (double)steps * step : 0; /* 0.5: moments, restoring, hash */
    return share * (2 * pass + adaptation);
}

/* ---- plan ---- */

static fp4_status add_trials(struct tta_state *s, struct run_plan *plan, const char *model, const struct scale *scale, const struct tta_arm *arm,
                             int number, const struct tta_work *model_facts) {
    const struct run_options *o = &s->options;
    char item[12];
    snprintf(item, sizeof item, "%d", number);
    if (!run_selected(o->arms ? o->arms : scale->arms, arm->name) || !run_selected(o->items ? o->items : scale->items, item))
        return FP4_OK;
    int seeds = !tta_stochastic(&(struct tta_work){.arm = arm, .dropout = model_facts->dropout}) ? 1 : o->seeds ? o->seeds : scale->seeds;
    for (int i = 0; i < seeds; i++) {
        if (s->n_work == s->room)
            return fp4_fail(FP4_ERR_ARG, "more trials than were counted");
        struct tta_work *w = &s->work[s->n_work++];
        *w = (struct tta_work){.arm = arm, .item = &fp4_corpus_tasks[number - 1], .number = number, .steps = scale->steps, .dropout = model_facts->dropout, .begins = model_facts->begins};
        struct run_trial t = {.model = model, .arm = arm->name, .item = item, .seed = (int)o->seed + i, .payload = w};
        t.config = tta_config(w, model);
        t.estimate = estimate(arm, w->steps, fmax(0.03, model_facts->scale));
        FP4_TRY(run_add(plan, &t));
    }
    return FP4_OK;
}

/* A prompt and its answer must fit into the model's context: known before anything is run. */
static fp4_status check_prompts(const struct tta_state *s, const struct source *words, size_t context) {
    for (int number = 1; words->tokenizer && number <= FP4_CORPUS_TASKS; number++) {
        int32_t *prompt = NULL, *expected = NULL;
        size_t n_prompt, n_expected = 0;
        char item[12];
        snprintf(item, sizeof item, "%d", number);
        if (!run_selected(s->options.items ? s->options.items : scale_of(s->options.profile, false).items, item))
            continue;
        fp4_status status = source_prompt(words, fp4_corpus_tasks[number - 1].prompt, &prompt, &n_prompt);
        if (status == FP4_OK)
            status = source_tokenize(words, fp4_corpus_tasks[number - 1].expected, &expected, &n_expected);
        fp4_free(prompt);
        fp4_free(expected);
        FP4_TRY(status);
        if (n_prompt + n_expected > context)
            return fp4_fail(FP4_ERR_ARG, "%s: prompt %d and its answer are %zu tokens, its context is %zu; name the items that fit with --items", words->name, number,
                            n_prompt + n_expected, context);
    }
    return FP4_OK;
}

/* Prompt by prompt, so that a matched arm follows the adaptation that it is matched to; arms with an untied head come last: they need
 * the weights in another shape. */
static fp4_status plan_model(struct tta_state *s, struct run_plan *plan, const char *model) {
    struct scale scale = scale_of(s->options.profile, strcmp(model, "selftrained") == 0);
    FP4_TRY(source_memory(plan, model, s->options.load.weights_in, &tta_use));
    struct fp4_config config;
    struct source words;
    FP4_TRY(source_config(model, &config));
    struct tta_work facts = {.scale = source_scale(&config), .dropout = config.dropout > config.attention_dropout ? config.dropout : config.attention_dropout};
    FP4_TRY(source_words(model, &words));
    facts.begins = source_begins(&words);
    fp4_status status = check_prompts(s, &words, config.n_ctx);
    source_close(&words);
    FP4_TRY(status);
    for (int untied = 0; untied < 2; untied++)
        for (int number = 1; number <= FP4_CORPUS_TASKS; number++)
            for (size_t a = 0; a < tta_n_arms; a++)
                if (tta_arms[a].untied == untied)
                    FP4_TRY(add_trials(s, plan, model, &scale, &tta_arms[a], number, &facts));
    return FP4_OK;
}

static fp4_status check_lists(const struct run_options *o) {
    const char *arms[32], *items[FP4_CORPUS_TASKS];
    char numbers[FP4_CORPUS_TASKS][12];
    for (size_t i = 0; i < tta_n_arms; i++)
        arms[i] = tta_arms[i].name;
    for (int i = 0; i < FP4_CORPUS_TASKS; i++) {
        snprintf(numbers[i], sizeof numbers[i], "%d", i + 1);
        items[i] = numbers[i];
    }
    FP4_TRY(run_check("arm", o->arms, arms, tta_n_arms));
    return run_check("item", o->items, items, FP4_CORPUS_TASKS);
}

static fp4_status plan_named(struct tta_state *s, struct run_plan *plan, const char *model) {
    bool there;
    FP4_TRY(source_plan(plan, &s->options, model, &there));
    return there ? plan_model(s, plan, model) : FP4_OK;
}

static fp4_status plan_models(struct tta_state *s, struct run_plan *plan) {
    const char *list = s->options.model;
    if (!list) {
        FP4_TRY(plan_named(s, plan, "selftrained"));
        return plan_named(s, plan, "smollm2");
    }
    while (list) {
        char name[1024];
        FP4_TRY(source_next(&list, name));
        FP4_TRY(plan_named(s, plan, name));
    }
    return FP4_OK;
}

static fp4_status plan_settings(struct run_plan *plan) {
    FP4_TRY(run_setting(plan, "success", json_string("exact probability under temperature and top-k; draws are addressed")));
    return run_setting(plan, "dropout", json_string("the model's own, in training mode while it adapts, as published: 0.1 in OPT, none in the Llama family"));
}

static void close_state(void *state) {
    struct tta_state *s = state;
    tta_model_close(&s->model);
    fp4_free(s->work);
    fp4_free(s);
}

static fp4_status plan_tta(struct run_options *o, struct run_plan *plan, void **state) {
    struct tta_state *s;
    FP4_TRY(check_lists(o));
    FP4_TRY(fp4_blas_init()); /* its core is part of what determines the self-trained weights */
    FP4_TRY(FP4_NEW(s, 1));
    *state = s;
    s->options = *o;
    size_t models = 2;
    for (const char *p = o->model; p && (p = strchr(p, ',')); p++)
        models++;
    s->room = models * tta_n_arms * FP4_CORPUS_TASKS * (size_t)(o->seeds > 5 ? o->seeds : 5);
    FP4_TRY(FP4_NEW(s->work, s->room));
    FP4_TRY(plan_settings(plan));
    return plan_models(s, plan);
}

/* Loads the first model (and trains it, when it is the self-trained one) before the manifest is written. */
static fp4_status prepare(void *state, const struct run_trial *first) {
    struct tta_state *s = state;
    const struct tta_work *w = first->payload;
    return tta_model_use(&s->model, first->model, w->arm->untied, &s->options.load);
}

int main(int argc, char **argv) {
    static const struct run_experiment tta = {
        .name = "tta",
        .summary = "Test-time adaptation by entropy minimisation, in fp32 and in FP4, with its controls.",
        .models = "models, comma-separated: smollm2, selftrained, a path, or ORG/NAME of a hub (default: the profile's)",
        .list_arms = list_arms,
        .plan = plan_tta,
        .prepare = prepare,
        .trial = tta_trial,
        .close = close_state,
    };
    return run_main(&tta, argc, argv);
}
