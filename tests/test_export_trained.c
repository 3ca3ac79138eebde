/* Nets trained here, as checkpoints for other programs. */
#include <jansson.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "experiments/selftrain.h"
#include "experiments/train_run.h"
#include "tests/folders.h"
#include "tests/support.h"

static const struct selftrain_shape tiny = {.batch = 4, .context = 32, .steps = 30, .warmup = 3, .n_embd = 32, .n_layer = 2, .n_head = 2, .n_kv_head = 1,
                                            .n_ff = 64, .seed = 1};

/* Trains into a cache of its own. */
static struct fp4_corpus *trained(char assets[FOLDER_MAX], char folder[1024]) {
    struct fp4_corpus *c;
    must(fp4_corpus_create(SELFTRAIN_CORPUS_SEED, &c));
    folder_make(assets);
    cr_assert_eq(setenv("FP4LAB_ASSETS", assets, 1), 0);
    must(selftrain_folder_of(&tiny, c, folder));
    return c;
}

/* The words of ids, one after the other, fp4_alloc'ed. */
static char *words_of(const struct fp4_corpus *c, const int32_t *ids, size_t n) {
    char *text, *end;
    must(FP4_NEW(text, 40 * n + 1));
    end = text;
    for (size_t i = 0; i < n; i++)
        end = stpcpy(end, fp4_corpus_word(c, ids[i]));
    return text;
}

static json_t *json_line(const char *text) {
    json_error_t error;
    json_t *root = json_loads(text, JSON_DISABLE_EOF_CHECK, &error);
    cr_assert_not_null(root, "%s", error.text);
    return root;
}

enum { DOCUMENTS = 20 };

Test(export_trained, the_words_tokenizer_gives_the_corpuss_ids, .timeout = 60) {
    char assets[FOLDER_MAX], folder[1024];
    const char *arguments[DOCUMENTS + 2] = {NULL};
    char paths[DOCUMENTS][128];
    struct fp4_corpus *c = trained(assets, folder);
    int32_t *ids[DOCUMENTS];
    size_t n[DOCUMENTS];
    arguments[0] = folder_file(folder, "tokenizer.json");
    for (size_t i = 0; i < DOCUMENTS; i++) {
        must(fp4_corpus_document(c, i, &ids[i], &n[i]));
        char *text = words_of(c, ids[i], n[i]);
        snprintf(paths[i], sizeof paths[i], "%s/%zu.txt", assets, i);
        must(fp4_write_file(paths[i], text, strlen(text)));
        arguments[1 + i] = paths[i];
        fp4_free(text);
    }
    char *text = python_output("tokenizers", "tokenizer_ids.py", arguments), *line = text;
    for (size_t i = 0; i < DOCUMENTS; i++, line = strchr(line, '\n') + 1) {
        json_t *root = json_line(line), *theirs = json_object_get(root, "ids");
        char *want = words_of(c, ids[i], n[i]);
        cr_assert_eq(json_array_size(theirs), n[i], "document %zu", i);
        for (size_t j = 0; j < n[i]; j++)
            cr_assert_eq(json_integer_value(json_array_get(theirs, j)), ids[i][j], "document %zu, word %zu", i, j);
        cr_assert_str_eq(json_string_value(json_object_get(root, "text")), want);
        json_decref(root);
        fp4_free(want);
        fp4_free(ids[i]);
    }
    free(text);
    fp4_corpus_destroy(c);
}

Test(export_trained, our_reader_gives_them_too) {
    char assets[FOLDER_MAX], folder[1024];
    struct fp4_corpus *c = trained(assets, folder);
    struct fp4_tokenizer *t;
    must(fp4_tokenizer_open(folder, &t));
    cr_assert_eq(fp4_tokenizer_vocab(t), fp4_corpus_vocab(c));
    for (size_t i = 0; i < DOCUMENTS; i++) {
        int32_t *ids, *ours;
        size_t n, n_ours, bytes;
        must(fp4_corpus_document(c, i, &ids, &n));
        char *text = words_of(c, ids, n), *back;
        must(fp4_tokenize(t, text, strlen(text), true, &ours, &n_ours));
        cr_assert_eq(n_ours, n, "document %zu", i);
        cr_assert_arr_eq(ours, ids, n * sizeof *ids, "document %zu", i);
        must(fp4_detokenize(t, ours, n, false, &back, &bytes));
        cr_assert_str_eq(back, text);
        fp4_free(back);
        fp4_free(ours);
        fp4_free(ids);
        fp4_free(text);
    }
    int32_t *ids;
    size_t n;
    cr_assert_eq(fp4_tokenize(t, "The frobnicated day", 19, true, &ids, &n), FP4_ERR_ARG);
    cr_assert_not_null(strstr(fp4_last_error(), "\"frobnicated\" is not a word"), "%s", fp4_last_error());
    cr_assert_not_null(strstr(fp4_last_error(), folder), "the file is named: %s", fp4_last_error());
    fp4_tokenizer_close(t);
    fp4_corpus_destroy(c);
}

