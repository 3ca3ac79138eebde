/* The transformer's row and element kernels for one thread: one template (nn_template.h), compiled once per CPU rung.
 *
 * Every rung gives the same bits: vectors are 16 lanes wide whatever the hardware's width is, a sum runs in 16 lanes and ends in
 * one fixed tree, and nothing is contracted into fused multiply-adds. Callers cut work into rows or ranges; no kernel
 * starts threads. All pointers are float [n] unless said otherwise; outputs may not overlap inputs unless said. */
#ifndef FP4LAB_KERNELS_CPU_NN_H
#define FP4LAB_KERNELS_CPU_NN_H

#include "fp4lab/formats.h"
#include "fp4lab/io.h"

/* Scalars of one AdamW step, computed in double and rounded once. */
struct fp4_adamw_scalars {
    float decay;        /* 1 − lr·weight_decay */
    float beta1, one_minus_beta1, beta2, one_minus_beta2;
    float step;         /* lr / (1 − β₁ᵏ) */
    float root2;        /* 1 / √(1 − β₂ᵏ) */
    float eps;
    float gradient_scale;
};

struct fp4_nn_kernels {
    /* e^x by argument reduction and a polynomial of degree 7: at most 2 ulp off where the result is normal (measured on every 251st
     * float: tests/test_backend.c), 0 below −104, infinite above 88.8. y == x is allowed. */
    void (*exp)(size_t n, const float *x, float *y);
    /* y = x·rstd·w with rstd = 1/√(mean x² + eps), which is returned. y == x is allowed. */
    float (*norm)(size_t n, const float *x, const float *w, float eps, float *y);
    /* dx += gradient of norm with respect to x. */
    void (*norm_backward)(size_t n, const float *x, const float *w, float rstd, const float *dy, float *dx);
    /* dw[j] += Σ_t dy[t,j]·x[t,j]·rstd[t] for columns j < n of rows 0 … rows−1 with row stride ld; sums in double, in row order. */
    void (*norm_backward_weight)(size_t rows, size_t n, size_t ld, const float *x, const float *rstd, const float *dy, float *dw);
    /* LayerNorm: y = (x − mean)·rstd·w + b with rstd = 1/√(mean (x − mean)² + eps); mean and rstd are returned. y == x is allowed. */
    float (*layer_norm)(size_t n, const float *x, const float *w, const float *b, float eps, float *y, float *mean);
    /* dx += gradient of layer_norm with respect to x. */
    void (*layer_norm_backward)(size_t n, const float *x, const float *w, float mean, float rstd, const float *dy, float *dx);
    /* dw[j] += Σ_t dy[t,j]·(x[t,j] − mean[t])·rstd[t], as norm_backward_weight. */
    void (*layer_norm_backward_weight)(size_t rows, size_t n, size_t ld, const float *x, const float *mean, const float *rstd, const float *dy,
                                       float *dw);
    /* dy[j] += Σ_t x[t,j] for columns j < n of rows with stride ld; sums in double, in row order. */
    void (*column_sums)(size_t rows, size_t n, size_t ld, const float *x, float *y);
    /* (a, b) ← (a·cos − b·sin, b·cos + a·sin), n pairs; inverse turns the other way. */
    void (*rotate)(size_t n, float *a, float *b, const float *cosine, const float *sine, bool inverse);
    void (*silu_mul)(size_t n, const float *gate, const float *up, float *y);                    /* y = silu(gate)·up */
    /* dgate, dup of silu_mul; dup == dy allowed. */
    void (*silu_mul_backward)(size_t n, const float *gate, const float *up, const float *dy, float *dgate, float *dup);
    /* Activations by enum fp4_activation: y = f(x); y == x allowed. dx = dy·f'(x); dx == dy allowed. RELU's NaN stays NaN. GELU is x·Φ(x),
     * GELU_TANH x·σ(√(8/π)·(x + 0.044715x³)) (Hendrycks & Gimpel 2016). */
    void (*activate[FP4_ACT_COUNT])(size_t n, const float *x, float *y);
    void (*activate_backward[FP4_ACT_COUNT])(size_t n, const float *x, const float *dy, float *dx);
    /* y = u ≥ p ? x·scale : 0, u uniform; y == x allowed. */
    void (*drop)(size_t n, float p, float scale, const float *u, const float *x, float *y);
    void (*add)(size_t n, const float *x, float *y);                                             /* y += x */
    void (*scale)(size_t n, float a, float *x);                                                  /* x *= a */
    float (*dot)(size_t n, const float *x, const float *y);
    /* Softmax of scale·s in place; columns n … width−1 become 0. The maximum of scale·s and the reciprocal of the sum are returned. */
    void (*softmax)(size_t n, size_t width, float scale, float *s, float *max, float *inverse_sum);
    /* p = exp(scale·s − max)·inverse_sum in place, with 0 in columns n … width−1: the same bits as softmax gave. */
    void (*softmax_again)(size_t n, size_t width, float scale, float *s, float max, float inverse_sum);
    /* ds = p·(dp − dot)·scale in place of dp. */
    void (*softmax_backward)(size_t n, const float *p, float *dp, float dot, float scale);
    /* Largest element and the first index that has it. */
    float (*maximum)(size_t n, const float *x, int32_t *index);
    /* Σ exp(x − max): fp32 within runs of 512 elements, double across them. */
    double (*exp_sum)(size_t n, const float *x, float max);
    /* The same in double throughout, x ≤ max; e^x within 2⁻⁵¹ relative above e⁻⁷⁰⁸, where it stays. */
    double (*exp_sum_wide)(size_t n, const float *x, float max);
    /* Σ p·(ln p − ln q) with ln p = reference − lse_reference, ln q = x − lse, double. */
    double (*divergence)(size_t n, const float *reference, double lse_reference, const float *x, double lse);
    /* x ← exp(x − max)·factor. */
    void (*exp_scale)(size_t n, float *x, float max, float factor);
    /* Σ x², double. */
    double (*sum_squares)(size_t n, const float *x);
    /* Decoupled AdamW in one pass (Loshchilov & Hutter 2019, algorithm 2). */
    void (*adamw)(size_t n, float *p, const float *g, float *m, float *v, const struct fp4_adamw_scalars *s);
};

extern const struct fp4_nn_kernels fp4_nn_kernels_ref, fp4_nn_kernels_avx2, fp4_nn_kernels_avx512;

/* The table of a rung; the one in use. */
const struct fp4_nn_kernels *fp4_nn_kernels_of(enum fp4_cpu_level level);
const struct fp4_nn_kernels *fp4_nn_kernels(void);

#endif
