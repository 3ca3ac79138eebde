/* What OPT has and the other families have not: dropout in training mode, biases and projections that methods and recipes leave alone, names. */
#include "tests/folders.h"
#include "tests/support.h"

#include "fp4lab/adapt.h"
#include "fp4lab/methods.h"
#include "fp4lab/model.h"
#include "fp4lab/recipes.h"
#include "lib/backend/backend.h"
#include "lib/kernels/cpu/nn_kernels.h"

#include <math.h>
#include <string.h>

enum { N = 48, V = 150, D = 64 };
static const struct fp4_random numbers = {.seed = 31, .stream = FP4_STREAM_TEST};

/* projected: as the 350M, with norms after the sums and an embedding half as wide. */
static struct fp4_config config_of(bool projected) {
    return (struct fp4_config){.arch = FP4_ARCH_OPT, .n_vocab = V, .n_embd = D, .n_layer = 2, .n_head = 4, .n_kv_head = 4, .head_dim = 16, .n_ff = 128,
                               .n_ctx = 96, .norm_eps = 1e-5f, .tied_head = true, .attention_bias = true, .mlp_bias = true, .has_pad = true, .pad_id = 1,
                               .n_word = projected ? 32 : 0, .norm_after = projected, .activation = FP4_ACT_RELU, .dropout = 0.1, .bos_id = 2, .eos_id = 2};
}

/* Weights and biases of order 0.2: everything matters. */
static struct fp4_model *model_of(bool projected) {
    struct fp4_config c = config_of(projected);
    struct fp4_model *m;
    must(fp4_model_create(&c, 4, fp4_backend_cpu(), &m));
    for (size_t i = 0; i < fp4_model_n_params(m); i++) {
        struct fp4_param *p = fp4_model_param(m, i);
        if (p->rows > 1)
            must(fp4_backend_cpu()->scale(p->elements, 10.0f, p->data));
        else if (strstr(p->name, ".bias"))
            fp4_random_normal(&numbers, i * 1000, p->elements, p->data);
    }
    return m;
}
static void fill(int32_t *tokens, size_t n) {
    for (size_t i = 0; i < n; i++)
        tokens[i] = (int32_t)((i * i * 5 + i * 11 + 3) % V);
}
static void logits_of(struct fp4_model *m, const struct fp4_pass *pass, float *logits) {
    int32_t tokens[N];
    fill(tokens, N);
    fp4_model_set_pass(m, pass);
    must(fp4_model_logits(m, tokens, N, 1, logits));
}

/* ---- creation, files ---- */

Test(opt, initial_values) {
    struct fp4_config c = config_of(true);
    struct fp4_model *m;
    must(fp4_model_create(&c, 4, fp4_backend_cpu(), &m));
    for (size_t i = 0; i < fp4_model_n_params(m); i++) {
        struct fp4_param *p = fp4_model_param(m, i);
        double square = 0, n = (double)p->elements;
        for (size_t j = 0; j < p->elements; j++)
            square += (double)p->data[j] * (double)p->data[j];
        double wanted = p->rows > 1 ? 4e-4 : strstr(p->name, ".bias") ? 0 : 1;
        /* the variance of n normal numbers: five standard deviations */
        cr_assert(fabs(square / n - wanted) <= (p->rows > 1 ? 5 * sqrt(2 / n) * wanted : 0), "%s", p->name);
    }
    cr_assert_eq(fp4_model_width(m), 32);
    struct fp4_param *positions = fp4_model_find_param(m, "model.decoder.embed_positions.weight");
    cr_assert(positions && positions->rows == c.n_ctx + 2 && positions->cols == D);
    cr_assert_null(fp4_model_find_param(m, "model.decoder.final_layer_norm.weight"), "there is none at the end after norms that follow");
    fp4_model_free(m);
}

