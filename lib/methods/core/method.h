/* lib/methods/core/method.h: what the methods share. */
#ifndef FP4LAB_METHODS_CORE_METHOD_H
#define FP4LAB_METHODS_CORE_METHOD_H

#include "fp4lab/methods.h"

/* True for the linear layers that methods quantize: all but the head. */
bool method_wants(const struct fp4_linear *linear);
/* Packs w [n_out, n_in] (host) by the options' weight quantizer and adds its measured bytes to the result; `values`, when not NULL,
 * receives the dequantized values (in the transformed basis when the quantizer has a Hadamard transform). */
fp4_status method_pack(const struct fp4_linear *linear, const struct fp4_method_options *o, const float *w, float *values,
                       struct fp4_method_result *result);
/* The policy of a layer whose weights are baked: x quantized, w as it is. */
void method_set_activations(struct fp4_linear *linear, const struct fp4_method_options *o);
/* Reports progress when asked to. */
void method_progress(const struct fp4_method_options *o, double share);

/* ---- one scale block, element by element: for methods that round in sequence ---- */

/* The grid of one block: how an element becomes its quantized value. */
struct method_grid {
    enum { METHOD_GRID_E2M1, METHOD_GRID_INT } kind;
    float encode; /* E2M1: code = round(x · encode); integers: round(x / encode) */
    float decode; /* value = code · decode */
    float lowest; /* of integer codes; the highest is 7 */
};
/* Block size along the reduction axis of nvfp4:te, mxfp4 and int4; FP4_ERR_UNSUPPORTED names any other quantizer. */
fp4_status method_grid_block(const struct fp4_quantizer *q, size_t *block);
/* The grid of a block with largest magnitude `block_amax` in a tensor with largest magnitude `tensor_amax`. */
struct method_grid method_grid_of(const struct fp4_quantizer *q, float tensor_amax, float block_amax);
float method_grid_round(const struct method_grid *g, float x);

#endif
