/* The suite's own small model: its data, its cache, and how good it is. */
#include "tests/folders.h"
#include "tests/support.h"

#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "experiments/selftrain.h"
#include "experiments/train_data.h"

static const struct selftrain_shape tiny = {.batch = 4, .context = 32, .steps = 30, .warmup = 3, .n_embd = 32, .n_layer = 2, .n_head = 2, .n_kv_head = 1,
                                            .n_ff = 64, .seed = 1};

static struct fp4_corpus *corpus(void) {
    struct fp4_corpus *c;
    must(fp4_corpus_create(SELFTRAIN_CORPUS_SEED, &c));
    return c;
}

/* An empty asset cache of its own. */
static void own_assets(char folder[FOLDER_MAX]) {
    folder_make(folder);
    cr_assert_eq(setenv("FP4LAB_ASSETS", folder, 1), 0);
}

static void hash_of(const char *folder, char hex[65]) {
    struct fp4_model *m;
    must(fp4_model_load(folder, fp4_backend_cpu(), &m));
    must(fp4_model_hash(m, hex));
    fp4_model_free(m);
}

/* ino and time of the file: whether it was written anew. */
static struct stat written(const char *folder, const char *name) {
    char file[1200];
    struct stat info;
    snprintf(file, sizeof file, "%s/%s", folder, name);
    cr_assert_eq(stat(file, &info), 0, "%s", file);
    return info;
}

Test(selftrain, stream_is_documents_one_after_the_other) {
    enum { N = 1000 };
    struct fp4_corpus *c = corpus();
    int32_t ids[N], shorter[N / 2];
    size_t document[N], at = 0;
    must(selftrain_stream(c, 5, N, ids, document));
    must(selftrain_stream(c, 5, N / 2, shorter, NULL));
    cr_assert_eq(memcmp(ids, shorter, sizeof shorter), 0);
    for (uint64_t index = 5; at < N; index++) {
        int32_t *words;
        size_t n;
        must(fp4_corpus_document(c, index, &words, &n));
        for (size_t i = 0; i < n && at < N; i++, at++) {
            cr_assert_eq(ids[at], words[i]);
            cr_assert_eq(document[at], index - 5);
        }
        fp4_free(words);
    }
    fp4_corpus_destroy(c);
}

Test(selftrain, trained_once_the_same_for_any_threads_and_again_after_a_kill) {
    char assets[FOLDER_MAX], first[1024], second[1024], file[1200], a[65], b[65];
    struct fp4_corpus *c = corpus();
    own_assets(assets);
    fp4_set_threads(1);
    must(selftrain_folder_of(&tiny, c, first));
    hash_of(first, a);
    struct stat before = written(first, "model.safetensors");
    must(selftrain_folder_of(&tiny, c, second)); /* there already */
    cr_assert_str_eq(first, second);
    cr_assert_eq(written(first, "model.safetensors").st_ino, before.st_ino);
    /* killed between its two files: trained again, to the same bits */
    snprintf(file, sizeof file, "%s/config.json", first);
    cr_assert_eq(unlink(file), 0);
    fp4_set_threads(3);
    must(selftrain_folder_of(&tiny, c, second));
    hash_of(second, b);
    cr_assert_str_eq(a, b);
    cr_assert_neq(written(first, "model.safetensors").st_ino, before.st_ino);
    fp4_corpus_destroy(c);
    fp4_set_threads(0);
}

Test(selftrain, another_shape_has_a_folder_of_its_own) {
    char assets[FOLDER_MAX], first[1024], second[1024], a[65], b[65];
    struct selftrain_shape other = tiny;
    struct fp4_corpus *c = corpus();
    own_assets(assets);
    other.seed = 2;
    must(selftrain_folder_of(&tiny, c, first));
    must(selftrain_folder_of(&other, c, second));
    cr_assert_str_neq(first, second);
    hash_of(first, a);
    hash_of(second, b);
    cr_assert_str_neq(a, b);
    fp4_corpus_destroy(c);
}

