/* A linear layer under six-operand policies: golden/models/policy, and every product rebuilt by hand in float64. */
#include "tests/support.h"

#include "lib/model/internal.h"
#include "tests/vectors.h"

#include <math.h>
#include <string.h>

/* A model whose up projection is the layer under test, [N, K]. Widths are multiples of 4 heads of 16. */
static struct fp4_model *layer_model(size_t N, size_t K, const float *w, struct fp4_linear **layer) {
    struct fp4_config c = {.arch = FP4_ARCH_LLAMA, .n_vocab = 8, .n_embd = K, .n_layer = 1, .n_head = 1, .n_kv_head = 1, .head_dim = 16,
                           .n_ff = N, .n_ctx = 8, .norm_eps = 1e-5f, .rope_theta = 1e4, .bos_id = -1, .eos_id = -1};
    struct fp4_model *m;
    must(fp4_model_create(&c, 1, fp4_backend_cpu(), &m));
    must(fp4_model_enable_grad(m));
    *layer = fp4_model_linear(m, m->block[0].up);
    must(fp4_model_set(m, fp4_model_param(m, (*layer)->param), w));
    return m;
}

struct products { float *y, *dx, *dw; };

static void run_layer(struct fp4_model *m, const struct fp4_linear *l, size_t T, const float *x, const float *dy, struct products *out) {
    must(FP4_NEW(out->y, T * l->n_out));
    must(FP4_NEW(out->dx, T * l->n_in));
    must(FP4_NEW(out->dw, l->n_out * l->n_in));
    must(fp4_model_zero_grad(m));
    must(fp4_linear_forward(m, l, T, x, out->y, false));
    must(fp4_linear_backward(m, l, T, x, dy, out->dx, false));
    must(fp4_model_get_grad(m, fp4_model_param(m, l->param), out->dw));
}
static void free_products(struct products *p) {
    fp4_free(p->y);
    fp4_free(p->dx);
    fp4_free(p->dw);
}

/* ---- golden/models/policy ---- */

static float *read_f32(const struct vectors *v, const char *name) {
    size_t n;
    double *wide = vectors_read(v, name, &n);
    float *out;
    must(FP4_NEW(out, n));
    for (size_t i = 0; i < n; i++)
        out[i] = (float)wide[i];
    fp4_free(wide);
    return out;
}

/* Codes, scale bytes and tensor scale of x or W: exact. */
static void check_nvfp4(struct vectors *v, const char *which, size_t rows, size_t cols, const float *x) {
    char name[64];
    struct fp4_quantizer q;
    struct fp4_qtensor t;
    float *y;
    must(FP4_NEW(y, rows * cols));
    must(fp4_quantizer_parse("nvfp4:te", &q));
    must(fp4_quantize(&q, rows, cols, x, NULL, &t));
    must(fp4_dequantize(&t, y));
    snprintf(name, sizeof name, "nvfp4_te.%s_codes", which);
    double *codes = vectors_read(v, name, NULL);
    snprintf(name, sizeof name, "nvfp4_te.%s_sf", which);
    double *scales = vectors_read(v, name, NULL);
    snprintf(name, sizeof name, "nvfp4_te.%s_S", which);
    double *tensor = vectors_read(v, name, NULL);
    snprintf(name, sizeof name, "nvfp4_te.%s_hat", which);
    double *hat = vectors_read(v, name, NULL);
    for (size_t i = 0; i < rows * cols; i++) {
        cr_assert_eq(i % 2 ? t.data[i / 2] >> 4 : t.data[i / 2] & 15, (int)codes[i], "%s code %zu", which, i);
        /* the file's value is one float64 product and quotient; here sf·amax, /2688 and the product are rounded to fp32 each */
        cr_assert(fabs((double)y[i] - hat[i]) <= 4 * 0x1p-24 * fabs(hat[i]), "%s value %zu", which, i);
    }
    for (size_t i = 0; i < rows * cols / 16; i++)
        cr_assert_eq(t.scales[i], (int)scales[i], "%s scale byte %zu", which, i);
    cr_assert(fabs((double)(2688.0f / t.amax) - tensor[0]) == 0, "%s tensor scale", which);
    v->used += 4;
    fp4_qtensor_free(&t);
    fp4_free(y);
    fp4_free(codes);
    fp4_free(scales);
    fp4_free(tensor);
    fp4_free(hat);
}

