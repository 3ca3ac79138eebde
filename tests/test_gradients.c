/* Gradients against central differences of a float64 forward pass that is written here, on its own: token by token, rotation as
 * multiplication of complex numbers, attention as a plain sum. */
#include "tests/support.h"

#include "fp4lab/model.h"
#include "lib/model/internal.h"

#include <complex.h>
#include <math.h>
#include <string.h>

/* ---- the float64 model ---- */

struct wide {
    const struct fp4_config *c;
    struct fp4_model *m;
    double **param; /* [n_params] */
    size_t T, b;    /* b: which of the sequences this is */
    struct fp4_pass pass;
    double *x, *q, *k, *v; /* [T, d], [T, H·D], [T, KV·D] ×2 */
};

static const double *named(const struct wide *w, const char *name) {
    struct fp4_param *p = fp4_model_find_param(w->m, name);
    return p ? w->param[p - fp4_model_param(w->m, 0)] : NULL;
}
/* NULL: the family has no such part. */
static const double *part(const struct wide *w, size_t layer, const char *name, const char *ending) {
    char full[96];
    snprintf(full, sizeof full, "model.%slayers.%zu.%s.%s", w->c->arch == FP4_ARCH_OPT ? "decoder." : "", layer, name, ending);
    return named(w, full);
}

static void multiply(const double *matrix, size_t n_out, size_t n_in, const double *bias, const double *x, double *y) {
    for (size_t i = 0; i < n_out; i++) {
        y[i] = bias ? bias[i] : 0;
        for (size_t j = 0; j < n_in; j++)
            y[i] += matrix[i * n_in + j] * x[j];
    }
}
/* A linear layer of a block. */
static void apply(const struct wide *w, size_t layer, const char *name, size_t n_out, size_t n_in, const double *x, double *y) {
    multiply(part(w, layer, name, "weight"), n_out, n_in, part(w, layer, name, "bias"), x, y);
}

/* What keeps an element in a training pass: 1/(1 − p), or 0. */
static double kept(const struct wide *w, size_t layer, enum fp4_drop_site site, uint64_t element, double p) {
    struct fp4_random r = {.seed = w->pass.seed, .stream = FP4_STREAM_DROPOUT, .step = w->pass.step, .layer = (uint32_t)layer, .operand = (uint32_t)site};
    float u;
    if (!w->pass.training || p == 0)
        return 1;
    fp4_random_uniform(&r, element, 1, &u);
    return u >= (float)p ? 1 / (1 - p) : 0;
}

/* RMSNorm, or LayerNorm where there is a bias. y == x is fine. */
static void normalise(const struct wide *w, const double *gain, const double *bias, const double *x, double *y) {
    double square = 0, mean = 0, n = (double)w->c->n_embd;
    for (size_t i = 0; bias && i < w->c->n_embd; i++)
        mean += x[i] / n;
    for (size_t i = 0; i < w->c->n_embd; i++)
        square += (x[i] - mean) * (x[i] - mean);
    for (size_t i = 0; i < w->c->n_embd; i++)
        y[i] = gain[i] * (x[i] - mean) / sqrt(square / n + (double)w->c->norm_eps) + (bias ? bias[i] : 0);
}
static void block_norm(const struct wide *w, size_t layer, const char *name, const double *x, double *y) {
    normalise(w, part(w, layer, name, "weight"), part(w, layer, name, "bias"), x, y);
}
static bool is_opt(const struct wide *w) { return w->c->arch == FP4_ARCH_OPT; }

/* Channels (c, c + D/2) of a head are one complex number; position t turns it by t·f_c, the write-up's net the other way. */
static void turn_head(const struct wide *w, double *head, size_t t) {
    size_t D = w->c->head_dim;
    if (w->c->no_positions || is_opt(w))
        return;
    for (size_t c = 0; c < D / 2; c++) {
        double f = pow(w->c->rope_theta, -(double)c / (double)(D / 2)), sense = 1;
        if (w->c->arch == FP4_ARCH_WRITEUP_D) {
            f = c < D / 4 ? pow(w->c->rope_theta, -(double)c / ((double)D / 4 - 1)) : 0;
            sense = -1;
        }
        double complex z = (head[c] + I * head[c + D / 2]) * cexp(I * sense * (double)t * f);
        head[c] = creal(z);
        head[c + D / 2] = cimag(z);
    }
}

