/* NVFP4 as TransformerEngine computes it: the scalar definition that formats/nvfp4.c and the kernels share.
 * Source: core_nvfp4.cuh, dequantize_nvfp4.cuh, reference_nvfp4.py of NVIDIA/TransformerEngine d0067d0; operation order as in
 * golden/formats/README.md, te. */
#ifndef FP4LAB_FORMATS_TE_H
#define FP4LAB_FORMATS_TE_H

#include "lib/formats/core/elements.h"

struct fp4_te {
    float encode;  /* S = min(6M/amax, FLT_MAX), M the largest block scale */
    float sixth;   /* S·(1/6) */
    float decode;  /* 1/S */
    float amax;
    float inverse; /* 1/(6M) */
};

/* limit = 6M: 2688 but for the four-over-six recipes that use M = 256. */
static inline struct fp4_te fp4_te_constants(float amax, float limit) {
    struct fp4_te te = {.encode = fp4_min(limit / amax, FP4_FLT_MAX), .amax = amax, .inverse = 1.0f / limit};
    if (amax == 0.0f || te.encode == 0.0f)
        te.encode = 1.0f;
    te.sixth = te.encode * (1.0f / 6.0f);
    te.decode = 1.0f / te.encode;
    return te;
}
/* Block maximum → scale byte; b·S/6 is at most about 448. */
static inline uint8_t fp4_te_scale(const struct fp4_te *te, float b) {
    return fp4_e4m3_encode(fp4_min(b * te->sixth, FP4_FLT_MAX));
}
/* Factor of the elements on encoding; a scale that underflowed to 0 gives FLT_MAX. */
static inline float fp4_te_factor(const struct fp4_te *te, float scale) {
    return fp4_min(1.0f / (scale * te->decode), FP4_FLT_MAX);
}
/* Factor of the E2M1 values on decoding. */
static inline float fp4_te_step(const struct fp4_te *te, float scale) { return (scale * te->amax) * te->inverse; }

/* ---- four over six (core/four_over_six.c) ---- */

enum fp4_block_error { FP4_ERROR_MSE, FP4_ERROR_MAE, FP4_ERROR_ABSMAX };

/* How a block maximum becomes its two candidates. */
struct fp4_six_four {
    bool te;                          /* TransformerEngine's order, else the library's */
    float element_max, encode, decode; /* encode: 0 for the library's all-zero tensor */
};
static inline void fp4_six_four_scales(const struct fp4_six_four *c, float b, uint8_t *six, uint8_t *four) {
    float v = (b / c->element_max) * c->encode;
    *six = fp4_e4m3_encode(fp4_min(v, 448.0f));
    *four = fp4_e4m3_encode(fp4_min(v * 1.5f, 448.0f));
}
/* A zero scale gives zeros in the library (factor 0), FLT_MAX in te. */
static inline float fp4_six_four_factor(const struct fp4_six_four *c, float scale) {
    float factor = 1.0f / (scale * c->decode);
    return c->te ? fp4_min(factor, FP4_FLT_MAX) : scale == 0.0f ? 0.0f : factor;
}

#endif
