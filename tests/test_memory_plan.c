/* What fp4lab says about memory before it works, beside what it takes; weights in memory and in the file from the command line; warnings. */
#include <jansson.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "fp4lab/text.h"
#include "fp4lab/weights.h"
#include "tests/folders.h"
#include "tests/program.h"
#include "tests/support.h"

static char folder[FOLDER_MAX];

/* 25 million random parameters; the value at `bad` of the first feed-forward matrix is NaN. */
static void make_model(bool bad) {
    const struct fp4_config config = {.arch = FP4_ARCH_LLAMA, .n_vocab = 12000, .n_embd = 512, .n_layer = 4, .n_head = 8, .n_kv_head = 4, .head_dim = 64,
                                      .n_ff = 1536, .n_ctx = 2048, .norm_eps = 1e-5f, .rope_theta = 1e4, .bos_id = -1, .eos_id = -1};
    struct fp4_model *m;
    folder_make(folder);
    must(fp4_model_create(&config, 5, fp4_backend_cpu(), &m));
    if (bad)
        fp4_model_find_param(m, "model.layers.0.mlp.up_proj.weight")->data[7] = NAN;
    must(fp4_model_save(m, folder));
    fp4_model_free(m);
}

/* 600 token ids. */
static char *ids(void) {
    static char text[600 * 6];
    size_t n = 0;
    for (int i = 0; i < 600; i++)
        n += (size_t)snprintf(text + n, sizeof text - n, "%s%d", i ? "," : "", (i * 7919 + 13) % 11999);
    return text;
}

#if defined(__SANITIZE_ADDRESS__) /* its shadow and quarantine count, too */
#define SMALL ((size_t)1 << 29)
#else
#define SMALL ((size_t)1 << 27)
#endif

static struct outcome perplexity(const char *model, const char *where, bool quantized, const char *extra) {
    char *argv[32] = {"fp4lab", "perplexity", "--model", (char *)(uintptr_t)model, "--tokens", ids(), "--windows", "1", "--window", "512",
                      "--weights-in", (char *)(uintptr_t)where, "-o", "json"};
    size_t n = 14;
    if (quantized) {
        const char *const more[] = {"--weights", "nvfp4:te", "--activations", "nvfp4:te", "--head"};
        for (size_t i = 0; i < 5; i++)
            argv[n++] = (char *)(uintptr_t)more[i];
    }
    argv[n] = (char *)(uintptr_t)extra;
    return program_run(argv, scratch_file());
}

static json_t *json_of(const struct outcome *o) {
    json_error_t error;
    cr_assert_eq(o->status, 0, "%s", o->err);
    json_t *root = json_loads(o->out, 0, &error);
    cr_assert_not_null(root, "%s: %s", error.text, o->out);
    return root;
}

/* The plan counts every buffer by its shape; what the process has besides is a constant. Between 80 and 105 % of it are taken. */
static double check_plan(const char *model, const char *where, bool quantized) {
    struct outcome plan = perplexity(model, where, quantized, "--dry-run"), run = perplexity(model, where, quantized, NULL);
    json_t *said = json_of(&plan), *result = json_of(&run);
    double needed = json_number_value(json_object_get(said, "needed_gib")) * (1 << 30), share = (double)run.peak_rss / needed;
    cr_assert_str_eq(json_string_value(json_object_get(said, "weights_in")), where);
    fprintf(stderr, "%s, weights in %s%s: %.0f MiB planned, %.0f MiB at the peak\n", model, where, quantized ? ", W4A4" : "", needed / (1 << 20),
            (double)run.peak_rss / (1 << 20));
    cr_assert(share > 0.8 && share < 1.05, "%s in %s: %.3f of the plan", model, where, share);
    double nll = json_number_value(json_object_get(result, "nll"));
    json_decref(said);
    json_decref(result);
    outcome_free(plan);
    outcome_free(run);
    return nll;
}

static void check_plans(const char *model) {
#if defined(__SANITIZE_ADDRESS__)
    skip_test("memory of the process", "a sanitizer takes memory of its own");
#endif
    for (int quantized = 0; quantized < 2; quantized++)
        cr_assert_eq(check_plan(model, "memory", quantized), check_plan(model, "file", quantized), "the same perplexity");
}

Test(memory_plan, the_plan_is_what_it_takes) {
    make_model(false);
    check_plans(folder);
}

Test(memory_plan, the_plan_of_a_real_model) {
    char path[1024];
    if (fp4_asset_find("SmolLM2-135M-Instruct.Q4_1.gguf", path, sizeof path) != FP4_OK)
        skip_test("SmolLM2-135M-Instruct.Q4_1.gguf", fp4_last_error());
    check_plans(path);
}

