/* Dense products and sampling arithmetic. */
#include "tests/support.h"

#include "fp4lab/model.h"
#include "lib/backend/gemm.h"

#include <math.h>
#include <string.h>

static const struct fp4_random numbers = {.seed = 11, .stream = FP4_STREAM_TEST};

/* Against a float64 sum; the bound of any order of fp32 summation: (k + 2)·2⁻²⁴·Σ|a·b|. */
static void check_product(bool ta, bool tb, size_t m, size_t n, size_t k) {
    float *a, *b, *c;
    must(FP4_NEW(a, m * k));
    must(FP4_NEW(b, k * n));
    must(FP4_NEW(c, m * n));
    fp4_random_normal(&numbers, 0, m * k, a);
    fp4_random_normal(&numbers, m * k, k * n, b);
    for (size_t i = 0; i < m * n; i++)
        c[i] = 1;
    fp4_gemm(ta, tb, m, n, k, 0.5f, a, ta ? m : k, b, tb ? k : n, 2.0f, c, n);
    for (size_t i = 0; i < m; i++)
        for (size_t j = 0; j < n; j++) {
            double sum = 0, magnitude = 0;
            for (size_t l = 0; l < k; l++) {
                double t = (double)(ta ? a[l * m + i] : a[i * k + l]) * (double)(tb ? b[j * k + l] : b[l * n + j]);
                sum += t;
                magnitude += fabs(t);
            }
            double bound = ((double)k + 4) * 0x1p-24 * (magnitude + 2);
            cr_assert_leq(fabs((double)c[i * n + j] - (0.5 * sum + 2)), bound, "%d%d %zux%zux%zu at %zu,%zu", ta, tb, m, n, k, i, j);
        }
    fp4_free(a), fp4_free(b), fp4_free(c);
}

Test(gemm, products_at_odd_shapes) {
    must(fp4_blas_init());
    const size_t shapes[][3] = {{1, 1, 1}, {3, 5, 7}, {17, 33, 65}, {257, 515, 31}, {530, 1550, 33} /* several tiles both ways */, {20, 576, 192}, {300, 16, 19}};
    for (size_t s = 0; s < sizeof shapes / sizeof *shapes; s++)
        for (int t = 0; t < 4; t++)
            check_product(t & 1, t & 2, shapes[s][0], shapes[s][1], shapes[s][2]);
}

Test(gemm, same_bits_for_any_thread_count) {
    enum { M = 1030, N = 1600, K = 130 };
    float *a, *b, *first, *other;
    must(fp4_blas_init());
    must(FP4_NEW(a, M * K));
    must(FP4_NEW(b, N * K));
    must(FP4_NEW(first, M * N));
    must(FP4_NEW(other, M * N));
    fp4_random_normal(&numbers, 0, M * K, a);
    fp4_random_normal(&numbers, M * K, N * K, b);
    fp4_set_threads(1);
    fp4_gemm(false, true, M, N, K, 1, a, K, b, K, 0, first, N);
    const int counts[] = {2, 3, 7};
    for (size_t i = 0; i < 3; i++) {
        fp4_set_threads(counts[i]);
        memset(other, 0, sizeof *other * M * N);
        fp4_gemm(false, true, M, N, K, 1, a, K, b, K, 0, other, N);
        cr_assert_arr_eq(first, other, sizeof *other * M * N);
    }
    fp4_free(a), fp4_free(b), fp4_free(first), fp4_free(other);
}

Test(sampling, top_k_keeps_ties_and_greedy_takes_the_first) {
    const float logits[] = {1, 3, 2, 3, 2, -5, -0.0f, 0};
    double p[8];
    fp4_sampler_probabilities(logits, 8, 1, 3, p);
    double z = 2 * exp(0) + 2 * exp(-1);
    const double want[] = {0, 1 / z, exp(-1) / z, 1 / z, exp(-1) / z, 0, 0, 0};
    for (size_t i = 0; i < 8; i++)
        cr_assert_float_eq(p[i], want[i], 1e-15);
    fp4_sampler_probabilities(logits, 8, 0, 0, p);
    cr_assert_eq(p[1], 1);
    cr_assert_eq(p[3], 0);
    fp4_sampler_probabilities(logits, 8, 1, 7, p); /* the seventh is ±0: both stay, −5 goes */
    cr_assert_gt(p[6], 0);
    cr_assert_float_eq(p[6], p[7], 1e-18);
    cr_assert_eq(p[5], 0);
    fp4_sampler_probabilities(logits, 8, 1, 8, p);
    cr_assert_gt(p[5], 0);
}

Test(sampling, draws_follow_the_distribution_and_entropy_its_closed_form) {
    const double p[] = {0.25, 0, 0.5, 0.25};
    cr_assert_eq(fp4_sample_index(p, 4, 0.0), 0);
    cr_assert_eq(fp4_sample_index(p, 4, 0.25), 2);
    cr_assert_eq(fp4_sample_index(p, 4, 0.7499), 2);
    cr_assert_eq(fp4_sample_index(p, 4, 1.0), 3);
    float logits[3] = {0, logf(2), logf(5)};
    double q[] = {1 / 8.0, 2 / 8.0, 5 / 8.0}, want = 0;
    for (int i = 0; i < 3; i++)
        want -= q[i] * log(q[i]);
    cr_assert_float_eq(fp4_logits_entropy(logits, 3, 1), want, 1e-7);
    cr_assert_float_eq(fp4_logits_entropy(logits, 3, 1e9), log(3), 1e-7);
}
