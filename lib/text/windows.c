/* Windows over token streams: which tokens are fed, which are counted, and what their losses add up to. */
#include <math.h>
#include <string.h>

#include "fp4lab/text.h"

/* Tokens of the stream that a whole window feeds. */
static size_t fed(const struct fp4_windows *w) { return w->window - (w->bos == FP4_BOS_WINDOW); }
static size_t stride(const struct fp4_windows *w) { return w->stride ? w->stride : fed(w); }

fp4_status fp4_windows_check(const struct fp4_windows *w) {
    if (w->window < 2 || fed(w) < 1)
        return fp4_fail(FP4_ERR_ARG, "a window of %zu: it takes 2 tokens at least to predict one", w->window);
    if (stride(w) > fed(w))
        return fp4_fail(FP4_ERR_ARG, "a stride of %zu leaves out tokens between windows of %zu; take a stride of at most that", w->stride, fed(w));
    return FP4_OK;
}

void fp4_windows_at(const struct fp4_windows *w, size_t i, struct fp4_window *out) {
    size_t first = i * stride(w), left = first < w->n ? w->n - first : 0, n = left < fed(w) ? left : fed(w);
    /* without a begin token before it, nothing predicts the first token of a window */
    size_t skip = w->bos == FP4_BOS_WINDOW ? 0 : 1;
    if (w->counted == FP4_COUNT_HALF)
        skip = w->window / 2 + skip;
    if (w->counted == FP4_COUNT_NEW && i > 0) {
        size_t seen = fed(w) - stride(w); /* by the window before, which was whole */
        skip = seen > skip ? seen : skip;
    }
    skip = skip < n ? skip : n;
    *out = (struct fp4_window){.first = first, .n = n, .counted = first + skip, .n_counted = n - skip};
}

size_t fp4_windows_count(const struct fp4_windows *w) {
    struct fp4_window last;
    if (!w->keep_tail)
        return w->n < fed(w) ? 0 : 1 + (w->n - fed(w)) / stride(w);
    if (w->n == 0)
        return 0;
    size_t count = w->n <= fed(w) ? 1 : 1 + (w->n - fed(w) + stride(w) - 1) / stride(w);
    fp4_windows_at(w, count - 1, &last);
    return count - (last.n_counted == 0);
}

/* The ids that window x feeds, into ids [window]. */
static size_t feed(const struct fp4_windows *w, const struct fp4_window *x, const int32_t *tokens, int32_t bos_id, int32_t *ids) {
    size_t before = w->bos == FP4_BOS_WINDOW;
    memcpy(ids + before, tokens + x->first, x->n * sizeof *ids);
    if (before || w->bos == FP4_BOS_REPLACE)
        ids[0] = bos_id;
    return before + x->n;
}

static double weight_of(const struct fp4_windows *w, size_t i, size_t n_counted) {
    switch (w->weighing) {
    case FP4_WEIGH_LESS_ONE: return i == 0 ? 1 : (double)(n_counted - 1) / (double)n_counted;
    case FP4_WEIGH_WINDOWS: return 1 / (double)n_counted;
    default: return 1;
    }
}

static void add(struct fp4_window_sum *sum, double weight, double nll) {
    sum->weight += weight;
    sum->nll += weight * nll;
}

/* nll: of the window's counted tokens. The total is taken window by window, so that it does not depend on where units end. */
static fp4_status tally(const struct fp4_windows *w, size_t i, const struct fp4_window *x, const double *nll, struct fp4_tally *t) {
    double weight = weight_of(w, i, x->n_counted), sum = 0;
    for (size_t j = 0; j < x->n_counted; j++) {
        size_t unit = (x->counted + j) / fed(w);
        if (!isfinite(nll[j]))
            return fp4_fail(FP4_ERR_NUMERIC, "window %zu: the loss of token %zu is not finite", i, x->counted + j);
        add(&t->unit[unit < t->n_units ? unit : t->n_units - 1], weight, nll[j]);
        sum += nll[j];
    }
    t->window[i] = (struct fp4_window_sum){weight * (double)x->n_counted, weight * sum};
    t->total.weight += t->window[i].weight;
    t->total.nll += t->window[i].nll;
    t->counted += x->n_counted;
    t->windows++;
    return FP4_OK;
}

static fp4_status run(const struct fp4_windows *w, const int32_t *tokens, int32_t bos_id, size_t n_windows, fp4_window_loss loss, void *context,
                      int32_t *ids, double *nll, struct fp4_tally *out) {
    size_t end = 0;
    for (size_t i = 0; i < n_windows; i++) {
        struct fp4_window x;
        fp4_windows_at(w, i, &x);
        size_t n = feed(w, &x, tokens, bos_id, ids), before = n - x.n;
        FP4_TRY(loss(context, i, ids, n, nll));
        FP4_TRY(tally(w, i, &x, nll + (x.counted - x.first) + before - 1, out));
        size_t from = x.counted > end ? x.counted : end; /* windows only move forward */
        end = x.counted + x.n_counted;
        out->distinct += end - from;
    }
    return FP4_OK;
}

fp4_status fp4_windows_run(const struct fp4_windows *w, const int32_t *tokens, int32_t bos_id, size_t n_windows, fp4_window_loss loss, void *context,
                           struct fp4_tally *out) {
    int32_t *ids = NULL;
    double *nll = NULL;
    *out = (struct fp4_tally){0};
    FP4_TRY(fp4_windows_check(w));
    size_t all = fp4_windows_count(w);
    if (all == 0)
        return fp4_fail(FP4_ERR_ARG, "%zu tokens are less than one window of %zu", w->n, w->window);
    n_windows = n_windows && n_windows < all ? n_windows : all;
    out->n_units = w->n / fed(w) ? w->n / fed(w) : 1;
    FP4_TRY(FP4_NEW(out->unit, out->n_units));
    FP4_TRY(FP4_NEW(out->window, n_windows));
    fp4_status status = FP4_NEW(ids, w->window);
    if (status == FP4_OK)
        status = FP4_NEW(nll, w->window);
    if (status == FP4_OK)
        status = run(w, tokens, bos_id, n_windows, loss, context, ids, nll, out);
    fp4_free(ids);
    fp4_free(nll);
    return status;
}

void fp4_tally_free(struct fp4_tally *t) {
    fp4_free(t->unit);
    fp4_free(t->window);
    *t = (struct fp4_tally){0};
}
