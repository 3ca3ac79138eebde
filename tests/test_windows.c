/* Windows and perplexity protocols on models whose perplexity is known in closed form. */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "fp4lab/model.h"
#include "fp4lab/text.h"
#include "tests/support.h"

/* ---- a loss that is linear in the place within the window: sums are arithmetic series ---- */

enum { A = 3, BOS = 1000 };
static const double B = 0x1p-6; /* with small integers, every sum below is exact */

struct linear {
    const int32_t *tokens;
    size_t fed; /* ids seen in all */
};

static fp4_status linear_loss(void *context, size_t window, const int32_t *ids, size_t n, double *nll) {
    struct linear *l = context;
    (void)window;
    (void)ids;
    l->fed += n;
    for (size_t j = 0; j + 1 < n; j++)
        nll[j] = A + B * (double)(j + 1);
    return FP4_OK;
}

/* Σ of A + B·p over places low … high. */
static double series(size_t low, size_t high) {
    double n = (double)(high - low + 1);
    return A * n + B * n * (double)(low + high) / 2;
}

static int32_t *numbers(size_t n) {
    int32_t *tokens;
    must(FP4_NEW(tokens, n));
    for (size_t i = 0; i < n; i++)
        tokens[i] = (int32_t)i;
    return tokens;
}

struct expected {
    size_t windows, counted, distinct, fed;
    double weight, nll;
};

static void check_linear(const char *name, const struct fp4_windows *w, const struct expected *e) {
    int32_t *tokens = numbers(w->n);
    struct linear l = {.tokens = tokens};
    struct fp4_tally t;
    must(fp4_windows_run(w, tokens, BOS, 0, linear_loss, &l, &t));
    cr_assert_eq(t.windows, e->windows, "%s: %zu windows", name, t.windows);
    cr_assert_eq(t.counted, e->counted, "%s: %zu counted", name, t.counted);
    cr_assert_eq(t.distinct, e->distinct, "%s: %zu distinct", name, t.distinct);
    cr_assert_eq(l.fed, e->fed, "%s: %zu fed", name, l.fed);
    cr_assert_float_eq(t.total.weight, e->weight, 1e-12 * e->weight, "%s: weight %.17g", name, t.total.weight);
    cr_assert_float_eq(t.total.nll, e->nll, 1e-12 * e->nll, "%s: sum %.17g, not %.17g", name, t.total.nll, e->nll);
    double weight = 0, nll = 0;
    for (size_t i = 0; i < t.n_units; i++) {
        weight += t.unit[i].weight;
        nll += t.unit[i].nll;
    }
    cr_assert_float_eq(weight, e->weight, 1e-12 * e->weight, "%s: units lose weight", name);
    cr_assert_float_eq(nll, e->nll, 1e-12 * e->nll, "%s: units lose losses", name);
    fp4_tally_free(&t);
    fp4_free(tokens);
}

/* N = 3·W + S + 5 tokens, W = 64, S = 16: whole windows, and a tail that is no multiple of the stride. */
enum { W = 64, S = 16, N = 3 * W + S + 5 };

static struct fp4_windows plan_of(const char *name, size_t n) {
    const struct fp4_protocol *p = fp4_protocol_find(name);
    cr_assert_not_null(p, "%s", name);
    struct fp4_windows w = p->plan;
    w.stride = w.stride ? S : 0;
    w.window = W;
    w.n = n;
    return w;
}

static void check_protocol(const char *name, size_t n, struct expected e) {
    struct fp4_windows w = plan_of(name, n);
    check_linear(name, &w, &e);
}

/* Strided windows over n > W tokens: how many after the first, and places of the last. */
static size_t strides(size_t n) { return (n - W + S - 1) / S; }
static size_t last_length(size_t n) { return n - strides(n) * S; }
static size_t new_in_last(size_t n) { return last_length(n) - (W - S); }

Test(windows, side_by_side) {
    struct expected drop = {3, 3 * (W - 1), 3 * (W - 1), 3 * W, 3 * (W - 1), 3 * series(1, W - 1)};
    check_protocol("disjoint", N, drop);
    check_protocol("papers", N, drop);
    check_protocol("writeup_c2", N, drop);
    struct fp4_windows keep = plan_of("disjoint", N);
    size_t rest = N - 3 * W;
    keep.keep_tail = true;
    check_linear("tail kept", &keep,
                 &(struct expected){4, 3 * (W - 1) + rest - 1, 3 * (W - 1) + rest - 1, N, 3 * (W - 1) + rest - 1.0, 3 * series(1, W - 1) + series(1, rest - 1)});
    keep.n = 3 * W + 1; /* one token alone predicts nothing */
    check_linear("a tail of one", &keep, &(struct expected){3, 3 * (W - 1), 3 * (W - 1), 3 * W, 3 * (W - 1), 3 * series(1, W - 1)});
}

