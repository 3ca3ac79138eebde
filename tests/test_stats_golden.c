/* Walks every file of golden/stats: the function of its "method" makes the fields of each case, and all of them, no
 * more and no fewer, must agree within the file's tolerance. */
#include "tests/support.h"

#include <dirent.h>
#include <jansson.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "stats/stats.h"

enum { N_DRAWS = 10000 };

/* ---- reading a case ---- */

/* Arrays live until the next case. */
static void *pool[64];
static size_t pooled;

static void *array(size_t n, size_t size) {
    cr_assert_lt(pooled, sizeof pool / sizeof *pool);
    must(fp4_alloc(n, size, &pool[pooled]));
    return pool[pooled++];
}

static void release(void) {
    while (pooled > 0)
        fp4_free(pool[--pooled]);
}

static double num(json_t *in, const char *name) {
    json_t *value = json_object_get(in, name);
    cr_assert(json_is_number(value), "%s is not a number", name);
    return json_number_value(value);
}
static int64_t integer(json_t *in, const char *name) { return (int64_t)num(in, name); }
static const char *text(json_t *in, const char *name) { return json_string_value(json_object_get(in, name)); }
static bool has(json_t *in, const char *name) { return json_object_get(in, name) != NULL; }

static double *vec(json_t *in, const char *name, size_t *n) {
    json_t *list = json_object_get(in, name);
    if (!list)
        return NULL;
    *n = json_array_size(list);
    double *out = array(*n, sizeof *out);
    for (size_t i = 0; i < *n; i++)
        out[i] = json_number_value(json_array_get(list, i));
    return out;
}

static int64_t *integers(json_t *list, size_t *n) {
    *n = json_array_size(list);
    int64_t *out = array(*n, sizeof *out);
    for (size_t i = 0; i < *n; i++)
        out[i] = json_integer_value(json_array_get(list, i));
    return out;
}

/* Lists of lists: all values in one row, and the length of each list. */
static double *ragged(json_t *in, const char *name, size_t *n_lists, size_t **lengths) {
    json_t *lists = json_object_get(in, name);
    size_t total = 0, at = 0;
    *n_lists = json_array_size(lists);
    *lengths = array(*n_lists, sizeof **lengths);
    for (size_t g = 0; g < *n_lists; g++)
        total += (*lengths)[g] = json_array_size(json_array_get(lists, g));
    double *out = array(total, sizeof *out);
    for (size_t g = 0; g < *n_lists; g++)
        for (size_t i = 0; i < (*lengths)[g]; i++)
            out[at++] = json_number_value(json_array_get(json_array_get(lists, g), i));
    return out;
}

/* ---- writing a result: NaN is left out, an int is compared exactly ---- */

static void put(json_t *out, const char *name, double v) {
    if (!isnan(v))
        json_object_set_new(out, name, json_real(v));
}
static void put_int(json_t *out, const char *name, int64_t v) { json_object_set_new(out, name, json_integer(v)); }
static void put_bool(json_t *out, const char *name, bool v) { json_object_set_new(out, name, json_boolean(v)); }
static void put_ci(json_t *out, const char *name, struct fp4_interval v) {
    if (!isnan(v.lower))
        json_object_set_new(out, name, json_pack("[f, f]", v.lower, v.upper));
}
#define PUT(s, field) put(out, #field, (s).field)
#define PUT_INT(s, field) put_int(out, #field, (s).field)
#define PUT_BOOL(s, field) put_bool(out, #field, (s).field)
#define PUT_CI(s, field) put_ci(out, #field, (s).field)

/* ---- one function for each method ---- */

static void binomial_intervals(json_t *in, json_t *out) {
    struct fp4_binomial r;
    struct fp4_interval alone;
    must(fp4_binomial_intervals(integer(in, "x"), integer(in, "n"), num(in, "conf"), &r));
    must(fp4_wilson(integer(in, "x"), integer(in, "n"), num(in, "conf"), &alone));
    cr_assert(alone.lower == r.wilson.lower && alone.upper == r.wilson.upper);
    PUT(r, estimate), PUT_CI(r, wilson), PUT_CI(r, wilson_cc), PUT_CI(r, clopper_pearson), PUT_CI(r, jeffreys);
    PUT_CI(r, jeffreys_equal_tailed);
}

