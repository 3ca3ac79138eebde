/* Quantizing tensors: the public entry points. Two passes: the largest |x|, then the blocks. */
#include "lib/formats/core/driver.h"
#include "lib/kernels/cpu/kernels.h"

#include <stdatomic.h>
#include <string.h>

enum { AMAX_CHUNK = 65536 };

struct amax_job {
    const struct fp4_cpu_kernels *kernels;
    size_t n;
    const float *x;
    _Atomic uint32_t largest; /* a maximum: the order of tasks does not matter */
};

static void amax_task(void *context, size_t task) {
    struct amax_job *job = context;
    size_t first = task * AMAX_CHUNK, left = job->n - first;
    uint32_t bits = job->kernels->amax_bits(left < AMAX_CHUNK ? left : AMAX_CHUNK, job->x + first);
    uint32_t seen = atomic_load(&job->largest);
    while (bits > seen && !atomic_compare_exchange_weak(&job->largest, &seen, bits))
        ;
}

void fp4_tensor_prepare(const struct fp4_quantizer *q, float amax, struct fp4_tensor *t) {
    *t = (struct fp4_tensor){.q = *q, .dialect = fp4_dialect_of(q), .block = fp4_block_of(q), .amax = amax, .tensor_scale = 1.0f,
                             .clip = q->clip == 0.0f ? 1.0f : q->clip};
    if (t->dialect->prepare)
        t->dialect->prepare(t);
}

/* A tensor that is read: its amax, its shape in blocks, its random numbers. */
static fp4_status begin(struct fp4_tensor_pass *pass, const struct fp4_quantizer *q, size_t rows, size_t cols, const float *x) {
    struct amax_job job = {.kernels = pass->kernels, .n = rows * cols, .x = x};
    fp4_parallel_for((job.n + AMAX_CHUNK - 1) / AMAX_CHUNK, amax_task, &job);
    float amax = fp4_from_bits(atomic_load(&job.largest));
    bool scaled = q->format->scale_bytes || fp4_dialect_of(q)->prepare;
    if (scaled && fp4_bits(amax) >= 0x7f800000u)
        return fp4_fail(FP4_ERR_NUMERIC, "a tensor of %zu x %zu to be quantized to %s holds NaN or infinity", rows, cols,
                        q->format->name);
    fp4_tensor_prepare(q, amax, &pass->tensor);
    fp4_tensor_pass_shape(pass, q, rows, cols);
    pass->x = x;
    return FP4_OK;
}

static fp4_status check(const struct fp4_quantizer *q, size_t rows, size_t cols, bool has_random) {
    size_t elements, bytes;
    FP4_TRY(fp4_quantizer_check(q));
    if (!fp4_size_mul(rows, cols, &elements) || !fp4_size_mul(elements, sizeof(float), &bytes))
        return fp4_fail(FP4_ERR_ARG, "a tensor of %zu x %zu is too large", rows, cols);
    if (q->rounding == FP4_ROUND_STOCHASTIC && !has_random)
        return fp4_fail(FP4_ERR_ARG, "stochastic rounding needs the address of its random numbers");
    return FP4_OK;
}

/* y = transform(x), with the signs of the address's seed. */
static fp4_status rotate(const struct fp4_quantizer *q, size_t rows, size_t cols, const float *x, float *y,
                         const struct fp4_random *random) {
    float sign[128];
    fp4_hadamard_signs(random ? random->seed : 0, (size_t)q->hadamard, sign);
    if (x != y)
        memcpy(y, x, rows * cols * sizeof *y);
    return fp4_hadamard((size_t)q->hadamard, rows, cols, sign, y);
}

static fp4_status fake(const struct fp4_quantizer *q, size_t rows, size_t cols, const float *x, float *y,
                       const struct fp4_random *random, const float *u) {
    if (rows == 0 || cols == 0)
        return fp4_quantizer_check(q);
    if (!q->format) {
        if (x != y)
            memcpy(y, x, rows * cols * sizeof *y);
        return FP4_OK;
    }
    FP4_TRY(check(q, rows, cols, random || u));
    struct fp4_tensor_pass pass = {.work = FP4_WORK_FAKE, .y = y, .u = u, .random = random};
    FP4_TRY(fp4_cpu_kernels_get(&pass.kernels));
    if (q->hadamard) {
        FP4_TRY(rotate(q, rows, cols, x, y, random));
        x = y;
    }
    FP4_TRY(begin(&pass, q, rows, cols, x));
    fp4_tensor_pass_run(&pass);
    return FP4_OK;
}

