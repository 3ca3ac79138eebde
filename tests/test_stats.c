/* Statistics beyond the reference vectors: against brute force, against each other, by simulation, at the edges. */
#include "tests/support.h"

#include <math.h>
#include <string.h>

#include "stats/stats.h"

static void near(double got, double want, double relative, const char *what) {
    cr_assert(fabs(got - want) <= relative * fabs(want) + 1e-300, "%s: %.17g, expected %.17g", what, got, want);
}

/* Normals addressed by `part`. */
static void normals(uint32_t part, size_t n, double *out) {
    struct fp4_random r = {.seed = 11, .stream = FP4_STREAM_TEST, .operand = part};
    float z[4096];
    cr_assert_leq(n, sizeof z / sizeof *z);
    fp4_random_normal(&r, 0, n, z);
    for (size_t i = 0; i < n; i++)
        out[i] = z[i];
}

/* ---- distributions ---- */

/* Each quantile goes back to its p; the inverse is R's cumulative function, at another place than Newton's. */
Test(stats, quantiles_invert_their_distributions) {
    const double p[] = {1e-290, 1e-120, 1e-30, 1e-9, 1e-4, 0.025, 0.2, 0.3, 0.49999, 0.5, 0.50001, 0.8, 0.975, 0.99999};
    const double df[] = {0.3, 1, 1.5, 2.5, 7, 30, 1000, 3e5, 1e7};
    for (size_t i = 0; i < sizeof p / sizeof *p; i++)
        for (size_t j = 0; j < sizeof df / sizeof *df; j++) {
            double t = fp4_t_quantile(df[j], p[i], true);
            if (fabs(t) < 1e150)
                near(fp4_t_upper(t, df[j]), p[i], 3e-11, "t");
            cr_assert(t == -fp4_t_quantile(df[j], p[i], false), "symmetry at p %g, df %g", p[i], df[j]);
        }
    near(fp4_t_quantile(2, 1e-300, true), sqrt(0.5) * 1e150, 1e-12, "t with df 2 has a closed form"); /* t ≈ 1/√(2p) */
    near(fp4_t_quantile(1, 1e-300, true), 1e300 / acos(-1), 1e-12, "t with df 1 has a closed form"); /* t ≈ 1/(πp) */
    near(fp4_beta_quantile(3, 1, 1e-30, false), 1e-10, 1e-13, "beta(a, 1)");
    near(fp4_beta_quantile(1, 5, 1e-30, false), 2e-31, 1e-13, "beta(1, b)");
    near(fp4_chi2_quantile(2, 1e-200, true), 400 * log(10), 1e-13, "chi2 with df 2");
    near(fp4_chi2_quantile(2, 1e-200, false), 2e-200, 1e-13, "chi2 with df 2");
    cr_assert(isnan(fp4_t_quantile(3, 0, true)) && isnan(fp4_t_quantile(0, 0.5, true)) && isnan(fp4_beta_quantile(0, 1, 0.5, true)));
}

Test(stats, noncentral_t_has_its_closed_forms) {
    for (double df = 0.5; df < 1e6; df *= 7) {
        for (double t = -3; t <= 9; t += 1.5) /* ncp 0: Student's */
            near(fp4_noncentral_t(t, df, 0, true), fp4_t_upper(t, df), 1e-12, "central");
        for (double ncp = -6; ncp <= 6; ncp += 1.5) /* t = 0: the sign of a normal */
            near(fp4_noncentral_t(0, df, ncp, false), 0.5 * erfc(ncp / sqrt(2)), 1e-13, "at 0");
        near(fp4_noncentral_t(2, df, 1.7, true) + fp4_noncentral_t(2, df, 1.7, false), 1, 1e-14, "the tails make 1");
    }
}

/* ---- exact tests against enumeration ---- */

