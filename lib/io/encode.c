/* Encoding on the way into a file, a chunk at a time. */
#include "lib/io/encode.h"

#include <math.h>
#include <string.h>

#include "lib/formats/core/elements.h"

enum { CHUNK = 1 << 16 }; /* elements; a multiple of every block */

static void put16(uint8_t *p, uint16_t bits) {
    p[0] = (uint8_t)bits;
    p[1] = (uint8_t)(bits >> 8);
}

/* The bits of a value that is exact in half precision. */
static uint16_t half_bits(float x) {
    uint32_t bits = fp4_bits(x), sign = bits >> 16 & 0x8000;
    float a = fp4_abs(x);
    if (isnan(x))
        return (uint16_t)(sign | 0x7e00);
    if (isinf(x))
        return (uint16_t)(sign | 0x7c00);
    if (a < 0x1p-14f)
        return (uint16_t)(sign | (uint32_t)(a * 0x1p24f));
    return (uint16_t)(sign | (fp4_bits(a) - (112u << 23)) >> 13);
}

static fp4_status halves(const char *name, size_t n, const float *x, uint8_t *out) {
    for (size_t i = 0; i < n; i++) {
        float h = fp4_fp16_round(x[i]);
        if (isinf(h) && !isinf(x[i]))
            return fp4_fail(FP4_ERR_NUMERIC, "tensor %s: %g is beyond F16's largest number, 65504; write BF16 or F32", name, (double)x[i]);
        put16(out + 2 * i, half_bits(h));
    }
    return FP4_OK;
}

/* ggml's block_q8_0: fp16 d = amax/127, 32 codes round(x/d), half away from zero; the codes are taken with d before it is rounded. */
static fp4_status blocks_q8_0(const char *name, size_t n, const float *x, uint8_t *out) {
    for (size_t i = 0; i < n; i += 32, out += 34) {
        float amax = 0;
        for (size_t j = 0; j < 32; j++)
            amax = fp4_max(amax, isfinite(x[i + j]) ? fp4_abs(x[i + j]) : INFINITY);
        float d = amax / 127.0f, inverse = d != 0 ? 1.0f / d : 0.0f;
        if (!isfinite(fp4_fp16_round(d)))
            return fp4_fail(FP4_ERR_NUMERIC, "tensor %s: a block with a value of magnitude %g does not fit Q8_0; write BF16 or F32", name, (double)amax);
        put16(out, half_bits(fp4_fp16_round(d)));
        for (size_t j = 0; j < 32; j++)
            out[2 + j] = (uint8_t)(int8_t)roundf(x[i + j] * inverse);
    }
    return FP4_OK;
}

/* ggml's block_mxfp4: the scale's E8M0 byte, 16 bytes with element j in the low and j + 16 in the high nibble. Scale and codes are those of mxfp4:floor. */
static fp4_status blocks_mxfp4(const char *name, size_t n, const float *x, uint8_t *out) {
    for (size_t i = 0; i < n; i += 32, out += 17) {
        float amax = 0;
        uint8_t codes[32];
        for (size_t j = 0; j < 32; j++)
            amax = fp4_max(amax, isfinite(x[i + j]) ? fp4_abs(x[i + j]) : INFINITY);
        if (isinf(amax))
            return fp4_fail(FP4_ERR_NUMERIC, "tensor %s: a value is not finite, which MXFP4 cannot hold; write BF16 or F32", name);
        uint8_t exponent = fp4_e8m0_floor(amax);
        out[0] = exponent > 2 ? (uint8_t)(exponent - 2) : 0; /* 6 = 1.5·2² */
        float factor = ldexpf(1, 127 - out[0]);
        for (size_t j = 0; j < 32; j++)
            codes[j] = (uint8_t)(fp4_e2m1_encode(fp4_abs(x[i + j]) * factor, FP4_ROUND_EVEN, 0) | (signbit(x[i + j]) ? 8 : 0));
        for (size_t j = 0; j < 16; j++)
            out[1 + j] = (uint8_t)(codes[j] | codes[j + 16] << 4);
    }
    return FP4_OK;
}

