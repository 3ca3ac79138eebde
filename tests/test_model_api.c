/* What models promise beside their numbers: files, snapshots, frozen weights, replicates, hooks, blocks, the cache, errors. */
#include "tests/folders.h"
#include "tests/support.h"

#include "fp4lab/model.h"
#include "lib/backend/backend.h"

#include <math.h>
#include <string.h>

enum { N = 40 };

static struct fp4_config config_of(enum fp4_arch arch) {
    return (struct fp4_config){.arch = arch, .n_vocab = 300, .n_embd = 64, .n_layer = 2, .n_head = 4, .n_kv_head = arch == FP4_ARCH_LLAMA ? 2 : 4,
                               .head_dim = 16, .n_ff = 96, .n_ctx = 600, .norm_eps = 1e-5f, .rope_theta = 1e4, .tied_head = arch == FP4_ARCH_LLAMA,
                               .bos_id = -1, .eos_id = -1};
}
/* Initial weights are small; ten times as large, positions and tokens differ clearly. */
static struct fp4_model *model_of(enum fp4_arch arch) {
    struct fp4_config c = config_of(arch);
    struct fp4_model *m;
    must(fp4_model_create(&c, 9, fp4_backend_cpu(), &m));
    for (size_t i = 0; i < fp4_model_n_params(m); i++) {
        struct fp4_param *p = fp4_model_param(m, i);
        if (p->rows > 1)
            must(fp4_backend_cpu()->scale(p->elements, 10.0f, p->data));
    }
    return m;
}
static void fill(int32_t *tokens, size_t n) {
    for (size_t i = 0; i < n; i++)
        tokens[i] = (int32_t)((i * i * 5 + i * 11 + 3) % 300);
}

Test(model_api, initial_weights) {
    struct fp4_config c = config_of(FP4_ARCH_LLAMA);
    struct fp4_model *a, *b;
    char hex[3][65];
    for (uint32_t seed = 1; seed <= 2; seed++) {
        must(fp4_model_create(&c, seed, fp4_backend_cpu(), &a));
        must(fp4_model_create(&c, seed, fp4_backend_cpu(), &b));
        must(fp4_model_hash(a, hex[seed]));
        must(fp4_model_hash(b, hex[0]));
        cr_assert_str_eq(hex[seed], hex[0], "the same seed");
        fp4_model_free(a);
        fp4_model_free(b);
    }
    cr_assert_str_neq(hex[1], hex[2], "another seed");
    must(fp4_model_create(&c, 1, fp4_backend_cpu(), &a));
    struct fp4_param *p = fp4_model_find_param(a, "model.embed_tokens.weight");
    double sum = 0, square = 0, n = (double)p->elements;
    for (size_t i = 0; i < p->elements; i++) {
        sum += (double)p->data[i];
        square += (double)p->data[i] * (double)p->data[i];
    }
    /* mean and variance of n normal numbers: five standard deviations */
    cr_assert(fabs(sum / n) < 5 * 0.02 / sqrt(n));
    cr_assert(fabs(square / n / 4e-4 - 1) < 5 * sqrt(2 / n));
    cr_assert_eq(fp4_model_find_param(a, "model.norm.weight")->data[5], 1.0f);
    cr_assert_null(fp4_model_find_param(a, "lm_head.weight"), "a tied head is not listed");
    fp4_model_free(a);
}

static void check_round_trip(enum fp4_arch arch) {
    struct fp4_model *m = model_of(arch), *again;
    char folder[FOLDER_MAX], hex[2][65];
    int32_t tokens[N];
    float a[300], b[300];
    folder_make(folder);
    must(fp4_model_save(m, folder));
    must(fp4_model_load(folder, fp4_backend_cpu(), &again));
    must(fp4_model_hash(m, hex[0]));
    must(fp4_model_hash(again, hex[1]));
    cr_assert_str_eq(hex[0], hex[1]);
    fill(tokens, N);
    must(fp4_model_logits(m, tokens, N, 1, a));
    must(fp4_model_logits(again, tokens, N, 1, b));
    cr_assert_arr_eq(a, b, sizeof a, "logits of the reloaded model");
    fp4_model_free(m);
    fp4_model_free(again);
}
Test(model_api, save_and_load) {
    check_round_trip(FP4_ARCH_LLAMA);
    check_round_trip(FP4_ARCH_WRITEUP_D);
}