/* Every token of every window: the tokens of the middle count W/S times. */
Test(windows, third_write_up) {
    size_t whole = strides(N), last = last_length(N), counted = whole * (W - 1) + last - 1;
    check_protocol("writeup_c", N, (struct expected){whole + 1, counted, N - 1, whole * W + last, (double)counted, (double)whole * series(1, W - 1) + series(1, last - 1)});
    cr_assert_gt(counted, 3 * (size_t)N, "most tokens count four times");
}

Test(windows, strided_new_tokens) {
    size_t after = strides(N), last = last_length(N), fresh = new_in_last(N), fed = after * W + last;
    double first = series(1, W - 1), middle = (double)(after - 1) * series(W - S, W - 1), tail = series(W - S, last - 1);
    cr_assert(fresh > 1 && fresh < S, "a last window of its own length");
    check_protocol("strided", N, (struct expected){after + 1, N - 1, N - 1, fed, N - 1, first + middle + tail});
    double s = S, f = (double)fresh, lost = (double)after;
    check_protocol("strided_guide", N,
                   (struct expected){after + 1, N - 1, N - 1, fed, N - 1 - lost, first + middle * (s - 1) / s + tail * (f - 1) / f});
    check_protocol("strided_means", N, (struct expected){after + 1, N - 1, N - 1, fed, lost + 1, first / (W - 1) + middle / s + tail / f});
}

Test(windows, begin_tokens) {
    size_t rest = N - 3 * (W - 1); /* each window holds W − 1 tokens of the text */
    check_protocol("bos", N, (struct expected){4, N, N, N + 4, N, 3 * series(1, W - 1) + series(1, rest)});
    size_t half = W - 1 - W / 2;
    check_protocol("llama_cpp", N, (struct expected){3, 3 * half, 3 * half, 3 * W, (double)(3 * half), 3 * series(W / 2 + 1, W - 1)});
}

/* ---- which ids are fed, and which of them is scored ---- */

struct witness {
    size_t n_windows, n;
    int32_t first[16], last[16];
};

/* Tokens are their own places: the loss of a token is its number, so a sum says which were counted. */
static fp4_status witness_loss(void *context, size_t window, const int32_t *ids, size_t n, double *nll) {
    struct witness *s = context;
    cr_assert_eq(window, s->n_windows);
    s->first[window] = ids[0];
    s->last[window] = ids[n - 1];
    s->n_windows++;
    for (size_t j = 0; j + 1 < n; j++)
        nll[j] = ids[j + 1];
    return FP4_OK;
}

static void check_witness(const char *name, size_t n, double counted, int32_t first_of_second, int32_t last_of_all) {
    struct fp4_windows w = plan_of(name, n);
    struct witness s = {0};
    struct fp4_tally t;
    int32_t *tokens = numbers(n);
    must(fp4_windows_run(&w, tokens, BOS, 0, witness_loss, &s, &t));
    cr_assert_eq(t.total.nll, counted, "%s: %.17g, not %.17g", name, t.total.nll, counted);
    cr_assert_eq(s.first[1], first_of_second, "%s: the second window begins with %d", name, s.first[1]);
    cr_assert_eq(s.last[s.n_windows - 1], last_of_all, "%s: the last window ends with %d", name, s.last[s.n_windows - 1]);
    fp4_tally_free(&t);
    fp4_free(tokens);
}

static double sum_to(size_t n) { return (double)n * (double)(n + 1) / 2; } /* 0 + 1 + … + n */

Test(windows, the_counted_tokens_themselves) {
    enum { M = 2 * W };
    check_witness("disjoint", M, sum_to(M - 1) - W, W, M - 1); /* all but the first of each */
    check_witness("strided", M, sum_to(M - 1), S, M - 1);      /* all but the first, each once */
    check_witness("bos", M - 2, sum_to(M - 3), BOS, M - 3);    /* all, each once */
    check_witness("llama_cpp", M, sum_to(M - 1) - sum_to(W + W / 2) + sum_to(W - 1) - sum_to(W / 2), BOS, M - 1);
}

