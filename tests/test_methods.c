/* Post-training methods: grids, factorisation, rounding with error compensation, what is applied to a model. */
#include "tests/support.h"

#include "fp4lab/methods.h"
#include "lib/backend/gemm.h"
#include "lib/backend/lapack.h"
#include "lib/methods/core/method.h"

#include <math.h>
#include <string.h>

static const struct fp4_random numbers = {.seed = 5, .stream = FP4_STREAM_TEST};

/* A grid holds the values that the format's own quantizer gives: rounding by it is rounding to nearest. */
Test(methods, grid_rounds_as_the_format_does) {
    const char *const spellings[] = {"nvfp4:te", "mxfp4:floor", "int4:sym7", "nvfp4:fouroversix"};
    enum { ROWS = 9, COLS = 256 };
    static float x[ROWS * COLS], want[ROWS * COLS];
    for (size_t s = 0; s < sizeof spellings / sizeof *spellings; s++) {
        struct fp4_quantizer q;
        struct fp4_tensor t;
        float amax = 0;
        must(fp4_quantizer_parse(spellings[s], &q));
        fp4_random_normal(&numbers, s * 10000, ROWS * COLS, x);
        must(fp4_fake_quantize(&q, ROWS, COLS, x, want, NULL));
        for (size_t i = 0; i < ROWS * COLS; i++)
            amax = fmaxf(amax, fabsf(x[i]));
        must(method_grid_prepare(&q, amax, &t));
        for (size_t i = 0; i < ROWS * COLS; i++) {
            struct method_grid g;
            method_grid_of(&t, t.block, x + i / t.block * t.block, &g);
            cr_assert_float_eq(method_grid_round(&g, x[i]), want[i], 0, "%s at %zu", spellings[s], i);
        }
    }
}

Test(methods, grid_refuses_what_cannot_be_rounded_in_sequence) {
    const char *const spellings[] = {"nvfp4:te,2d", "nvfp4:te,sr", "bf16", "fp8"};
    for (size_t s = 0; s < sizeof spellings / sizeof *spellings; s++) {
        struct fp4_quantizer q;
        struct fp4_tensor t;
        must(fp4_quantizer_parse(spellings[s], &q));
        cr_assert_eq(method_grid_prepare(&q, 1, &t), FP4_ERR_UNSUPPORTED, "%s", spellings[s]);
    }
}

/* Uᵀ U a = 1. */
Test(methods, inverse_cholesky) {
    enum { N = 37 };
    float g[N * N];
    double a[N * N], u[N * N];
    fp4_random_normal(&numbers, 0, N * N, g);
    for (size_t i = 0; i < N; i++)
        for (size_t j = 0; j < N; j++) {
            a[i * N + j] = i == j;
            for (size_t k = 0; k < N; k++)
                a[i * N + j] += (double)g[k * N + i] * (double)g[k * N + j] / N;
        }
    memcpy(u, a, sizeof a);
    must(fp4_inverse_cholesky_upper(N, u));
    for (size_t i = 0; i < N; i++)
        for (size_t j = 0; j < N; j++) {
            double sum = 0;
            for (size_t k = 0; k < N; k++)
                for (size_t l = 0; l <= (k < i ? k : i); l++)
                    sum += u[l * N + i] * u[l * N + k] * a[k * N + j];
            cr_assert_float_eq(sum, i == j, 1e-9);
        }
    a[0] = -1;
    cr_assert_eq(fp4_inverse_cholesky_upper(N, a), FP4_ERR_NUMERIC);
}

/* ---- on a small random model ---- */

enum { SEQUENCES = 4, LENGTH = 64, VOCAB = 96 };
static const struct fp4_config config = {.arch = FP4_ARCH_LLAMA, .n_vocab = VOCAB, .n_embd = 64, .n_layer = 2, .n_head = 4, .n_kv_head = 2, .head_dim = 16,
                                         .n_ff = 128, .n_ctx = LENGTH, .norm_eps = 1e-5f, .rope_theta = 1e4, .tied_head = true, .bos_id = -1, .eos_id = -1};

static void random_tokens(int32_t *tokens, size_t n) {
    static uint32_t words[SEQUENCES * LENGTH];
    fp4_random_words(&numbers, 0, n, words);
    for (size_t i = 0; i < n; i++)
        tokens[i] = (int32_t)(words[i] % VOCAB);
}

