/* lib/methods/core/method.h: what the methods share. */
#ifndef FP4LAB_METHODS_CORE_METHOD_H
#define FP4LAB_METHODS_CORE_METHOD_H

#include "fp4lab/methods.h"
#include "lib/formats/core/format.h"

/* True for the linear layers that methods quantize: all but the head. */
bool method_wants(const struct fp4_linear *linear);
/* Packs w [n_out, n_in] (host) by the options' weight quantizer and adds its measured bytes to the result; `values`, when not NULL,
 * receives the dequantized values in the basis of the layer's input. */
fp4_status method_pack(const struct fp4_linear *linear, const struct fp4_method_options *o, const float *w, float *values,
                       struct fp4_method_result *result);
/* Undoes the Hadamard transform of quantized weights [n_out, n_in], if the quantizer has one: a pass undoes that of an activation whose partner
 * has no quantizer of its own, so that baked weights and activations meet in the layer's own basis. */
fp4_status method_turn_back(const struct fp4_linear *linear, const struct fp4_method_options *o, float *values);
/* The policy of a layer whose weights are baked: x quantized, w as it is. */
void method_set_activations(struct fp4_linear *linear, const struct fp4_method_options *o);

/* ---- one scale block, element by element: for methods that round in sequence ---- */

/* The 16 values that a block's elements can take once its scale is chosen, ascending. */
struct method_grid {
    float value[16];
};
/* Prepares `t` for a tensor with largest magnitude `amax`; FP4_ERR_UNSUPPORTED names a quantizer whose blocks cannot be rounded one element
 * at a time (not 4 bits, blocks that are not runs of a row, stochastic rounding). */
fp4_status method_grid_prepare(const struct fp4_quantizer *q, float amax, struct fp4_tensor *t);
/* The grid that the format chooses for the block x[n]. */
void method_grid_of(const struct fp4_tensor *t, size_t n, const float *x, struct method_grid *out);
/* The nearest value of the grid. */
float method_grid_round(const struct method_grid *g, float x);

#endif
