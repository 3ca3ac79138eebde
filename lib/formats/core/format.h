/* What a format is. To add one, write lib/formats/NAME.c with `const struct fp4_format fp4_format_NAME`: its dialects and
 * how they encode and decode a block. The build finds it; spelling, packing, threads, 16×16 tiles, the Hadamard transform
 * and random numbers are the driver's (quantize.c, pass.c). */
#ifndef FP4LAB_FORMATS_FORMAT_H
#define FP4LAB_FORMATS_FORMAT_H

#include "fp4lab/formats.h"

/* What a dialect's spelling may carry. */
enum fp4_modifier {
    FP4_MOD_2D = 1,
    FP4_MOD_AWAY = 2,
    FP4_MOD_SR = 4,
    FP4_MOD_HAD = 8,
    FP4_MOD_GROUP = 16,
    FP4_MOD_CLIP = 32,
    FP4_MOD_STORED = 64
};

enum {
    FP4_TILE = 16,           /* rows and columns of a 2d block */
    FP4_SEGMENT = 4096,      /* elements that a call works on at most; every block size divides it or is below it */
    FP4_GROUP_MAX = 4096
};

/* A tensor as a dialect sees it: all that its blocks share. */
struct fp4_tensor {
    struct fp4_quantizer q;
    const struct fp4_dialect *dialect;
    size_t block;       /* elements of a block; 0: no block scales */
    float clip;         /* factor of block maxima */
    float amax;         /* largest |x| */
    float tensor_scale; /* 1 unless prepare() sets it */
    float k[6];         /* the dialect's own constants */
};

struct fp4_dialect {
    const char *name;       /* "": the format has one dialect, which its spelling does not name */
    const char *summary;    /* for --help */
    const char *source;     /* paper, specification or code that defines it */
    unsigned int modifiers; /* enum fp4_modifier */
    const void *parameters; /* what tells it from its siblings that share functions; may be NULL */
    /* Sets tensor_scale and k from q and amax (finite); NULL: nothing to set. */
    void (*prepare)(struct fp4_tensor *t);
    /* A block of n elements. u is NULL but for stochastic rounding. codes: one a byte (two bytes each for 16-bit codes);
     * scale: the format's scale_bytes. */
    void (*encode)(const struct fp4_tensor *t, size_t n, const float *x, const float *u, uint8_t *codes, uint8_t *scale);
    void (*decode)(const struct fp4_tensor *t, size_t n, const uint8_t *codes, const uint8_t *scale, float *y);
    /* Optional: decode ∘ encode in one go for `rows` (1, or up to 16 of a 2d tile row) by n elements with `stride` between
     * rows, n ≤ FP4_SEGMENT / rows; u [rows, n]; x == y is allowed. The same bits as by encode and decode. */
    void (*fake)(const struct fp4_tensor *t, size_t rows, size_t n, size_t stride, const float *x, const float *u, float *y);
};

struct fp4_format {
    const char *name, *summary;
    size_t block;               /* default block or group; 0: elements on their own or one scale a tensor */
    size_t scale_bytes;         /* of a block's scale */
    int code_bits;              /* 4, 8 or 16 */
    bool flat;                  /* blocks run along the flattened memory */
    bool high_nibble_first;     /* packing: the even element in the high nibble */
    bool tensor_scaled;         /* a tensor needs its tensor_scale (or amax) to be read back */
    const struct fp4_dialect *dialects; /* ended by one without a name; the first is what the bare format name means */
};

static inline const struct fp4_dialect *fp4_dialect_of(const struct fp4_quantizer *q) {
    return &q->format->dialects[q->dialect];
}
/* FP4_ERR_ARG, with what is allowed, when parts of a quantizer do not go together. */
fp4_status fp4_quantizer_check(const struct fp4_quantizer *q);
/* Elements that share a scale along a row (or the memory). */
static inline size_t fp4_block_of(const struct fp4_quantizer *q) { return q->group ? (size_t)q->group : q->format->block; }
/* What the blocks of a tensor with this amax share. */
void fp4_tensor_prepare(const struct fp4_quantizer *q, float amax, struct fp4_tensor *t);

#endif
