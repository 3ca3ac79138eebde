/* Policies that have a name. */
#include "fp4lab/policy.h"

struct fp4_policy fp4_policy_forward(const struct fp4_quantizer *x, const struct fp4_quantizer *w) {
    struct fp4_policy policy = {0};
    if (x)
        policy.operand[FP4_FWD_X] = *x;
    if (w)
        policy.operand[FP4_FWD_W] = *w;
    return policy;
}
