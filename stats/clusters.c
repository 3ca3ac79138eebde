/* Means whose observations share clusters. */
#include "stats/internal.h"

/* Residual sums below this many roundings of what was summed are rounding noise and count as 0. */
static const double noise = 16 * 2.220446049250313e-16;

/* residual [G]: Σ(y − mean) of each cluster; size [G]: Σ|y|, the scale of rounding. */
static void robust(size_t n_clusters, double n, double mean, const double *residual, const double *size, double conf,
                   struct fp4_cluster_mean *out) {
    double squares = 0, groups = (double)n_clusters;
    for (size_t g = 0; g < n_clusters; g++)
        if (fabs(residual[g]) > noise * size[g])
            squares += residual[g] * residual[g];
    *out = (struct fp4_cluster_mean){.mean = mean, .n = (int64_t)n, .n_clusters = (int64_t)n_clusters, .df = (int64_t)n_clusters - 1};
    out->se_cr0 = sqrt(squares) / n;
    out->se = out->se_cr0 * sqrt(groups / (groups - 1));
    out->ci = fp4_around(mean, fp4_t_factor(groups - 1, conf) * out->se);
    out->se_naive = out->design_effect = out->n_effective = out->icc = out->design_effect_icc = NAN;
}

static fp4_status check_clusters(size_t n_clusters, double conf) {
    if (n_clusters < 2)
        return fp4_fail(FP4_ERR_ARG, "a cluster-robust interval needs at least 2 clusters, not %zu", n_clusters);
    return fp4_check_conf(conf);
}

fp4_status fp4_cluster_sums(size_t n_clusters, const struct fp4_cluster_sum *clusters, double conf, struct fp4_cluster_mean *out) {
    FP4_TRY(check_clusters(n_clusters, conf));
    double n = 0, *work;
    for (size_t g = 0; g < n_clusters; g++) {
        if (!(clusters[g].n >= 1))
            return fp4_fail(FP4_ERR_ARG, "cluster %zu is empty", g + 1);
        if (!isfinite(clusters[g].sum))
            return fp4_fail(FP4_ERR_NUMERIC, "the sum of cluster %zu is not a finite number", g + 1);
        n += clusters[g].n;
    }
    FP4_TRY(FP4_NEW(work, 2 * n_clusters));
    double *residual = work, *size = work + n_clusters;
    for (size_t g = 0; g < n_clusters; g++)
        residual[g] = clusters[g].sum;
    double mean = fp4_sum(n_clusters, residual) / n;
    for (size_t g = 0; g < n_clusters; g++) {
        residual[g] = clusters[g].sum - clusters[g].n * mean;
        size[g] = fabs(clusters[g].sum);
    }
    robust(n_clusters, n, mean, residual, size, conf, out);
    fp4_free(work);
    return FP4_OK;
}

/* Numbers the clusters 0 … G−1 in the order of their labels. */
struct label {
    int64_t value;
    size_t place;
};

static int by_label(const void *a, const void *b) {
    const struct label *x = a, *y = b;
    if (x->value != y->value)
        return x->value < y->value ? -1 : 1;
    return (x->place > y->place) - (x->place < y->place);
}

static fp4_status number_clusters(size_t n, const int64_t *cluster, size_t *group, size_t *n_clusters) {
    struct label *labels;
    FP4_TRY(FP4_NEW(labels, n));
    for (size_t i = 0; i < n; i++)
        labels[i] = (struct label){cluster[i], i};
    qsort(labels, n, sizeof *labels, by_label);
    *n_clusters = n > 0;
    for (size_t i = 0; i < n; i++) {
        *n_clusters += i > 0 && labels[i].value != labels[i - 1].value;
        group[labels[i].place] = *n_clusters - 1;
    }
    fp4_free(labels);
    return FP4_OK;
}

/* Sums of one cluster around the grand mean. */
struct moments {
    double members, residual, squares, size;
};

/* What compares clustered with independent sampling: design effect, and intraclass correlation by analysis of variance. */
static void design(size_t n_clusters, const struct moments *m, struct fp4_cluster_mean *out) {
    double n = (double)out->n, groups = (double)n_clusters, total = 0, between = 0, members_squared = 0;
    for (size_t g = 0; g < n_clusters; g++) {
        total += m[g].squares;
        between += m[g].residual * m[g].residual / m[g].members;
        members_squared += m[g].members * m[g].members;
    }
    out->se_naive = sqrt(total / (n - 1) / n);
    if (total == 0)
        return;
    out->design_effect = (out->se / out->se_naive) * (out->se / out->se_naive);
    if (out->se > 0)
        out->n_effective = n / out->design_effect;
    if (n == groups)
        return;
    double ms_between = between / (groups - 1), ms_within = fmax(0, total - between) / (n - groups);
    double n0 = (n - members_squared / n) / (groups - 1);
    out->icc = (ms_between - ms_within) / (ms_between + (n0 - 1) * ms_within);
    out->design_effect_icc = 1 + (members_squared / n - 1) * out->icc;
}

/* Moments of each cluster, then both halves of the result; work [2·n_clusters]. */
static void summarize(size_t n, const double *y, const size_t *group, size_t n_clusters, struct moments *m, double *work, double conf,
                      struct fp4_cluster_mean *out) {
    double mean = fp4_mean(n, y);
    for (size_t i = 0; i < n; i++) {
        struct moments *g = &m[group[i]];
        double e = y[i] - mean;
        if (fabs(e) <= noise * fabs(mean))
            e = 0;
        g->members++;
        g->residual += e;
        g->squares += e * e;
        g->size += fabs(y[i]);
    }
    for (size_t g = 0; g < n_clusters; g++) {
        if (fabs(m[g].residual) <= noise * m[g].size)
            m[g].residual = 0;
        work[g] = m[g].residual;
        work[n_clusters + g] = m[g].size;
    }
    robust(n_clusters, (double)n, mean, work, work + n_clusters, conf, out);
    design(n_clusters, m, out);
}

