/* Weights that stay in their file give the same bits as weights in memory, take the memory that the plan says, and NaN is found. */
#include "tests/folders.h"
#include "tests/support.h"

#include "fp4lab/methods.h"
#include "fp4lab/text.h"
#include "fp4lab/weights.h"

#include <dirent.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum { N = 33, V = 320, D = 64 };

static struct fp4_config config_of(enum fp4_arch arch, bool tied) {
    return (struct fp4_config){.arch = arch, .n_vocab = V, .n_embd = D, .n_layer = 3, .n_head = 4, .n_kv_head = arch == FP4_ARCH_LLAMA ? 2 : 4,
                               .head_dim = 16, .n_ff = 96, .n_ctx = 128, .norm_eps = 1e-5f, .rope_theta = 1e4, .tied_head = tied, .bos_id = -1,
                               .eos_id = -1};
}

/* OPT as published, and as 350M is: embeddings of another width, norms after the sums, none at the end. */
static struct fp4_config opt(bool post) {
    struct fp4_config c = config_of(FP4_ARCH_OPT, true);
    c.n_kv_head = c.n_head;
    c.attention_bias = c.mlp_bias = true;
    c.activation = FP4_ACT_RELU;
    c.norm_after = c.no_final_norm = post;
    c.n_word = post ? D / 2 : 0;
    return c;
}

/* A folder with a checkpoint of random weights. */
struct folder {
    char path[FOLDER_MAX];
};
static struct folder saved(const struct fp4_config *config) {
    struct folder f;
    struct fp4_model *m;
    folder_make(f.path);
    must(fp4_model_create(config, 5, fp4_backend_cpu(), &m));
    must(fp4_model_save(m, f.path));
    fp4_model_free(m);
    return f;
}

static struct fp4_model *open_in(const char *path, enum fp4_weights_in where) {
    struct fp4_model *m;
    must(fp4_model_open(path, fp4_backend_cpu(), &(struct fp4_load){.weights_in = where}, &m));
    cr_assert_eq(fp4_model_weights_in(m), where);
    return m;
}

static struct fp4_policy w4a4(void) {
    struct fp4_quantizer q;
    must(fp4_quantizer_parse("nvfp4:te", &q));
    return fp4_policy_forward(&q, &q);
}

/* Everything that a model gives without gradients, in one array. */
struct outcome {
    float logits[3 * V], hidden[N * D], block[N * D];
    double nll[N - 1], kl[N - 1];
    int32_t generated[N + 4];
    char hash[65];
};
static void run(struct fp4_model *m, struct outcome *o) {
    int32_t tokens[N];
    size_t n;
    struct fp4_policy policy = w4a4();
    struct fp4_score score = {.nll = o->nll, .kl = o->kl, .reference = o->hidden};
    for (size_t i = 0; i < N; i++)
        o->generated[i] = tokens[i] = (int32_t)((i * i * 7 + 5) % V);
    must(fp4_model_generate(m, o->generated, N, 4, NULL, -1, &n));
    must(fp4_model_hidden(m, tokens, N, o->hidden));
    fp4_model_set_pass(m, &(struct fp4_pass){.replicate = 3}); /* look-ups addressed by token */
    must(fp4_model_logits(m, tokens, N, 3, o->logits));
    fp4_model_set_policy(m, &policy, false);
    must(fp4_model_score(m, tokens, N, &score));
    must(fp4_model_embed(m, tokens, N, o->block));
    for (size_t layer = 3; layer-- > 0;)
        must(fp4_model_block(m, layer, N, o->block));
    fp4_model_set_policy(m, NULL, true);
    fp4_model_set_pass(m, &(struct fp4_pass){0});
    must(fp4_model_hash(m, o->hash));
}
static void same(const struct outcome *a, const struct outcome *b) {
    cr_assert_arr_eq(a->logits, b->logits, sizeof a->logits, "logits");
    cr_assert_arr_eq(a->hidden, b->hidden, sizeof a->hidden, "hidden states");
    cr_assert_arr_eq(a->block, b->block, sizeof a->block, "block by block");
    cr_assert_arr_eq(a->nll, b->nll, sizeof a->nll, "losses");
    cr_assert_arr_eq(a->kl, b->kl, sizeof a->kl, "divergences");
    cr_assert_arr_eq(a->generated, b->generated, sizeof a->generated, "continuation");
    cr_assert_str_eq(a->hash, b->hash);
}