static void project(struct wide *w, size_t layer, size_t t) {
    const struct fp4_config *c = w->c;
    size_t d = c->n_embd, A = c->n_head * c->head_dim, K = c->n_kv_head * c->head_dim;
    double h[64];
    const double *qkv = part(w, layer, "self_attn.qkv_proj", "weight");
    memcpy(h, w->x + t * d, d * sizeof *h);
    if (!c->norm_after)
        block_norm(w, layer, is_opt(w) ? "self_attn_layer_norm" : "input_layernorm", h, h);
    if (qkv) {
        multiply(qkv, A, d, NULL, h, w->q + t * A);
        multiply(qkv + A * d, K, d, NULL, h, w->k + t * K);
        multiply(qkv + (A + K) * d, K, d, NULL, h, w->v + t * K);
    } else {
        apply(w, layer, "self_attn.q_proj", A, d, h, w->q + t * A);
        apply(w, layer, "self_attn.k_proj", K, d, h, w->k + t * K);
        apply(w, layer, "self_attn.v_proj", K, d, h, w->v + t * K);
    }
    for (size_t i = 0; i < c->n_head; i++)
        turn_head(w, w->q + t * A + i * c->head_dim, t);
    for (size_t i = 0; i < c->n_kv_head; i++)
        turn_head(w, w->k + t * K + i * c->head_dim, t);
}

/* x += what a half computed, dropped out. */
static void add_branch(const struct wide *w, size_t layer, enum fp4_drop_site site, size_t t, const double *out) {
    size_t d = w->c->n_embd;
    for (size_t j = 0; j < d; j++)
        w->x[t * d + j] += out[j] * kept(w, layer, site, (w->b * w->T + t) * d + j, w->c->dropout);
}

static void attend(struct wide *w, size_t layer, size_t t) {
    const struct fp4_config *c = w->c;
    size_t D = c->head_dim, A = c->n_head * D, K = c->n_kv_head * D;
    double mixed[64] = {0}, out[64];
    for (size_t i = 0; i < c->n_head; i++) {
        size_t g = i / (c->n_head / c->n_kv_head);
        double total = 0;
        for (size_t s = 0; s <= t; s++) {
            double score = 0, keep = kept(w, layer, DROP_PROBABILITIES, ((w->b * c->n_head + i) * w->T + t) * w->T + s, c->attention_dropout);
            for (size_t j = 0; j < D; j++)
                score += w->q[t * A + i * D + j] * w->k[s * K + g * D + j];
            score = exp(score / sqrt((double)D));
            total += score;
            for (size_t j = 0; j < D; j++)
                mixed[i * D + j] += score * keep * w->v[s * K + g * D + j];
        }
        for (size_t j = 0; j < D; j++)
            mixed[i * D + j] /= total;
    }
    apply(w, layer, is_opt(w) ? "self_attn.out_proj" : "self_attn.o_proj", c->n_embd, A, mixed, out);
    add_branch(w, layer, DROP_ATTENTION, t, out);
    if (c->norm_after)
        block_norm(w, layer, "self_attn_layer_norm", w->x + t * c->n_embd, w->x + t * c->n_embd);
}

static double activation(const struct fp4_config *c, double x) {
    double u = sqrt(8 / 3.141592653589793) * (x + 0.044715 * x * x * x);
    switch (c->activation) {
    case FP4_ACT_RELU: return x > 0 ? x : 0;
    case FP4_ACT_GELU: return x * 0.5 * erfc(-x / sqrt(2));
    case FP4_ACT_GELU_TANH: return x * 0.5 * (1 + tanh(u / 2));
    default: return x / (1 + exp(-x));
    }
}