static void newcombe_difference(json_t *in, json_t *out) {
    struct fp4_difference r;
    must(fp4_newcombe_difference(integer(in, "x1"), integer(in, "n1"), integer(in, "x2"), integer(in, "n2"), num(in, "conf"), &r));
    PUT(r, difference), PUT_CI(r, ci);
}

static void newcombe_paired(json_t *in, json_t *out) {
    struct fp4_paired_difference r;
    must(fp4_newcombe_paired(integer(in, "a"), integer(in, "b"), integer(in, "c"), integer(in, "d"), num(in, "conf"), &r));
    PUT(r, difference), PUT(r, phi), PUT_CI(r, ci);
}

static void mcnemar(json_t *in, json_t *out) {
    struct fp4_mcnemar r;
    must(fp4_mcnemar(integer(in, "b"), integer(in, "c"), &r));
    PUT(r, chi2), PUT(r, p_chi2), PUT(r, chi2_cc), PUT(r, p_chi2_cc), PUT(r, p_exact), PUT(r, p_midp);
}

static void cmh(json_t *in, json_t *out) {
    json_t *tables = json_object_get(in, "tables");
    size_t n = json_array_size(tables);
    int64_t(*rows)[4] = array(n, sizeof *rows);
    struct fp4_cmh r;
    for (size_t i = 0; i < 4 * n; i++)
        rows[i / 4][i % 4] = json_integer_value(json_array_get(json_array_get(tables, i / 4), i % 4));
    must(fp4_cmh(n, (const int64_t(*)[4])rows, num(in, "conf"), &r));
    PUT(r, chi2), PUT(r, p), PUT(r, chi2_cc), PUT(r, p_cc), PUT(r, odds_ratio), PUT_CI(r, ci);
}

static void cochran_q(json_t *in, json_t *out) {
    json_t *patterns = json_object_get(in, "patterns");
    size_t n, k = json_array_size(json_array_get(patterns, 0));
    int64_t *counts = integers(json_object_get(in, "counts"), &n);
    uint8_t *bits = array(n * k, 1);
    struct fp4_cochran_q r;
    for (size_t i = 0; i < n * k; i++)
        bits[i] = (uint8_t)json_integer_value(json_array_get(json_array_get(patterns, i / k), i % k));
    must(fp4_cochran_q(n, k, bits, counts, &r));
    PUT(r, q), PUT(r, p), PUT_INT(r, df), PUT_INT(r, n_mixed);
}

static void tost_proportions(json_t *in, json_t *out) {
    struct fp4_tost_proportions r;
    must(fp4_tost_proportions(integer(in, "x1"), integer(in, "n1"), integer(in, "x2"), integer(in, "n2"), num(in, "low"), num(in, "high"),
                              num(in, "alpha"), &r));
    PUT(r, difference), PUT(r, score_z_low), PUT(r, score_z_high), PUT(r, score_p_low), PUT(r, score_p_high), PUT(r, score_p);
    PUT_BOOL(r, score_equivalent), PUT_CI(r, newcombe_ci), PUT_BOOL(r, newcombe_equivalent);
    PUT(r, wald_se), PUT(r, wald_z_low), PUT(r, wald_z_high), PUT(r, wald_p_low), PUT(r, wald_p_high), PUT(r, wald_p), PUT_CI(r, wald_ci);
    if (r.has_wald)
        PUT_BOOL(r, wald_equivalent);
}

static void cluster_mean(json_t *in, json_t *out) {
    size_t n = 0, labels;
    double *y = vec(in, "y", &n);
    struct fp4_cluster_mean r;
    must(fp4_cluster_mean(n, y, integers(json_object_get(in, "cluster"), &labels), num(in, "conf"), &r));
    PUT(r, mean), PUT_INT(r, n), PUT_INT(r, n_clusters), PUT_INT(r, df), PUT(r, se_cr0), PUT(r, se), PUT_CI(r, ci), PUT(r, se_naive);
    PUT(r, design_effect), PUT(r, n_effective), PUT(r, icc), PUT(r, design_effect_icc);
}

static void cluster_paired(json_t *in, json_t *out) {
    size_t n = 0, labels;
    double *y1 = vec(in, "y1", &n), *y2 = vec(in, "y2", &n);
    struct fp4_cluster_paired r;
    must(fp4_cluster_paired(n, y1, y2, integers(json_object_get(in, "cluster"), &labels), num(in, "conf"), &r));
    PUT(r, difference), PUT_INT(r, n_clusters), PUT_INT(r, df), PUT(r, se), PUT(r, t), PUT(r, p), PUT_CI(r, ci);
}

