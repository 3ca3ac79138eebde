/* Trains a small Llama on the generated corpus. */
#include "experiments/selftrain.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "experiments/train_data.h"

/* 700,000 tokens in 12 s on two cores. It comes half-way from a bigram to the exact entropy and answers most of the adaptation prompts, none with certainty:
 * there is room both ways for what adaptation and quantization do to it. */
const struct selftrain_shape selftrain_default = {.batch = 16, .context = 128, .steps = 340, .warmup = 34, .n_embd = 128, .n_layer = 3, .n_head = 4, .n_kv_head = 2,
                                                  .n_ff = 256, .seed = 1};
static const double peak_rate = 4e-3, last_share = 0.1, decay = 0.1, max_norm = 1;

const uint64_t selftrain_held_out = 1u << 30;

static struct fp4_config config_of(const struct selftrain_shape *s, const struct fp4_corpus *corpus) {
    return (struct fp4_config){
        .arch = FP4_ARCH_LLAMA,
        .n_vocab = fp4_corpus_vocab(corpus),
        .n_embd = s->n_embd,
        .n_layer = s->n_layer,
        .n_head = s->n_head,
        .n_kv_head = s->n_kv_head,
        .head_dim = s->n_embd / s->n_head,
        .n_ff = s->n_ff,
        .n_ctx = 4 * s->context,
        .norm_eps = 1e-5f,
        .rope_theta = 1e4,
        .tied_head = true,
        .bos_id = -1,
        .eos_id = -1,
    };
}

struct fp4_config selftrain_config(const struct fp4_corpus *corpus) { return config_of(&selftrain_default, corpus); }

static json_t *settings_of(const struct selftrain_shape *s) {
    return json_pack("{s:i, s:i, s:I, s:I, s:I, s:I, s:I, s:I, s:I, s:I, s:I, s:I, s:f, s:f, s:f, s:f, s:s}", "version", 1, "corpus_seed", SELFTRAIN_CORPUS_SEED,
                     "batch", (json_int_t)s->batch, "context", (json_int_t)s->context, "steps", (json_int_t)s->steps, "warmup", (json_int_t)s->warmup, "n_embd",
                     (json_int_t)s->n_embd, "n_layer", (json_int_t)s->n_layer, "n_head", (json_int_t)s->n_head, "n_kv_head", (json_int_t)s->n_kv_head, "n_ff",
                     (json_int_t)s->n_ff, "seed", (json_int_t)s->seed, "peak_rate", peak_rate, "last_share", last_share, "decay", decay, "max_norm",
                     max_norm, "blas_core", fp4_blas_core());
}

json_t *selftrain_settings(void) { return settings_of(&selftrain_default); }

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
static double rate_at(const struct selftrain_shape *s, size_t step) {
    if (step < s->warmup)
        return peak_rate * (double)(step + 1) / (double)s->warmup;
    double progress = (double)(step - s->warmup) / (double)(s->steps - s->warmup);
    return peak_rate * (last_share + (1 - last_share) * 0.5 * (1 + cos(3.141592653589793 * progress)));
}

static fp4_status update(const struct selftrain_shape *s, struct fp4_model *m, struct fp4_optimizer *optimizer, const int32_t *stream, size_t step) {
    size_t first = step * s->batch * s->context;
    struct fp4_adamw h = {rate_at(s, step), 0.9, 0.95, 1e-8, decay};
    double loss;
    FP4_TRY(fp4_model_zero_grad(m));
    FP4_TRY(fp4_model_loss_backward(m, stream + first, stream + first + 1, s->batch, s->context, 1, &loss));
    if (!isfinite(loss))
        return fp4_fail(FP4_ERR_NUMERIC, "training the small model: the loss is not finite at step %zu", step);
    return fp4_optimizer_step(optimizer, &h, max_norm, NULL);
}

static fp4_status train(const struct selftrain_shape *s, struct fp4_model *m, const int32_t *stream) {
    struct fp4_optimizer *optimizer;
    struct fp4_progress bar;
    FP4_TRY(fp4_model_enable_grad(m));
    FP4_TRY(fp4_optimizer_create(m, &optimizer));
    fp4_status status = FP4_OK;
    fp4_progress_begin(&bar, "training the small model", (double)s->steps);
    for (size_t step = 0; status == FP4_OK && step < s->steps; step++) {
        status = update(s, m, optimizer, stream, step);
        fp4_progress_update(&bar, (double)step + 1);
    }
    fp4_progress_end(&bar);
    fp4_optimizer_free(optimizer);
    return status;
}

