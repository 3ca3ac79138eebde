/* FP4 as the training write-up ran it (WRITEUPS.md D, defect 1): the forward pass reads a dequantized bitsandbytes FP4 copy that is not connected
 * to the weight in the gradient graph. Linear layers, the head among them, keep their initial weights for ever; embeddings and
 * norms learn. */
#include "lib/recipes/core/recipe.h"

static fp4_status apply(struct fp4_model *m, size_t step, size_t n_steps) {
    static const char *const spelling[FP4_OPERANDS] = {
        [FP4_FWD_X] = "bf16",    [FP4_FWD_W] = "bnbfp4:cuda", [FP4_DGRAD_DY] = "bf16",
        [FP4_DGRAD_W] = "bnbfp4:cuda", [FP4_WGRAD_DY] = "none", [FP4_WGRAD_X] = "none",
    };
    struct fp4_policy policy;
    (void)step;
    (void)n_steps;
    FP4_TRY(recipe_policy(spelling, &policy));
    policy.frozen_weight = true;
    fp4_model_set_policy(m, &policy, true);
    return FP4_OK;
}

const struct fp4_recipe fp4_recipe_fp4_frozen = {
    .name = "fp4_frozen",
    .summary = "bitsandbytes FP4 copies of weights that are never trained (as published)",
    .source = "experiments/WRITEUPS.md D",
    .apply = apply,
};