static void put_t_test(json_t *out, struct fp4_t_test r) {
    PUT(r, difference), PUT(r, se), PUT(r, t), PUT(r, df), PUT(r, p), PUT(r, p_less), PUT(r, p_greater), PUT_CI(r, ci);
}

static void t_paired(json_t *in, json_t *out) {
    size_t n = 0;
    double *x = vec(in, "x", &n), *y = vec(in, "y", &n);
    struct fp4_t_test r;
    must(fp4_t_paired(n, x, y, num(in, "conf"), &r));
    put_t_test(out, r);
}

static void t_welch(json_t *in, json_t *out) {
    size_t nx = 0, ny = 0;
    double *x = vec(in, "x", &nx), *y = vec(in, "y", &ny);
    struct fp4_t_test r;
    must(fp4_t_welch(nx, x, ny, y, num(in, "conf"), &r));
    put_t_test(out, r);
}

static void tost_paired(json_t *in, json_t *out) {
    size_t n = 0;
    double *x = vec(in, "x", &n), *y = vec(in, "y", &n);
    struct fp4_tost_paired r;
    must(fp4_tost_paired(n, x, y, num(in, "low"), num(in, "high"), num(in, "alpha"), &r));
    PUT(r, difference), PUT(r, se), PUT_INT(r, df), PUT(r, t_low), PUT(r, t_high), PUT(r, p_low), PUT(r, p_high), PUT(r, p), PUT_CI(r, ci);
    PUT_BOOL(r, equivalent);
}

static void slope(json_t *in, json_t *out) {
    size_t n = 0;
    double *x = vec(in, "x", &n), *y = vec(in, "y", &n);
    struct fp4_slope r;
    must(fp4_slope(n, x, y, num(in, "conf"), &r));
    PUT(r, intercept), PUT(r, slope), PUT(r, se_intercept), PUT(r, se_slope), PUT_INT(r, df), PUT(r, t_slope), PUT(r, p_slope);
    PUT_CI(r, ci_slope), PUT_CI(r, ci_intercept), PUT(r, residual_sd), PUT(r, r_squared);
}

static void wilcoxon_signed_rank(json_t *in, json_t *out) {
    size_t n = 0;
    double *x = vec(in, "x", &n), *y = vec(in, "y", &n);
    struct fp4_wilcoxon r;
    must(fp4_wilcoxon_signed_rank(n, x, y, &r));
    PUT(r, v), PUT_INT(r, n_nonzero), PUT(r, p), PUT(r, p_less), PUT(r, p_greater);
}

static void mann_whitney(json_t *in, json_t *out) {
    size_t nx = 0, ny = 0;
    double *x = vec(in, "x", &nx), *y = vec(in, "y", &ny);
    struct fp4_mann_whitney r;
    must(fp4_mann_whitney(nx, x, ny, y, num(in, "conf"), &r));
    PUT(r, u), PUT(r, p), PUT(r, p_less), PUT(r, p_greater), PUT(r, shift), PUT_INT(r, rank_low), PUT_CI(r, ci), PUT(r, achieved_conf);
}

static void median_ci(json_t *in, json_t *out) {
    size_t n = 0;
    double *y = vec(in, "y", &n);
    struct fp4_median r;
    must(fp4_median_ci(n, y, num(in, "conf"), &r));
    PUT(r, median), PUT_INT(r, rank_low), PUT_INT(r, rank_high), PUT_CI(r, ci), PUT(r, achieved_conf), PUT_BOOL(r, reached);
}

static void multiplicity(json_t *in, json_t *out) {
    size_t n = 0;
    double *p = vec(in, "p", &n), *adjusted = array(n, sizeof *adjusted);
    for (int bh = 0; bh < 2; bh++) {
        json_t *list = json_array();
        must(bh ? fp4_benjamini_hochberg(n, p, adjusted) : fp4_holm(n, p, adjusted));
        for (size_t i = 0; i < n; i++)
            json_array_append_new(list, json_real(adjusted[i]));
        json_object_set_new(out, bh ? "bh" : "holm", list);
    }
}