Test(stats, sign_flips_are_all_counted) {
    const double d[] = {0.5, -0.25, 1, 0.25, 0.25, 2, -1, 0, 0.75, 0.5, 3, -0.5};
    enum { N = sizeof d / sizeof *d };
    double observed = 0;
    size_t both = 0, less = 0, greater = 0;
    for (size_t i = 0; i < N; i++)
        observed += d[i];
    for (size_t signs = 0; signs < 1u << N; signs++) {
        double sum = 0; /* quarters: exact */
        for (size_t i = 0; i < N; i++)
            sum += signs >> i & 1 ? d[i] : -d[i];
        both += fabs(sum) >= fabs(observed);
        less += sum <= observed;
        greater += sum >= observed;
    }
    struct fp4_sign_flip r;
    must(fp4_sign_flip(N, d, 0, 1, &r));
    cr_assert(r.exact && r.n_permutations == 1 << N);
    cr_assert(r.p == both / 4096.0 && r.p_less == less / 4096.0 && r.p_greater == greater / 4096.0);
    near(r.mean, observed / N, 1e-15, "mean");
    must(fp4_sign_flip(1, d, 0, 1, &r));
    cr_assert(r.p == 1 && r.p_greater == 0.5);
    double tenths[20]; /* 0.1 has no exact double: equal sums must still tie */
    for (size_t i = 0; i < 20; i++)
        tenths[i] = i % 2 ? -0.1 : 0.1;
    must(fp4_sign_flip(20, tenths, 0, 1, &r));
    cr_assert(r.p == 1, "a sum of 0 is the least extreme: %g", r.p);
}

Test(stats, sign_flips_are_drawn_when_there_are_too_many) {
    enum { N = 24, DRAWS = 20000 };
    double d[N], observed = 0;
    size_t both = 0;
    normals(1, N, d);
    for (size_t i = 0; i < N; i++)
        observed += d[i] += 0.3;
    double half[1 << 12]; /* the enumeration: sums of the first 12 signs, then of the last 12 */
    for (size_t s = 0; s < 1u << 12; s++) {
        half[s] = 0;
        for (size_t i = 0; i < 12; i++)
            half[s] += s >> i & 1 ? d[i] : -d[i];
    }
    for (size_t s = 0; s < 1u << 12; s++) {
        double rest = 0;
        for (size_t i = 0; i < 12; i++)
            rest += s >> i & 1 ? d[12 + i] : -d[12 + i];
        for (size_t k = 0; k < 1u << 12; k++)
            both += fabs(rest + half[k]) >= fabs(observed) - 1e-12;
    }
    double exact = (double)both / (1 << N);
    struct fp4_sign_flip r, again, other;
    must(fp4_sign_flip(N, d, DRAWS, 1, &r));
    must(fp4_sign_flip(N, d, DRAWS, 1, &again));
    must(fp4_sign_flip(N, d, DRAWS, 2, &other));
    cr_assert(!r.exact && r.n_permutations == DRAWS && r.p == again.p && r.p != other.p);
    cr_assert_lt(fabs(r.p - exact), 5 * sqrt(exact * (1 - exact) / DRAWS) + 1.0 / DRAWS, "%g, exact %g", r.p, exact);
    cr_assert_eq(fp4_sign_flip(N, d, 0, 1, &r), FP4_ERR_ARG);
}

Test(stats, rank_tests_count_every_allocation) {
    const double pooled[] = {3, 1, 4, 1, 5, 9, 2, 6, 5, 3};
    enum { N = 10, M = 4 };
    double u_observed = 0;
    size_t less = 0, greater = 0, both = 0, total = 0;
    for (size_t pass = 0; pass < 2; pass++)
        for (size_t set = 0; set < 1u << N; set++) {
            if (__builtin_popcountl(set) != M || (pass == 0 && set != (1u << M) - 1))
                continue;
            double u = 0;
            for (size_t i = 0; i < N; i++)
                for (size_t j = 0; j < N; j++)
                    if (set >> i & 1 && !(set >> j & 1))
                        u += pooled[i] > pooled[j] ? 1 : pooled[i] == pooled[j] ? 0.5 : 0;
            if (pass == 0) {
                u_observed = u;
                continue;
            }
            total++;
            less += u <= u_observed;
            greater += u >= u_observed;
            both += fabs(u - M * (N - M) / 2.0) >= fabs(u_observed - M * (N - M) / 2.0);
        }
    struct fp4_mann_whitney r;
    must(fp4_mann_whitney(M, pooled, N - M, pooled + M, 0.9, &r));
    cr_assert(r.u == u_observed);
    near(r.p_less, (double)less / (double)total, 1e-14, "p_less");
    near(r.p_greater, (double)greater / (double)total, 1e-14, "p_greater");
    near(r.p, (double)both / (double)total, 1e-14, "p");
}