Test(model_api, snapshot_restores) {
    struct fp4_model *m = model_of(FP4_ARCH_LLAMA);
    struct fp4_snapshot *s;
    struct fp4_optimizer *o;
    struct fp4_adamw h = {1e-2, 0.9, 0.999, 1e-8, 0.1};
    char hex[3][65];
    int32_t tokens[N];
    fill(tokens, N);
    must(fp4_model_snapshot(m, &s));
    must(fp4_model_hash(m, hex[0]));
    must(fp4_model_enable_grad(m));
    must(fp4_optimizer_create(m, &o));
    must(fp4_model_entropy_backward(m, tokens, N, NULL, NULL, NULL));
    must(fp4_optimizer_step(o, &h, 0, NULL));
    must(fp4_model_hash(m, hex[1]));
    must(fp4_model_restore(m, s));
    must(fp4_model_hash(m, hex[2]));
    cr_assert_str_neq(hex[0], hex[1]);
    cr_assert_str_eq(hex[0], hex[2]);
    fp4_snapshot_free(s);
    fp4_optimizer_free(o);
    fp4_model_free(m);
}

/* Frozen weights get no gradient and do not decay; everything else moves. */
Test(model_api, frozen_weights_stay) {
    struct fp4_model *m = model_of(FP4_ARCH_WRITEUP_D);
    struct fp4_optimizer *o;
    struct fp4_adamw h = {1e-2, 0.9, 0.999, 1e-8, 0.1};
    struct fp4_policy frozen = {.frozen_weight = true};
    float *before[32], *now;
    int32_t tokens[N], targets[N];
    double norm, expected = 0;
    fill(tokens, N);
    fill(targets, N);
    fp4_model_set_policy(m, &frozen, false);
    must(fp4_model_enable_grad(m));
    must(fp4_optimizer_create(m, &o));
    for (size_t i = 0; i < fp4_model_n_params(m); i++) {
        must(FP4_NEW(before[i], fp4_model_param(m, i)->elements));
        must(fp4_model_get(m, fp4_model_param(m, i), before[i]));
    }
    must(fp4_model_loss_backward(m, tokens, targets, 1, N, 1.0f, NULL));
    must(fp4_optimizer_step(o, &h, 0, &norm));
    for (size_t i = 0; i < fp4_model_n_params(m); i++) {
        struct fp4_param *p = fp4_model_param(m, i);
        bool linear = strstr(p->name, "_proj") != NULL;
        must(FP4_NEW(now, p->elements));
        must(fp4_model_get(m, p, now));
        cr_assert_eq(memcmp(now, before[i], p->elements * sizeof *now) == 0, linear, "%s", p->name);
        must(fp4_model_get_grad(m, p, now));
        for (size_t j = 0; j < p->elements; j++) {
            cr_assert(!linear || now[j] == 0, "%s has a gradient", p->name);
            expected += (double)now[j] * (double)now[j];
        }
        fp4_free(now);
        fp4_free(before[i]);
    }
    cr_assert(fabs(norm - sqrt(expected)) <= 1e-12 * norm, "the norm is over all gradients");
    fp4_optimizer_free(o);
    fp4_model_free(m);
}

/* ±2⁻²³ of every embedding element, the sign addressed by replicate, token and channel. */
Test(model_api, replicates_perturb_the_embedding) {
    struct fp4_model *m = model_of(FP4_ARCH_LLAMA);
    float base[3 * 64], x[3 * 64], again[3 * 64], other[3 * 64];
    const int32_t tokens[3] = {5, 17, 5};
    size_t up = 0;
    must(fp4_model_embed(m, tokens, 3, base));
    fp4_model_set_pass(m, &(struct fp4_pass){.replicate = 1});
    must(fp4_model_embed(m, tokens, 3, x));
    must(fp4_model_embed(m, tokens, 3, again));
    fp4_model_set_pass(m, &(struct fp4_pass){.replicate = 2});
    must(fp4_model_embed(m, tokens, 3, other));
    cr_assert_arr_eq(x, again, sizeof x);
    cr_assert_arr_eq(x, x + 2 * 64, 64 * sizeof *x, "the same token");
    cr_assert_arr_neq(x, other, sizeof x, "another replicate");
    for (size_t i = 0; i < 3 * 64; i++) {
        float low = base[i] * (1 - 0x1p-23f), high = base[i] * (1 + 0x1p-23f);
        cr_assert(x[i] == low || x[i] == high, "element %zu", i);
        up += x[i] == high;
    }
    cr_assert(up > 60 && up < 132, "%zu of 192 signs are positive", up); /* five standard deviations */
    fp4_model_free(m);
}

