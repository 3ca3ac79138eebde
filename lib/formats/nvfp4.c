/* NVFP4: E2M1 elements in blocks of 16 (or 16×16 tiles) with an E4M3 scale each, and one fp32 scale a tensor. A dialect is a
 * published library's way to compute them; they differ in the order of fp32 operations, in clamps and in zeros. The
 * definitions are those of golden/formats/README.md. */
#include "lib/formats/core/e2m1.h"
#include "lib/kernels/cpu/kernels.h"

#include <math.h>

/* A dialect with one scale candidate: how it gets the scale byte, what elements are multiplied (divided) by, and the step. */
struct plain {
    uint8_t (*scale)(const struct fp4_tensor *t, float b);
    float (*factor)(const struct fp4_tensor *t, float scale);
    float (*step)(const struct fp4_tensor *t, float scale);
    bool divide;         /* y = x/factor rather than x·factor */
    bool quotient_sign;  /* sign bit = (y < 0) rather than that of x */
    bool plus_zero;      /* code 8 decodes to +0 */
};

static void encode(const struct fp4_tensor *t, size_t n, const float *x, const float *u, uint8_t *codes, uint8_t *scale) {
    const struct plain *p = t->dialect->parameters;
    *scale = p->scale(t, fp4_block_amax(t, n, x));
    float factor = p->factor(t, fp4_e4m3_decode(*scale));
    for (size_t i = 0; i < n; i++) {
        /* Zeros stay zeros where the factor of a tensor of subnormals is infinite. */
        float y = x[i] == 0.0f ? x[i] : p->divide ? x[i] / factor : x[i] * factor;
        bool negative = p->quotient_sign ? y < 0.0f : signbit(x[i]);
        codes[i] = (uint8_t)(fp4_e2m1_encode(fp4_abs(y), t->q.rounding, u ? u[i] : 0.0f) | (negative ? 8 : 0));
    }
}

static void decode(const struct fp4_tensor *t, size_t n, const uint8_t *codes, const uint8_t *scale, float *y) {
    const struct plain *p = t->dialect->parameters;
    float step = p->step(t, fp4_e4m3_decode(*scale));
    for (size_t i = 0; i < n; i++)
        y[i] = codes[i] == 8 && p->plus_zero ? 0.0f : fp4_e2m1_decode(codes[i]) * step;
}

/* ---- te ---- */

static void te_prepare(struct fp4_tensor *t) { fp4_te_keep(t, 2688.0f); }
static uint8_t te_scale(const struct fp4_tensor *t, float b) {
    struct fp4_te te = fp4_te_of(t);
    return fp4_te_scale(&te, b);
}
static float te_factor(const struct fp4_tensor *t, float scale) {
    struct fp4_te te = fp4_te_of(t);
    return fp4_te_factor(&te, scale);
}
static float te_step(const struct fp4_tensor *t, float scale) {
    struct fp4_te te = fp4_te_of(t);
    return fp4_te_step(&te, scale);
}
static void te_scales(const struct fp4_tensor *t, size_t blocks, const float *maximum, float *factor, float *step) {
    struct fp4_te te = fp4_te_of(t);
    fp4_cpu_kernels_now()->te_scales(&te, blocks, maximum, factor, step);
}
static void te_fake(const struct fp4_tensor *t, size_t rows, size_t n, size_t stride, const float *x, const float *u, float *y) {
    fp4_fake_e2m1(t, te_scales, rows, n, stride, x, u, y);
}
static const struct plain te = {te_scale, te_factor, te_step, false, false, false};

/* ---- torchao: k[0] = 1/ts ---- */

static void ts_prepare(struct fp4_tensor *t) {
    t->tensor_scale = t->amax / 2688.0f;
    t->k[0] = 1.0f / t->tensor_scale;
}
static uint8_t torchao_scale(const struct fp4_tensor *t, float b) {
    float v = b == 0.0f ? 0.0f : (b / 6.0f) / t->tensor_scale;
    return fp4_e4m3_encode(fp4_min(fp4_max(v, 0x1p-6f), 448.0f));
}
static float torchao_factor(const struct fp4_tensor *t, float scale) { return t->k[0] / scale; }
static float ts_step(const struct fp4_tensor *t, float scale) { return t->tensor_scale * scale; }
static void torchao_scales(const struct fp4_tensor *t, size_t blocks, const float *maximum, float *factor, float *step) {
    for (size_t j = 0; j < blocks; j++) {
        float scale = fp4_e4m3_decode(torchao_scale(t, maximum[j]));
        factor[j] = torchao_factor(t, scale);
        step[j] = ts_step(t, scale);
    }
}
static void torchao_fake(const struct fp4_tensor *t, size_t rows, size_t n, size_t stride, const float *x, const float *u,
                         float *y) {
    fp4_fake_e2m1(t, torchao_scales, rows, n, stride, x, u, y);
}
static const struct plain torchao = {torchao_scale, torchao_factor, ts_step, false, false, false};

/* ---- modelopt ---- */

static uint8_t modelopt_scale(const struct fp4_tensor *t, float b) {
    float v = b == 0.0f ? 0.0f : b / (6.0f * t->tensor_scale);
    v = v == 0.0f ? 1.0f : v;
    return fp4_e4m3_encode(fp4_min(fp4_max(v, 0x1p-9f), 448.0f));
}
static const struct plain modelopt = {modelopt_scale, ts_step, ts_step, true, true, true};

/* ---- compressed_tensors ---- */