Test(windows, units_are_stretches_of_the_text) {
    struct fp4_windows w = plan_of("writeup_c", N);
    struct witness s = {0};
    struct fp4_tally t;
    int32_t *tokens = numbers(N);
    must(fp4_windows_run(&w, tokens, BOS, 2, witness_loss, &s, &t));
    cr_assert_eq(t.windows, 2);
    cr_assert_eq(t.n_units, 3);
    /* windows 0 … W−1 and S … W+S−1: tokens W … W+S−1 lie in the second stretch */
    cr_assert_eq(t.unit[0].nll, sum_to(W - 1) + sum_to(W - 1) - sum_to(S));
    cr_assert_eq(t.unit[1].nll, sum_to(W + S - 1) - sum_to(W - 1));
    cr_assert_eq(t.unit[2].weight, 0);
    fp4_tally_free(&t);
    fp4_free(tokens);
}

static fp4_status infinite(void *context, size_t window, const int32_t *ids, size_t n, double *nll) {
    (void)context, (void)window, (void)ids;
    for (size_t j = 0; j + 1 < n; j++)
        nll[j] = j == 7 ? INFINITY : 1;
    return FP4_OK;
}

static fp4_status failing(void *context, size_t window, const int32_t *ids, size_t n, double *nll) {
    (void)context, (void)ids, (void)n, (void)nll;
    return window == 1 ? fp4_fail(FP4_ERR_MEMORY, "window 1") : (nll[0] = 1, linear_loss(&(struct linear){0}, window, ids, n, nll));
}

Test(windows, refusals) {
    struct fp4_tally t;
    int32_t *tokens = numbers(N);
    static const struct fp4_windows wrong[] = {{.n = N, .window = 1}, {.n = N, .window = 0}, {.n = N, .window = 1, .bos = FP4_BOS_WINDOW}, {.n = N, .window = W, .stride = W + 1},
                                               {.n = N, .window = W, .stride = W, .bos = FP4_BOS_WINDOW}, {.n = W - 1, .window = W}, {.n = 0, .window = W, .keep_tail = true},
                                               {.n = 1, .window = W, .keep_tail = true}};
    for (size_t i = 0; i < sizeof wrong / sizeof *wrong; i++) {
        cr_assert_eq(fp4_windows_run(&wrong[i], tokens, BOS, 0, witness_loss, &(struct witness){0}, &t), FP4_ERR_ARG, "plan %zu", i);
        fp4_tally_free(&t);
    }
    struct fp4_windows w = plan_of("disjoint", N);
    cr_assert_eq(fp4_windows_run(&w, tokens, BOS, 0, infinite, NULL, &t), FP4_ERR_NUMERIC);
    fp4_tally_free(&t);
    cr_assert_eq(fp4_windows_run(&w, tokens, BOS, 0, failing, NULL, &t), FP4_ERR_MEMORY);
    fp4_tally_free(&t);
    fp4_free(tokens);
}

Test(windows, every_protocol_has_a_name_of_its_own) {
    const struct fp4_protocol *p;
    size_t n = 0;
    for (; (p = fp4_protocol_at(n)); n++) {
        cr_assert_eq(fp4_protocol_find(p->name), p);
        must(fp4_windows_check(&p->plan));
        cr_assert(*p->what && *p->source, "%s", p->name);
    }
    cr_assert_gt(n, 5);
    cr_assert_null(fp4_protocol_find("frobnicate"));
}

/* ---- joined lines ---- */

static void check_join(const char *text, enum fp4_join how, const char *want) {
    char *out;
    size_t n;
    must(fp4_text_join(text, strlen(text), how, &out, &n));
    cr_assert_eq(n, strlen(want), "%zu bytes: \"%s\"", n, out);
    cr_assert_str_eq(out, want);
    fp4_free(out);
}

Test(windows, lines_are_joined_as_the_hub_has_them) {
    check_join(" \n = A = \n \t\nb c\nd", FP4_JOIN_NEWLINES, "\n\n = A = \n\n\n\n\nb c\n\n\nd");
    check_join(" \n = A = \n \t\nb c\nd", FP4_JOIN_BLANKS, "  = A = \n  b c\n d");
    check_join(" \na\n", FP4_JOIN_NONE, " \na\n");
    check_join("", FP4_JOIN_NEWLINES, "");
}

/* ---- models of known perplexity ---- */

enum { VOCAB = 16 };

static void set_all(struct fp4_model *m, const char *name, float (*value)(size_t row, size_t col)) {
    struct fp4_param *p = fp4_model_find_param(m, name);
    float *host;
    cr_assert_not_null(p, "%s", name);
    must(FP4_NEW(host, p->elements));
    for (size_t i = 0; i < p->elements; i++)
        host[i] = value(i / p->cols, i % p->cols);
    must(fp4_model_set(m, p, host));
    fp4_free(host);
}

