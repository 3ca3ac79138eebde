/* lib/backend/backend.h: the table of operations on a backend's memory. Models are written against it once and never look into a
 * `float *` of it themselves.
 *
 * float pointers are backend memory; int32_t and double pointers are host memory. Shapes are row-major; R = rows (tokens of all
 * sequences together), ld = row stride in elements. A function that adds to its output says so. Every result is the same for any
 * number of threads. */
#ifndef FP4LAB_BACKEND_BACKEND_H
#define FP4LAB_BACKEND_BACKEND_H

#include "fp4lab/backend.h"
#include "fp4lab/io.h"
#include "fp4lab/policy.h"

/* Look-up in an embedding [V, d]: row of a token times `scale`, and for replicate ≠ 0 times 1 ± 2⁻²³. */
struct fp4_embedding {
    size_t d;
    float scale;
    uint32_t replicate;
    const int32_t *rows; /* [R]: each token's row of the table; NULL: its id */
    bool has_pad; /* then the row of token `pad` gets no gradient */
    int32_t pad;
};

/* Element e is kept, times 1/(1 − p), when the addressed uniform number of element e is at least p; otherwise it is 0. p = 0: nothing happens. */
struct fp4_dropout {
    float p;
    struct fp4_random random;
};

/* Causal attention of B sequences. Query i of Tq has the position Tk − Tq + i and sees keys 0 … that position. Query head h reads
 * key-value head h / (H / KV). q [B·Tq, H·D] with row stride ldq, k and v [B·Tk, KV·D] with row stride ldkv,
 * out [B·Tq, H·D] dense. Scores are divided by √D. */
struct fp4_attention {
    size_t B, Tq, Tk, H, KV, D, ldq, ldkv;
    struct fp4_dropout dropout; /* of the probabilities [B, H, Tq, Tk] */
};

struct fp4_backend {
    const char *name;
    bool host_memory; /* its float pointers can be read and written by the host */

    /* memory: n floats, zeroed */
    fp4_status (*alloc)(size_t n, float **out);
    void (*free)(float *p);
    fp4_status (*upload)(size_t n, const float *host, float *p);
    fp4_status (*download)(size_t n, const float *p, float *host);
    fp4_status (*copy)(size_t n, const float *from, float *to);
    fp4_status (*copy_rows)(size_t rows, size_t cols, const float *from, size_t ld_from, float *to, size_t ld_to);
    fp4_status (*zero)(size_t n, float *p);

    /* products and quantization: as fp4_gemm (the CPU sums in float64 for m ≤ 32 rows that are not transposed) and fp4_fake_quantize */
    fp4_status (*gemm)(bool transpose_a, bool transpose_b, size_t m, size_t n, size_t k, float alpha, const float *a, size_t lda,
                       const float *b, size_t ldb, float beta, float *c, size_t ldc);
    fp4_status (*quantize)(const struct fp4_quantizer *q, size_t rows, size_t cols, const float *x, float *y,
                           const struct fp4_random *random);
    /* Undoes the Hadamard transform that fp4_fake_quantize with `seed` leaves in x [rows, cols]. */
    fp4_status (*unrotate)(size_t size, uint32_t seed, size_t rows, size_t cols, float *x);
    fp4_status (*transpose)(size_t rows, size_t cols, const float *x, float *y); /* y [cols, rows] */

    /* embedding: y [R, d]; backward adds to the table's gradient in token order */
    fp4_status (*embed)(const struct fp4_embedding *e, size_t R, const int32_t *tokens, const float *table, float *y);
    fp4_status (*embed_backward)(const struct fp4_embedding *e, size_t R, const int32_t *tokens, const float *dy, float *dtable);

    /* RMSNorm: y = x·rstd·w, rstd [R]; y == x allowed. Backward adds to dx and dw. */
    fp4_status (*norm)(size_t R, size_t d, const float *x, const float *w, float eps, float *y, float *rstd);
    fp4_status (*norm_backward)(size_t R, size_t d, const float *x, const float *w, const float *rstd, const float *dy, float *dx,
                                float *dw);

