/* Arms of the adaptation experiment. */
#include "experiments/tta.h"

#define CANONICAL                                                                                                                \
    {                                                                                                                            \
        [FP4_FWD_X] = "nvfp4:te", [FP4_FWD_W] = "nvfp4:te,2d", [FP4_DGRAD_DY] = "nvfp4:te,sr", [FP4_DGRAD_W] = "nvfp4:te,2d",    \
        [FP4_WGRAD_DY] = "nvfp4:te,sr", [FP4_WGRAD_X] = "nvfp4:te"                                                               \
    }

/* The published variants (WRITEUPS.md A). v1 rounds the weights alone, straight through: the input gradient sees the rounded weight
 * (here with draws of its own: an operand's draws are addressed by its product), the weight gradient goes to the unrounded one. v2 rounds in all three products, blocks along the flattened memory, every
 * linear layer with the head, which is then a parameter of its own. For v1 the text says no more than "weights", the code replaced
 * linear layers in the same way, so the head is in it too. */
const struct tta_arm tta_arms[] = {
    {"base", "no adaptation, temperature 0.7, top-k 50", TTA_BASE, 0, {0}, false, false, false},
    {"base_greedy", "no adaptation, greedy", TTA_GREEDY, 0, {0}, false, false, false},
    {"fp4_no_adapt", "no adaptation, canonical NVFP4 forward", TTA_BASE, 0, CANONICAL, false, false, false},
    {"tta", "entropy minimisation, learning rate 1e-4 as published, fp32", TTA_ADAPT, 1e-4, {0}, false, false, false},
    {"entropy_matched", "no adaptation, at the temperature whose entropy is that of tta", TTA_MATCHED, 1e-4, {0}, false, false, false},
    {"tta_slow", "entropy minimisation, learning rate 2e-6, fp32", TTA_ADAPT, 2e-6, {0}, false, false, false},
    {"entropy_matched_slow", "no adaptation, at the temperature whose entropy is that of tta_slow", TTA_MATCHED, 2e-6, {0}, false, false, false},
    {"tta_fp4", "entropy minimisation, 1e-4, canonical NVFP4 in all three products", TTA_ADAPT, 1e-4, CANONICAL, false, false, true},
    {"tta_fp4_slow", "entropy minimisation, 2e-6, canonical NVFP4 in all three products", TTA_ADAPT, 2e-6, CANONICAL, false, false, true},
    {"tta_fp4_v1", "as published first: weights only, E8M0 scales, stochastic rounding", TTA_ADAPT, 1e-4,
     {[FP4_FWD_W] = "tta_v1,sr", [FP4_DGRAD_W] = "tta_v1,sr"}, true, false, true},
    {"tta_fp4_v2", "as published later: all three products, fp32 block scales along the memory, head untied", TTA_ADAPT, 1e-4,
     {[FP4_FWD_X] = "tta_v2", [FP4_FWD_W] = "tta_v2", [FP4_DGRAD_DY] = "tta_v2,sr", [FP4_DGRAD_W] = "tta_v2", [FP4_WGRAD_DY] = "tta_v2,sr",
      [FP4_WGRAD_X] = "tta_v2,sr"}, true, true, true},
};
const size_t tta_n_arms = sizeof tta_arms / sizeof *tta_arms;

fp4_status tta_arm_policy(const struct tta_arm *arm, struct fp4_policy *out) {
    *out = (struct fp4_policy){0};
    for (int i = 0; i < FP4_OPERANDS; i++)
        if (arm->operand[i])
            FP4_TRY(fp4_quantizer_parse(arm->operand[i], &out->operand[i]));
    return FP4_OK;
}