/* ---- sums are as good as observations ---- */

enum { DOCUMENTS = 12, TOKENS = 300 };

static void documents(size_t tokens[DOCUMENTS], double *a, double *b) {
    size_t total = 0;
    for (size_t g = 0; g < DOCUMENTS; g++)
        total += tokens[g] = 3 + g * g % 37;
    cr_assert_leq(total, TOKENS);
    normals(2, TOKENS, a);
    normals(3, TOKENS, b);
    for (size_t g = 0, i = 0; g < DOCUMENTS; g++)
        for (size_t k = 0; k < tokens[g]; k++, i++) {
            a[i] = 3 + a[i] + 0.1 * (double)g;
            b[i] = a[i] + 0.05 + 0.1 * b[i] + 0.01 * (double)(g % 5);
        }
}

static void add_up(const size_t *tokens, const double *x, struct fp4_cluster_sum *out) {
    for (size_t g = 0; g < DOCUMENTS; g++) {
        out[g] = (struct fp4_cluster_sum){(double)tokens[g], 0};
        for (size_t k = 0; k < tokens[g]; k++)
            out[g].sum += *x++;
    }
}

Test(stats, sums_give_what_observations_give) {
    size_t tokens[DOCUMENTS];
    double a[TOKENS], b[TOKENS];
    int64_t label[TOKENS];
    struct fp4_cluster_sum sum_a[DOCUMENTS], sum_b[DOCUMENTS];
    documents(tokens, a, b);
    add_up(tokens, a, sum_a);
    add_up(tokens, b, sum_b);
    size_t n = 0;
    for (size_t g = 0; g < DOCUMENTS; g++)
        for (size_t k = 0; k < tokens[g]; k++)
            label[n++] = 1000 - 7 * (int64_t)g;

    struct fp4_cluster_mean m, ms;
    must(fp4_cluster_mean(n, a, label, 0.95, &m));
    must(fp4_cluster_sums(DOCUMENTS, sum_a, 0.95, &ms));
    near(ms.mean, m.mean, 1e-13, "mean"), near(ms.se, m.se, 1e-11, "se"), near(ms.ci.lower, m.ci.lower, 1e-11, "ci");
    cr_assert(ms.n == m.n && ms.df == m.df && ms.n_clusters == DOCUMENTS);
    cr_assert(isnan(ms.se_naive) && isnan(ms.icc) && m.design_effect > 1);

    struct fp4_perplexity p, ps;
    must(fp4_perplexity_tokens(DOCUMENTS, tokens, a, 0.95, &p));
    must(fp4_perplexity_sums(DOCUMENTS, sum_a, 0.95, &ps));
    near(ps.ppl, p.ppl, 1e-12, "ppl"), near(ps.ci_log.upper, p.ci_log.upper, 1e-11, "ppl ci"), near(p.se_nll, m.se, 1e-11, "se_nll");

    struct fp4_perplexity_ratio r, rs;
    must(fp4_perplexity_ratio_tokens(DOCUMENTS, tokens, a, b, 0.95, &r));
    must(fp4_perplexity_ratio_sums(DOCUMENTS, sum_a, sum_b, 0.95, &rs));
    near(rs.log_ratio, r.log_ratio, 1e-11, "log ratio"), near(rs.se_log_ratio, r.se_log_ratio, 1e-9, "se"), near(rs.p, r.p, 1e-8, "p");
    near(rs.ci_log.lower, r.ci_log.lower, 1e-11, "ratio ci");
    near(r.ratio, r.ppl_b / r.ppl_a, 1e-12, "the ratio is that of the perplexities");
    cr_assert_gt(r.se_log_ratio_unpaired, 3 * r.se_log_ratio);

    sum_b[3].n++;
    cr_assert_eq(fp4_perplexity_ratio_sums(DOCUMENTS, sum_a, sum_b, 0.95, &rs), FP4_ERR_ARG);
}