/* Says how well it predicts held-out documents, between what counting pairs gives and what is possible. */
static fp4_status report(const struct selftrain_shape *s, struct fp4_model *m, size_t tokens, double seconds, const char *folder) {
    enum { WINDOWS = 32 };
    struct train_data data;
    double loss, accuracy, bigram, bigram_accuracy;
    FP4_TRY(train_data_open("generated", NULL, tokens, WINDOWS, s->context, &data));
    fp4_status status = fp4_model_evaluate(m, data.eval_inputs, data.eval_targets, WINDOWS, s->context, &loss, &accuracy);
    if (status == FP4_OK)
        status = train_data_ngram(&data, data.eval_inputs, data.eval_targets, 2, &bigram, &bigram_accuracy);
    char shown[1024];
    if (status == FP4_OK)
        fprintf(stderr, "trained the small model in %.1f s: %.3f nats a token on held-out documents (bigram %.3f, exact entropy %.3f), kept in %s\n", seconds, loss,
                bigram, data.entropy_floor, fp4_escape_text(folder, shown, sizeof shown));
    train_data_close(&data);
    return status;
}

static fp4_status train_and_save(const struct selftrain_shape *s, const struct fp4_corpus *corpus, const char *folder) {
    struct fp4_config config = config_of(s, corpus);
    size_t tokens = s->steps * s->batch * s->context + 1;
    struct fp4_model *m = NULL;
    int32_t *stream;
    double start = fp4_now();
    FP4_TRY(FP4_NEW(stream, tokens));
    fp4_status status = selftrain_stream(corpus, 0, tokens, stream, NULL);
    if (status == FP4_OK)
        status = fp4_model_create(&config, s->seed, fp4_backend_cpu(), &m);
    if (status == FP4_OK)
        status = train(s, m, stream);
    double seconds = fp4_now() - start;
    if (status == FP4_OK)
        status = fp4_corpus_tokenizer_export(corpus, folder);
    if (status == FP4_OK)
        status = fp4_model_save(m, folder);
    if (status == FP4_OK)
        status = report(s, m, tokens, seconds, folder);
    fp4_model_free(m);
    fp4_free(stream);
    return status;
}

static bool is_there(const char *folder, const char *name) {
    char file[1100];
    snprintf(file, sizeof file, "%s/%s", folder, name);
    return access(file, R_OK) == 0;
}

fp4_status selftrain_find(const struct selftrain_shape *s, char path[1024], bool *there) {
    char hex[65];
    FP4_TRY(fp4_blas_init());
    json_t *settings = settings_of(s);
    char *text = settings ? json_dumps(settings, JSON_SORT_KEYS | JSON_COMPACT) : NULL;
    json_decref(settings);
    if (!text)
        return fp4_fail(FP4_ERR_MEMORY, "selftrained: out of memory");
    fp4_status status = fp4_sha256_buffer(text, strlen(text), hex);
    free(text);
    FP4_TRY(status);
    FP4_TRY(fp4_asset_folder(path, 1024 - 32));
    snprintf(path + strlen(path), 32, "/selftrained-%.16s", hex);
    /* config.json is written last, each of the two appears whole: a killed training leaves no model behind */
    *there = is_there(path, "config.json") && is_there(path, "model.safetensors");
    return FP4_OK;
}

fp4_status selftrain_folder_of(const struct selftrain_shape *s, const struct fp4_corpus *corpus, char path[1024]) {
    bool there;
    FP4_TRY(selftrain_find(s, path, &there));
    if (there)
        return FP4_OK;
    if (fp4_make_dirs(path) != FP4_OK || access(path, W_OK) != 0) /* known before it is trained */
        return fp4_fail(FP4_ERR_IO, "%s: the self-trained model cannot be kept there; set FP4LAB_ASSETS to a folder that can be written", path);
    return train_and_save(s, corpus, path);
}

fp4_status selftrain_folder(const struct fp4_corpus *corpus, char path[1024]) { return selftrain_folder_of(&selftrain_default, corpus, path); }