/* n values (whole blocks) of tensor `name` into out: F32, F16 and BF16 to nearest even, Q8_0 as ggml defines it, MXFP4 as mxfp4:floor. NaN and
 * infinity pass but in these two. FP4_ERR_NUMERIC: a finite value is too large for F16, or one is not finite for Q8_0 or MXFP4; FP4_ERR_UNSUPPORTED: another type. */
static fp4_status encode(const char *name, enum fp4_dtype type, size_t n, const float *x, uint8_t *out) {
    switch (type) {
    case FP4_F32:
        for (size_t i = 0; i < n; i++) {
            put16(out + 4 * i, (uint16_t)fp4_bits(x[i]));
            put16(out + 4 * i + 2, (uint16_t)(fp4_bits(x[i]) >> 16));
        }
        return FP4_OK;
    case FP4_BF16:
        for (size_t i = 0; i < n; i++)
            put16(out + 2 * i, fp4_bf16_encode(x[i]));
        return FP4_OK;
    case FP4_F16: return halves(name, n, x, out);
    case FP4_GGUF_Q8_0: return blocks_q8_0(name, n, x, out);
    case FP4_GGUF_MXFP4: return blocks_mxfp4(name, n, x, out);
    default: return fp4_fail(FP4_ERR_UNSUPPORTED, "tensor %s: cannot be written as %s", name, fp4_dtype_name(type));
    }
}

static fp4_status out_elements(const struct fp4_tensor_out *t, size_t *elements) {
    *elements = 1;
    if (t->n_dims < 0 || t->n_dims > 4)
        return fp4_fail(FP4_ERR_ARG, "tensor %s: %d dimensions; 0 to 4 are possible", t->name, t->n_dims);
    for (int i = 0; i < t->n_dims; i++)
        if (!fp4_size_mul(*elements, t->shape[i], elements))
            return fp4_fail(FP4_ERR_ARG, "tensor %s: its size overflows", t->name);
    return FP4_OK;
}

fp4_status io_out_bytes(const struct fp4_tensor_out *t, size_t *bytes) {
    const struct io_dtype *info = io_dtype_info(t->dtype);
    FP4_TRY(out_elements(t, bytes));
    size_t row = t->n_dims ? t->shape[t->n_dims - 1] : 1;
    if (row % info->block != 0)
        return fp4_fail(FP4_ERR_ARG, "tensor %s: rows of %zu are not whole blocks of %s", t->name, row, info->name);
    return fp4_size_mul(*bytes / info->block, info->block_bytes, bytes) ? FP4_OK : fp4_fail(FP4_ERR_ARG, "tensor %s: its size overflows", t->name);
}

fp4_status io_values_open(struct io_values *v, const struct fp4_tensor_out *tensors, size_t n, fp4_tensor_values get, void *context) {
    size_t most = 0, elements;
    *v = (struct io_values){.get = get, .context = context};
    for (size_t i = 0; i < n; i++) {
        FP4_TRY(out_elements(&tensors[i], &elements));
        if (tensors[i].data || elements == 0)
            continue;
        if (!get)
            return fp4_fail(FP4_ERR_ARG, "tensor %s: no data", tensors[i].name);
        most = elements > most ? elements : most;
    }
    FP4_TRY(FP4_NEW(v->x, most));
    return FP4_NEW(v->chunk, CHUNK * sizeof(float));
}

void io_values_close(struct io_values *v) {
    fp4_free(v->x);
    fp4_free(v->chunk);
    *v = (struct io_values){0};
}

fp4_status io_put_tensor(struct fp4_writer *w, struct io_values *v, const struct fp4_tensor_out *t, size_t i, size_t bytes) {
    const struct io_dtype *info = io_dtype_info(t->dtype);
    size_t elements = 0;
    if (t->data || bytes == 0)
        return fp4_writer_put(w, t->data, bytes);
    FP4_TRY(out_elements(t, &elements));
    FP4_TRY(v->get(v->context, i, v->x));
    for (size_t first = 0; first < elements; first += CHUNK) {
        size_t n = elements - first < CHUNK ? elements - first : CHUNK;
        FP4_TRY(encode(t->name, t->dtype, n, v->x + first, v->chunk));
        FP4_TRY(fp4_writer_put(w, v->chunk, n / info->block * info->block_bytes));
    }
    return FP4_OK;
}
