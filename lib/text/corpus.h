/* lib/text/corpus.h: the source behind the generated corpus. Internal.
 *
 * A document has a hidden topic and 6 to 14 segments. A segment is prose, from a hidden Markov model whose words depend
 * on the topic, or one of some forty patterns (component): a sequential law with a hidden parameter, of which the first
 * words are drawn and the rest follows. The topic sets how likely each component is. A segment ends with "\n", which
 * nothing else emits, a document with "\n\n". So the hidden state is (topic, component, state of the Markov model), it is
 * finite, and the forward algorithm gives the exact probability of every word. */
#ifndef FP4LAB_TEXT_CORPUS_H
#define FP4LAB_TEXT_CORPUS_H

#include "fp4lab/text.h"

enum { CORPUS_TOPICS = 4, CORPUS_WORDS = 512, CORPUS_MAX_CHOICES = 64, CORPUS_MAX_COMPONENTS = 64 };
enum { CORPUS_MIN_SEGMENTS = 6, CORPUS_MAX_SEGMENTS = 14 };

/* Ids that are fixed. */
enum { WORD_END, WORD_NEWLINE, WORD_COMMA, WORD_STOP, WORD_COLON };

/* Lists of words; where three stand together (keys, values, keys inside a sentence) they are parallel. */
enum corpus_group {
    GROUP_NUMBERS, GROUP_SMALL, GROUP_LETTERS, GROUP_DAYS, GROUP_MONTHS, GROUP_ORDINALS, GROUP_XYZ, GROUP_PQ, GROUP_ANIMALS, GROUP_SKY, GROUP_WAYS,
    GROUP_COUNTRIES, GROUP_CAPITALS,
    GROUP_COLOURS, GROUP_FRUITS, GROUP_COLOURS_INSIDE,
    GROUP_SIDES, GROUP_OPPOSITES, GROUP_SIDES_INSIDE,
    GROUP_CAUSES, GROUP_THINGS, GROUP_EFFECTS,
    GROUP_THE_FIRST_DAY, GROUP_THE_NEXT, GROUP_CAPITAL_OF, GROUP_IS_TO, GROUP_STATEMENT,
    GROUP_NOUNS, GROUP_VERBS, GROUP_ADJECTIVES, GROUP_DETERMINERS, GROUP_PRONOUNS, GROUP_PREPOSITIONS, GROUP_ADVERBS, GROUP_CONJUNCTIONS,
    GROUP_COUNT
};

struct word_group {
    size_t n;
    int32_t id[64];
};

/* A distribution over the next word. */
struct choices {
    size_t n;
    int32_t word[CORPUS_MAX_CHOICES];
    double p[CORPUS_MAX_CHOICES];
};

struct fp4_corpus;
/* One law for a segment: given its first i words w, what comes next. */
struct component {
    void (*next)(const struct fp4_corpus *c, const struct component *k, const int32_t *w, size_t i, struct choices *out);
    enum corpus_group group;
    int step;          /* list: difference; doubled: copies; cycle: period; indexed: letters */
    bool comma, wrap;
    size_t least, most; /* items, periods or sentences */
    double weight;
    int topic;         /* where it is more likely */
};
extern const struct component corpus_components[];
extern const size_t corpus_n_components;

/* The Markov model of prose. */
enum prose_state {
    PROSE_DET, PROSE_ADJ, PROSE_NOUN, PROSE_PRON, PROSE_ADV, PROSE_VERB, PROSE_DET2, PROSE_ADJ2, PROSE_NOUN2, PROSE_PREP, PROSE_CONJ, PROSE_STOP, PROSE_END,
    PROSE_STATES
};
extern const double prose_first[PROSE_STATES], prose_then[PROSE_STATES][PROSE_STATES];

struct fp4_corpus {
    uint32_t seed;
    size_t n_words;
    char word[CORPUS_WORDS][16]; /* with its leading blank */
    struct word_group group[GROUP_COUNT];
    double mix[CORPUS_TOPICS][CORPUS_MAX_COMPONENTS]; /* of components, then of prose at [n_components]; rows sum to 1 */
    double emit[CORPUS_TOPICS][PROSE_STATES][CORPUS_WORDS];
};

fp4_status corpus_words(struct fp4_corpus *c);
void corpus_prose(struct fp4_corpus *c);
/* Id of a text without its blank; −1: none. */
int32_t corpus_find(const struct fp4_corpus *c, const char *text, size_t bytes);

/* Of stopping after k units when their number is uniform in least … most. */
double corpus_hazard(size_t k, size_t least, size_t most);

/* Everything the past says: weights of the hidden states, summing to 1. */
struct corpus_forward {
    const struct fp4_corpus *c;
    size_t segments, i; /* complete ones; words in the present one */
    int32_t w[256];     /* its words */
    double topic[CORPUS_TOPICS]; /* at i = 0 */
    double pattern[CORPUS_TOPICS][CORPUS_MAX_COMPONENTS], prose[CORPUS_TOPICS][PROSE_STATES];
};
void corpus_start(struct corpus_forward *f, const struct fp4_corpus *c);
/* Probability of `word` next, and conditions on it. 0: it cannot come, and f is no longer of use. */
double corpus_advance(struct corpus_forward *f, int32_t word);
/* Probabilities of all words next: p [n_words]. */
void corpus_predict(const struct corpus_forward *f, double *p);

#endif