/* |fp32 − float64| of a dot product of n terms: 2⁻²⁴·(n + 2)·Σ|a·b|, plus the rounding of the quantized operands themselves,
 * which the references do not have: at most 3 roundings each. */
static void check_bound(struct vectors *v, const char *name, const float *got, size_t rows, size_t cols, size_t n, const float *a, bool ta,
                        const float *b, bool tb) {
    double *reference = vectors_read(v, name, NULL);
    for (size_t i = 0; i < rows; i++)
        for (size_t j = 0; j < cols; j++) {
            double magnitude = 0;
            for (size_t k = 0; k < n; k++)
                magnitude += fabs((double)(ta ? a[k * rows + i] : a[i * n + k]) * (double)(tb ? b[j * n + k] : b[k * cols + j]));
            double off = fabs((double)got[i * cols + j] - reference[i * cols + j]), bound = 0x1p-24 * (double)(n + 8) * magnitude;
            cr_assert(off <= bound, "%s [%zu,%zu]: off by %g, bound %g", name, i, j, off, bound);
        }
    fp4_free(reference);
    vectors_compare_f32(v, name, got, rows * cols, 4);
}

struct golden_case { const char *name, *x, *w; bool frozen; };

static void check_case(struct vectors *v, const struct golden_case *c, size_t T, size_t N, size_t K, const float *x, const float *w, const float *dy) {
    char name[64], spelling[96];
    struct fp4_linear *l;
    struct fp4_model *m = layer_model(N, K, w, &l);
    struct fp4_policy p = {.frozen_weight = c->frozen};
    struct products out;
    float *xq, *wq;
    /* as the file says: dY unquantized, and the backward pass uses the forward's operands as they stand */
    snprintf(spelling, sizeof spelling, "%s", c->x);
    must(fp4_quantizer_parse(spelling, &p.operand[FP4_FWD_X]));
    must(fp4_quantizer_parse(c->w, &p.operand[FP4_FWD_W]));
    p.operand[FP4_DGRAD_W] = p.operand[FP4_FWD_W];
    p.operand[FP4_WGRAD_X] = p.operand[FP4_FWD_X];
    p.operand[FP4_DGRAD_W].stored = p.operand[FP4_WGRAD_X].stored = true;
    l->policy = p;
    must(FP4_NEW(xq, T * K));
    must(FP4_NEW(wq, N * K));
    must(fp4_fake_quantize(&p.operand[FP4_FWD_X], T, K, x, xq, NULL));
    must(fp4_fake_quantize(&p.operand[FP4_FWD_W], N, K, w, wq, NULL));
    run_layer(m, l, T, x, dy, &out);
    snprintf(name, sizeof name, "%s.y", c->name);
    check_bound(v, name, out.y, T, N, K, xq, false, wq, true);
    snprintf(name, sizeof name, "%s.dX", c->name);
    check_bound(v, name, out.dx, T, K, N, dy, false, wq, false);
    snprintf(name, sizeof name, "%s.dW", c->name);
    if (c->frozen)
        vectors_compare_f32(v, name, out.dw, N * K, 0);
    else
        check_bound(v, name, out.dw, N, K, T, dy, true, xq, false);
    free_products(&out);
    fp4_free(xq);
    fp4_free(wq);
    fp4_model_free(m);
}

