/* INT4 in groups along rows, symmetric, an fp32 scale a group: scale = (b·clip)/divisor. Own definitions, but div7_5, which is
 * compressed-tensors 0.20.0's symmetric int4. */
#include "lib/formats/core/e2m1.h"
#include "lib/kernels/cpu/kernels.h"

enum { GROUPS = FP4_SEGMENT / 16 };

struct mode {
    float divisor, low, clip;
};

static float group_scale(const struct fp4_tensor *t, float b) {
    const struct mode *m = t->dialect->parameters;
    float scale = (b * m->clip) / m->divisor;
    return scale == 0.0f ? 1.0f : scale;
}

static void encode(const struct fp4_tensor *t, size_t n, const float *x, const float *u, uint8_t *codes, uint8_t *scale) {
    const struct mode *m = t->dialect->parameters;
    float s = group_scale(t, fp4_block_amax(t, n, x));
    memcpy(scale, &s, sizeof s);
    for (size_t i = 0; i < n; i++)
        codes[i] = (uint8_t)((int)fp4_int4_round(x[i] / s, m->low, t->q.rounding, u ? u[i] : 0.0f) & 15);
}

static void decode(const struct fp4_tensor *t, size_t n, const uint8_t *codes, const uint8_t *scale, float *y) {
    (void)t;
    float s;
    memcpy(&s, scale, sizeof s);
    for (size_t i = 0; i < n; i++)
        y[i] = (float)(codes[i] < 8 ? codes[i] : codes[i] - 16) * s;
}

static void fake(const struct fp4_tensor *t, size_t rows, size_t n, size_t stride, const float *x, const float *u, float *y) {
    const struct fp4_cpu_kernels *kernels = fp4_cpu_kernels_now();
    const struct mode *m = t->dialect->parameters;
    struct fp4_int_grid grid = {.low = m->low, .rounding = t->q.rounding};
    float scale[GROUPS];
    kernels->block_max(rows, n, stride, t->block, x, scale);
    for (size_t j = 0; j * t->block < n; j++)
        scale[j] = group_scale(t, scale[j] * t->clip);
    kernels->int4(grid, n, t->block, x, u, scale, y);
}

static const struct mode sym7 = {7.0f, -7.0f, 1.0f}, clip90 = {7.0f, -7.0f, 0.9f}, clip90_m8 = {7.0f, -8.0f, 0.9f},
                         div7_5 = {7.5f, -8.0f, 1.0f};

#define DIALECT(name, summary, source) \
    {#name, summary, source, FP4_E2M1_MODIFIERS | FP4_MOD_GROUP, &name, NULL, encode, decode, fake}

static const struct fp4_dialect dialects[] = {
    DIALECT(sym7, "-7 ... 7, scale = maximum/7", "common practice"),
    DIALECT(clip90, "-7 ... 7, maxima clipped at 90 %", "own definition"),
    DIALECT(clip90_m8, "-8 ... 7, maxima clipped at 90 %", "own definition"),
    DIALECT(div7_5, "-8 ... 7, scale = maximum/7.5", "compressed-tensors 0.20.0"),
    {0}};

const struct fp4_format fp4_format_int4 = {
    .name = "int4",
    .summary = "4-bit integers in groups of 128 with an fp32 scale",
    .block = 128,
    .scale_bytes = 4,
    .code_bits = 4,
    .dialects = dialects,
};
