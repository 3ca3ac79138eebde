/* fp4lab/methods.h: post-training quantization methods; one file in lib/methods/ each, defining fp4_method_NAME. */
#ifndef FP4LAB_METHODS_H
#define FP4LAB_METHODS_H

#include "fp4lab/model.h"

struct fp4_method_options {
    struct fp4_quantizer weights, activations; /* none: that side stays unquantized */
    const int32_t *calibration;                /* [n_sequences, length], may be NULL for methods that need none */
    size_t n_sequences, length;
    double damping;                            /* GPTQ: share of the mean diagonal */
    uint32_t seed;                             /* Hadamard signs */
};
struct fp4_method_result {
    size_t packed_bytes;      /* measured: packed codes + scales of every quantized weight */
    size_t unquantized_bytes; /* the same weights in 16 bit */
    size_t n_quantized;       /* linear layers */
};
/* A method rewrites the weights of every linear layer but the head in place (the values that their packed
 * form decodes to, in the basis of the layer's input) and sets the policies of their activations. */
struct fp4_method {
    const char *name, *summary, *source; /* source: paper or specification */
    bool needs_calibration;
    fp4_status (*apply)(struct fp4_model *m, const struct fp4_method_options *o, struct fp4_method_result *result);
};
extern const struct fp4_method *const fp4_methods_all[]; /* NULL-terminated, by name */
const struct fp4_method *fp4_method_find(const char *name); /* NULL: none */

#endif