    /* LayerNorm: y = (x − mean)·rstd·w + b, mean and rstd [R]; y == x allowed. Backward adds to dx, dw and db. */
    fp4_status (*layer_norm)(size_t R, size_t d, const float *x, const float *w, const float *b, float eps, float *y, float *mean, float *rstd);
    fp4_status (*layer_norm_backward)(size_t R, size_t d, const float *x, const float *w, const float *mean, const float *rstd, const float *dy,
                                      float *dx, float *dw, float *db);

    /* bias: y [R, n] += b [n] in every row; backward: db += the sum of the rows of dy */
    fp4_status (*add_bias)(size_t R, size_t n, const float *b, float *y);
    fp4_status (*bias_backward)(size_t R, size_t n, const float *dy, float *db);
    /* learned positions: row r of x [R, d] += row first + (r mod T) of the table; backward adds to the table's gradient, sequence by sequence */
    fp4_status (*add_positions)(size_t R, size_t T, size_t first, size_t d, const float *table, float *x);
    fp4_status (*positions_backward)(size_t R, size_t T, size_t first, size_t d, const float *dx, float *dtable);

    /* Rotation of `heads` heads of size D in rows of stride ld: channel c < D/2 with c + D/2 by the angle of the row's position,
     * first + (row mod T); tables [positions, D/2]. */
    fp4_status (*rotate)(size_t R, size_t T, size_t first, size_t heads, size_t D, size_t ld, const float *cosine, const float *sine,
                         bool inverse, float *x);

    /* stats [B, H, Tq, 2]: row maxima and reciprocal sums for the backward pass; NULL: not kept. Backward writes dq, dk, dv, with
     * the strides of q, k, v (only for Tq == Tk). */
    fp4_status (*attention)(const struct fp4_attention *a, const float *q, const float *k, const float *v, float *out, float *stats);
    fp4_status (*attention_backward)(const struct fp4_attention *a, const float *q, const float *k, const float *v, const float *out,
                                     const float *stats, const float *dout, float *dq, float *dk, float *dv);

    /* activations, n elements; aliases as in nn_kernels.h */
    fp4_status (*activate)(enum fp4_activation f, size_t n, const float *x, float *y);
    fp4_status (*activate_backward)(enum fp4_activation f, size_t n, const float *x, const float *dy, float *dx);
    fp4_status (*silu_mul)(size_t n, const float *gate, const float *up, float *y);
    fp4_status (*silu_mul_backward)(size_t n, const float *gate, const float *up, const float *dy, float *dgate, float *dup);
    fp4_status (*drop)(const struct fp4_dropout *d, size_t n, const float *x, float *y); /* y == x allowed */
    fp4_status (*add)(size_t n, const float *x, float *y); /* y += x */
    fp4_status (*scale)(size_t n, float a, float *x);

    /* Rows of logits [R, V]. cross_entropy: *loss and *correct (may be NULL) are added to: Σ −ln softmax(row)[target], and the number of rows whose
     * first largest logit is the target; rows with target < 0 count nowhere. gradient ≠ 0: logits become
     * gradient·(softmax − onehot), zero in rows that do not count. */
    fp4_status (*cross_entropy)(size_t R, size_t V, float *logits, const int32_t *targets, float gradient, double *loss, size_t *correct);
    /* float64 throughout: nll [R]; with `reference` [R, V]: kl [R] = KL(softmax(reference) ‖ softmax(logits)), top1 [R]. NULL outputs are skipped. */
    fp4_status (*score)(size_t R, size_t V, const float *logits, const float *reference, const int32_t *targets, double *nll, double *kl,
                        uint8_t *top1);
    /* One row: *entropy = −Σ p ln p, *loss = −Σ p ln(p + 1e-8), float64; dlogits [V] = gradient of the loss. */
    fp4_status (*entropy)(size_t V, const float *logits, double *entropy, double *loss, float *dlogits);

    /* optimizer */
    fp4_status (*adamw)(size_t n, float *p, const float *g, float *m, float *v, const struct fp4_adamw *h, size_t step,
                        float gradient_scale);
    fp4_status (*sum_squares)(size_t n, const float *x, double *sum); /* adds to *sum */
};

#endif
