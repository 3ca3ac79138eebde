/* GGUF files of the llama architecture, as llama.cpp's converter lays them out. */
#include <string.h>

#include "lib/io/gguf_write.h"
#include "lib/model/export.h"
#include "lib/model/gguf_layout.h"
#include "lib/text/vocab.h"

#include <unistd.h>

/* general.file_type: llama.cpp's number for what most tensors are. */
static fp4_status file_type(enum fp4_dtype t, uint32_t *out) {
    static const struct {
        enum fp4_dtype type;
        uint32_t number;
    } types[] = {{FP4_F32, 0}, {FP4_F16, 1}, {FP4_GGUF_Q8_0, 7}, {FP4_BF16, 32}, {FP4_GGUF_MXFP4, 38}};
    for (size_t i = 0; i < sizeof types / sizeof *types; i++)
        if (types[i].type == t) {
            *out = types[i].number;
            return FP4_OK;
        }
    return fp4_fail(FP4_ERR_ARG, "weights of type %s: a GGUF file is written with F32, F16, BF16, Q8_0 or MXFP4", fp4_dtype_name(t));
}

static void put_text(struct gguf_pairs *p, const char *key, const char *value) { gguf_put_string(p, key, value, strlen(value)); }

static void put_sizes(const struct fp4_config *c, struct gguf_pairs *p) {
    gguf_put_u32(p, "llama.block_count", (uint32_t)c->n_layer);
    gguf_put_u32(p, "llama.context_length", (uint32_t)c->n_ctx);
    gguf_put_u32(p, "llama.embedding_length", (uint32_t)c->n_embd);
    gguf_put_u32(p, "llama.feed_forward_length", (uint32_t)c->n_ff);
    gguf_put_u32(p, "llama.attention.head_count", (uint32_t)c->n_head);
    gguf_put_u32(p, "llama.attention.head_count_kv", (uint32_t)c->n_kv_head);
    gguf_put_u32(p, "llama.attention.key_length", (uint32_t)c->head_dim);
    gguf_put_u32(p, "llama.attention.value_length", (uint32_t)c->head_dim);
    gguf_put_u32(p, "llama.rope.dimension_count", (uint32_t)c->head_dim);
    gguf_put_u32(p, "llama.vocab_size", (uint32_t)c->n_vocab);
    gguf_put_f32(p, "llama.attention.layer_norm_rms_epsilon", c->norm_eps);
    gguf_put_f32(p, "llama.rope.freq_base", (float)c->rope_theta);
    if (c->rope.kind == FP4_ROPE_LINEAR) {
        put_text(p, "llama.rope.scaling.type", "linear");
        gguf_put_f32(p, "llama.rope.scaling.factor", (float)c->rope.factor);
    }
}

static void put_ids(const struct fp4_config *c, struct gguf_pairs *p) {
    if (c->bos_id >= 0)
        gguf_put_u32(p, "tokenizer.ggml.bos_token_id", (uint32_t)c->bos_id);
    if (c->eos_id >= 0)
        gguf_put_u32(p, "tokenizer.ggml.eos_token_id", (uint32_t)c->eos_id);
    gguf_put_bool(p, "tokenizer.ggml.add_bos_token", c->add_bos);
}

static fp4_status put_metadata(const struct fp4_model *m, const char *tokenizer, const struct fp4_export *o, struct gguf_pairs *p) {
    uint32_t type = 0;
    FP4_TRY(file_type(o->dtype, &type));
    put_text(p, "general.architecture", "llama");
    put_text(p, "general.type", "model");
    gguf_put_u32(p, "general.file_type", type);
    if (o->dtype == FP4_GGUF_Q8_0 || o->dtype == FP4_GGUF_MXFP4)
        gguf_put_u32(p, "general.quantization_version", 2);
    put_sizes(&m->config, p);
    if (tokenizer)
        return vocab_pairs(tokenizer, &m->config, p);
    put_ids(&m->config, p);
    return p->status;
}

struct layout {
    struct fp4_tensor_out *tensors;
    char (*names)[96];
    size_t n;
    uint64_t bytes;
    float divisors[FP4_ROPE_PAIRS];
};

