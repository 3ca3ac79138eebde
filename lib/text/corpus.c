/* The generated corpus: documents by address, and their exact probability by the forward algorithm. */
#include "lib/text/corpus.h"

#include <math.h>
#include <string.h>

static const double prose_weight = 14; /* beside the components' weights, which sum to some 38 */

fp4_status fp4_corpus_create(uint32_t seed, struct fp4_corpus **out) {
    struct fp4_corpus *c;
    *out = NULL;
    FP4_TRY(FP4_NEW(c, 1));
    c->seed = seed;
    fp4_status status = corpus_words(c);
    if (status != FP4_OK) {
        fp4_free(c);
        return status;
    }
    corpus_prose(c);
    for (int topic = 0; topic < CORPUS_TOPICS; topic++) {
        double sum = prose_weight, *mix = c->mix[topic];
        mix[corpus_n_components] = prose_weight;
        for (size_t k = 0; k < corpus_n_components; k++)
            sum += mix[k] = corpus_components[k].weight * (corpus_components[k].topic == topic ? 3 : 1);
        for (size_t k = 0; k <= corpus_n_components; k++)
            mix[k] /= sum;
    }
    *out = c;
    return FP4_OK;
}

void fp4_corpus_destroy(struct fp4_corpus *c) {
    fp4_free(c);
}

size_t fp4_corpus_vocab(const struct fp4_corpus *c) {
    return c->n_words;
}

const char *fp4_corpus_word(const struct fp4_corpus *c, int32_t id) {
    return id >= 0 && (size_t)id < c->n_words ? c->word[id] : "";
}

/* ---- the forward algorithm ---- */

void corpus_start(struct corpus_forward *f, const struct fp4_corpus *c) {
    *f = (struct corpus_forward){.c = c};
    for (int topic = 0; topic < CORPUS_TOPICS; topic++)
        f->topic[topic] = 1.0 / CORPUS_TOPICS;
}

/* Weights of the hidden states that are about to emit the next word, before it is known. */
static void prior(const struct corpus_forward *f, double pattern[CORPUS_TOPICS][CORPUS_MAX_COMPONENTS],
                  double prose[CORPUS_TOPICS][PROSE_STATES]) {
    double on = 1 - corpus_hazard(f->segments, CORPUS_MIN_SEGMENTS, CORPUS_MAX_SEGMENTS);
    for (int topic = 0; topic < CORPUS_TOPICS; topic++) {
        for (size_t k = 0; k < corpus_n_components; k++)
            pattern[topic][k] = f->i ? f->pattern[topic][k] : on * f->topic[topic] * f->c->mix[topic][k];
        double past[PROSE_STATES]; /* prose may be f->prose */
        memcpy(past, f->prose[topic], sizeof past);
        for (int to = 0; to < PROSE_STATES; to++) {
            double sum = f->i ? 0 : on * f->topic[topic] * f->c->mix[topic][corpus_n_components] * prose_first[to];
            for (int from = 0; f->i && from < PROSE_STATES; from++)
                sum += past[from] * prose_then[from][to];
            prose[topic][to] = sum;
        }
    }
}

static void component_next(const struct corpus_forward *f, size_t k, double weight, struct choices *out) {
    out->n = 0;
    if (weight > 0)
        corpus_components[k].next(f->c, &corpus_components[k], f->w, f->i, out);
}

static double total_of(double pattern[CORPUS_TOPICS][CORPUS_MAX_COMPONENTS], size_t k) {
    double sum = 0;
    for (int topic = 0; topic < CORPUS_TOPICS; topic++)
        sum += pattern[topic][k];
    return sum;
}

/* Multiplies the weights by the probability of `word`; returns their sum. */
static double condition(struct corpus_forward *f, int32_t word) {
    double sum = 0;
    for (size_t k = 0; k < corpus_n_components; k++) {
        struct choices next;
        double p = 0;
        component_next(f, k, total_of(f->pattern, k), &next);
        for (size_t i = 0; i < next.n; i++)
            p += next.word[i] == word ? next.p[i] : 0;
        for (int topic = 0; topic < CORPUS_TOPICS; topic++)
            sum += f->pattern[topic][k] *= p;
    }
    for (int topic = 0; topic < CORPUS_TOPICS; topic++)
        for (int state = 0; state < PROSE_STATES; state++)
            sum += f->prose[topic][state] *= f->c->emit[topic][state][word];
    return sum;
}

/* After a newline only the topic is remembered. */
static void end_segment(struct corpus_forward *f) {
    for (int topic = 0; topic < CORPUS_TOPICS; topic++) {
        double sum = 0;
        for (size_t k = 0; k < corpus_n_components; k++)
            sum += f->pattern[topic][k];
        for (int state = 0; state < PROSE_STATES; state++)
            sum += f->prose[topic][state];
        f->topic[topic] = sum;
    }
    f->segments++;
    f->i = 0;
}

