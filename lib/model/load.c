/* Weights from checkpoints. */
#include <math.h>
#include <stdio.h>
#include <string.h>

#include "lib/model/gguf_layout.h"
#include "lib/model/weights.h"

/* Name of a parameter in a checkpoint. The files on the hub of OPT's makers leave out OPT's outermost "model.". */
static void stored_name(const struct fp4_checkpoint *c, bool gguf, const char *ours, char *out, size_t size) {
    static const char outer[] = "model.decoder.";
    snprintf(out, size, "%s", ours);
    if (gguf)
        fp4_gguf_name(ours, out, size);
    else if (strncmp(ours, outer, strlen(outer)) == 0 && !fp4_checkpoint_find(c, "model.decoder.embed_tokens.weight"))
        snprintf(out, size, "%s", ours + strlen("model."));
}

static bool has_shape(const struct fp4_stored *t, const struct fp4_param *p) {
    return (t->n_dims == 2 && t->shape[0] == p->rows && t->shape[1] == p->cols) ||
           (t->n_dims == 1 && p->rows == 1 && t->shape[0] == p->cols);
}

/* GGUF's names beside a matrix "….weight": "….scale" holds one number, NVFP4's scale of the whole tensor; "….input_scale" that of its
 * activations, which matters only to those who quantize them so: here the policy says how. */
static bool name_beside(const char *name, const char *what, char out[96]) {
    size_t n = strlen(name), tail = strlen("weight");
    return n > tail && strcmp(name + n - tail, "weight") == 0 && snprintf(out, 96, "%.*s%s", (int)(n - tail), name, what) < 96;
}

static bool is_weight(const struct fp4_model *m, size_t param) {
    for (size_t i = 0; i < m->n_linear; i++)
        if (m->linear[i].param == param && param != m->embed)
            return true;
    return false;
}

static fp4_status read_scale(const struct fp4_model *m, const char *path, const char *name, size_t param, float *scale) {
    char beside[96];
    *scale = 1.0f;
    if (!is_weight(m, param) || !name_beside(name, "scale", beside))
        return FP4_OK;
    const struct fp4_stored *t = fp4_checkpoint_find(m->store->checkpoint, beside);
    if (!t)
        return FP4_OK;
    if (t->elements != 1 || t->dtype != FP4_F32)
        return fp4_fail(FP4_ERR_UNSUPPORTED, "%s: tensor %s: %zu numbers of type %s; one of F32 is supported", path, beside, t->elements, t->type_name);
    FP4_TRY(fp4_stored_to_f32(t, 0, 1, scale));
    return isfinite(*scale) ? FP4_OK : fp4_fail(FP4_ERR_NUMERIC, "%s: tensor %s is not finite", path, beside);
}

/* Finds every parameter's tensor. */
static fp4_status attach(struct fp4_model *m, const char *path, bool gguf) {
    for (size_t i = 0; i < m->n_params; i++) {
        const struct fp4_param *p = &m->params[i];
        char name[96];
        stored_name(m->store->checkpoint, gguf, p->name, name, sizeof name);
        const struct fp4_stored *t = fp4_checkpoint_find(m->store->checkpoint, name);
        if (!t)
            return fp4_fail(FP4_ERR_FORMAT, "%s: no tensor %s, which the configuration asks for", path, name);
        if (!has_shape(t, p))
            return fp4_fail(FP4_ERR_FORMAT, "%s: tensor %s has shape [%zu%s%zu] in %d dimensions; the configuration asks for [%zu, %zu]", path,
                            name, t->shape[0], t->n_dims > 1 ? ", " : " x ", t->n_dims > 1 ? t->shape[1] : (size_t)1, t->n_dims, p->rows, p->cols);
        float scale = 1.0f;
        if (gguf)
            FP4_TRY(read_scale(m, path, name, i, &scale));
        m->store->source[i] = (struct fp4_source){.stored = t, .scale = scale, .interleaved = gguf && fp4_gguf_interleaved(m, i)};
    }
    return FP4_OK;
}

/* A tensor that is in the file and not in the model would change the numbers (a bias, another norm): refused. A stored copy of a tied
 * head, the constant rotary frequencies of old checkpoints and OPT's version number would not; rope_freqs is in the configuration. */
