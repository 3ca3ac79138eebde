/* The prose of the generated corpus: a hidden Markov model of word classes. */
#include <string.h>

#include "lib/text/corpus.h"

const double prose_first[PROSE_STATES] = {[PROSE_DET] = 0.75, [PROSE_PRON] = 0.25};
const double prose_then[PROSE_STATES][PROSE_STATES] = {
    [PROSE_DET] = {[PROSE_ADJ] = 0.375, [PROSE_NOUN] = 0.625},
    [PROSE_ADJ] = {[PROSE_ADJ] = 0.125, [PROSE_NOUN] = 0.875},
    [PROSE_NOUN] = {[PROSE_VERB] = 0.8125, [PROSE_ADV] = 0.1875},
    [PROSE_PRON] = {[PROSE_VERB] = 0.75, [PROSE_ADV] = 0.25},
    [PROSE_ADV] = {[PROSE_VERB] = 1},
    [PROSE_VERB] = {[PROSE_DET2] = 0.75, [PROSE_PREP] = 0.25},
    [PROSE_DET2] = {[PROSE_ADJ2] = 0.25, [PROSE_NOUN2] = 0.75},
    [PROSE_ADJ2] = {[PROSE_NOUN2] = 1},
    [PROSE_NOUN2] = {[PROSE_STOP] = 0.625, [PROSE_PREP] = 0.25, [PROSE_CONJ] = 0.125},
    [PROSE_PREP] = {[PROSE_DET2] = 1},
    [PROSE_CONJ] = {[PROSE_DET] = 0.75, [PROSE_PRON] = 0.25},
    [PROSE_STOP] = {[PROSE_END] = 0.625, [PROSE_DET] = 0.25, [PROSE_PRON] = 0.125},
};

/* Words of a class: weights 1/(2 + rank) in an order that the seed draws; four times and more in the word's own topic. */
static void emit_class(struct fp4_corpus *c, enum prose_state state, enum corpus_group group, bool by_topic) {
    const struct word_group *g = &c->group[group];
    struct fp4_random r = {.seed = c->seed, .stream = FP4_STREAM_CORPUS, .layer = (uint32_t)group, .operand = 1};
    uint32_t word[64];
    size_t rank[64];
    fp4_random_words(&r, 0, g->n, word);
    for (size_t k = 0; k < g->n; k++)
        rank[k] = k;
    for (size_t k = g->n; k-- > 1;) { /* Fisher–Yates */
        size_t other = word[k] % (k + 1), keep = rank[k];
        rank[k] = rank[other];
        rank[other] = keep;
    }
    for (size_t topic = 0; topic < CORPUS_TOPICS; topic++) {
        double sum = 0, *emit = c->emit[topic][state];
        for (size_t k = 0; k < g->n; k++) {
            double weight = (by_topic && k % CORPUS_TOPICS == topic ? 16.0 : 1.0) / (double)(2 + rank[k]);
            emit[g->id[k]] += weight;
            sum += weight;
        }
        for (size_t id = 0; id < c->n_words; id++)
            emit[id] /= sum;
    }
}

void corpus_prose(struct fp4_corpus *c) {
    emit_class(c, PROSE_DET, GROUP_DETERMINERS, false);
    emit_class(c, PROSE_DET2, GROUP_DETERMINERS, false);
    emit_class(c, PROSE_ADJ, GROUP_ADJECTIVES, true);
    emit_class(c, PROSE_ADJ2, GROUP_ADJECTIVES, true);
    emit_class(c, PROSE_NOUN, GROUP_NOUNS, true);
    emit_class(c, PROSE_NOUN2, GROUP_NOUNS, true);
    emit_class(c, PROSE_PRON, GROUP_PRONOUNS, false);
    emit_class(c, PROSE_ADV, GROUP_ADVERBS, false);
    emit_class(c, PROSE_VERB, GROUP_VERBS, true);
    emit_class(c, PROSE_PREP, GROUP_PREPOSITIONS, false);
    emit_class(c, PROSE_CONJ, GROUP_CONJUNCTIONS, false);
    for (size_t topic = 0; topic < CORPUS_TOPICS; topic++) {
        c->emit[topic][PROSE_STOP][WORD_STOP] = 1;
        c->emit[topic][PROSE_END][WORD_NEWLINE] = 1;
    }
}