/* Codes, scales and values: exact. Two codes a byte, the first in the high half. */
static void check_bnb_weight(struct vectors *v, size_t N, size_t K, const float *w) {
    struct fp4_quantizer q;
    struct fp4_qtensor t;
    size_t blocks;
    double *codes = vectors_read(v, "bnb_fp4_frozen.W_codes", NULL), *absmax = vectors_read(v, "bnb_fp4_frozen.W_absmax", &blocks);
    float *y, *reference = read_f32(v, "bnb_fp4_frozen.W_hat");
    must(FP4_NEW(y, N * K));
    must(fp4_quantizer_parse("bnbfp4:cuda", &q));
    must(fp4_fake_quantize(&q, N, K, w, y, NULL));
    must(fp4_quantize(&q, N, K, w, NULL, &t));
    cr_assert_eq(t.scale_bytes, blocks * sizeof(float));
    for (size_t i = 0; i < N * K; i++) {
        cr_assert_eq(i % 2 ? t.data[i / 2] & 15 : t.data[i / 2] >> 4, (int)codes[i], "bnb_fp4_frozen.W_codes[%zu]", i);
        cr_assert_eq(y[i], reference[i], "bnb_fp4_frozen.W_hat[%zu]: %.9g, reference %.9g", i, (double)y[i], (double)reference[i]);
    }
    for (size_t i = 0; i < blocks; i++) {
        float scale;
        memcpy(&scale, t.scales + i * sizeof scale, sizeof scale);
        cr_assert_eq(scale, (float)absmax[i], "bnb_fp4_frozen.W_absmax[%zu]", i);
    }
    v->used += 3;
    fp4_qtensor_free(&t);
    fp4_free(codes);
    fp4_free(absmax);
    fp4_free(y);
    fp4_free(reference);
}

Test(policy, golden) {
    static const struct golden_case cases[] = {{"none", "none", "none", false}, {"nvfp4_te", "nvfp4:te", "nvfp4:te", false},
                                               {"bnb_fp4_frozen", "none", "bnbfp4:cuda", true}};
    struct vectors v;
    struct fp4_quantizer q;
    char folder[512];
    snprintf(folder, sizeof folder, "%s", golden_file("models/policy"));
    vectors_open(&v, folder, "policy.safetensors");
    const struct fp4_stored *sx = vectors_stored(&v, "x"), *sw = vectors_stored(&v, "W");
    size_t T = sx->shape[0], K = sx->shape[1], N = sw->shape[0];
    float *x = read_f32(&v, "x"), *w = read_f32(&v, "W"), *dy = read_f32(&v, "dY");
    check_nvfp4(&v, "x", T, K, x);
    check_nvfp4(&v, "W", N, K, w);
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        if (fp4_quantizer_parse(cases[i].w, &q) != FP4_OK) {
            fprintf(stderr, "SKIPPED policy/%s: %s\n", cases[i].name, fp4_last_error());
            continue;
        }
        if (cases[i].frozen)
            check_bnb_weight(&v, N, K, w);
        check_case(&v, &cases[i], T, N, K, x, w, dy);
    }
    golden_count("models", v.used);
    fp4_free(x);
    fp4_free(w);
    fp4_free(dy);
    vectors_close(&v);
}

/* ---- every product by hand ---- */

enum { T = 32, N = 48, K = 64 };

static void normal(uint32_t operand, size_t n, float *x) {
    struct fp4_random r = {.seed = 5, .stream = FP4_STREAM_TEST, .operand = operand};
    fp4_random_normal(&r, 0, n, x);
}

static void turn(size_t rows, size_t cols, const float *x, float *y) {
    for (size_t i = 0; i < rows; i++)
        for (size_t j = 0; j < cols; j++)
            y[j * rows + i] = x[i * cols + j];
}

/* An operand as [outer, reduction], quantized along the reduction, or along the other axis when `stored` runs there. In the original
 * basis: a transform is undone here whatever the other operand has. */
static void operand(const struct fp4_quantizer *q, size_t outer, size_t reduction, const float *x, bool stored_otherwise,
                    const struct fp4_random *r, float *y) {
    float sign[128], *t;
    size_t n = outer * reduction;
    must(FP4_NEW(t, n));
    memcpy(y, x, n * sizeof *y);
    if (q->format && q->stored && stored_otherwise) {
        turn(outer, reduction, x, t);
        must(fp4_fake_quantize(q, reduction, outer, t, t, r));
        turn(reduction, outer, t, y);
    } else if (q->format) {
        must(fp4_fake_quantize(q, outer, reduction, x, y, r));
        if (q->hadamard) {
            fp4_hadamard_signs(r->seed, (size_t)q->hadamard, sign);
            must(fp4_hadamard_inverse((size_t)q->hadamard, outer, reduction, sign, y));
        }
    }
    fp4_free(t);
}

