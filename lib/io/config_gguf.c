/* The configuration in GGUF metadata (keys llama.*, tokenizer.ggml.*). Defaults are llama.cpp's. */
#include <math.h>
#include <string.h>

#include "lib/io/checkpoint.h"
#include "lib/io/config.h"

static fp4_status get_size(const struct fp4_checkpoint *c, const char *key, bool required, size_t *out) {
    const struct fp4_meta *m = fp4_gguf_meta_find(c, key);
    const char *path = c->files[0].path;
    if (!m)
        return required ? fp4_fail(FP4_ERR_FORMAT, "%s: key %s is missing", path, key) : FP4_OK;
    if (m->kind == FP4_META_ARRAY)
        return fp4_fail(FP4_ERR_UNSUPPORTED, "%s: %s differs from layer to layer, which is not supported", path, key);
    if (m->kind != FP4_META_INT || m->integer < 0)
        return fp4_fail(FP4_ERR_FORMAT, "%s: key %s is not a size", path, key);
    *out = (size_t)m->integer;
    return FP4_OK;
}

static fp4_status get_number(const struct fp4_checkpoint *c, const char *key, double *out) {
    const struct fp4_meta *m = fp4_gguf_meta_find(c, key);
    if (!m)
        return FP4_OK;
    if (m->kind != FP4_META_INT && m->kind != FP4_META_FLOAT)
        return fp4_fail(FP4_ERR_FORMAT, "%s: key %s is not a number", c->files[0].path, key);
    *out = m->number;
    return FP4_OK;
}

static fp4_status get_id(const struct fp4_checkpoint *c, const char *key, int *out) {
    size_t id = SIZE_MAX;
    FP4_TRY(get_size(c, key, false, &id));
    *out = id > INT32_MAX ? -1 : (int)id;
    return FP4_OK;
}

static bool is_string(const struct fp4_checkpoint *c, const char *key, const char *value) {
    const char *string = fp4_gguf_meta_string(c, key);
    return string && strcmp(string, value) == 0;
}

static fp4_status refuse_unsupported(const struct fp4_checkpoint *c) {
    static const char *const off[] = {"llama.expert_count", "llama.attention.sliding_window", "llama.attn_logit_softcapping",
                                      "llama.final_logit_softcapping", "llama.logit_scale", "llama.residual_scale",
                                      "llama.embedding_scale", "llama.attention.scale"};
    const char *path = c->files[0].path;
    for (size_t i = 0; i < sizeof off / sizeof *off; i++) {
        double value = 0;
        FP4_TRY(get_number(c, off[i], &value));
        if (value != 0)
            return fp4_fail(FP4_ERR_UNSUPPORTED, "%s: %s = %g is not supported", path, off[i], value);
    }
    return FP4_OK;
}

/* Converters write Llama 3's smooth step as rope_freqs.weight, a divisor for every channel pair. Where it is that of Llama 3.1 to 3.3 (low 1, high 4,
 * original context 8192), the configuration says so, and config.json can say it too; otherwise the divisors are kept as they are. */
static void recognise_llama3(struct fp4_config *out) {
    struct fp4_config named = *out;
    float largest = 0;
    for (size_t i = 0; i < out->head_dim / 2; i++)
        largest = out->rope.divisor[i] > largest ? out->rope.divisor[i] : largest;
    named.rope = (struct fp4_rope){FP4_ROPE_LLAMA3, (double)largest, 1, 4, 8192, {0}};
    for (size_t i = 0; i < out->head_dim / 2; i++)
        if (fabs(fp4_rope_divisor(&named, i) / (double)out->rope.divisor[i] - 1) > 1e-5) /* the file's are fp32, from fp32 frequencies */
            return;
    out->rope = named.rope;
}

static fp4_status read_divisors(const struct fp4_checkpoint *c, double linear, struct fp4_config *out) {
    const struct fp4_stored *t = fp4_checkpoint_find(c, "rope_freqs.weight");
    const char *path = c->files[0].path;
    if (!t)
        return FP4_OK;
    size_t n = out->head_dim / 2;
    if (t->elements != n || n > FP4_ROPE_PAIRS)
        return fp4_fail(FP4_ERR_UNSUPPORTED, "%s: tensor rope_freqs.weight has %zu elements for heads of %zu channels; half as many, and at most %d, "
                                             "are supported", path, t->elements, out->head_dim, FP4_ROPE_PAIRS);
    out->rope = (struct fp4_rope){.kind = FP4_ROPE_DIVISORS};
    FP4_TRY(fp4_stored_to_f32(t, 0, n, out->rope.divisor));
    if (linear == 1)
        recognise_llama3(out);
    for (size_t i = 0; linear != 1 && i < n; i++)
        out->rope.divisor[i] *= (float)linear;
    return FP4_OK;
}