static fp4_status check_unknown(struct fp4_model *m, const char *path, const struct fp4_checkpoint *c, bool gguf) {
    for (size_t i = 0; i < fp4_checkpoint_count(c); i++) {
        const char *name = fp4_checkpoint_at(c, i)->name;
        char ours[96];
        bool known = strstr(name, "rotary_emb.inv_freq") || !strcmp(name, "decoder.version") || !strcmp(name, "model.decoder.version") ||
                     (gguf && !strcmp(name, "rope_freqs.weight")) || (m->config.tied_head && (!strcmp(name, "lm_head.weight") || !strcmp(name, "output.weight")));
        for (size_t j = 0; j < m->n_params && !known; j++) {
            stored_name(c, gguf, m->params[j].name, ours, sizeof ours);
            known = strcmp(ours, name) == 0;
            for (int k = 0; k < 2 && gguf && !known && is_weight(m, j); k++) {
                char beside[96];
                known = name_beside(ours, k ? "input_scale" : "scale", beside) && strcmp(beside, name) == 0;
            }
        }
        if (!known)
            return fp4_fail(FP4_ERR_UNSUPPORTED, "%s: tensor %s has no place in this model", path, name);
    }
    return FP4_OK;
}

/* Reads everything but what stays in the file. */
static fp4_status read_weights(struct fp4_model *m) {
    size_t most = 0;
    float *host = NULL;
    for (size_t i = 0; i < m->n_params && !m->be->host_memory; i++)
        if (!fp4_weights_in_file(m, i) && m->params[i].elements > most)
            most = m->params[i].elements;
    if (most)
        FP4_TRY(FP4_NEW(host, most));
    fp4_status status = FP4_OK;
    for (size_t i = 0; i < m->n_params && status == FP4_OK; i++) {
        const struct fp4_param *p = &m->params[i];
        if (fp4_weights_in_file(m, i))
            continue;
        status = fp4_store_read(m, i, host ? host : p->data);
        if (status == FP4_OK && host)
            status = m->be->upload(p->elements, host, p->data);
    }
    fp4_free(host);
    return status;
}

static fp4_status load_into(struct fp4_model *m, const char *path, const struct fp4_load *load) {
    const struct fp4_checkpoint *c = m->store->checkpoint;
    bool gguf = strcmp(fp4_checkpoint_kind(c), "gguf") == 0;
    m->store->refuse_nonfinite = load->refuse_nonfinite;
    FP4_TRY(attach(m, path, gguf)); /* first: then there are no more parameters than tensors, and what follows costs in proportion to the file */
    FP4_TRY(check_unknown(m, path, c, gguf));
    enum fp4_weights_in where = load->weights_in;
    FP4_TRY(fp4_memory_choose(m, path, load, &where));
    if (where == FP4_WEIGHTS_FILE)
        fp4_store_lay_out(m);
    FP4_TRY(fp4_model_place(m));
    FP4_TRY(read_weights(m));
    if (where == FP4_WEIGHTS_FILE)
        return fp4_store_begin(m);
    fp4_weights_release(m);
    return FP4_OK;
}

/* A layer has several tensors: more layers than tensors are refused before memory is taken for them. */
static fp4_status shape(const char *path, const struct fp4_checkpoint *c, const struct fp4_config *config, const struct fp4_backend *backend,
                        struct fp4_model **out) {
    if (config->n_layer > fp4_checkpoint_count(c))
        return fp4_fail(FP4_ERR_FORMAT, "%s: %zu tensors cannot be the %zu layers that the configuration asks for", path, fp4_checkpoint_count(c),
                        config->n_layer);
    fp4_status status = fp4_model_shape(config, backend, out);
    return status == FP4_OK ? status : fp4_fail(status, "%s: %s", path, fp4_last_error());
}

fp4_status fp4_store_open(const char *path, const struct fp4_backend *backend, struct fp4_checkpoint **checkpoint, struct fp4_model **model) {
    struct fp4_config config;
    *model = NULL;
    FP4_TRY(fp4_checkpoint_open(path, checkpoint));
    fp4_status status = fp4_config_for(path, *checkpoint, &config);
    if (status == FP4_OK)
        status = shape(path, *checkpoint, &config, backend, model);
    if (status != FP4_OK) {
        fp4_checkpoint_close(*checkpoint);
        *checkpoint = NULL;
    }
    return status;
}

fp4_status fp4_model_open(const char *path, const struct fp4_backend *backend, const struct fp4_load *load, struct fp4_model **out) {
    struct fp4_checkpoint *c;
    struct fp4_model *m;
    *out = NULL;
    FP4_TRY(fp4_store_open(path, backend, &c, &m));
    fp4_status status = fp4_store_create(m, path, c);
    if (status != FP4_OK)
        fp4_checkpoint_close(c); /* no store owns it */
    else
        status = load_into(m, path, load);
    if (status != FP4_OK) {
        fp4_model_free(m);
        return status;
    }
    *out = m;
    return FP4_OK;
}

fp4_status fp4_model_load(const char *path, const struct fp4_backend *backend, struct fp4_model **out) {
    return fp4_model_open(path, backend, &(struct fp4_load){.weights_in = FP4_WEIGHTS_MEMORY}, out);
}
