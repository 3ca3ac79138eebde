/* config.json, as transformers 4 (rope_theta, rope_scaling, torch_dtype) and 5 (rope_parameters, dtype) write it. Defaults are those of
 * transformers' LlamaConfig, MistralConfig and OPTConfig. */
#include <string.h>

#include "lib/io/config.h"
#include "lib/io/config_fields.h"

/* ---- rotation ---- */

static bool same(const char *a, const char *b) { return a && strcmp(a, b) == 0; }

/* A number that a kind of scaling cannot do without. */
static fp4_status need(const struct fields *f, const struct fields *rope, const char *name, const char *part, double *out) {
    if (!field(rope, part))
        return fp4_fail(FP4_ERR_FORMAT, "%s: %s without %s", f->path, name, part);
    return field_number(rope, part, out);
}

/* Either spelling of the kind, {"rope_type": …} or {"type": …}. */
static fp4_status read_scaling(const struct fields *f, const char *name, struct fp4_config *out) {
    json_t *value = field(f, name);
    struct fields rope = {f->path, value};
    double original = 0;
    if (!value)
        return FP4_OK;
    if (!json_is_object(value))
        return field_wrong(f, name, "an object");
    json_t *type = field(&rope, "rope_type") ? field(&rope, "rope_type") : field(&rope, "type");
    const char *kind = json_string_value(type);
    json_t *partial = field(&rope, "partial_rotary_factor");
    if ((partial && json_number_value(partial) != 1) || (!type && !same(name, "rope_parameters")) || (type && !kind))
        return field_unsupported(f, name, value);
    FP4_TRY(field_number(&rope, "rope_theta", &out->rope_theta));
    if (!type || same(kind, "default"))
        return FP4_OK;
    if (!same(kind, "linear") && !same(kind, "llama3"))
        return field_unsupported(f, name, value);
    out->rope.kind = same(kind, "linear") ? FP4_ROPE_LINEAR : FP4_ROPE_LLAMA3;
    FP4_TRY(need(f, &rope, name, "factor", &out->rope.factor));
    if (out->rope.kind == FP4_ROPE_LINEAR)
        return FP4_OK;
    FP4_TRY(need(f, &rope, name, "low_freq_factor", &out->rope.low_freq_factor));
    FP4_TRY(need(f, &rope, name, "high_freq_factor", &out->rope.high_freq_factor));
    FP4_TRY(need(f, &rope, name, "original_max_position_embeddings", &original));
    out->rope.original_ctx = original >= 1 && original <= 0x1p31 ? (size_t)original : 0;
    return FP4_OK;
}

/* Where a file has both spellings, transformers takes rope_scaling and passes over the other: that they say the same is not left to chance. */
static fp4_status read_rope(const struct fields *f, struct fp4_config *out) {
    FP4_TRY(field_number(f, "rope_theta", &out->rope_theta));
    struct fp4_config older = *out;
    FP4_TRY(read_scaling(f, "rope_scaling", &older));
    FP4_TRY(read_scaling(f, "rope_parameters", out));
    if (!field(f, "rope_scaling"))
        return FP4_OK;
    const struct fp4_rope *a = &older.rope, *b = &out->rope;
    bool same_rope = older.rope_theta == out->rope_theta && a->kind == b->kind && a->factor == b->factor && a->low_freq_factor == b->low_freq_factor &&
                     a->high_freq_factor == b->high_freq_factor && a->original_ctx == b->original_ctx;
    if (field(f, "rope_parameters") && !same_rope)
        return fp4_fail(FP4_ERR_UNSUPPORTED, "%s: rope_scaling and rope_parameters contradict each other, which is not supported", f->path);
    *out = older;
    return FP4_OK;
}

/* ---- families ---- */

