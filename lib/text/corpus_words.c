/* The vocabulary of the generated corpus. */
#include <string.h>

#include "lib/text/corpus.h"

/* Words of each group, blanks between. A word that stands in several is one word. */
static const char *const texts[GROUP_COUNT] = {
    [GROUP_NUMBERS] = "1 2 3 4 5 6 7 8 9 10 11 12 13 14 15 16 17 18 19 20 21 22 23 24 25 26 27 28 29 30 31 32 33 34 35 36 37 38 39 40 41 42 43 "
                      "44 45 46 47 48 49 50",
    [GROUP_SMALL] = "1 2 3 4 5 6 7 8 9 10 11 12",
    [GROUP_LETTERS] = "A B C D E F G H I J K L M N O P Q R S T U V W X Y Z",
    [GROUP_DAYS] = "Monday Tuesday Wednesday Thursday Friday Saturday Sunday",
    [GROUP_MONTHS] = "January February March April May June July August September October November December",
    [GROUP_ORDINALS] = "first second third fourth fifth sixth",
    [GROUP_XYZ] = "x1 y1 z1 x2 y2 z2 x3 y3 z3 x4 y4 z4 x5 y5 z5",
    [GROUP_PQ] = "p1 q1 p2 q2 p3 q3 p4 q4 p5 q5",
    [GROUP_ANIMALS] = "cat dog mouse horse cow sheep bird fox bear wolf lion duck",
    [GROUP_SKY] = "Sun Moon Star Cloud Rain Wind Snow Fire",
    [GROUP_WAYS] = "Up Down Left Right In Out",
    [GROUP_COUNTRIES] = "France Germany Italy Spain Portugal Greece Austria Poland Sweden Norway Egypt Japan Peru Cuba",
    [GROUP_CAPITALS] = "Paris Berlin Rome Madrid Lisbon Athens Vienna Warsaw Stockholm Oslo Cairo Tokyo Lima Havana",
    [GROUP_COLOURS] = "Red Yellow Green Blue White Black Orange Brown",
    [GROUP_FRUITS] = "apple banana leaf sea milk coal carrot bread",
    [GROUP_COLOURS_INSIDE] = "red yellow green blue white black orange brown",
    [GROUP_SIDES] = "Hot Cold Up Down Big Small Day Night Open Closed Fast Slow",
    [GROUP_OPPOSITES] = "cold hot down up small big night day closed open slow fast",
    [GROUP_SIDES_INSIDE] = "hot cold up down big small day night open closed fast slow",
    [GROUP_CAUSES] = "raining sunny snowing windy dark freezing",
    [GROUP_THINGS] = "ground sky road sea house lake",
    [GROUP_EFFECTS] = "wet bright white rough quiet hard",
    [GROUP_THE_FIRST_DAY] = "The first day is",
    [GROUP_THE_NEXT] = "the is",
    [GROUP_CAPITAL_OF] = "The capital of is",
    [GROUP_IS_TO] = "is to as",
    [GROUP_STATEMENT] = "Statement It is Consequence The",
    /* Prose: word k belongs to topic k mod 4: sea, farm, town, sky. Several verbs are nouns too. */
    [GROUP_NOUNS] = "ship farmer shop cloud harbour field street storm sailor barn market wind captain horse baker star wave plough bridge moon rope "
                    "hay clock light sail cow wall night net plant window sun island orchard school bird anchor fence lamp rain fish milk cook "
                    "shadow crew seed watch snow",
    [GROUP_VERBS] = "crossed ploughed built covered sail plant cook light reached fed sold hid fish watered opened lifted followed gathered watch "
                    "rain pulled carried visited touched",
    [GROUP_ADJECTIVES] = "deep ripe busy bright rough green narrow dark salt old new cold wet golden tall pale long brown noisy grey",
    [GROUP_DETERMINERS] = "the a every this that",
    [GROUP_PRONOUNS] = "he she it they",
    [GROUP_PREPOSITIONS] = "near behind over under with",
    [GROUP_ADVERBS] = "often never slowly soon",
    [GROUP_CONJUNCTIONS] = "and while because",
};

int32_t corpus_find(const struct fp4_corpus *c, const char *text, size_t bytes) {
    for (size_t id = 0; id < c->n_words; id++) {
        const char *word = c->word[id] + (c->word[id][0] == ' ');
        if (strlen(word) == bytes && memcmp(word, text, bytes) == 0)
            return (int32_t)id;
    }
    return -1;
}

static fp4_status add_word(struct fp4_corpus *c, const char *text, size_t bytes, const char *before, int32_t *id) {
    *id = corpus_find(c, text, bytes);
    if (*id >= 0)
        return FP4_OK;
    if (c->n_words == CORPUS_WORDS || bytes + 2 > sizeof c->word[0])
        return fp4_fail(FP4_ERR_ARG, "generated corpus: no room for the word %.*s", (int)bytes, text);
    snprintf(c->word[c->n_words], sizeof c->word[0], "%s%.*s", before, (int)bytes, text);
    *id = (int32_t)c->n_words++;
    return FP4_OK;
}

fp4_status corpus_words(struct fp4_corpus *c) {
    static const char *const fixed[] = {[WORD_END] = "\n\n", [WORD_NEWLINE] = "\n", [WORD_COMMA] = ",", [WORD_STOP] = ".", [WORD_COLON] = ":"};
    int32_t id;
    for (size_t i = 0; i < sizeof fixed / sizeof fixed[0]; i++)
        FP4_TRY(add_word(c, fixed[i], strlen(fixed[i]), "", &id));
    for (size_t g = 0; g < GROUP_COUNT; g++) {
        struct word_group *group = &c->group[g];
        for (const char *at = texts[g]; *at;) {
            size_t bytes = strcspn(at, " ");
            if (group->n == sizeof group->id / sizeof group->id[0])
                return fp4_fail(FP4_ERR_ARG, "generated corpus: group %zu has too many words", g);
            FP4_TRY(add_word(c, at, bytes, " ", &group->id[group->n++]));
            at += bytes + (at[bytes] == ' ');
        }
    }
    return FP4_OK;
}