/* a [rows, n] · b [cols, n]ᵀ in float64 against what the layer gave. The bound has 24 roundings for the transforms and their inverses
 * beside the sum's own. */
static void check_by_hand(const char *what, const float *a, const float *b, size_t rows, size_t cols, size_t n, const float *got) {
    for (size_t i = 0; i < rows; i++) {
        double largest_a = 0;
        for (size_t k = 0; k < n; k++)
            largest_a += (double)a[i * n + k] * (double)a[i * n + k];
        for (size_t j = 0; j < cols; j++) {
            double sum = 0, largest_b = 0;
            for (size_t k = 0; k < n; k++) {
                sum += (double)a[i * n + k] * (double)b[j * n + k];
                largest_b += (double)b[j * n + k] * (double)b[j * n + k];
            }
            double bound = 0x1p-24 * (double)(n + 24) * sqrt(largest_a * largest_b), off = fabs((double)got[i * cols + j] - sum);
            cr_assert(off <= bound, "%s [%zu,%zu]: %.9g, by hand %.9g, bound %g", what, i, j, (double)got[i * cols + j], sum, bound);
        }
    }
}

/* spelling: of the six operands in order, NULL for none. */
static void check_policy(const char *const spelling[FP4_OPERANDS], const struct fp4_pass *pass) {
    static float x[T * K], w[N * K], dy[T * N], xt[K * T], wt[K * N], dyt[N * T], a[4096], b[4096];
    struct fp4_linear *l;
    struct products out;
    normal(1, T * K, x);
    normal(2, N * K, w);
    normal(3, T * N, dy);
    turn(T, K, x, xt);
    turn(N, K, w, wt);
    turn(T, N, dy, dyt);
    struct fp4_model *m = layer_model(N, K, w, &l);
    struct fp4_quantizer *q = l->policy.operand;
    for (int i = 0; i < FP4_OPERANDS; i++)
        if (spelling[i])
            must(fp4_quantizer_parse(spelling[i], &q[i]));
    fp4_model_set_pass(m, pass);
    run_layer(m, l, T, x, dy, &out);
    struct fp4_random r = {.seed = pass->seed, .stream = FP4_STREAM_ROUND, .step = pass->step, .layer = (uint32_t)m->block[0].up};
    r.operand = FP4_FWD_X, operand(&q[FP4_FWD_X], T, K, x, false, &r, a);
    r.operand = FP4_FWD_W, operand(&q[FP4_FWD_W], N, K, w, false, &r, b);
    check_by_hand("y", a, b, T, N, K, out.y);
    r.operand = FP4_DGRAD_DY, operand(&q[FP4_DGRAD_DY], T, N, dy, false, &r, a);
    /* one quantizer, one layout: one quantized weight */
    bool one_weight = spelling[FP4_FWD_W] && spelling[FP4_DGRAD_W] && !strcmp(spelling[FP4_FWD_W], spelling[FP4_DGRAD_W]) && q[FP4_FWD_W].stored;
    r.operand = one_weight ? FP4_FWD_W : FP4_DGRAD_W, operand(&q[FP4_DGRAD_W], K, N, wt, true, &r, b);
    check_by_hand("dx", a, b, T, K, N, out.dx);
    r.operand = FP4_WGRAD_DY, operand(&q[FP4_WGRAD_DY], N, T, dyt, true, &r, a);
    r.operand = FP4_WGRAD_X, operand(&q[FP4_WGRAD_X], K, T, xt, true, &r, b);
    check_by_hand("dW", a, b, N, K, T, out.dw);
    free_products(&out);
    fp4_model_free(m);
}

