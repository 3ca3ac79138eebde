/* Element types and their conversion to fp32. The block types are ggml's (ggml-quants, k-quants): fp16 scales, integer codes; every
 * product and sum is one fp32 operation, in ggml's order. */
#include "lib/io/checkpoint.h"

#include <string.h>

static const struct io_dtype types[FP4_DTYPE_COUNT] = {
    [FP4_F32] = {"F32", 1, 4},       [FP4_F16] = {"F16", 1, 2},         [FP4_BF16] = {"BF16", 1, 2},
    [FP4_F64] = {"F64", 1, 8},       [FP4_I8] = {"I8", 1, 1},           [FP4_U8] = {"U8", 1, 1},
    [FP4_I16] = {"I16", 1, 2},       [FP4_I32] = {"I32", 1, 4},         [FP4_I64] = {"I64", 1, 8},
    [FP4_U16] = {"U16", 1, 2},       [FP4_U32] = {"U32", 1, 4},         [FP4_U64] = {"U64", 1, 8},
    [FP4_BOOL] = {"BOOL", 1, 1},     [FP4_GGUF_Q4_0] = {"Q4_0", 32, 18}, [FP4_GGUF_Q4_1] = {"Q4_1", 32, 20},
    [FP4_GGUF_Q8_0] = {"Q8_0", 32, 34}, [FP4_GGUF_Q6_K] = {"Q6_K", 256, 210}, [FP4_DTYPE_OTHER] = {"other", 1, 0}};

const struct io_dtype *io_dtype_info(enum fp4_dtype t) {
    return (int)t >= 0 && t < FP4_DTYPE_COUNT ? &types[t] : &types[FP4_DTYPE_OTHER];
}

const char *fp4_dtype_name(enum fp4_dtype t) { return io_dtype_info(t)->name; }

static uint16_t load16(const uint8_t *p) { return (uint16_t)(p[0] | p[1] << 8); }
static uint32_t load32(const uint8_t *p) { return load16(p) | (uint32_t)load16(p + 2) << 16; }
static uint64_t load64(const uint8_t *p) { return load32(p) | (uint64_t)load32(p + 4) << 32; }

static float bits_to_float(uint32_t bits) {
    float f;
    memcpy(&f, &bits, sizeof f);
    return f;
}

static double bits_to_double(uint64_t bits) {
    double f;
    memcpy(&f, &bits, sizeof f);
    return f;
}

/* IEEE binary16; exact, NaN payloads kept. */
static float half_to_float(uint16_t h) {
    uint32_t sign = (uint32_t)(h & 0x8000) << 16, exponent = h >> 10 & 31, mantissa = h & 1023;
    if (exponent == 31)
        return bits_to_float(sign | 0x7f800000 | mantissa << 13);
    if (exponent == 0) { /* zero and subnormals: mantissa · 2⁻²⁴ */
        float value = (float)mantissa * 0x1p-24f;
        return sign ? -value : value;
    }
    return bits_to_float(sign | (exponent + 112) << 23 | mantissa << 13);
}

static void q4_0(const uint8_t *p, float *y) {
    float d = half_to_float(load16(p));
    for (int j = 0; j < 16; j++) {
        y[j] = d * (float)((p[2 + j] & 15) - 8);
        y[j + 16] = d * (float)((p[2 + j] >> 4) - 8);
    }
}

static void q4_1(const uint8_t *p, float *y) {
    float d = half_to_float(load16(p)), m = half_to_float(load16(p + 2));
    for (int j = 0; j < 16; j++) {
        y[j] = d * (float)(p[4 + j] & 15) + m;
        y[j + 16] = d * (float)(p[4 + j] >> 4) + m;
    }
}

static void q8_0(const uint8_t *p, float *y) {
    float d = half_to_float(load16(p));
    for (int j = 0; j < 32; j++)
        y[j] = d * (float)(int8_t)p[2 + j];
}