Test(selftrain, learns) {
    enum { EVAL = 16 };
    char assets[FOLDER_MAX], folder[1024];
    struct selftrain_shape s = tiny;
    struct fp4_corpus *c = corpus();
    struct fp4_model *m;
    struct train_data d;
    double loss, unigram, accuracy;
    own_assets(assets);
    s.steps = 250, s.warmup = 25;
    must(selftrain_folder_of(&s, c, folder));
    must(fp4_model_load(folder, fp4_backend_cpu(), &m));
    must(train_data_open("generated", NULL, s.steps * s.batch * s.context + 1, EVAL, s.context, &d));
    must(fp4_model_evaluate(m, d.eval_inputs, d.eval_targets, EVAL, s.context, &loss, &accuracy));
    must(train_data_ngram(&d, d.eval_inputs, d.eval_targets, 1, &unigram, &accuracy));
    cr_assert_lt(loss, unigram - 1);
    cr_assert_gt(loss, d.entropy_floor);
    train_data_close(&d);
    fp4_model_free(m);
    fp4_corpus_destroy(c);
}

/* Without a place for it there is an error, not a model in the current folder. */
Test(selftrain, a_cache_is_needed) {
    char folder[1024];
    bool there;
    unsetenv("FP4LAB_ASSETS");
    unsetenv("HOME");
    cr_assert_eq(selftrain_find(&selftrain_default, folder, &there), FP4_ERR_ARG);
    cr_assert_not_null(strstr(fp4_last_error(), "FP4LAB_ASSETS"), "%s", fp4_last_error());
}

/* Of the default model, when an experiment has left it in the cache: well below a bigram, and right on some prompts but not on all. */
Test(selftrain, default_model_is_worth_experiments) {
    enum { EVAL = 32 };
    char folder[1024];
    bool there;
    must(selftrain_find(&selftrain_default, folder, &there));
    if (!there)
        skip_test("selftrained", "no experiment has trained it yet");
    struct fp4_corpus *c = corpus();
    struct fp4_model *m;
    struct train_data d;
    double loss, bigram, accuracy, unused;
    size_t right = 0, n_tasks = FP4_CORPUS_TASKS, V = fp4_corpus_vocab(c);
    float *logits;
    must(fp4_model_load(folder, fp4_backend_cpu(), &m));
    must(train_data_open("generated", NULL, 200000, EVAL, 128, &d));
    must(fp4_model_evaluate(m, d.eval_inputs, d.eval_targets, EVAL, 128, &loss, &accuracy));
    must(train_data_ngram(&d, d.eval_inputs, d.eval_targets, 2, &bigram, &unused));
    cr_assert_lt(loss - d.entropy_floor, 0.4 * (bigram - d.entropy_floor), "loss %.3f, bigram %.3f, entropy %.3f", loss, bigram, d.entropy_floor);
    must(FP4_NEW(logits, V));
    for (size_t i = 0; i < n_tasks; i++) {
        const char *prompt = fp4_corpus_tasks[i].prompt, *expected = fp4_corpus_tasks[i].expected;
        int32_t *ids, *answer;
        size_t n, n_answer, best = 0;
        must(fp4_corpus_tokenize(c, prompt, &ids, &n));
        must(fp4_corpus_tokenize(c, expected, &answer, &n_answer));
        must(fp4_model_logits(m, ids, n, 1, logits));
        for (size_t v = 1; v < V; v++)
            best = logits[v] > logits[best] ? v : best;
        right += (int32_t)best == answer[0];
        fp4_free(ids), fp4_free(answer);
    }
    cr_assert(right >= 3 && right < n_tasks, "%zu of %zu prompts answered", right, n_tasks);
    fp4_free(logits);
    train_data_close(&d);
    fp4_model_free(m);
    fp4_corpus_destroy(c);
}
