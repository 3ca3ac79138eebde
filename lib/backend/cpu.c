/* The CPU backend's table: memory, products, quantization; the rest is in cpu_*.c. */
#include "lib/backend/cpu.h"

#include <string.h>

#include "lib/backend/gemm.h"
#include "lib/kernels/cpu/short_kernels.h"

static fp4_status cpu_alloc(size_t n, float **out) { return FP4_NEW(*out, n); }
static void cpu_free(float *p) { fp4_free(p); }

static fp4_status cpu_copy_rows(size_t rows, size_t cols, const float *from, size_t ld_from, float *to, size_t ld_to) {
    for (size_t r = 0; r < rows; r++)
        memcpy(to + r * ld_to, from + r * ld_from, cols * sizeof *to);
    return FP4_OK;
}

/* A product of few rows, columns cut into pieces. */
struct narrow {
    const struct fp4_short_kernels *kernels;
    bool transpose_b;
    size_t m, n, k, lda, ldb, ldc;
    float alpha, beta;
    const float *a, *b;
    float *c;
};
static void narrow_piece(void *context, size_t task) {
    const struct narrow *p = context;
    size_t j = task * FP4_SHORT_COLUMNS, n = p->n - j < FP4_SHORT_COLUMNS ? p->n - j : FP4_SHORT_COLUMNS;
    if (p->transpose_b)
        p->kernels->nt(p->m, n, p->k, p->alpha, p->a, p->lda, p->b + j * p->ldb, p->ldb, p->beta, p->c + j, p->ldc);
    else
        p->kernels->nn(p->m, n, p->k, p->alpha, p->a, p->lda, p->b + j, p->ldb, p->beta, p->c + j, p->ldc);
}

static fp4_status cpu_gemm(bool transpose_a, bool transpose_b, size_t m, size_t n, size_t k, float alpha, const float *a, size_t lda,
                           const float *b, size_t ldb, float beta, float *c, size_t ldc) {
    if (m > FP4_SHORT_ROWS || transpose_a) {
        fp4_gemm(transpose_a, transpose_b, m, n, k, alpha, a, lda, b, ldb, beta, c, ldc);
        return FP4_OK;
    }
    struct narrow p = {fp4_short_kernels_of(fp4_cpu_level()), transpose_b, m, n, k, lda, ldb, ldc, alpha, beta, a, b, c};
    fp4_parallel_for((n + FP4_SHORT_COLUMNS - 1) / FP4_SHORT_COLUMNS, narrow_piece, &p);
    return FP4_OK;
}

/* Squares of 32×32 stay in the first cache while they are turned. */
enum { SQUARE = 32 };
struct turn {
    size_t rows, cols;
    const float *x;
    float *y;
};
static void turn_rows(void *context, size_t task) {
    const struct turn *t = context;
    size_t r0 = task * SQUARE, r1 = r0 + SQUARE < t->rows ? r0 + SQUARE : t->rows;
    for (size_t c0 = 0; c0 < t->cols; c0 += SQUARE) {
        size_t c1 = c0 + SQUARE < t->cols ? c0 + SQUARE : t->cols;
        for (size_t c = c0; c < c1; c++)
            for (size_t r = r0; r < r1; r++)
                t->y[c * t->rows + r] = t->x[r * t->cols + c];
    }
}
static fp4_status cpu_transpose(size_t rows, size_t cols, const float *x, float *y) {
    struct turn t = {rows, cols, x, y};
    fp4_parallel_for((rows + SQUARE - 1) / SQUARE, turn_rows, &t);
    return FP4_OK;
}

static const struct fp4_backend cpu = {
    .name = "cpu",
    .host_memory = true,
    .alloc = cpu_alloc,
    .free = cpu_free,
    .upload = fp4_cpu_copy,
    .download = fp4_cpu_copy,
    .copy = fp4_cpu_copy,
    .copy_rows = cpu_copy_rows,
    .zero = fp4_cpu_zero,
    .gemm = cpu_gemm,
    .quantize = fp4_fake_quantize,
    .unrotate = fp4_hadamard_undo,
    .transpose = cpu_transpose,
    .embed = fp4_cpu_embed,
    .embed_backward = fp4_cpu_embed_backward,
    .norm = fp4_cpu_norm,
    .norm_backward = fp4_cpu_norm_backward,
    .layer_norm = fp4_cpu_layer_norm,
    .layer_norm_backward = fp4_cpu_layer_norm_backward,
    .add_bias = fp4_cpu_add_bias,
    .bias_backward = fp4_cpu_bias_backward,
    .add_positions = fp4_cpu_add_positions,
    .positions_backward = fp4_cpu_positions_backward,
    .rotate = fp4_cpu_rotate,
    .attention = fp4_cpu_attention,
    .attention_backward = fp4_cpu_attention_backward,
    .activate = fp4_cpu_activate,
    .activate_backward = fp4_cpu_activate_backward,
    .silu_mul = fp4_cpu_silu_mul,
    .silu_mul_backward = fp4_cpu_silu_mul_backward,
    .drop = fp4_cpu_drop,
    .add = fp4_cpu_add,
    .scale = fp4_cpu_scale,
    .cross_entropy = fp4_cpu_cross_entropy,
    .score = fp4_cpu_score,
    .entropy = fp4_cpu_entropy,
    .adamw = fp4_cpu_adamw,
    .sum_squares = fp4_cpu_sum_squares,
};

const struct fp4_backend *fp4_backend_cpu(void) { return &cpu; }
