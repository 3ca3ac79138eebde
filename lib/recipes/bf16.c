/* Mixed-precision BF16: the baseline. fp32 master weights and sums, BF16 operands. */
#include "lib/recipes/core/recipe.h"

static fp4_status apply(struct fp4_model *m, size_t step, size_t n_steps) {
    struct fp4_policy policy;
    (void)step;
    (void)n_steps;
    FP4_TRY(recipe_bf16(&policy));
    fp4_model_set_policy(m, &policy, true);
    return FP4_OK;
}

const struct fp4_recipe fp4_recipe_bf16 = {
    .name = "bf16",
    .summary = "every operand rounded to BF16",
    .source = "Micikevicius et al., Mixed Precision Training, ICLR 2018, with BF16",
    .apply = apply,
};
