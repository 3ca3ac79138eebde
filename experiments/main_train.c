/* train: can a model be trained in FP4? A trial is one run of the training write-up's net (WRITEUPS.md D) under one recipe. */
#include <math.h>
#include <string.h>

#include "experiments/run.h"
#include "experiments/selftrain.h"
#include "experiments/source.h"
#include "experiments/train_run.h"

/* ---- arms ---- */

struct arm {
    const char *name, *recipe; /* recipe NULL: an n-gram baseline */
    bool no_positions;
    int order;
    double dropout; /* > 0: only where asked for by name, and at full size */
    const char *what;
};
static const struct arm arms[] = {
    {"bf16", "bf16", false, 0, 0, "mixed-precision baseline"},
    {"fp4_frozen", "fp4_frozen", false, 0, 0, "FP4 weights that are never trained (as published), with positions"},
    {"fp4_weight_ste", "fp4_weight_ste", false, 0, 0, "FP4 weights, straight-through gradient"},
    {"nvfp4", "nvfp4", false, 0, 0, "NVFP4 recipe, all three products"},
    {"bf16_nopos", "bf16", true, 0, 0, "baseline as published, without its dropout: the net sees no positions"},
    {"fp4_frozen_nopos", "fp4_frozen", true, 0, 0, "FP4 as published, without its dropout: frozen weights, no positions"},
    {"bf16_dropout", "bf16", true, 0, 0.1, "baseline as published, dropout 0.1 (only by name, and in the full profile)"},
    {"fp4_frozen_dropout", "fp4_frozen", true, 0, 0.1, "FP4 as published, dropout 0.1 (only by name, and in the full profile)"},
    {"unigram", NULL, false, 1, 0, "add-one smoothed counts"},
    {"bigram", NULL, false, 2, 0, "add-one smoothed counts"},
};
enum { N_ARMS = sizeof arms / sizeof *arms };

/* ---- what a profile runs ---- */

/* full: the published size; its 5,000 "steps" at accumulation 4 are 1,250 updates. The small nets learn in a fifth of these updates, at four times the published
 * rate. A leaky split shows only when the net sees its text often (published: about 120 times), so the leaky text is short where updates are few. */
static const struct train_setup setups[] = {
    [FP4_PROFILE_SMOKE] = {.n_embd = 64, .n_layer = 2, .n_head = 2, .n_ff = 128, .context = 64, .batch = 8, .accumulate = 1, .steps = 40, .n_train = 20000,
                           .n_train_leaky = 2000, .n_eval = 16, .evaluations = 4, .lr = 4e-3, .seeds = 2},
    [FP4_PROFILE_DEFAULT] = {.n_embd = 96, .n_layer = 2, .n_head = 3, .n_ff = 256, .context = 64, .batch = 16, .accumulate = 1, .steps = 150, .n_train = 200000,
                             .n_train_leaky = 5000, .n_eval = 48, .evaluations = 8, .lr = 4e-3, .seeds = 3},
    [FP4_PROFILE_FULL] = {.n_embd = 384, .n_layer = 6, .n_head = 8, .n_ff = 1536, .context = 512, .batch = 24, .accumulate = 4, .steps = 1250, .n_train = 500000,
                          .n_train_leaky = 500000, .n_eval = 64, .evaluations = 25, .lr = 1e-3, .seeds = 3, .tokenizer = true},
};
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
    struct train_setup setup;
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
static size_t n_train_of(const struct train_setup *s, const char *item) { return is_leaky(item) ? s->n_train_leaky : s->n_train; }

static struct train_setup setup_of(const struct train_setup *s, const struct arm *a) {
    struct train_setup own = *s;
    own.dropout = a->dropout;
    return own;
}