Test(policy, products_by_hand) {
    const struct fp4_pass pass = {.seed = 7, .step = 3};
    static const char *const cases[][FP4_OPERANDS] = {
        {"nvfp4:te", "nvfp4:te", "nvfp4:te", "nvfp4:te", "nvfp4:te", "nvfp4:te"},
        {"nvfp4:te", "mxfp4:floor", NULL, "nvfp4:te,stored", "nvfp4:te,stored", NULL},
        {"nvfp4:te,had16", "nvfp4:te,had16", "nvfp4:te,had16", "nvfp4:te,had16", "nvfp4:te,had16", "nvfp4:te,had16"},
        {"nvfp4:te,had16", NULL, NULL, "nvfp4:te,had16", "nvfp4:te,had16", "nvfp4:te"},       /* one side only: undone */
        {"nvfp4:te,had32", "nvfp4:te,had16", "nvfp4:te,had16", "nvfp4:te,stored", NULL, "mxfp4:floor,had32"},
        {"nvfp4:te", "nvfp4:te", "nvfp4:te,sr", "nvfp4:te", "nvfp4:te,sr,had16", "nvfp4:te,had16"},
        {NULL, "tta_v1,sr", NULL, "tta_v1,sr", NULL, NULL},
        {NULL, "nvfp4:te,sr", NULL, "nvfp4:te,sr", NULL, NULL}, /* two layouts: two draws */
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++)
        check_policy(cases[i], &pass);
}

/* Stochastic rounding depends on seed, step, layer and operand, and on nothing else. */
Test(policy, rounding_is_addressed) {
    static float x[T * K], w[N * K], dy[T * N];
    struct fp4_linear *l;
    struct products out[3];
    normal(1, T * K, x);
    normal(2, N * K, w);
    normal(3, T * N, dy);
    struct fp4_model *m = layer_model(N, K, w, &l);
    must(fp4_quantizer_parse("nvfp4:te,sr", &l->policy.operand[FP4_DGRAD_DY]));
    l->policy.operand[FP4_WGRAD_DY] = l->policy.operand[FP4_DGRAD_DY];
    for (int i = 0; i < 3; i++) {
        fp4_model_set_pass(m, &(struct fp4_pass){.seed = 1, .step = i == 1 ? 2 : 1});
        run_layer(m, l, T, x, dy, &out[i]);
    }
    cr_assert_arr_eq(out[0].dx, out[2].dx, T * K * sizeof *x, "the same address");
    cr_assert_arr_eq(out[0].dw, out[2].dw, N * K * sizeof *x, "the same address");
    cr_assert_arr_neq(out[0].dx, out[1].dx, T * K * sizeof *x, "another step");
    cr_assert_arr_neq(out[0].dw, out[1].dw, N * K * sizeof *x, "another step");
    cr_assert_arr_eq(out[0].y, out[1].y, T * N * sizeof *x, "the forward product has no such operand");
    for (int i = 0; i < 3; i++)
        free_products(&out[i]);
    fp4_model_free(m);
}

/* 16×16 blocks along either axis give the same weight to the forward product and to the input gradient. */
Test(policy, square_blocks_turn) {
    static float x[T * K], w[N * K], dy[T * N], wq[N * K], wt[K * N];
    struct fp4_linear *l;
    struct products out;
    normal(1, T * K, x);
    normal(2, N * K, w);
    normal(3, T * N, dy);
    struct fp4_model *m = layer_model(N, K, w, &l);
    must(fp4_quantizer_parse("nvfp4:te,2d", &l->policy.operand[FP4_FWD_W]));
    l->policy.operand[FP4_DGRAD_W] = l->policy.operand[FP4_FWD_W];
    must(fp4_fake_quantize(&l->policy.operand[FP4_FWD_W], N, K, w, wq, NULL));
    turn(N, K, wq, wt);
    run_layer(m, l, T, x, dy, &out);
    check_by_hand("y", x, wq, T, N, K, out.y);
    check_by_hand("dx", dy, wt, T, K, N, out.dx);
    free_products(&out);
    fp4_model_free(m);
}
