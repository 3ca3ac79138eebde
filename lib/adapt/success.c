/* What an answer is worth: exact probabilities of success, the greedy continuation, and draws. */
#include "fp4lab/adapt.h"

#include <ctype.h>
#include <string.h>

enum { MAX_EXPECTED = 64 };

/* s without blanks at both ends: its start, and its length in *n. */
static const char *stripped(const char *s, size_t *n) {
    while (isspace((unsigned char)*s))
        s++;
    *n = strlen(s);
    while (*n && isspace((unsigned char)s[*n - 1]))
        (*n)--;
    return s;
}

bool fp4_substring_success(const char *text, const char *expected) {
    size_t n, wanted;
    text = stripped(text, &n);
    expected = stripped(expected, &wanted);
    for (size_t i = 0; i + wanted <= n; i++) {
        size_t k = 0;
        while (k < wanted && tolower((unsigned char)text[i + k]) == tolower((unsigned char)expected[k]))
            k++;
        if (k == wanted)
            return true;
    }
    return false;
}

static int32_t first_largest(const float *x, size_t n) {
    size_t best = 0;
    for (size_t i = 1; i < n; i++)
        if (x[i] > x[best])
            best = i;
    return (int32_t)best;
}

struct measuring {
    struct fp4_model *m;
    const struct fp4_adapt_task *task;
    const struct fp4_adapt_sampling *sampling;
    struct fp4_adapt_success *out;
    size_t n_vocab;
    int32_t *tokens; /* prompt, then what was appended */
    float *logits;   /* [n_vocab] */
    double *p;       /* [n_vocab] under temperature and top-k */
    uint8_t *alive;  /* [n_draws]: all tokens so far were the expected ones */
};

static void first_position(struct measuring *s) {
    struct fp4_adapt_success *out = s->out;
    int32_t wanted = s->task->expected[0];
    out->entropy = fp4_logits_entropy(s->logits, s->n_vocab, 1);
    fp4_sampler_probabilities(s->logits, s->n_vocab, 1, 0, s->p);
    out->p_first_t1 = s->p[wanted];
    fp4_sampler_probabilities(s->logits, s->n_vocab, s->sampling->temperature, s->sampling->top_k, s->p);
    out->p_exact = s->p[wanted];
    for (size_t i = 0; i < s->n_vocab; i++)
        if (s->task->substring && s->task->substring[i])
            out->p_substring += s->p[i];
}

/* Draws go on only while they agree with the expected tokens, so the distributions along that one path are all they need. */
static void draw_position(struct measuring *s, size_t k) {
    for (size_t i = 0; i < s->sampling->n_draws; i++) {
        float u;
        if (!s->alive[i])
            continue;
        fp4_random_uniform(&s->sampling->random, (uint64_t)i * MAX_EXPECTED + k, 1, &u);
        int32_t id = fp4_sample_index(s->p, s->n_vocab, (double)u);
        s->alive[i] = id == s->task->expected[k];
        if (k == 0) {
            s->out->draws_exact += s->alive[i];
            s->out->draws_substring += s->task->substring && s->task->substring[id];
        }
    }
}

static fp4_status expected_path(struct measuring *s, int32_t *greedy, size_t *n_greedy) {
    const struct fp4_adapt_task *t = s->task;
    bool on_path = true; /* the greedy continuation has been the expected one so far */
    s->out->p_sequence = 1;
    for (size_t k = 0; k < t->n_expected; k++) {
        FP4_TRY(fp4_model_logits(s->m, s->tokens, t->n_prompt + k, 1, s->logits));
        if (k == 0)
            first_position(s);
        else
            fp4_sampler_probabilities(s->logits, s->n_vocab, s->sampling->temperature, s->sampling->top_k, s->p);
        s->out->p_sequence *= s->p[t->expected[k]];
        draw_position(s, k);
        if (on_path) {
            greedy[(*n_greedy)++] = first_largest(s->logits, s->n_vocab);
            on_path = greedy[k] == t->expected[k];
        }
        s->tokens[t->n_prompt + k] = t->expected[k];
    }
    for (size_t i = 0; i < s->sampling->n_draws; i++)
        s->out->draws_sequence += s->alive[i];
    s->out->greedy_match = on_path;
    return FP4_OK;
}

/* The rest of a greedy continuation that left the expected path. */
static fp4_status greedy_path(struct measuring *s, int32_t *greedy, size_t n_greedy) {
    const struct fp4_adapt_task *t = s->task;
    memcpy(s->tokens + t->n_prompt, greedy, n_greedy * sizeof *greedy);
    for (size_t k = n_greedy; k < t->n_expected; k++) {
        FP4_TRY(fp4_model_logits(s->m, s->tokens, t->n_prompt + k, 1, s->logits));
        s->tokens[t->n_prompt + k] = greedy[k] = first_largest(s->logits, s->n_vocab);
    }
    return FP4_OK;
}

fp4_status fp4_adapt_measure(struct fp4_model *m, const struct fp4_adapt_task *task, const struct fp4_adapt_sampling *sampling,
                             struct fp4_adapt_success *out, int32_t *greedy) {
    struct measuring s = {m, task, sampling, out, fp4_model_config(m)->n_vocab, NULL, NULL, NULL, NULL};
    *out = (struct fp4_adapt_success){0};
    if (task->n_prompt == 0 || task->n_expected == 0 || task->n_expected > MAX_EXPECTED)
        return fp4_fail(FP4_ERR_ARG, "a task has a prompt and 1 to %d expected tokens", MAX_EXPECTED);
    for (size_t k = 0; k < task->n_expected; k++)
        if (task->expected[k] < 0 || (size_t)task->expected[k] >= s.n_vocab)
            return fp4_fail(FP4_ERR_ARG, "expected token %d is not in the vocabulary", (int)task->expected[k]);
    size_t n_greedy = 0;
    fp4_status status = FP4_NEW(s.tokens, task->n_prompt + task->n_expected);
    if (status == FP4_OK)
        status = FP4_NEW(s.logits, s.n_vocab);
    if (status == FP4_OK)
        status = FP4_NEW(s.p, s.n_vocab);
    if (status == FP4_OK)
        status = FP4_NEW(s.alive, sampling->n_draws);
    if (status == FP4_OK) {
        memcpy(s.tokens, task->prompt, task->n_prompt * sizeof *s.tokens);
        memset(s.alive, 1, sampling->n_draws);
        status = expected_path(&s, greedy, &n_greedy);
    }
    if (status == FP4_OK)
        status = greedy_path(&s, greedy, n_greedy);
    fp4_free(s.tokens);
    fp4_free(s.logits);
    fp4_free(s.p);
    fp4_free(s.alive);
    return status;
}