double corpus_advance(struct corpus_forward *f, int32_t word) {
    if (word < 0 || (size_t)word >= f->c->n_words)
        return 0;
    if (word == WORD_END) {
        double p = f->i ? 0 : corpus_hazard(f->segments, CORPUS_MIN_SEGMENTS, CORPUS_MAX_SEGMENTS);
        corpus_start(f, f->c); /* another document may follow */
        return p;
    }
    prior(f, f->pattern, f->prose);
    double sum = condition(f, word);
    if (sum <= 0)
        return 0;
    for (int topic = 0; topic < CORPUS_TOPICS; topic++) {
        for (size_t k = 0; k < corpus_n_components; k++)
            f->pattern[topic][k] /= sum;
        for (int state = 0; state < PROSE_STATES; state++)
            f->prose[topic][state] /= sum;
    }
    f->w[f->i % (sizeof f->w / sizeof f->w[0])] = word; /* only prose is ever longer, and it does not look back */
    f->i++;
    if (word == WORD_NEWLINE)
        end_segment(f);
    return sum;
}

void corpus_predict(const struct corpus_forward *f, double *p) {
    double pattern[CORPUS_TOPICS][CORPUS_MAX_COMPONENTS], prose[CORPUS_TOPICS][PROSE_STATES];
    prior(f, pattern, prose);
    for (size_t id = 0; id < f->c->n_words; id++) {
        p[id] = 0;
        for (int topic = 0; topic < CORPUS_TOPICS; topic++)
            for (int state = 0; state < PROSE_STATES; state++)
                p[id] += prose[topic][state] * f->c->emit[topic][state][id];
    }
    p[WORD_END] = f->i ? 0 : corpus_hazard(f->segments, CORPUS_MIN_SEGMENTS, CORPUS_MAX_SEGMENTS);
    for (size_t k = 0; k < corpus_n_components; k++) {
        struct choices next;
        double weight = total_of(pattern, k);
        component_next(f, k, weight, &next);
        for (size_t i = 0; i < next.n; i++)
            p[next.word[i]] += weight * next.p[i];
    }
}

fp4_status fp4_corpus_nll(const struct fp4_corpus *c, const int32_t *ids, size_t n, double *out) {
    struct corpus_forward *f;
    size_t i = 0;
    FP4_TRY(FP4_NEW(f, 1));
    corpus_start(f, c);
    for (; i < n; i++) {
        double p = corpus_advance(f, ids[i]);
        out[i] = -log(p);
        if (p <= 0)
            break;
    }
    for (; i < n; i++)
        out[i] = INFINITY;
    fp4_free(f);
    return FP4_OK;
}

/* ---- drawing ---- */

/* The numbers of one document, in order. */
struct dice {
    struct fp4_random address;
    uint64_t drawn;
};

static size_t throw_dice(struct dice *d, const double *p, size_t n) {
    float u;
    fp4_random_uniform(&d->address, d->drawn++, 1, &u);
    double sum = 0;
    size_t last = 0;
    for (size_t i = 0; i < n; i++) {
        sum += p[i];
        if (p[i] > 0)
            last = i;
        if (u < sum)
            return last;
    }
    return last; /* the sum is 1 but for rounding */
}

struct growing {
    int32_t *ids;
    size_t n, room;
};

static fp4_status append(struct growing *g, int32_t word) {
    FP4_TRY(FP4_RESERVE(g->ids, g->n, g->n + 1, &g->room));
    g->ids[g->n++] = word;
    return FP4_OK;
}

static fp4_status draw_segment(const struct fp4_corpus *c, struct dice *d, size_t topic, struct growing *g) {
    size_t kind = throw_dice(d, c->mix[topic], corpus_n_components + 1), first = g->n;
    if (kind == corpus_n_components) {
        for (size_t state = throw_dice(d, prose_first, PROSE_STATES);; state = throw_dice(d, prose_then[state], PROSE_STATES)) {
            FP4_TRY(append(g, (int32_t)throw_dice(d, c->emit[topic][state], c->n_words)));
            if (state == PROSE_END)
                return FP4_OK;
        }
    }
    do {
        struct choices next = {0};
        corpus_components[kind].next(c, &corpus_components[kind], g->n > first ? g->ids + first : NULL, g->n - first, &next);
        FP4_TRY(append(g, next.word[throw_dice(d, next.p, next.n)]));
    } while (g->ids[g->n - 1] != WORD_NEWLINE);
    return FP4_OK;
}

fp4_status fp4_corpus_document(const struct fp4_corpus *c, uint64_t index, int32_t **ids, size_t *n) {
    static const double topics[CORPUS_TOPICS] = {0.25, 0.25, 0.25, 0.25};
    struct dice d = {.address = {c->seed, FP4_STREAM_CORPUS, (uint32_t)index, (uint32_t)(index >> 32), 0}};
    struct growing g = {0};
    size_t topic = throw_dice(&d, topics, CORPUS_TOPICS);
    fp4_status status = FP4_OK;
    *ids = NULL;
    for (size_t segments = 0; status == FP4_OK; segments++) {
        double hazard = corpus_hazard(segments, CORPUS_MIN_SEGMENTS, CORPUS_MAX_SEGMENTS);
        if (throw_dice(&d, (double[]){hazard, 1 - hazard}, 2) == 0) {
            status = append(&g, WORD_END);
            break;
        }
        status = draw_segment(c, &d, topic, &g);
    }
    if (status != FP4_OK) {
        fp4_free(g.ids);
        return status;
    }
    *ids = g.ids;
    *n = g.n;
    return FP4_OK;
}