/* ---- replicates ---- */

Test(stats, one_replicate_is_the_clustered_interval) {
    size_t tokens[DOCUMENTS];
    double a[TOKENS], b[TOKENS];
    struct fp4_cluster_sum sum_a[DOCUMENTS], sum_b[2 * DOCUMENTS];
    struct fp4_perplexity_ratio single;
    struct fp4_perplexity_replicated r;
    documents(tokens, a, b);
    add_up(tokens, a, sum_a);
    add_up(tokens, b, sum_b);
    must(fp4_perplexity_ratio_sums(DOCUMENTS, sum_a, sum_b, 0.9, &single));
    must(fp4_perplexity_ratio_replicated(DOCUMENTS, 1, sum_a, 1, sum_b, 0.9, &r));
    near(r.ratio, single.ratio, 1e-13, "ratio"), near(r.log_ratio.se, single.se_log_ratio, 1e-9, "se");
    near(r.ci.upper, single.ci_log.upper, 1e-11, "ci"), near(r.log_ratio.p, single.p, 1e-8, "p");
    cr_assert(isnan(r.log_ratio.se_replicates));
    /* A second replicate that is the first again adds neither information nor variance. */
    memcpy(sum_b + DOCUMENTS, sum_b, DOCUMENTS * sizeof *sum_b);
    must(fp4_perplexity_ratio_replicated(DOCUMENTS, 1, sum_a, 2, sum_b, 0.9, &r));
    near(r.log_ratio.se, single.se_log_ratio, 1e-9, "se of equal replicates");
    near(r.log_ratio.df, DOCUMENTS - 1, 1e-9, "df");
    cr_assert_lt(r.log_ratio.se_replicates, 1e-12);
    cr_assert_eq(fp4_perplexity_ratio_replicated(DOCUMENTS, 2, sum_a, 3, sum_b, 0.9, &r), FP4_ERR_ARG);
}

/* Truth: sum_rg = n_g(θ + α_g + β_r) + √n_g·ε, so the mean has variance σα²·Σn²/N² + σβ²/R + σε²/(R·N). Returns the share of
 * 95 % intervals that hold θ; *bias: mean se² over the true variance. */
static double coverage(size_t replicates, double sd_cluster, double sd_replicate, double sd_noise, double *bias) {
    enum { G = 24, RUNS = 1500 };
    double sizes[G], sums[8 * G], z[8 * G + G + 8], total = 0, squares = 0, variance, held = 0, mean_square = 0;
    for (size_t g = 0; g < G; g++) {
        sizes[g] = 20 + (double)(g % 3) * 10;
        total += sizes[g];
        squares += sizes[g] * sizes[g];
    }
    variance = sd_cluster * sd_cluster * squares / (total * total) + sd_replicate * sd_replicate / (double)replicates +
               sd_noise * sd_noise / ((double)replicates * total);
    for (uint32_t run = 0; run < RUNS; run++) {
        struct fp4_two_way r;
        normals(100 + run, sizeof z / sizeof *z, z);
        for (size_t i = 0; i < replicates; i++)
            for (size_t g = 0; g < G; g++)
                sums[i * G + g] = sizes[g] * (0.2 + sd_cluster * z[8 * G + g] + sd_replicate * z[9 * G + i]) + sqrt(sizes[g]) * sd_noise * z[i * G + g];
        must(fp4_two_way_mean(replicates, G, sizes, sums, 0.95, &r));
        held += r.ci.lower <= 0.2 && 0.2 <= r.ci.upper;
        mean_square += r.se * r.se;
    }
    *bias = mean_square / RUNS / variance;
    return held / RUNS;
}