struct capture {
    float x[LENGTH * 64];
    const char *name;
};
static fp4_status keep_input(void *context, const struct fp4_linear *linear, const float *x, size_t n_tokens) {
    struct capture *c = context;
    if (strcmp(linear->name, c->name) == 0)
        memcpy(c->x, x, sizeof *x * n_tokens * linear->n_in);
    return FP4_OK;
}

/* ‖X (W − Q)ᵀ‖² of the first layer's q projection, whose inputs no method changes. */
static double output_error(const struct capture *c, const float *w, const float *q, size_t n_out) {
    double sum = 0;
    for (size_t t = 0; t < LENGTH; t++)
        for (size_t n = 0; n < n_out; n++) {
            double d = 0;
            for (size_t k = 0; k < 64; k++)
                d += (double)c->x[t * 64 + k] * ((double)w[n * 64 + k] - (double)q[n * 64 + k]);
            sum += d * d;
        }
    return sum;
}

Test(methods, gptq_lowers_the_output_error_and_packs_every_layer) {
    static int32_t tokens[SEQUENCES * LENGTH];
    static struct capture c = {.name = "model.layers.0.self_attn.q_proj.weight"};
    static float w[64 * 64], q[64 * 64];
    struct fp4_model *m;
    struct fp4_snapshot *s;
    double error[2];
    random_tokens(tokens, SEQUENCES * LENGTH);
    must(fp4_model_create(&config, 3, fp4_backend_cpu(), &m));
    must(fp4_model_snapshot(m, &s));
    struct fp4_param *p = fp4_model_find_param(m, c.name);
    cr_assert_not_null(p);
    must(fp4_model_get(m, p, w));
    fp4_model_set_hook(m, keep_input, &c);
    float logits[VOCAB];
    must(fp4_model_logits(m, tokens, LENGTH, 1, logits));
    fp4_model_set_hook(m, NULL, NULL);
    const char *const names[] = {"rtn", "gptq"};
    for (int i = 0; i < 2; i++) {
        struct fp4_method_options o = {.calibration = tokens, .n_sequences = SEQUENCES, .length = LENGTH, .damping = 0.01};
        struct fp4_method_result result;
        must(fp4_quantizer_parse("nvfp4:te", &o.weights));
        must(fp4_model_restore(m, s));
        must(fp4_method_find(names[i])->apply(m, &o, &result));
        cr_assert_eq(result.n_quantized, 2 * 7);
        size_t codes_and_scales = result.unquantized_bytes * 9 / 32; /* 4.5 bits of 16 */
        cr_assert_geq(result.packed_bytes, codes_and_scales);
        cr_assert_leq(result.packed_bytes, codes_and_scales + 8 * result.n_quantized, "and a tensor scale or two");
        must(fp4_model_get(m, p, q));
        error[i] = output_error(&c, w, q, p->rows);
    }
    cr_assert_gt(error[0], 0);
    cr_assert_lt(error[1], 0.9 * error[0], "GPTQ %g, RTN %g", error[1], error[0]);
    fp4_snapshot_free(s);
    fp4_model_free(m);
}

/* Relative distance of the logits under RTN with this spelling on both sides from the unquantized ones. */
static double distance(const char *spelling) {
    static int32_t tokens[LENGTH];
    float plain[VOCAB], other[VOCAB];
    struct fp4_model *m;
    struct fp4_method_options o = {0};
    struct fp4_method_result result;
    random_tokens(tokens, LENGTH);
    must(fp4_model_create(&config, 3, fp4_backend_cpu(), &m));
    must(fp4_model_logits(m, tokens, LENGTH, 1, plain));
    must(fp4_quantizer_parse(spelling, &o.weights));
    must(fp4_quantizer_parse(spelling, &o.activations));
    must(fp4_method_find("rtn")->apply(m, &o, &result));
    must(fp4_model_logits(m, tokens, LENGTH, 1, other));
    double difference = 0, size = 0;
    for (size_t i = 0; i < VOCAB; i++) {
        difference += pow((double)plain[i] - (double)other[i], 2);
        size += pow((double)plain[i], 2);
    }
    fp4_model_free(m);
    return sqrt(difference / size);
}

/* Weights and activations, each rounded in a turned basis, meet in one basis: only 4-bit noise is left. */
Test(methods, hadamard_basis_cancels) {
    double plain = distance("nvfp4:te"), turned = distance("nvfp4:te,had16");
    cr_assert_gt(turned, 0);
    cr_assert_lt(turned, 2 * plain, "with %g, without %g", turned, plain);
}
