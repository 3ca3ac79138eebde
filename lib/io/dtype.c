/* Element types and their conversion to fp32. */
#include <string.h>

#include "lib/formats/core/elements.h"
#include "lib/io/ggml_blocks.h"

static const struct io_dtype plain[] = {
    [FP4_F32] = {"F32", 1, 4}, [FP4_F16] = {"F16", 1, 2}, [FP4_BF16] = {"BF16", 1, 2}, [FP4_F64] = {"F64", 1, 8}, [FP4_I8] = {"I8", 1, 1},
    [FP4_U8] = {"U8", 1, 1},   [FP4_I16] = {"I16", 1, 2}, [FP4_I32] = {"I32", 1, 4},   [FP4_I64] = {"I64", 1, 8}, [FP4_U16] = {"U16", 1, 2},
    [FP4_U32] = {"U32", 1, 4}, [FP4_U64] = {"U64", 1, 8}, [FP4_BOOL] = {"BOOL", 1, 1}};

static const struct io_dtype other = {"other", 1, 0};

const struct io_dtype *io_dtype_info(enum fp4_dtype t) {
    const struct io_ggml_type *block = io_ggml_block_type(t);
    if (block)
        return &block->info;
    return (int)t >= 0 && t <= FP4_BOOL ? &plain[t] : &other;
}

const char *fp4_dtype_name(enum fp4_dtype t) { return io_dtype_info(t)->name; }

static uint16_t load16(const uint8_t *p) { return (uint16_t)(p[0] | p[1] << 8); }
static uint32_t load32(const uint8_t *p) { return load16(p) | (uint32_t)load16(p + 2) << 16; }
static uint64_t load64(const uint8_t *p) { return load32(p) | (uint64_t)load32(p + 4) << 32; }

static double bits_to_double(uint64_t bits) {
    double f;
    memcpy(&f, &bits, sizeof f);
    return f;
}

static void convert_blocks(const struct io_ggml_type *type, const uint8_t *p, size_t n, float *y) {
    for (size_t i = 0; i < n; i += type->info.block, p += type->info.block_bytes)
        type->decode(p, y + i);
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
    case FP4_F32: EACH(4, fp4_from_bits(load32(e)));
    case FP4_F16: EACH(2, fp4_fp16_decode(load16(e)));
    case FP4_BF16: EACH(2, fp4_bf16_decode(load16(e)));
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
    default: convert_blocks(io_ggml_block_type(type), p, n, y);
    }
}

enum { TASK_ELEMENTS = 1 << 16 }; /* a multiple of every block */

struct conversion {
    const struct io_dtype *info;
    enum fp4_dtype type;
    const uint8_t *data;
    size_t n;
    float *out;
    _Atomic size_t nonfinite;
};

/* All ones in the exponent: infinity or NaN. */
static size_t count_nonfinite(size_t n, const float *x) {
    size_t count = 0;
    for (size_t i = 0; i < n; i++) {
        uint32_t bits;
        memcpy(&bits, &x[i], sizeof bits);
        count += (bits & 0x7f800000) == 0x7f800000;
    }
    return count;
}

static void convert_task(void *context, size_t task) {
    struct conversion *c = context;
    size_t first = task * TASK_ELEMENTS, n = c->n - first < TASK_ELEMENTS ? c->n - first : TASK_ELEMENTS;
    convert(c->type, c->data + first / c->info->block * c->info->block_bytes, n, c->out + first);
    size_t nonfinite = count_nonfinite(n, c->out + first); /* the tile is in the cache still */
    if (nonfinite)
        c->nonfinite += nonfinite;
}

fp4_status fp4_stored_read(const struct fp4_stored *t, size_t first, size_t n, float *out, size_t *nonfinite) {
    const struct io_dtype *info = io_dtype_info(t->dtype);
    if (info->block_bytes == 0)
        return fp4_fail(FP4_ERR_UNSUPPORTED, "tensor %s: type %s cannot be converted to fp32", t->name, t->type_name);
    if (first > t->elements || n > t->elements - first)
        return fp4_fail(FP4_ERR_ARG, "tensor %s: elements %zu … +%zu of %zu", t->name, first, n, t->elements);
    if (first % info->block || n % info->block)
        return fp4_fail(FP4_ERR_ARG, "tensor %s: a range of %s must be whole blocks of %zu", t->name, t->type_name, info->block);
    struct conversion c = {info, t->dtype, t->data + first / info->block * info->block_bytes, n, out, 0};
    fp4_parallel_for(n / TASK_ELEMENTS + (n % TASK_ELEMENTS != 0), convert_task, &c);
    if (nonfinite)
        *nonfinite = c.nonfinite;
    return FP4_OK;
}

fp4_status fp4_stored_to_f32(const struct fp4_stored *t, size_t first, size_t n, float *out) {
    return fp4_stored_read(t, first, n, out, NULL);
}
