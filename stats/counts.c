/* Tests of counts: McNemar, Cochran-Mantel-Haenszel, Cochran's Q. */
#include "stats/internal.h"

static double chi2_upper(double x, double df) {
    return pchisq(x, df, 0, 0);
}

fp4_status fp4_mcnemar(int64_t b, int64_t c, struct fp4_mcnemar *out) {
    if (b < 0 || c < 0)
        return fp4_fail(FP4_ERR_ARG, "discordant counts %lld and %lld must not be negative", (long long)b, (long long)c);
    double n = (double)b + (double)c, gap = fabs((double)b - (double)c), least = (double)(b < c ? b : c);
    *out = (struct fp4_mcnemar){0, 1, 0, 1, 1, 1};
    if (n == 0)
        return FP4_OK;
    out->chi2 = gap * gap / n;
    out->p_chi2 = chi2_upper(out->chi2, 1);
    out->chi2_cc = gap == 0 ? 0 : (gap - 1) * (gap - 1) / n;
    out->p_chi2_cc = chi2_upper(out->chi2_cc, 1);
    double point = dbinom(least, n, 0.5, 0);
    out->p_exact = fmin(1, 2 * pbinom(least, n, 0.5, 1, 0));
    /* P(X < s) is 0 at s = 0; R's pbinom takes -1 as such. */
    out->p_midp = gap == 0 ? 1 - point / 2 : 2 * pbinom(least - 1, n, 0.5, 1, 0) + point;
    return FP4_OK;
}

/* Sums over strata: numerator and variance of the test; the terms of the variance of the log odds ratio. */
struct cmh_sums {
    double excess, variance, r, s, pr, ps_qr, qs;
};

static void cmh_add(const int64_t table[4], struct cmh_sums *sums) {
    double a = (double)table[0], b = (double)table[1], c = (double)table[2], d = (double)table[3], n = a + b + c + d;
    double margins = (a + b) * (c + d) * (a + c) * (b + d);
    if (margins == 0)
        return;
    double r = a * d / n, s = b * c / n, p = (a + d) / n, q = (b + c) / n;
    sums->excess += (a * d - b * c) / n; /* = a - (a+b)(a+c)/n */
    sums->variance += margins / (n * n * (n - 1));
    sums->r += r;
    sums->s += s;
    sums->pr += p * r;
    sums->ps_qr += p * s + q * r;
    sums->qs += q * s;
}

fp4_status fp4_cmh(size_t n_strata, const int64_t (*tables)[4], double conf, struct fp4_cmh *out) {
    FP4_TRY(fp4_check_conf(conf));
    struct cmh_sums t = {0};
    for (size_t k = 0; k < n_strata; k++) {
        const int64_t *row = tables[k];
        if (row[0] < 0 || row[1] < 0 || row[2] < 0 || row[3] < 0 || row[0] + row[1] + row[2] + row[3] < 2)
            return fp4_fail(FP4_ERR_ARG, "stratum %zu has a negative count or fewer than 2 members", k + 1);
        cmh_add(row, &t);
    }
    *out = (struct fp4_cmh){NAN, NAN, NAN, NAN, NAN, {NAN, NAN}};
    if (t.variance > 0) {
        double gap = fabs(t.excess);
        out->chi2 = gap * gap / t.variance;
        out->p = chi2_upper(out->chi2, 1);
        /* The slack keeps an excess of exactly one half, which rounding may lower, on its side of R's rule. */
        out->chi2_cc = gap >= 0.5 - 1e-12 * (t.r + t.s) ? (gap - 0.5) * (gap - 0.5) / t.variance : out->chi2;
        out->p_cc = chi2_upper(out->chi2_cc, 1);
    }
    if (t.r > 0 && t.s > 0) {
        out->odds_ratio = t.r / t.s;
        double variance = t.pr / (2 * t.r * t.r) + t.ps_qr / (2 * t.r * t.s) + t.qs / (2 * t.s * t.s);
        double factor = exp(fp4_normal_quantile((1 - conf) / 2, true) * sqrt(variance));
        out->ci = (struct fp4_interval){out->odds_ratio / factor, out->odds_ratio * factor};
    } else if (t.r == 0 && t.s > 0) {
        out->odds_ratio = 0;
    }
    return FP4_OK;
}

fp4_status fp4_cochran_q(size_t n_patterns, size_t k, const uint8_t *patterns, const int64_t *counts, struct fp4_cochran_q *out) {
    if (k < 2)
        return fp4_fail(FP4_ERR_ARG, "Cochran's Q needs at least 2 arms");
    double total = 0, rows_squared = 0, columns_squared = 0;
    *out = (struct fp4_cochran_q){.q = 0, .p = 1, .df = (int64_t)k - 1};
    for (size_t i = 0; i < n_patterns; i++) {
        size_t row = 0;
        for (size_t j = 0; j < k; j++) {
            if (patterns[i * k + j] > 1 || counts[i] < 0)
                return fp4_fail(FP4_ERR_ARG, "pattern %zu holds something other than 0 and 1, or a negative count", i + 1);
            row += patterns[i * k + j];
        }
        total += (double)counts[i] * (double)row;
        rows_squared += (double)counts[i] * (double)row * (double)row;
        out->n_mixed += row > 0 && row < k ? counts[i] : 0;
    }
    if (out->n_mixed == 0)
        return FP4_OK;
    for (size_t j = 0; j < k; j++) {
        double column = 0;
        for (size_t i = 0; i < n_patterns; i++)
            column += (double)counts[i] * patterns[i * k + j];
        columns_squared += column * column;
    }
    double arms = (double)k;
    out->q = (arms - 1) * (arms * columns_squared - total * total) / (arms * total - rows_squared);
    out->p = chi2_upper(out->q, arms - 1);
    return FP4_OK;
}
