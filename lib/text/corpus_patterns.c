/* The patterns of the generated corpus: the kinds of sequence that the adaptation prompts (WRITEUPS.md, A) ask to be continued. */
#include "lib/text/corpus.h"

double corpus_hazard(size_t k, size_t least, size_t most) {
    return k < least ? 0 : k >= most ? 1 : 1.0 / (double)(most - k + 1);
}

static void add(struct choices *out, int32_t word, double p) {
    if (p <= 0)
        return;
    out->word[out->n] = word;
    out->p[out->n++] = p;
}

/* `end` with the hazard of stopping after k units, else `on`. */
static void stop_or(struct choices *out, const struct component *k, size_t units, int32_t end, int32_t on) {
    double hazard = corpus_hazard(units, k->least, k->most);
    add(out, end, hazard);
    add(out, on, 1 - hazard);
}

/* Place of a word in a group: the word is known to be there. */
static size_t place(const struct word_group *g, int32_t word) {
    size_t i = 0;
    while (g->id[i] != word)
        i++;
    return i;
}

/* Uniform over the first `n` words of a group but those among w[first], w[first + stride], … before i. */
static void draw(struct choices *out, const struct word_group *g, size_t n, const int32_t *w, size_t first, size_t stride, size_t i) {
    size_t begin = out->n;
    for (size_t k = 0; k < n; k++) {
        bool used = false;
        for (size_t at = first; at < i && !used; at += stride)
            used = w[at] == g->id[k];
        if (!used)
            add(out, g->id[k], 1);
    }
    for (size_t k = begin; k < out->n; k++)
        out->p[k] = 1.0 / (double)(out->n - begin);
}

/* Items a fixed step apart: counting, the alphabet, days, months; commas between or not. */
static void next_list(const struct fp4_corpus *c, const struct component *k, const int32_t *w, size_t i, struct choices *out) {
    const struct word_group *g = &c->group[k->group];
    size_t stride = k->comma ? 2 : 1, item = i / stride, reach = (k->most - 1) * (size_t)(k->step < 0 ? -k->step : k->step);
    if (i == 0) {
        /* A start from which the longest list stays in the group. */
        for (size_t s = 0; s < g->n; s++)
            if (k->wrap || (k->step > 0 ? s + reach < g->n : s >= reach))
                add(out, g->id[s], 1.0 / (double)(k->wrap ? g->n : g->n - reach));
        return;
    }
    size_t to = (size_t)((long)place(g, w[0]) + (long)item * k->step);
    int32_t word = g->id[k->wrap ? to % g->n : to < g->n ? to : 0]; /* past the end it has the probability 0 */
    if (!k->comma)
        stop_or(out, k, item, WORD_NEWLINE, word);
    else if (i % 2)
        stop_or(out, k, item + 1, WORD_NEWLINE, WORD_COMMA);
    else
        add(out, word, 1);
}

/* A A B B C C: each item `step` times. */
static void next_doubled(const struct fp4_corpus *c, const struct component *k, const int32_t *w, size_t i, struct choices *out) {
    const struct word_group *g = &c->group[k->group];
    size_t copies = (size_t)k->step, item = i / copies;
    if (i == 0) {
        for (size_t s = 0; s + k->most <= g->n; s++)
            add(out, g->id[s], 1.0 / (double)(g->n - k->most + 1));
        return;
    }
    size_t to = place(g, w[0]) + item;
    if (i % copies)
        add(out, w[i - 1], 1);
    else
        stop_or(out, k, item, WORD_NEWLINE, g->id[to < g->n ? to : 0]);
}

/* `step` different words, over and over. */
static void next_cycle(const struct fp4_corpus *c, const struct component *k, const int32_t *w, size_t i, struct choices *out) {
    size_t period = (size_t)k->step;
    if (i < period)
        draw(out, &c->group[k->group], c->group[k->group].n, w, 0, 1, i);
    else if (i % period)
        add(out, w[i - period], 1);
    else
        stop_or(out, k, i / period, WORD_NEWLINE, w[i - period]);
}

