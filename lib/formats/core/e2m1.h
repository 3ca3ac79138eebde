/* What formats with E2M1 elements share. */
#ifndef FP4LAB_FORMATS_E2M1_H
#define FP4LAB_FORMATS_E2M1_H

#include "lib/formats/core/elements.h"
#include "lib/formats/core/format.h"
#include "lib/formats/core/te.h"

#define FP4_E2M1_MODIFIERS (FP4_MOD_AWAY | FP4_MOD_SR | FP4_MOD_HAD | FP4_MOD_CLIP | FP4_MOD_STORED)

/* Largest |x| of a block times the clip factor. */
static inline float fp4_block_amax(const struct fp4_tensor *t, size_t n, const float *x) {
    float b = 0.0f;
    for (size_t i = 0; i < n; i++)
        b = fp4_max(fp4_abs(x[i]), b);
    return b * t->clip;
}

/* The constants that te's prepare() leaves in k. */
static inline void fp4_te_keep(struct fp4_tensor *t, float limit) {
    struct fp4_te te = fp4_te_constants(t->amax, limit);
    t->tensor_scale = te.decode;
    t->k[0] = te.encode, t->k[1] = te.sixth, t->k[2] = te.decode, t->k[3] = te.inverse;
}
static inline struct fp4_te fp4_te_of(const struct fp4_tensor *t) {
    return (struct fp4_te){.encode = t->k[0], .sixth = t->k[1], .decode = t->k[2], .amax = t->amax, .inverse = t->k[3]};
}

/* For `fake`: block maxima (clipped) → factors and steps of ±E2M1(|x|·factor)·step. maximum == factor. */
typedef void (*fp4_e2m1_scales)(const struct fp4_tensor *t, size_t blocks, const float *maximum, float *factor, float *step);
void fp4_fake_e2m1(const struct fp4_tensor *t, fp4_e2m1_scales scales, size_t rows, size_t n, size_t stride, const float *x,
                   const float *u, float *y);

/* ---- four over six (core/four_over_six.c): dialects of nvfp4 ---- */

struct fp4_four_over_six {
    bool te;                    /* TransformerEngine's operation order, else the library fouroversix's */
    bool adaptive;              /* two candidates, else the one scale */
    float element_max;          /* 6; 4 for static4 */
    float scale_max;            /* 256 or 448 */
    enum fp4_block_error error;
};
/* The two candidates of a block. */
struct fp4_four_over_six_choice {
    bool pick4;
    float err4, err6;
};
/* Encodes a block and, when choice is not NULL, tells how the choice was made. */
void fp4_four_over_six_block(const struct fp4_tensor *t, size_t n, const float *x, const float *u, uint8_t *codes, uint8_t *scale,
                             struct fp4_four_over_six_choice *choice);
void fp4_four_over_six_prepare(struct fp4_tensor *t);
void fp4_four_over_six_encode(const struct fp4_tensor *t, size_t n, const float *x, const float *u, uint8_t *codes, uint8_t *scale);
void fp4_four_over_six_decode(const struct fp4_tensor *t, size_t n, const uint8_t *codes, const uint8_t *scale, float *y);
void fp4_four_over_six_fake(const struct fp4_tensor *t, size_t rows, size_t n, size_t stride, const float *x, const float *u,
                            float *y);

/* ---- AdaCodec (core/adacodec.c): dialects of nvfp4; parameters: const bool *half, elements pass through fp16 ---- */

void fp4_adacodec_prepare(struct fp4_tensor *t);
void fp4_adacodec_encode(const struct fp4_tensor *t, size_t n, const float *x, const float *u, uint8_t *codes, uint8_t *scale);
void fp4_adacodec_decode(const struct fp4_tensor *t, size_t n, const uint8_t *codes, const uint8_t *scale, float *y);
float fp4_adacodec_scale(uint8_t code); /* value of a scale code */

#endif