Test(weights, file_and_memory_give_the_same_bits) {
    const struct fp4_config configs[] = {config_of(FP4_ARCH_LLAMA, true), config_of(FP4_ARCH_LLAMA, false), config_of(FP4_ARCH_WRITEUP_D, false), opt(false), opt(true)};
    static struct outcome memory, file;
    for (size_t i = 0; i < sizeof configs / sizeof *configs; i++) {
        struct folder f = saved(&configs[i]);
        struct fp4_model *a = open_in(f.path, FP4_WEIGHTS_MEMORY), *b = open_in(f.path, FP4_WEIGHTS_FILE);
        run(a, &memory);
        run(b, &file);
        same(&memory, &file);
        for (size_t p = 0; p < fp4_model_n_params(a); p++) {
            const struct fp4_param *x = fp4_model_param(a, p), *y = fp4_model_param(b, p);
            float *host;
            must(FP4_NEW(host, x->elements));
            must(fp4_model_get(b, y, host));
            cr_assert_arr_eq(host, x->data, x->elements * sizeof *host, "%s", x->name);
            fp4_free(host);
        }
        fp4_model_free(a);
        fp4_model_free(b);
    }
}

/* Every architecture of the reference vectors. */
Test(weights, reference_models_too) {
    const int32_t tokens[] = {3, 1, 4, 1, 5, 9, 2, 6};
    DIR *folder = opendir(golden_file("models"));
    size_t compared = 0;
    cr_assert_not_null(folder);
    for (struct dirent *e; (e = readdir(folder));) {
        char path[600], config[640];
        snprintf(path, sizeof path, "%s/%s", golden_file("models"), e->d_name);
        snprintf(config, sizeof config, "%s/config.json", path);
        if (e->d_name[0] == '.' || access(config, R_OK) != 0)
            continue;
        struct fp4_model *m[2] = {open_in(path, FP4_WEIGHTS_MEMORY), open_in(path, FP4_WEIGHTS_FILE)};
        size_t n = 8 * fp4_model_config(m[0])->n_vocab;
        float *logits[2];
        for (int i = 0; i < 2; i++) {
            must(FP4_NEW(logits[i], n));
            must(fp4_model_logits(m[i], tokens, 8, 8, logits[i]));
        }
        cr_assert_arr_eq(logits[0], logits[1], n * sizeof *logits[0], "%s", e->d_name);
        for (int i = 0; i < 2; i++) {
            fp4_free(logits[i]);
            fp4_model_free(m[i]);
        }
        compared++;
    }
    closedir(folder);
    cr_assert_gt(compared, 0);
}

/* The same real model, whose query and key rows GGUF interleaves. */
Test(weights, a_gguf_file_too) {
    char path[1024];
    static float logits[2][49152];
    const int32_t tokens[] = {1, 504, 1575, 282};
    if (fp4_asset_find("SmolLM2-135M-Instruct.Q4_1.gguf", path, sizeof path) != FP4_OK)
        skip_test("SmolLM2-135M-Instruct.Q4_1.gguf", fp4_last_error());
    for (int i = 0; i < 2; i++) {
        struct fp4_model *m = open_in(path, i ? FP4_WEIGHTS_FILE : FP4_WEIGHTS_MEMORY);
        cr_assert_eq(fp4_model_config(m)->n_vocab, 49152);
        must(fp4_model_logits(m, tokens, 4, 1, logits[i]));
        fp4_model_free(m);
    }
    cr_assert_arr_eq(logits[0], logits[1], sizeof logits[0]);
}

/* Methods rewrite every weight; the file stays what it is, and a restored model is the file's again. */
Test(weights, rewritten_weights_are_the_same_in_both) {
    static const char *const methods[] = {"rtn", "gptq"};
    struct fp4_config config = config_of(FP4_ARCH_LLAMA, false);
    struct folder f = saved(&config);
    static struct outcome before, after, outcomes[2];
    int32_t calibration[4 * N];
    for (size_t i = 0; i < 4 * N; i++)
        calibration[i] = (int32_t)((i * 31 + i / N * 17) % V);
    for (size_t k = 0; k < 2; k++) {
        struct fp4_method_options o = {.calibration = calibration, .n_sequences = 4, .length = N, .damping = 0.01};
        struct fp4_method_result result;
        must(fp4_quantizer_parse("nvfp4:te", &o.weights));
        for (int i = 0; i < 2; i++) {
            struct fp4_snapshot *s;
            struct fp4_model *m = open_in(f.path, i ? FP4_WEIGHTS_FILE : FP4_WEIGHTS_MEMORY);
            run(m, &before);
            must(fp4_model_snapshot(m, &s));
            for (int twice = 0; twice < 2; twice++) {
                must(fp4_method_find(methods[k])->apply(m, &o, &result));
                run(m, &outcomes[i]);
                cr_assert_str_neq(outcomes[i].hash, before.hash);
                if (i == 1) {
                    struct fp4_snapshot *late;
                    cr_assert_eq(fp4_model_snapshot(m, &late), FP4_ERR_UNSUPPORTED, "of rewritten weights");
                }
                must(fp4_model_restore(m, s));
                run(m, &after);
                same(&before, &after);
            }
            fp4_snapshot_free(s);
            fp4_model_free(m);
        }
        same(&outcomes[0], &outcomes[1]);
    }
}