static void feed_forward(struct wide *w, size_t layer, size_t t) {
    const struct fp4_config *c = w->c;
    double h[64], up[64], gate[64], out[64], *x = w->x + t * c->n_embd;
    bool gated = part(w, layer, "mlp.gate_proj", "weight") != NULL;
    memcpy(h, x, c->n_embd * sizeof *h);
    if (!c->norm_after)
        block_norm(w, layer, is_opt(w) ? "final_layer_norm" : "post_attention_layernorm", h, h);
    apply(w, layer, is_opt(w) ? "fc1" : "mlp.up_proj", c->n_ff, c->n_embd, h, up);
    if (gated)
        apply(w, layer, "mlp.gate_proj", c->n_ff, c->n_embd, h, gate);
    for (size_t j = 0; j < c->n_ff; j++)
        up[j] = gated ? up[j] * gate[j] / (1 + exp(-gate[j])) : activation(c, up[j]);
    apply(w, layer, is_opt(w) ? "fc2" : "mlp.down_proj", c->n_embd, c->n_ff, up, out);
    add_branch(w, layer, DROP_MLP, t, out);
    if (c->norm_after)
        block_norm(w, layer, "final_layer_norm", x, x);
}

/* Logits of position t from x; all others are ignored. */
static void head(const struct wide *w, size_t t, double *logits) {
    const double *gain = named(w, is_opt(w) ? "model.decoder.final_layer_norm.weight" : "model.norm.weight");
    const double *matrix = w->c->tied_head ? w->param[0] : named(w, "lm_head.weight");
    double h[64];
    memcpy(h, w->x + t * w->c->n_embd, w->c->n_embd * sizeof *h);
    if (gain)
        normalise(w, gain, named(w, "model.decoder.final_layer_norm.bias"), h, h);
    multiply(matrix, w->c->n_vocab, w->c->n_embd, NULL, h, logits);
}

static void forward(struct wide *w, const int32_t *tokens) {
    const struct fp4_config *c = w->c;
    const double *positions = named(w, "model.decoder.embed_positions.weight");
    for (size_t t = 0; t < w->T; t++)
        for (size_t j = 0; j < c->n_embd; j++)
            w->x[t * c->n_embd + j] = w->param[0][(size_t)tokens[t] * c->n_embd + j] * (c->arch == FP4_ARCH_WRITEUP_D ? sqrt((double)c->n_embd) : 1) +
                                      (positions ? positions[(t + 2) * c->n_embd + j] : 0);
    for (size_t layer = 0; layer < c->n_layer; layer++) {
        for (size_t t = 0; t < w->T; t++)
            project(w, layer, t);
        for (size_t t = 0; t < w->T; t++) {
            attend(w, layer, t);
            feed_forward(w, layer, t);
        }
    }
}

/* ---- what is differentiated ---- */

struct problem {
    struct fp4_config config;
    size_t B, T, every; /* every n-th element of each parameter */
    bool entropy, training;
};

static double log_sum(const double *z, size_t n) {
    double sum = 0;
    for (size_t i = 0; i < n; i++)
        sum += exp(z[i]);
    return log(sum);
}

static double objective(struct wide *w, const struct problem *p, const int32_t *tokens, const int32_t *targets) {
    double logits[64], sum = 0;
    size_t counted = 0, V = w->c->n_vocab;
    for (size_t b = 0; b < p->B; b++) {
        w->b = b;
        forward(w, tokens + b * p->T);
        for (size_t t = p->entropy ? p->T - 1 : 0; t < p->T; t++) {
            if (!p->entropy && targets[b * p->T + t] < 0)
                continue;
            head(w, t, logits);
            double lse = log_sum(logits, V);
            if (!p->entropy)
                sum += lse - logits[targets[b * p->T + t]];
            for (size_t i = 0; p->entropy && i < V; i++)
                sum -= exp(logits[i] - lse) * log(exp(logits[i] - lse) + 1e-8);
            counted++;
        }
    }
    return p->entropy ? sum : sum / (double)counted;
}