struct seen { size_t calls, rows; double sum; const char *first; };
static fp4_status count_call(void *context, const struct fp4_linear *l, const float *x, size_t n) {
    struct seen *s = context;
    if (s->calls++ == 0)
        s->first = l->name;
    s->rows += n;
    for (size_t i = 0; i < n * l->n_in; i++)
        s->sum += (double)x[i];
    return FP4_OK;
}

/* Block by block gives what the whole pass gives, and the hook sees every linear layer's input. */
Test(model_api, blocks_and_hooks) {
    struct fp4_model *m = model_of(FP4_ARCH_LLAMA);
    struct seen whole = {0}, parts = {0};
    int32_t tokens[N];
    float *hidden, *x;
    size_t d = fp4_model_config(m)->n_embd;
    fill(tokens, N);
    must(FP4_NEW(hidden, N * d));
    must(FP4_NEW(x, N * d));
    fp4_model_set_hook(m, count_call, &whole);
    must(fp4_model_hidden(m, tokens, N, hidden));
    cr_assert_eq(whole.calls, 14);
    cr_assert_eq(whole.rows, 14 * N);
    cr_assert_str_eq(whole.first, "model.layers.0.self_attn.q_proj.weight");
    fp4_model_set_hook(m, count_call, &parts);
    must(fp4_model_embed(m, tokens, N, x));
    for (size_t i = 0; i < 2; i++)
        must(fp4_model_block(m, i, N, x));
    cr_assert(parts.calls == whole.calls && parts.sum == whole.sum, "the same inputs");
    for (size_t t = 0; t < N; t++) {
        double square = 0;
        for (size_t j = 0; j < d; j++)
            square += (double)x[t * d + j] * (double)x[t * d + j];
        double rstd = 1 / sqrt(square / (double)d + 1e-5);
        for (size_t j = 0; j < d; j++) /* norm weights are 1; as in test_backend.c, sums */
            cr_assert(fabs((double)hidden[t * d + j] - (double)x[t * d + j] * rstd) <= 16 * 0x1p-24 * fabs((double)hidden[t * d + j]));
    }
    fp4_free(hidden);
    fp4_free(x);
    fp4_model_free(m);
}

/* Token by token through the cache, over the border of an attention tile: the tokens of whole passes. */
static void check_cache(enum fp4_arch arch) {
    enum { PROMPT = 50, NEW = 30 };
    struct fp4_model *m = model_of(arch);
    int32_t tokens[PROMPT + NEW];
    float logits[300];
    size_t total;
    fill(tokens, PROMPT);
    must(fp4_model_generate(m, tokens, PROMPT, NEW, NULL, -1, &total));
    cr_assert_eq(total, PROMPT + NEW);
    for (size_t n = PROMPT; n < total; n++) {
        int32_t best = 0;
        float second = -INFINITY;
        must(fp4_model_logits(m, tokens, n, 1, logits));
        for (int32_t i = 1; i < 300; i++)
            if (logits[i] > logits[best])
                best = i;
        for (int32_t i = 0; i < 300; i++)
            if (i != tokens[n] && logits[i] > second)
                second = logits[i];
        cr_assert(best == tokens[n] || second - logits[tokens[n]] < 1e-5f, "token %zu: %d, without cache %d", n, tokens[n], best);
    }
    fp4_model_free(m);
}
Test(model_api, cache) {
    check_cache(FP4_ARCH_LLAMA);
    check_cache(FP4_ARCH_WRITEUP_D);
}

Test(model_api, sampling_is_addressed) {
    struct fp4_model *m = model_of(FP4_ARCH_LLAMA);
    struct fp4_sampler s = {.temperature = 5, .top_k = 20, .random = {.seed = 1, .stream = FP4_STREAM_SAMPLE}};
    int32_t a[20], b[20], c[20];
    size_t total;
    fill(a, 4), fill(b, 4), fill(c, 4);
    must(fp4_model_generate(m, a, 4, 16, &s, -1, &total));
    /* in two halves: a position's draw does not depend on where the run began */
    must(fp4_model_generate(m, b, 4, 8, &s, -1, &total));
    must(fp4_model_generate(m, b, 12, 8, &s, -1, &total));
    cr_assert_arr_eq(a, b, sizeof a);
    s.random.seed = 2;
    must(fp4_model_generate(m, c, 4, 16, &s, -1, &total));
    cr_assert_arr_neq(a, c, sizeof a);
    must(fp4_model_generate(m, c, 4, 16, &s, c[6], &total));
    cr_assert_leq(total, 7, "stops at the end token");
    fp4_model_free(m);
}

