/* Merges and scores: two ways to say in which order neighbours are merged. */
#include <stdlib.h>
#include <string.h>

#include "lib/base/json.h"
#include "lib/text/vocab.h"

static size_t character(const char *s) {
    uint8_t b = (uint8_t)*s;
    return b < 0x80 ? 1 : b < 0xe0 ? 2 : b < 0xf0 ? 3 : 4;
}

/* Ids by text; of two with the same text the first. */
static fp4_status index_tokens(const struct vocab *v, json_t **out) {
    json_watch();
    *out = json_object();
    for (size_t i = 0; i < v->n_tokens; i++) {
        const struct vocab_token *t = &v->tokens[i];
        if (!t->text || json_object_getn(*out, t->text, t->bytes))
            continue;
        if (json_object_setn_new(*out, t->text, t->bytes, json_integer((json_int_t)i)) != 0) {
            json_decref(*out);
            FP4_TRY(json_whole("vocabulary"));
            return fp4_fail(FP4_ERR_FORMAT, "token %zu is not UTF-8", i);
        }
    }
    return FP4_OK;
}

static json_int_t id_of(const json_t *index, const char *text, size_t bytes) {
    const json_t *id = json_object_getn(index, text, bytes);
    return id ? json_integer_value(id) : -1;
}

struct candidate {
    struct vocab_merge merge;
    float score;
    json_int_t token, left, right;
};

static int compare(double a, double b) { return (a > b) - (a < b); }

/* Higher scores first; then the token that stands first, and its parts by id: the order in which Hugging Face's tokenizers has Llama 2's merges. */
static int earlier(const void *a, const void *b) {
    const struct candidate *x = a, *y = b;
    int by = compare((double)y->score, (double)x->score);
    if (by == 0)
        by = compare((double)x->token, (double)y->token);
    if (by == 0)
        by = compare((double)x->left, (double)y->left);
    return by ? by : compare((double)x->right, (double)y->right);
}

/* Every cut of every token into two tokens; counts when list is NULL. */
static size_t cut(const struct vocab *v, const json_t *index, struct candidate *list) {
    size_t n = 0;
    for (size_t i = 0; i < v->n_tokens; i++) {
        const struct vocab_token *t = &v->tokens[i];
        for (size_t at = t->text && t->bytes ? character(t->text) : 0; at && at < t->bytes; at += character(t->text + at)) {
            json_int_t left = id_of(index, t->text, at), right = id_of(index, t->text + at, t->bytes - at);
            if (left < 0 || right < 0)
                continue;
            if (list)
                list[n] = (struct candidate){{t->text, t->text + at, at, t->bytes - at}, t->score, (json_int_t)i, left, right};
            n++;
        }
    }
    return n;
}

fp4_status vocab_merges_from_scores(struct vocab *v) {
    json_t *index;
    struct candidate *list;
    FP4_TRY(index_tokens(v, &index));
    size_t n = cut(v, index, NULL);
    fp4_status status = FP4_NEW(list, n);
    if (status == FP4_OK) {
        cut(v, index, list);
        qsort(list, n, sizeof *list, earlier);
        status = FP4_NEW(v->merges, n);
    }
    for (size_t i = 0; status == FP4_OK && i < n; i++)
        v->merges[i] = list[i].merge;
    v->n_merges = status == FP4_OK ? n : 0;
    fp4_free(list);
    json_decref(index);
    return status;
}

fp4_status vocab_scores_from_merges(struct vocab *v) {
    json_t *index;
    size_t longest = 0;
    char *whole;
    FP4_TRY(index_tokens(v, &index));
    for (size_t i = 0; i < v->n_tokens; i++)
        longest = v->tokens[i].bytes > longest ? v->tokens[i].bytes : longest;
    fp4_status status = FP4_NEW(whole, longest);
    for (size_t i = v->n_merges; status == FP4_OK && i-- > 0;) { /* downwards: the first rank stays */
        const struct vocab_merge *m = &v->merges[i];
        if (m->left_bytes + m->right_bytes > longest)
            continue;
        memcpy(whole, m->left, m->left_bytes);
        memcpy(whole + m->left_bytes, m->right, m->right_bytes);
        json_int_t id = id_of(index, whole, m->left_bytes + m->right_bytes);
        if (id >= 0)
            v->tokens[id].score = -(float)i;
    }
    fp4_free(whole);
    json_decref(index);
    return status;
}
