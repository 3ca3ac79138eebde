/* Adaptation: the substring rule, the matched temperature, exact success probabilities, and the reference run on SmolLM2. */
#include "tests/support.h"

#include <jansson.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "experiments/source.h"
#include "experiments/tta.h"
#include "fp4lab/adapt.h"

/* ---- the published rule ---- */

Test(tta, substring_rule) {
    cr_assert(fp4_substring_success(" the", " E"), "any token with the letter counts: the published defect");
    cr_assert(fp4_substring_success("ROME\n", " Rome"));
    cr_assert(fp4_substring_success(" 13", " 3"));
    cr_assert_not(fp4_substring_success(" ", " 12"));
    cr_assert_not(fp4_substring_success("", " a"));
    cr_assert_not(fp4_substring_success(" dow", " down"));
}

/* ---- the matched temperature ---- */

Test(tta, matched_temperature_has_the_entropy) {
    float logits[50];
    struct fp4_random r = {.seed = 3, .stream = FP4_STREAM_TEST};
    fp4_random_normal(&r, 0, 50, logits);
    for (double entropy = 1e-6; entropy < 3.9; entropy = entropy < 0.5 ? entropy * 10 : entropy + 0.7) {
        double t = fp4_entropy_matched_temperature(logits, 50, entropy);
        double got = fp4_logits_entropy(logits, 50, t);
        /* T is a double near the root: the entropy moves by at most its slope times a few units of T's last place. */
        cr_assert_float_eq(got, entropy, 1e-12 * (1 + entropy), "%g instead of %g at T = %g", got, entropy, t);
    }
    cr_assert_gt(fp4_entropy_matched_temperature(logits, 50, 100), 9e5, "out of reach: the nearer end");
    cr_assert_lt(fp4_entropy_matched_temperature(logits, 50, -1), 1.1e-6);
}

/* Two tokens: p = 1/(1 + e^(-d/T)), so T follows from p in closed form. */
Test(tta, matched_temperature_of_two_tokens) {
    const float logits[2] = {1.5f, 0};
    for (double p = 0.6; p < 0.999; p += 0.05) {
        double entropy = -p * log(p) - (1 - p) * log(1 - p);
        double want = 1.5 / log(p / (1 - p));
        cr_assert_float_eq(fp4_entropy_matched_temperature(logits, 2, entropy), want, 1e-9 * want);
    }
}

/* ---- a small model with random weights ---- */

static struct fp4_model *small_model(void) {
    struct fp4_config c = {.arch = FP4_ARCH_LLAMA, .n_vocab = 64, .n_embd = 32, .n_layer = 2, .n_head = 4, .n_kv_head = 2, .head_dim = 8,
                           .n_ff = 64, .n_ctx = 64, .norm_eps = 1e-5f, .rope_theta = 1e4, .tied_head = true, .bos_id = -1, .eos_id = -1};
    struct fp4_model *m;
    must(fp4_model_create(&c, 7, fp4_backend_cpu(), &m));
    for (size_t i = 0; i < fp4_model_n_params(m); i++) { /* larger weights than at the start of a training: distributions with a shape */
        struct fp4_param *p = fp4_model_param(m, i);
        float *host;
        must(FP4_NEW(host, p->elements));
        must(fp4_model_get(m, p, host));
        for (size_t k = 0; p->rows > 1 && k < p->elements; k++)
            host[k] *= 10;
        must(fp4_model_set(m, p, host));
        fp4_free(host);
    }
    return m;
}

static const int32_t prompt[9] = {5, 9, 2, 44, 5, 9, 2, 44, 5};