static float zero(size_t row, size_t col) { return (float)(0 * (row + col)); }
static float identity(size_t row, size_t col) { return row == col; }
static float successor(size_t row, size_t col) { return row == (col + 1) % VOCAB; }

/* Blocks that add nothing, one-hot embeddings and a head that knows each token's successor: a logit depends on the token before alone. */
static struct fp4_model *bigram_model(float (*head)(size_t, size_t)) {
    const struct fp4_config config = {.arch = FP4_ARCH_LLAMA, .n_vocab = VOCAB, .n_embd = VOCAB, .n_layer = 1, .n_head = 2, .n_kv_head = 2, .head_dim = 8, .n_ff = 32,
                                      .n_ctx = 64, .norm_eps = 1e-5f, .rope_theta = 1e4, .bos_id = 0, .eos_id = -1};
    struct fp4_model *m;
    must(fp4_model_create(&config, 1, fp4_backend_cpu(), &m));
    set_all(m, "model.layers.0.self_attn.o_proj.weight", zero);
    set_all(m, "model.layers.0.mlp.down_proj.weight", zero);
    set_all(m, "model.embed_tokens.weight", identity);
    set_all(m, "lm_head.weight", head);
    return m;
}

static fp4_status model_loss(void *context, size_t window, const int32_t *ids, size_t n, double *nll) {
    (void)window;
    return fp4_model_score(context, ids, n, &(struct fp4_score){.nll = nll});
}

/* Four successors, then a token from elsewhere, and again: n transitions, one in five of them no succession. */
static int32_t *stream_of(size_t n) {
    int32_t *ids;
    must(FP4_NEW(ids, n));
    for (size_t i = 1; i < n; i++)
        ids[i] = (ids[i - 1] + (i % 5 ? 1 : 3)) % VOCAB;
    return ids;
}

Test(windows, a_model_without_an_opinion) {
    struct fp4_model *m = bigram_model(zero);
    int32_t *ids = stream_of(100);
    const struct fp4_protocol *p;
    for (size_t i = 0; (p = fp4_protocol_at(i)); i++) {
        struct fp4_windows w = plan_of(p->name, 100);
        struct fp4_tally t;
        must(fp4_windows_run(&w, ids, 0, 0, model_loss, m, &t));
        cr_assert_float_eq(exp(t.total.nll / t.total.weight), VOCAB, 1e-12 * VOCAB, "%s: %.17g", p->name, exp(t.total.nll / t.total.weight));
        fp4_tally_free(&t);
    }
    fp4_free(ids);
    fp4_model_free(m);
}

/* RMSNorm makes the hot element c = 1/√(1/16 + ε). A successor has logit c, all others 0: its loss is ln(1 + 15·e^−c), theirs c more. */
Test(windows, a_bigram_model) {
    enum { LENGTH = 101 };
    struct fp4_model *m = bigram_model(successor);
    int32_t *ids = stream_of(LENGTH);
    double c = 1 / sqrt(1.0 / VOCAB + (double)1e-5f), hit = log1p((VOCAB - 1) * exp(-c));
    const struct fp4_protocol *p;
    for (size_t i = 0; (p = fp4_protocol_at(i)); i++) {
        if (p->plan.bos == FP4_BOS_WINDOW || p->plan.bos == FP4_BOS_REPLACE || p->plan.weighing != FP4_WEIGH_TOKENS)
            continue;
        struct fp4_windows w = plan_of(p->name, LENGTH);
        struct fp4_window x;
        struct fp4_tally t;
        size_t misses = 0, counted = 0;
        for (size_t j = 0; j < fp4_windows_count(&w); j++) {
            fp4_windows_at(&w, j, &x);
            counted += x.n_counted;
            for (size_t k = 0; k < x.n_counted; k++)
                misses += (x.counted + k) % 5 == 0;
        }
        if (strcmp(p->name, "strided") == 0) /* all of the 100 transitions */
            cr_assert(counted == 100 && misses == 20, "%zu of %zu", misses, counted);
        must(fp4_windows_run(&w, ids, 0, 0, model_loss, m, &t));
        double want = hit + c * (double)misses / (double)counted;
        /* fp32: c and the 16 exponentials each by some roundings of 2^−24 relative to c ≈ 4 */
        cr_assert_float_eq(t.total.nll / t.total.weight, want, 0x1p-18, "%s: %.9g, not %.9g", p->name, t.total.nll / t.total.weight, want);
        fp4_tally_free(&t);
    }
    fp4_free(ids);
    fp4_model_free(m);
}
