/* Tiling of C[m,n] for fp4_gemm. */
#include "lib/backend/gemm.h"

/* A tile's edge: large enough that OpenBLAS's packing (m + n)·k is small beside 2·m·n·k operations, small enough that a
 * layer of a small model has a tile for each of a few cores. */
enum { TILE_M = 512, TILE_N = 768, GRAIN = 16 };

struct product {
    bool transpose_a, transpose_b;
    size_t m, n, k, lda, ldb, ldc, step_m, step_n, tiles_n;
    float alpha, beta;
    const float *a, *b;
    float *c;
};

/* Edge of equal tiles, a multiple of GRAIN, no longer than `limit`. */
static size_t tile_edge(size_t length, size_t limit) {
    size_t tiles = (length + limit - 1) / limit;
    if (tiles == 0)
        return GRAIN;
    size_t edge = (length + tiles - 1) / tiles;
    return (edge + GRAIN - 1) / GRAIN * GRAIN;
}

static void one_tile(void *context, size_t task) {
    const struct product *p = context;
    size_t i = task / p->tiles_n * p->step_m, j = task % p->tiles_n * p->step_n;
    size_t rows = p->m - i < p->step_m ? p->m - i : p->step_m, cols = p->n - j < p->step_n ? p->n - j : p->step_n;
    fp4_gemm_one(p->transpose_a, p->transpose_b, rows, cols, p->k, p->alpha, p->transpose_a ? p->a + i : p->a + i * p->lda,
                 p->lda, p->transpose_b ? p->b + j * p->ldb : p->b + j, p->ldb, p->beta, p->c + i * p->ldc + j, p->ldc);
}

void fp4_gemm(bool transpose_a, bool transpose_b, size_t m, size_t n, size_t k, float alpha, const float *a, size_t lda,
              const float *b, size_t ldb, float beta, float *c, size_t ldc) {
    if (m == 0 || n == 0)
        return;
    struct product p = {transpose_a, transpose_b, m, n, k, lda, ldb, ldc, tile_edge(m, TILE_M), tile_edge(n, TILE_N), 0,
                        alpha, beta, a, b, c};
    p.tiles_n = (n + p.step_n - 1) / p.step_n;
    fp4_parallel_for((m + p.step_m - 1) / p.step_m * p.tiles_n, one_tile, &p);
}