static json_t *config_of(const struct train_setup *s, const struct arm *a, const char *item) {
    struct train_setup own = setup_of(s, a);
    const char *pin = fp4_documents_pin("bible");
    json_t *config = json_pack("{s:s, s:s, s:I, s:I, s:I}", "data", item, "tokens", is_generated(item) ? "words" : s->tokenizer ? "smollm2" : "bytes", "n_train",
                               (json_int_t)n_train_of(s, item), "n_eval", (json_int_t)s->n_eval, "context", (json_int_t)s->context);
    json_t *source = is_generated(item) ? json_pack("{s:i}", "corpus_seed", SELFTRAIN_CORPUS_SEED) : json_pack("{s:s}", "text_sha256", pin ? pin : "");
    json_t *more = a->recipe ? train_config(&own, a->recipe, a->no_positions) : json_pack("{s:i, s:s}", "order", a->order, "smoothing", "add one");
    if (!config || !source || !more || json_object_update(config, source) != 0 || json_object_update(config, more) != 0) {
        json_decref(config);
        config = NULL;
    }
    json_decref(source);
    json_decref(more);
    return config; /* run_add says that there was no memory */
}

/* Before the data are there: words of the generated corpus, tokens of SmolLM2, bytes. */
static size_t vocabulary_of(const struct train_setup *s, const char *item) { return is_generated(item) ? 354 : s->tokenizer ? 49152 : 256; }

/* Seconds of a trial on cores with AVX-512: products run at some 100 gigaflop/s a core, and every activation costs time of its own, more where it is quantized. For
 * --dry-run and the progress bar only. */
static double estimate(const struct train_setup *s, const struct arm *a, const char *item) {
    double d = (double)s->n_embd, f = (double)s->n_ff, layers = (double)s->n_layer, vocabulary = (double)vocabulary_of(s, item);
    double weights = layers * (4 * d * d + 2 * d * f) + d * vocabulary, activations = layers * (12 * d + 4 * f + (double)(s->context * s->n_head)) + 3 * vocabulary;
    double tokens = (double)(s->steps * s->accumulate * s->batch * s->context);
    tokens += (double)(s->evaluations + 1) * (double)(s->n_eval * s->context) / 3; /* forward only */
    double quantizers = strcmp(a->recipe, "nvfp4") == 0 ? 2 : 1;
    double cores = fp4_threads() > 1 ? 0.8 * fp4_threads() : 1;
    return tokens * (6 * weights / 1e11 + quantizers * activations * 0.8e-9) / cores;
}

static fp4_status add_trials(struct train *s, struct run_plan *plan, const struct arm *a, const char *item, const char *model) {
    const struct train_setup *u = &s->setup;
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
    char path[1024];
    s->setup.tokenizer = !s->options.offline && source_find("smollm2", path) == FP4_OK;
    if (s->setup.tokenizer)
        return fp4_tokenizer_open(path, &s->tokenizer);
    return run_missing(plan, "smollm2", s->options.offline ? "the run was asked to use no downloaded input" : fp4_last_error());
}

/* Of the planned item with the largest vocabulary. The data: tokens of both kinds, as 32-bit ids with their targets. */
static fp4_status plan_memory(struct train *s, struct run_plan *plan, const char *model) {
    const struct train_setup *u = &s->setup;
    struct fp4_memory m;
    size_t vocabulary = 0, tokens = 0;
    for (size_t i = 0; i < s->n_payloads; i++) {
        size_t n = vocabulary_of(u, s->payloads[i].item), data = n_train_of(u, s->payloads[i].item) + u->n_eval * u->context;
        vocabulary = n > vocabulary ? n : vocabulary;
        tokens = data > tokens ? data : tokens;
    }
    if (vocabulary == 0)
        return FP4_OK;
    struct fp4_config config = train_model_config(u, vocabulary, false);
    struct fp4_use use = {.sequences = u->batch, .tokens = u->context, .quantized = true, .quantized_head = true, .gradients = true,
                          .other = tokens * 2 * sizeof(int32_t)};
    FP4_TRY(fp4_memory_plan(&config, s->options.load.weights_in, &use, &m));
    return run_memory(plan, model, &m);
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
            bool wanted = arms[a].dropout == 0 || o->arms || o->profile == FP4_PROFILE_FULL;
            if (wanted && run_selected(o->arms, arms[a].name) && run_selected(o->items, items[i].name) && (bible || is_generated(items[i].name)) &&
                (published || !items[i].published_only))
                FP4_TRY(add_trials(s, plan, &arms[a], items[i].name, model));
        }
    FP4_TRY(plan_memory(s, plan, model));
    if (s->n_payloads == 0)
        return bible ? fp4_fail(FP4_ERR_ARG, "no such trial: only published arms and baselines run on the leaky split; see --list-arms")
                     : fp4_documents_open("bible", &(struct fp4_documents){0}); /* says what is missing, and how to get it */
    return FP4_OK;
}

