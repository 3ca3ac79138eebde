/* stats/stats.h: intervals, tests, power, multiplicity and the bootstrap. Every method that a published result of
 * the suite rests on, and no more. Formulas and sources: with each function.
 *
 * Conventions. `conf` is 1 − α, 0 < conf < 1; a field that is not defined for the data is NaN (json writers leave
 * it out). Counts are int64_t, p-values are taken from the upper tail directly, never as 1 − cdf, so that 1e-40
 * has its digits. Functions return FP4_ERR_ARG for impossible input, FP4_ERR_NUMERIC for a NaN or infinity in
 * the data, FP4_ERR_UNSUPPORTED for an exact distribution that would be too large. Nothing depends on thread count. */
#ifndef FP4LAB_STATS_H
#define FP4LAB_STATS_H

#include "fp4lab/base.h"

struct fp4_interval {
    double lower, upper;
};

/* ---- distributions ---- */

/* x with P(X > x) = p (upper) or P(X ≤ x) = p, 0 < p < 1, to about 1e-13 relative for p from 1e-300; NaN for
 * impossible parameters. R's qt and qbeta are neither accurate enough in the far tails nor silent. */
double fp4_normal_quantile(double p, bool upper);
double fp4_t_quantile(double df, double p, bool upper);
double fp4_chi2_quantile(double df, double p, bool upper);
double fp4_beta_quantile(double a, double b, double p, bool upper);
/* P(T > t), Student's t. */
double fp4_t_upper(double t, double df);
/* P(T′ > t) (upper) or P(T′ < t), noncentral t with df > 0. */
double fp4_noncentral_t(double t, double df, double ncp, bool upper);
/* One-sided 1 − (1−conf)/2 quantile of t: the factor of a two-sided interval. */
double fp4_t_factor(double df, double conf);

/* ---- proportions ---- */

/* x successes of n (0 ≤ x ≤ n, n ≥ 1). */
struct fp4_binomial {
    double estimate;
    struct fp4_interval wilson;               /* Wilson 1927 */
    struct fp4_interval wilson_cc;            /* with continuity correction: Newcombe 1998, Stat Med 17:857, method 4 */
    struct fp4_interval clopper_pearson;      /* exact: Clopper & Pearson 1934 */
    struct fp4_interval jeffreys;             /* Brown, Cai & DasGupta 2001: 0 at x = 0, 1 at x = n */
    struct fp4_interval jeffreys_equal_tailed; /* the same without the two replacements */
};
fp4_status fp4_binomial_intervals(int64_t x, int64_t n, double conf, struct fp4_binomial *out);
fp4_status fp4_wilson(int64_t x, int64_t n, double conf, struct fp4_interval *out);

/* Independent arms, p1 − p2: Newcombe 1998, Stat Med 17:873, method 10. */
struct fp4_difference {
    double difference;
    struct fp4_interval ci;
};
fp4_status fp4_newcombe_difference(int64_t x1, int64_t n1, int64_t x2, int64_t n2, double conf, struct fp4_difference *out);

/* Paired outcomes: a both succeed, b the first only, c the second only, d neither. Newcombe 1998, Stat Med 17:2635, method 10. */
struct fp4_paired_difference {
    double difference, phi;
    struct fp4_interval ci;
};
fp4_status fp4_newcombe_paired(int64_t a, int64_t b, int64_t c, int64_t d, double conf, struct fp4_paired_difference *out);

/* Discordant counts b, c. p_midp: Fagerland, Lydersen & Laake 2013. */
struct fp4_mcnemar {
    double chi2, p_chi2, chi2_cc, p_chi2_cc, p_exact, p_midp;
};
fp4_status fp4_mcnemar(int64_t b, int64_t c, struct fp4_mcnemar *out);

/* Cochran–Mantel–Haenszel over K strata; a row is successes of arm 1 and 2, then failures of arm 1 and 2; every stratum
 * has at least 2 members. odds_ratio: Mantel & Haenszel 1959; ci: Robins, Breslow & Greenland 1986. */
struct fp4_cmh {
    double chi2, p, chi2_cc, p_cc, odds_ratio;
    struct fp4_interval ci;
};
fp4_status fp4_cmh(size_t n_strata, const int64_t (*tables)[4], double conf, struct fp4_cmh *out);

/* Cochran 1950. patterns [n_patterns, k] of 0 and 1; counts [n_patterns] of subjects. */
struct fp4_cochran_q {
    double q, p;
    int64_t df, n_mixed; /* n_mixed: subjects whose arms differ */
};
fp4_status fp4_cochran_q(size_t n_patterns, size_t k, const uint8_t *patterns, const int64_t *counts, struct fp4_cochran_q *out);

