/* Quantiles by Newton on the logarithm of the smaller tail, Student's t through the beta distribution, and the
 * noncentral t by quadrature. Only the cumulative functions of R's library are used, which are silent and accurate. */
#include "stats/internal.h"

double fp4_normal_quantile(double p, bool upper) {
    return p > 0 && p < 1 ? qnorm(p, 0, 1, !upper, 0) : NAN;
}

/* A distribution on y > 0 as the solver sees it: the logarithms of its tails and of its density. */
struct positive {
    double a, b;
    double (*log_tail)(const struct positive *d, double y, bool upper);
    double (*log_density)(const struct positive *d, double y);
};

static double beta_log_tail(const struct positive *d, double y, bool upper) { return pbeta(y, d->a, d->b, !upper, 1); }
static double beta_log_density(const struct positive *d, double y) { return dbeta(y, d->a, d->b, 1); }
static double chi2_log_tail(const struct positive *d, double y, bool upper) { return pchisq(y, d->a, !upper, 1); }
static double chi2_log_density(const struct positive *d, double y) { return dchisq(y, d->a, 1); }

/* y = exp(v) with log tail(y) = log p, v in [low, high]. In v the three distributions have log-concave densities, so the
 * log tails are concave and Newton converges from one side; bisection steps in when a step leaves the bracket. */
static double solve_tail(const struct positive *d, double p, bool upper, double low, double high) {
    double goal = log(p), sign = upper ? -1 : 1, v = 0.5 * (low + high);
    if (v < -40 && high > -40)
        v = high > 1 ? 1 : -1;
    for (int i = 0; i < 400 && high - low > 0; i++) {
        double y = exp(v), tail = d->log_tail(d, y, upper), excess = sign * (tail - goal);
        if (excess == 0)
            return y;
        if (excess > 0)
            high = v;
        else
            low = v;
        double rate = exp(d->log_density(d, y) + v - tail), step = excess / rate, next = v - step;
        if (!(next > low && next < high)) /* also for a rate that is 0 or a tail that is -inf */
            next = 0.5 * (low + high);
        if (fabs(next - v) <= 1e-15 * fmax(1, fabs(v)) || next == low || next == high)
            return exp(next);
        v = next;
    }
    return exp(v);
}

static const double log_least = -745, log_most = 709; /* of a double */

/* x and its complement 1 − x, of which the smaller is solved for and so has full relative accuracy. */
static void beta_solve(double a, double b, double p, bool upper, double *x, double *complement) {
    double half = pbeta(0.5, a, b, 1, 0);
    /* The tail that is at most ½ decides; 1 − p is exact for p ≥ ½. */
    if (p > 0.5) {
        p = 1 - p;
        upper = !upper;
    }
    bool below = upper ? pbeta(0.5, a, b, 0, 0) < p : half > p; /* is x < ½? */
    struct positive d = {.log_tail = beta_log_tail, .log_density = beta_log_density};
    d.a = below ? a : b;
    d.b = below ? b : a;
    double y = solve_tail(&d, p, below ? upper : !upper, log_least, log(0.5));
    *x = below ? y : 1 - y;
    *complement = below ? 1 - y : y;
}

double fp4_beta_quantile(double a, double b, double p, bool upper) {
    double x, complement;
    if (!(a > 0 && b > 0 && p > 0 && p < 1))
        return NAN;
    beta_solve(a, b, p, upper, &x, &complement);
    return x;
}

double fp4_chi2_quantile(double df, double p, bool upper) {
    if (!(df > 0 && p > 0 && p < 1))
        return NAN;
    if (p > 0.5) {
        p = 1 - p;
        upper = !upper;
    }
    struct positive d = {.a = df, .log_tail = chi2_log_tail, .log_density = chi2_log_density};
    return solve_tail(&d, p, upper, log_least, log_most);
}

/* w = df/(df + T²) has the beta distribution with parameters df/2 and ½. */
double fp4_t_quantile(double df, double p, bool upper) {
    if (!(df > 0 && p > 0 && p < 1))
        return NAN;
    if (p == 0.5)
        return 0;
    bool positive = upper == (p < 0.5);
    double w, rest, tail = p < 0.5 ? p : 1 - p, half = 0.5 * df;
    /* Far out, where w may underflow, the first term of the series is all of it: 2·tail = w^half/(half·B(half, ½)). */
    double log_w = (log(2 * tail) + log(half) + lbeta(half, 0.5)) / half;
    if (log_w < -100) {
        double t = sqrt(df) * exp(-0.5 * log_w);
        return positive ? t : -t;
    }
    if (tail > 0.25) { /* 2·tail is near 1: 1 − 2·tail is exact there and has the digits */
        beta_solve(0.5, half, 1 - 2 * tail, false, &rest, &w);
    } else {
        beta_solve(half, 0.5, 2 * tail, false, &w, &rest);
    }
    double t = sqrt(df) * sqrt(rest / w);
    return positive ? t : -t;
}

double fp4_t_upper(double t, double df) {
    if (!(df > 0) || isnan(t))
        return NAN;
    if (t < 0)
        return 1 - fp4_t_upper(-t, df);
    double both = t * t < df ? pbeta(t * t / (df + t * t), 0.5, 0.5 * df, 0, 0) : pbeta(df / (df + t * t), 0.5 * df, 0.5, 1, 0);
    return 0.5 * both;
}

double fp4_t_factor(double df, double conf) {
    return fp4_t_quantile(df, (1 - conf) / 2, true);
}

/* P(Z + ncp > t·S), S = √(χ²/df) = exp(u): the trapezoidal rule over u, whose error falls exponentially for an analytic
 * integrand (Trefethen & Weideman 2014). The step resolves the density of u (deviation √(1/2df)) and the normal tail, which
 * falls off around S = ncp/t within 1/ncp in u; a t beyond that moves the place but not the width: off the real axis by v
 * the integrand grows by at most exp((df + ncp²/2)·v²). The weights are normalised by their own sum. All terms are positive. */
double fp4_noncentral_t(double t, double df, double ncp, bool upper) {
    if (!(df > 0) || isnan(t) || isnan(ncp))
        return NAN;
    double step = 0.125 * fmin(fmin(1, 1 / sqrt(2 * df)), 1 / fmax(1, fabs(ncp)));
    double sum = 0, weights = 0;
    for (int side = -1; side <= 1; side += 2)
        for (int64_t i = side > 0 ? 0 : 1;; i++) {
            double u = side * step * (double)i, log_weight = df * (u - 0.5 * expm1(2 * u));
            if (log_weight < -120)
                break;
            double weight = exp(log_weight);
            weights += weight;
            sum += weight * pnorm(t * exp(u) - ncp, 0, 1, !upper, 0);
        }
    return sum / weights;
}
