/* Round to nearest: every weight to the nearest point of its block's grid, with no data. Four-over-six scaling and Hadamard transforms
 * are properties of the quantizer (nvfp4:fouroversix, nvfp4:te,had16), so they need no method of their own. */
#include "lib/methods/core/method.h"

static fp4_status quantize_layer(struct fp4_model *m, struct fp4_linear *linear, const struct fp4_method_options *o,
                                 struct fp4_method_result *result) {
    float *w;
    struct fp4_param *param = fp4_model_param(m, linear->param);
    FP4_TRY(FP4_NEW(w, param->elements));
    fp4_status status = fp4_model_get(m, param, w);
    if (status == FP4_OK)
        status = method_pack(linear, o, w, w, result);
    if (status == FP4_OK)
        status = fp4_model_set(m, param, w);
    fp4_free(w);
    return status;
}

static fp4_status apply(struct fp4_model *m, const struct fp4_method_options *o, struct fp4_method_result *result) {
    *result = (struct fp4_method_result){0};
    for (size_t i = 0; i < fp4_model_n_linear(m); i++) {
        struct fp4_linear *linear = fp4_model_linear(m, i);
        if (!method_wants(linear))
            continue;
        if (!fp4_quantizer_is_none(&o->weights))
            FP4_TRY(quantize_layer(m, linear, o, result));
        method_set_activations(linear, o);
    }
    return FP4_OK;
}

const struct fp4_method fp4_method_rtn = {
    .name = "rtn",
    .summary = "round to nearest, no data",
    .source = "the quantizer's own definition",
    .apply = apply,
};