static void put_n(json_t *out, double n) {
    put(out, "n", n);
    put_int(out, "n_ceiling", (int64_t)fp4_n_ceiling(n));
}

static struct fp4_level level_of(json_t *in) {
    return (struct fp4_level){num(in, "sig"), (int)integer(in, "sides"), json_is_true(json_object_get(in, "strict"))};
}

static void power_proportions(json_t *in, json_t *out) {
    const char *solve = text(in, "solve");
    struct fp4_level level = level_of(in);
    double r;
    if (strcmp(solve, "power") == 0) {
        must(fp4_power_proportions(level, num(in, "n"), num(in, "p1"), num(in, "p2"), &r));
        put(out, "power", r);
    } else if (strcmp(solve, "n") == 0) {
        must(fp4_power_proportions_n(level, num(in, "p1"), num(in, "p2"), num(in, "power"), &r));
        put_n(out, r);
    } else {
        must(fp4_power_proportions_p2(level, num(in, "n"), num(in, "p1"), num(in, "power"), strcmp(text(in, "side"), "above") == 0, &r));
        put(out, "p2", r);
    }
}

static void power_t(json_t *in, json_t *out) {
    const char *solve = text(in, "solve");
    bool two = strcmp(text(in, "type"), "two.sample") == 0;
    struct fp4_level level = level_of(in);
    double r;
    if (strcmp(solve, "power") == 0) {
        must(fp4_power_t(level, two, num(in, "n"), num(in, "delta"), num(in, "sd"), &r));
        put(out, "power", r);
    } else if (strcmp(solve, "n") == 0) {
        must(fp4_power_t_n(level, two, num(in, "delta"), num(in, "sd"), num(in, "power"), &r));
        put_n(out, r);
    } else {
        must(fp4_power_t_delta(level, two, num(in, "n"), num(in, "sd"), num(in, "power"), &r));
        put(out, "delta", r);
    }
}

static void power_miller(json_t *in, json_t *out) {
    struct fp4_miller m = {num(in, "sig"),      num(in, "power"), num(in, "omega2"), num(in, "sigma2_a"),
                           num(in, "sigma2_b"), num(in, "k_a"),   num(in, "k_b")};
    double r;
    if (strcmp(text(in, "solve"), "n") == 0) {
        must(fp4_power_miller_n(&m, num(in, "delta"), &r));
        put_n(out, r);
    } else {
        must(fp4_power_miller_delta(&m, num(in, "n"), &r));
        put(out, "delta", r);
    }
}

static void quantiles(json_t *in, json_t *out) {
    const char *dist = text(in, "dist");
    size_t n = 0;
    double *param = vec(in, "params", &n), p = num(in, "p"), x = NAN;
    bool upper = strcmp(text(in, "tail"), "upper") == 0;
    if (strcmp(dist, "normal") == 0)
        x = fp4_normal_quantile(p, upper);
    else if (strcmp(dist, "t") == 0)
        x = fp4_t_quantile(param[0], p, upper);
    else if (strcmp(dist, "chi2") == 0)
        x = fp4_chi2_quantile(param[0], p, upper);
    else if (strcmp(dist, "beta") == 0)
        x = fp4_beta_quantile(param[0], param[1], p, upper);
    put(out, "x", x);
}

static void perplexity(json_t *in, json_t *out) {
    size_t n, *tokens;
    double *nll = ragged(in, "nll", &n, &tokens);
    struct fp4_perplexity r;
    must(fp4_perplexity_tokens(n, tokens, nll, num(in, "conf"), &r));
    PUT_INT(r, n_tokens), PUT_INT(r, n_documents), PUT_INT(r, df), PUT(r, mean_nll), PUT(r, se_nll), PUT(r, ppl), PUT(r, se_ppl);
    PUT_CI(r, ci_log), PUT_CI(r, ci_delta);
}

static void perplexity_ratio(json_t *in, json_t *out) {
    size_t n, *tokens;
    double *a = ragged(in, "nll_a", &n, &tokens), *b = ragged(in, "nll_b", &n, &tokens);
    struct fp4_perplexity_ratio r;
    must(fp4_perplexity_ratio_tokens(n, tokens, a, b, num(in, "conf"), &r));
    PUT(r, ppl_a), PUT(r, ppl_b), PUT(r, log_ratio), PUT(r, se_log_ratio), PUT(r, ratio), PUT(r, se_ratio), PUT_INT(r, df), PUT(r, t);
    PUT(r, p), PUT_CI(r, ci_log), PUT(r, se_log_ratio_unpaired);
}

