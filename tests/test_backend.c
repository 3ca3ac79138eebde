/* Kernels: accuracy, the same bits on every rung; backend and models: the same bits for any number of threads. */
#include "tests/support.h"

#include "fp4lab/model.h"
#include "lib/backend/backend.h"
#include "lib/kernels/cpu/nn_kernels.h"
#include "lib/kernels/cpu/short_kernels.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

static const struct fp4_random numbers = {.seed = 21, .stream = FP4_STREAM_TEST};

/* ---- e^x ---- */

/* Every 251st of all floats: with 2 ulp = 2⁻²² relative where the result is normal, half a smallest step more where it is not. */
Test(backend, exp_within_two_ulp) {
    const struct fp4_nn_kernels *k = fp4_nn_kernels_of(fp4_cpu_detect());
    double worst = 0;
    float x[512], y[512];
    uint64_t bits = 0;
    while (bits < (uint64_t)1 << 32) {
        size_t n = 0;
        for (; n < 512 && bits < (uint64_t)1 << 32; bits += 251) {
            uint32_t word = (uint32_t)bits;
            memcpy(&x[n], &word, sizeof word);
            n += !isnan(x[n]) && x[n] > -103.9f && x[n] < 88.7f;
        }
        k->exp(n, x, y);
        for (size_t i = 0; i < n; i++) {
            double exact = exp((double)x[i]), ulp = fmax(0x1p-149, ldexp(1, ilogb(exact) - 23));
            worst = fmax(worst, fabs((double)y[i] - exact) / ulp);
        }
    }
    cr_assert(worst <= 2, "e^x is off by %.3f ulp", worst);
}

Test(backend, exp_at_the_ends) {
    const float x[] = {-INFINITY, -1000, -104.5f, 89.5f, 1000, INFINITY, 0, -0.0f};
    float y[8];
    fp4_nn_kernels_of(fp4_cpu_detect())->exp(8, x, y);
    for (int i = 0; i < 3; i++)
        cr_assert_eq(y[i], 0.0f, "e^%g = %g", (double)x[i], (double)y[i]);
    for (int i = 3; i < 6; i++)
        cr_assert(isinf(y[i]), "e^%g = %g", (double)x[i], (double)y[i]);
    cr_assert(y[6] == 1 && y[7] == 1);
}

/* ---- the same bits on every rung ---- */