static fp4_status read_arch(const struct fields *f, struct fp4_config *out, bool *mistral) {
    const char *type = json_string_value(field(f, "model_type"));
    if (!type)
        return fp4_fail(FP4_ERR_FORMAT, "%s: model_type is missing", f->path);
    *mistral = same(type, "mistral");
    if (same(type, "llama") || *mistral)
        out->arch = FP4_ARCH_LLAMA;
    else if (same(type, "opt"))
        out->arch = FP4_ARCH_OPT;
    else if (same(type, "fp4lab-writeup-d"))
        out->arch = FP4_ARCH_WRITEUP_D;
    else
        return fp4_fail(FP4_ERR_UNSUPPORTED, "%s: model_type \"%s\" is not supported; llama, mistral (without sliding window), opt and "
                                             "fp4lab-writeup-d are", f->path, type);
    return FP4_OK;
}

static fp4_status read_common(const struct fields *f, struct fp4_config *out) {
    FP4_TRY(field_size(f, "vocab_size", true, &out->n_vocab));
    FP4_TRY(field_size(f, "hidden_size", true, &out->n_embd));
    FP4_TRY(field_size(f, "num_hidden_layers", true, &out->n_layer));
    FP4_TRY(field_size(f, "num_attention_heads", true, &out->n_head));
    FP4_TRY(field_size(f, "max_position_embeddings", false, &out->n_ctx));
    FP4_TRY(field_bool(f, "tie_word_embeddings", &out->tied_head));
    FP4_TRY(field_number(f, "attention_dropout", &out->attention_dropout));
    int *const ids[] = {&out->bos_id, &out->eos_id};
    for (size_t i = 0; i < 2; i++)
        if (*ids[i] >= 0 && (size_t)*ids[i] >= out->n_vocab) /* a default */
            *ids[i] = -1;
    FP4_TRY(field_id(f, "bos_token_id", &out->bos_id));
    FP4_TRY(field_id(f, "eos_token_id", &out->eos_id));
    FP4_TRY(field_bool(f, "add_bos_token", &out->add_bos));
    out->head_dim = out->n_head ? out->n_embd / out->n_head : 0;
    return FP4_OK;
}

/* torch.nn.Embedding counts a negative padding index from the end; -1 stands in old Llama files. */
static fp4_status read_pad(const struct fields *f, struct fp4_config *out) {
    if (!field(f, "pad_token_id"))
        return FP4_OK;
    out->has_pad = true;
    FP4_TRY(field_id(f, "pad_token_id", &out->pad_id));
    if (out->pad_id < 0 && out->n_vocab > 0 && out->n_vocab <= INT32_MAX)
        out->pad_id = (int)out->n_vocab - 1;
    return FP4_OK;
}

static fp4_status read_llama(const struct fields *f, struct fp4_config *out, bool mistral) {
    double eps = out->arch == FP4_ARCH_WRITEUP_D ? 0x1p-23 : 1e-6;
    json_t *activation = field(f, "hidden_act");
    const char *name = json_string_value(activation);
    if (activation && !same(name, "silu") && !same(name, "swish"))
        return field_unsupported(f, "hidden_act", activation);
    FP4_TRY(field_size(f, "intermediate_size", true, &out->n_ff));
    out->n_kv_head = mistral ? 8 : out->n_head;
    FP4_TRY(field_size(f, "num_key_value_heads", false, &out->n_kv_head));
    FP4_TRY(field_size(f, "head_dim", false, &out->head_dim));
    FP4_TRY(field_number(f, "rms_norm_eps", &eps));
    out->norm_eps = (float)eps;
    FP4_TRY(read_rope(f, out));
    FP4_TRY(field_bool(f, "attention_bias", &out->attention_bias));
    FP4_TRY(field_bool(f, "mlp_bias", &out->mlp_bias));
    FP4_TRY(field_bool(f, "no_positions", &out->no_positions));
    if (out->arch == FP4_ARCH_LLAMA)
        return out->no_positions ? field_unsupported(f, "no_positions", field(f, "no_positions")) : read_pad(f, out);
    static const char *const not_there[] = {"attention_bias", "mlp_bias", "rope_scaling"};
    const bool there[] = {out->attention_bias, out->mlp_bias, out->rope.kind != FP4_ROPE_DEFAULT};
    for (size_t i = 0; i < 3; i++)
        if (there[i])
            return field_unsupported(f, not_there[i], field(f, not_there[i]));
    if (out->n_kv_head != out->n_head)
        return field_unsupported(f, "num_key_value_heads", field(f, "num_key_value_heads"));
    return field_number(f, "dropout", &out->dropout);
}

