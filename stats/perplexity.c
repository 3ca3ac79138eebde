/* Perplexities and their ratios, with documents as clusters. */
#include "stats/internal.h"

fp4_status fp4_perplexity_sums(size_t n_documents, const struct fp4_cluster_sum *documents, double conf, struct fp4_perplexity *out) {
    struct fp4_cluster_mean m;
    FP4_TRY(fp4_cluster_sums(n_documents, documents, conf, &m));
    double ppl = exp(m.mean), half = fp4_t_factor((double)m.df, conf) * m.se;
    *out = (struct fp4_perplexity){m.n, m.n_clusters, m.df, m.mean, m.se, ppl, ppl * m.se, {exp(m.mean - half), exp(m.mean + half)},
                                   fp4_around(ppl, ppl * half)};
    return FP4_OK;
}

/* Sums of token losses by document. */
static fp4_status document_sums(size_t n_documents, const size_t *tokens, const double *nll, struct fp4_cluster_sum *out) {
    for (size_t g = 0; g < n_documents; g++) {
        FP4_TRY(fp4_check_finite(tokens[g], nll));
        out[g] = (struct fp4_cluster_sum){(double)tokens[g], fp4_sum(tokens[g], nll)};
        nll += tokens[g];
    }
    return FP4_OK;
}

fp4_status fp4_perplexity_tokens(size_t n_documents, const size_t *tokens, const double *nll, double conf, struct fp4_perplexity *out) {
    struct fp4_cluster_sum *documents;
    FP4_TRY(FP4_NEW(documents, n_documents));
    fp4_status status = document_sums(n_documents, tokens, nll, documents);
    if (status == FP4_OK)
        status = fp4_perplexity_sums(n_documents, documents, conf, out);
    fp4_free(documents);
    return status;
}

/* d holds b − a of each document, from sums or, more accurately, from tokens. */
static fp4_status ratio_of(size_t n_documents, const struct fp4_cluster_sum *a, const struct fp4_cluster_sum *b,
                           const struct fp4_cluster_sum *d, double conf, struct fp4_perplexity_ratio *out) {
    struct fp4_cluster_mean ma, mb, md;
    for (size_t g = 0; g < n_documents; g++)
        if (a[g].n != b[g].n)
            return fp4_fail(FP4_ERR_ARG, "document %zu has %g tokens on one side and %g on the other", g + 1, a[g].n, b[g].n);
    FP4_TRY(fp4_cluster_sums(n_documents, a, conf, &ma));
    FP4_TRY(fp4_cluster_sums(n_documents, b, conf, &mb));
    FP4_TRY(fp4_cluster_sums(n_documents, d, conf, &md));
    double ratio = exp(md.mean);
    *out = (struct fp4_perplexity_ratio){.ppl_a = exp(ma.mean), .ppl_b = exp(mb.mean), .log_ratio = md.mean, .se_log_ratio = md.se,
                                         .ratio = ratio, .se_ratio = ratio * md.se, .t = NAN, .p = NAN, .df = md.df,
                                         .ci_log = {exp(md.ci.lower), exp(md.ci.upper)}, .se_log_ratio_unpaired = hypot(ma.se, mb.se)};
    if (md.se > 0) {
        out->t = md.mean / md.se;
        out->p = fp4_t_two_sided(out->t, (double)md.df);
    }
    return FP4_OK;
}

fp4_status fp4_perplexity_ratio_sums(size_t n_documents, const struct fp4_cluster_sum *a, const struct fp4_cluster_sum *b, double conf,
                                     struct fp4_perplexity_ratio *out) {
    struct fp4_cluster_sum *d;
    FP4_TRY(FP4_NEW(d, n_documents));
    for (size_t g = 0; g < n_documents; g++)
        d[g] = (struct fp4_cluster_sum){a[g].n, b[g].sum - a[g].sum};
    fp4_status status = ratio_of(n_documents, a, b, d, conf, out);
    fp4_free(d);
    return status;
}

fp4_status fp4_perplexity_ratio_tokens(size_t n_documents, const size_t *tokens, const double *nll_a, const double *nll_b, double conf,
                                       struct fp4_perplexity_ratio *out) {
    struct fp4_cluster_sum *sums;
    double *differences = NULL;
    size_t n = 0;
    for (size_t g = 0; g < n_documents; g++)
        n += tokens[g];
    FP4_TRY(FP4_NEW(sums, 3 * n_documents));
    struct fp4_cluster_sum *a = sums, *b = sums + n_documents, *d = b + n_documents;
    fp4_status status = FP4_NEW(differences, n);
    for (size_t i = 0; i < n && status == FP4_OK; i++)
        differences[i] = nll_b[i] - nll_a[i];
    if (status == FP4_OK)
        status = document_sums(n_documents, tokens, nll_a, a);
    if (status == FP4_OK)
        status = document_sums(n_documents, tokens, nll_b, b);
    if (status == FP4_OK)
        status = document_sums(n_documents, tokens, differences, d);
    if (status == FP4_OK)
        status = ratio_of(n_documents, a, b, d, conf, out);
    fp4_free(differences);
    fp4_free(sums);
    return status;
}

fp4_status fp4_perplexity_ratio_replicated(size_t n_documents, size_t a_replicates, const struct fp4_cluster_sum *a, size_t n_replicates,
                                           const struct fp4_cluster_sum *b, double conf, struct fp4_perplexity_replicated *out) {
    double *work;
    if (n_replicates < 1 || (a_replicates != 1 && a_replicates != n_replicates))
        return fp4_fail(FP4_ERR_ARG, "%zu replicates cannot be paired with %zu", a_replicates, n_replicates);
    FP4_TRY(FP4_NEW(work, (n_replicates + 1) * n_documents));
    double *sizes = work, *sums = work + n_documents;
    fp4_status status = FP4_OK;
    for (size_t r = 0; r < n_replicates; r++)
        for (size_t g = 0; g < n_documents; g++) {
            const struct fp4_cluster_sum *from = &a[(a_replicates == 1 ? 0 : r) * n_documents + g], *to = &b[r * n_documents + g];
            sizes[g] = b[g].n;
            sums[r * n_documents + g] = to->sum - from->sum;
            if (from->n != sizes[g] || to->n != sizes[g])
                status = fp4_fail(FP4_ERR_ARG, "document %zu of replicate %zu has a number of tokens of its own", g + 1, r + 1);
        }
    if (status == FP4_OK)
        status = fp4_two_way_mean(n_replicates, n_documents, sizes, sums, conf, &out->log_ratio);
    fp4_free(work);
    FP4_TRY(status);
    out->ratio = exp(out->log_ratio.mean);
    out->ci = (struct fp4_interval){exp(out->log_ratio.ci.lower), exp(out->log_ratio.ci.upper)};
    return FP4_OK;
}