enum { SLOTS = 8 };
/* Runs every kernel on n elements; what they write and return lands in out. Buffers end at an inaccessible page. */
static size_t run_kernels(const struct fp4_nn_kernels *k, size_t n, float *const b[SLOTS], float *out) {
    static const struct fp4_adamw_scalars adam = {0.99f, 0.9f, 0.1f, 0.999f, 0.001f, 1e-3f, 31.6f, 1e-8f, 0.7f};
    float *x = b[0], *y = b[1], *z = b[2], *w = b[3], *v = b[4], *t = b[5], *u = b[6], *s = b[7];
    size_t at = 0;
    int32_t index;
    double sum;
#define KEEP(p, count) (memcpy(out + at, (p), (count) * sizeof(float)), at += (count))
    for (int i = 0; i < SLOTS; i++) {
        struct fp4_random r = numbers;
        r.layer = (uint32_t)i;
        fp4_random_normal(&r, 0, n, b[i]);
    }
    for (size_t i = 0; i < n; i++)
        v[i] *= v[i];
    k->exp(n, x, t), KEEP(t, n);
    out[at++] = k->norm(n, x, w, 1e-5f, t), KEEP(t, n);
    k->norm_backward(n, x, w, 0.7f, y, t), KEEP(t, n);
    k->norm_backward_weight(1, n, n, x, w, y, t), KEEP(t, n);
    k->rotate(n, t, u, x, y, false), KEEP(t, n), KEEP(u, n);
    k->rotate(n, t, u, x, y, true), KEEP(t, n), KEEP(u, n);
    out[at] = k->layer_norm(n, x, w, z, 1e-5f, t, out + at + 1), at += 2, KEEP(t, n);
    k->layer_norm_backward(n, x, w, 0.1f, 0.7f, y, t), KEEP(t, n);
    k->layer_norm_backward_weight(1, n, n, x, z, w, y, t), KEEP(t, n);
    k->column_sums(1, n, n, x, t), KEEP(t, n);
    for (int f = 0; f < FP4_ACT_COUNT; f++) {
        k->activate[f](n, x, t), KEEP(t, n);
        k->activate_backward[f](n, x, y, t), KEEP(t, n);
    }
    k->drop(n, 0.3f, 1.4f, v, x, t), KEEP(t, n);
    k->silu_mul(n, x, y, t), KEEP(t, n);
    k->silu_mul_backward(n, x, y, z, t, u), KEEP(t, n), KEEP(u, n);
    k->add(n, x, t), k->scale(n, 1.7f, t), KEEP(t, n);
    out[at++] = k->dot(n, x, y);
    memcpy(s, x, n * sizeof *s);
    k->softmax(n, n, 0.4f, s, out + at, out + at + 1), at += 2, KEEP(s, n);
    memcpy(t, x, n * sizeof *t);
    k->softmax_again(n, n, 0.4f, t, out[at - n - 2], out[at - n - 1]), KEEP(t, n);
    cr_assert_arr_eq(s, t, n * sizeof *s, "the probabilities again");
    k->softmax_backward(n, s, t, 0.2f, 0.4f), KEEP(t, n);
    out[at++] = k->maximum(n, x, &index);
    out[at++] = (float)index;
    sum = k->exp_sum(n, x, out[at - 2]), KEEP(&sum, 2);
    sum = k->exp_sum_wide(n, x, out[at - 4]), KEEP(&sum, 2);
    sum = k->divergence(n, x, 0.3, y, 0.2), KEEP(&sum, 2);
    k->exp_scale(n, t, 0.5f, 0.3f), KEEP(t, n);
    sum = k->sum_squares(n, x), KEEP(&sum, 2);
    k->adamw(n, z, x, w, v, &adam), KEEP(z, n), KEEP(w, n), KEEP(v, n);
#undef KEEP
    return at;
}

Test(backend, rungs_give_the_same_bits) {
    static const size_t sizes[] = {1, 2, 15, 16, 17, 31, 100, 511, 512, 513, 1500};
    if (fp4_cpu_detect() == FP4_CPU_REF)
        skip_test("rungs", "this CPU has neither AVX2 nor AVX-512");
    for (size_t i = 0; i < sizeof sizes / sizeof *sizes; i++) {
        size_t n = sizes[i], count[3] = {0};
        float *b[SLOTS], *out[3];
        for (int s = 0; s < SLOTS; s++)
            b[s] = guarded_alloc(n * sizeof(float), false);
        for (int level = 0; level <= (int)fp4_cpu_detect(); level++) {
            must(FP4_NEW(out[level], 48 * n + 64));
            count[level] = run_kernels(fp4_nn_kernels_of((enum fp4_cpu_level)level), n, b, out[level]);
            cr_assert_eq(count[level], count[0]);
            for (size_t j = 0; j < count[0]; j++)
                cr_assert(memcmp(&out[level][j], &out[0][j], sizeof(float)) == 0, "n = %zu, %s, number %zu: %.9g, reference %.9g", n,
                          fp4_cpu_level_name((enum fp4_cpu_level)level), j, (double)out[level][j], (double)out[0][j]);
        }
        for (int level = 0; level <= (int)fp4_cpu_detect(); level++)
            fp4_free(out[level]);
        for (int s = 0; s < SLOTS; s++)
            guarded_free(b[s], n * sizeof(float), false);
    }
}

/* ---- sums against float64 ---- */

