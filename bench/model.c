/* Whole models: forward, training step, adaptation step. Weights are random: speed does not depend on their values, and no input has to
 * be there. */
#include "bench/list.h"

#include "fp4lab/model.h"

#include <stdlib.h>

/* SmolLM2-135M's shape, and the training write-up's published one (WRITEUPS.md D). */
static const struct fp4_config smollm2 = {.arch = FP4_ARCH_LLAMA, .n_vocab = 49152, .n_embd = 576, .n_layer = 30, .n_head = 9, .n_kv_head = 3,
                                          .head_dim = 64, .n_ff = 1536, .n_ctx = 2048, .norm_eps = 1e-5f, .rope_theta = 1e5, .tied_head = true,
                                          .bos_id = -1, .eos_id = -1};
static const struct fp4_config small = {.arch = FP4_ARCH_LLAMA, .n_vocab = 512, .n_embd = 64, .n_layer = 2, .n_head = 2, .n_kv_head = 1,
                                        .head_dim = 32, .n_ff = 128, .n_ctx = 128, .norm_eps = 1e-5f, .rope_theta = 1e4, .tied_head = true,
                                        .bos_id = -1, .eos_id = -1};

/* One model for all benchmarks of the process: made when first asked for, with gradients when first stepped. */
static struct fp4_model *model;
static struct fp4_optimizer *optimizer;

struct pass {
    size_t n;
    int32_t *tokens, *targets;
    float *logits;
    struct fp4_policy policy;
};

static fp4_status pass_setup(const struct bench *b, void **state) {
    struct pass *p;
    FP4_TRY(FP4_NEW(p, 1));
    const struct fp4_config *config = b->size[1] ? &small : &smollm2;
    p->n = b->size[0];
    FP4_TRY(FP4_NEW(p->tokens, p->n + 1));
    FP4_TRY(FP4_NEW(p->logits, config->n_vocab));
    for (size_t i = 0; i <= p->n; i++)
        p->tokens[i] = (int32_t)(i * 7919 % config->n_vocab);
    p->targets = p->tokens + 1;
    struct fp4_quantizer q;
    FP4_TRY(fp4_quantizer_parse(b->text, &q));
    for (int i = 0; i < FP4_OPERANDS; i++)
        p->policy.operand[i] = q;
    if (!model)
        FP4_TRY(fp4_model_create(config, 1, fp4_backend_cpu(), &model));
    *state = p;
    return FP4_OK;
}

static fp4_status step_setup(const struct bench *b, void **state) {
    FP4_TRY(pass_setup(b, state));
    if (optimizer)
        return FP4_OK;
    FP4_TRY(fp4_model_enable_grad(model));
    return fp4_optimizer_create(model, &optimizer);
}

static fp4_status forward_run(void *state) {
    struct pass *p = state;
    fp4_model_set_policy(model, &p->policy, false);
    return fp4_model_logits(model, p->tokens, p->n, 1, p->logits);
}

/* A learning rate of 0 leaves the weights as they are and costs the same. */
static const struct fp4_adamw still = {.lr = 0, .beta1 = 0.9, .beta2 = 0.999, .eps = 1e-8, .weight_decay = 0.01};

static fp4_status train_run(void *state) {
    struct pass *p = state;
    double loss;
    fp4_model_set_policy(model, &p->policy, false);
    FP4_TRY(fp4_model_zero_grad(model));
    FP4_TRY(fp4_model_loss_backward(model, p->tokens, p->targets, 1, p->n, 1.0f, &loss));
    return fp4_optimizer_step(optimizer, &still, 1.0, NULL);
}

static fp4_status adapt_run(void *state) {
    struct pass *p = state;
    double entropy, loss;
    fp4_model_set_policy(model, &p->policy, false);
    FP4_TRY(fp4_model_zero_grad(model));
    FP4_TRY(fp4_model_entropy_backward(model, p->tokens, p->n, &entropy, &loss, NULL));
    return fp4_optimizer_step(optimizer, &still, 0, NULL);
}

fp4_status bench_add_model(const struct bench_options *o, struct bench_list *list) {
    static const struct {
        const char *name;
        size_t tokens;
        fp4_status (*setup)(const struct bench *, void **);
        fp4_status (*run)(void *);
        bool all_threads_only;
    } ways[] = {{"forward", 20, pass_setup, forward_run, false},
                {"forward", 512, pass_setup, forward_run, true},
                {"train_step", 256, step_setup, train_run, true},
                {"adapt_step", 20, step_setup, adapt_run, false}};
    static const char *const quantizers[] = {"none", "nvfp4:te"};
    for (size_t i = 0; i < sizeof ways / sizeof ways[0]; i++)
        for (size_t j = 0; j < 2; j++)
            for (int threads = ways[i].all_threads_only ? o->threads : 1;; threads = o->threads) {
                struct bench b = {.threads = threads, .setup = ways[i].setup, .run = ways[i].run, .item = "tokens"};
                b.size[0] = o->small && ways[i].tokens > 64 ? 64 : ways[i].tokens;
                b.size[1] = o->small;
                b.items = (double)b.size[0];
                snprintf(b.text, sizeof b.text, "%s", quantizers[j]);
                bench_name(&b, "%s/%s/tokens:%zu/threads:%d", ways[i].name, quantizers[j], b.size[0], threads);
                FP4_TRY(bench_add(list, &b));
                if (threads == o->threads)
                    break;
            }
    return FP4_OK;
}