fp4_status fp4_cluster_mean(size_t n, const double *y, const int64_t *cluster, double conf, struct fp4_cluster_mean *out) {
    size_t *group, n_clusters;
    struct moments *m = NULL;
    double *work = NULL;
    FP4_TRY(fp4_check_finite(n, y));
    FP4_TRY(FP4_NEW(group, n));
    fp4_status status = number_clusters(n, cluster, group, &n_clusters);
    if (status == FP4_OK)
        status = check_clusters(n_clusters, conf);
    if (status == FP4_OK)
        status = FP4_NEW(m, n_clusters);
    if (status == FP4_OK)
        status = FP4_NEW(work, 2 * n_clusters);
    if (status == FP4_OK)
        summarize(n, y, group, n_clusters, m, work, conf, out);
    fp4_free(work);
    fp4_free(m);
    fp4_free(group);
    return status;
}

fp4_status fp4_cluster_paired(size_t n, const double *y1, const double *y2, const int64_t *cluster, double conf,
                              struct fp4_cluster_paired *out) {
    double *d;
    struct fp4_cluster_mean mean;
    FP4_TRY(FP4_NEW(d, n));
    for (size_t i = 0; i < n; i++)
        d[i] = y1[i] - y2[i];
    fp4_status status = fp4_cluster_mean(n, d, cluster, conf, &mean);
    fp4_free(d);
    FP4_TRY(status);
    *out = (struct fp4_cluster_paired){mean.mean, mean.se, NAN, NAN, mean.ci, mean.n_clusters, mean.df};
    if (mean.se > 0) {
        out->t = mean.mean / mean.se;
        out->p = fp4_t_two_sided(out->t, (double)mean.df);
    }
    return FP4_OK;
}

/* ---- clusters crossed with replicates ---- */

struct components {
    double cluster, replicate, residual;
};

/* by_cluster [G] and by_replicate [R] receive the margins of u. */
static struct components two_way_components(size_t n_replicates, size_t n_clusters, const double *sizes, const double *sums, double total,
                                            double mean, double *by_cluster, double *by_replicate) {
    double r = (double)n_replicates, g = (double)n_clusters, scale = r * total;
    struct components v = {0, 0, 0};
    for (size_t i = 0; i < n_replicates; i++)
        for (size_t j = 0; j < n_clusters; j++) {
            double u = (sums[i * n_clusters + j] - sizes[j] * mean) / scale;
            by_replicate[i] += u;
            by_cluster[j] += u;
        }
    for (size_t j = 0; j < n_clusters; j++)
        v.cluster += by_cluster[j] * by_cluster[j] * g / (g - 1);
    if (n_replicates == 1)
        return v;
    for (size_t i = 0; i < n_replicates; i++)
        v.replicate += by_replicate[i] * by_replicate[i] * r / (r - 1);
    for (size_t i = 0; i < n_replicates; i++)
        for (size_t j = 0; j < n_clusters; j++) {
            double u = (sums[i * n_clusters + j] - sizes[j] * mean) / scale;
            double left = u - by_cluster[j] / r - sizes[j] / total * by_replicate[i];
            v.residual += left * left * g * r / ((g - 1) * (r - 1));
        }
    return v;
}

fp4_status fp4_two_way_mean(size_t n_replicates, size_t n_clusters, const double *sizes, const double *sums, double conf,
                            struct fp4_two_way *out) {
    FP4_TRY(check_clusters(n_clusters, conf));
    if (n_replicates < 1)
        return fp4_fail(FP4_ERR_ARG, "at least 1 replicate is needed");
    FP4_TRY(fp4_check_finite(n_replicates * n_clusters, sums));
    double *work;
    for (size_t j = 0; j < n_clusters; j++)
        if (!(sizes[j] >= 1))
            return fp4_fail(FP4_ERR_ARG, "cluster %zu is empty", j + 1);
    FP4_TRY(FP4_NEW(work, n_replicates + n_clusters));
    double r = (double)n_replicates, g = (double)n_clusters, total = fp4_sum(n_clusters, sizes);
    double mean = fp4_sum(n_replicates * n_clusters, sums) / (r * total);
    struct components v = two_way_components(n_replicates, n_clusters, sizes, sums, total, mean, work, work + n_clusters);
    fp4_free(work);
    double variance = fmax(v.cluster + v.replicate - v.residual, fmax(v.cluster, v.replicate));
    *out = (struct fp4_two_way){.mean = mean, .se = sqrt(variance), .df = g - 1, .t = NAN, .p = NAN, .se_clusters = sqrt(v.cluster),
                                .se_replicates = n_replicates > 1 ? sqrt(v.replicate) : NAN, .n_clusters = (int64_t)n_clusters,
                                .n_replicates = (int64_t)n_replicates};
    if (n_replicates > 1 && variance > 0)
        out->df = fmax(1, variance * variance / (v.cluster * v.cluster / (g - 1) + v.replicate * v.replicate / (r - 1)));
    out->ci = fp4_around(mean, fp4_t_factor(out->df, conf) * out->se);
    if (out->se > 0) {
        out->t = mean / out->se;
        out->p = fp4_t_two_sided(out->t, out->df);
    }
    return FP4_OK;
}