/* Saved, and once more under the names of the original files, which have no outer "model.". */
static void check_files(bool projected) {
    char folder[FOLDER_MAX], hex[2][65], config[128], weights[128];
    struct fp4_model *m = model_of(projected), *again;
    struct fp4_tensor_out *out;
    must(fp4_model_hash(m, hex[0]));
    folder_make(folder);
    snprintf(config, sizeof config, "%s/config.json", folder);
    snprintf(weights, sizeof weights, "%s/model.safetensors", folder);
    must(fp4_model_save(m, folder));
    for (int original = 0; original < 2; original++) {
        must(fp4_model_load(folder, fp4_backend_cpu(), &again));
        must(fp4_model_hash(again, hex[1]));
        cr_assert_str_eq(hex[0], hex[1]);
        fp4_model_free(again);
        must(FP4_NEW(out, fp4_model_n_params(m)));
        for (size_t i = 0; i < fp4_model_n_params(m); i++) {
            struct fp4_param *p = fp4_model_param(m, i);
            out[i] = (struct fp4_tensor_out){.name = p->name + strlen("model."), .dtype = FP4_F32, .n_dims = p->rows > 1 ? 2 : 1,
                                             .shape = {p->rows > 1 ? p->rows : p->cols, p->cols}, .data = p->data};
        }
        must(fp4_safetensors_write(weights, out, fp4_model_n_params(m)));
        fp4_free(out);
    }
    fp4_model_free(m);
}
Test(opt, save_and_load) {
    check_files(false);
    check_files(true);
}

/* ---- dropout ---- */

/* Kept elements are scaled by 1/(1 − p); their number and the mean stay within five standard deviations; any split of threads gives the same. */
Test(opt, dropped_elements) {
    enum { COUNT = 100000 };
    static float x[COUNT], y[COUNT], z[COUNT];
    const struct fp4_backend *be = fp4_backend_cpu();
    for (double p = 0.1; p < 0.95; p += 0.4) {
        struct fp4_dropout d = {.p = (float)p, .random = {.seed = 1, .stream = FP4_STREAM_DROPOUT, .step = 3, .layer = 2, .operand = 1}};
        size_t kept = 0, common = 0;
        for (int i = 0; i < COUNT; i++)
            x[i] = 1;
        must(be->drop(&d, COUNT, x, y));
        fp4_set_threads(3);
        must(be->drop(&d, COUNT, x, z));
        fp4_set_threads(0);
        cr_assert_arr_eq(y, z, sizeof y, "threads");
        for (int i = 0; i < COUNT; i++) {
            cr_assert(y[i] == 0 || y[i] == 1.0f / (1.0f - (float)p));
            kept += y[i] != 0;
        }
        double expected = COUNT * (1 - p);
        cr_assert(fabs((double)kept - expected) < 5 * sqrt(expected * p), "%zu of %d kept at p = %g", kept, COUNT, p);
        for (int address = 0; address < 4; address++) { /* another seed, step, layer, site: independent */
            struct fp4_dropout other = d;
            uint32_t *const word[] = {&other.random.seed, &other.random.step, &other.random.layer, &other.random.operand};
            ++*word[address];
            must(be->drop(&other, COUNT, x, z));
            common = 0;
            for (int i = 0; i < COUNT; i++)
                common += y[i] != 0 && z[i] != 0;
            double both = COUNT * (1 - p) * (1 - p);
            cr_assert(fabs((double)common - both) < 5 * sqrt(both), "address word %d: %zu kept by both, %g expected", address, common, both);
        }
    }
}

Test(opt, training_mode_drops_and_nothing_else_does) {
    for (int projected = 0; projected < 2; projected++) {
        struct fp4_model *m = model_of(projected);
        struct fp4_config none = config_of(projected);
        static float off[V], on[V], again[V], other[V];
        int32_t a[N + 4], b[N + 4];
        size_t total;
        logits_of(m, &(struct fp4_pass){.seed = 1}, off);
        logits_of(m, &(struct fp4_pass){.seed = 1, .training = true}, on);
        logits_of(m, &(struct fp4_pass){.seed = 1, .training = true}, again);
        logits_of(m, &(struct fp4_pass){.seed = 1, .step = 1, .training = true}, other);
        cr_assert_arr_neq(off, on, sizeof on);
        cr_assert_arr_eq(on, again, sizeof on, "the same pass again");
        cr_assert_arr_neq(on, other, sizeof on, "another step");
        fill(a, N), fill(b, N);
        must(fp4_model_generate(m, a, N, 4, NULL, -1, &total));
        fp4_model_set_pass(m, &(struct fp4_pass){0});
        must(fp4_model_generate(m, b, N, 4, NULL, -1, &total));
        cr_assert_arr_eq(a, b, sizeof a, "generation never drops");
        fp4_model_free(m);
        /* a probability of 0 in training mode is evaluation, to the bit */
        none.dropout = 0;
        must(fp4_model_create(&none, 4, fp4_backend_cpu(), &m));
        logits_of(m, &(struct fp4_pass){.seed = 1}, off);
        logits_of(m, &(struct fp4_pass){.seed = 1, .training = true}, on);
        cr_assert_arr_eq(off, on, sizeof on);
        fp4_model_free(m);
    }
}