/* Equivalence of two proportions within (low, high). Score: Farrington & Manning 1990 (constrained maximum likelihood,
 * no factor N/(N−1)). The wald_ fields are NaN and wald_equivalent false when the unpooled variance is 0 (has_wald false). */
struct fp4_tost_proportions {
    double difference, score_z_low, score_z_high, score_p_low, score_p_high, score_p;
    bool score_equivalent, newcombe_equivalent, has_wald, wald_equivalent;
    struct fp4_interval newcombe_ci, wald_ci; /* at 1 − 2·alpha */
    double wald_se, wald_z_low, wald_z_high, wald_p_low, wald_p_high, wald_p;
};
fp4_status fp4_tost_proportions(int64_t x1, int64_t n1, int64_t x2, int64_t n2, double low, double high, double alpha,
                                struct fp4_tost_proportions *out);

/* ---- clusters: trials that share a task, tokens that share a document ---- */

/* Mean with a cluster-robust standard error: Liang & Zeger 1986, CR1 = CR0·√(G/(G−1)), t with G − 1 degrees of freedom. */
struct fp4_cluster_mean {
    double mean, se_cr0, se;
    struct fp4_interval ci;
    int64_t n, n_clusters, df;
    double se_naive;                   /* s/√n; NaN from sums, which do not hold it, and n = 1 */
    double design_effect, n_effective; /* (se/se_naive)², n/design_effect */
    double icc, design_effect_icc;     /* one-way analysis of variance, Donner 1986; Kish 1965 */
};
/* y [n] with labels cluster [n] in any order; at least 2 clusters. */
fp4_status fp4_cluster_mean(size_t n, const double *y, const int64_t *cluster, double conf, struct fp4_cluster_mean *out);

/* What a results file keeps of a cluster: how many observations, and their sum. */
struct fp4_cluster_sum {
    double n, sum; /* n ≥ 1 */
};
/* The same mean, se_cr0, se, ci and df from sums alone; se_naive and what follows from it are NaN. */
fp4_status fp4_cluster_sums(size_t n_clusters, const struct fp4_cluster_sum *clusters, double conf, struct fp4_cluster_mean *out);

/* y1 − y2 per observation; t and p against 0 (NaN when se is 0). */
struct fp4_cluster_paired {
    double difference, se, t, p;
    struct fp4_interval ci;
    int64_t n_clusters, df;
};
fp4_status fp4_cluster_paired(size_t n, const double *y1, const double *y2, const int64_t *cluster, double conf,
                              struct fp4_cluster_paired *out);

/* Mean over R replicates of a mean over G clusters, when every replicate (a random perturbation of the same run) saw the
 * same clusters: sums [R, G], sizes [G]. With u_rg = (sum_rg − n_g·mean)/(R·N), N = Σn_g:
 *   V_cluster   = G/(G−1) · Σ_g (Σ_r u_rg)²              sampling of clusters, with the residual noise in it
 *   V_replicate = R/(R−1) · Σ_r (Σ_g u_rg)²              between replicates, with the residual noise in it
 *   V_residual  = GR/((G−1)(R−1)) · Σ (u_rg − ū_g − (n_g/N)·u_r)²   the noise that both contain, counted once too often
 *   se² = max(V_cluster + V_replicate − V_residual, V_cluster, V_replicate)
 * It is the two-way clustered variance of Cameron, Gelbach & Miller 2011 (J Bus Econ Stat 29:238), but with the interaction
 * of the two-way analysis of variance (Searle, Casella & McCulloch 1992, ch. 4) in place of their intersection term: that
 * one contains the cluster variance too, and takes 1/R of it away, a third at R = 3. t with Satterthwaite's
 * df = se⁴/(V_cluster²/(G−1) + V_replicate²/(R−1)), at least 1. R = 1: V_cluster alone, df = G − 1.
 * Simulated with 24 clusters: se² is unbiased within 2 %; a 95 % interval holds the truth in 94 to 95 % of cases with 6 replicates or more, or
 * when the replicates add little variance. When they add most of it, Satterthwaite's df is too large by chance: 92 % at R = 3, 88 % at R = 2. */
struct fp4_two_way {
    double mean, se, df, t, p; /* t, p: mean = 0; NaN when se is 0 */
    struct fp4_interval ci;
    double se_clusters, se_replicates; /* √V_cluster, √V_replicate (NaN at R = 1) */
    int64_t n_clusters, n_replicates;
};
fp4_status fp4_two_way_mean(size_t n_replicates, size_t n_clusters, const double *sizes, const double *sums, double conf,
                            struct fp4_two_way *out);

/* ---- means ---- */

