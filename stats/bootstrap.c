/* Bootstraps of a mean by blocks and by clusters, and the choice of the block length. */
#include "stats/internal.h"

/* ---- block length ---- */

/* Σ_t e_t e_{t+k} */
static double lagged(size_t n, const double *e, size_t k) {
    double sum = 0;
    for (size_t t = 0; t + k < n; t++)
        sum += e[t] * e[t + k];
    return sum;
}

/* First lag of `inside` [from, to) where `run` in a row are true; `to` when there is none. */
static size_t first_run(const bool *inside, size_t from, size_t to, size_t run) {
    for (size_t h = from; h + run <= to; h++) {
        size_t length = 0;
        while (length < run && inside[h + length])
            length++;
        if (length == run)
            return h;
    }
    return to;
}

/* arch: autocorrelations scaled by the energy of the two stretches, each without one further term; lags from 0. */
static size_t arch_bandwidth(size_t n, const double *e, size_t most, size_t run, bool *inside) {
    double band = 2 * sqrt(log10((double)n) / (double)n);
    for (size_t k = 0; k < most; k++) {
        double tail = 0, head = 0;
        for (size_t t = k + 1; t < n; t++)
            tail += e[t] * e[t];
        for (size_t t = 0; t + k + 1 < n; t++)
            head += e[t] * e[t];
        inside[k] = fabs(lagged(n, e, k)) < band * sqrt(tail * head);
    }
    size_t h = first_run(inside, 0, most, run);
    if (h == most)
        return most;
    return h == 0 ? 2 : (2 * h < most ? 2 * h : most);
}

/* np: plain autocorrelations, lags from 1. */
static size_t np_bandwidth(size_t n, const double *e, size_t most, size_t run, bool *inside) {
    double band = fp4_normal_quantile(0.025, true) * sqrt(log10((double)n) / (double)n), zero = lagged(n, e, 0);
    size_t last_outside = 1;
    for (size_t k = 1; k <= most; k++) {
        inside[k] = fabs(lagged(n, e, k)) < band * zero;
        if (!inside[k])
            last_outside = k;
    }
    size_t h = first_run(inside, 1, most + 1, run);
    if (h == most + 1)
        h = last_outside;
    return 2 * h < most ? 2 * h : most;
}

/* g and the long-run variance under the flat-top weight with bandwidth m; then both block lengths. */
static void block_lengths(size_t n, const double *e, size_t m, double most, double *g, double *variance, double *stationary, double *circular) {
    *g = 0;
    *variance = lagged(n, e, 0) / (double)n;
    for (size_t k = 1; k <= m; k++) {
        double share = (double)k / (double)m, weight = share <= 0.5 ? 1 : 2 * (1 - share), covariance = lagged(n, e, k) / (double)n;
        *g += 2 * weight * (double)k * covariance;
        *variance += 2 * weight * covariance;
    }
    double squares = *g * *g / (*variance * *variance);
    *stationary = fmin(most, cbrt(squares * (double)n));
    *circular = fmin(most, cbrt(1.5 * squares * (double)n));
}

fp4_status fp4_block_length(size_t n, const double *x, struct fp4_block_length *out) {
    if (n < 12)
        return fp4_fail(FP4_ERR_ARG, "a block length needs at least 12 observations, not %zu", n);
    FP4_TRY(fp4_check_finite(n, x));
    size_t digits = (size_t)floor(log10((double)n)), digits_up = (size_t)ceil(log10((double)n)), root = (size_t)ceil(sqrt((double)n));
    size_t arch_run = digits > 5 ? digits : 5, np_run = digits_up > 5 ? digits_up : 5, arch_most = root + arch_run, np_most = root + np_run;
    double *e, mean = fp4_mean(n, x);
    bool *inside = NULL;
    FP4_TRY(FP4_NEW(e, n));
    for (size_t i = 0; i < n; i++)
        e[i] = x[i] - mean;
    fp4_status status = FP4_NEW(inside, np_most + 1);
    if (status == FP4_OK && lagged(n, e, 0) == 0)
        status = fp4_fail(FP4_ERR_ARG, "a block length needs a series that varies");
    if (status == FP4_OK) {
        size_t m = arch_bandwidth(n, e, arch_most, arch_run, inside), np_m = np_bandwidth(n, e, np_most, np_run, inside);
        out->m = (int64_t)m;
        out->np_m = (int64_t)np_m;
        out->b_max = ceil(fmin(3 * sqrt((double)n), (double)n / 3));
        double g, variance; /* of the second rule: not reported */
        block_lengths(n, e, m, out->b_max, &out->g, &out->lr_variance, &out->b_stationary, &out->b_circular);
        block_lengths(n, e, np_m, out->b_max, &g, &variance, &out->np_b_stationary, &out->np_b_circular);
    }
    fp4_free(inside);
    fp4_free(e);
    return status;
}

/* ---- bootstraps of a mean ---- */

/* By linear interpolation: Hyndman & Fan 1996, type 7. */
static double percentile(size_t n, const double *sorted, double p) {
    double place = p * (double)(n - 1);
    size_t below = (size_t)place;
    return below + 1 < n ? sorted[below] + (place - (double)below) * (sorted[below + 1] - sorted[below]) : sorted[n - 1];
}

/* Standard error and percentiles of the draws [n_draws], which are sorted in place. */
static void summarize_draws(size_t n_draws, double *draws, struct fp4_bootstrap *out) {
    double mean = fp4_mean(n_draws, draws), squares = 0;
    for (size_t b = 0; b < n_draws; b++)
        squares += (draws[b] - mean) * (draws[b] - mean);
    fp4_sort_doubles(n_draws, draws);
    out->se = sqrt(squares / ((double)n_draws - 1));
    out->q025 = percentile(n_draws, draws, 0.025);
    out->q975 = percentile(n_draws, draws, 0.975);
}

