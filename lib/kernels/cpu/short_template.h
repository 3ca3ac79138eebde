/* Template of the short products' kernels; the including file defines SHORT_TABLE. See nn_template.h for the vectors. */
#include "lib/kernels/cpu/short_kernels.h"
#include "lib/kernels/cpu/widen.h"

#include <string.h>

enum { LANES = 8, TILE = 4, AHEAD = 24 }; /* TILE×TILE vectors of sums fill half of AVX-512's registers */

#define INLINE static inline __attribute__((always_inline))

INLINE vd load_some(const float *p, size_t m) {
    float lanes[LANES] = {0};
    memcpy(lanes, p, m * sizeof *p);
    return load_widened(lanes);
}
INLINE double tree(vd v) {
    double a[LANES];
    memcpy(a, &v, sizeof a);
    return ((a[0] + a[4]) + (a[2] + a[6])) + ((a[1] + a[5]) + (a[3] + a[7]));
}
INLINE void put(float *c, double sum, float alpha, float beta) {
    *c = (float)(beta == 0.0f ? (double)alpha * sum : (double)alpha * sum + (double)beta * (double)*c);
}

/* rows of A times TILE rows of B; `rows` and `cols` are constants where this is inlined. Rows beyond the last are the last again. */
INLINE void dot_tile(size_t rows, size_t cols, size_t k, const float *const *a, const float *const *b, double *out) {
    vd s[TILE * TILE] = {{0}};
    size_t l = 0;
    for (; l + LANES <= k; l += LANES) {
        vd x[TILE];
        for (size_t j = 0; j < cols; j++)
            x[j] = load_widened(b[j] + l);
        for (size_t i = 0; i < rows; i++) {
            vd y = load_widened(a[i] + l);
            for (size_t j = 0; j < cols; j++)
                s[i * TILE + j] += y * x[j];
        }
    }
    for (size_t i = 0; l < k && i < rows; i++)
        for (size_t j = 0; j < cols; j++)
            s[i * TILE + j] += load_some(a[i] + l, k - l) * load_some(b[j] + l, k - l);
    for (size_t i = 0; i < rows; i++)
        for (size_t j = 0; j < cols; j++)
            out[i * TILE + j] = tree(s[i * TILE + j]);
}

static void k_nt(size_t m, size_t n, size_t k, float alpha, const float *a, size_t lda, const float *b, size_t ldb, float beta, float *c,
                 size_t ldc) {
    for (size_t j0 = 0; j0 < n; j0 += TILE) {
        size_t cols = n - j0 < TILE ? n - j0 : TILE;
        const float *y[TILE], *x[TILE];
        double out[TILE * TILE];
        for (size_t j = 0; j < TILE; j++)
            y[j] = b + (j0 + (j < cols ? j : cols - 1)) * ldb;
        for (size_t i0 = 0; i0 < m; i0 += TILE) {
            size_t rows = m - i0 < TILE ? m - i0 : TILE;
            for (size_t i = 0; i < TILE; i++)
                x[i] = a + (i0 + (i < rows ? i : rows - 1)) * lda;
            if (rows == 1)
                dot_tile(1, TILE, k, x, y, out);
            else
                dot_tile(TILE, TILE, k, x, y, out);
            for (size_t i = 0; i < rows; i++)
                for (size_t j = 0; j < cols; j++)
                    put(&c[(i0 + i) * ldc + j0 + j], out[i * TILE + j], alpha, beta);
        }
    }
}

/* rows of A times TILE·LANES columns of B. */
INLINE void column_tile(size_t rows, size_t k, const float *a, size_t lda, const float *b, size_t ldb, vd *s) {
    for (size_t l = 0; l < k; l++) {
        vd x[TILE];
        const float *ahead = b + (k - l > AHEAD ? l + AHEAD : l) * ldb; /* two lines a row: no stream that the CPU would follow */
        __builtin_prefetch(ahead);
        __builtin_prefetch(ahead + TILE * LANES - 1);
        for (size_t j = 0; j < TILE; j++)
            x[j] = load_widened(b + l * ldb + j * LANES);
        for (size_t i = 0; i < rows; i++) {
            double y = (double)a[i * lda + l];
            for (size_t j = 0; j < TILE; j++)
                s[i * TILE + j] += (vd){y, y, y, y, y, y, y, y} * x[j];
        }
    }
}

/* The columns that do not fill a tile: plain sums in the same order. */
static void narrow(size_t m, size_t n, size_t k, float alpha, const float *a, size_t lda, const float *b, size_t ldb, float beta, float *c,
                   size_t ldc) {
    for (size_t i = 0; i < m; i++) {
        double sum[TILE * LANES] = {0};
        for (size_t l = 0; l < k; l++)
            for (size_t j = 0; j < n; j++)
                sum[j] += (double)a[i * lda + l] * (double)b[l * ldb + j];
        for (size_t j = 0; j < n; j++)
            put(&c[i * ldc + j], sum[j], alpha, beta);
    }
}

static void k_nn(size_t m, size_t n, size_t k, float alpha, const float *a, size_t lda, const float *b, size_t ldb, float beta, float *c,
                 size_t ldc) {
    size_t j0 = 0;
    for (; j0 + TILE * LANES <= n; j0 += TILE * LANES)
        for (size_t i0 = 0; i0 < m;) {
            size_t rows = m - i0 < TILE ? 1 : TILE;
            vd s[TILE * TILE] = {{0}};
            double out[TILE * TILE * LANES];
            if (rows == TILE)
                column_tile(TILE, k, a + i0 * lda, lda, b + j0, ldb, s);
            else
                column_tile(1, k, a + i0 * lda, lda, b + j0, ldb, s);
            memcpy(out, s, sizeof out);
            for (size_t i = 0; i < rows; i++)
                for (size_t j = 0; j < TILE * LANES; j++)
                    put(&c[(i0 + i) * ldc + j0 + j], out[i * TILE * LANES + j], alpha, beta);
            i0 += rows;
        }
    if (j0 < n)
        narrow(m, n - j0, k, alpha, a, lda, b + j0, ldb, beta, c + j0, ldc);
}

const struct fp4_short_kernels SHORT_TABLE = {.nt = k_nt, .nn = k_nn};