struct fp4_t_test {
    double difference, se, t, df, p, p_less, p_greater; /* p_less: alternative difference < 0; t and p NaN when se is 0 */
    struct fp4_interval ci;
};
/* mean of x − y; y may be NULL: x holds the differences. n ≥ 2. */
fp4_status fp4_t_paired(size_t n, const double *x, const double *y, double conf, struct fp4_t_test *out);
/* Welch 1947 with Satterthwaite's df. nx, ny ≥ 2. df and all that follows are NaN when both samples are constant. */
fp4_status fp4_t_welch(size_t nx, const double *x, size_t ny, const double *y, double conf, struct fp4_t_test *out);

/* Two one-sided tests, Schuirmann 1987, of mean(x − y) within (low, high); y may be NULL. */
struct fp4_tost_paired {
    double difference, se, t_low, t_high, p_low, p_high, p;
    int64_t df;
    struct fp4_interval ci; /* at 1 − 2·alpha */
    bool equivalent;        /* p < alpha */
};
fp4_status fp4_tost_paired(size_t n, const double *x, const double *y, double low, double high, double alpha, struct fp4_tost_paired *out);

/* Least squares of y on x; n ≥ 3, x not constant. */
struct fp4_slope {
    double intercept, slope, se_intercept, se_slope, t_slope, p_slope, residual_sd, r_squared;
    struct fp4_interval ci_slope, ci_intercept;
    int64_t df;
};
fp4_status fp4_slope(size_t n, const double *x, const double *y, double conf, struct fp4_slope *out);

/* ---- ranks and permutations, exact ---- */

/* Wilcoxon's signed ranks of x − y (y may be NULL), differences rounded to 9 decimals so that equal decimals tie, zeros
 * dropped, midranks; exact over all signs, ties included. At most 1000 nonzero differences. */
struct fp4_wilcoxon {
    double v, p, p_less, p_greater;
    int64_t n_nonzero;
};
fp4_status fp4_wilcoxon_signed_rank(size_t n, const double *x, const double *y, struct fp4_wilcoxon *out);

/* Mann–Whitney U of x against y, exact over all allocations of the midranks; Hodges–Lehmann shift of x − y with the
 * interval of Hollander & Wolfe 1973 (as R's wilcox.test). nx + ny up to 200. */
struct fp4_mann_whitney {
    double u, p, p_less, p_greater, shift, achieved_conf;
    int64_t rank_low;
    struct fp4_interval ci;
};
fp4_status fp4_mann_whitney(size_t nx, const double *x, size_t ny, const double *y, double conf, struct fp4_mann_whitney *out);

/* Median with the order-statistic (sign test) interval. */
struct fp4_median {
    double median, achieved_conf;
    int64_t rank_low, rank_high;
    struct fp4_interval ci;
    bool reached; /* achieved_conf ≥ conf */
};
fp4_status fp4_median_ci(size_t n, const double *y, double conf, struct fp4_median *out);

/* Sign-flip permutation test (Fisher 1935) of Σd = 0 for n differences that are symmetric about 0 under the null: one a task.
 * All 2ⁿ signs up to n = 20; beyond that n_draws addressed draws and p = (1 + hits)/(1 + draws) (Phipson & Smyth 2010). */
struct fp4_sign_flip {
    double mean, p, p_less, p_greater;
    bool exact;
    int64_t n_permutations; /* 2ⁿ or n_draws */
};
fp4_status fp4_sign_flip(size_t n, const double *d, size_t n_draws, uint32_t seed, struct fp4_sign_flip *out);

/* ---- many tests ---- */

/* Adjusted p-values in the order of the input: Holm 1979; Benjamini & Hochberg 1995. */
fp4_status fp4_holm(size_t n, const double *p, double *adjusted);
fp4_status fp4_benjamini_hochberg(size_t n, const double *p, double *adjusted);

/* ---- power ---- */

/* Level of a test: sides 1 or 2; strict counts the opposite tail of a two-sided test too. */
struct fp4_level {
    double sig;
    int sides;
    bool strict;
};
/* Two proportions, n (real) per arm, as R's power.prop.test. */
fp4_status fp4_power_proportions(struct fp4_level level, double n, double p1, double p2, double *power);
fp4_status fp4_power_proportions_n(struct fp4_level level, double p1, double p2, double power, double *n);
/* Minimum detectable p2 on one side of p1. */
fp4_status fp4_power_proportions_p2(struct fp4_level level, double n, double p1, double power, bool above, double *p2);

/* Student's t as R's power.t.test; n per arm when two_sample; sd of one observation, or of the differences when paired. */
fp4_status fp4_power_t(struct fp4_level level, bool two_sample, double n, double delta, double sd, double *power);
/* Real n ≥ 2 (2 when that is enough). */
fp4_status fp4_power_t_n(struct fp4_level level, bool two_sample, double delta, double sd, double power, double *n);
/* Minimum detectable effect, > 0. */
fp4_status fp4_power_t_delta(struct fp4_level level, bool two_sample, double n, double sd, double power, double *delta);