/* In 16 lanes a term takes part in at most n/16 + 5 additions and one product: |error| ≤ (n/16 + 6)·2⁻²⁴·Σ|x·y|. */
Test(backend, sums) {
    enum { N = 4096 };
    static float x[N], y[N], w[N];
    const struct fp4_nn_kernels *k = fp4_nn_kernels();
    fp4_random_normal(&numbers, 0, N, x);
    fp4_random_normal(&numbers, N, N, y);
    for (size_t n = 1; n <= N; n = n * 3 / 2 + 1) {
        double dot = 0, magnitude = 0, square = 0, sum = 0;
        for (size_t i = 0; i < n; i++) {
            dot += (double)x[i] * (double)y[i];
            magnitude += fabs((double)x[i] * (double)y[i]);
            square += (double)x[i] * (double)x[i];
            sum += exp((double)x[i] - 5);
            w[i] = 1;
        }
        cr_assert(fabs((double)k->dot(n, x, y) - dot) <= ((double)n / 16 + 6) * 0x1p-24 * magnitude);
        cr_assert(fabs(k->sum_squares(n, x) - square) <= 1e-14 * (double)n * square);
        /* 2 ulp of e^x, one rounding of the argument, and runs of 512: 32 + 4 additions in fp32 */
        cr_assert(fabs(k->exp_sum(n, x, 5) - sum) <= 0x1p-24 * (4 + 10 + 36) * sum);
        /* 2⁻⁵¹ of e^x, and n/8 additions in double */
        cr_assert(fabs(k->exp_sum_wide(n, x, 5) - sum) <= 0x1p-53 * ((double)n / 4 + 8) * sum);
        double rstd = 1 / sqrt(square / (double)n + 1e-5);
        float got = k->norm(n, x, w, 1e-5f, y); /* y is consumed; it is drawn anew below */
        cr_assert(fabs((double)got / rstd - 1) <= ((double)n / 32 + 8) * 0x1p-24);
        cr_assert(fabs((double)y[0] - (double)x[0] * rstd) <= ((double)n / 32 + 9) * 0x1p-24 * fabs((double)y[0]));
        fp4_random_normal(&numbers, N, N, y);
    }
}

/* ---- products of few rows ---- */

/* Summed in double and rounded once: 2⁻²⁴ of the result and k·2⁻⁵³ of the sum of magnitudes; the same bits on every rung. */
static void check_short(bool tb, size_t m, size_t n, size_t k) {
    float *a, *b, *c[3], *before;
    must(FP4_NEW(a, m * k));
    must(FP4_NEW(b, n * k));
    must(FP4_NEW(before, m * n));
    fp4_random_normal(&numbers, 0, m * k, a);
    fp4_random_normal(&numbers, m * k, n * k, b);
    fp4_random_normal(&numbers, 7, m * n, before);
    for (int level = 0; level <= (int)fp4_cpu_detect(); level++) {
        const struct fp4_short_kernels *s = fp4_short_kernels_of((enum fp4_cpu_level)level);
        must(FP4_NEW(c[level], m * n));
        memcpy(c[level], before, m * n * sizeof *a);
        (tb ? s->nt : s->nn)(m, n, k, 0.5f, a, k, b, tb ? k : n, 1.0f, c[level], n);
        cr_assert_arr_eq(c[level], c[0], m * n * sizeof *a, "%zu x %zu x %zu, %s", m, n, k, fp4_cpu_level_name((enum fp4_cpu_level)level));
    }
    for (size_t i = 0; i < m * n; i++) {
        long double sum = (long double)before[i], magnitude = fabsl(sum);
        for (size_t l = 0; l < k; l++) {
            long double t = 0.5L * (long double)a[i / n * k + l] * (long double)(tb ? b[i % n * k + l] : b[l * n + i % n]);
            sum += t;
            magnitude += fabsl(t);
        }
        cr_assert(fabsl((long double)c[0][i] - sum) <= 0x1p-24L * fabsl(sum) + 0x1p-53L * (long double)(k + 2) * magnitude, "%zu x %zu x %zu [%zu]", m, n, k, i);
    }
    for (int level = 0; level <= (int)fp4_cpu_detect(); level++)
        fp4_free(c[level]);
    fp4_free(a);
    fp4_free(b);
    fp4_free(before);
}

Test(backend, short_products) {
    static const size_t sizes[][3] = {{1, 1, 1}, {1, 128, 64}, {3, 5, 7}, {4, 4, 8}, {5, 33, 9}, {20, 100, 50}, {32, 128, 100}, {7, 31, 15}};
    for (size_t i = 0; i < sizeof sizes / sizeof *sizes; i++) {
        check_short(true, sizes[i][0], sizes[i][1], sizes[i][2]);
        check_short(false, sizes[i][0], sizes[i][1], sizes[i][2]);
    }
}

