/* Weights from checkpoints. */
#include <stdio.h>
#include <string.h>

#include "lib/model/internal.h"

/* GGUF's names of a block's tensors and ours. */
static const struct { const char *ours, *theirs; } block_names[] = {
    {"input_layernorm.weight", "attn_norm.weight"},        {"self_attn.q_proj.weight", "attn_q.weight"},
    {"self_attn.k_proj.weight", "attn_k.weight"},          {"self_attn.v_proj.weight", "attn_v.weight"},
    {"self_attn.o_proj.weight", "attn_output.weight"},     {"post_attention_layernorm.weight", "ffn_norm.weight"},
    {"mlp.gate_proj.weight", "ffn_gate.weight"},           {"mlp.up_proj.weight", "ffn_up.weight"},
    {"mlp.down_proj.weight", "ffn_down.weight"},
};

static void gguf_name(const char *ours, char *out, size_t size) {
    size_t layer;
    int end = 0;
    if (strcmp(ours, "model.embed_tokens.weight") == 0)
        snprintf(out, size, "token_embd.weight");
    else if (strcmp(ours, "model.norm.weight") == 0)
        snprintf(out, size, "output_norm.weight");
    else if (strcmp(ours, "lm_head.weight") == 0)
        snprintf(out, size, "output.weight");
    else
        snprintf(out, size, "%s", ours);
    if (sscanf(ours, "model.layers.%zu.%n", &layer, &end) != 1 || end == 0)
        return;
    for (size_t i = 0; i < sizeof block_names / sizeof *block_names; i++)
        if (strcmp(ours + end, block_names[i].ours) == 0)
            snprintf(out, size, "blk.%zu.%s", layer, block_names[i].theirs);
}

/* GGUF interleaves the halves of each query and key head: its row r is row (r mod 2)·D/2 + r div 2 of the checkpoint. */
static fp4_status deinterleave(size_t rows, size_t cols, size_t head_dim, float *x) {
    float *head;
    FP4_TRY(FP4_NEW(head, head_dim * cols));
    for (size_t first = 0; first + head_dim <= rows; first += head_dim) {
        float *at = x + first * cols;
        memcpy(head, at, head_dim * cols * sizeof *x);
        for (size_t r = 0; r < head_dim; r++)
            memcpy(at + (r % 2 * head_dim / 2 + r / 2) * cols, head + r * cols, cols * sizeof *x);
    }
    fp4_free(head);
    return FP4_OK;
}

static bool is_rotated(const struct fp4_model *m, size_t param) {
    for (size_t i = 0; i < m->n_linear; i++)
        if (m->linear[i].param == param && (m->linear[i].kind == FP4_LIN_Q || m->linear[i].kind == FP4_LIN_K))
            return true;
    return false;
}

static bool has_shape(const struct fp4_stored *t, const struct fp4_param *p) {
    return (t->n_dims == 2 && t->shape[0] == p->rows && t->shape[1] == p->cols) ||
           (t->n_dims == 1 && p->rows == 1 && t->shape[0] == p->cols);
}

static fp4_status load_param(struct fp4_model *m, const char *path, const struct fp4_checkpoint *c, bool gguf, size_t index, float *host) {
    struct fp4_param *p = &m->params[index];
    char name[96];
    snprintf(name, sizeof name, "%s", p->name);
    if (gguf)
        gguf_name(p->name, name, sizeof name);
    const struct fp4_stored *t = fp4_checkpoint_find(c, name);
    if (!t)
        return fp4_fail(FP4_ERR_FORMAT, "%s: no tensor %s, which the configuration asks for", path, name);
    if (!has_shape(t, p))
        return fp4_fail(FP4_ERR_FORMAT, "%s: tensor %s has shape [%zu%s%zu] in %d dimensions; the configuration asks for [%zu, %zu]", path, name,
                        t->shape[0], t->n_dims > 1 ? ", " : " x ", t->n_dims > 1 ? t->shape[1] : (size_t)1, t->n_dims, p->rows, p->cols);
    FP4_TRY(fp4_stored_to_f32(t, 0, t->elements, host));
    if (gguf && is_rotated(m, index))
        FP4_TRY(deinterleave(p->rows, p->cols, m->config.head_dim, host));
    return m->be->upload(p->elements, host, p->data);
}

/* A tensor that is in the file and not in the model would change the numbers (a bias, scaled rotary frequencies): refused. A
 * stored copy of a tied head and the constant rotary frequencies of old checkpoints would not. */
static fp4_status check_unknown(struct fp4_model *m, const char *path, const struct fp4_checkpoint *c, bool gguf) {
    for (size_t i = 0; i < fp4_checkpoint_count(c); i++) {
        const char *name = fp4_checkpoint_at(c, i)->name;
        char ours[96];
        bool known = strstr(name, "rotary_emb.inv_freq") || (m->config.tied_head && (!strcmp(name, "lm_head.weight") || !strcmp(name, "output.weight")));
        for (size_t j = 0; j < m->n_params && !known; j++) {
            snprintf(ours, sizeof ours, "%s", m->params[j].name);
            if (gguf)
                gguf_name(m->params[j].name, ours, sizeof ours);
            known = strcmp(ours, name) == 0;
        }
        if (!known)
            return fp4_fail(FP4_ERR_UNSUPPORTED, "%s: tensor %s has no place in this model", path, name);
    }
    return FP4_OK;
}

static fp4_status load_all(struct fp4_model *m, const char *path, const struct fp4_checkpoint *c) {
    bool gguf = strcmp(fp4_checkpoint_kind(c), "gguf") == 0;
    size_t most = 0;
    float *host;
    FP4_TRY(check_unknown(m, path, c, gguf));
    for (size_t i = 0; i < m->n_params; i++)
        most = m->params[i].elements > most ? m->params[i].elements : most;
    FP4_TRY(FP4_NEW(host, most));
    fp4_status status = FP4_OK;
    for (size_t i = 0; i < m->n_params && status == FP4_OK; i++)
        status = load_param(m, path, c, gguf, i, host);
    fp4_free(host);
    return status;
}

fp4_status fp4_model_load(const char *path, const struct fp4_backend *backend, struct fp4_model **out) {
    struct fp4_checkpoint *c;
    struct fp4_config config;
    struct fp4_model *m = NULL;
    *out = NULL;
    FP4_TRY(fp4_checkpoint_open(path, &c));
    fp4_status status = fp4_config_for(path, c, &config);
    if (status == FP4_OK)
        status = fp4_model_build(&config, backend, &m);
    if (status == FP4_OK)
        status = load_all(m, path, c);
    fp4_checkpoint_close(c);
    if (status != FP4_OK) {
        fp4_model_free(m);
        return status;
    }
    *out = m;
    return FP4_OK;
}
