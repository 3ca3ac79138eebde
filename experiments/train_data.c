/* Data of the training experiment. */
#include "experiments/train_data.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "experiments/selftrain.h"

static const double leaky_share = 0.1; /* of windows held out, as published */

void train_data_close(struct train_data *d) {
    fp4_free(d->train);
    fp4_free(d->eval_inputs);
    fp4_free(d->eval_targets);
    fp4_free(d->clean_inputs);
    fp4_free(d->clean_targets);
    *d = (struct train_data){0};
}

/* True when the leaky split holds window `start` out: by an addressed coin. */
static bool held_out(const struct train_data *d, size_t start) {
    struct fp4_random coin = {.seed = d->split_seed, .stream = FP4_STREAM_ORDER, .operand = 1};
    float u;
    fp4_random_uniform(&coin, start, 1, &u);
    return (double)u < leaky_share;
}

/* Window i of inputs and targets [windows, context] from context + 1 tokens. */
static void take_window(size_t context, size_t i, const int32_t *tokens, int32_t *inputs, int32_t *targets) {
    memcpy(inputs + i * context, tokens, sizeof *tokens * context);
    memcpy(targets + i * context, tokens + 1, sizeof *tokens * context);
}

/* ---- generated corpus: training from document 0 on, evaluation from the held-out documents ---- */

static fp4_status open_generated(struct train_data *d) {
    struct fp4_corpus *corpus;
    FP4_TRY(fp4_corpus_create(SELFTRAIN_CORPUS_SEED, &corpus));
    size_t done = 0, need = d->n_eval * d->context + 1;
    int32_t *stream = NULL;
    double *nll = NULL, sum = 0;
    d->n_vocab = fp4_corpus_vocab(corpus);
    fp4_status status = selftrain_stream(corpus, 0, d->n_train, d->train, NULL);
    if (status == FP4_OK)
        status = FP4_NEW(stream, need);
    if (status == FP4_OK)
        status = FP4_NEW(nll, need);
    for (uint64_t index = selftrain_held_out; status == FP4_OK && done < need; index++) {
        int32_t *words;
        size_t count;
        double *exact;
        status = fp4_corpus_document(corpus, index, &words, &count);
        if (status != FP4_OK)
            break;
        status = FP4_NEW(exact, count);
        if (status == FP4_OK)
            status = fp4_corpus_nll(corpus, words, count, exact);
        for (size_t i = 0; status == FP4_OK && i < count && done < need; i++, done++) {
            stream[done] = words[i];
            nll[done] = exact[i];
        }
        fp4_free(words);
        fp4_free(exact);
    }
    for (size_t i = 0; status == FP4_OK && i < d->n_eval; i++)
        take_window(d->context, i, stream + i * d->context, d->eval_inputs, d->eval_targets);
    for (size_t i = 1; status == FP4_OK && i < need; i++)
        sum += nll[i];
    d->entropy_floor = sum / (double)(need - 1);
    fp4_free(stream);
    fp4_free(nll);
    fp4_corpus_destroy(corpus);
    return status;
}

/* ---- prose ---- */

static fp4_status prose_tokens(struct fp4_tokenizer *tokenizer, const char *text, size_t bytes, int32_t **ids, size_t *n) {
    if (tokenizer)
        return fp4_tokenize(tokenizer, text, bytes, false, ids, n);
    FP4_TRY(FP4_NEW(*ids, bytes));
    for (size_t i = 0; i < bytes; i++)
        (*ids)[i] = (unsigned char)text[i];
    *n = bytes;
    return FP4_OK;
}

/* Every window of the evaluation documents side by side, thinned evenly to n_eval. */
static fp4_status clean_windows(const struct train_data *d, const int32_t *ids, size_t n, int32_t *inputs, int32_t *targets) {
    size_t there = n > d->context ? (n - 1) / d->context : 0;
    if (there < d->n_eval)
        return fp4_fail(FP4_ERR_ARG, "train: the evaluation documents hold %zu windows of %zu, fewer than %zu", there, d->context, d->n_eval);
    for (size_t i = 0; i < d->n_eval; i++)
        take_window(d->context, i, ids + i * there / d->n_eval * d->context, inputs, targets);
    return FP4_OK;
}

