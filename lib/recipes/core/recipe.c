/* Shared steps of the recipes. */
#include "lib/recipes/core/recipe.h"

#include <string.h>

const struct fp4_recipe *fp4_recipe_find(const char *name) {
    for (size_t i = 0; fp4_recipes_all[i]; i++)
        if (strcmp(fp4_recipes_all[i]->name, name) == 0)
            return fp4_recipes_all[i];
    return NULL;
}

fp4_status recipe_policy(const char *const spelling[FP4_OPERANDS], struct fp4_policy *out) {
    *out = (struct fp4_policy){0};
    for (size_t i = 0; i < FP4_OPERANDS; i++)
        FP4_TRY(fp4_quantizer_parse(spelling[i], &out->operand[i]));
    return FP4_OK;
}

fp4_status recipe_bf16(struct fp4_policy *out) {
    static const char *const spelling[FP4_OPERANDS] = {"bf16", "bf16", "bf16", "bf16", "bf16", "bf16"};
    return recipe_policy(spelling, out);
}
