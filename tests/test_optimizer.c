/* What an update may touch: frozen weights stay, bit for bit, and everything else moves. */
#include "tests/support.h"

#include "fp4lab/model.h"

#include <string.h>

static const struct fp4_config config = {.arch = FP4_ARCH_LLAMA, .n_vocab = 61, .n_embd = 32, .n_layer = 2, .n_head = 4, .n_kv_head = 2,
                                         .head_dim = 8, .n_ff = 48, .n_ctx = 16, .norm_eps = 1e-5f, .rope_theta = 1e4, .bos_id = -1, .eos_id = -1};
static const struct fp4_adamw published = {.lr = 1e-2, .beta1 = 0.9, .beta2 = 0.999, .eps = 1e-8, .weight_decay = 0.1};

static bool is_linear(struct fp4_model *m, size_t param) {
    for (size_t i = 0; i < fp4_model_n_linear(m); i++)
        if (fp4_model_linear(m, i)->param == param)
            return true;
    return false;
}

Test(optimizer, frozen_weights_are_not_touched) {
    struct fp4_model *m;
    struct fp4_optimizer *o;
    const struct fp4_policy frozen = {.frozen_weight = true};
    const int32_t tokens[9] = {1, 5, 9, 2, 60, 33, 7, 7, 4};
    float **before, *now;
    double loss;
    must(fp4_model_create(&config, 3, fp4_backend_cpu(), &m));
    fp4_model_set_policy(m, &frozen, true);
    must(fp4_model_enable_grad(m));
    must(fp4_optimizer_create(m, &o));
    size_t n = fp4_model_n_params(m);
    must(FP4_NEW(before, n));
    for (size_t i = 0; i < n; i++) {
        must(FP4_NEW(before[i], fp4_model_param(m, i)->elements));
        must(fp4_model_get(m, fp4_model_param(m, i), before[i]));
    }
    must(fp4_model_loss_backward(m, tokens, tokens + 1, 1, 8, 1.0f, &loss));
    must(fp4_optimizer_step(o, &published, 0, NULL));
    for (size_t i = 0; i < n; i++) {
        struct fp4_param *p = fp4_model_param(m, i);
        must(FP4_NEW(now, p->elements));
        must(fp4_model_get(m, p, now));
        cr_assert_eq(memcmp(before[i], now, p->elements * sizeof *now) == 0, is_linear(m, i), "%s", p->name);
        fp4_free(now);
        fp4_free(before[i]);
    }
    fp4_free(before);
    fp4_optimizer_free(o);
    fp4_model_free(m);
}
