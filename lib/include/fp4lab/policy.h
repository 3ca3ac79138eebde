/* fp4lab/policy.h: the GEMM policy. There is no other place where quantization happens during a pass.
 *
 * A linear layer y[T,N] = x[T,K] · W[N,K]ᵀ has three products with two operands each:
 *   forward         y  = x Wᵀ      reduction axis K
 *   input gradient  dx = dy W      reduction axis N
 *   weight gradient dW = dyᵀ x     reduction axis T (tokens)
 * Each operand holds a quantizer or none. Blocks run along the product's reduction axis, as hardware needs them, unless the
 * quantizer says `stored`: then along the tensor as stored (x, dy and W row by row), as several published codes do. Formats
 * that block the flattened memory (bitsandbytes, tta_v1, tta_v2) are always `stored`. */
#ifndef FP4LAB_POLICY_H
#define FP4LAB_POLICY_H

#include "fp4lab/formats.h"

enum fp4_operand {
    FP4_FWD_X, FP4_FWD_W,      /* forward */
    FP4_DGRAD_DY, FP4_DGRAD_W, /* input gradient */
    FP4_WGRAD_DY, FP4_WGRAD_X, /* weight gradient */
    FP4_OPERANDS
};

struct fp4_policy {
    struct fp4_quantizer operand[FP4_OPERANDS];
    bool frozen_weight; /* the weight gets no gradient at all (write-up D as published) */
};

/* Both forward operands; gradients unquantized and straight through. */
struct fp4_policy fp4_policy_forward(const struct fp4_quantizer *x, const struct fp4_quantizer *w);

#endif