/* Miller 2024, arXiv 2411.00640, section 5: n questions, omega2 the variance over questions of the difference of conditional means,
 * sigma2 the mean conditional variance, k the samples a question. */
struct fp4_miller {
    double sig, power, omega2, sigma2_a, sigma2_b, k_a, k_b;
};
fp4_status fp4_power_miller_n(const struct fp4_miller *m, double delta, double *n);
fp4_status fp4_power_miller_delta(const struct fp4_miller *m, double n, double *delta);
/* ⌈n − 1e-9⌉: what a real n comes to. */
double fp4_n_ceiling(double n);

/* ---- perplexity, documents as clusters ---- */

struct fp4_perplexity {
    int64_t n_tokens, n_documents, df;
    double mean_nll, se_nll, ppl, se_ppl; /* se_ppl by the delta method */
    struct fp4_interval ci_log;           /* exp of the interval of the mean: the one to report */
    struct fp4_interval ci_delta;         /* symmetric; can go below 0 */
};
/* From the sums of each document; from token losses nll [Σ tokens] in document order, tokens [n_documents]. */
fp4_status fp4_perplexity_sums(size_t n_documents, const struct fp4_cluster_sum *documents, double conf, struct fp4_perplexity *out);
fp4_status fp4_perplexity_tokens(size_t n_documents, const size_t *tokens, const double *nll, double conf, struct fp4_perplexity *out);

/* ppl_b/ppl_a over the same tokens, paired by document. */
struct fp4_perplexity_ratio {
    double ppl_a, ppl_b, log_ratio, se_log_ratio, ratio, se_ratio, t, p; /* t, p: log ratio = 0; NaN when se is 0 */
    int64_t df;
    struct fp4_interval ci_log;  /* of the ratio */
    double se_log_ratio_unpaired; /* what ignoring the pairing would give */
};
/* a [n_documents] and b [n_documents] have equal n in each document. */
fp4_status fp4_perplexity_ratio_sums(size_t n_documents, const struct fp4_cluster_sum *a, const struct fp4_cluster_sum *b, double conf,
                                     struct fp4_perplexity_ratio *out);
fp4_status fp4_perplexity_ratio_tokens(size_t n_documents, const size_t *tokens, const double *nll_a, const double *nll_b, double conf,
                                       struct fp4_perplexity_ratio *out);

/* Mean over replicates of the log ratio, with the variance of fp4_two_way_mean. a [a_replicates, n_documents], b [n_replicates, n_documents];
 * a_replicates is 1 (the same reference for every replicate of b) or n_replicates (paired by replicate). */
struct fp4_perplexity_replicated {
    struct fp4_two_way log_ratio;
    double ratio; /* exp(mean log ratio): the geometric mean over replicates */
    struct fp4_interval ci;
};
fp4_status fp4_perplexity_ratio_replicated(size_t n_documents, size_t a_replicates, const struct fp4_cluster_sum *a, size_t n_replicates,
                                           const struct fp4_cluster_sum *b, double conf, struct fp4_perplexity_replicated *out);

/* ---- bootstrap ---- */

/* Automatic block length of Politis & White 2004 with the correction of Patton, Politis & White 2009, by the two published rules for
 * the bandwidth: m as Python's arch, np_m as R's np. At most b_max; no lower bound: use max(1, b). n ≥ 12, x not constant. */
struct fp4_block_length {
    int64_t m, np_m;
    double g, lr_variance, b_max, b_stationary, b_circular, np_b_stationary, np_b_circular;
};
fp4_status fp4_block_length(size_t n, const double *x, struct fp4_block_length *out);

struct fp4_bootstrap {
    double mean;
    double se;         /* of the n_draws bootstrap means */
    double se_exact;   /* its limit, in closed form (NaN for clusters of unequal size) */
    double se_iid;     /* stationary only: what the ordinary bootstrap tends to */
    double q025, q975; /* percentiles of the bootstrap means */
};
/* Circular stationary bootstrap of a series' mean, Politis & Romano 1994; a block has mean_block ≥ 1 members on average. */
fp4_status fp4_stationary_bootstrap(size_t n, const double *x, double mean_block, size_t n_draws, uint32_t seed, struct fp4_bootstrap *out);
/* Whole clusters drawn with replacement: Σsum/Σn of the drawn. */
fp4_status fp4_cluster_bootstrap(size_t n_clusters, const struct fp4_cluster_sum *clusters, size_t n_draws, uint32_t seed,
                                 struct fp4_bootstrap *out);

#endif
