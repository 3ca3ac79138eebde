/* Shared steps of the post-training methods. */
#include "lib/methods/core/method.h"

#include <string.h>

const struct fp4_method *fp4_method_find(const char *name) {
    for (size_t i = 0; fp4_methods_all[i]; i++)
        if (strcmp(fp4_methods_all[i]->name, name) == 0)
            return fp4_methods_all[i];
    return NULL;
}

bool method_wants(const struct fp4_linear *linear) {
    return linear->kind != FP4_LIN_HEAD && linear->kind != FP4_LIN_PROJECT_IN && linear->kind != FP4_LIN_PROJECT_OUT;
}

fp4_status method_pack(const struct fp4_linear *linear, const struct fp4_method_options *o, const float *w, float *values,
                       struct fp4_method_result *result) {
    struct fp4_qtensor packed;
    struct fp4_random random = {.seed = o->seed};
    FP4_TRY(fp4_quantize(&o->weights, linear->n_out, linear->n_in, w, &random, &packed));
    result->packed_bytes += fp4_qtensor_bytes(&packed);
    result->unquantized_bytes += 2 * linear->n_out * linear->n_in;
    result->n_quantized++;
    fp4_status status = values ? fp4_dequantize(&packed, values) : FP4_OK;
    fp4_qtensor_free(&packed);
    return status == FP4_OK && values ? method_turn_back(linear, o, values) : status;
}

fp4_status method_turn_back(const struct fp4_linear *linear, const struct fp4_method_options *o, float *values) {
    return fp4_hadamard_undo((size_t)o->weights.hadamard, o->seed, linear->n_out, linear->n_in, values);
}

void method_set_activations(struct fp4_linear *linear, const struct fp4_method_options *o) {
    linear->policy = (struct fp4_policy){0};
    linear->policy.operand[FP4_FWD_X] = o->activations;
}