/* Adaptation in training mode: the seed matters, the same seed gives the same, and the entropy after the last step is without dropout. */
Test(opt, adaptation_as_published) {
    enum { STEPS = 3 };
    char hex[3][65];
    for (uint32_t run = 0; run < 3; run++) {
        struct fp4_model *m = model_of(false);
        struct fp4_optimizer *o;
        struct fp4_adapt_options options = fp4_adapt_published();
        double entropy[STEPS + 1], loss[STEPS];
        float logits[V];
        struct fp4_adapt_trace trace = {.entropy = entropy, .loss = loss};
        int32_t tokens[N];
        fill(tokens, N);
        options.steps = STEPS;
        options.seed = 1 + run / 2;
        options.training = true;
        must(fp4_model_enable_grad(m));
        must(fp4_optimizer_create(m, &o));
        must(fp4_adapt(m, o, tokens, N, &options, &trace));
        must(fp4_model_hash(m, hex[run]));
        logits_of(m, &(struct fp4_pass){0}, logits);
        cr_assert_eq(entropy[STEPS], fp4_logits_entropy(logits, V, 1));
        fp4_optimizer_free(o);
        fp4_model_free(m);
    }
    cr_assert_str_eq(hex[0], hex[1]);
    cr_assert_str_neq(hex[0], hex[2]);
}

/* Look-ups of the padding token give its row no gradient; a tied head's share of it stays. */
Test(opt, padding_row) {
    for (int tied = 0; tied < 2; tied++) {
        struct fp4_config c = config_of(false);
        struct fp4_model *m;
        const int32_t tokens[] = {2, 1, 7, 1}, targets[] = {1, 7, 1, 9};
        c.tied_head = tied;
        must(fp4_model_create(&c, 4, fp4_backend_cpu(), &m));
        must(fp4_model_enable_grad(m));
        must(fp4_model_loss_backward(m, tokens, targets, 1, 4, 1.0f, NULL));
        const struct fp4_param *p = fp4_model_find_param(m, "model.decoder.embed_tokens.weight");
        for (size_t id = 0; id < 10; id++) {
            bool some = false;
            for (size_t j = 0; j < D; j++)
                some |= p->grad[id * D + j] != 0;
            cr_assert_eq(some, tied || id == 2 || id == 7, "token %zu, %s head", id, tied ? "tied" : "untied");
        }
        fp4_model_free(m);
    }
}

/* ---- methods, recipes, replicates ---- */

static bool in_block(const struct fp4_linear *l) { return l->layer < 2; }

static const struct fp4_linear *linear_of(struct fp4_model *m, size_t param) {
    for (size_t i = 0; i < fp4_model_n_linear(m); i++)
        if (fp4_model_linear(m, i)->param == param)
            return fp4_model_linear(m, i);
    return NULL;
}

/* Weights in the blocks take values of the grid; biases, norms, embeddings, projections and positions keep every bit. */
static void check_method(const char *name, bool projected) {
    struct fp4_model *m = model_of(projected), *before = model_of(projected);
    const struct fp4_method *method = fp4_method_find(name);
    struct fp4_method_options o = {.n_sequences = 2, .length = N, .damping = 0.01, .seed = 1};
    struct fp4_method_result result;
    int32_t tokens[2 * N];
    float plain[V], quantized[V];
    fill(tokens, 2 * N);
    o.calibration = tokens;
    must(fp4_quantizer_parse("nvfp4:te", &o.weights));
    must(fp4_quantizer_parse("nvfp4:te", &o.activations));
    must(method->apply(m, &o, &result));
    cr_assert_eq(result.n_quantized, 12, "%s: q, k, v, o, fc1, fc2 of two blocks", name);
    for (size_t i = 0; i < fp4_model_n_params(m); i++) {
        struct fp4_param *p = fp4_model_param(m, i), *q = fp4_model_param(before, i);
        const struct fp4_linear *l = linear_of(m, i);
        cr_assert_eq(memcmp(p->data, q->data, p->elements * sizeof(float)) != 0, l && in_block(l), "%s: %s", name, p->name);
    }
    for (size_t i = 0; i < fp4_model_n_linear(m); i++)
        cr_assert_eq(!fp4_quantizer_is_none(&fp4_model_linear(m, i)->policy.operand[FP4_FWD_X]), in_block(fp4_model_linear(m, i)), "%s",
                     fp4_model_linear(m, i)->name);
    logits_of(before, &(struct fp4_pass){0}, plain);
    logits_of(m, &(struct fp4_pass){0}, quantized);
    cr_assert_arr_neq(plain, quantized, sizeof plain);
    for (size_t i = 0; i < V; i++)
        cr_assert(isfinite(quantized[i]));
    fp4_model_free(m);
    fp4_model_free(before);
}
Test(opt, methods) {
    for (int projected = 0; projected < 2; projected++) {
        check_method("rtn", projected);
        check_method("gptq", projected);
    }
}