Test(tta, probabilities_are_those_of_the_sampler) {
    struct fp4_model *m = small_model();
    const int32_t expected[3] = {9, 2, 44};
    uint8_t substring[64] = {0};
    substring[9] = substring[20] = substring[33] = 1;
    struct fp4_adapt_task task = {prompt, expected, 9, 3, substring};
    struct fp4_adapt_sampling sampling = {.temperature = 0.7, .top_k = 50, .n_draws = 2000, .random = {.seed = 1, .stream = FP4_STREAM_SAMPLE}};
    struct fp4_adapt_success got;
    int32_t greedy[3], tokens[12];
    must(fp4_adapt_measure(m, &task, &sampling, &got, greedy));

    float logits[64];
    double p[64], sequence = 1, substrings = 0;
    memcpy(tokens, prompt, sizeof prompt);
    for (size_t k = 0; k < 3; k++) {
        must(fp4_model_logits(m, tokens, 9 + k, 1, logits));
        fp4_sampler_probabilities(logits, 64, 0.7, 50, p);
        if (k == 0) {
            substrings = p[9] + p[20] + p[33];
            cr_assert_float_eq(got.p_exact, p[9], 1e-15);
            cr_assert_float_eq(got.entropy, fp4_logits_entropy(logits, 64, 1), 1e-15);
        }
        sequence *= p[expected[k]];
        tokens[9 + k] = expected[k];
    }
    cr_assert_float_eq(got.p_substring, substrings, 1e-15);
    cr_assert_float_eq(got.p_sequence, sequence, 1e-15);
    /* Draws are binomial: five standard deviations. */
    double n = 2000;
    cr_assert_float_eq((double)got.draws_exact, n * got.p_exact, 5 * sqrt(n * got.p_exact * (1 - got.p_exact)) + 1);
    cr_assert_float_eq((double)got.draws_substring, n * got.p_substring, 5 * sqrt(n * got.p_substring * (1 - got.p_substring)) + 1);
    cr_assert_float_eq((double)got.draws_sequence, n * got.p_sequence, 5 * sqrt(n * got.p_sequence * (1 - got.p_sequence)) + 1);
    cr_assert_gt(got.draws_substring, got.draws_exact, "three tokens count against one");

    size_t total;
    struct fp4_sampler generator = {.temperature = 0};
    memcpy(tokens, prompt, sizeof prompt);
    must(fp4_model_generate(m, tokens, 9, 3, &generator, -1, &total));
    cr_assert_arr_eq(greedy, tokens + 9, sizeof greedy);
    cr_assert_not(got.greedy_match);

    struct fp4_adapt_task same = {prompt, tokens + 9, 9, 3, NULL};
    sampling.temperature = 0;
    must(fp4_adapt_measure(m, &same, &sampling, &got, greedy));
    cr_assert(got.greedy_match);
    cr_assert_eq(got.p_sequence, 1, "greedy decoding is certain");
    cr_assert_eq(got.draws_sequence, 2000);
    fp4_model_free(m);
}

struct adapted {
    double entropy[6], loss[5], grad_norm;
    char hash[65];
};

static struct adapted adapt_small(struct fp4_model *m, const struct fp4_policy *policy, uint32_t seed) {
    struct adapted a;
    struct fp4_optimizer *optimizer;
    struct fp4_snapshot *before;
    char hash[65];
    struct fp4_adapt_options o = fp4_adapt_published();
    o.steps = 5;
    o.seed = seed;
    fp4_model_set_policy(m, policy, false);
    must(fp4_model_hash(m, hash));
    must(fp4_model_snapshot(m, &before));
    must(fp4_model_enable_grad(m));
    must(fp4_optimizer_create(m, &optimizer));
    struct fp4_adapt_trace trace = {a.entropy, a.loss, 0};
    must(fp4_adapt(m, optimizer, prompt, 9, &o, &trace));
    a.grad_norm = trace.grad_norm;
    must(fp4_model_hash(m, a.hash));
    cr_assert_str_neq(a.hash, hash, "adaptation changes the weights");
    must(fp4_model_restore(m, before));
    char after[65];
    must(fp4_model_hash(m, after));
    cr_assert_str_eq(after, hash, "restoring gives the weights back");
    fp4_snapshot_free(before);
    fp4_optimizer_free(optimizer);
    return a;
}

static void same(const struct adapted *a, const struct adapted *b) {
    cr_assert_arr_eq(a->entropy, b->entropy, sizeof a->entropy);
    cr_assert_arr_eq(a->loss, b->loss, sizeof a->loss);
    cr_assert_eq(a->grad_norm, b->grad_norm);
    cr_assert_str_eq(a->hash, b->hash);
}

