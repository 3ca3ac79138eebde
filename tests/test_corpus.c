/* The generated corpus: its exact probabilities against enumeration, its entropy, its addresses, its tasks. */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "lib/text/corpus.h"
#include "tests/support.h"

static struct fp4_corpus *make(uint32_t seed) {
    struct fp4_corpus *c;
    must(fp4_corpus_create(seed, &c));
    return c;
}

Test(corpus, vocabulary) {
    struct fp4_corpus *c = make(1);
    size_t n = fp4_corpus_vocab(c);
    cr_assert_lt(n, 512);
    cr_assert_gt(n, 200);
    for (size_t a = 0; a < n; a++) {
        cr_assert_gt(strlen(fp4_corpus_word(c, (int32_t)a)), 0);
        for (size_t b = 0; b < a; b++)
            cr_assert_str_neq(fp4_corpus_word(c, (int32_t)a), fp4_corpus_word(c, (int32_t)b));
    }
    cr_assert_str_eq(fp4_corpus_word(c, -1), "");
    cr_assert_str_eq(fp4_corpus_word(c, (int32_t)n), "");
    fp4_corpus_destroy(c);
}

/* ---- enumeration: every topic, every component, every path of the Markov model ---- */

static double prose_paths(const struct fp4_corpus *c, size_t topic, int from, const int32_t *w, size_t n) {
    double sum = 0;
    if (n == 0)
        return 1;
    for (int to = 0; to < PROSE_STATES; to++) {
        double step = from < 0 ? prose_first[to] : prose_then[from][to];
        double emit = c->emit[topic][to][w[0]];
        if (step > 0 && emit > 0)
            sum += step * emit * prose_paths(c, topic, to, w + 1, n - 1);
    }
    return sum;
}

static double segment_probability(const struct fp4_corpus *c, size_t topic, const int32_t *w, size_t n) {
    double sum = c->mix[topic][corpus_n_components] * prose_paths(c, topic, -1, w, n);
    for (size_t k = 0; k < corpus_n_components; k++) {
        double p = c->mix[topic][k];
        for (size_t i = 0; i < n && p > 0; i++) {
            struct choices next = {0};
            double match = 0;
            corpus_components[k].next(c, &corpus_components[k], w, i, &next);
            for (size_t j = 0; j < next.n; j++)
                match += next.word[j] == w[i] ? next.p[j] : 0;
            p *= match;
        }
        sum += p;
    }
    return sum;
}

static double document_probability(const struct fp4_corpus *c, const int32_t *ids, size_t n) {
    double total = 0;
    for (size_t topic = 0; topic < CORPUS_TOPICS; topic++) {
        double p = 1.0 / CORPUS_TOPICS;
        size_t segments = 0, at = 0;
        while (at < n && ids[at] != WORD_END) {
            size_t stop = at;
            while (stop < n && ids[stop] != WORD_NEWLINE)
                stop++;
            stop += stop < n;
            /* The number of segments is uniform in 6 … 14. */
            p *= segments < 6 ? 1 : (14.0 - (double)segments) / (15.0 - (double)segments);
            p *= segment_probability(c, topic, ids + at, stop - at);
            segments++;
            at = stop;
        }
        total += p * (at < n ? 1.0 / (15.0 - (double)segments) : 1);
    }
    return total;
}

Test(corpus, exact_nll_equals_enumeration) {
    struct fp4_corpus *c = make(3);
    for (uint64_t index = 0; index < 12; index++) {
        int32_t *ids;
        size_t n;
        double sum = 0;
        must(fp4_corpus_document(c, index, &ids, &n));
        double *nll = calloc(n, sizeof *nll);
        must(fp4_corpus_nll(c, ids, n, nll));
        for (size_t i = 0; i < n; i++) {
            sum += nll[i];
            cr_assert(isfinite(sum));
            /* A prefix may end within a segment, too. Rounding: some 1e3 sums of positive terms, 1e-16 each. */
            if (i % 7 == 0 || i + 1 == n)
                cr_assert_float_eq(sum, -log(document_probability(c, ids, i + 1)), 1e-10 * (1 + sum), "document %d, %zu words", (int)index, i + 1);
        }
        free(nll);
        fp4_free(ids);
    }
    fp4_corpus_destroy(c);
}

