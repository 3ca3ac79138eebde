/* What the training write-up meant to run: weights in bitsandbytes FP4 for both products that read them, quantized anew at every step, with the
 * gradient handed straight through to the fp32 master weight (Bengio, Léonard, Courville 2013). */
#include "lib/recipes/core/recipe.h"

static fp4_status apply(struct fp4_model *m, size_t step, size_t n_steps) {
    static const char *const spelling[FP4_OPERANDS] = {
        [FP4_FWD_X] = "bf16",    [FP4_FWD_W] = "bnbfp4:cuda", [FP4_DGRAD_DY] = "bf16",
        [FP4_DGRAD_W] = "bnbfp4:cuda", [FP4_WGRAD_DY] = "bf16", [FP4_WGRAD_X] = "bf16",
    };
    struct fp4_policy policy;
    (void)step;
    (void)n_steps;
    FP4_TRY(recipe_policy(spelling, &policy));
    fp4_model_set_policy(m, &policy, true);
    return FP4_OK;
}

const struct fp4_recipe fp4_recipe_fp4_weight_ste = {
    .name = "fp4_weight_ste",
    .summary = "weights in bitsandbytes FP4, straight-through gradient",
    .source = "experiments/WRITEUPS.md D, as specified; straight-through: arXiv 1308.3432",
    .apply = apply,
};
