/* Training recipes: the policies that they set, and what these do to a net. */
#include "tests/support.h"

#include <math.h>
#include <string.h>

#include "fp4lab/recipes.h"

enum { VOCAB = 48, BATCH = 2, CONTEXT = 16, TOKENS = BATCH * CONTEXT };

static struct fp4_model *net(size_t n_layer, bool no_positions) {
    struct fp4_config config = {.arch = FP4_ARCH_WRITEUP_D, .n_vocab = VOCAB, .n_embd = 32, .n_layer = n_layer, .n_head = 2, .n_kv_head = 2, .head_dim = 16,
                                .n_ff = 64, .n_ctx = 64, .norm_eps = 0x1p-23f, .rope_theta = 1e4, .no_positions = no_positions, .bos_id = -1, .eos_id = -1};
    struct fp4_model *m;
    must(fp4_model_create(&config, 3, fp4_backend_cpu(), &m));
    return m;
}

static void apply(struct fp4_model *m, const char *recipe) {
    const struct fp4_recipe *r = fp4_recipe_find(recipe);
    cr_assert_not_null(r, "no recipe %s", recipe);
    must(r->apply(m, 0, 10));
}

static void tokens(uint32_t seed, int32_t *inputs, int32_t *targets) {
    struct fp4_random address = {.seed = seed, .stream = FP4_STREAM_TEST};
    uint32_t words[2 * TOKENS];
    fp4_random_words(&address, 0, 2 * TOKENS, words);
    for (size_t i = 0; i < TOKENS; i++) {
        inputs[i] = (int32_t)(words[i] % VOCAB);
        targets[i] = (int32_t)(words[TOKENS + i] % VOCAB);
    }
}

static float *copy_of(struct fp4_model *m, size_t param, bool gradient) {
    const struct fp4_param *p = fp4_model_param(m, param);
    float *x;
    must(FP4_NEW(x, p->elements));
    must(gradient ? fp4_model_get_grad(m, p, x) : fp4_model_get(m, p, x));
    return x;
}

static bool is_linear_weight(struct fp4_model *m, size_t param) {
    for (size_t i = 0; i < fp4_model_n_linear(m); i++)
        if (fp4_model_linear(m, i)->param == param)
            return true;
    return false;
}

static void assert_spelling(const struct fp4_linear *l, enum fp4_operand which, const char *expected) {
    char spelling[FP4_SPELLING_MAX];
    fp4_quantizer_spell(&l->policy.operand[which], spelling);
    cr_assert_str_eq(spelling, expected, "%s, operand %d", l->name, (int)which);
}

Test(recipes, every_entry_is_found_and_described) {
    for (size_t i = 0; fp4_recipes_all[i]; i++) {
        cr_assert_eq(fp4_recipe_find(fp4_recipes_all[i]->name), fp4_recipes_all[i]);
        cr_assert(fp4_recipes_all[i]->summary[0] && fp4_recipes_all[i]->source[0]);
    }
    cr_assert_null(fp4_recipe_find("no_such_recipe"));
}

Test(recipes, bf16_rounds_every_operand) {
    struct fp4_model *m = net(2, false);
    apply(m, "bf16");
    for (size_t i = 0; i < fp4_model_n_linear(m); i++) {
        for (int which = 0; which < FP4_OPERANDS; which++)
            assert_spelling(fp4_model_linear(m, i), (enum fp4_operand)which, "bf16");
        cr_assert_not(fp4_model_linear(m, i)->policy.frozen_weight);
    }
    fp4_model_free(m);
}

/* Both products that read the weight read bitsandbytes' FP4 of it, the head's too. */
Test(recipes, write_up_recipes_quantize_weights_alone) {
    static const char *const names[] = {"fp4_frozen", "fp4_weight_ste"};
    for (size_t r = 0; r < 2; r++) {
        struct fp4_model *m = net(2, false);
        apply(m, names[r]);
        bool head = false;
        for (size_t i = 0; i < fp4_model_n_linear(m); i++) {
            const struct fp4_linear *l = fp4_model_linear(m, i);
            assert_spelling(l, FP4_FWD_W, "bnbfp4:cuda");
            assert_spelling(l, FP4_DGRAD_W, "bnbfp4:cuda");
            assert_spelling(l, FP4_FWD_X, "bf16");
            assert_spelling(l, FP4_DGRAD_DY, "bf16");
            cr_assert_eq(l->policy.frozen_weight, r == 0);
            head |= l->kind == FP4_LIN_HEAD;
        }
        cr_assert(head);
        fp4_model_free(m);
    }
}