/* Every arm: entropy falls, weights come back, a second adaptation is the first one over again, threads do not matter. */
Test(tta, every_arm_adapts_and_comes_back) {
    struct fp4_model *m = small_model();
    for (size_t i = 0; i < tta_n_arms; i++) {
        struct fp4_policy policy;
        if (tta_arms[i].kind != TTA_ADAPT || tta_arms[i].lr < 1e-5)
            continue;
        must(tta_arm_policy(&tta_arms[i], &policy));
        fp4_set_threads(1);
        struct adapted one = adapt_small(m, &policy, 1);
        cr_assert_lt(one.entropy[5], one.entropy[0], "%s: %g → %g", tta_arms[i].name, one.entropy[0], one.entropy[5]);
        for (int threads = 1; threads <= 7; threads += threads < 3 ? 1 : 4) {
            fp4_set_threads(threads);
            struct adapted again = adapt_small(m, &policy, 1);
            same(&one, &again);
        }
        struct adapted other = adapt_small(m, &policy, 2);
        cr_assert_eq(strcmp(other.hash, one.hash) != 0, tta_arms[i].stochastic, "%s: does the seed matter?", tta_arms[i].name);
    }
    fp4_model_free(m);
}

/* ---- the reference run ---- */

static json_t *golden_json(const char *name) {
    json_error_t error;
    json_t *j = json_load_file(golden_file(name), 0, &error);
    cr_assert_not_null(j, "%s: %s", name, error.text);
    return j;
}

static double number(json_t *o, const char *name) {
    json_t *v = json_object_get(o, name);
    cr_assert(json_is_number(v), "%s", name);
    return json_number_value(v);
}

static void open_smollm2(struct source *s) {
    if (source_open("smollm2", &(struct fp4_load){0}, s) != FP4_OK)
        skip_test("smollm2", fp4_last_error());
}

static int32_t *ids_of(json_t *array, size_t *n) {
    int32_t *ids;
    *n = json_array_size(array);
    must(FP4_NEW(ids, *n));
    for (size_t i = 0; i < *n; i++)
        ids[i] = (int32_t)json_integer_value(json_array_get(array, i));
    return ids;
}

/* Four times the largest deviation of the fp32 reference from the float64 one, over all prompts of the file: one prompt's own may be small by luck. */
static double bound_of(json_t *prompts, const char *figure, const char *when) {
    double largest = 0;
    size_t i;
    json_t *p;
    json_array_foreach(prompts, i, p)
        largest = fmax(largest, fabs(number(json_object_get(json_object_get(p, "deviation_hf32"), figure), when)));
    return 4 * largest;
}

static uint8_t *mask_of(json_t *ids, size_t n_vocab) {
    uint8_t *mask;
    size_t i;
    json_t *id;
    must(FP4_NEW(mask, n_vocab));
    json_array_foreach(ids, i, id)
        mask[json_integer_value(id)] = 1;
    return mask;
}

/* What the model makes of a golden prompt, against ref64's "base" or "adapted". */
static void hold_to(struct source *s, json_t *prompts, json_t *p, const char *when) {
    json_t *want = json_object_get(json_object_get(p, "ref64"), when);
    struct fp4_adapt_task task;
    int32_t *ids = ids_of(json_object_get(p, "ids"), &task.n_prompt);
    int32_t *expected = ids_of(json_object_get(p, "expected_ids"), &task.n_expected), *greedy;
    size_t n_vocab = fp4_model_config(s->model)->n_vocab;
    uint8_t *mask;
    must(FP4_NEW(mask, n_vocab));
    must(FP4_NEW(greedy, task.n_expected));
    for (size_t i = 0; i < fp4_tokenizer_vocab(s->tokenizer); i++) {
        char *text;
        must(source_detokenize(s, &(int32_t){(int32_t)i}, 1, &text));
        mask[i] = fp4_substring_success(text, json_string_value(json_object_get(p, "expected")));
        fp4_free(text);
    }
    uint8_t *listed = mask_of(json_object_get(want, "substring_ids"), n_vocab);
    task.prompt = ids;
    task.expected = expected;
    task.substring = mask;
    struct fp4_adapt_sampling sampling = {.temperature = tta_temperature, .top_k = TTA_TOP_K};
    struct fp4_adapt_success got;
    must(fp4_adapt_measure(s->model, &task, &sampling, &got, greedy));
    const char *text = json_string_value(json_object_get(p, "prompt"));
    const struct {
        const char *name;
        double got;
    } figures[] = {{"entropy", got.entropy}, {"p_exact", got.p_exact}, {"p_substring", got.p_substring}, {"p_sequence", got.p_sequence}};
    for (size_t i = 0; i < sizeof figures / sizeof *figures; i++)
        cr_assert_float_eq(figures[i].got, number(want, figures[i].name), bound_of(prompts, figures[i].name, when) + 1e-12, "%s, %s %s: %.12g instead of %.12g",
                           text, when, figures[i].name, figures[i].got, number(want, figures[i].name));
    cr_assert_eq(greedy[0], json_integer_value(json_object_get(want, "greedy_id")), "%s", text);
    cr_assert_eq(got.greedy_match, json_is_true(json_object_get(want, "greedy_match")), "%s", text);
    json_t *continuation = json_object_get(want, "greedy_continuation");
    for (size_t i = 0; i < task.n_expected; i++)
        cr_assert_eq(greedy[i], json_integer_value(json_array_get(continuation, i)), "%s: token %zu", text, i);
    for (size_t i = 0; i < n_vocab; i++) /* the list names those with probability; the rule must hold for them */
        cr_assert(!listed[i] || mask[i], "%s: token %zu counts in the reference", text, i);
    fp4_free(ids);
    fp4_free(expected);
    fp4_free(greedy);
    fp4_free(mask);
    fp4_free(listed);
}