Test(corpus, probabilities_sum_to_one_and_predict_what_nll_says) {
    struct fp4_corpus *c = make(1);
    double p[CORPUS_WORDS];
    static struct corpus_forward f, next;
    for (uint64_t index = 0; index < 20; index++) {
        int32_t *ids;
        size_t n;
        must(fp4_corpus_document(c, index, &ids, &n));
        corpus_start(&f, c);
        for (size_t i = 0; i < n; i++) {
            double sum = 0;
            corpus_predict(&f, p);
            for (size_t id = 0; id < fp4_corpus_vocab(c); id++) {
                sum += p[id];
                if (i % 16 == 0) {
                    next = f;
                    double q = corpus_advance(&next, (int32_t)id);
                    cr_assert_float_eq(q, p[id], 1e-13);
                }
            }
            cr_assert_float_eq(sum, 1, 1e-12, "document %d at %zu", (int)index, i);
            double q = corpus_advance(&f, ids[i]);
            cr_assert_gt(q, 0);
            cr_assert_float_eq(q, p[ids[i]], 1e-13);
        }
        fp4_free(ids);
    }
    fp4_corpus_destroy(c);
}

/* −ln p(word) − H(p) has the mean 0 whatever came before, so its mean over many documents is within a few of its own
 * standard errors of 0: the drawing and the exact probabilities are of one source. */
Test(corpus, nll_converges_to_the_entropy) {
    struct fp4_corpus *c = make(1);
    enum { DOCUMENTS = 120 };
    double mean = 0, square = 0, nll = 0, tokens = 0, p[CORPUS_WORDS];
    static struct corpus_forward f;
    size_t shortest = SIZE_MAX, longest = 0;
    for (uint64_t index = 0; index < DOCUMENTS; index++) {
        int32_t *ids;
        size_t n;
        double sum = 0;
        must(fp4_corpus_document(c, index, &ids, &n));
        corpus_start(&f, c);
        for (size_t i = 0; i < n; i++) {
            corpus_predict(&f, p);
            for (size_t id = 0; id < fp4_corpus_vocab(c); id++)
                sum += p[id] > 0 ? p[id] * log(p[id]) : 0;
            double surprise = -log(corpus_advance(&f, ids[i]));
            sum += surprise;
            nll += surprise;
        }
        mean += sum / DOCUMENTS;
        square += sum * sum / DOCUMENTS;
        tokens += (double)n;
        shortest = n < shortest ? n : shortest;
        longest = n > longest ? n : longest;
        fp4_free(ids);
    }
    double error = sqrt((square - mean * mean) / DOCUMENTS);
    fprintf(stderr, "corpus: %.4f nats a token, %.0f tokens a document (%zu to %zu); nll - entropy = %.3f +- %.3f nats a document\n",
            nll / tokens, tokens / DOCUMENTS, shortest, longest, mean, error);
    cr_assert_lt(fabs(mean), 4 * error);
    cr_assert_lt(error, 1);
    fp4_corpus_destroy(c);
}

Test(corpus, documents_are_addressed) {
    struct fp4_corpus *c = make(1), *other = make(2);
    uint64_t order[] = {900, 3, (uint64_t)1 << 40, 0, 17, 3};
    int32_t *first[6], *again, *elsewhere;
    size_t n[6], m, differ = 0;
    for (size_t k = 0; k < 6; k++)
        must(fp4_corpus_document(c, order[k], &first[k], &n[k]));
    for (size_t k = 6; k-- > 0;) {
        must(fp4_corpus_document(c, order[k], &again, &m));
        cr_assert_eq(m, n[k]);
        cr_assert_eq(memcmp(again, first[k], m * sizeof *again), 0);
        fp4_free(again);
        must(fp4_corpus_document(other, order[k], &elsewhere, &m));
        differ += m != n[k] || memcmp(elsewhere, first[k], m * sizeof *elsewhere) != 0;
        fp4_free(elsewhere);
    }
    cr_assert_eq(differ, 6);
    cr_assert(n[0] != n[2] || memcmp(first[0], first[2], n[0] * sizeof **first) != 0, "the upper half of the index counts");
    cr_assert_eq(n[1], n[5]);
    for (size_t k = 0; k < 6; k++)
        fp4_free(first[k]);
    fp4_corpus_destroy(c);
    fp4_corpus_destroy(other);
}