/* `want` is from 20,000 runs; 1500 runs lie within 0.03 of it, four standard deviations. `bias` bounds the mean of se² over the truth, less 1:
 * four standard deviations √(2/(df·1500)), df from 23 to 2, and 1 % for unequal clusters. */
Test(stats, replicated_intervals_hold_the_truth) {
    static const struct {
        size_t replicates;
        double cluster, replicate, noise, want, bias;
    } worlds[] = {{3, 0.05, 0, 0.1, 0.949, 0.05}, {3, 0.05, 0.01, 0.1, 0.950, 0.05}, {3, 0.05, 0.05, 0.1, 0.924, 0.12},
                  {6, 0.05, 0.05, 0.1, 0.947, 0.08}, {8, 0.05, 0.02, 0.1, 0.949, 0.05}};
    for (size_t i = 0; i < sizeof worlds / sizeof *worlds; i++) {
        double bias, held = coverage(worlds[i].replicates, worlds[i].cluster, worlds[i].replicate, worlds[i].noise, &bias);
        cr_assert_lt(fabs(held - worlds[i].want), 0.03, "world %zu: coverage %g, variance ratio %g", i, held, bias);
        cr_assert_lt(fabs(bias - 1), worlds[i].bias, "world %zu: variance ratio %g", i, bias);
    }
}

/* ---- bootstrap ---- */

Test(stats, bootstrap_draws_are_addressed) {
    double x[50];
    struct fp4_bootstrap a, b, c;
    normals(4, 50, x);
    must(fp4_stationary_bootstrap(50, x, 4, 500, 7, &a));
    must(fp4_stationary_bootstrap(50, x, 4, 500, 7, &b));
    must(fp4_stationary_bootstrap(50, x, 4, 500, 8, &c));
    cr_assert(a.se == b.se && a.q025 == b.q025 && a.se != c.se && a.se_exact == c.se_exact);
    struct fp4_cluster_sum unequal[] = {{1, 2}, {3, 4}, {2, 9}, {5, 1}};
    must(fp4_cluster_bootstrap(4, unequal, 500, 7, &a));
    near(a.mean, 16.0 / 11, 1e-14, "ratio of sums");
    cr_assert(isnan(a.se_exact) && a.se > 0 && a.q025 < a.mean && a.mean < a.q975);
}

/* ---- edges ---- */

Test(stats, what_is_not_defined_is_nan) {
    const double same[] = {2, 2, 2, 2};
    const int64_t pairs[] = {1, 1, 2, 2}, empty[1][4] = {{3, 0, 2, 0}};
    struct fp4_t_test t;
    must(fp4_t_paired(4, same, NULL, 0.95, &t));
    cr_assert(t.difference == 2 && t.se == 0 && isnan(t.t) && isnan(t.p) && t.ci.lower == 2 && t.ci.upper == 2);
    must(fp4_t_welch(4, same, 3, same, 0.95, &t));
    cr_assert(t.se == 0 && isnan(t.df) && isnan(t.p));
    struct fp4_cmh cmh;
    must(fp4_cmh(1, empty, 0.95, &cmh));
    cr_assert(isnan(cmh.chi2) && isnan(cmh.odds_ratio) && isnan(cmh.ci.lower));
    struct fp4_cluster_paired paired;
    must(fp4_cluster_paired(4, same, same, pairs, 0.95, &paired));
    cr_assert(paired.difference == 0 && paired.se == 0 && isnan(paired.t));
}

