/* NVIDIA's NVFP4 pretraining recipe (arXiv 2509.25149): 16×16 blocks for weights, so that both passes see one quantized weight; stochastic rounding
 * on gradients only; a random Hadamard transform of 16 on both operands of the weight-gradient product only; the last blocks and
 * the head, about 15 % of the linear layers, in BF16; fp32 master weights. */
#include "lib/recipes/core/recipe.h"

/* First of the last blocks that stay in BF16: as many blocks as bring the share of BF16 layers, the head among them, nearest to 15 %. Of the 25 layers
 * of the published net that is one block and the head (20 %); in a net of two or three blocks the head alone is nearer. All blocks are alike. */
static size_t first_bf16_block(size_t n_layer, size_t n_linear) {
    size_t in_block = (n_linear - 1) / n_layer, blocks = 0;
    while (blocks < n_layer && 100 * (2 + in_block * (2 * blocks + 1)) < 2 * 15 * n_linear) /* 15 % is beyond the middle of this and one more */
        blocks++;
    return n_layer - blocks;
}

static fp4_status apply(struct fp4_model *m, size_t step, size_t n_steps) {
    static const char *const spelling[FP4_OPERANDS] = {
        [FP4_FWD_X] = "nvfp4:te",       [FP4_FWD_W] = "nvfp4:te,2d",          [FP4_DGRAD_DY] = "nvfp4:te,sr",
        [FP4_DGRAD_W] = "nvfp4:te,2d", [FP4_WGRAD_DY] = "nvfp4:te,sr,had16", [FP4_WGRAD_X] = "nvfp4:te,had16",
    };
    struct fp4_policy fp4, bf16;
    size_t last = first_bf16_block(fp4_model_config(m)->n_layer, fp4_model_n_linear(m));
    (void)step;
    (void)n_steps;
    FP4_TRY(recipe_policy(spelling, &fp4));
    FP4_TRY(recipe_bf16(&bf16));
    for (size_t i = 0; i < fp4_model_n_linear(m); i++) {
        struct fp4_linear *linear = fp4_model_linear(m, i);
        linear->policy = linear->kind == FP4_LIN_HEAD || linear->layer >= last ? bf16 : fp4;
    }
    return FP4_OK;
}

const struct fp4_recipe fp4_recipe_nvfp4 = {
    .name = "nvfp4",
    .summary = "NVFP4 in all three products: 2D weights, stochastic gradients, Hadamard on the weight gradient, last blocks BF16",
    .source = "arXiv 2509.25149",
    .apply = apply,
};