/* Weights of order 0.2 instead of the initial 0.02, norms around 1: every term matters. */
static void randomise(struct fp4_model *m, double **param) {
    for (size_t i = 0; i < fp4_model_n_params(m); i++) {
        struct fp4_param *p = fp4_model_param(m, i);
        struct fp4_random r = {.seed = 3, .stream = FP4_STREAM_TEST, .layer = (uint32_t)i};
        float *z;
        must(FP4_NEW(z, p->elements));
        must(FP4_NEW(param[i], p->elements));
        fp4_random_normal(&r, 0, p->elements, z);
        for (size_t j = 0; j < p->elements; j++) {
            z[j] = p->rows == 1 ? 1 + 0.1f * z[j] : 0.2f * z[j];
            param[i][j] = (double)z[j];
        }
        must(fp4_model_set(m, p, z));
        fp4_free(z);
    }
}

/* A fp32 gradient differs from the true one by at most 5e-6 of the tensor's largest element in the measurements of
 * golden/models (deviations.json, grad.*); four times that is allowed. Step 1e-5: the difference quotient itself is off by
 * about h² + 2⁻⁵²/h < 1e-9. */
static void check_param(struct wide *w, const struct problem *pr, size_t i, const int32_t *tokens, const int32_t *targets) {
    struct fp4_param *p = fp4_model_param(w->m, i);
    const double h = 1e-5;
    float *grad, largest = 0;
    must(FP4_NEW(grad, p->elements));
    must(fp4_model_get_grad(w->m, p, grad));
    for (size_t j = 0; j < p->elements; j++)
        largest = fmaxf(largest, fabsf(grad[j]));
    /* softmax does not see what is added to all scores of a row: noise */
    bool noise = strstr(p->name, "k_proj.bias") != NULL;
    cr_assert(largest > 0 || noise, "%s has no gradient", p->name);
    for (size_t j = 0; j < p->elements; j += pr->every) {
        double value = w->param[i][j];
        w->param[i][j] = value + h;
        double up = objective(w, pr, tokens, targets);
        w->param[i][j] = value - h;
        double difference = (up - objective(w, pr, tokens, targets)) / (2 * h);
        w->param[i][j] = value;
        cr_assert(fabs((double)grad[j] - difference) <= 2e-5 * (double)largest + (noise ? 1e-7 : 1e-8), "%s[%zu]: gradient %.9g, difference quotient %.9g (largest %g)",
                  p->name, j, (double)grad[j], difference, (double)largest);
    }
    fp4_free(grad);
}

static void check(const struct problem *p) {
    const struct fp4_config *c = &p->config;
    struct wide w = {.c = c, .T = p->T, .pass = {.seed = 5, .step = 7, .training = p->training}};
    size_t R = p->B * p->T, A = c->n_head * c->head_dim, K = c->n_kv_head * c->head_dim;
    int32_t *tokens, *targets;
    double loss;
    must(fp4_model_create(c, 1, fp4_backend_cpu(), &w.m));
    must(FP4_NEW(w.param, fp4_model_n_params(w.m)));
    must(FP4_NEW(w.x, p->T * c->n_embd));
    must(FP4_NEW(w.q, p->T * A));
    must(FP4_NEW(w.k, p->T * K));
    must(FP4_NEW(w.v, p->T * K));
    must(FP4_NEW(tokens, R));
    must(FP4_NEW(targets, R));
    randomise(w.m, w.param);
    for (size_t i = 0; i < R; i++) {
        tokens[i] = (int32_t)((i * i + 3 * i) % (c->n_vocab - 2)); /* some tokens repeat, some do not occur */
        targets[i] = i % 5 == 4 ? -1 : (int32_t)((7 * i + 1) % c->n_vocab);
    }
    fp4_model_set_pass(w.m, &w.pass);
    must(fp4_model_enable_grad(w.m));
    if (p->entropy) {
        must(fp4_model_entropy_backward(w.m, tokens, p->T, NULL, &loss, NULL));
    } else {
        must(fp4_model_loss_backward(w.m, tokens, targets, p->B, p->T, 0.5f, &loss)); /* two halves add up */
        must(fp4_model_loss_backward(w.m, tokens, targets, p->B, p->T, 0.5f, &loss));
    }
    double expected = objective(&w, p, tokens, targets);
    cr_assert(fabs(loss - expected) <= 2e-6 * fabs(expected), "loss %.9g, float64 %.9g", loss, expected);
    for (size_t i = 0; i < fp4_model_n_params(w.m); i++)
        check_param(&w, p, i, tokens, targets);
    for (size_t i = 0; i < fp4_model_n_params(w.m); i++)
        fp4_free(w.param[i]);
    fp4_free(w.param);
    fp4_free(w.x);
    fp4_free(w.q);
    fp4_free(w.k);
    fp4_free(w.v);
    fp4_free(tokens);
    fp4_free(targets);
    fp4_model_free(w.m);
}