/* An unknown token that is in the vocabulary stands for every other word. */
Test(export_trained, words_with_an_unknown_token) {
    static const char json[] = "{\"version\":\"1.0\",\"added_tokens\":[],\"normalizer\":null,\"pre_tokenizer\":{\"type\":\"Split\",\"pattern\":{\"Regex\":\"[a-z]+\"},"
                               "\"behavior\":\"Removed\",\"invert\":true},\"post_processor\":null,\"decoder\":null,\"model\":{\"type\":\"WordLevel\","
                               "\"vocab\":{\"?\":0,\"a\":1,\"ab\":2},\"unk_token\":\"?\"}}";
    static const int32_t want[] = {2, 0, 1, 0};
    char folder[FOLDER_MAX];
    struct fp4_tokenizer *t;
    int32_t *ids;
    size_t n;
    folder_make(folder);
    must(fp4_write_file(folder_file(folder, "tokenizer.json"), json, strlen(json)));
    must(fp4_tokenizer_open(folder, &t));
    must(fp4_tokenize(t, "ab abc a. b", 11, true, &ids, &n));
    cr_assert_eq(n, 4);
    cr_assert_arr_eq(ids, want, sizeof want);
    fp4_free(ids);
    fp4_tokenizer_close(t);
}

Test(export_trained, transformers_computes_its_logits, .timeout = 120) {
    static const int32_t ids[] = {3, 17, 5, 250, 99, 1, 44, 8, 123, 71, 6, 200};
    enum { N = sizeof ids / sizeof *ids };
    char assets[FOLDER_MAX], folder[1024];
    struct fp4_corpus *c = trained(assets, folder);
    const char *arguments[] = {"3,17,5,250,99,1,44,8,123,71,6,200", folder, NULL};
    char *text = python_output("transformers", "transformers_logits.py", arguments);
    json_t *theirs = json_line(text);
    struct fp4_model *m;
    float *logits;
    double most = 0, largest = 0;
    must(fp4_model_load(folder, fp4_backend_cpu(), &m));
    size_t vocab = fp4_model_config(m)->n_vocab;
    must(FP4_NEW(logits, vocab));
    must(fp4_model_logits(m, ids, N, 1, logits));
    cr_assert_eq(json_array_size(theirs), vocab);
    for (size_t i = 0; i < vocab; i++) {
        double x = json_number_value(json_array_get(theirs, i));
        most = fmax(most, fabs(x - (double)logits[i]));
        largest = fmax(largest, fabs(x));
    }
    printf("transformers, a net trained here: largest logit difference %.3g of %.3g\n", most, largest);
    /* golden models of this size and family deviate by 1.1e-6 of their largest logit in fp32; four times that, on either side */
    cr_assert_leq(most, 8 * 1.1e-6 * largest, "logits differ by %g of %g", most, largest);
    json_decref(theirs);
    free(text);
    fp4_free(logits);
    fp4_model_free(m);
    fp4_corpus_destroy(c);
}

Test(export_trained, bytes_are_their_own_ids) {
    char folder[FOLDER_MAX], text[256];
    struct fp4_tokenizer *t;
    int32_t *ids;
    size_t n;
    folder_make(folder);
    must(fp4_byte_tokenizer_export(folder));
    must(fp4_tokenizer_open(folder, &t));
    cr_assert_eq(fp4_tokenizer_vocab(t), 256);
    const char prose[] = "In the beginning, 1:1 \xc3\xa9\n\t\"x\"";
    must(fp4_tokenize(t, prose, strlen(prose), true, &ids, &n));
    cr_assert_eq(n, strlen(prose));
    for (size_t i = 0; i < n; i++)
        cr_assert_eq(ids[i], (uint8_t)prose[i], "byte %zu", i);
    fp4_free(ids);
    for (int i = 0; i < 256; i++)
        text[i] = (char)i;
    int32_t all[256];
    char *back;
    for (int i = 0; i < 256; i++)
        all[i] = i;
    must(fp4_detokenize(t, all, 256, false, &back, &n));
    cr_assert(n == 256 && memcmp(back, text, 256) == 0);
    fp4_free(back);
    fp4_tokenizer_close(t);
}

/* The saved weights are those that the last evaluation saw. */
Test(export_trained, an_experiments_net_is_kept_when_asked) {
    static const struct train_setup setup = {.n_embd = 32, .n_layer = 2, .n_head = 2, .n_ff = 64, .context = 32, .batch = 4, .accumulate = 1, .steps = 10, .n_train = 2000,
                                             .n_eval = 4, .evaluations = 2, .lr = 4e-3, .seeds = 1};
    char folder[FOLDER_MAX];
    struct train_data d;
    struct fp4_model *m;
    double loss, accuracy;
    json_t *outcome = json_object(), *time = json_object();
    folder_make(folder);
    must(train_data_open("generated", NULL, setup.n_train, setup.n_eval, setup.context, &d));
    for (int again = 0; again < 2; again++)
        must(train_run(&setup, &d, "bf16", again, 1, folder, outcome, time)); /* over the first */
    must(fp4_model_load(folder, fp4_backend_cpu(), &m));
    cr_assert_eq(fp4_model_config(m)->arch, FP4_ARCH_WRITEUP_D);
    cr_assert(fp4_model_config(m)->no_positions);
    struct fp4_policy bf16 = {0};
    for (int i = 0; i < FP4_OPERANDS; i++)
        must(fp4_quantizer_parse("bf16", &bf16.operand[i]));
    fp4_model_set_policy(m, &bf16, true);
    must(fp4_model_evaluate(m, d.eval_inputs, d.eval_targets, setup.n_eval, setup.context, &loss, &accuracy));
    cr_assert_float_eq(loss, json_number_value(json_object_get(json_object_get(outcome, "final"), "loss")), 1e-12);
    fp4_model_free(m);
    train_data_close(&d);
    json_decref(outcome);
    json_decref(time);
}
