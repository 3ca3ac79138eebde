/* Student's and Welch's tests, equivalence of paired means, least squares. */
#include "stats/internal.h"

/* Mean and standard error of a sample, by deviations from the mean. */
struct sample {
    double mean, se; /* s/√n */
};

static struct sample summarize(size_t n, const double *x) {
    struct sample s = {fp4_mean(n, x), 0};
    double squares = 0;
    for (size_t i = 0; i < n; i++)
        squares += (x[i] - s.mean) * (x[i] - s.mean);
    s.se = sqrt(squares / ((double)n - 1) / (double)n);
    return s;
}

/* The sample of x − y; y may be NULL. */
static fp4_status summarize_differences(size_t n, const double *x, const double *y, struct sample *out) {
    double *d;
    if (n < 2)
        return fp4_fail(FP4_ERR_ARG, "a t test needs at least 2 observations, not %zu", n);
    FP4_TRY(FP4_NEW(d, n));
    for (size_t i = 0; i < n; i++)
        d[i] = y ? x[i] - y[i] : x[i];
    fp4_status status = fp4_check_finite(n, d);
    if (status == FP4_OK)
        *out = summarize(n, d);
    fp4_free(d);
    return status;
}

static void fill_t(double difference, double se, double df, double conf, struct fp4_t_test *out) {
    *out = (struct fp4_t_test){difference, se, NAN, df, NAN, NAN, NAN, {difference, difference}};
    if (!(se > 0))
        return;
    out->t = difference / se;
    out->p = fp4_t_two_sided(out->t, df);
    out->p_less = fp4_t_upper(-out->t, df);
    out->p_greater = fp4_t_upper(out->t, df);
    out->ci = fp4_around(difference, fp4_t_factor(df, conf) * se);
}

fp4_status fp4_t_paired(size_t n, const double *x, const double *y, double conf, struct fp4_t_test *out) {
    struct sample d;
    FP4_TRY(fp4_check_conf(conf));
    FP4_TRY(summarize_differences(n, x, y, &d));
    fill_t(d.mean, d.se, (double)n - 1, conf, out);
    return FP4_OK;
}

fp4_status fp4_t_welch(size_t nx, const double *x, size_t ny, const double *y, double conf, struct fp4_t_test *out) {
    FP4_TRY(fp4_check_conf(conf));
    if (nx < 2 || ny < 2)
        return fp4_fail(FP4_ERR_ARG, "Welch's test needs at least 2 observations in each sample");
    FP4_TRY(fp4_check_finite(nx, x));
    FP4_TRY(fp4_check_finite(ny, y));
    struct sample a = summarize(nx, x), b = summarize(ny, y);
    double se = hypot(a.se, b.se), wa = a.se / se, wb = b.se / se;
    double df = 1 / (pow(wa, 4) / ((double)nx - 1) + pow(wb, 4) / ((double)ny - 1));
    fill_t(a.mean - b.mean, se, df, conf, out);
    return FP4_OK;
}

fp4_status fp4_tost_paired(size_t n, const double *x, const double *y, double low, double high, double alpha, struct fp4_tost_paired *out) {
    struct sample d;
    if (!(low < high))
        return fp4_fail(FP4_ERR_ARG, "margins (%g, %g) must ascend", low, high);
    if (!(alpha > 0 && alpha < 0.5))
        return fp4_fail(FP4_ERR_ARG, "level %g is not between 0 and 0.5", alpha);
    FP4_TRY(summarize_differences(n, x, y, &d));
    *out = (struct fp4_tost_paired){d.mean, d.se, NAN, NAN, NAN, NAN, NAN, (int64_t)n - 1, {d.mean, d.mean}, false};
    if (!(d.se > 0))
        return FP4_OK;
    double df = (double)n - 1;
    out->t_low = (d.mean - low) / d.se;
    out->t_high = (d.mean - high) / d.se;
    out->p_low = fp4_t_upper(out->t_low, df);
    out->p_high = fp4_t_upper(-out->t_high, df);
    out->p = fmax(out->p_low, out->p_high);
    out->ci = fp4_around(d.mean, fp4_t_quantile(df, alpha, true) * d.se);
    out->equivalent = out->p < alpha;
    return FP4_OK;
}

/* Sums of squares and products of centred x and y. */
struct centred {
    double mean_x, mean_y, xx, xy, yy;
};

static struct centred centre(size_t n, const double *x, const double *y) {
    struct centred c = {fp4_mean(n, x), fp4_mean(n, y), 0, 0, 0};
    for (size_t i = 0; i < n; i++) {
        double dx = x[i] - c.mean_x, dy = y[i] - c.mean_y;
        c.xx += dx * dx;
        c.xy += dx * dy;
        c.yy += dy * dy;
    }
    return c;
}

fp4_status fp4_slope(size_t n, const double *x, const double *y, double conf, struct fp4_slope *out) {
    FP4_TRY(fp4_check_conf(conf));
    if (n < 3)
        return fp4_fail(FP4_ERR_ARG, "a regression needs at least 3 points, not %zu", n);
    FP4_TRY(fp4_check_finite(n, x));
    FP4_TRY(fp4_check_finite(n, y));
    struct centred c = centre(n, x, y);
    if (c.xx == 0)
        return fp4_fail(FP4_ERR_ARG, "a regression needs an x that varies");
    double slope = c.xy / c.xx, df = (double)n - 2, residual_squares = 0;
    for (size_t i = 0; i < n; i++) { /* by residuals, not by yy − slope·xy, which cancels for a close fit */
        /* Wider, for a residual far below x and y; what the means and the slope are rounded by is orthogonal to it. */
        long double residual = ((long double)y[i] - c.mean_y) - slope * ((long double)x[i] - c.mean_x);
        residual_squares += (double)(residual * residual);
    }
    *out = (struct fp4_slope){.slope = slope, .intercept = c.mean_y - slope * c.mean_x, .df = (int64_t)n - 2, .t_slope = NAN, .p_slope = NAN};
    out->residual_sd = sqrt(residual_squares / df);
    out->se_slope = out->residual_sd / sqrt(c.xx);
    out->se_intercept = out->residual_sd * sqrt(1 / (double)n + c.mean_x * c.mean_x / c.xx);
    out->r_squared = c.yy > 0 ? 1 - residual_squares / c.yy : NAN;
    if (out->se_slope > 0) {
        out->t_slope = slope / out->se_slope;
        out->p_slope = fp4_t_two_sided(out->t_slope, df);
    }
    out->ci_slope = fp4_around(slope, fp4_t_factor(df, conf) * out->se_slope);
    out->ci_intercept = fp4_around(out->intercept, fp4_t_factor(df, conf) * out->se_intercept);
    return FP4_OK;
}
