/* Trains a small Llama on the generated corpus. */
#include "experiments/selftrain.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "experiments/train_data.h"

enum { BATCH = 16, CONTEXT = 128, STEPS = 340, WARMUP = 34, EMBD = 128, LAYERS = 3, HEADS = 4, KV_HEADS = 2, FF = 256, SEED = 1 };
static const double peak_rate = 4e-3, last_share = 0.1, decay = 0.1, max_norm = 1;

const uint64_t selftrain_held_out = 1u << 30;

static struct fp4_config shape(const struct fp4_corpus *corpus) {
    return (struct fp4_config){
        .arch = FP4_ARCH_LLAMA,
        .n_vocab = fp4_corpus_vocab(corpus),
        .n_embd = EMBD,
        .n_layer = LAYERS,
        .n_head = HEADS,
        .n_kv_head = KV_HEADS,
        .head_dim = EMBD / HEADS,
        .n_ff = FF,
        .n_ctx = 4 * CONTEXT,
        .norm_eps = 1e-5f,
        .rope_theta = 1e4,
        .tied_head = true,
        .bos_id = -1,
        .eos_id = -1,
    };
}

json_t *selftrain_settings(void) {
    return json_pack("{s:i, s:i, s:i, s:i, s:i, s:i, s:i, s:i, s:i, s:i, s:i, s:f, s:f, s:f, s:f, s:s}", "version", 1, "corpus_seed",
                     SELFTRAIN_CORPUS_SEED, "batch", BATCH, "context", CONTEXT, "steps", STEPS, "warmup", WARMUP, "n_embd", EMBD,
                     "n_layer", LAYERS, "n_head", HEADS, "n_kv_head", KV_HEADS, "n_ff", FF, "peak_rate", peak_rate, "last_share",
                     last_share, "decay", decay, "max_norm", max_norm, "blas_core", fp4_blas_core());
}

fp4_status selftrain_stream(const struct fp4_corpus *corpus, uint64_t first_document, size_t n, int32_t *ids, size_t *document) {
    size_t done = 0;
    for (uint64_t index = first_document; done < n; index++) {
        int32_t *words;
        size_t count;
        FP4_TRY(fp4_corpus_document(corpus, index, &words, &count));
        for (size_t i = 0; i < count && done < n; i++, done++) {
            ids[done] = words[i];
            if (document)
                document[done] = (size_t)(index - first_document);
        }
        fp4_free(words);
    }
    return FP4_OK;
}

/* Linear warm-up, then cosine down to last_share of the peak. */
static double rate_at(size_t step) {
    if (step < WARMUP)
        return peak_rate * (double)(step + 1) / WARMUP;
    double progress = (double)(step - WARMUP) / (STEPS - WARMUP);
    return peak_rate * (last_share + (1 - last_share) * 0.5 * (1 + cos(3.141592653589793 * progress)));
}

static fp4_status train(struct fp4_model *m, const int32_t *stream) {
    struct fp4_optimizer *optimizer;
    struct fp4_progress bar;
    FP4_TRY(fp4_model_enable_grad(m));
    FP4_TRY(fp4_optimizer_create(m, &optimizer));
    fp4_status status = FP4_OK;
    fp4_progress_begin(&bar, "training the small model", STEPS);
    for (size_t step = 0; status == FP4_OK && step < STEPS; step++) {
        int32_t inputs[BATCH * CONTEXT], targets[BATCH * CONTEXT];
        double loss;
        for (size_t i = 0; i < BATCH * CONTEXT; i++) {
            inputs[i] = stream[step * BATCH * CONTEXT + i];
            targets[i] = stream[step * BATCH * CONTEXT + i + 1];
        }
        struct fp4_adamw h = {rate_at(step), 0.9, 0.95, 1e-8, decay};
        status = fp4_model_zero_grad(m);
        if (status == FP4_OK)
            status = fp4_model_loss_backward(m, inputs, targets, BATCH, CONTEXT, 1, &loss);
        if (status == FP4_OK && !isfinite(loss))
            status = fp4_fail(FP4_ERR_NUMERIC, "training the small model: the loss is not finite at step %zu", step);
        if (status == FP4_OK)
            status = fp4_optimizer_step(optimizer, &h, max_norm, NULL);
        fp4_progress_update(&bar, (double)step + 1);
    }
    fp4_progress_end(&bar);
    fp4_optimizer_free(optimizer);
    return status;
}

/* Says how well it predicts held-out documents, between what counting pairs gives and what is possible. */
static fp4_status report(struct fp4_model *m, size_t tokens, double seconds, const char *folder) {
    enum { WINDOWS = 32 };
    struct train_data data;
    double loss, accuracy, bigram, bigram_accuracy;
    FP4_TRY(train_data_open("generated", NULL, tokens, WINDOWS, CONTEXT, &data));
    fp4_status status = fp4_model_evaluate(m, data.eval_inputs, data.eval_targets, WINDOWS, CONTEXT, &loss, &accuracy);
    if (status == FP4_OK)
        status = train_data_ngram(&data, data.eval_inputs, data.eval_targets, 2, &bigram, &bigram_accuracy);
    if (status == FP4_OK)
        fprintf(stderr, "trained the small model in %.1f s: %.3f nats a token on held-out documents (bigram %.3f, exact entropy %.3f), kept in %s\n", seconds, loss,
                bigram, data.entropy_floor, folder);
    train_data_close(&data);
    return status;
}

static fp4_status train_and_save(const struct fp4_corpus *corpus, const char *folder) {
    enum { TOKENS = STEPS * BATCH * CONTEXT + 1 };
    struct fp4_config config = shape(corpus);
    struct fp4_model *m = NULL;
    int32_t *stream;
    double start = fp4_now();
    FP4_TRY(FP4_NEW(stream, TOKENS));
    fp4_status status = selftrain_stream(corpus, 0, TOKENS, stream, NULL);
    if (status == FP4_OK)
        status = fp4_model_create(&config, SEED, fp4_backend_cpu(), &m);
    if (status == FP4_OK)
        status = train(m, stream);
    double seconds = fp4_now() - start;
    if (status == FP4_OK)
        status = fp4_make_dirs(folder);
    if (status == FP4_OK)
        status = fp4_model_save(m, folder);
    if (status == FP4_OK)
        status = report(m, TOKENS, seconds, folder);
    fp4_model_free(m);
    fp4_free(stream);
    return status;
}

fp4_status selftrain_folder(const struct fp4_corpus *corpus, char path[1024]) {
    char hex[65], file[1100];
    FP4_TRY(fp4_blas_init());
    json_t *settings = selftrain_settings();
    char *text = settings ? json_dumps(settings, JSON_SORT_KEYS | JSON_COMPACT) : NULL;
    json_decref(settings);
    if (!text)
        return fp4_fail(FP4_ERR_MEMORY, "selftrained: out of memory");
    fp4_status status = fp4_sha256_buffer(text, strlen(text), hex);
    free(text);
    FP4_TRY(status);
    const char *assets = getenv("FP4LAB_ASSETS"), *home = getenv("HOME");
    int n = assets && *assets ? snprintf(path, 1024, "%s/selftrained-%.16s", assets, hex)
                              : snprintf(path, 1024, "%s/.cache/fp4lab/selftrained-%.16s", home ? home : ".", hex);
    if (n < 0 || n >= 1024)
        return fp4_fail(FP4_ERR_ARG, "FP4LAB_ASSETS: path too long");
    snprintf(file, sizeof file, "%s/model.safetensors", path);
    return access(file, R_OK) == 0 ? FP4_OK : train_and_save(corpus, path);
}
