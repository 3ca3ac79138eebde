/* The adaptation prompts in the corpus's vocabulary, and its tokenizer. */
#include <ctype.h>
#include <string.h>

#include "lib/text/corpus.h"

/* WRITEUPS.md, A: all can be said in this vocabulary as they are. */
const struct fp4_corpus_task fp4_corpus_tasks[FP4_CORPUS_TASKS] = {
    {"2, 4, 6, 8, 10,", " 12"},
    {"1, 1, 2, 3, 5, 8,", " 13"},
    {"10, 9, 8, 7, 6,", " 5"},
    {"The first day is Monday, the second is Tuesday, the third is", " Wednesday"},
    {"The capital of France is Paris. The capital of Germany is Berlin. The capital of Italy is", " Rome"},
    {"Red is to apple as yellow is to", " banana"},
    {"Hot is to cold as up is to", " down"},
    {"A A B B C C D D E", " E"},
    {"x1 y1 z1 x2 y2 z2 x3 y3", " z3"},
    {"Statement: It is raining. Consequence: The ground is wet. Statement: It is sunny. Consequence:", " The"},
    {"cat dog mouse cat dog mouse cat dog", " mouse"},
    {"1 2 3 1 2 3 1 2", " 3"},
    {"A B C A B C A B", " C"},
    {"Sun Moon Star Sun Moon Star Sun Moon", " Star"},
    {"Up Down Left Right Up Down Left", " Right"},
};

fp4_status fp4_corpus_tokenize(const struct fp4_corpus *c, const char *text, int32_t **ids, size_t *n) {
    size_t bytes = strlen(text), count = 0;
    int32_t *out;
    *ids = NULL;
    *n = 0;
    FP4_TRY(FP4_NEW(out, bytes + 1));
    for (size_t at = 0; at < bytes;) {
        size_t length = 0;
        if (text[at] == ' ') {
            at++;
            continue;
        }
        while (isalnum((unsigned char)text[at + length]))
            length++;
        if (length == 0)
            length = text[at] == '\n' && text[at + 1] == '\n' ? 2 : 1;
        /* A segment ends with "\n" and a document with "\n\n" after it: three newlines, of which the first is taken alone. */
        if (length == 2 && text[at] == '\n' && text[at + 2] == '\n')
            length = 1;
        out[count] = corpus_find(c, text + at, length);
        if (out[count++] < 0) {
            fp4_free(out);
            length = strcspn(text + at, " \n");
            return fp4_fail(FP4_ERR_ARG, "\"%.*s\" is not a word of the generated corpus", (int)(length < 60 ? length : 60), text + at);
        }
        at += length;
    }
    *ids = out;
    *n = count;
    return FP4_OK;
}
