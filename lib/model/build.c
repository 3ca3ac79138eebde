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

/* What the families call a block's parts. */
struct names {
    const char *root, *norm1, *q, *k, *v, *qkv, *o, *norm2, *gate, *up, *down, *final_norm;
};
static const struct names *names_of(const struct fp4_config *c) {
    static const struct names llama = {
        .root = "model", .norm1 = "input_layernorm", .q = "self_attn.q_proj", .k = "self_attn.k_proj", .v = "self_attn.v_proj",
        .qkv = "self_attn.qkv_proj", .o = "self_attn.o_proj", .norm2 = "post_attention_layernorm", .gate = "mlp.gate_proj",
        .up = "mlp.up_proj", .down = "mlp.down_proj", .final_norm = "norm"};
    static const struct names opt = {
        .root = "model.decoder", .norm1 = "self_attn_layer_norm", .q = "self_attn.q_proj", .k = "self_attn.k_proj", .v = "self_attn.v_proj",
        .o = "self_attn.out_proj", .norm2 = "final_layer_norm", .up = "fc1", .down = "fc2", .final_norm = "final_layer_norm"};
    return c->arch == FP4_ARCH_OPT ? &opt : &llama;
}

/* "root.layers.i.name", or "root.name" outside the blocks (layer = n_layer). */
static const char *full_name(const struct fp4_model *m, size_t layer, const char *name, char out[80]) {
    const char *root = names_of(&m->config)->root;
    if (layer < m->config.n_layer)
        snprintf(out, 80, "%s.layers.%zu.%s", root, layer, name);
    else
        snprintf(out, 80, "%s.%s", root, name);
    return out;
}

static size_t add_part(struct fp4_model *m, const char *stem, const char *part, size_t rows, size_t cols) {
    char name[96];
    snprintf(name, sizeof name, "%s.%s", stem, part);
    return add_param(m, name, rows, cols);
}

static struct fp4_norm add_norm(struct fp4_model *m, size_t layer, const char *name) {
    char stem[80];
    struct fp4_norm n = {SIZE_MAX, SIZE_MAX};
    full_name(m, layer, name, stem);
    n.weight = add_part(m, stem, "weight", 1, m->config.n_embd);
    if (fp4_layer_norm(&m->config))
        n.bias = add_part(m, stem, "bias", 1, m->config.n_embd);
    return n;
}

static size_t add_linear(struct fp4_model *m, enum fp4_linear_kind kind, size_t layer, const char *name, size_t n_out, size_t n_in, bool bias) {
    struct fp4_linear *l = &m->linear[m->n_linear];
    char stem[80];
    full_name(m, layer, name, stem);
    snprintf(l->name, sizeof l->name, "%s.weight", stem);
    l->kind = kind;
    l->layer = layer;
    l->n_out = n_out;
    l->n_in = n_in;
    l->param = add_param(m, l->name, n_out, n_in);
    l->bias = bias ? add_part(m, stem, "bias", 1, n_out) : SIZE_MAX;
    return m->n_linear++;
}

static void add_head(struct fp4_model *m) {
    const struct fp4_config *c = &m->config;
    struct fp4_linear *l = &m->linear[m->n_linear];
    snprintf(l->name, sizeof l->name, "lm_head.weight");
    l->kind = FP4_LIN_HEAD;
    l->layer = c->n_layer;
    l->n_out = c->n_vocab;
    l->n_in = fp4_model_width(m);
    l->param = c->tied_head ? m->embed : add_param(m, l->name, c->n_vocab, l->n_in);
    l->bias = SIZE_MAX;
    m->head = m->n_linear++;
}

static void add_block(struct fp4_model *m, size_t i) {
    const struct fp4_config *c = &m->config;
    const struct names *n = names_of(c);
    struct fp4_block *b = &m->block[i];
    size_t d = c->n_embd, width = c->n_head * c->head_dim, kv = c->n_kv_head * c->head_dim;
    b->q = b->k = b->v = b->qkv = b->gate = SIZE_MAX;
    b->norm1 = add_norm(m, i, n->norm1);
    if (fp4_packed(c)) {
        b->qkv = add_linear(m, FP4_LIN_QKV, i, n->qkv, width + 2 * kv, d, false);
    } else {
        b->q = add_linear(m, FP4_LIN_Q, i, n->q, width, d, c->attention_bias);
        b->k = add_linear(m, FP4_LIN_K, i, n->k, kv, d, c->attention_bias);
        b->v = add_linear(m, FP4_LIN_V, i, n->v, kv, d, c->attention_bias);
    }
    b->o = add_linear(m, FP4_LIN_O, i, n->o, d, width, c->attention_bias);
    b->norm2 = add_norm(m, i, n->norm2);
    if (fp4_gated(c))
        b->gate = add_linear(m, FP4_LIN_GATE, i, n->gate, c->n_ff, d, c->mlp_bias);
    b->up = add_linear(m, FP4_LIN_UP, i, n->up, c->n_ff, d, c->mlp_bias);
    b->down = add_linear(m, FP4_LIN_DOWN, i, n->down, d, c->n_ff, c->mlp_bias);
}