/* ---- trials ---- */

static fp4_status use_item(struct train *s, const char *item) {
    if (s->item && strcmp(s->item, item) == 0)
        return FP4_OK;
    train_data_close(&s->data);
    s->item = NULL;
    FP4_TRY(train_data_open(item, is_generated(item) ? NULL : s->tokenizer, n_train_of(&s->setup, item), s->setup.n_eval, s->setup.context, &s->data));
    s->item = item;
    return FP4_OK;
}

/* The tokenizer of a net that read this item; then the net itself is written beside it. */
static fp4_status save_tokenizer(const struct train *s, const char *item, const char *folder) {
    char path[1024];
    struct fp4_corpus *corpus;
    bool found;
    if (!is_generated(item) && !s->tokenizer)
        return fp4_byte_tokenizer_export(folder);
    if (!is_generated(item)) {
        FP4_TRY(source_find("smollm2", path));
        return fp4_tokenizer_export(path, folder, &found);
    }
    FP4_TRY(fp4_corpus_create(SELFTRAIN_CORPUS_SEED, &corpus));
    fp4_status status = fp4_corpus_tokenizer_export(corpus, folder);
    fp4_corpus_destroy(corpus);
    return status;
}

static fp4_status train_one(struct train *s, const struct run_trial *t, json_t *outcome, json_t *time) {
    const struct payload *p = t->payload;
    struct train_setup own = setup_of(&s->setup, p->arm);
    char folder[4096];
    if (!s->options.save)
        return train_run(&own, &s->data, p->arm->recipe, p->arm->no_positions, (uint32_t)t->seed, NULL, outcome, time);
    int n = snprintf(folder, sizeof folder, "%s/%s-%s-%d", s->options.save, p->arm->name, p->item, t->seed);
    if (n < 0 || (size_t)n >= sizeof folder)
        return fp4_fail(FP4_ERR_ARG, "--save %s: path too long", s->options.save);
    FP4_TRY(save_tokenizer(s, p->item, folder));
    return train_run(&own, &s->data, p->arm->recipe, p->arm->no_positions, (uint32_t)t->seed, folder, outcome, time);
}

static fp4_status trial(void *state, const struct run_trial *t, json_t *outcome, json_t *time) {
    struct train *s = state;
    const struct payload *p = t->payload;
    double loss, accuracy;
    FP4_TRY(use_item(s, p->item));
    if (p->arm->recipe) {
        FP4_TRY(train_one(s, t, outcome, time));
    } else {
        FP4_TRY(train_data_ngram(&s->data, s->data.eval_inputs, s->data.eval_targets, p->arm->order, &loss, &accuracy));
        json_object_set_new(outcome, "final", json_pack("{s:f, s:f}", "loss", loss, "accuracy", accuracy));
    }
    if (isfinite(s->data.entropy_floor))
        json_object_set_new(outcome, "entropy_floor", json_real(s->data.entropy_floor));
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
        .summary = "Can a model be trained in FP4?",
        .models = "the net of the training write-up, writeup_d, is the only one: training starts from random weights",
        .saves = "write the nets that this run trains into FOLDER/ARM-ITEM-SEED, with their tokenizers",
        .list_arms = list_arms,
        .plan = plan_all,
        .trial = trial,
        .close = close_state,
    };
    return run_main(&train, argc, argv);
}