static struct fp4_config llama(bool tied) {
    return (struct fp4_config){.arch = FP4_ARCH_LLAMA, .n_vocab = 23, .n_embd = 12, .n_layer = 2, .n_head = 4, .n_kv_head = 2, .head_dim = 4,
                               .n_ff = 20, .n_ctx = 128, .norm_eps = 1e-5f, .rope_theta = 1e4, .tied_head = tied, .bos_id = -1, .eos_id = -1};
}
static struct fp4_config writeup(bool no_positions) {
    return (struct fp4_config){.arch = FP4_ARCH_WRITEUP_D, .n_vocab = 19, .n_embd = 16, .n_layer = 2, .n_head = 2, .n_kv_head = 2, .head_dim = 8,
                               .n_ff = 24, .n_ctx = 128, .norm_eps = 0x1p-23f, .rope_theta = 1e4, .no_positions = no_positions, .bos_id = -1, .eos_id = -1};
}

static struct fp4_config opt(enum fp4_activation activation, bool after) {
    return (struct fp4_config){.arch = FP4_ARCH_OPT, .n_vocab = 21, .n_embd = 12, .n_layer = 2, .n_head = 3, .n_kv_head = 3, .head_dim = 4, .n_ff = 20,
                               .n_ctx = 128, .norm_eps = 1e-5f, .tied_head = !after, .attention_bias = true, .mlp_bias = true, .norm_after = after,
                               .activation = activation, .bos_id = -1, .eos_id = -1};
}
static struct fp4_config dropping(struct fp4_config c, double dropout, double attention_dropout) {
    c.dropout = dropout;
    c.attention_dropout = attention_dropout;
    return c;
}

Test(gradients, llama_tied) { check(&(struct problem){llama(true), 2, 7, 1, false, false}); }
Test(gradients, llama_untied) { check(&(struct problem){llama(false), 1, 6, 2, false, false}); }
Test(gradients, llama_entropy) { check(&(struct problem){llama(true), 1, 9, 1, true, false}); }
Test(gradients, writeup) { check(&(struct problem){writeup(false), 2, 6, 2, false, false}); }
Test(gradients, writeup_no_positions) { check(&(struct problem){writeup(true), 1, 7, 3, true, false}); }
/* more queries than one tile of attention, more rows than one task */
Test(gradients, several_tiles) { check(&(struct problem){llama(false), 1, 70, 29, false, false}); }
Test(gradients, opt_relu) { check(&(struct problem){opt(FP4_ACT_RELU, false), 2, 6, 2, false, false}); }
Test(gradients, opt_gelu_norm_after) { check(&(struct problem){opt(FP4_ACT_GELU, true), 2, 6, 2, false, false}); }
Test(gradients, opt_gelu_tanh) { check(&(struct problem){opt(FP4_ACT_GELU_TANH, false), 1, 6, 3, false, false}); }
/* the same elements are dropped in both passes */
Test(gradients, opt_dropout) { check(&(struct problem){dropping(opt(FP4_ACT_GELU, false), 0.3, 0.2), 2, 6, 2, false, true}); }
Test(gradients, opt_dropout_norm_after) { check(&(struct problem){dropping(opt(FP4_ACT_RELU, true), 0.3, 0), 1, 7, 2, true, true}); }
Test(gradients, writeup_dropout) { check(&(struct problem){dropping(writeup(false), 0.1, 0), 2, 6, 3, false, true}); }
Test(gradients, llama_attention_dropout) { check(&(struct problem){dropping(llama(true), 0, 0.4), 1, 70, 151, false, true}); }
