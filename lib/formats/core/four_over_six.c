/* Four over six: a block's largest value goes to 6 or to 4, whichever has the smaller error. Two implementations: the library of
 * its authors (Cook et al., "Four Over Six", mit-han-lab/fouroversix dadfad6) and TransformerEngine's recipe. */
#include "lib/formats/core/e2m1.h"

#include <math.h>

/* k of the library's order; te uses fp4_te_keep. */
enum { ENCODE = 0, DECODE = 1 };

static const struct fp4_four_over_six *parameters(const struct fp4_tensor *t) { return t->dialect->parameters; }
static float limit_of(const struct fp4_four_over_six *p) { return p->element_max * p->scale_max; }

void fp4_four_over_six_prepare(struct fp4_tensor *t) {
    const struct fp4_four_over_six *p = parameters(t);
    if (p->te) {
        fp4_te_keep(t, limit_of(p));
        return;
    }
    t->k[ENCODE] = limit_of(p) / t->amax;
    t->tensor_scale = t->k[DECODE] = 1.0f / t->k[ENCODE];
}

/* Both candidate scale bytes. */
static void candidate_scales(const struct fp4_tensor *t, float b, uint8_t *six, uint8_t *four) {
    const struct fp4_four_over_six *p = parameters(t);
    float v = t->amax == 0.0f && !p->te ? 0.0f : (b / p->element_max) * t->k[0];
    *six = fp4_e4m3_encode(fp4_min(v, 448.0f));
    *four = fp4_e4m3_encode(fp4_min(v * 1.5f, 448.0f));
}

static void candidate_codes(const struct fp4_tensor *t, uint8_t scale_code, size_t n, const float *x, const float *u,
                            uint8_t *codes) {
    const struct fp4_four_over_six *p = parameters(t);
    float scale = fp4_e4m3_decode(scale_code), factor;
    if (p->te) {
        struct fp4_te te = fp4_te_of(t);
        factor = fp4_te_factor(&te, scale);
    } else {
        factor = 1.0f / (t->k[DECODE] * scale);
    }
    for (size_t i = 0; i < n; i++) {
        float y = x[i] == 0.0f ? x[i] : x[i] * factor;
        bool negative = p->te ? signbit(x[i]) : y < 0.0f;
        codes[i] = (uint8_t)(fp4_e2m1_encode(fp4_abs(y), t->q.rounding, u ? u[i] : 0.0f) | (negative ? 8 : 0));
        if (!p->te && scale == 0.0f)
            codes[i] = 0;
    }
}

static float candidate_error(const struct fp4_tensor *t, uint8_t scale_code, size_t n, const float *x, const uint8_t *codes) {
    const struct fp4_four_over_six *p = parameters(t);
    float scale = fp4_e4m3_decode(scale_code), limit = limit_of(p), error = 0.0f;
    for (size_t i = 0; i < n; i++) {
        float d = ((fp4_e2m1_decode(codes[i]) * scale) * t->amax) / limit - x[i];
        if (p->error == FP4_ERROR_ABSMAX)
            error = fp4_max(fp4_abs(d), error);
        else
            error += p->error == FP4_ERROR_MSE ? d * d : fp4_abs(d);
    }
    return error;
}

void fp4_four_over_six_block(const struct fp4_tensor *t, size_t n, const float *x, const float *u, uint8_t *codes, uint8_t *scale,
                             struct fp4_four_over_six_choice *choice) {
    uint8_t four, codes4[FP4_TILE * FP4_TILE];
    candidate_scales(t, fp4_block_amax(t, n, x), scale, &four);
    candidate_codes(t, *scale, n, x, u, codes);
    if (!parameters(t)->adaptive)
        return;
    candidate_codes(t, four, n, x, u, codes4);
    float err6 = candidate_error(t, *scale, n, x, codes), err4 = candidate_error(t, four, n, x, codes4);
    if (choice)
        *choice = (struct fp4_four_over_six_choice){.pick4 = err4 < err6, .err4 = err4, .err6 = err6};
    if (err4 < err6) {
        *scale = four;
        memcpy(codes, codes4, n);
    }
}

void fp4_four_over_six_encode(const struct fp4_tensor *t, size_t n, const float *x, const float *u, uint8_t *codes,
                              uint8_t *scale) {
    fp4_four_over_six_block(t, n, x, u, codes, scale, NULL);
}

void fp4_four_over_six_decode(const struct fp4_tensor *t, size_t n, const uint8_t *codes, const uint8_t *scale, float *y) {
    const struct fp4_four_over_six *p = parameters(t);
    float value = fp4_e4m3_decode(*scale), limit = limit_of(p);
    if (p->te) {
        struct fp4_te te = fp4_te_of(t);
        float step = fp4_te_step(&te, value);
        for (size_t i = 0; i < n; i++)
            y[i] = fp4_e2m1_decode(codes[i]) * step;
        return;
    }
    for (size_t i = 0; i < n; i++)
        y[i] = ((fp4_e2m1_decode(codes[i]) * value) * t->amax) / limit;
}