static fp4_status read_rope(const struct fp4_checkpoint *c, struct fp4_config *out) {
    const struct fp4_meta *scaling = fp4_gguf_meta_find(c, "llama.rope.scaling.type");
    double linear = 1;
    FP4_TRY(get_number(c, "llama.rope.freq_base", &out->rope_theta));
    FP4_TRY(get_number(c, "llama.rope.scale_linear", &linear)); /* the older key */
    if (is_string(c, "llama.rope.scaling.type", "linear"))
        FP4_TRY(get_number(c, "llama.rope.scaling.factor", &linear));
    else if (scaling && !is_string(c, "llama.rope.scaling.type", "none"))
        return fp4_fail(FP4_ERR_UNSUPPORTED, "%s: llama.rope.scaling.type = %s is not supported; none and linear are", c->files[0].path,
                        scaling->kind == FP4_META_STRING ? scaling->string : scaling->type_name);
    if (linear != 1)
        out->rope = (struct fp4_rope){.kind = FP4_ROPE_LINEAR, .factor = linear};
    return read_divisors(c, linear, out);
}

static fp4_status read_vocab(const struct fp4_checkpoint *c, struct fp4_config *out) {
    const struct fp4_stored *embedding = fp4_checkpoint_find(c, "token_embd.weight");
    if (embedding && embedding->n_dims == 2)
        out->n_vocab = embedding->shape[0];
    return get_size(c, "llama.vocab_size", out->n_vocab == 0, &out->n_vocab);
}

static fp4_status read_heads(const struct fp4_checkpoint *c, struct fp4_config *out) {
    FP4_TRY(get_size(c, "llama.attention.head_count", true, &out->n_head));
    out->n_kv_head = out->n_head;
    FP4_TRY(get_size(c, "llama.attention.head_count_kv", false, &out->n_kv_head));
    out->head_dim = out->n_head ? out->n_embd / out->n_head : 0;
    FP4_TRY(get_size(c, "llama.attention.key_length", false, &out->head_dim));
    size_t value = out->head_dim, rotated = out->head_dim;
    FP4_TRY(get_size(c, "llama.attention.value_length", false, &value));
    FP4_TRY(get_size(c, "llama.rope.dimension_count", false, &rotated));
    if (value != out->head_dim || rotated != out->head_dim)
        return fp4_fail(FP4_ERR_UNSUPPORTED, "%s: heads of %zu with values of %zu and %zu rotated channels are not supported",
                        c->files[0].path, out->head_dim, value, rotated);
    return FP4_OK;
}

fp4_status fp4_config_from_gguf(const struct fp4_checkpoint *c, struct fp4_config *out) {
    const char *path = c->files[0].path;
    *out = (struct fp4_config){.arch = FP4_ARCH_LLAMA, .n_ctx = 2048, .rope_theta = 10000, .bos_id = -1, .eos_id = -1};
    if (!is_string(c, "general.architecture", "llama")) {
        const char *architecture = fp4_gguf_meta_string(c, "general.architecture");
        return fp4_fail(FP4_ERR_UNSUPPORTED, "%s: architecture %s is not supported; llama is", path, architecture ? architecture : "(missing)");
    }
    FP4_TRY(refuse_unsupported(c));
    FP4_TRY(get_size(c, "llama.embedding_length", true, &out->n_embd));
    FP4_TRY(get_size(c, "llama.block_count", true, &out->n_layer));
    FP4_TRY(get_size(c, "llama.feed_forward_length", true, &out->n_ff));
    FP4_TRY(get_size(c, "llama.context_length", false, &out->n_ctx));
    FP4_TRY(read_vocab(c, out));
    FP4_TRY(read_heads(c, out));
    double eps = 1e-6;
    FP4_TRY(get_number(c, "llama.attention.layer_norm_rms_epsilon", &eps));
    out->norm_eps = (float)eps;
    FP4_TRY(read_rope(c, out));
    out->attention_bias = fp4_checkpoint_find(c, "blk.0.attn_q.bias") != NULL;
    out->mlp_bias = fp4_checkpoint_find(c, "blk.0.ffn_up.bias") != NULL;
    FP4_TRY(get_id(c, "tokenizer.ggml.bos_token_id", &out->bos_id));
    FP4_TRY(get_id(c, "tokenizer.ggml.eos_token_id", &out->eos_id));
    const struct fp4_meta *add = fp4_gguf_meta_find(c, "tokenizer.ggml.add_bos_token");
    out->add_bos = add ? add->kind == FP4_META_BOOL && add->integer : is_string(c, "tokenizer.ggml.model", "llama");
    out->tied_head = fp4_checkpoint_find(c, "output.weight") == NULL;
    return io_config_check(path, out);
}