/* arXiv 2509.25149, by field rather than by spelling: 2D blocks on weights only, stochastic rounding on gradients only, Hadamard on the weight gradient's
 * operands only, both of them; head and last block in BF16. */
Test(recipes, nvfp4_is_the_published_recipe) {
    static const size_t layers[] = {1, 2, 3, 6, 12, 40}, kept[] = {0, 0, 0, 1, 2, 6}; /* blocks; with the head nearest to 15 % of 4n + 1 layers */
    for (size_t c = 0; c < sizeof layers / sizeof *layers; c++) {
        struct fp4_model *m = net(layers[c], false);
        apply(m, "nvfp4");
        for (size_t i = 0; i < fp4_model_n_linear(m); i++) {
            const struct fp4_linear *l = fp4_model_linear(m, i);
            bool wide = l->kind == FP4_LIN_HEAD || l->layer >= layers[c] - kept[c];
            cr_assert_not(l->policy.frozen_weight);
            for (int which = 0; which < FP4_OPERANDS; which++) {
                const struct fp4_quantizer *q = &l->policy.operand[which];
                if (wide) {
                    assert_spelling(l, (enum fp4_operand)which, "bf16");
                    continue;
                }
                cr_assert_eq(q->two_d, which == FP4_FWD_W || which == FP4_DGRAD_W, "%s, operand %d", l->name, which);
                cr_assert_eq(q->rounding, which == FP4_DGRAD_DY || which == FP4_WGRAD_DY ? FP4_ROUND_STOCHASTIC : FP4_ROUND_EVEN);
                cr_assert_eq(q->hadamard, which == FP4_WGRAD_DY || which == FP4_WGRAD_X ? 16 : 0);
            }
        }
        fp4_model_free(m);
    }
}

/* One quantized weight in both passes: what the forward product reads is what the input gradient reads. */
Test(recipes, nvfp4_weights_are_equal_in_both_passes) {
    struct fp4_model *m = net(6, false);
    apply(m, "nvfp4");
    const struct fp4_linear *l = fp4_model_linear(m, 0);
    const struct fp4_param *p = fp4_model_param(m, l->param);
    float *w = copy_of(m, l->param, false), *a, *b, *transposed;
    must(FP4_NEW(a, p->elements));
    must(FP4_NEW(b, p->elements));
    must(FP4_NEW(transposed, p->elements));
    for (size_t i = 0; i < p->rows; i++)
        for (size_t k = 0; k < p->cols; k++)
            transposed[k * p->rows + i] = w[i * p->cols + k];
    must(fp4_fake_quantize(&l->policy.operand[FP4_FWD_W], p->rows, p->cols, w, a, NULL));
    must(fp4_fake_quantize(&l->policy.operand[FP4_DGRAD_W], p->cols, p->rows, transposed, b, NULL));
    for (size_t i = 0; i < p->rows; i++)
        for (size_t k = 0; k < p->cols; k++)
            cr_assert_eq(a[i * p->cols + k], b[k * p->rows + i]);
    fp4_free(w), fp4_free(a), fp4_free(b), fp4_free(transposed);
    fp4_model_free(m);
}

/* Defect 1 of the write-up: linear layers keep their initial bits, embeddings and norms learn. With the straight-through gradient all learn. */
static void train_steps(struct fp4_model *m, const char *recipe, size_t steps) {
    struct fp4_optimizer *optimizer;
    struct fp4_adamw h = {1e-2, 0.9, 0.999, 1e-8, 0.1};
    int32_t inputs[TOKENS], targets[TOKENS];
    must(fp4_model_enable_grad(m));
    must(fp4_optimizer_create(m, &optimizer));
    for (size_t step = 0; step < steps; step++) {
        tokens((uint32_t)step, inputs, targets);
        apply(m, recipe);
        must(fp4_model_zero_grad(m));
        must(fp4_model_loss_backward(m, inputs, targets, BATCH, CONTEXT, 1, NULL));
        must(fp4_optimizer_step(optimizer, &h, 1, NULL));
    }
    fp4_optimizer_free(optimizer);
}