/* Rotary divisors that are not one factor stand in a tensor of their own. */
static fp4_status add_divisors(const struct fp4_config *c, struct layout *l) {
    size_t n = c->head_dim / 2;
    if (c->rope.kind != FP4_ROPE_LLAMA3 && c->rope.kind != FP4_ROPE_DIVISORS)
        return FP4_OK;
    if (n > FP4_ROPE_PAIRS)
        return fp4_fail(FP4_ERR_UNSUPPORTED, "rotary divisors of %zu channel pairs; at most %d", n, FP4_ROPE_PAIRS);
    for (size_t i = 0; i < n; i++)
        l->divisors[i] = (float)fp4_rope_divisor(c, i);
    l->tensors[l->n++] = (struct fp4_tensor_out){.name = "rope_freqs.weight", .dtype = FP4_F32, .n_dims = 1, .shape = {n}, .data = l->divisors};
    return FP4_OK;
}

/* MXFP4 is for linear layers within blocks; embedding and head keep 16 bits. */
static enum fp4_dtype type_of(const struct fp4_model *m, size_t param, enum fp4_dtype wanted) {
    const struct fp4_param *p = &m->params[param];
    bool linear = false;
    if (p->rows <= 1)
        return FP4_F32;
    for (size_t i = 0; i < m->n_linear; i++)
        linear |= m->linear[i].param == param && m->linear[i].layer < m->config.n_layer;
    if (wanted == FP4_GGUF_Q8_0)
        return p->cols % 32 ? FP4_F16 : wanted;
    if (wanted == FP4_GGUF_MXFP4)
        return p->cols % 32 || !linear ? FP4_BF16 : wanted;
    return wanted;
}

static fp4_status lay_out(const struct fp4_model *m, const struct fp4_export *o, struct layout *l) {
    FP4_TRY(FP4_NEW(l->tensors, m->n_params + 1));
    FP4_TRY(FP4_NEW(l->names, m->n_params));
    for (; l->n < m->n_params; l->n++) {
        const struct fp4_param *p = &m->params[l->n];
        fp4_gguf_name(p->name, l->names[l->n], sizeof l->names[0]);
        FP4_TRY(fp4_exporter_tensor(p, l->names[l->n], type_of(m, l->n, o->dtype), &l->tensors[l->n], &l->bytes));
    }
    return add_divisors(&m->config, l);
}

static fp4_status values(void *context, size_t i, float *x) {
    struct fp4_exporter *e = context;
    FP4_TRY(fp4_exporter_values(e, i, x));
    return fp4_gguf_interleaved(e->m, i) ? fp4_gguf_reorder(&e->m->params[i], e->m->config.head_dim, true, x) : FP4_OK;
}

static fp4_status check(const struct fp4_model *m, const char *path, const struct fp4_export *o) {
    static const char *const families[] = {[FP4_ARCH_LLAMA] = "llama", [FP4_ARCH_OPT] = "OPT", [FP4_ARCH_WRITEUP_D] = "the training write-up's net"};
    if (m->config.arch != FP4_ARCH_LLAMA)
        return fp4_fail(FP4_ERR_UNSUPPORTED, "%s: llama.cpp has no architecture for %s; write a folder", path, families[m->config.arch]);
    if (!o->force && access(path, F_OK) == 0)
        return fp4_fail(FP4_ERR_ARG, "%s: is there already; --force writes over it", path);
    return fp4_exporter_check(m, o);
}

fp4_status fp4_model_export_gguf(struct fp4_model *m, const char *path, const char *tokenizer, const struct fp4_export *o, uint64_t *bytes) {
    struct fp4_exporter e = {.m = m, .o = o};
    struct gguf_pairs pairs = {0};
    struct layout l = {0};
    FP4_TRY(check(m, path, o));
    fp4_status status = put_metadata(m, tokenizer, o, &pairs);
    if (status == FP4_OK)
        status = lay_out(m, o, &l);
    if (status == FP4_OK) {
        fp4_progress_begin(&e.bar, "writing", (double)m->n_elements);
        status = gguf_write(path, &pairs, l.tensors, l.n, values, &e);
        fp4_progress_end(&e.bar);
    }
    if (bytes)
        *bytes = l.bytes;
    gguf_pairs_free(&pairs);
    fp4_free(l.tensors);
    fp4_free(l.names);
    return status;
}
