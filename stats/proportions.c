/* Intervals of proportions and of their differences, and equivalence of two proportions. */
#include "stats/internal.h"

static fp4_status check_count(int64_t x, int64_t n) {
    if (n < 1 || x < 0 || x > n)
        return fp4_fail(FP4_ERR_ARG, "%lld successes of %lld trials are impossible", (long long)x, (long long)n);
    return FP4_OK;
}

/* (2x + z² ± z√(z² + 4xq)) / (2(n + z²)); the lower limit as the product of the two roots, x²/(n(n + z²)), over the upper
 * one, which does not cancel, and the upper limit by symmetry. */
static double wilson_lower(double x, double n, double z) {
    double upper_root = (2 * x + z * z + z * sqrt(z * z + 4 * x * (n - x) / n)) / 2;
    return x == 0 ? 0 : x * x / n / upper_root;
}

static struct fp4_interval wilson(double x, double n, double z) {
    return (struct fp4_interval){wilson_lower(x, n, z), 1 - wilson_lower(n - x, n, z)};
}

static double wilson_cc_lower(double x, double n, double z) {
    double p = x / n, q = (n - x) / n;
    if (x == 0)
        return 0;
    return (2 * x + z * z - 1 - z * sqrt(z * z - 2 - 1 / n + 4 * p * (n * q + 1))) / (2 * (n + z * z));
}

fp4_status fp4_wilson(int64_t x, int64_t n, double conf, struct fp4_interval *out) {
    FP4_TRY(check_count(x, n));
    FP4_TRY(fp4_check_conf(conf));
    *out = wilson((double)x, (double)n, fp4_normal_quantile((1 - conf) / 2, true));
    return FP4_OK;
}

fp4_status fp4_binomial_intervals(int64_t successes, int64_t trials, double conf, struct fp4_binomial *out) {
    FP4_TRY(check_count(successes, trials));
    FP4_TRY(fp4_check_conf(conf));
    double x = (double)successes, n = (double)trials, tail = (1 - conf) / 2, z = fp4_normal_quantile(tail, true);
    out->estimate = x / n;
    out->wilson = wilson(x, n, z);
    out->wilson_cc.lower = wilson_cc_lower(x, n, z);
    out->wilson_cc.upper = 1 - wilson_cc_lower(n - x, n, z);
    out->clopper_pearson.lower = x == 0 ? 0 : fp4_beta_quantile(x, n - x + 1, tail, false);
    out->clopper_pearson.upper = x == n ? 1 : fp4_beta_quantile(x + 1, n - x, tail, true);
    out->jeffreys_equal_tailed.lower = fp4_beta_quantile(x + 0.5, n - x + 0.5, tail, false);
    out->jeffreys_equal_tailed.upper = fp4_beta_quantile(x + 0.5, n - x + 0.5, tail, true);
    out->jeffreys = out->jeffreys_equal_tailed;
    if (x == 0)
        out->jeffreys.lower = 0;
    if (x == n)
        out->jeffreys.upper = 1;
    return FP4_OK;
}

/* Method 10 for given normal quantile. */
static struct fp4_difference newcombe(double x1, double n1, double x2, double n2, double z) {
    double p1 = x1 / n1, p2 = x2 / n2, d = p1 - p2;
    struct fp4_interval w1 = wilson(x1, n1, z), w2 = wilson(x2, n2, z);
    return (struct fp4_difference){d, {d - hypot(p1 - w1.lower, w2.upper - p2), d + hypot(w1.upper - p1, p2 - w2.lower)}};
}

fp4_status fp4_newcombe_difference(int64_t x1, int64_t n1, int64_t x2, int64_t n2, double conf, struct fp4_difference *out) {
    FP4_TRY(check_count(x1, n1));
    FP4_TRY(check_count(x2, n2));
    FP4_TRY(fp4_check_conf(conf));
    *out = newcombe((double)x1, (double)n1, (double)x2, (double)n2, fp4_normal_quantile((1 - conf) / 2, true));
    return FP4_OK;
}

/* Correlation of the two outcomes with Newcombe's correction of positive ones. */
static double newcombe_phi(double a, double b, double c, double d, double n) {
    double margins = (a + b) * (c + d) * (a + c) * (b + d), cross = a * d - b * c;
    if (margins == 0)
        return 0;
    if (cross > 0)
        cross = fmax(0, cross - n / 2);
    return cross / sqrt(margins);
}

