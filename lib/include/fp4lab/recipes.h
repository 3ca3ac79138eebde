/* fp4lab/recipes.h: training recipes; one file in lib/recipes/ each, defining fp4_recipe_NAME. A recipe sets policies. */
#ifndef FP4LAB_RECIPES_H
#define FP4LAB_RECIPES_H

#include "fp4lab/model.h"

struct fp4_recipe {
    const char *name, *summary, *source;
    /* Sets the policy of every linear layer for update `step` of `n_steps`; called before each step. */
    fp4_status (*apply)(struct fp4_model *m, size_t step, size_t n_steps);
};
extern const struct fp4_recipe *const fp4_recipes_all[];
const struct fp4_recipe *fp4_recipe_find(const char *name);

#endif
