/* What a config.json may say that would change the numbers and is not implemented: an error that names it, never ignored. */
#include <string.h>

#include "lib/io/config_fields.h"

/* Fields that stand for something these models do not do, with the number that means "not done". true is never such a value. */
static const struct {
    const char *name;
    double off;
} refused[] = {
    /* windows and positions */
    {"use_sliding_window", 0}, {"sliding_window_pattern", 0}, {"attention_chunk_size", 0}, {"no_rope_layer_interval", 0}, {"no_rope_layers", 0},
    {"partial_rotary_factor", 1}, {"rotary_pct", 1}, {"rope_interleaved", 0}, {"rope_interleave", 0}, {"alibi", 0}, {"use_alibi", 0},
    {"attn_temperature_tuning", 0}, {"rope_local_base_freq", 0}, {"use_relative_position", 0},
    /* attention */
    {"attn_logit_softcapping", 0}, {"final_logit_softcapping", 0}, {"qk_norm", 0}, {"use_qk_norm", 0}, {"qk_layernorm", 0}, {"clip_qkv", 0},
    {"query_pre_attn_scalar", 0}, {"attention_multiplier", 0}, {"attention_sink", 0}, {"attention_out_bias", 0}, {"qkv_bias", 0}, {"use_qkv_bias", 0},
    {"kv_lora_rank", 0}, {"q_lora_rank", 0},
    /* multipliers: 1 is plain */
    {"logit_scale", 1}, {"logits_scaling", 1}, {"residual_multiplier", 1}, {"embedding_multiplier", 1}, {"scale_emb", 1}, {"scale_depth", 1},
    {"embedding_scale", 1}, {"lm_head_multiplier", 1}, {"scale_embeddings", 0}, {"dim_model_base", 0},
    /* layers of other kinds */
    {"num_local_experts", 0}, {"num_experts", 0}, {"n_routed_experts", 0}, {"n_shared_experts", 0}, {"moe_intermediate_size", 0},
    {"use_parallel_residual", 0}, {"parallel_attn", 0}, {"cross_attention_layers", 0}, {"is_encoder_decoder", 0}, {"add_cross_attention", 0},
    {"lm_head_bias", 0}, {"use_post_norm", 0},
    /* numbers stored in another way */
    {"quantization_config", 0}, {"compression_config", 0},
    /* what training mode would drop elsewhere */
    {"layerdrop", 0}, {"activation_dropout", 0}, {"resid_pdrop", 0}, {"embd_pdrop", 0}, {"hidden_dropout", 0}, {"embedding_dropout", 0},
};

static bool is_off(const json_t *value, double off) {
    if (json_is_number(value))
        return json_number_value(value) == off;
    return json_is_false(value) || (json_is_array(value) && json_array_size(value) == 0);
}

fp4_status config_refuse(const struct fields *f) {
    for (size_t i = 0; i < sizeof refused / sizeof *refused; i++) {
        json_t *value = field(f, refused[i].name);
        if (value && !is_off(value, refused[i].off))
            return field_unsupported(f, refused[i].name, value);
    }
    json_t *types = field(f, "layer_types"), *type;
    size_t i;
    json_array_foreach(types, i, type)
        if (!json_is_string(type) || strcmp(json_string_value(type), "full_attention") != 0)
            return field_unsupported(f, "layer_types", types);
    json_t *positions = field(f, "position_embedding_type");
    const char *name = json_string_value(positions);
    if (positions && (!name || (strcmp(name, "rope") != 0 && strcmp(name, "rotary") != 0 && strcmp(name, "learned") != 0)))
        return field_unsupported(f, "position_embedding_type", positions);
    return FP4_OK;
}

/* A window as long as the context hides nothing. */
fp4_status config_refuse_window(const struct fields *f, size_t n_ctx) {
    json_t *window = field(f, "sliding_window");
    const char *type = json_string_value(field(f, "model_type"));
    if (type && strcmp(type, "mistral") == 0 && !json_object_get(f->root, "sliding_window"))
        return fp4_fail(FP4_ERR_UNSUPPORTED, "%s: sliding_window is absent, which means 4096 for mistral: not supported; null is", f->path);
    if (!window || json_is_false(window))
        return FP4_OK;
    if (json_is_integer(window) && json_integer_value(window) >= (json_int_t)n_ctx)
        return FP4_OK;
    return field_unsupported(f, "sliding_window", window);
}