Test(recipes, frozen_weights_never_move_and_the_rest_learns) {
    static const char *const names[] = {"fp4_frozen", "fp4_weight_ste"};
    for (size_t r = 0; r < 2; r++) {
        struct fp4_model *m = net(2, false), *untouched = net(2, false);
        train_steps(m, names[r], 3);
        for (size_t i = 0; i < fp4_model_n_params(m); i++) {
            const struct fp4_param *p = fp4_model_param(m, i);
            float *now = copy_of(m, i, false), *before = copy_of(untouched, i, false);
            bool equal = memcmp(now, before, sizeof *now * p->elements) == 0;
            cr_assert_eq(equal, r == 0 && is_linear_weight(m, i), "%s: %s", names[r], p->name);
            fp4_free(now);
            fp4_free(before);
        }
        fp4_model_free(m);
        fp4_model_free(untouched);
    }
}

/* Straight through means: every gradient is that of a net whose weights are the quantized ones, bit for bit. The frozen net has the same, but for its linear weights. */
Test(recipes, straight_through_gradient_is_that_of_the_quantized_net) {
    struct fp4_model *ste = net(2, false), *frozen = net(2, false), *quantized = net(2, false);
    int32_t inputs[TOKENS], targets[TOKENS];
    double loss[3];
    tokens(7, inputs, targets);
    apply(ste, "fp4_weight_ste");
    apply(frozen, "fp4_frozen");
    apply(quantized, "fp4_weight_ste");
    for (size_t i = 0; i < fp4_model_n_linear(quantized); i++) {
        struct fp4_linear *l = fp4_model_linear(quantized, i);
        struct fp4_param *p = fp4_model_param(quantized, l->param);
        float *w = copy_of(quantized, l->param, false);
        must(fp4_fake_quantize(&l->policy.operand[FP4_FWD_W], p->rows, p->cols, w, w, NULL));
        must(fp4_model_set(quantized, p, w));
        l->policy.operand[FP4_FWD_W] = l->policy.operand[FP4_DGRAD_W] = (struct fp4_quantizer){0};
        fp4_free(w);
    }
    struct fp4_model *nets[] = {ste, frozen, quantized};
    for (size_t k = 0; k < 3; k++) {
        must(fp4_model_enable_grad(nets[k]));
        must(fp4_model_loss_backward(nets[k], inputs, targets, BATCH, CONTEXT, 1, &loss[k]));
    }
    cr_assert_eq(loss[0], loss[2]);
    cr_assert_eq(loss[1], loss[2]);
    for (size_t i = 0; i < fp4_model_n_params(ste); i++) {
        const struct fp4_param *p = fp4_model_param(ste, i);
        float *a = copy_of(ste, i, true), *b = copy_of(frozen, i, true), *c = copy_of(quantized, i, true);
        cr_assert_eq(memcmp(a, c, sizeof *a * p->elements), 0, "%s", p->name);
        for (size_t e = 0; e < p->elements; e++)
            cr_assert_eq(b[e], is_linear_weight(ste, i) ? 0.0f : c[e], "%s", p->name);
        fp4_free(a), fp4_free(b), fp4_free(c);
    }
    fp4_model_free(ste), fp4_model_free(frozen), fp4_model_free(quantized);
}

/* Defect 6: without positions a block sees a set. The last logits of a one-block net do not change when the tokens before are reversed (sums in another order: some ulps
 * of logits of size 1); with positions they do. */
Test(recipes, without_positions_order_is_invisible) {
    for (int no_positions = 0; no_positions < 2; no_positions++) {
        struct fp4_model *m = net(1, no_positions);
        int32_t forwards[TOKENS], backwards[TOKENS], unused[TOKENS];
        float a[VOCAB], b[VOCAB], largest = 0;
        tokens(11, forwards, unused);
        for (size_t i = 0; i < CONTEXT; i++)
            backwards[i] = i + 1 < CONTEXT ? forwards[CONTEXT - 2 - i] : forwards[i];
        /* weights of N(0, 0.02²) hardly attend: larger ones make order count */
        for (size_t i = 0; i < fp4_model_n_linear(m); i++) {
            struct fp4_param *p = fp4_model_param(m, fp4_model_linear(m, i)->param);
            float *w = copy_of(m, fp4_model_linear(m, i)->param, false);
            for (size_t e = 0; e < p->elements; e++)
                w[e] *= 10;
            must(fp4_model_set(m, p, w));
            fp4_free(w);
        }
        must(fp4_model_logits(m, forwards, CONTEXT, 1, a));
        must(fp4_model_logits(m, backwards, CONTEXT, 1, b));
        for (size_t v = 0; v < VOCAB; v++)
            largest = fmaxf(largest, fabsf(a[v] - b[v]));
        if (no_positions)
            cr_assert_lt(largest, 1e-4f);
        else
            cr_assert_gt(largest, 1e-2f);
        fp4_model_free(m);
    }
}
