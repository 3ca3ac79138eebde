/* AdaCodec's FP4 (write-up B): the scale grid 2^(e−7)·(1 + m/8), e = 0 … 15, whose lowest exponent has an implicit one and
 * where 480 takes the place of NaN; elements round away from zero. Source: xilinyu716/AdaCodec cd199ef, utils/quant_utils.py. */
#include "lib/formats/core/e2m1.h"

static const float global = 1.0f / 6.0f;

void fp4_adacodec_prepare(struct fp4_tensor *t) { t->tensor_scale = global; }

float fp4_adacodec_scale(uint8_t code) { return fp4_from_bits(((uint32_t)code << 20) + (120u << 23)); }

/* The nearest grid point, ties to the smaller. */
static uint8_t scale_code(float b) {
    float v = (b / global) / 6.0f;
    if (!(v > 0x1p-7f))
        return 0;
    uint32_t above = fp4_bits(v) - (120u << 23), code = (above >> 20) + ((above & 0xfffffu) > 0x80000u);
    return (uint8_t)(code < 127 ? code : 127);
}

void fp4_adacodec_encode(const struct fp4_tensor *t, size_t n, const float *x, const float *u, uint8_t *codes, uint8_t *scale) {
    (void)u; /* the dialect has one rounding */
    bool half = *(const bool *)t->dialect->parameters;
    *scale = scale_code(fp4_block_amax(t, n, x));
    float s = fp4_adacodec_scale(*scale);
    for (size_t i = 0; i < n; i++) {
        float y = (x[i] / global) / s;
        codes[i] = fp4_e2m1_encode(half ? fp4_fp16_round(y) : y, FP4_ROUND_AWAY, 0.0f);
    }
}

void fp4_adacodec_decode(const struct fp4_tensor *t, size_t n, const uint8_t *codes, const uint8_t *scale, float *y) {
    float s = fp4_adacodec_scale(*scale);
    for (size_t i = 0; i < n; i++)
        y[i] = (s * fp4_e2m1_decode(codes[i])) * t->tensor_scale;
}