/* A place in 0 … n−1 by the high half of a product: unbiased to n/2³². */
static size_t place_of(uint32_t word, size_t n) {
    return (size_t)(((uint64_t)word * n) >> 32);
}

static fp4_status check_draws(size_t n, size_t n_draws) {
    if (n_draws < 2 || n_draws > UINT32_MAX)
        return fp4_fail(FP4_ERR_ARG, "a bootstrap needs 2 to 2^32-1 draws, not %zu", n_draws);
    if (n < 2 || n > UINT32_MAX / 2)
        return fp4_fail(FP4_ERR_ARG, "a bootstrap needs at least 2 observations, not %zu", n);
    return FP4_OK;
}

/* Politis & Romano's closed form: the variance of the bootstrap mean over all draws. */
static double stationary_se(size_t n, const double *e, double mean_block) {
    double keep = 1 - 1 / mean_block, power = 1, variance = lagged(n, e, 0) / (double)n;
    for (size_t i = 1; i < n; i++) {
        double circular = 0;
        for (size_t t = 0; t < n; t++)
            circular += e[t] * e[t + i < n ? t + i : t + i - n];
        power *= keep;
        variance += 2 * (1 - (double)i / (double)n) * power * circular / (double)n;
    }
    return sqrt(fmax(0, variance) / (double)n);
}

/* Observation t of draw b takes words 2t (does a new block begin?) and 2t+1 (where?) of step b. */
static double stationary_draw(size_t n, const double *e, double mean_block, const uint32_t *words) {
    double sum = 0, limit = 4294967296.0 / mean_block;
    size_t at = 0;
    for (size_t t = 0; t < n; t++) {
        if (t == 0 || words[2 * t] < limit)
            at = place_of(words[2 * t + 1], n);
        else
            at = at + 1 < n ? at + 1 : 0;
        sum += e[at];
    }
    return sum / (double)n;
}

fp4_status fp4_stationary_bootstrap(size_t n, const double *x, double mean_block, size_t n_draws, uint32_t seed, struct fp4_bootstrap *out) {
    FP4_TRY(check_draws(n, n_draws));
    FP4_TRY(fp4_check_finite(n, x));
    if (!(mean_block >= 1))
        return fp4_fail(FP4_ERR_ARG, "a mean block of %g is below 1", mean_block);
    double *work;
    uint32_t *words = NULL;
    FP4_TRY(FP4_NEW(work, n + n_draws));
    double *e = work, *draws = work + n;
    fp4_status status = FP4_NEW(words, 2 * n);
    if (status == FP4_OK) {
        out->mean = fp4_mean(n, x);
        for (size_t i = 0; i < n; i++)
            e[i] = x[i] - out->mean;
        struct fp4_random r = {.seed = seed, .stream = FP4_STREAM_BOOTSTRAP, .operand = 1};
        for (size_t b = 0; b < n_draws; b++) {
            r.step = (uint32_t)b;
            fp4_random_words(&r, 0, 2 * n, words);
            draws[b] = out->mean + stationary_draw(n, e, mean_block, words);
        }
        out->se_exact = stationary_se(n, e, mean_block);
        out->se_iid = sqrt(lagged(n, e, 0)) / (double)n;
        summarize_draws(n_draws, draws, out);
    }
    fp4_free(words);
    fp4_free(work);
    return status;
}

/* √Σ_g(ȳ_g − ȳ)²/G, which holds for clusters of one size. */
static double equal_clusters_se(size_t n_clusters, const struct fp4_cluster_sum *clusters, double mean) {
    double squares = 0;
    for (size_t g = 0; g < n_clusters; g++) {
        double e = clusters[g].sum / clusters[g].n - mean;
        if (clusters[g].n != clusters[0].n)
            return NAN;
        squares += e * e;
    }
    return sqrt(squares) / (double)n_clusters;
}

fp4_status fp4_cluster_bootstrap(size_t n_clusters, const struct fp4_cluster_sum *clusters, size_t n_draws, uint32_t seed,
                                 struct fp4_bootstrap *out) {
    struct fp4_cluster_mean whole;
    FP4_TRY(check_draws(n_clusters, n_draws));
    FP4_TRY(fp4_cluster_sums(n_clusters, clusters, 0.95, &whole));
    double *draws;
    uint32_t *words = NULL;
    FP4_TRY(FP4_NEW(draws, n_draws));
    fp4_status status = FP4_NEW(words, n_clusters);
    if (status == FP4_OK) {
        struct fp4_random r = {.seed = seed, .stream = FP4_STREAM_BOOTSTRAP, .operand = 2};
        for (size_t b = 0; b < n_draws; b++) {
            double n = 0, residual = 0;
            r.step = (uint32_t)b;
            fp4_random_words(&r, 0, n_clusters, words);
            for (size_t g = 0; g < n_clusters; g++) {
                const struct fp4_cluster_sum *drawn = &clusters[place_of(words[g], n_clusters)];
                n += drawn->n;
                residual += drawn->sum - drawn->n * whole.mean;
            }
            draws[b] = whole.mean + residual / n;
        }
        out->mean = whole.mean;
        out->se_exact = equal_clusters_se(n_clusters, clusters, whole.mean);
        out->se_iid = NAN;
        summarize_draws(n_draws, draws, out);
    }
    fp4_free(words);
    fp4_free(draws);
    return status;
}
