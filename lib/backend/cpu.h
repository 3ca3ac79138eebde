/* lib/backend/cpu.h: the parts of the CPU backend, one file each. Shapes and meaning as in backend.h. */
#ifndef FP4LAB_BACKEND_CPU_H
#define FP4LAB_BACKEND_CPU_H

#include "lib/backend/backend.h"

/* Tasks of `grain` of n each, the last with what is left; where the one that begins at `first` ends. */
static inline size_t tasks_of(size_t n, size_t grain) { return (n + grain - 1) / grain; }
static inline size_t end_of(size_t first, size_t grain, size_t n) { return first + grain < n ? first + grain : n; }

/* cpu_attention.c */
fp4_status fp4_cpu_attention(const struct fp4_attention *a, const float *q, const float *k, const float *v, float *out, float *stats);
fp4_status fp4_cpu_attention_backward(const struct fp4_attention *a, const float *q, const float *k, const float *v, const float *out,
                                      const float *stats, const float *dout, float *dq, float *dk, float *dv);

/* cpu_rows.c */
fp4_status fp4_cpu_embed(const struct fp4_embedding *e, size_t R, const int32_t *tokens, const float *table, float *y);
fp4_status fp4_cpu_embed_backward(const struct fp4_embedding *e, size_t R, const int32_t *tokens, const float *dy, float *dtable);
fp4_status fp4_cpu_norm(size_t R, size_t d, const float *x, const float *w, float eps, float *y, float *rstd);
fp4_status fp4_cpu_norm_backward(size_t R, size_t d, const float *x, const float *w, const float *rstd, const float *dy, float *dx,
                                 float *dw);
fp4_status fp4_cpu_layer_norm(size_t R, size_t d, const float *x, const float *w, const float *b, float eps, float *y, float *mean,
                              float *rstd);
fp4_status fp4_cpu_layer_norm_backward(size_t R, size_t d, const float *x, const float *w, const float *mean, const float *rstd,
                                       const float *dy, float *dx, float *dw, float *db);
fp4_status fp4_cpu_rotate(size_t R, size_t T, size_t first, size_t heads, size_t D, size_t ld, const float *cosine, const float *sine,
                          bool inverse, float *x);

/* cpu_bias.c */
fp4_status fp4_cpu_add_bias(size_t R, size_t n, const float *b, float *y);
fp4_status fp4_cpu_bias_backward(size_t R, size_t n, const float *dy, float *db);
fp4_status fp4_cpu_add_positions(size_t R, size_t T, size_t first, size_t d, const float *table, float *x);
fp4_status fp4_cpu_positions_backward(size_t R, size_t T, size_t first, size_t d, const float *dx, float *dtable);
fp4_status fp4_cpu_drop(const struct fp4_dropout *d, size_t n, const float *x, float *y);

/* cpu_elements.c */
fp4_status fp4_cpu_activate(enum fp4_activation f, size_t n, const float *x, float *y);
fp4_status fp4_cpu_activate_backward(enum fp4_activation f, size_t n, const float *x, const float *dy, float *dx);
fp4_status fp4_cpu_silu_mul(size_t n, const float *gate, const float *up, float *y);
fp4_status fp4_cpu_silu_mul_backward(size_t n, const float *gate, const float *up, const float *dy, float *dgate, float *dup);
fp4_status fp4_cpu_add(size_t n, const float *x, float *y);
fp4_status fp4_cpu_scale(size_t n, float a, float *x);
fp4_status fp4_cpu_copy(size_t n, const float *from, float *to);
fp4_status fp4_cpu_zero(size_t n, float *p);
fp4_status fp4_cpu_adamw(size_t n, float *p, const float *g, float *m, float *v, const struct fp4_adamw *h, size_t step,
                         float gradient_scale);
fp4_status fp4_cpu_sum_squares(size_t n, const float *x, double *sum);

/* cpu_logits.c */
fp4_status fp4_cpu_cross_entropy(size_t R, size_t V, float *logits, const int32_t *targets, float gradient, double *loss, size_t *correct);
fp4_status fp4_cpu_score(size_t R, size_t V, const float *logits, const float *reference, const int32_t *targets, double *nll,
                         double *kl, uint8_t *top1);
fp4_status fp4_cpu_entropy(size_t V, const float *logits, double *entropy, double *loss, float *dlogits);

#endif