/* A step under every recipe: biases move even where weights are frozen, and the tied head's weight as the embedding that it is. */
Test(opt, recipes) {
    for (size_t r = 0; fp4_recipes_all[r]; r++)
        for (int projected = 0; projected < 2; projected++) {
            struct fp4_model *m = model_of(projected), *before = model_of(projected);
            struct fp4_optimizer *o;
            struct fp4_adamw h = {1e-3, 0.9, 0.999, 1e-8, 0.1};
            int32_t tokens[N + 1];
            double loss;
            fill(tokens, N + 1);
            must(fp4_model_enable_grad(m));
            must(fp4_optimizer_create(m, &o));
            must(fp4_recipes_all[r]->apply(m, 0, 10));
            fp4_model_set_pass(m, &(struct fp4_pass){.seed = 1, .training = true});
            must(fp4_model_loss_backward(m, tokens, tokens + 1, 1, N, 1.0f, &loss));
            must(fp4_optimizer_step(o, &h, 1, NULL));
            bool frozen = fp4_model_linear(m, 0)->policy.frozen_weight;
            for (size_t i = 0; i < fp4_model_n_params(m); i++) {
                struct fp4_param *p = fp4_model_param(m, i), *q = fp4_model_param(before, i);
                bool moved = memcmp(p->data, q->data, p->elements * sizeof(float)) != 0;
                const struct fp4_linear *l = linear_of(m, i);
                cr_assert_eq(moved, !(frozen && l && l->kind != FP4_LIN_HEAD), "%s: %s", fp4_recipes_all[r]->name, p->name);
            }
            fp4_optimizer_free(o);
            fp4_model_free(m);
            fp4_model_free(before);
        }
}

Test(opt, replicates) {
    struct fp4_model *m = model_of(true);
    float a[V], b[V], c[V];
    double most = 0, largest = 0;
    logits_of(m, &(struct fp4_pass){0}, a);
    logits_of(m, &(struct fp4_pass){.replicate = 1}, b);
    logits_of(m, &(struct fp4_pass){.replicate = 1}, c);
    cr_assert_arr_eq(b, c, sizeof b);
    for (size_t i = 0; i < V; i++) {
        most = fmax(most, fabs((double)a[i] - (double)b[i]));
        largest = fmax(largest, fabs((double)a[i]));
    }
    cr_assert(most > 0 && most < 1e-4 * largest, "a perturbation by 2⁻²³ moves logits by %g of %g", most, largest);
    fp4_model_free(m);
}

/* Block by block gives what the whole pass gives before the head: embedding with positions and project_in, then the blocks, then project_out. */
Test(opt, block_by_block) {
    struct fp4_model *m = model_of(true);
    int32_t tokens[N];
    static float x[N * D], hidden[N * D];
    fill(tokens, N);
    must(fp4_model_hidden(m, tokens, N, hidden));
    must(fp4_model_embed(m, tokens, N, x));
    for (size_t layer = 0; layer < 2; layer++)
        must(fp4_model_block(m, layer, N, x));
    const struct fp4_param *out = fp4_model_find_param(m, "model.decoder.project_out.weight");
    for (size_t t = 0; t < N; t++)
        for (size_t i = 0; i < 32; i++) {
            double sum = 0, magnitude = 0;
            for (size_t j = 0; j < D; j++) {
                sum += (double)x[t * D + j] * (double)out->data[i * D + j];
                magnitude += fabs((double)x[t * D + j] * (double)out->data[i * D + j]);
            }
            cr_assert(fabs((double)hidden[t * 32 + i] - sum) <= (D + 2) * 0x1p-24 * magnitude);
        }
    fp4_model_free(m);
}

/* ---- kernels ---- */

/* Φ is off by 2e-7 of itself at most (nn_template.h) and e^(−x²/2) by 2 ulp and x²/2 roundings: the bound grows with x². For the tanh form the same
 * holds of σ's argument. */
