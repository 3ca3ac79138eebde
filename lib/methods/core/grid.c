/* The grid of a scale block, from the format's own encoder and decoder: no method knows how a format works. */
#include "lib/methods/core/method.h"

fp4_status method_grid_prepare(const struct fp4_quantizer *q, float amax, struct fp4_tensor *t) {
    char spelling[FP4_SPELLING_MAX];
    fp4_quantizer_spell(q, spelling);
    if (fp4_quantizer_is_none(q) || q->format->code_bits != 4 || q->format->flat || q->two_d || q->rounding == FP4_ROUND_STOCHASTIC)
        return fp4_fail(FP4_ERR_UNSUPPORTED, "%s: cannot be rounded one element at a time; use a 4-bit format with blocks along rows", spelling);
    fp4_tensor_prepare(q, amax, t);
    return FP4_OK;
}

void method_grid_of(const struct fp4_tensor *t, size_t n, const float *x, struct method_grid *out) {
    static const uint8_t every_code[16] = {0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15};
    uint8_t codes[FP4_GROUP_MAX], scale[8] = {0};
    t->dialect->encode(t, n, x, NULL, codes, scale);
    t->dialect->decode(t, 16, every_code, scale, out->value);
    for (size_t i = 1; i < 16; i++) /* insertion sort */
        for (size_t j = i; j > 0 && out->value[j] < out->value[j - 1]; j--) {
            float swap = out->value[j];
            out->value[j] = out->value[j - 1];
            out->value[j - 1] = swap;
        }
}

float method_grid_round(const struct method_grid *g, float x) {
    size_t low = 0; /* the largest index whose value is ≤ x, or 0 */
    for (size_t half = 8; half > 0; half /= 2)
        if (g->value[low + half] <= x)
            low += half;
    if (low == 15 || x - g->value[low] <= g->value[low + 1] - x)
        return g->value[low];
    return g->value[low + 1];
}