static fp4_status read_activation(const struct fields *f, struct fp4_config *out) {
    static const struct { const char *name; enum fp4_activation kind; } known[] = {
        {"relu", FP4_ACT_RELU}, {"gelu", FP4_ACT_GELU}, {"gelu_new", FP4_ACT_GELU_TANH}, {"gelu_pytorch_tanh", FP4_ACT_GELU_TANH},
        {"silu", FP4_ACT_SILU}, {"swish", FP4_ACT_SILU}};
    json_t *value = field(f, "activation_function");
    out->activation = FP4_ACT_RELU;
    for (size_t i = 0; value && i < sizeof known / sizeof *known; i++)
        if (same(json_string_value(value), known[i].name)) {
            out->activation = known[i].kind;
            return FP4_OK;
        }
    return value ? field_unsupported(f, "activation_function", value) : FP4_OK;
}

static fp4_status read_opt(const struct fields *f, struct fp4_config *out) {
    bool before = true, affine = true, bias = true;
    size_t word = out->n_embd;
    FP4_TRY(field_size(f, "ffn_dim", true, &out->n_ff));
    FP4_TRY(field_size(f, "word_embed_proj_dim", false, &word));
    out->n_word = word == out->n_embd ? 0 : word;
    if (word == 0)
        return field_wrong(f, "word_embed_proj_dim", "a width");
    out->n_kv_head = out->n_head;
    out->norm_eps = 1e-5f; /* torch.nn.LayerNorm's default; OPT has no field for it */
    FP4_TRY(field_bool(f, "do_layer_norm_before", &before));
    FP4_TRY(field_bool(f, "_remove_final_layer_norm", &out->no_final_norm));
    FP4_TRY(field_bool(f, "layer_norm_elementwise_affine", &affine));
    FP4_TRY(field_bool(f, "enable_bias", &bias));
    if (!affine)
        return field_unsupported(f, "layer_norm_elementwise_affine", field(f, "layer_norm_elementwise_affine"));
    out->norm_after = !before;
    out->attention_bias = out->mlp_bias = bias;
    FP4_TRY(read_activation(f, out));
    out->dropout = 0.1;
    FP4_TRY(field_number(f, "dropout", &out->dropout));
    out->has_pad = !json_object_get(f->root, "pad_token_id"); /* absent: 1; null: none */
    out->pad_id = 1;
    return read_pad(f, out);
}

fp4_status config_read_fields(const struct fields *f, struct fp4_config *out) {
    bool mistral;
    *out = (struct fp4_config){.n_ctx = 2048, .rope_theta = 10000, .bos_id = -1, .eos_id = -1};
    FP4_TRY(read_arch(f, out, &mistral));
    FP4_TRY(config_refuse(f));
    if (out->arch == FP4_ARCH_OPT) {
        out->bos_id = out->eos_id = 2;
        out->rope_theta = 0;
        out->tied_head = true;
    }
    if (out->arch == FP4_ARCH_LLAMA) {
        out->bos_id = 1;
        out->eos_id = 2;
    }
    if (mistral)
        out->n_ctx = 131072;
    FP4_TRY(read_common(f, out));
    FP4_TRY(config_refuse_window(f, out->n_ctx));
    FP4_TRY(out->arch == FP4_ARCH_OPT ? read_opt(f, out) : read_llama(f, out, mistral));
    return io_config_check(f->path, out);
}