/* 128 bytes of low nibbles, 64 of high pairs, 16 int8 scales for 16 elements each, fp16 d. Each half of the block interleaves four runs of 32. */
static void q6_k(const uint8_t *p, float *y) {
    float d = half_to_float(load16(p + 208));
    for (int half = 0; half < 2; half++) {
        const uint8_t *low = p + 64 * half, *high = p + 128 + 32 * half, *scales = p + 192 + 8 * half;
        for (int run = 0; run < 4; run++)
            for (int l = 0; l < 32; l++) {
                int nibble = run < 2 ? low[l + 32 * run] & 15 : low[l + 32 * (run - 2)] >> 4;
                int code = (nibble | (high[l] >> 2 * run & 3) << 4) - 32;
                y[128 * half + 32 * run + l] = d * (float)(int8_t)scales[2 * run + l / 16] * (float)code;
            }
    }
}

static void convert_blocks(enum fp4_dtype type, const uint8_t *p, size_t n, float *y) {
    const struct io_dtype *info = io_dtype_info(type);
    void (*one)(const uint8_t *, float *) = type == FP4_GGUF_Q4_0   ? q4_0
                                            : type == FP4_GGUF_Q4_1 ? q4_1
                                            : type == FP4_GGUF_Q8_0 ? q8_0
                                                                    : q6_k;
    for (size_t i = 0; i < n; i += info->block, p += info->block_bytes)
        one(p, y + i);
}

/* One loop for each type: load an element at p + i·size and convert it. */
#define EACH(size, expression)                                  \
    for (size_t i = 0; i < n; i++) {                            \
        const uint8_t *e = p + i * (size);                      \
        y[i] = (float)(expression);                             \
    }                                                           \
    break

static void convert(enum fp4_dtype type, const uint8_t *p, size_t n, float *y) {
    switch (type) {
    case FP4_F32: EACH(4, bits_to_float(load32(e)));
    case FP4_F16: EACH(2, half_to_float(load16(e)));
    case FP4_BF16: EACH(2, bits_to_float((uint32_t)load16(e) << 16));
    case FP4_F64: EACH(8, bits_to_double(load64(e)));
    case FP4_I8: EACH(1, (int8_t)e[0]);
    case FP4_U8: EACH(1, e[0]);
    case FP4_BOOL: EACH(1, e[0] != 0);
    case FP4_I16: EACH(2, (int16_t)load16(e));
    case FP4_U16: EACH(2, load16(e));
    case FP4_I32: EACH(4, (int32_t)load32(e));
    case FP4_U32: EACH(4, load32(e));
    case FP4_I64: EACH(8, (int64_t)load64(e));
    case FP4_U64: EACH(8, load64(e));
    default: convert_blocks(type, p, n, y);
    }
}

enum { TASK_ELEMENTS = 1 << 18 }; /* a multiple of every block */

struct conversion {
    const struct io_dtype *info;
    enum fp4_dtype type;
    const uint8_t *data;
    size_t n;
    float *out;
};

static void convert_task(void *context, size_t task) {
    const struct conversion *c = context;
    size_t first = task * TASK_ELEMENTS, n = c->n - first < TASK_ELEMENTS ? c->n - first : TASK_ELEMENTS;
    convert(c->type, c->data + first / c->info->block * c->info->block_bytes, n, c->out + first);
}

fp4_status fp4_stored_to_f32(const struct fp4_stored *t, size_t first, size_t n, float *out) {
    const struct io_dtype *info = io_dtype_info(t->dtype);
    if (info->block_bytes == 0)
        return fp4_fail(FP4_ERR_UNSUPPORTED, "tensor %s: type %s cannot be converted to fp32", t->name, t->type_name);
    if (first > t->elements || n > t->elements - first)
        return fp4_fail(FP4_ERR_ARG, "tensor %s: elements %zu … +%zu of %zu", t->name, first, n, t->elements);
    if (first % info->block || n % info->block)
        return fp4_fail(FP4_ERR_ARG, "tensor %s: a range of %s must be whole blocks of %zu", t->name, t->type_name, info->block);
    struct conversion c = {info, t->dtype, t->data + first / info->block * info->block_bytes, n, out};
    fp4_parallel_for(n / TASK_ELEMENTS + (n % TASK_ELEMENTS != 0), convert_task, &c);
    return FP4_OK;
}