/* Everything outside the blocks but the head: before them, and after them. */
static void add_entry(struct fp4_model *m) {
    const struct fp4_config *c = &m->config;
    char stem[80];
    m->embed = add_part(m, full_name(m, c->n_layer, "embed_tokens", stem), "weight", c->n_vocab, fp4_model_width(m));
    m->positions = m->project_in = SIZE_MAX;
    if (c->arch != FP4_ARCH_OPT)
        return;
    m->positions = add_part(m, full_name(m, c->n_layer, "embed_positions", stem), "weight", c->n_ctx + OPT_POSITION_OFFSET, c->n_embd);
    if (c->n_word)
        m->project_in = add_linear(m, FP4_LIN_PROJECT_IN, c->n_layer, "project_in", c->n_embd, c->n_word, false);
}
static void add_exit(struct fp4_model *m) {
    const struct fp4_config *c = &m->config;
    m->final_norm = (struct fp4_norm){SIZE_MAX, SIZE_MAX};
    if (!c->norm_after && !c->no_final_norm)
        m->final_norm = add_norm(m, c->n_layer, names_of(c)->final_norm);
    m->project_out = c->n_word ? add_linear(m, FP4_LIN_PROJECT_OUT, c->n_layer, "project_out", c->n_word, c->n_embd, false) : SIZE_MAX;
}

static fp4_status check(const struct fp4_config *c) {
    if (!c->n_vocab || !c->n_embd || !c->n_layer || !c->n_head || !c->n_kv_head || !c->head_dim || !c->n_ff || !c->n_ctx)
        return fp4_fail(FP4_ERR_ARG, "model configuration: a size is 0");
    if (c->n_vocab > INT32_MAX || c->n_head % c->n_kv_head)
        return fp4_fail(FP4_ERR_ARG, "model configuration: %zu tokens, %zu query heads on %zu key-value heads", c->n_vocab, c->n_head,
                        c->n_kv_head);
    if (c->n_word > INT32_MAX || (c->n_word && c->arch != FP4_ARCH_OPT))
        return fp4_fail(FP4_ERR_ARG, "model configuration: an embedding of width %zu", c->n_word);
    if (c->rope.kind == FP4_ROPE_DIVISORS && c->head_dim / 2 > FP4_ROPE_PAIRS)
        return fp4_fail(FP4_ERR_ARG, "model configuration: rotary divisors for heads of %zu channels", c->head_dim);
    if (fp4_rotary(c) && c->head_dim % (c->arch == FP4_ARCH_WRITEUP_D ? 4 : 2))
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
    size_t most, linear;
    /* 7 linear layers and 2 norms, each with a bias; beside the blocks 7 parameters, 3 linear layers */
    if (!fp4_size_mul(c->n_layer, 18, &most) || !fp4_size_add(most, 7, &most) || !fp4_size_mul(c->n_layer, 7, &linear) || !fp4_size_add(linear, 3, &linear))
        return fp4_fail(FP4_ERR_ARG, "model configuration: %zu layers", c->n_layer);
    FP4_TRY(FP4_NEW(m->params, most));
    FP4_TRY(FP4_NEW(m->linear, linear));
    FP4_TRY(FP4_NEW(m->block, c->n_layer));
    FP4_TRY(FP4_NEW(m->arena.block, c->n_layer));
    FP4_TRY(FP4_NEW(m->fresh, most));
    add_entry(m);
    for (size_t i = 0; i < c->n_layer; i++)
        add_block(m, i);
    add_exit(m);
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
size_t fp4_model_width(const struct fp4_model *m) { return m->config.n_word ? m->config.n_word : m->config.n_embd; }
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
        m->linear[i].policy = policy && (head_too || m->linear[i].layer < m->config.n_layer) ? *policy : none;
}
void fp4_model_set_pass(struct fp4_model *m, const struct fp4_pass *pass) { m->pass = *pass; }
void fp4_model_set_hook(struct fp4_model *m, fp4_linear_hook hook, void *context) {
    m->hook = hook;
    m->hook_context = context;
}
