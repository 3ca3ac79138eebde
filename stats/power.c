/* Power, sample size and minimum detectable effect. */
#include "stats/internal.h"

double fp4_n_ceiling(double n) {
    return ceil(n - 1e-9);
}

static fp4_status check_level(struct fp4_level level) {
    if (!(level.sig > 0 && level.sig < 1) || level.sides < 1 || level.sides > 2)
        return fp4_fail(FP4_ERR_ARG, "a level needs 0 < sig < 1 and 1 or 2 sides, not %g and %d", level.sig, level.sides);
    return FP4_OK;
}

static fp4_status check_power(double power) {
    if (!(power > 0 && power < 1))
        return fp4_fail(FP4_ERR_ARG, "power %g is not between 0 and 1", power);
    return FP4_OK;
}

/* The x in (low, high) where power(x) = goal, to the last bits; power rises from low to high (low > high is fine). */
static double bisect(double (*power)(const void *design, double x), const void *design, double goal, double low, double high) {
    for (int i = 0; i < 2000; i++) {
        double middle = 0.5 * (low + high);
        if (middle == low || middle == high)
            break;
        if (power(design, middle) < goal)
            low = middle;
        else
            high = middle;
    }
    return high;
}

/* As above over (low, ∞): doubles until the power is reached. */
static fp4_status bisect_upward(double (*power)(const void *design, double x), const void *design, double goal, double low, double start,
                                double limit, double *out) {
    double high = start;
    while (!(power(design, high) >= goal)) {
        low = high;
        high *= 2;
        if (high > limit)
            return fp4_fail(FP4_ERR_ARG, "power %g is not reached below %g", goal, limit);
    }
    *out = bisect(power, design, goal, low, high);
    return FP4_OK;
}

/* ---- proportions ---- */

struct proportions {
    struct fp4_level level;
    double n, p1, p2;
};

static double proportions_power(const struct proportions *d) {
    double z = fp4_normal_quantile(d->level.sig / d->level.sides, true), gap = sqrt(d->n) * fabs(d->p1 - d->p2);
    double pooled = sqrt((d->p1 + d->p2) * (1 - (d->p1 + d->p2) / 2)), own = sqrt(d->p1 * (1 - d->p1) + d->p2 * (1 - d->p2));
    double power = pnorm((gap - z * pooled) / own, 0, 1, 1, 0);
    if (d->level.strict && d->level.sides == 2)
        power += pnorm((gap + z * pooled) / own, 0, 1, 0, 0);
    return power;
}

static double power_at_n(const void *design, double n) {
    struct proportions d = *(const struct proportions *)design;
    d.n = n;
    return proportions_power(&d);
}

static double power_at_p2(const void *design, double p2) {
    struct proportions d = *(const struct proportions *)design;
    d.p2 = p2;
    return proportions_power(&d);
}

static fp4_status check_proportions(const struct proportions *d) {
    FP4_TRY(check_level(d->level));
    if (!(d->p1 >= 0 && d->p1 <= 1 && d->p2 >= 0 && d->p2 <= 1))
        return fp4_fail(FP4_ERR_ARG, "proportions %g and %g must lie between 0 and 1", d->p1, d->p2);
    if (!(d->n > 0 && isfinite(d->n)))
        return fp4_fail(FP4_ERR_ARG, "a number of %g trials is impossible", d->n);
    return FP4_OK;
}

fp4_status fp4_power_proportions(struct fp4_level level, double n, double p1, double p2, double *power) {
    struct proportions d = {level, n, p1, p2};
    FP4_TRY(check_proportions(&d));
    if (p1 == p2 && (p1 == 0 || p1 == 1))
        return fp4_fail(FP4_ERR_ARG, "two arms that never vary have no power");
    *power = proportions_power(&d);
    return FP4_OK;
}

fp4_status fp4_power_proportions_n(struct fp4_level level, double p1, double p2, double power, double *n) {
    struct proportions d = {level, 1, p1, p2};
    FP4_TRY(check_proportions(&d));
    FP4_TRY(check_power(power));
    if (p1 == p2)
        return fp4_fail(FP4_ERR_ARG, "no number of trials tells %g from itself", p1);
    return bisect_upward(power_at_n, &d, power, 0, 1, 1e18, n);
}

fp4_status fp4_power_proportions_p2(struct fp4_level level, double n, double p1, double power, bool above, double *p2) {
    double edge = above ? 1 : 0;
    struct proportions d = {level, n, p1, edge};
    FP4_TRY(check_proportions(&d));
    FP4_TRY(check_power(power));
    if (p1 == edge || power_at_p2(&d, edge) < power)
        return fp4_fail(FP4_ERR_ARG, "no proportion %s %g is detected with power %g", above ? "above" : "below", p1, power);
    *p2 = bisect(power_at_p2, &d, power, p1, edge);
    return FP4_OK;
}