/* ---- the same bits for any number of threads, and on every rung ---- */

struct outcome { float *logits; double loss, entropy; char params[65], grads[65]; };

static const struct fp4_config config = {.arch = FP4_ARCH_LLAMA, .n_vocab = 700, .n_embd = 96, .n_layer = 2, .n_head = 6, .n_kv_head = 2, .head_dim = 16,
                                         .n_ff = 160, .n_ctx = 256, .norm_eps = 1e-5f, .rope_theta = 1e4, .tied_head = true, .bos_id = -1, .eos_id = -1};
static const struct fp4_config opt = {.arch = FP4_ARCH_OPT, .n_vocab = 700, .n_embd = 96, .n_layer = 2, .n_head = 6, .n_kv_head = 6, .head_dim = 16, .n_ff = 160,
                                      .n_ctx = 256, .norm_eps = 1e-5f, .tied_head = true, .attention_bias = true, .mlp_bias = true, .n_word = 48, .norm_after = true,
                                      .activation = FP4_ACT_GELU, .dropout = 0.1, .attention_dropout = 0.2, .bos_id = -1, .eos_id = -1};
enum { B = 3, T = 100 };

static void hash_grads(struct fp4_model *m, char hex[65]) {
    struct fp4_sha256 h;
    must(fp4_sha256_begin(&h));
    for (size_t i = 0; i < fp4_model_n_params(m); i++) {
        struct fp4_param *p = fp4_model_param(m, i);
        float *g;
        must(FP4_NEW(g, p->elements));
        must(fp4_model_get_grad(m, p, g));
        fp4_sha256_update(&h, g, p->elements * sizeof *g);
        fp4_free(g);
    }
    fp4_sha256_end(&h, hex);
}

/* One training step and one of adaptation, in training mode, in part quantized. */
static void run_model(const struct fp4_config *c, struct outcome *out) {
    struct fp4_model *m;
    struct fp4_optimizer *o;
    struct fp4_policy policy = {0};
    struct fp4_adamw h = {1e-3, 0.9, 0.999, 1e-8, 0.1};
    int32_t tokens[B * T], targets[B * T];
    for (int i = 0; i < B * T; i++) {
        tokens[i] = (i * i + 7 * i) % 700;
        targets[i] = (i * 31) % 700;
    }
    must(fp4_model_create(c, 4, fp4_backend_cpu(), &m));
    fp4_model_set_pass(m, &(struct fp4_pass){.seed = 3, .training = true});
    must(fp4_quantizer_parse("nvfp4:te,sr", &policy.operand[FP4_DGRAD_DY]));
    must(fp4_quantizer_parse("nvfp4:te,2d", &policy.operand[FP4_FWD_W]));
    fp4_model_set_policy(m, &policy, false);
    must(fp4_model_enable_grad(m));
    must(fp4_optimizer_create(m, &o));
    must(fp4_model_loss_backward(m, tokens, targets, B, T, 1.0f, &out->loss));
    must(fp4_optimizer_step(o, &h, 0.01, NULL));
    must(fp4_model_zero_grad(m));
    must(fp4_model_entropy_backward(m, tokens, 21, &out->entropy, NULL, NULL)); /* a short one */
    hash_grads(m, out->grads);
    must(fp4_optimizer_step(o, &h, 0, NULL));
    must(fp4_model_hash(m, out->params));
    must(FP4_NEW(out->logits, (size_t)T * c->n_vocab));
    must(fp4_model_logits(m, tokens, T, T, out->logits));
    fp4_optimizer_free(o);
    fp4_model_free(m);
}

static void check_same(const struct outcome *a, const struct outcome *b, const char *what) {
    cr_assert(a->loss == b->loss && a->entropy == b->entropy, "%s: loss, entropy", what);
    cr_assert_str_eq(a->grads, b->grads, "%s: gradients", what);
    cr_assert_str_eq(a->params, b->params, "%s: parameters after two steps", what);
    cr_assert_arr_eq(a->logits, b->logits, T * config.n_vocab * sizeof *a->logits, "%s: logits", what);
}

