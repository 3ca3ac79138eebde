/* Four over six: a block's largest value goes to 6 or to 4, whichever has the smaller error. Two implementations: the library of
 * its authors (Cook et al., "Four Over Six", mit-han-lab/fouroversix dadfad6) and TransformerEngine's recipe. */
#include "lib/formats/core/e2m1.h"
#include "lib/kernels/cpu/kernels.h"

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

static struct fp4_six_four candidates(const struct fp4_tensor *t) {
    const struct fp4_four_over_six *p = parameters(t);
    struct fp4_te te = fp4_te_of(t);
    if (p->te)
        return (struct fp4_six_four){true, p->element_max, te.encode, te.decode};
    return (struct fp4_six_four){false, p->element_max, t->amax == 0.0f ? 0.0f : t->k[ENCODE], t->k[DECODE]};
}

static void candidate_codes(const struct fp4_tensor *t, uint8_t scale_code, size_t n, const float *x, const float *u,
                            uint8_t *codes) {
    const struct fp4_four_over_six *p = parameters(t);
    const struct fp4_six_four c = candidates(t);
    float factor = fp4_six_four_factor(&c, fp4_e4m3_decode(scale_code));
    for (size_t i = 0; i < n; i++) {
        float y = x[i] == 0.0f ? x[i] : x[i] * factor;
        bool negative = p->te ? signbit(x[i]) : y < 0.0f;
        codes[i] = (uint8_t)(fp4_e2m1_encode(fp4_abs(y), t->q.rounding, u ? u[i] : 0.0f) | (negative ? 8 : 0));
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
    const struct fp4_six_four c = candidates(t);
    fp4_six_four_scales(&c, fp4_block_amax(t, n, x), scale, &four);
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

/* ---- the fast path: dequantized candidates of a whole row segment, then the choice block by block ---- */

enum { BLOCKS = FP4_SEGMENT / 16 };

/* One row (a tile row of 2d blocks goes block by block). */
static void fake_row(const struct fp4_tensor *t, size_t n, const float *x, float *y) {
    const struct fp4_four_over_six *p = parameters(t);
    const struct fp4_cpu_kernels *kernels = fp4_cpu_kernels_now();
    const struct fp4_six_four c = candidates(t);
    size_t blocks = (n + 15) / 16;
    float b[BLOCKS], factor6[BLOCKS], scale6[BLOCKS], factor4[BLOCKS], scale4[BLOCKS], y6[FP4_SEGMENT], y4[FP4_SEGMENT];
    float error6[BLOCKS], error4[BLOCKS];
    kernels->block_max(1, n, n, 16, x, b);
    for (size_t j = 0; j < blocks; j++)
        b[j] *= t->clip;
    kernels->six_four(&c, blocks, b, scale6, factor6, scale4, factor4);
    kernels->e2m1_quotient(p->te, t->amax, limit_of(p), n, 16, x, factor6, scale6, y6);
    kernels->e2m1_quotient(p->te, t->amax, limit_of(p), n, 16, x, factor4, scale4, y4);
    kernels->block_error(p->error, n, x, y6, error6);
    kernels->block_error(p->error, n, x, y4, error4);
    for (size_t j = 0; j < blocks; j++) {
        size_t at = 16 * j, width = n - at < 16 ? n - at : 16;
        bool pick4 = error4[j] < error6[j];
        if (!p->te) {
            memcpy(y + at, (pick4 ? y4 : y6) + at, width * sizeof *y);
        } else if (pick4) {
            factor6[j] = factor4[j];
            scale6[j] = scale4[j];
        }
    }
    if (!p->te)
        return;
    struct fp4_te te = fp4_te_of(t); /* te decodes in another order than it compares */
    for (size_t j = 0; j < blocks; j++)
        scale6[j] = fp4_te_step(&te, scale6[j]);
    kernels->e2m1(FP4_ROUND_EVEN, 1, n, n, 16, x, NULL, factor6, scale6, y);
}

static void fake_tile(const struct fp4_tensor *t, size_t rows, size_t n, size_t stride, const float *x, float *y) {
    float tile[FP4_TILE * FP4_TILE] = {0};
    uint8_t codes[FP4_TILE * FP4_TILE], scale;
    for (size_t r = 0; r < rows; r++)
        memcpy(tile + r * n, x + r * stride, n * sizeof *x);
    fp4_four_over_six_block(t, rows * n, tile, NULL, codes, &scale, NULL);
    fp4_four_over_six_decode(t, rows * n, codes, &scale, tile);
    for (size_t r = 0; r < rows; r++)
        memcpy(y + r * stride, tile + r * n, n * sizeof *y);
}

void fp4_four_over_six_fake(const struct fp4_tensor *t, size_t rows, size_t n, size_t stride, const float *x, const float *u,
                            float *y) {
    (void)u; /* two candidates: to the nearest only */
    if (!t->q.two_d)
        fake_row(t, n, x, y);
    for (size_t c = 0; t->q.two_d && c < n; c += FP4_TILE)
        fake_tile(t, rows, n - c < FP4_TILE ? n - c : FP4_TILE, stride, x + c, y + c);
}