fp4_status fp4_fake_quantize(const struct fp4_quantizer *q, size_t rows, size_t cols, const float *x, float *y,
                             const struct fp4_random *random) {
    return fake(q, rows, cols, x, y, random, NULL);
}

fp4_status fp4_fake_quantize_u(const struct fp4_quantizer *q, size_t rows, size_t cols, const float *x, float *y, const float *u) {
    return fake(q, rows, cols, x, y, NULL, u);
}

/* Fills an out whose quantizer and shape are set. */
static fp4_status pack(struct fp4_tensor_pass *pass, const float *x, struct fp4_qtensor *out) {
    const struct fp4_quantizer *q = &out->quantizer;
    FP4_TRY(begin(pass, q, out->rows, out->cols, x));
    size_t blocks = (pass->rows + pass->band - 1) / pass->band * pass->blocks_per_row;
    out->block = pass->tensor.block;
    out->amax = pass->tensor.amax;
    out->tensor_scale = pass->tensor.tensor_scale;
    out->data_bytes = pass->rows * pass->row_bytes;
    out->scale_bytes = blocks * q->format->scale_bytes;
    FP4_TRY(FP4_NEW(out->data, out->data_bytes));
    FP4_TRY(FP4_NEW(out->scales, out->scale_bytes));
    pass->data = out->data;
    pass->scales = out->scales;
    fp4_tensor_pass_run(pass);
    return FP4_OK;
}

static fp4_status quantize(const struct fp4_quantizer *q, size_t rows, size_t cols, const float *x,
                           const struct fp4_random *random, const float *u, struct fp4_qtensor *out) {
    *out = (struct fp4_qtensor){.quantizer = *q, .rows = rows, .cols = cols, .tensor_scale = 1.0f};
    if (!q->format)
        return fp4_fail(FP4_ERR_ARG, "none is no format to pack a tensor in");
    FP4_TRY(check(q, rows, cols, random || u));
    if (rows == 0 || cols == 0)
        return FP4_OK;
    struct fp4_tensor_pass pass = {.work = FP4_WORK_PACK, .u = u, .random = random};
    FP4_TRY(fp4_cpu_kernels_get(&pass.kernels));
    float *rotated = NULL;
    fp4_status status = FP4_OK;
    if (q->hadamard) {
        FP4_TRY(FP4_NEW(rotated, rows * cols));
        status = rotate(q, rows, cols, x, rotated, random);
        x = rotated;
    }
    if (status == FP4_OK)
        status = pack(&pass, x, out);
    fp4_free(rotated);
    if (status != FP4_OK)
        fp4_qtensor_free(out);
    return status;
}

fp4_status fp4_quantize(const struct fp4_quantizer *q, size_t rows, size_t cols, const float *x, const struct fp4_random *random,
                        struct fp4_qtensor *out) {
    return quantize(q, rows, cols, x, random, NULL, out);
}

fp4_status fp4_quantize_u(const struct fp4_quantizer *q, size_t rows, size_t cols, const float *x, const float *u,
                          struct fp4_qtensor *out) {
    return quantize(q, rows, cols, x, NULL, u, out);
}

fp4_status fp4_dequantize(const struct fp4_qtensor *t, float *y) {
    if (t->rows == 0 || t->cols == 0)
        return FP4_OK;
    if (!t->quantizer.format)
        return fp4_fail(FP4_ERR_ARG, "the packed tensor has no format");
    FP4_TRY(check(&t->quantizer, t->rows, t->cols, true));
    struct fp4_tensor_pass pass = {.work = FP4_WORK_UNPACK, .y = y, .data = t->data, .scales = t->scales};
    FP4_TRY(fp4_cpu_kernels_get(&pass.kernels));
    fp4_tensor_prepare(&t->quantizer, t->amax, &pass.tensor);
    fp4_tensor_pass_shape(&pass, &t->quantizer, t->rows, t->cols);
    fp4_tensor_pass_run(&pass);
    return FP4_OK;
}

size_t fp4_qtensor_bytes(const struct fp4_qtensor *t) {
    return t->data_bytes + t->scale_bytes + (t->quantizer.format && t->quantizer.format->tensor_scaled ? sizeof t->tensor_scale : 0);
}

void fp4_qtensor_free(struct fp4_qtensor *t) {
    fp4_free(t->data);
    fp4_free(t->scales);
    *t = (struct fp4_qtensor){.tensor_scale = 1.0f};
}
