/* Parameters and linear layers of a configuration. */
#include <stdio.h>
#include <string.h>

#include "lib/model/internal.h"

static size_t add_param(struct fp4_model *m, const char *name, size_t rows, size_t cols) {
    struct fp4_param *p = &m->params[m->n_params];
    snprintf(p->name, sizeof p->name, "%s", name);
    p->rows = rows;
    p->cols = cols;
    return m->n_params++;
}

static size_t add_norm(struct fp4_model *m, size_t layer, const char *name) {
    char full[96];
    snprintf(full, sizeof full, "model.layers.%zu.%s.weight", layer, name);
    return add_param(m, full, 1, m->config.n_embd);
}

static size_t add_linear(struct fp4_model *m, enum fp4_linear_kind kind, size_t layer, const char *name, size_t n_out, size_t n_in) {
    struct fp4_linear *l = &m->linear[m->n_linear];
    snprintf(l->name, sizeof l->name, "model.layers.%zu.%s.weight", layer, name);
    l->kind = kind;
    l->layer = layer;
    l->n_out = n_out;
    l->n_in = n_in;
    l->param = add_param(m, l->name, n_out, n_in);
    return m->n_linear++;
}

static void add_head(struct fp4_model *m) {
    const struct fp4_config *c = &m->config;
    struct fp4_linear *l = &m->linear[m->n_linear];
    snprintf(l->name, sizeof l->name, "lm_head.weight");
    l->kind = FP4_LIN_HEAD;
    l->layer = c->n_layer;
    l->n_out = c->n_vocab;
    l->n_in = c->n_embd;
    l->param = c->tied_head ? m->embed : add_param(m, l->name, c->n_vocab, c->n_embd);
    m->head = m->n_linear++;
}

static void add_block(struct fp4_model *m, size_t i) {
    const struct fp4_config *c = &m->config;
    struct fp4_block *b = &m->block[i];
    size_t d = c->n_embd, width = c->n_head * c->head_dim, kv = c->n_kv_head * c->head_dim;
    b->q = b->k = b->v = b->qkv = b->gate = SIZE_MAX;
    b->norm1 = add_norm(m, i, "input_layernorm");
    if (c->arch == FP4_ARCH_WRITEUP_D) {
        b->qkv = add_linear(m, FP4_LIN_QKV, i, "self_attn.qkv_proj", width + 2 * kv, d);
    } else {
        b->q = add_linear(m, FP4_LIN_Q, i, "self_attn.q_proj", width, d);
        b->k = add_linear(m, FP4_LIN_K, i, "self_attn.k_proj", kv, d);
        b->v = add_linear(m, FP4_LIN_V, i, "self_attn.v_proj", kv, d);
    }
    b->o = add_linear(m, FP4_LIN_O, i, "self_attn.o_proj", d, width);
    b->norm2 = add_norm(m, i, "post_attention_layernorm");
    if (c->arch != FP4_ARCH_WRITEUP_D)
        b->gate = add_linear(m, FP4_LIN_GATE, i, "mlp.gate_proj", c->n_ff, d);
    b->up = add_linear(m, FP4_LIN_UP, i, "mlp.up_proj", c->n_ff, d);
    b->down = add_linear(m, FP4_LIN_DOWN, i, "mlp.down_proj", d, c->n_ff);
}

static fp4_status check(const struct fp4_config *c) {
    if (!c->n_vocab || !c->n_embd || !c->n_layer || !c->n_head || !c->n_kv_head || !c->head_dim || !c->n_ff || !c->n_ctx)
        return fp4_fail(FP4_ERR_ARG, "model configuration: a size is 0");
    if (c->n_vocab > INT32_MAX || c->n_head % c->n_kv_head)
        return fp4_fail(FP4_ERR_ARG, "model configuration: %zu tokens, %zu query heads on %zu key-value heads", c->n_vocab, c->n_head,
                        c->n_kv_head);
    if (c->head_dim % (c->arch == FP4_ARCH_WRITEUP_D ? 4 : 2))
        return fp4_fail(FP4_ERR_ARG, "model configuration: heads of %zu channels cannot be rotated", c->head_dim);
    return FP4_OK;
}

static size_t padded(const struct fp4_param *p) { return (p->elements + FP4_PARAM_ALIGN - 1) / FP4_PARAM_ALIGN * FP4_PARAM_ALIGN; }

static fp4_status measure(struct fp4_model *m) {
    size_t total = 0, bytes;
    for (size_t i = 0; i < m->n_params; i++) {
        struct fp4_param *p = &m->params[i];
        if (!fp4_size_mul(p->rows, p->cols, &p->elements) || !fp4_size_add(total, p->elements, &total) ||
            !fp4_size_add(total, FP4_PARAM_ALIGN, &total) || !fp4_size_mul(total, 4 * sizeof(float), &bytes))
            return fp4_fail(FP4_ERR_ARG, "model configuration: %s is too large", p->name);
        m->n_elements += p->elements;
    }
    return FP4_OK;
}