static void ct_prepare(struct fp4_tensor *t) {
    t->tensor_scale = (1.0f / fp4_max(t->amax, 0x1p-126f)) * 2688.0f;
    if (isinf(t->tensor_scale))
        t->tensor_scale = 1.0f;
}
static uint8_t ct_scale(const struct fp4_tensor *t, float b) {
    uint8_t scale = fp4_e4m3_encode(fp4_min(t->tensor_scale * (b / 6.0f), 448.0f));
    return scale ? scale : 0x20; /* 0.125 */
}
static float ct_step(const struct fp4_tensor *t, float scale) { return scale / t->tensor_scale; }
static const struct plain compressed_tensors = {ct_scale, ct_step, ct_step, true, true, false};

/* ---- the table ---- */

static const struct fp4_four_over_six te_4over6 = {true, true, 6.0f, 256.0f, FP4_ERROR_MAE};
static const struct fp4_four_over_six te_4over6_mse = {true, true, 6.0f, 256.0f, FP4_ERROR_MSE};
static const struct fp4_four_over_six te_4over6_448 = {true, true, 6.0f, 448.0f, FP4_ERROR_MAE};
static const struct fp4_four_over_six f6_mse = {false, true, 6.0f, 256.0f, FP4_ERROR_MSE};
static const struct fp4_four_over_six f6_mae = {false, true, 6.0f, 256.0f, FP4_ERROR_MAE};
static const struct fp4_four_over_six f6_absmax = {false, true, 6.0f, 256.0f, FP4_ERROR_ABSMAX};
static const struct fp4_four_over_six f6_static6 = {false, false, 6.0f, 448.0f, FP4_ERROR_MSE};
static const struct fp4_four_over_six f6_static4 = {false, false, 4.0f, 448.0f, FP4_ERROR_MSE};
static const bool fp32_elements = false, fp16_elements = true;

#define ALL (FP4_E2M1_MODIFIERS | FP4_MOD_2D)
/* Four over six compares errors of rounding to nearest; AdaCodec's elements are rounded away by definition. */
#define NEAREST (FP4_MOD_2D | FP4_MOD_HAD | FP4_MOD_CLIP | FP4_MOD_STORED)
#define PLAIN(name, summary, source, prepare, fake) {#name, summary, source, ALL, &name, prepare, encode, decode, fake}
#define FOUR_OVER_SIX(name, summary, source, parameters)                                                                       \
    {name, summary, source, NEAREST, &parameters, fp4_four_over_six_prepare, fp4_four_over_six_encode,                         \
     fp4_four_over_six_decode, fp4_four_over_six_fake}
#define STATIC(name, summary, parameters)                                                                                      \
    {name, summary, F6_SOURCE, ALL, &parameters, fp4_four_over_six_prepare, fp4_four_over_six_encode, fp4_four_over_six_decode, NULL}
#define ADACODEC(name, summary, parameters)                                                                                    \
    {name, summary, "xilinyu716/AdaCodec cd199ef, utils/quant_utils.py", NEAREST, &parameters, fp4_adacodec_prepare,           \
     fp4_adacodec_encode, fp4_adacodec_decode, NULL}
#define TE_SOURCE "NVIDIA/TransformerEngine d0067d0, quantize_4over6_nvfp4.cuh"
#define F6_SOURCE "mit-han-lab/fouroversix dadfad6 (1.0.5)"

static const struct fp4_dialect dialects[] = {
    PLAIN(te, "TransformerEngine, the canonical dialect", "NVIDIA/TransformerEngine d0067d0, core_nvfp4.cuh", te_prepare, te_fake),
    FOUR_OVER_SIX("te_4over6", "TransformerEngine's four over six, absolute error, scales up to 256", TE_SOURCE, te_4over6),
    FOUR_OVER_SIX("te_4over6_mse", "the same, squared error", TE_SOURCE, te_4over6_mse),
    FOUR_OVER_SIX("te_4over6_448", "absolute error, scales up to 448", TE_SOURCE, te_4over6_448),
    FOUR_OVER_SIX("fouroversix", "four over six as its authors publish it, squared error", F6_SOURCE, f6_mse),
    FOUR_OVER_SIX("fouroversix_mae", "the same, absolute error", F6_SOURCE, f6_mae),
    FOUR_OVER_SIX("fouroversix_absmax", "the same, largest error", F6_SOURCE, f6_absmax),
    STATIC("fouroversix_static6", "that library without the choice: block maxima to 6", f6_static6),
    STATIC("fouroversix_static4", "that library without the choice: block maxima to 4", f6_static4),
    PLAIN(torchao, "torchao, scales of at least 2^-6", "torchao 0.18.0, prototype/mx_formats/nvfp4_tensor.py", ts_prepare,
          torchao_fake),
    PLAIN(modelopt, "NVIDIA Model Optimizer", "nvidia-modelopt 0.47.0, torch/quantization/qtensor/nvfp4_tensor.py", ts_prepare,
          NULL),
    PLAIN(compressed_tensors, "compressed-tensors (vLLM, llm-compressor)",
          "compressed-tensors 0.20.0, quantization/utils/helpers.py", ct_prepare, NULL),
    ADACODEC("adacodec", "the AdaCodec write-up's text: own scale grid, no tensor scale, ties away", fp32_elements),
    ADACODEC("adacodec_run", "the AdaCodec code's arithmetic: elements pass through half precision", fp16_elements),
    {0}};

const struct fp4_format fp4_format_nvfp4 = {
    .name = "nvfp4",
    .summary = "E2M1, blocks of 16 with an E4M3 scale, fp32 tensor scale",
    .block = 16,
    .scale_bytes = 1,
    .code_bits = 4,
    .tensor_scaled = true,
    .dialects = dialects,
};