static void block_length(json_t *in, json_t *out) {
    size_t n = 0;
    double *x = vec(in, "x", &n);
    struct fp4_block_length r;
    must(fp4_block_length(n, x, &r));
    PUT_INT(r, m), PUT(r, g), PUT(r, lr_variance), PUT_INT(r, np_m), PUT(r, b_stationary), PUT(r, b_circular), PUT(r, np_b_stationary);
    PUT(r, np_b_circular), PUT(r, b_max);
}

static void put_bootstrap(json_t *out, struct fp4_bootstrap r) {
    PUT(r, mean), PUT(r, q025), PUT(r, q975), PUT(r, se_iid);
    put(out, "se", r.se_exact);
    put(out, "se_simulated", r.se);
}

static void stationary_bootstrap(json_t *in, json_t *out) {
    size_t n = 0;
    double *x = vec(in, "x", &n);
    struct fp4_bootstrap r;
    must(fp4_stationary_bootstrap(n, x, num(in, "mean_block"), N_DRAWS, 1, &r));
    put_bootstrap(out, r);
}

static void cluster_bootstrap(json_t *in, json_t *out) {
    size_t n = 0, groups = 0;
    double *y = vec(in, "y", &n);
    int64_t *cluster = integers(json_object_get(in, "cluster"), &n);
    struct fp4_cluster_sum *sums = array(n, sizeof *sums);
    int64_t *seen = array(n, sizeof *seen);
    struct fp4_bootstrap r;
    for (size_t i = 0, g; i < n; i++) {
        for (g = 0; g < groups && seen[g] != cluster[i]; g++) {
        }
        groups += g == groups;
        seen[g] = cluster[i];
        sums[g].n++;
        sums[g].sum += y[i];
    }
    must(fp4_cluster_bootstrap(groups, sums, N_DRAWS, 1, &r));
    put_bootstrap(out, r);
}

static const struct method {
    const char *name;
    void (*run)(json_t *in, json_t *out);
    bool bootstrap;
} methods[] = {
#define METHOD(name) {#name, name, false}
    METHOD(binomial_intervals), METHOD(newcombe_difference), METHOD(newcombe_paired), METHOD(mcnemar), METHOD(cmh), METHOD(cochran_q),
    METHOD(tost_proportions), METHOD(cluster_mean), METHOD(cluster_paired), METHOD(t_paired), METHOD(t_welch), METHOD(tost_paired),
    METHOD(slope), METHOD(wilcoxon_signed_rank), METHOD(mann_whitney), METHOD(median_ci), METHOD(multiplicity), METHOD(power_proportions),
    METHOD(power_t), METHOD(power_miller), METHOD(quantiles), METHOD(perplexity), METHOD(perplexity_ratio), METHOD(block_length),
    {"stationary_bootstrap", stationary_bootstrap, true}, {"cluster_bootstrap", cluster_bootstrap, true},
};

/* ---- comparing ---- */

/* p-values and power have no absolute tolerance: 1e-40 must have its digits. */
static bool relative_only(const char *field) {
    size_t length = strlen(field);
    return strcmp(field, "p") == 0 || strncmp(field, "p_", 2) == 0 || strstr(field, "_p_") || strcmp(field, "power") == 0 ||
           (length > 2 && strcmp(field + length - 2, "_p") == 0);
}

/* Number, exact integer, boolean, or list of them. */
static bool agrees(json_t *got, json_t *golden, double relative, double absolute) {
    if (json_is_array(golden)) {
        if (json_array_size(got) != json_array_size(golden))
            return false;
        for (size_t i = 0; i < json_array_size(golden); i++)
            if (!agrees(json_array_get(got, i), json_array_get(golden, i), relative, absolute))
                return false;
        return true;
    }
    if (json_is_boolean(golden))
        return json_equal(got, golden);
    if (json_is_integer(got)) /* exact, however it is written: 9 or 9.0 */
        return json_is_number(golden) && json_number_value(golden) == (double)json_integer_value(got);
    double v = json_number_value(got), g = json_number_value(golden);
    return json_is_number(got) && json_is_number(golden) && fabs(v - g) <= relative * fabs(g) + absolute;
}