Test(stats, impossible_input_is_an_error) {
    const double x[] = {1, 2, 3, NAN}, good[] = {1, 2, 3, 4}, p[] = {0.5, 1.5};
    const int64_t one[] = {5, 5, 5, 5}, two[] = {1, 1, 2, 2}, table[1][4] = {{1, 0, 0, 0}};
    const uint8_t pattern[] = {0, 2};
    double out[2];
    struct fp4_binomial b;
    struct fp4_cluster_mean m;
    struct fp4_t_test t;
    struct fp4_slope s;
    cr_assert_eq(fp4_binomial_intervals(5, 4, 0.95, &b), FP4_ERR_ARG);
    cr_assert_eq(fp4_binomial_intervals(0, 0, 0.95, &b), FP4_ERR_ARG);
    cr_assert_eq(fp4_binomial_intervals(1, 4, 1, &b), FP4_ERR_ARG);
    cr_assert_eq(fp4_cluster_mean(4, good, one, 0.95, &m), FP4_ERR_ARG, "one cluster");
    cr_assert_eq(fp4_cluster_mean(4, x, two, 0.95, &m), FP4_ERR_NUMERIC);
    cr_assert_eq(fp4_t_paired(1, good, NULL, 0.95, &t), FP4_ERR_ARG);
    cr_assert_eq(fp4_t_paired(4, x, NULL, 0.95, &t), FP4_ERR_NUMERIC);
    cr_assert_eq(fp4_slope(4, (const double[]){1, 1, 1, 1}, good, 0.95, &s), FP4_ERR_ARG);
    cr_assert_eq(fp4_holm(2, p, out), FP4_ERR_ARG);
    cr_assert_eq(fp4_cmh(1, table, 0.95, &(struct fp4_cmh){0}), FP4_ERR_ARG);
    cr_assert_eq(fp4_cochran_q(1, 2, pattern, one, &(struct fp4_cochran_q){0}), FP4_ERR_ARG);
    cr_assert_eq(fp4_block_length(4, good, &(struct fp4_block_length){0}), FP4_ERR_ARG);
    cr_assert_eq(fp4_power_proportions_n((struct fp4_level){0.05, 2, false}, 0.5, 0.5, 0.8, out), FP4_ERR_ARG);
    cr_assert_eq(fp4_power_proportions_p2((struct fp4_level){0.05, 2, false}, 2, 0.5, 0.99, true, out), FP4_ERR_ARG);
    cr_assert_eq(fp4_power_t((struct fp4_level){0.05, 3, false}, false, 5, 1, 1, out), FP4_ERR_ARG);
}

/* (2, -3, 1) is orthogonal to (1, 1, 1) and to (0, 1, 3): the residuals of this fit, exactly, 10^10 below y. */
Test(stats, slope_of_a_nearly_exact_fit) {
    const double step = 0x1p30 + 1, x[] = {0, step, 3 * step}, y[] = {2, 3 * step - 3, 9 * step + 1};
    struct fp4_slope s;
    must(fp4_slope(3, x, y, 0.95, &s));
    cr_assert_float_eq(s.slope, 3, 1e-15);
    cr_assert_float_eq(s.residual_sd / sqrt(14), 1, 1e-8);
    cr_assert_float_eq(s.t_slope / (3 / sqrt(14 / (14.0 / 3 * step * step))), 1, 1e-8);
}

/* With one degree of freedom and a critical t beyond all bounds, P(T' > t)·t tends to √(2/π)·E max(Z + ncp, 0), and t·tail to 1/π. */
Test(stats, power_of_two_observations_at_a_tiny_level, .timeout = 30) {
    const double ncp = sqrt(2), pi = acos(-1), share = sqrt(2 * pi) / 2 * (ncp * (1 - 0.5 * erfc(ncp / sqrt(2))) + exp(-1) / sqrt(2 * pi));
    double power;
    must(fp4_power_t((struct fp4_level){1e-10, 2, false}, false, 2, 1, 1, &power));
    cr_assert_float_eq(power / 1e-10 / share, 1, 1e-9, "%.17g, not %.17g", power / 1e-10, share);
}