/* Each number the sum of the two before. */
static void next_sums(const struct fp4_corpus *c, const struct component *k, const int32_t *w, size_t i, struct choices *out) {
    static const int pairs[][2] = {{1, 1}, {1, 2}, {1, 3}, {2, 1}, {2, 2}};
    enum { PAIRS = sizeof pairs / sizeof pairs[0] };
    const struct word_group *g = &c->group[k->group];
    size_t item = i / 2;
    if (i % 2 == 0 && item < 2) {
        double of[2] = {0, 0}; /* by the number − 1, then within it */
        for (int p = 0; p < PAIRS; p++)
            of[pairs[p][0] - 1] += 1;
        for (int first = 1; first <= 2 && item == 0; first++)
            add(out, g->id[first - 1], of[first - 1] / PAIRS);
        for (int p = 0; p < PAIRS && item == 1; p++)
            if (g->id[pairs[p][0] - 1] == w[0])
                add(out, g->id[pairs[p][1] - 1], 1 / of[pairs[p][0] - 1]);
        return;
    }
    size_t made = (i + 1) / 2; /* items so far */
    size_t sum = made < 2 ? 1 : place(g, w[2 * (made - 1)]) + place(g, w[2 * (made - 2)]) + 2;
    if (i % 2 == 0)
        add(out, g->id[sum - 1], 1);
    else if (sum > g->n)
        add(out, WORD_NEWLINE, 1);
    else
        stop_or(out, k, made, WORD_NEWLINE, WORD_COMMA);
}

/* x1 y1 z1 x2 y2 z2: the group as it stands, cut after whole sets. */
static void next_indexed(const struct fp4_corpus *c, const struct component *k, const int32_t *w, size_t i, struct choices *out) {
    const struct word_group *g = &c->group[k->group];
    (void)w;
    int32_t word = g->id[i < g->n ? i : 0];
    if (i % (size_t)k->step)
        add(out, word, 1);
    else
        stop_or(out, k, i / (size_t)k->step, WORD_NEWLINE, word);
}

/* The first day is Monday, the second is Tuesday, the third is Wednesday. */
static void next_days(const struct fp4_corpus *c, const struct component *k, const int32_t *w, size_t i, struct choices *out) {
    const struct word_group *days = &c->group[GROUP_DAYS], *first = &c->group[GROUP_THE_FIRST_DAY], *then = &c->group[GROUP_THE_NEXT];
    size_t part = i / 5, at = i % 5;
    if (i && w[i - 1] == WORD_STOP)
        add(out, WORD_NEWLINE, 1);
    else if (part == 0 && at < 4)
        add(out, first->id[at], 1);
    else if (part == 0)
        draw(out, days, days->n, w, 0, 1, 0);
    else if (at == 0)
        stop_or(out, k, part, WORD_STOP, WORD_COMMA);
    else if (at == 2)
        add(out, c->group[GROUP_ORDINALS].id[part], 1);
    else
        add(out, at == 4 ? days->id[(place(days, w[4]) + part) % days->n] : then->id[at == 3], 1);
}

/* The capital of France is Paris. ... */
static void next_capitals(const struct fp4_corpus *c, const struct component *k, const int32_t *w, size_t i, struct choices *out) {
    const struct word_group *keys = &c->group[GROUP_COUNTRIES], *fixed = &c->group[GROUP_CAPITAL_OF];
    size_t at = i % 7;
    if (i && at == 0)
        stop_or(out, k, i / 7, WORD_NEWLINE, fixed->id[0]);
    else if (at < 3)
        add(out, fixed->id[at], 1);
    else if (at == 3)
        draw(out, keys, keys->n, w, 3, 7, i);
    else if (at == 4)
        add(out, fixed->id[3], 1);
    else
        add(out, at == 6 ? WORD_STOP : c->group[GROUP_CAPITALS].id[place(keys, w[i - 2])], 1);
}

/* Red is to apple as yellow is to banana. */
static void next_analogy(const struct fp4_corpus *c, const struct component *k, const int32_t *w, size_t i, struct choices *out) {
    const struct word_group *keys = &c->group[k->group], *values = &c->group[k->group + 1], *inside = &c->group[k->group + 2];
    const int32_t *fixed = c->group[GROUP_IS_TO].id;
    switch (i) {
    case 0: draw(out, keys, keys->n, w, 0, 1, 0); break;
    case 3: add(out, values->id[place(keys, w[0])], 1); break;
    case 4: add(out, fixed[2], 1); break;
    case 5: { /* another pair than the first */
        int32_t same = inside->id[place(keys, w[0])];
        draw(out, inside, inside->n, &same, 0, 1, 1);
        break;
    }
    case 8: add(out, values->id[place(inside, w[5])], 1); break;
    case 9: add(out, WORD_STOP, 1); break;
    case 10: add(out, WORD_NEWLINE, 1); break;
    default: add(out, fixed[i == 2 || i == 7], 1);
    }
}