fp4_status fp4_newcombe_paired(int64_t a, int64_t b, int64_t c, int64_t d, double conf, struct fp4_paired_difference *out) {
    if (a < 0 || b < 0 || c < 0 || d < 0 || a + b + c + d < 1)
        return fp4_fail(FP4_ERR_ARG, "the four counts of pairs must not be negative nor all 0");
    FP4_TRY(fp4_check_conf(conf));
    double n = (double)a + (double)b + (double)c + (double)d, z = fp4_normal_quantile((1 - conf) / 2, true);
    double x1 = (double)(a + b), x2 = (double)(a + c), p1 = x1 / n, p2 = x2 / n;
    struct fp4_interval w1 = wilson(x1, n, z), w2 = wilson(x2, n, z);
    double phi = newcombe_phi((double)a, (double)b, (double)c, (double)d, n), theta = (double)(b - c) / n;
    double dl1 = p1 - w1.lower, du1 = w1.upper - p1, dl2 = p2 - w2.lower, du2 = w2.upper - p2;
    out->difference = theta;
    out->phi = phi;
    out->ci.lower = theta - sqrt(fmax(0, dl1 * dl1 - 2 * phi * dl1 * du2 + du2 * du2));
    out->ci.upper = theta + sqrt(fmax(0, du1 * du1 - 2 * phi * du1 * dl2 + dl2 * dl2));
    return FP4_OK;
}

/* ---- equivalence ---- */

struct two_arms {
    double x1, n1, x2, n2;
};

/* Derivative by p2 of the log likelihood along p1 = p2 + margin; falls from +inf or a finite value to -inf. */
static double score(const struct two_arms *t, double margin, double p2) {
    double p1 = p2 + margin, sum = 0;
    if (t->x1 > 0)
        sum += t->x1 / p1;
    if (t->x1 < t->n1)
        sum -= (t->n1 - t->x1) / (1 - p1);
    if (t->x2 > 0)
        sum += t->x2 / p2;
    if (t->x2 < t->n2)
        sum -= (t->n2 - t->x2) / (1 - p2);
    return sum;
}

/* Farrington & Manning's z of the difference against a margin: the constrained maximum by bisection, to the last bit, because
 * the closed form through the arc cosine loses digits near the edges. */
static double score_z(const struct two_arms *t, double margin) {
    double low = fmax(0, -margin), high = fmin(1, 1 - margin);
    for (int i = 0; i < 1100; i++) {
        double middle = 0.5 * (low + high);
        if (middle <= low || middle >= high)
            break;
        if (score(t, margin, middle) > 0)
            low = middle;
        else
            high = middle;
    }
    double p2 = 0.5 * (low + high), p1 = fmin(1, fmax(0, p2 + margin));
    double variance = p1 * (1 - p1) / t->n1 + p2 * (1 - p2) / t->n2;
    return (t->x1 / t->n1 - t->x2 / t->n2 - margin) / sqrt(variance);
}

static void tost_wald(const struct two_arms *t, double low, double high, double alpha, struct fp4_tost_proportions *out) {
    double p1 = t->x1 / t->n1, p2 = t->x2 / t->n2, q1 = (t->n1 - t->x1) / t->n1, q2 = (t->n2 - t->x2) / t->n2;
    double variance = p1 * q1 / t->n1 + p2 * q2 / t->n2;
    out->has_wald = variance > 0;
    out->wald_equivalent = false;
    out->wald_se = out->wald_z_low = out->wald_z_high = out->wald_p_low = out->wald_p_high = out->wald_p = NAN;
    out->wald_ci = (struct fp4_interval){NAN, NAN};
    if (!out->has_wald)
        return;
    out->wald_se = sqrt(variance);
    out->wald_z_low = (out->difference - low) / out->wald_se;
    out->wald_z_high = (out->difference - high) / out->wald_se;
    out->wald_p_low = pnorm(out->wald_z_low, 0, 1, 0, 0);
    out->wald_p_high = pnorm(out->wald_z_high, 0, 1, 1, 0);
    out->wald_p = fmax(out->wald_p_low, out->wald_p_high);
    out->wald_equivalent = out->wald_p < alpha;
    out->wald_ci = fp4_around(out->difference, fp4_normal_quantile(alpha, true) * out->wald_se);
}

fp4_status fp4_tost_proportions(int64_t x1, int64_t n1, int64_t x2, int64_t n2, double low, double high, double alpha,
                                struct fp4_tost_proportions *out) {
    FP4_TRY(check_count(x1, n1));
    FP4_TRY(check_count(x2, n2));
    if (!(low < high && low > -1 && high < 1))
        return fp4_fail(FP4_ERR_ARG, "margins (%g, %g) must ascend within -1 and 1", low, high);
    if (!(alpha > 0 && alpha < 0.5))
        return fp4_fail(FP4_ERR_ARG, "level %g is not between 0 and 0.5", alpha);
    struct two_arms t = {(double)x1, (double)n1, (double)x2, (double)n2};
    struct fp4_difference d = newcombe(t.x1, t.n1, t.x2, t.n2, fp4_normal_quantile(alpha, true));
    out->difference = d.difference;
    out->newcombe_ci = d.ci;
    out->newcombe_equivalent = d.ci.lower > low && d.ci.upper < high;
    out->score_z_low = score_z(&t, low);
    out->score_z_high = score_z(&t, high);
    out->score_p_low = pnorm(out->score_z_low, 0, 1, 0, 0);
    out->score_p_high = pnorm(out->score_z_high, 0, 1, 1, 0);
    out->score_p = fmax(out->score_p_low, out->score_p_high);
    out->score_equivalent = out->score_p < alpha;
    tost_wald(&t, low, high, alpha, out);
    return FP4_OK;
}
