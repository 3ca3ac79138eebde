/* What bitsandbytes' two 4-bit formats share: blocks of 64 along the flattened memory, absmax in fp32, a table of 16 values. */
#ifndef FP4LAB_FORMATS_BNB_H
#define FP4LAB_FORMATS_BNB_H

#include "lib/formats/core/elements.h"
#include "lib/formats/core/format.h"

struct fp4_bnb {
    const float *values;     /* [16], of each code */
    const float *boundaries; /* [n]; a normalised value takes the place = number of boundaries below it */
    int n;
    const uint8_t *code;     /* of each place; NULL: the place itself */
    bool magnitudes;         /* boundaries are for |y|, and a negative x adds 8 */
    bool clamp;              /* y = clamp(x·(1/max(absmax, 1e−38)), ±1), else x·(1/absmax) */
};

/* dialect->parameters is a struct fp4_bnb. */
void fp4_bnb_encode(const struct fp4_tensor *t, size_t n, const float *x, const float *u, uint8_t *codes, uint8_t *scale);
void fp4_bnb_decode(const struct fp4_tensor *t, size_t n, const uint8_t *codes, const uint8_t *scale, float *y);
void fp4_bnb_fake(const struct fp4_tensor *t, size_t rows, size_t n, size_t stride, const float *x, const float *u, float *y);

#endif