static void check_threads(const struct fp4_config *c) {
    static const int threads[] = {1, 2, 3, 7};
    struct outcome o[4];
    for (int i = 0; i < 4; i++) {
        fp4_set_threads(threads[i]);
        run_model(c, &o[i]);
        char what[32];
        snprintf(what, sizeof what, "%d threads", threads[i]);
        check_same(&o[0], &o[i], what);
    }
    for (int i = 0; i < 4; i++)
        fp4_free(o[i].logits);
    fp4_set_threads(0);
}
Test(backend, threads_do_not_matter) { check_threads(&config); }
Test(backend, threads_do_not_matter_to_opt) { check_threads(&opt); }

/* OpenBLAS's core is the same on all of them: the whole model agrees. (Another core sums in another order: test_gemm.c has that bound.) */
static void check_rungs(const struct fp4_config *c) {
    struct outcome o[3];
    for (int level = 0; level <= (int)fp4_cpu_detect(); level++) {
        const char *name = fp4_cpu_level_name((enum fp4_cpu_level)level);
        must(fp4_cpu_select(name));
        run_model(c, &o[level]);
        check_same(&o[0], &o[level], name);
    }
    for (int level = 0; level <= (int)fp4_cpu_detect(); level++)
        fp4_free(o[level].logits);
    must(fp4_cpu_select(NULL));
}
Test(backend, rungs_do_not_matter) { check_rungs(&config); }
Test(backend, rungs_do_not_matter_to_opt) { check_rungs(&opt); }

/* ---- rows of logits ---- */

Test(backend, cross_entropy_rows) {
    enum { R = 4, V = 1000 };
    static float logits[R * V], before[R * V];
    const int32_t targets[R] = {3, -1, 999, 17};
    const struct fp4_backend *be = fp4_backend_cpu();
    double loss = 0, expected = 0;
    size_t correct = 0;
    fp4_random_normal(&numbers, 0, R * V, logits);
    logits[17 + 3 * V] = 9;
    memcpy(before, logits, sizeof logits);
    must(be->cross_entropy(R, V, logits, targets, 0.25f, &loss, &correct));
    cr_assert_eq(correct, 1);
    for (size_t t = 0; t < R; t++) {
        double sum = 0;
        for (size_t i = 0; i < V; i++)
            sum += exp((double)before[t * V + i]);
        if (targets[t] >= 0)
            expected += log(sum) - (double)before[t * V + (size_t)targets[t]];
        for (size_t i = 0; i < V; i++) {
            double p = exp((double)before[t * V + i]) / sum, g = targets[t] < 0 ? 0 : 0.25 * (p - (targets[t] == (int32_t)i));
            cr_assert(fabs((double)logits[t * V + i] - g) <= 2e-6 * fabs(g), "row %zu, logit %zu", t, i);
        }
    }
    cr_assert(fabs(loss - expected) <= 1e-6 * expected);
}

Test(backend, score_rows) {
    enum { V = 500 };
    static float a[V], b[V];
    const int32_t target = 42;
    const struct fp4_backend *be = fp4_backend_cpu();
    double nll, kl, za = 0, zb = 0, expected = 0;
    uint8_t top1;
    fp4_random_normal(&numbers, 0, V, a);
    fp4_random_normal(&numbers, V, V, b);
    must(be->score(1, V, a, b, &target, &nll, &kl, &top1));
    for (int i = 0; i < V; i++)
        za += exp((double)a[i]), zb += exp((double)b[i]);
    for (int i = 0; i < V; i++)
        expected += exp((double)b[i]) / zb * log((exp((double)b[i]) / zb) / (exp((double)a[i]) / za));
    cr_assert(fabs(nll - (log(za) - (double)a[target])) < 1e-12);
    cr_assert(fabs(kl - expected) < 1e-12, "KL(reference || model) = %g, %g expected", kl, expected);
    must(be->score(1, V, a, a, &target, &nll, &kl, &top1));
    cr_assert(fabs(kl) < 1e-12 && top1 == 1);
}