static size_t failures;

static void complain(const char *id, const char *field, json_t *got, json_t *golden) {
    char *a = got ? json_dumps(got, JSON_ENCODE_ANY) : NULL, *b = golden ? json_dumps(golden, JSON_ENCODE_ANY) : NULL;
    fprintf(stderr, "%s: %s: %s, golden %s\n", id, field, a ? a : "nothing", b ? b : "nothing");
    free(a);
    free(b);
    failures++;
}

static void compare(const char *id, json_t *got, json_t *golden, double relative, double absolute) {
    const char *field;
    json_t *value;
    json_object_foreach(golden, field, value) {
        json_t *ours = json_object_get(got, field);
        if (!ours || !agrees(ours, value, relative, relative_only(field) ? 0 : absolute))
            complain(id, field, ours, value);
    }
    json_object_foreach(got, field, value) /* what is defined here must be defined there */
        if (!json_object_get(golden, field))
            complain(id, field, value, NULL);
}

/* The Monte Carlo rule for what is simulated (4 standard deviations), the file's tolerance for what is exact. */
static void compare_bootstrap(const char *id, json_t *got, json_t *golden, double relative, double absolute) {
    static const char *const exact[] = {"mean", "se", "se_iid"};
    double noise = sqrt(1.0 / N_DRAWS + 1 / num(golden, "sim_replicates"));
    for (size_t i = 0; i < 3; i++)
        if (has(golden, exact[i]) && !(has(got, exact[i]) && agrees(json_object_get(got, exact[i]), json_object_get(golden, exact[i]), relative, absolute)))
            complain(id, exact[i], json_object_get(got, exact[i]), json_object_get(golden, exact[i]));
    if (!(fabs(num(got, "se_simulated") - num(golden, "se")) <= 4 * num(golden, "se_sd1") / sqrt(N_DRAWS)))
        complain(id, "se_simulated", json_object_get(got, "se_simulated"), json_object_get(golden, "se"));
    if (!(fabs(num(got, "q025") - num(golden, "q025")) <= 4 * num(golden, "q025_sd1") * noise))
        complain(id, "q025", json_object_get(got, "q025"), json_object_get(golden, "q025"));
    if (!(fabs(num(got, "q975") - num(golden, "q975")) <= 4 * num(golden, "q975_sd1") * noise))
        complain(id, "q975", json_object_get(got, "q975"), json_object_get(golden, "q975"));
}

static size_t walk_file(const char *path) {
    json_error_t error;
    json_t *file = json_load_file(path, 0, &error), *item;
    size_t index, cases = 0;
    cr_assert_not_null(file, "%s: %s", path, error.text);
    const char *name = text(file, "method");
    const struct method *method = NULL;
    for (size_t i = 0; i < sizeof methods / sizeof *methods; i++)
        if (name && strcmp(methods[i].name, name) == 0)
            method = &methods[i];
    if (!method)
        fprintf(stderr, "SKIPPED stats: no method \"%s\"\n", name ? name : path);
    json_t *tolerance = json_object_get(file, "tolerance");
    json_array_foreach(json_object_get(file, "cases"), index, item) {
        if (!method)
            break;
        json_t *out = json_object();
        method->run(json_object_get(item, "in"), out);
        (method->bootstrap ? compare_bootstrap : compare)(text(item, "id"), out, json_object_get(item, "out"), num(tolerance, "rel"),
                                                          num(tolerance, "abs"));
        json_decref(out);
        release();
        cases++;
    }
    json_decref(file);
    return cases;
}

Test(stats_golden, every_file) {
    const char *folder = golden_file("stats");
    DIR *files = opendir(folder);
    size_t cases = 0;
    cr_assert_not_null(files);
    for (struct dirent *entry; (entry = readdir(files));) {
        const char *ending = strrchr(entry->d_name, '.');
        char path[1400];
        if (!ending || strcmp(ending, ".json") != 0)
            continue;
        snprintf(path, sizeof path, "%s/%s", folder, entry->d_name);
        cases += walk_file(path);
    }
    closedir(files);
    golden_count("stats", cases);
    cr_assert_gt(cases, 0);
    cr_assert_eq(failures, 0, "%zu fields disagree", failures);
}