Test(tta, golden_base) {
    struct source s;
    json_t *file = golden_json("smollm2/tta.json"), *prompts = json_object_get(file, "prompts"), *p;
    open_smollm2(&s);
    size_t i;
    json_array_foreach(prompts, i, p) {
        size_t n, n_want;
        int32_t *ids, *want = ids_of(json_object_get(p, "ids"), &n_want);
        must(source_tokenize(&s, json_string_value(json_object_get(p, "prompt")), &ids, &n));
        cr_assert_eq(n, n_want);
        cr_assert_arr_eq(ids, want, n * sizeof *ids);
        fp4_free(ids);
        fp4_free(want);
        hold_to(&s, prompts, p, "base");
    }
    golden_count("smollm2", i);
    source_close(&s);
    json_decref(file);
}

/* The first prompt of a file, adapted as it was there. */
static void adapt_golden(const char *name) {
    struct source s;
    json_t *file = golden_json(name), *prompts = json_object_get(file, "prompts"), *p = json_array_get(prompts, 0);
    json_t *settings = json_object_get(file, "settings"), *betas = json_object_get(settings, "betas");
    open_smollm2(&s);
    struct fp4_adapt_options o = {.steps = (size_t)number(settings, "steps"),
                                  .adamw = {number(settings, "lr"), json_number_value(json_array_get(betas, 0)),
                                            json_number_value(json_array_get(betas, 1)), number(settings, "eps"), number(settings, "weight_decay")}};
    struct fp4_optimizer *optimizer;
    struct fp4_adapt_trace trace;
    size_t n;
    int32_t *ids = ids_of(json_object_get(p, "ids"), &n);
    must(FP4_NEW(trace.entropy, o.steps + 1));
    must(FP4_NEW(trace.loss, o.steps));
    must(fp4_model_enable_grad(s.model));
    must(fp4_optimizer_create(s.model, &optimizer));
    must(fp4_adapt(s.model, optimizer, ids, n, &o, &trace));
    hold_to(&s, prompts, p, "adapted");
    json_t *want = json_object_get(json_object_get(p, "ref64"), "trace");
    double widest = 0, widest_norm = 0;
    size_t i;
    json_t *other;
    json_array_foreach(prompts, i, other) {
        double norm64 = number(json_object_get(json_object_get(other, "ref64"), "trace"), "grad_norm");
        double norm32 = number(json_object_get(json_object_get(other, "hf32"), "trace"), "grad_norm");
        widest = fmax(widest, number(json_object_get(other, "deviation_hf32"), "entropy_max_abs"));
        widest_norm = fmax(widest_norm, fabs(norm32 - norm64) / norm64);
    }
    for (size_t k = 0; k <= o.steps; k++)
        cr_assert_float_eq(trace.entropy[k], json_number_value(json_array_get(json_object_get(want, "entropy"), k)), 4 * widest, "step %zu", k);
    double norm = number(want, "grad_norm");
    cr_assert_float_eq(trace.grad_norm, norm, 4 * norm * widest_norm, "first gradient: %.9g instead of %.9g", trace.grad_norm, norm);
    golden_count("smollm2", 1);
    fp4_free(ids);
    fp4_free(trace.entropy);
    fp4_free(trace.loss);
    fp4_optimizer_free(optimizer);
    source_close(&s);
    json_decref(file);
}

Test(tta, golden_adapted) { adapt_golden("smollm2/tta.json"); }
Test(tta, golden_adapted_slowly) { adapt_golden("smollm2/tta_slow.json"); }
