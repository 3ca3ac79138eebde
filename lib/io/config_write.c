/* config.json, writing: what fp4_config_read_json reads back, and transformers loads. */
#include <stdlib.h>
#include <string.h>

#include "lib/io/checkpoint.h"
#include "lib/io/config.h"

static json_t *id_or_null(int id) { return id < 0 ? json_null() : json_integer(id); }

/* transformers' name of an element type. */
static const char *dtype_name(enum fp4_dtype t) {
    switch (t) {
    case FP4_F32: return "float32";
    case FP4_F16: return "float16";
    case FP4_BF16: return "bfloat16";
    default: return NULL;
    }
}

fp4_status fp4_config_write(const char *path, const struct fp4_config *c, enum fp4_dtype dtype) {
    bool llama = c->arch == FP4_ARCH_LLAMA;
    FP4_TRY(io_config_check(path, c));
    if (!dtype_name(dtype))
        return fp4_fail(FP4_ERR_ARG, "%s: weights of type %s: config.json knows F32, F16 and BF16", path, fp4_dtype_name(dtype));
    json_t *root = json_pack(
        "{s:[s],s:s,s:s,s:I,s:I,s:I,s:I,s:I,s:I,s:I,s:I,s:f,s:f,s:b,s:o,s:o,s:s,s:b}", "architectures",
        llama ? "LlamaForCausalLM" : "Fp4labWriteupD", "model_type", llama ? "llama" : "fp4lab-writeup-d", "hidden_act", "silu",
        "vocab_size", (json_int_t)c->n_vocab, "hidden_size", (json_int_t)c->n_embd, "num_hidden_layers", (json_int_t)c->n_layer,
        "num_attention_heads", (json_int_t)c->n_head, "num_key_value_heads", (json_int_t)c->n_kv_head, "head_dim", (json_int_t)c->head_dim,
        "intermediate_size", (json_int_t)c->n_ff, "max_position_embeddings", (json_int_t)c->n_ctx, "rms_norm_eps", (double)c->norm_eps,
        "rope_theta", c->rope_theta, "tie_word_embeddings", (int)c->tied_head, "bos_token_id", id_or_null(c->bos_id), "eos_token_id",
        id_or_null(c->eos_id), "torch_dtype", dtype_name(dtype), "add_bos_token", (int)c->add_bos);
    if (root && c->no_positions)
        json_object_set_new(root, "no_positions", json_true());
    char *text = root ? json_dumps(root, JSON_INDENT(2) | JSON_REAL_PRECISION(17)) : NULL;
    json_decref(root);
    if (!text)
        return fp4_fail(FP4_ERR_MEMORY, "%s: no memory for its text", path);
    fp4_status status = fp4_write_file(path, text, strlen(text));
    free(text);
    return status;
}

fp4_status fp4_config_write_json(const char *path, const struct fp4_config *config) { return fp4_config_write(path, config, FP4_F32); }