/* Statement: It is raining. Consequence: The ground is wet. ... */
static void next_statement(const struct fp4_corpus *c, const struct component *k, const int32_t *w, size_t i, struct choices *out) {
    const struct word_group *causes = &c->group[GROUP_CAUSES];
    const int32_t *fixed = c->group[GROUP_STATEMENT].id; /* Statement It is Consequence The */
    switch (i % 13) {
    case 0:
        if (i)
            stop_or(out, k, i / 13, WORD_NEWLINE, fixed[0]);
        else
            add(out, fixed[0], 1);
        break;
    case 1: case 7: add(out, WORD_COLON, 1); break;
    case 2: add(out, fixed[1], 1); break;
    case 3: case 10: add(out, fixed[2], 1); break;
    case 4: draw(out, causes, causes->n, w, 4, 13, i); break;
    case 5: case 12: add(out, WORD_STOP, 1); break;
    case 6: add(out, fixed[3], 1); break;
    case 8: add(out, fixed[4], 1); break;
    case 9: add(out, c->group[GROUP_THINGS].id[place(causes, w[i - 5])], 1); break;
    default: add(out, c->group[GROUP_EFFECTS].id[place(causes, w[i - 7])], 1);
    }
}

#define CYCLES(group, weight, topic)                                                                                  \
    {next_cycle, group, 1, false, false, 4, 8, 0.4 * (weight), topic}, {next_cycle, group, 2, false, false, 3, 6, weight, topic}, \
        {next_cycle, group, 3, false, false, 3, 5, 2 * (weight), topic}, {next_cycle, group, 4, false, false, 2, 4, weight, topic}

const struct component corpus_components[] = {
    {next_list, GROUP_NUMBERS, 1, true, false, 4, 9, 1, 0},
    {next_list, GROUP_NUMBERS, 2, true, false, 4, 9, 1.5, 0},
    {next_list, GROUP_NUMBERS, 3, true, false, 4, 9, 0.7, 0},
    {next_list, GROUP_NUMBERS, 5, true, false, 4, 9, 0.7, 0},
    {next_list, GROUP_NUMBERS, -1, true, false, 4, 9, 1.5, 0},
    {next_list, GROUP_NUMBERS, -2, true, false, 4, 9, 0.7, 0},
    {next_sums, GROUP_NUMBERS, 0, true, false, 5, 9, 1, 0},
    {next_list, GROUP_DAYS, 1, true, true, 4, 9, 0.7, 3},
    {next_list, GROUP_MONTHS, 1, true, true, 4, 9, 0.7, 3},
    {next_list, GROUP_LETTERS, 1, false, false, 5, 9, 0.7, 1},
    {next_doubled, GROUP_LETTERS, 2, false, false, 4, 7, 1.5, 1},
    {next_doubled, GROUP_LETTERS, 3, false, false, 3, 5, 0.7, 1},
    CYCLES(GROUP_LETTERS, 0.7, 1),
    CYCLES(GROUP_SMALL, 0.7, 0),
    CYCLES(GROUP_ANIMALS, 0.7, 2),
    CYCLES(GROUP_SKY, 0.7, 2),
    CYCLES(GROUP_WAYS, 0.7, 2),
    CYCLES(GROUP_NOUNS, 0.5, 2),
    {next_indexed, GROUP_XYZ, 3, false, false, 3, 5, 1, 1},
    {next_indexed, GROUP_PQ, 2, false, false, 3, 5, 0.7, 1},
    {next_days, GROUP_DAYS, 0, false, false, 3, 5, 1, 3},
    {next_capitals, GROUP_COUNTRIES, 0, false, false, 2, 4, 1.2, 3},
    {next_analogy, GROUP_COLOURS, 0, false, false, 1, 1, 1.2, 3},
    {next_analogy, GROUP_SIDES, 0, false, false, 1, 1, 1.2, 3},
    {next_statement, GROUP_CAUSES, 0, false, false, 2, 3, 1, 3},
};
const size_t corpus_n_components = sizeof corpus_components / sizeof corpus_components[0];
_Static_assert(sizeof corpus_components / sizeof corpus_components[0] < CORPUS_MAX_COMPONENTS, "one place is for prose");