/* ---- Student's t ---- */

struct t_design {
    struct fp4_level level;
    bool two_sample;
    double n, delta, sd;
};

static double t_power(const struct t_design *d) {
    double df = d->two_sample ? 2 * (d->n - 1) : d->n - 1, ncp = sqrt(d->two_sample ? d->n / 2 : d->n) * d->delta / d->sd;
    double critical = fp4_t_quantile(df, d->level.sig / d->level.sides, true);
    double power = fp4_noncentral_t(critical, df, ncp, true);
    if (d->level.strict && d->level.sides == 2)
        power += fp4_noncentral_t(-critical, df, ncp, false);
    return power;
}

static double t_power_at_n(const void *design, double n) {
    struct t_design d = *(const struct t_design *)design;
    d.n = n;
    return t_power(&d);
}

static double t_power_at_delta(const void *design, double delta) {
    struct t_design d = *(const struct t_design *)design;
    d.delta = delta;
    return t_power(&d);
}

static fp4_status check_t(const struct t_design *d) {
    FP4_TRY(check_level(d->level));
    if (!(d->sd > 0 && isfinite(d->sd) && isfinite(d->delta) && d->n >= 2 && d->n <= 1e9))
        return fp4_fail(FP4_ERR_ARG, "power of a t test needs sd > 0, a finite effect, and 2 to 1e9 observations");
    return FP4_OK;
}

fp4_status fp4_power_t(struct fp4_level level, bool two_sample, double n, double delta, double sd, double *power) {
    struct t_design d = {level, two_sample, n, delta, sd};
    FP4_TRY(check_t(&d));
    *power = t_power(&d);
    return FP4_OK;
}

fp4_status fp4_power_t_n(struct fp4_level level, bool two_sample, double delta, double sd, double power, double *n) {
    struct t_design d = {level, two_sample, 2, delta, sd};
    FP4_TRY(check_t(&d));
    FP4_TRY(check_power(power));
    if (!(delta > 0))
        return fp4_fail(FP4_ERR_ARG, "the sample size needs an effect above 0, not %g", delta);
    if (t_power(&d) >= power) {
        *n = 2;
        return FP4_OK;
    }
    return bisect_upward(t_power_at_n, &d, power, 2, 4, 1e9, n);
}

fp4_status fp4_power_t_delta(struct fp4_level level, bool two_sample, double n, double sd, double power, double *delta) {
    struct t_design d = {level, two_sample, n, 0, sd};
    FP4_TRY(check_t(&d));
    FP4_TRY(check_power(power));
    if (t_power(&d) >= power)
        return fp4_fail(FP4_ERR_ARG, "power %g is not above what no effect has", power);
    return bisect_upward(t_power_at_delta, &d, power, 0, sd / sqrt(n), sd * 1e15, delta);
}

/* ---- evaluations with resampled answers ---- */

static fp4_status check_miller(const struct fp4_miller *m) {
    FP4_TRY(check_level((struct fp4_level){m->sig, 2, false}));
    FP4_TRY(check_power(m->power));
    if (!(m->omega2 >= 0 && m->sigma2_a >= 0 && m->sigma2_b >= 0 && m->k_a > 0 && m->k_b > 0))
        return fp4_fail(FP4_ERR_ARG, "variances must not be negative and samples a question must be above 0");
    return FP4_OK;
}

/* (z(1 − sig/2) + z(power))·√variance of one question's difference: the effect times √n. */
static double miller_scale(const struct fp4_miller *m) {
    double quantiles = fp4_normal_quantile(m->sig / 2, true) + fp4_normal_quantile(m->power, false);
    return quantiles * sqrt(m->omega2 + m->sigma2_a / m->k_a + m->sigma2_b / m->k_b);
}

fp4_status fp4_power_miller_n(const struct fp4_miller *m, double delta, double *n) {
    FP4_TRY(check_miller(m));
    if (!(fabs(delta) > 0))
        return fp4_fail(FP4_ERR_ARG, "the number of questions needs an effect other than 0");
    double ratio = miller_scale(m) / delta;
    *n = ratio * ratio;
    return FP4_OK;
}

fp4_status fp4_power_miller_delta(const struct fp4_miller *m, double n, double *delta) {
    FP4_TRY(check_miller(m));
    if (!(n > 0))
        return fp4_fail(FP4_ERR_ARG, "%g questions are impossible", n);
    *delta = miller_scale(m) / sqrt(n);
    return FP4_OK;
}