/* Held-out windows of the training tokens themselves, spread evenly. */
static fp4_status leaky_windows(struct train_data *d) {
    size_t starts = d->n_train - d->context;
    for (size_t i = 0; i < d->n_eval; i++) {
        size_t start = i * starts / d->n_eval;
        while (start < starts && !held_out(d, start))
            start++;
        if (start >= starts)
            return fp4_fail(FP4_ERR_ARG, "train: too few held-out windows; ask for fewer than %zu", d->n_eval);
        take_window(d->context, i, d->train + start, d->eval_inputs, d->eval_targets);
    }
    return FP4_OK;
}

static fp4_status prose_windows(struct train_data *d, const int32_t *eval, size_t n) {
    if (!d->leaky)
        return clean_windows(d, eval, n, d->eval_inputs, d->eval_targets);
    FP4_TRY(leaky_windows(d));
    return clean_windows(d, eval, n, d->clean_inputs, d->clean_targets);
}

/* Documents: the last tenth is for evaluation, training takes from the start. */
static fp4_status open_prose(struct train_data *d, struct fp4_tokenizer *tokenizer) {
    struct fp4_documents text;
    int32_t *train = NULL, *eval = NULL;
    size_t n = 0, n_eval = 0;
    FP4_TRY(fp4_documents_open("bible", &text));
    size_t split = text.offset[text.n - text.n / 10];
    fp4_status status = prose_tokens(tokenizer, text.text, split, &train, &n);
    if (status == FP4_OK)
        status = prose_tokens(tokenizer, text.text + split, text.bytes - split, &eval, &n_eval);
    if (status == FP4_OK && n < d->n_train)
        status = fp4_fail(FP4_ERR_ARG, "train: the text has %zu training tokens, fewer than %zu", n, d->n_train);
    if (status == FP4_OK) {
        memcpy(d->train, train, sizeof *train * d->n_train);
        status = prose_windows(d, eval, n_eval);
    }
    fp4_free(train);
    fp4_free(eval);
    fp4_documents_close(&text);
    return status;
}

fp4_status train_data_open(const char *item, struct fp4_tokenizer *tokenizer, size_t n_train, size_t n_eval, size_t context,
                           struct train_data *out) {
    *out = (struct train_data){.n_train = n_train, .n_eval = n_eval, .context = context, .split_seed = 1, .entropy_floor = NAN};
    out->leaky = strcmp(item, "bible_leaky") == 0;
    out->n_vocab = tokenizer ? fp4_tokenizer_vocab(tokenizer) : 256;
    fp4_status status = n_train > 2 * context ? FP4_OK : fp4_fail(FP4_ERR_ARG, "train: %zu tokens are too few for windows of %zu", n_train, context);
    if (status == FP4_OK)
        status = FP4_NEW(out->train, n_train);
    if (status == FP4_OK)
        status = FP4_NEW(out->eval_inputs, n_eval * context);
    if (status == FP4_OK)
        status = FP4_NEW(out->eval_targets, n_eval * context);
    if (status == FP4_OK && out->leaky)
        status = FP4_NEW(out->clean_inputs, n_eval * context);
    if (status == FP4_OK && out->leaky)
        status = FP4_NEW(out->clean_targets, n_eval * context);
    if (status == FP4_OK)
        status = strcmp(item, "generated") == 0 ? open_generated(out) : open_prose(out, tokenizer);
    if (status != FP4_OK)
        train_data_close(out);
    return status;
}

