/* Writing config.json: the spelling of transformers 4, which 5 reads too. */
#include "lib/base/json.h"
#include "lib/io/checkpoint.h"
#include "lib/io/config.h"

/* transformers' name of an element type. */
static const char *dtype_name(enum fp4_dtype t) {
    switch (t) {
    case FP4_F32: return "float32";
    case FP4_F16: return "float16";
    case FP4_BF16: return "bfloat16";
    default: return NULL;
    }
}

const char *fp4_arch_name(enum fp4_arch a) {
    static const char *const names[] = {[FP4_ARCH_LLAMA] = "llama", [FP4_ARCH_OPT] = "opt", [FP4_ARCH_WRITEUP_D] = "fp4lab-writeup-d"};
    return (size_t)a < sizeof names / sizeof *names ? names[a] : "?";
}
const char *fp4_activation_name(enum fp4_activation f) {
    static const char *const names[FP4_ACT_COUNT] = {
        [FP4_ACT_SILU] = "silu", [FP4_ACT_RELU] = "relu", [FP4_ACT_GELU] = "gelu", [FP4_ACT_GELU_TANH] = "gelu_new"};
    return (size_t)f < FP4_ACT_COUNT ? names[f] : "?";
}

static json_t *id_or_null(int id) { return id < 0 ? json_null() : json_integer(id); }

static json_t *rope_scaling(const struct fp4_rope *r) {
    if (r->kind == FP4_ROPE_LINEAR)
        return json_pack("{s:s, s:s, s:f}", "rope_type", "linear", "type", "linear", "factor", r->factor);
    if (r->kind == FP4_ROPE_LLAMA3)
        return json_pack("{s:s, s:f, s:f, s:f, s:I}", "rope_type", "llama3", "factor", r->factor, "low_freq_factor", r->low_freq_factor,
                         "high_freq_factor", r->high_freq_factor, "original_max_position_embeddings", (json_int_t)r->original_ctx);
    return json_null();
}

static json_t *opt_fields(const struct fp4_config *c) {
    return json_pack("{s:[s],s:s,s:s,s:I,s:I,s:b,s:b,s:b,s:b,s:f,s:f}", "architectures", "OPTForCausalLM", "model_type", fp4_arch_name(c->arch),
                     "activation_function", fp4_activation_name(c->activation), "ffn_dim", (json_int_t)c->n_ff, "word_embed_proj_dim",
                     (json_int_t)(c->n_word ? c->n_word : c->n_embd), "do_layer_norm_before", (int)!c->norm_after, "_remove_final_layer_norm",
                     (int)c->no_final_norm, "enable_bias", (int)c->attention_bias, "layer_norm_elementwise_affine", 1, "dropout", c->dropout,
                     "layerdrop", 0.0);
}

static json_t *llama_fields(const struct fp4_config *c) {
    bool llama = c->arch == FP4_ARCH_LLAMA;
    json_t *root = json_pack("{s:[s],s:s,s:s,s:I,s:I,s:I,s:f,s:f,s:b,s:b,s:o}", "architectures", llama ? "LlamaForCausalLM" : "Fp4labWriteupD",
                             "model_type", fp4_arch_name(c->arch), "hidden_act", "silu", "num_key_value_heads",
                             (json_int_t)c->n_kv_head, "head_dim", (json_int_t)c->head_dim, "intermediate_size", (json_int_t)c->n_ff,
                             "rms_norm_eps", (double)c->norm_eps, "rope_theta", c->rope_theta, "attention_bias", (int)c->attention_bias,
                             "mlp_bias", (int)c->mlp_bias, "rope_scaling", rope_scaling(&c->rope));
    if (root && !llama)
        json_object_set_new(root, "dropout", json_real(c->dropout));
    if (root && c->no_positions)
        json_object_set_new(root, "no_positions", json_true());
    return root;
}

/* The families' own fields and those that they share. */
static json_t *all_fields(const struct fp4_config *c, enum fp4_dtype dtype) {
    json_t *root = c->arch == FP4_ARCH_OPT ? opt_fields(c) : llama_fields(c);
    json_t *shared = json_pack("{s:I,s:I,s:I,s:I,s:I,s:b,s:f,s:o,s:o,s:o,s:s,s:b}", "vocab_size", (json_int_t)c->n_vocab, "hidden_size",
                               (json_int_t)c->n_embd, "num_hidden_layers", (json_int_t)c->n_layer, "num_attention_heads", (json_int_t)c->n_head,
                               "max_position_embeddings", (json_int_t)c->n_ctx, "tie_word_embeddings", (int)c->tied_head, "attention_dropout",
                               c->attention_dropout, "bos_token_id", id_or_null(c->bos_id), "eos_token_id", id_or_null(c->eos_id),
                               "pad_token_id", id_or_null(c->has_pad ? c->pad_id : -1), "torch_dtype", dtype_name(dtype), "add_bos_token",
                               (int)c->add_bos);
    bool whole = root && shared && json_object_update(root, shared) == 0;
    json_decref(shared);
    if (!whole) {
        json_decref(root);
        return NULL;
    }
    return root;
}

/* Biases of one half only are no OPT; one's own divisors have no form in config.json. */
fp4_status fp4_config_writable(const char *path, const struct fp4_config *c) {
    FP4_TRY(io_config_check(path, c));
    if (c->rope.kind == FP4_ROPE_DIVISORS)
        return fp4_fail(FP4_ERR_UNSUPPORTED, "%s: config.json has no form for a rotary divisor of every channel pair (GGUF's rope_freqs.weight); keep it a GGUF file", path);
    if (c->arch == FP4_ARCH_OPT && c->attention_bias != c->mlp_bias)
        return fp4_fail(FP4_ERR_UNSUPPORTED, "%s: biases in attention or MLP alone: OPT's config.json knows enable_bias for both", path);
    if (c->arch == FP4_ARCH_OPT && c->norm_eps != 1e-5f)
        return fp4_fail(FP4_ERR_UNSUPPORTED, "%s: norm epsilon %g: OPT's config.json has no field for it, and 1e-5 is meant", path, (double)c->norm_eps);
    return FP4_OK;
}

fp4_status fp4_config_write(const char *path, const struct fp4_config *c, enum fp4_dtype dtype) {
    FP4_TRY(fp4_config_writable(path, c));
    if (!dtype_name(dtype))
        return fp4_fail(FP4_ERR_ARG, "%s: weights of type %s: config.json knows F32, F16 and BF16", path, fp4_dtype_name(dtype));
    json_watch();
    return io_json_write_to(path, all_fields(c, dtype), JSON_INDENT(2) | JSON_REAL_PRECISION(17));
}