Test(memory_plan, what_does_not_fit_is_not_begun) {
    make_model(false);
    struct fp4_memory m;
    struct fp4_use use = {.tokens = 512};
    char limit[32];
    must(fp4_memory_plan_for(folder, FP4_WEIGHTS_MEMORY, &use, &m));
    cr_assert(m.weights_in == FP4_WEIGHTS_MEMORY && m.in_file < m.total, "%zu, in the file %zu", m.total, m.in_file);
    /* between the two: the file is chosen, memory is refused */
    snprintf(limit, sizeof limit, "%zu", (m.total + m.in_file) / 2);
    setenv("FP4LAB_MEMORY", limit, 1);
    struct outcome o = perplexity(folder, "auto", false, "--dry-run");
    json_t *said = json_of(&o);
    cr_assert_str_eq(json_string_value(json_object_get(said, "weights_in")), "file");
    cr_assert(json_is_true(json_object_get(said, "fits")));
    json_decref(said);
    outcome_free(o);
    o = perplexity(folder, "memory", false, NULL);
    cr_assert_eq(o.status, 2);
    cr_assert(strstr(o.err, folder) && strstr(o.err, "--weights-in file needs 0.") && strstr(o.err, "--ignore-memory"), "%s", o.err);
    cr_assert_str_empty(o.out);
    outcome_free(o);
    o = perplexity(folder, "memory", false, "--ignore-memory");
    cr_assert_eq(o.status, 0, "%s", o.err);
    outcome_free(o);
    setenv("FP4LAB_MEMORY", "1000000", 1);
    o = perplexity(folder, "auto", false, NULL);
    cr_assert_eq(o.status, 2);
    cr_assert(strstr(o.err, "take less at a time"), "%s", o.err);
    outcome_free(o);
    unsetenv("FP4LAB_MEMORY");
    /* layers that the file does not have must not cost memory to plan for */
    char path[128], *text, *layers;
    snprintf(path, sizeof path, "%s/config.json", folder);
    must(fp4_read_file(path, 1 << 20, &text, NULL));
    layers = strstr(text, "\"num_hidden_layers\": 4");
    cr_assert_not_null(layers, "%s", text);
    FILE *f = fopen(path, "w");
    fprintf(f, "%.*s\"num_hidden_layers\": 60000%s", (int)(layers - text), text, layers + strlen("\"num_hidden_layers\": 4"));
    fclose(f);
    fp4_free(text);
    o = perplexity(folder, "auto", false, "--dry-run");
    cr_assert(o.status == 2 && strstr(o.err, "cannot be the 60000 layers") && o.peak_rss < SMALL, "%s", o.err);
    outcome_free(o);
    o = perplexity(folder, "elsewhere", false, NULL);
    cr_assert(o.status == 2 && strstr(o.err, "--weights-in elsewhere: not known"), "%s", o.err);
    outcome_free(o);
}

Test(memory_plan, loading_is_measured) {
    make_model(false);
    double bytes[2];
    for (int i = 0; i < 2; i++) {
        char *argv[] = {"fp4lab", "info", folder, "--load", i ? "file" : "memory", "-o", "json", NULL};
        struct outcome o = program_run(argv, scratch_file());
        json_t *said = json_of(&o);
        cr_assert_str_eq(json_string_value(json_object_get(said, "load_weights_in")), argv[4]);
        cr_assert_gt(json_number_value(json_object_get(said, "load_seconds")), 0);
        bytes[i] = json_number_value(json_object_get(said, "load_peak_bytes"));
        json_decref(said);
        outcome_free(o);
    }
    cr_assert(bytes[0] > 1e8 && bytes[1] < bytes[0] / 2, "%.0f and %.0f", bytes[0], bytes[1]); /* 25 million parameters; a block */
}

Test(memory_plan, nan_in_a_checkpoint_is_a_warning) {
    static const char *const places[] = {"memory", "file"};
    make_model(true);
    for (int i = 0; i < 2; i++) {
        char *argv[] = {"fp4lab", "logits", "--model", folder, "--tokens", "1,2,3", "--weights-in", (char *)(uintptr_t)places[i], NULL};
        struct outcome o = program_run(argv, scratch_file());
        cr_assert_eq(o.status, 0, "%s", o.err);
        cr_assert(strncmp(o.err, "fp4lab: warning: ", 17) == 0 && strstr(o.err, "model.layers.0.mlp.up_proj.weight: 1 of 786432 values are NaN"), "%s", o.err);
        cr_assert_eq(strchr(o.err, '\n'), o.err + strlen(o.err) - 1, "one line: %s", o.err);
        outcome_free(o);
    }
}