void train_data_batch(const struct train_data *d, uint32_t seed, uint32_t step, size_t batch, int32_t *inputs, int32_t *targets) {
    size_t starts = d->n_train - d->context;
    for (size_t row = 0; row < batch; row++) {
        struct fp4_random address = {.seed = seed, .stream = FP4_STREAM_ORDER, .step = step, .layer = (uint32_t)row};
        size_t start = 0;
        for (uint64_t attempt = 0;; attempt++) {
            uint32_t word;
            fp4_random_words(&address, attempt, 1, &word);
            start = (size_t)(((uint64_t)word * starts) >> 32);
            if (!d->leaky || !held_out(d, start))
                break;
        }
        take_window(d->context, row, d->train + start, inputs, targets);
    }
}

/* ---- n-gram baselines ---- */

struct pair {
    int32_t previous, next;
};
static int by_pair(const void *a, const void *b) {
    const struct pair *x = a, *y = b;
    if (x->previous != y->previous)
        return x->previous < y->previous ? -1 : 1;
    return (x->next > y->next) - (x->next < y->next);
}

/* The run of pairs equal to `key` in sorted pairs: how many. */
static size_t pair_count(const struct pair *pairs, size_t n, struct pair key) {
    size_t bounds[2];
    for (int upper = 0; upper < 2; upper++) {
        size_t low = 0, high = n;
        while (low < high) {
            size_t middle = low + (high - low) / 2;
            if (by_pair(&pairs[middle], &key) < upper)
                low = middle + 1;
            else
                high = middle;
        }
        bounds[upper] = low;
    }
    return bounds[1] - bounds[0];
}

/* likeliest[p]: the most frequent successor of p, the smallest among equals; −1 when p was never seen. */
static void likeliest_successors(const struct pair *pairs, size_t n, int32_t *likeliest, size_t *best, size_t n_vocab) {
    for (size_t v = 0; v < n_vocab; v++)
        likeliest[v] = -1;
    for (size_t i = 0; i < n;) {
        size_t j = i;
        while (j < n && by_pair(&pairs[j], &pairs[i]) == 0)
            j++;
        size_t p = (size_t)pairs[i].previous;
        if (likeliest[p] < 0 || j - i > best[p]) {
            likeliest[p] = pairs[i].next;
            best[p] = j - i;
        }
        i = j;
    }
}

fp4_status train_data_ngram(const struct train_data *d, const int32_t *inputs, const int32_t *targets, int order, double *loss, double *accuracy) {
    struct pair *pairs;
    int32_t *likeliest = NULL;
    size_t *seen = NULL, *best = NULL, n = d->n_train - 1, correct = 0, tokens = d->n_eval * d->context;
    double sum = 0;
    FP4_TRY(FP4_NEW(pairs, n));
    fp4_status status = FP4_NEW(likeliest, d->n_vocab);
    if (status == FP4_OK)
        status = FP4_NEW(seen, d->n_vocab);
    if (status == FP4_OK)
        status = FP4_NEW(best, d->n_vocab);
    for (size_t i = 0; status == FP4_OK && i < n; i++) {
        /* order 1: every token has the same context */
        pairs[i] = (struct pair){order == 2 ? d->train[i] : 0, d->train[i + 1]};
        seen[pairs[i].previous]++;
    }
    if (status == FP4_OK) {
        qsort(pairs, n, sizeof *pairs, by_pair);
        likeliest_successors(pairs, n, likeliest, best, d->n_vocab);
    }
    for (size_t i = 0; status == FP4_OK && i < tokens; i++) {
        struct pair key = {order == 2 ? inputs[i] : 0, targets[i]};
        double count = (double)pair_count(pairs, n, key), total = (double)seen[key.previous];
        sum -= log((count + 1) / (total + (double)d->n_vocab));
        correct += likeliest[key.previous] == key.next;
    }
    *loss = sum / (double)tokens;
    *accuracy = (double)correct / (double)tokens;
    fp4_free(pairs), fp4_free(likeliest), fp4_free(seen), fp4_free(best);
    return status;
}