/* All but what stays in the file, in one allocation. */
fp4_status fp4_model_place(struct fp4_model *m) {
    m->n_stored = 0;
    for (size_t i = 0; i < m->n_params; i++)
        if (!fp4_weights_in_file(m, i))
            m->n_stored += padded(&m->params[i]);
    FP4_TRY(m->be->alloc(m->n_stored, &m->data));
    float *at = m->data;
    for (size_t i = 0; i < m->n_params; i++) {
        if (fp4_weights_in_file(m, i))
            continue;
        m->params[i].data = at;
        at += padded(&m->params[i]);
    }
    return FP4_OK;
}

static fp4_status fill(struct fp4_model *m) {
    const struct fp4_config *c = &m->config;
    size_t most;
    if (!fp4_size_mul(c->n_layer, 9, &most) || !fp4_size_add(most, 3, &most))
        return fp4_fail(FP4_ERR_ARG, "model configuration: %zu layers", c->n_layer);
    FP4_TRY(FP4_NEW(m->params, most));
    FP4_TRY(FP4_NEW(m->linear, most));
    FP4_TRY(FP4_NEW(m->block, c->n_layer));
    FP4_TRY(FP4_NEW(m->arena.block, c->n_layer));
    FP4_TRY(FP4_NEW(m->fresh, most));
    m->embed = add_param(m, "model.embed_tokens.weight", c->n_vocab, c->n_embd);
    for (size_t i = 0; i < c->n_layer; i++)
        add_block(m, i);
    m->final_norm = add_param(m, "model.norm.weight", 1, c->n_embd);
    add_head(m);
    return measure(m);
}

fp4_status fp4_model_shape(const struct fp4_config *config, const struct fp4_backend *backend, struct fp4_model **out) {
    struct fp4_model *m;
    *out = NULL;
    FP4_TRY(check(config));
    FP4_TRY(fp4_blas_init());
    FP4_TRY(FP4_NEW(m, 1));
    m->be = backend;
    m->config = *config;
    fp4_status status = fill(m);
    if (status != FP4_OK) {
        fp4_model_free(m);
        return status;
    }
    *out = m;
    return FP4_OK;
}

fp4_status fp4_model_build(const struct fp4_config *config, const struct fp4_backend *backend, struct fp4_model **out) {
    struct fp4_model *m;
    *out = NULL;
    FP4_TRY(fp4_model_shape(config, backend, &m));
    fp4_status status = fp4_model_place(m);
    if (status != FP4_OK) {
        fp4_model_free(m);
        return status;
    }
    *out = m;
    return FP4_OK;
}

void fp4_model_free(struct fp4_model *m) {
    if (!m)
        return;
    fp4_arena_release(m);
    fp4_weights_release(m);
    m->be->free(m->data);
    m->be->free(m->grad);
    fp4_free(m->params);
    fp4_free(m->linear);
    fp4_free(m->block);
    fp4_free(m->arena.block);
    fp4_free(m->fresh);
    fp4_free(m);
}

const struct fp4_config *fp4_model_config(const struct fp4_model *m) { return &m->config; }
size_t fp4_model_n_params(const struct fp4_model *m) { return m->n_params; }
struct fp4_param *fp4_model_param(struct fp4_model *m, size_t i) { return &m->params[i]; }
size_t fp4_model_n_elements(const struct fp4_model *m) { return m->n_elements; }
size_t fp4_model_n_linear(const struct fp4_model *m) { return m->n_linear; }
struct fp4_linear *fp4_model_linear(struct fp4_model *m, size_t i) { return &m->linear[i]; }

struct fp4_param *fp4_model_find_param(struct fp4_model *m, const char *name) {
    for (size_t i = 0; i < m->n_params; i++)
        if (strcmp(m->params[i].name, name) == 0)
            return &m->params[i];
    return NULL;
}

void fp4_model_set_policy(struct fp4_model *m, const struct fp4_policy *policy, bool head_too) {
    const struct fp4_policy none = {0};
    for (size_t i = 0; i < m->n_linear; i++)
        m->linear[i].policy = policy && (head_too || i != m->head) ? *policy : none;
}
void fp4_model_set_pass(struct fp4_model *m, const struct fp4_pass *pass) { m->pass = *pass; }
void fp4_model_set_hook(struct fp4_model *m, fp4_linear_hook hook, void *context) {
    m->hook = hook;
    m->hook_context = context;
}

const char *fp4_linear_kind_name(enum fp4_linear_kind k) {
    static const char *const names[] = {"q", "k", "v", "qkv", "o", "gate", "up", "down", "head"};
    return (size_t)k < sizeof names / sizeof *names ? names[k] : "?";
}
