/* Policies and names of linear layers. */
#include "fp4lab/model.h"

struct fp4_policy fp4_policy_forward(const struct fp4_quantizer *x, const struct fp4_quantizer *w) {
    struct fp4_policy p = {0};
    if (x)
        p.operand[FP4_FWD_X] = *x;
    if (w)
        p.operand[FP4_FWD_W] = *w;
    return p;
}

const char *fp4_linear_kind_name(enum fp4_linear_kind k) {
    static const char *const names[] = {"q", "k", "v", "qkv", "o", "gate", "up", "down", "head"};
    return (size_t)k < sizeof names / sizeof *names ? names[k] : "?";
}