/* Pins the first words of a document: they are part of every result on this corpus. */
Test(corpus, same_bits_always) {
    struct fp4_corpus *c = make(1);
    struct fp4_sha256 h;
    char hex[65];
    must(fp4_sha256_begin(&h));
    for (uint64_t index = 0; index < 100; index++) {
        int32_t *ids;
        size_t n;
        must(fp4_corpus_document(c, index, &ids, &n));
        fp4_sha256_update(&h, ids, n * sizeof *ids);
        fp4_free(ids);
    }
    fp4_sha256_end(&h, hex);
    cr_assert_str_eq(hex, "2f1b9438dcd38996e63d65348dd3b77a5f5a9d3d11ee3772a0e94001a276167b");
    fp4_corpus_destroy(c);
}

Test(corpus, text_and_back) {
    struct fp4_corpus *c = make(1);
    for (uint64_t index = 0; index < 50; index++) {
        int32_t *ids, *back;
        size_t n, m;
        must(fp4_corpus_document(c, index, &ids, &n));
        char *text = calloc(n + 1, 16), *end = text;
        for (size_t i = 0; i < n; i++)
            end = stpcpy(end, fp4_corpus_word(c, ids[i]));
        must(fp4_corpus_tokenize(c, text, &back, &m));
        cr_assert_eq(m, n);
        cr_assert_eq(memcmp(back, ids, n * sizeof *ids), 0);
        free(text);
        fp4_free(ids);
        fp4_free(back);
    }
    int32_t *ids;
    size_t n;
    cr_assert_eq(fp4_corpus_tokenize(c, "the ship crossed a wormhole.", &ids, &n), FP4_ERR_ARG);
    cr_assert_not_null(strstr(fp4_last_error(), "\"wormhole.\""), "%s", fp4_last_error());
    cr_assert_eq(fp4_corpus_tokenize(c, "caf\xC3\xA9", &ids, &n), FP4_ERR_ARG);
    must(fp4_corpus_tokenize(c, "", &ids, &n));
    cr_assert_eq(n, 0);
    fp4_free(ids);
    fp4_corpus_destroy(c);
}

/* Every task has one right answer under the source: the expected word, with most of the probability. */
Test(corpus, tasks_have_their_answers) {
    struct fp4_corpus *c = make(1);
    double p[CORPUS_WORDS];
    static struct corpus_forward f;
    for (size_t i = 0; i < FP4_CORPUS_TASKS; i++) {
        const char *prompt = fp4_corpus_tasks[i].prompt, *expected = fp4_corpus_tasks[i].expected;
        int32_t *ids, *answer;
        size_t n, m;
        must(fp4_corpus_tokenize(c, prompt, &ids, &n));
        must(fp4_corpus_tokenize(c, expected, &answer, &m));
        cr_assert_geq(m, 1);
        corpus_start(&f, c);
        for (size_t k = 0; k < n; k++) {
            double q = corpus_advance(&f, ids[k]);
            cr_assert_gt(q, 0, "%s: word %zu", prompt, k);
        }
        corpus_predict(&f, p);
        cr_assert_gt(p[answer[0]], 0.9, "%s: %.3f", prompt, p[answer[0]]);
        fp4_free(ids);
        fp4_free(answer);
    }
    fp4_corpus_destroy(c);
}

Test(corpus, what_cannot_be_has_no_probability) {
    struct fp4_corpus *c = make(1);
    double out[4];
    must(fp4_corpus_nll(c, (int32_t[]){WORD_COMMA, WORD_NEWLINE, -1, 100000}, 4, out));
    for (int i = 0; i < 4; i++)
        cr_assert(isinf(out[i]) && out[i] > 0);
    fp4_corpus_destroy(c);
}