/* More rows than one chunk of logits. */
Test(model_api, long_sequences_in_chunks) {
    enum { LONG = 600 };
    struct fp4_model *m = model_of(FP4_ARCH_LLAMA);
    int32_t *tokens, *targets;
    float *logits;
    double *nll, *kl, loss, accuracy, sum = 0, hits = 0;
    uint8_t *top1;
    must(FP4_NEW(tokens, LONG + 1));
    must(FP4_NEW(logits, LONG * 300));
    must(FP4_NEW(nll, LONG));
    must(FP4_NEW(kl, LONG));
    must(FP4_NEW(top1, LONG));
    must(FP4_NEW(targets, LONG));
    fill(tokens, LONG);
    must(fp4_model_logits(m, tokens, LONG, LONG, logits));
    float *hidden;
    must(FP4_NEW(hidden, LONG * 64));
    must(fp4_model_hidden(m, tokens, LONG, hidden));
    struct fp4_score score = {.nll = nll, .kl = kl, .top1 = top1, .reference = hidden};
    must(fp4_model_score(m, tokens, LONG, &score));
    for (size_t t = 0; t < LONG; t++) {
        double z = 0;
        int32_t best = 0;
        for (int32_t i = 0; i < 300; i++) {
            z += exp((double)logits[t * 300 + (size_t)i]);
            best = logits[t * 300 + (size_t)i] > logits[t * 300 + (size_t)best] ? i : best;
        }
        targets[t] = t + 1 < LONG ? tokens[t + 1] : -1;
        if (targets[t] < 0)
            break;
        double expected = log(z) - (double)logits[t * 300 + (size_t)targets[t]];
        cr_assert(fabs(nll[t] - expected) < 1e-5, "token %zu: %g, from the logits %g", t, nll[t], expected);
        cr_assert(fabs(kl[t]) < 1e-12 && top1[t] == 1, "against itself");
        sum += expected;
        hits += best == targets[t];
    }
    must(fp4_model_evaluate(m, tokens, targets, 1, LONG, &loss, &accuracy));
    cr_assert(fabs(loss - sum / (LONG - 1)) < 1e-5);
    cr_assert(fabs(accuracy - hits / (LONG - 1)) < 1e-12);
    fp4_free(tokens), fp4_free(targets), fp4_free(logits), fp4_free(nll), fp4_free(kl), fp4_free(top1), fp4_free(hidden);
    fp4_model_free(m);
}

Test(model_api, errors) {
    struct fp4_model *m = model_of(FP4_ARCH_LLAMA);
    struct fp4_optimizer *o;
    struct fp4_adamw h = {0};
    int32_t tokens[N], none[N];
    float logits[300];
    double loss;
    size_t total;
    fill(tokens, N);
    for (int i = 0; i < N; i++)
        none[i] = -1;
    cr_assert_eq(fp4_model_logits(m, tokens, 0, 1, logits), FP4_ERR_ARG);
    cr_assert_eq(fp4_model_logits(m, tokens, N, N + 1, logits), FP4_ERR_ARG);
    cr_assert_eq(fp4_model_evaluate(m, tokens, none, 1, N, &loss, NULL), FP4_ERR_ARG, "nothing counts");
    cr_assert_eq(fp4_model_loss_backward(m, tokens, tokens, 1, N, 1, &loss), FP4_ERR_ARG, "no gradients yet");
    cr_assert_eq(fp4_model_generate(m, tokens, N, 600, NULL, -1, &total), FP4_ERR_ARG, "beyond the context");
    must(fp4_optimizer_create(m, &o));
    cr_assert_eq(fp4_optimizer_step(o, &h, 0, NULL), FP4_ERR_ARG, "no gradients yet");
    tokens[3] = 300;
    cr_assert_eq(fp4_model_logits(m, tokens, N, 1, logits), FP4_ERR_ARG);
    cr_assert_not_null(strstr(fp4_last_error(), "300"), "%s", fp4_last_error());
    tokens[3] = -1;
    cr_assert_eq(fp4_model_logits(m, tokens, N, 1, logits), FP4_ERR_ARG);
    struct fp4_config c = config_of(FP4_ARCH_LLAMA);
    struct fp4_model *bad;
    c.n_kv_head = 3;
    cr_assert_eq(fp4_model_create(&c, 1, fp4_backend_cpu(), &bad), FP4_ERR_ARG);
    cr_assert_null(bad);
    fp4_optimizer_free(o);
    fp4_model_free(m);
}