Test(opt, activations_against_libm) {
    const struct fp4_nn_kernels *k = fp4_nn_kernels();
    for (float from = -12; from < 12; from += 1.5f) {
        float x[512], y[512], one[512], slope[512];
        for (int i = 0; i < 512; i++) {
            x[i] = from + (float)i * (1.5f / 512);
            one[i] = 1;
        }
        for (int f = FP4_ACT_RELU; f < FP4_ACT_COUNT; f++) {
            k->activate[f](512, x, y);
            k->activate_backward[f](512, x, one, slope);
            for (int i = 0; i < 512; i++) {
                double v = (double)x[i], cdf = 0.5 * erfc(-v / sqrt(2)), u = sqrt(8 / 3.141592653589793) * (v + 0.044715 * v * v * v), s = 1 / (1 + exp(-u));
                double want[] = {[FP4_ACT_RELU] = fmax(v, 0), [FP4_ACT_GELU] = v * cdf, [FP4_ACT_GELU_TANH] = v * s};
                double turn[] = {[FP4_ACT_RELU] = v > 0, [FP4_ACT_GELU] = cdf + v * exp(-v * v / 2) / sqrt(2 * 3.141592653589793),
                                 [FP4_ACT_GELU_TANH] = s + v * s * (1 - s) * sqrt(8 / 3.141592653589793) * (1 + 3 * 0.044715 * v * v)};
                double relative = 0x1p-24 * (8 + 2 * v * v + (f == FP4_ACT_GELU_TANH ? 2 * fabs(u) : 0)); /* 8: the polynomial, e^x, the products */
                cr_assert(fabs((double)y[i] - want[f]) <= relative * fabs(want[f]) + 0x1p-124, "activation %d of %.9g: %.9g, %.9g expected", f, v, (double)y[i], want[f]);
                double scale = fabs(cdf) + fabs(s) + fabs(turn[f]) + (f == FP4_ACT_GELU_TANH ? fabs(v * s * (1 - s)) * (2 + v * v) : fabs(v) * exp(-v * v / 2));
                cr_assert(fabs((double)slope[i] - turn[f]) <= relative * scale + 0x1p-124, "slope %d at %.9g: %.9g, %.9g expected", f, v, (double)slope[i], turn[f]);
            }
        }
    }
    float nan = NAN, y;
    k->activate[FP4_ACT_RELU](1, &nan, &y);
    cr_assert(isnan(y), "what is no number stays none");
}

/* Mean and variance in 16 lanes: n/16 + 5 additions each; a row far from zero keeps its small differences. */
Test(opt, layer_norm_against_float64) {
    const struct fp4_nn_kernels *k = fp4_nn_kernels();
    for (size_t n = 1; n <= 2000; n = n * 2 + 3) {
        float x[2048], w[2048], b[2048], y[2048], mean, rstd;
        double m = 0, square = 0, bound = ((double)n / 16 + 12) * 0x1p-24, shift = n % 2 ? 100 : 0;
        fp4_random_normal(&numbers, n, n, x);
        fp4_random_normal(&numbers, n + 5000, n, w);
        fp4_random_normal(&numbers, n + 9000, n, b);
        for (size_t i = 0; i < n; i++) {
            x[i] += (float)shift;
            m += (double)x[i] / (double)n;
        }
        for (size_t i = 0; i < n; i++)
            square += ((double)x[i] - m) * ((double)x[i] - m) / (double)n;
        rstd = k->layer_norm(n, x, w, b, 1e-5f, y, &mean);
        double exact = 1 / sqrt(square + 1e-5), off = bound * (fabs(m) + 1);
        cr_assert(fabs((double)mean - m) <= off);
        for (size_t i = 0; i < n; i++) {
            double h = ((double)x[i] - m) * exact, want = h * (double)w[i] + (double)b[i];
            /* the mean's error, once in the difference and squared in the variance; the variance's own sum; the last roundings */
            double error = (off * exact * (1 + fabs(h)) + 2 * bound * fabs(h)) * fabs((double)w[i]) + 0x1p-23 * (fabs(h * (double)w[i]) + fabs(want));
            cr_assert(fabs((double)y[i] - want) <= error, "n = %zu, [%zu]: %.9g, %.9g expected", n, i, (double)y[i], want);
        }
        cr_assert(fabs((double)rstd / exact - 1) <= 2 * bound + off * exact * (1 + off * exact));
    }
}
