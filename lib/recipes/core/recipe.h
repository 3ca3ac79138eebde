/* lib/recipes/core/recipe.h: what the recipes share. */
#ifndef FP4LAB_RECIPES_CORE_RECIPE_H
#define FP4LAB_RECIPES_CORE_RECIPE_H

#include "fp4lab/recipes.h"

/* Parses one spelling for each of the six operands, in the order of enum fp4_operand. */
fp4_status recipe_policy(const char *const spelling[FP4_OPERANDS], struct fp4_policy *out);
/* The policy of mixed-precision BF16: every operand of every product rounded to BF16, sums in fp32. */
fp4_status recipe_bf16(struct fp4_policy *out);

#endif
