/* bitsandbytes' block-wise 4-bit quantization. Source: csrc/kernels.cu (95f9af3) and the default backend of 0.50.2. */
#include "lib/formats/core/bnb.h"
#include "lib/kernels/cpu/kernels.h"

void fp4_bnb_encode(const struct fp4_tensor *t, size_t n, const float *x, const float *u, uint8_t *codes, uint8_t *scale) {
    (void)u;
    const struct fp4_bnb *p = t->dialect->parameters;
    float absmax = 0.0f;
    for (size_t i = 0; i < n; i++)
        absmax = fp4_max(fp4_abs(x[i]), absmax);
    memcpy(scale, &absmax, sizeof absmax);
    float inverse = 1.0f / (p->clamp ? fp4_max(absmax, 1e-38f) : absmax);
    for (size_t i = 0; i < n; i++) {
        float y = x[i] * inverse; /* 0·∞ of an all-zero block: no boundary is below NaN */
        if (p->clamp)
            y = fp4_max(fp4_min(y, 1.0f), -1.0f);
        if (p->magnitudes)
            y = fp4_abs(y);
        int place = 0;
        for (int j = 0; j < p->n; j++)
            place += p->boundaries[j] < y;
        codes[i] = (uint8_t)((p->code ? p->code[place] : place) + (p->magnitudes && x[i] < 0.0f ? 8 : 0));
    }
}

void fp4_bnb_decode(const struct fp4_tensor *t, size_t n, const uint8_t *codes, const uint8_t *scale, float *y) {
    const struct fp4_bnb *p = t->dialect->parameters;
    float absmax;
    memcpy(&absmax, scale, sizeof absmax);
    for (size_t i = 0; i < n; i++)
        y[i] = p->values[codes[i] & 15] * absmax;
}

void fp4_bnb_fake(const struct fp4_tensor *t, size_t rows, size_t n, size_t stride, const float *x, const float *u, float *y) {
    (void)u;
    const struct fp4_bnb *p = t->dialect->parameters;
    const struct fp4_cpu_kernels *kernels = fp4_cpu_kernels_now();
    struct fp4_value_table table = {.boundaries = p->boundaries, .n = p->n, .magnitudes = p->magnitudes, .clamp = p->clamp};
    float absmax[FP4_SEGMENT / 64];
    for (int place = 0; place <= p->n; place++)
        table.values[place] = p->values[p->code ? p->code[place] : place];
    kernels->block_max(rows, n, stride, t->block, x, absmax);
    kernels->table(&table, n, t->block, x, absmax, y);
}