/* Embedding and head can be set as well, before and after they were used. */
Test(weights, embedding_and_head_are_set) {
    for (int tied = 0; tied < 2; tied++)
        for (int used = 0; used < 2; used++) {
            struct fp4_config config = config_of(FP4_ARCH_LLAMA, tied);
            struct folder f = saved(&config);
            static struct outcome outcomes[2];
            for (int i = 0; i < 2; i++) {
                struct fp4_model *m = open_in(f.path, i ? FP4_WEIGHTS_FILE : FP4_WEIGHTS_MEMORY);
                static const char *const names[] = {"model.embed_tokens.weight", "lm_head.weight", "model.norm.weight"};
                static float x[V * D];
                if (used)
                    run(m, &outcomes[i]);
                for (size_t n = 0; n < 3; n++) {
                    struct fp4_param *p = fp4_model_find_param(m, names[n]);
                    if (!p)
                        continue;
                    for (size_t j = 0; j < p->elements; j++)
                        x[j] = 0.01f * (float)((j * 37 + n) % 101) - 0.5f;
                    must(fp4_model_set(m, p, x));
                }
                run(m, &outcomes[i]);
                fp4_model_free(m);
            }
            same(&outcomes[0], &outcomes[1]);
        }
}

Test(weights, what_needs_memory_says_so) {
    struct fp4_config config = config_of(FP4_ARCH_LLAMA, true);
    struct folder f = saved(&config);
    struct fp4_model *m = open_in(f.path, FP4_WEIGHTS_FILE);
    static float w[V * D];
    cr_assert_eq(fp4_model_enable_grad(m), FP4_ERR_UNSUPPORTED);
    cr_assert(strstr(fp4_last_error(), "--weights-in memory"), "%s", fp4_last_error());
    setenv("TMPDIR", "/nowhere/at/all", 1);
    cr_assert_eq(fp4_model_set(m, fp4_model_param(m, 0), w), FP4_ERR_IO);
    cr_assert(strstr(fp4_last_error(), "/nowhere/at/all") && strstr(fp4_last_error(), "TMPDIR"), "%s", fp4_last_error());
    fp4_model_free(m);
}

/* ---- NaN and infinity ---- */

static struct {
    size_t n;
    char last[1024];
} heard;
static void hear(void *context, const char *message) {
    (void)context;
    heard.n++;
    snprintf(heard.last, sizeof heard.last, "%s", message);
}

/* A checkpoint with one bad value in a tensor, which is found in both places, at load or when it is used. */
static void check_nonfinite(const char *name, float bad) {
    struct fp4_config config = config_of(FP4_ARCH_LLAMA, false);
    struct folder f;
    struct fp4_model *m;
    const int32_t tokens[] = {1, 2, 3};
    float logits[V], *x;
    folder_make(f.path);
    must(fp4_model_create(&config, 5, fp4_backend_cpu(), &m));
    struct fp4_param *p = fp4_model_find_param(m, name);
    must(FP4_NEW(x, p->elements));
    must(fp4_model_get(m, p, x));
    x[p->cols > 1 && p->rows > 1 ? 2 * p->cols + 1 : 1] = bad; /* token 2's row of the embedding */
    must(fp4_model_set(m, p, x));
    must(fp4_model_save(m, f.path));
    fp4_model_free(m);
    fp4_free(x);
    for (int i = 0; i < 2; i++) {
        struct fp4_load load = {.weights_in = i ? FP4_WEIGHTS_FILE : FP4_WEIGHTS_MEMORY};
        heard.n = 0;
        must(fp4_model_open(f.path, fp4_backend_cpu(), &load, &m));
        for (int twice = 0; twice < 2; twice++)
            must(fp4_model_logits(m, tokens, 3, 1, logits));
        fp4_model_free(m);
        cr_assert_eq(heard.n, 1, "%s: %zu warnings", name, heard.n);
        cr_assert(strstr(heard.last, name) && strstr(heard.last, ": 1 of "), "%s", heard.last);
        load.refuse_nonfinite = true;
        heard.n = 0;
        fp4_status status = fp4_model_open(f.path, fp4_backend_cpu(), &load, &m);
        if (status == FP4_OK) {
            status = fp4_model_logits(m, tokens, 3, 1, logits);
            fp4_model_free(m);
        }
        cr_assert_eq(status, FP4_ERR_NUMERIC, "%s in place %d", name, i);
        cr_assert(strstr(fp4_last_error(), name) && strstr(fp4_last_error(), "--allow-nonfinite"), "%s", fp4_last_error());
        cr_assert_eq(heard.n, 0);
    }
}

Test(weights, nan_and_infinity_are_found) {
    fp4_set_warning_handler(hear, NULL);
    check_nonfinite("model.layers.1.mlp.down_proj.weight", NAN);
    check_nonfinite("model.layers.0.self_attn.q_proj.weight", INFINITY);
    check_nonfinite("model.layers.2.input_layernorm.weight", -INFINITY);
    check_nonfinite("model.embed_tokens.weight", NAN);
    check_nonfinite("lm_head.weight", -INFINITY);
    fp4_set_warning_handler(NULL, NULL);
}
