/* config.json of the models that people run: what they give in shapes, and what is refused. The texts are the fields of the published files. */
#include "tests/folders.h"
#include "tests/support.h"

#include "fp4lab/io.h"
#include "lib/io/config.h"
#include "lib/model/internal.h"

#include <math.h>
#include <string.h>

struct published {
    const char *name, *text;
    size_t parameters; /* as published with the model */
    size_t n_layer, n_embd, n_head, n_kv_head, head_dim, n_ff, n_ctx, n_vocab;
    double rope_theta;
    enum fp4_rope_kind rope;
    bool tied;
    int bos_id, eos_id;
};

static const struct published models[] = {
    {"Llama-2-7B",
     "{\"architectures\":[\"LlamaForCausalLM\"],\"bos_token_id\":1,\"eos_token_id\":2,\"hidden_act\":\"silu\",\"hidden_size\":4096,"
     "\"initializer_range\":0.02,\"intermediate_size\":11008,\"max_position_embeddings\":4096,\"model_type\":\"llama\",\"num_attention_heads\":32,"
     "\"num_hidden_layers\":32,\"num_key_value_heads\":32,\"pretraining_tp\":1,\"rms_norm_eps\":1e-05,\"rope_scaling\":null,"
     "\"tie_word_embeddings\":false,\"torch_dtype\":\"float16\",\"transformers_version\":\"4.31.0.dev0\",\"use_cache\":true,\"vocab_size\":32000}",
     6738415616, 32, 4096, 32, 32, 128, 11008, 4096, 32000, 1e4, FP4_ROPE_DEFAULT, false, 1, 2},
    {"Llama-3-8B",
     "{\"architectures\":[\"LlamaForCausalLM\"],\"attention_bias\":false,\"attention_dropout\":0.0,\"bos_token_id\":128000,\"eos_token_id\":128001,"
     "\"hidden_act\":\"silu\",\"hidden_size\":4096,\"initializer_range\":0.02,\"intermediate_size\":14336,\"max_position_embeddings\":8192,"
     "\"model_type\":\"llama\",\"num_attention_heads\":32,\"num_hidden_layers\":32,\"num_key_value_heads\":8,\"pretraining_tp\":1,\"rms_norm_eps\":1e-05,"
     "\"rope_scaling\":null,\"rope_theta\":500000.0,\"tie_word_embeddings\":false,\"torch_dtype\":\"bfloat16\",\"use_cache\":true,\"vocab_size\":128256}",
     8030261248, 32, 4096, 32, 8, 128, 14336, 8192, 128256, 5e5, FP4_ROPE_DEFAULT, false, 128000, 128001},
    {"Llama-3.2-1B",
     "{\"architectures\":[\"LlamaForCausalLM\"],\"attention_bias\":false,\"attention_dropout\":0.0,\"bos_token_id\":128000,\"eos_token_id\":[128001,128008],"
     "\"head_dim\":64,\"hidden_act\":\"silu\",\"hidden_size\":2048,\"initializer_range\":0.02,\"intermediate_size\":8192,\"max_position_embeddings\":131072,"
     "\"mlp_bias\":false,\"model_type\":\"llama\",\"num_attention_heads\":32,\"num_hidden_layers\":16,\"num_key_value_heads\":8,\"pretraining_tp\":1,"
     "\"rms_norm_eps\":1e-05,\"rope_scaling\":{\"factor\":32.0,\"high_freq_factor\":4.0,\"low_freq_factor\":1.0,"
     "\"original_max_position_embeddings\":8192,\"rope_type\":\"llama3\"},\"rope_theta\":500000.0,\"tie_word_embeddings\":true,"
     "\"torch_dtype\":\"bfloat16\",\"use_cache\":true,\"vocab_size\":128256}",
     1235814400, 16, 2048, 32, 8, 64, 8192, 131072, 128256, 5e5, FP4_ROPE_LLAMA3, true, 128000, 128001},
    {"SmolLM-135M",
     "{\"architectures\":[\"LlamaForCausalLM\"],\"attention_bias\":false,\"attention_dropout\":0.0,\"bos_token_id\":0,\"eos_token_id\":0,"
     "\"hidden_act\":\"silu\",\"hidden_size\":576,\"initializer_range\":0.02,\"intermediate_size\":1536,\"max_position_embeddings\":2048,"
     "\"model_type\":\"llama\",\"num_attention_heads\":9,\"num_hidden_layers\":30,\"num_key_value_heads\":3,\"pretraining_tp\":1,\"rms_norm_eps\":1e-05,"
     "\"rope_scaling\":null,\"rope_theta\":10000.0,\"tie_word_embeddings\":true,\"torch_dtype\":\"float32\",\"use_cache\":true,\"vocab_size\":49152}",
     134515008, 30, 576, 9, 3, 64, 1536, 2048, 49152, 1e4, FP4_ROPE_DEFAULT, true, 0, 0},
    {"SmolLM2-1.7B",
     "{\"architectures\":[\"LlamaForCausalLM\"],\"attention_bias\":false,\"attention_dropout\":0.0,\"bos_token_id\":0,\"eos_token_id\":0,"
     "\"hidden_act\":\"silu\",\"hidden_size\":2048,\"initializer_range\":0.02,\"intermediate_size\":8192,\"max_position_embeddings\":8192,"
     "\"mlp_bias\":false,\"model_type\":\"llama\",\"num_attention_heads\":32,\"num_hidden_layers\":24,\"num_key_value_heads\":32,\"pretraining_tp\":1,"
     "\"is_llama_config\":true,\"rms_norm_eps\":1e-05,\"rope_interleaved\":false,\"rope_scaling\":null,\"rope_theta\":130000,\"tie_word_embeddings\":true,"
     "\"torch_dtype\":\"bfloat16\",\"use_cache\":true,\"vocab_size\":49152}",
     1711376384, 24, 2048, 32, 32, 64, 8192, 8192, 49152, 130000, FP4_ROPE_DEFAULT, true, 0, 0},
    {"TinyLlama-1.1B",
     "{\"architectures\":[\"LlamaForCausalLM\"],\"bos_token_id\":1,\"eos_token_id\":2,\"hidden_act\":\"silu\",\"hidden_size\":2048,"
     "\"initializer_range\":0.02,\"intermediate_size\":5632,\"max_position_embeddings\":2048,\"model_type\":\"llama\",\"num_attention_heads\":32,"
     "\"num_hidden_layers\":22,\"num_key_value_heads\":4,\"rms_norm_eps\":1e-05,\"rope_scaling\":null,\"tie_word_embeddings\":false,"
     "\"torch_dtype\":\"float32\",\"use_cache\":true,\"vocab_size\":32000}",
     1100048384, 22, 2048, 32, 4, 64, 5632, 2048, 32000, 1e4, FP4_ROPE_DEFAULT, false, 1, 2},
    {"OPT-125M",
     "{\"activation_dropout\":0.0,\"activation_function\":\"relu\",\"architectures\":[\"OPTForCausalLM\"],\"attention_dropout\":0.0,\"bos_token_id\":2,"
     "\"do_layer_norm_before\":true,\"dropout\":0.1,\"eos_token_id\":2,\"ffn_dim\":3072,\"hidden_size\":768,\"init_std\":0.02,\"layerdrop\":0.0,"
     "\"max_position_embeddings\":2048,\"model_type\":\"opt\",\"num_attention_heads\":12,\"num_hidden_layers\":12,\"pad_token_id\":1,\"prefix\":\"</s>\","
     "\"torch_dtype\":\"float16\",\"use_cache\":true,\"vocab_size\":50272,\"word_embed_proj_dim\":768}",
     125239296, 12, 768, 12, 12, 64, 3072, 2048, 50272, 0, FP4_ROPE_DEFAULT, true, 2, 2},
    {"OPT-350M",
     "{\"activation_dropout\":0.0,\"activation_function\":\"relu\",\"architectures\":[\"OPTForCausalLM\"],\"attention_dropout\":0.0,\"bos_token_id\":2,"
     "\"do_layer_norm_before\":false,\"dropout\":0.1,\"eos_token_id\":2,\"ffn_dim\":4096,\"hidden_size\":1024,\"init_std\":0.02,\"layerdrop\":0.0,"
     "\"max_position_embeddings\":2048,\"model_type\":\"opt\",\"num_attention_heads\":16,\"num_hidden_layers\":24,\"pad_token_id\":1,\"prefix\":\"</s>\","
     "\"torch_dtype\":\"float16\",\"use_cache\":true,\"vocab_size\":50272,\"word_embed_proj_dim\":512}",
     331196416, 24, 1024, 16, 16, 64, 4096, 2048, 50272, 0, FP4_ROPE_DEFAULT, true, 2, 2},
};

static void check_published(const struct published *p) {
    struct fp4_config c;
    struct fp4_model *m;
    must(io_config_parse(p->name, p->text, strlen(p->text), &c));
    const size_t got[] = {c.n_layer, c.n_embd, c.n_head, c.n_kv_head, c.head_dim, c.n_ff, c.n_ctx, c.n_vocab};
    const size_t want[] = {p->n_layer, p->n_embd, p->n_head, p->n_kv_head, p->head_dim, p->n_ff, p->n_ctx, p->n_vocab};
    for (size_t i = 0; i < sizeof got / sizeof *got; i++)
        cr_assert_eq(got[i], want[i], "%s: size %zu is %zu, not %zu", p->name, i, got[i], want[i]);
    cr_assert_eq(c.rope_theta, p->rope_theta, "%s", p->name);
    cr_assert_eq(c.rope.kind, p->rope, "%s", p->name);
    cr_assert_eq(c.tied_head, p->tied, "%s", p->name);
    cr_assert(c.bos_id == p->bos_id && c.eos_id == p->eos_id, "%s", p->name);
    must(fp4_model_shape(&c, fp4_backend_cpu(), &m));
    cr_assert_eq(fp4_model_n_elements(m), p->parameters, "%s: %zu parameters, %zu published", p->name, fp4_model_n_elements(m), p->parameters);
    fp4_model_free(m);
}

Test(configs, published_models_by_their_number_of_parameters) {
    for (size_t i = 0; i < sizeof models / sizeof *models; i++)
        check_published(&models[i]);
}

Test(configs, opt_in_detail) {
    struct fp4_config c;
    for (size_t i = 6; i < 8; i++) {
        bool large = i == 7;
        must(io_config_parse(models[i].name, models[i].text, strlen(models[i].text), &c));
        cr_assert(c.arch == FP4_ARCH_OPT && c.activation == FP4_ACT_RELU && c.attention_bias && c.mlp_bias);
        cr_assert(c.norm_after == large && c.n_word == (large ? 512 : 0) && !c.no_final_norm);
        cr_assert(c.dropout == 0.1 && c.attention_dropout == 0 && c.has_pad && c.pad_id == 1);
        cr_assert_eq(c.norm_eps, 1e-5f);
    }
}

/* Llama 3.2: wavelengths below 8192/4 stay, those above 8192 are stretched by 32, and between them the factor grows. */
Test(configs, rope_of_llama_3_2) {
    struct fp4_config c;
    must(io_config_parse(models[2].name, models[2].text, strlen(models[2].text), &c));
    size_t between = 0;
    for (size_t i = 0; i < 32; i++) {
        double wavelength = 2 * 3.141592653589793 * pow(5e5, (double)i / 32), divisor = fp4_rope_divisor(&c, i);
        if (wavelength < 2048)
            cr_assert_eq(divisor, 1, "pair %zu", i);
        else if (wavelength > 8192)
            cr_assert_eq(divisor, 32, "pair %zu", i);
        else
            between++;
        cr_assert(i == 0 || divisor >= fp4_rope_divisor(&c, i - 1));
    }
    cr_assert_gt(between, 0);
    /* halfway in turns, (1 + 4)/2 = 2.5 of them in 8192 positions, the frequencies are mixed half and half */
    struct fp4_config half = c;
    half.rope_theta = pow(8192 / (2.5 * 2 * 3.141592653589793), (double)c.head_dim / 2);
    cr_assert_float_eq(fp4_rope_divisor(&half, 1), 2 / (1 + 1.0 / 32), 1e-9);
}

/* ---- refused by name ---- */

static void parse(const char *base, const char *more, fp4_status status, const char *named) {
    char text[2048];
    struct fp4_config c;
    int n = snprintf(text, sizeof text, "{%s%s%s}", base, *more ? "," : "", more);
    cr_assert_eq(io_config_parse("config.json", text, (size_t)n, &c), status, "%s: %s", more, fp4_last_error());
    if (status != FP4_OK)
        cr_assert_not_null(strstr(fp4_last_error(), named), "%s: %s", more, fp4_last_error());
}

#define SIZES "\"vocab_size\":10,\"hidden_size\":8,\"num_hidden_layers\":1,\"num_attention_heads\":2"
#define LLAMA "\"model_type\":\"llama\",\"intermediate_size\":4," SIZES
#define MISTRAL "\"model_type\":\"mistral\",\"num_key_value_heads\":1,\"intermediate_size\":4," SIZES
#define OPT "\"model_type\":\"opt\",\"ffn_dim\":4," SIZES

Test(configs, what_would_change_the_numbers_is_refused_by_name) {
    static const char *const on[] = {
        "use_sliding_window", "attention_chunk_size", "no_rope_layer_interval", "alibi", "attn_logit_softcapping", "final_logit_softcapping", "qk_norm",
        "clip_qkv", "query_pre_attn_scalar", "attention_multiplier", "num_local_experts", "num_experts", "n_routed_experts", "use_parallel_residual",
        "quantization_config", "layerdrop", "activation_dropout", "lm_head_bias", "is_encoder_decoder"};
    for (size_t i = 0; i < sizeof on / sizeof *on; i++) {
        static const char *const values[] = {"true", "3", "{\"bits\":4}"};
        for (size_t v = 0; v < 3; v++) {
            char field[128];
            snprintf(field, sizeof field, "\"%s\":%s", on[i], values[v]);
            parse(LLAMA, field, FP4_ERR_UNSUPPORTED, on[i]);
            parse(OPT, field, FP4_ERR_UNSUPPORTED, on[i]);
        }
        static const char *const off[] = {"null", "false", "0", "0.0"};
        for (size_t v = 0; v < 4; v++) {
            char field[128];
            snprintf(field, sizeof field, "\"%s\":%s", on[i], off[v]);
            parse(LLAMA, field, FP4_OK, "");
        }
    }
    static const char *const one[] = {"logit_scale", "logits_scaling", "residual_multiplier", "embedding_multiplier", "partial_rotary_factor"};
    for (size_t i = 0; i < sizeof one / sizeof *one; i++) {
        char field[128];
        snprintf(field, sizeof field, "\"%s\":0.5", one[i]);
        parse(LLAMA, field, FP4_ERR_UNSUPPORTED, one[i]);
        snprintf(field, sizeof field, "\"%s\":1.0", one[i]);
        parse(LLAMA, field, FP4_OK, "");
    }
}

Test(configs, windows_layers_activations) {
    parse(LLAMA, "\"sliding_window\":4096", FP4_OK, ""); /* the context is 2048 */
    parse(LLAMA, "\"max_position_embeddings\":8192,\"sliding_window\":4096", FP4_ERR_UNSUPPORTED, "sliding_window = 4096");
    parse(LLAMA, "\"layer_types\":[\"full_attention\",\"full_attention\"]", FP4_OK, "");
    parse(LLAMA, "\"layer_types\":[\"full_attention\",\"sliding_attention\"]", FP4_ERR_UNSUPPORTED, "layer_types");
    parse(LLAMA, "\"position_embedding_type\":\"alibi\"", FP4_ERR_UNSUPPORTED, "position_embedding_type");
    parse(LLAMA, "\"hidden_act\":\"relu\"", FP4_ERR_UNSUPPORTED, "relu");
    parse(LLAMA, "\"pretraining_tp\":4", FP4_OK, ""); /* the same products in slices */
    parse(MISTRAL, "", FP4_ERR_UNSUPPORTED, "sliding_window");
    parse(MISTRAL, "\"sliding_window\":null", FP4_OK, "");
    parse(MISTRAL, "\"sliding_window\":4096,\"max_position_embeddings\":32768", FP4_ERR_UNSUPPORTED, "sliding_window");
    parse(OPT, "\"activation_function\":\"tanh\"", FP4_ERR_UNSUPPORTED, "activation_function = \"tanh\"");
    parse(OPT, "\"activation_function\":\"gelu_pytorch_tanh\"", FP4_OK, "");
    parse(OPT, "\"layer_norm_elementwise_affine\":false", FP4_ERR_UNSUPPORTED, "layer_norm_elementwise_affine");
    parse(OPT, "\"pad_token_id\":10", FP4_ERR_FORMAT, "padding token 10");
    parse(OPT, "\"dropout\":1.0", FP4_ERR_FORMAT, "dropout 1");
    parse(OPT, "\"word_embed_proj_dim\":0", FP4_ERR_FORMAT, "word_embed_proj_dim");
    parse(OPT, "\"num_attention_heads\":3,\"hidden_size\":9", FP4_ERR_FORMAT, "duplicate");
    parse("\"model_type\":\"opt\",\"ffn_dim\":4,\"vocab_size\":10,\"hidden_size\":9,\"num_hidden_layers\":1,\"num_attention_heads\":2", "", FP4_ERR_FORMAT, "multiple");
    parse("\"model_type\":\"qwen2\"," SIZES, "", FP4_ERR_UNSUPPORTED, "llama, mistral");
}

/* Old Llama files have padding token -1, which torch counts from the end; OPT's default is 1, and null is none. */
Test(configs, padding) {
    struct fp4_config c;
    const struct { const char *text; bool has; int id; } cases[] = {
        {"{" LLAMA "}", false, 0}, {"{" LLAMA ",\"pad_token_id\":null}", false, 0}, {"{" LLAMA ",\"pad_token_id\":-1}", true, 9},
        {"{" LLAMA ",\"pad_token_id\":3}", true, 3}, {"{" OPT "}", true, 1}, {"{" OPT ",\"pad_token_id\":null}", false, 0}};
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        must(io_config_parse("config.json", cases[i].text, strlen(cases[i].text), &c));
        cr_assert(c.has_pad == cases[i].has && (!c.has_pad || c.pad_id == cases[i].id), "%s", cases[i].text);
    }
}

/* transformers' defaults; null is none; a default that is no token of a small vocabulary is none either. */
Test(configs, begin_and_end_tokens) {
    struct fp4_config c;
    const struct { const char *text; int bos, eos; } cases[] = {
        {"{" LLAMA "}", 1, 2}, {"{" LLAMA ",\"bos_token_id\":null,\"eos_token_id\":[]}", -1, 2}, {"{" LLAMA ",\"bos_token_id\":5,\"eos_token_id\":[7,8]}", 5, 7},
        {"{" OPT "}", 2, 2}, {"{" OPT ",\"bos_token_id\":null,\"eos_token_id\":null}", -1, -1},
        {"{\"model_type\":\"llama\",\"intermediate_size\":4,\"vocab_size\":2,\"hidden_size\":8,\"num_hidden_layers\":1,\"num_attention_heads\":2}", 1, -1}};
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        must(io_config_parse("config.json", cases[i].text, strlen(cases[i].text), &c));
        cr_assert(c.bos_id == cases[i].bos && c.eos_id == cases[i].eos, "%s: %d, %d", cases[i].text, c.bos_id, c.eos_id);
    }
}

/* A file with both spellings: transformers takes rope_scaling, and without a rope_theta of its own the outer one. */
Test(configs, both_spellings_of_rotation) {
    struct fp4_config c;
    const char *same = "{" LLAMA ",\"rope_theta\":5e5,\"rope_scaling\":{\"type\":\"linear\",\"factor\":2},"
                       "\"rope_parameters\":{\"rope_type\":\"linear\",\"factor\":2.0,\"rope_theta\":5e5}}";
    must(io_config_parse("config.json", same, strlen(same), &c));
    cr_assert(c.rope.kind == FP4_ROPE_LINEAR && c.rope.factor == 2 && c.rope_theta == 5e5);
    parse(LLAMA, "\"rope_scaling\":{\"type\":\"linear\",\"factor\":2},\"rope_parameters\":{\"rope_type\":\"linear\",\"factor\":4}", FP4_ERR_UNSUPPORTED, "rope_parameters");
    parse(LLAMA, "\"rope_scaling\":{\"type\":\"default\"},\"rope_parameters\":{\"rope_type\":\"linear\",\"factor\":4}", FP4_ERR_UNSUPPORTED, "rope_scaling");
    parse(LLAMA, "\"rope_scaling\":{\"type\":\"default\"},\"rope_parameters\":{\"rope_type\":\"default\",\"rope_theta\":2e4}", FP4_ERR_UNSUPPORTED, "contradict");
}

/* ---- written and read back ---- */

static void check_round_trip(const char *folder, const struct published *p) {
    struct fp4_config a, b;
    const char *path = folder_file(folder, "config.json");
    must(io_config_parse(p->name, p->text, strlen(p->text), &a));
    must(fp4_config_write(path, &a, FP4_F32));
    must(fp4_config_read_json(path, &b));
    for (size_t i = 0; i < a.head_dim / 2; i++)
        cr_assert_eq(fp4_rope_divisor(&a, i), fp4_rope_divisor(&b, i), "%s", p->name);
    cr_assert(a.n_word == b.n_word && a.norm_after == b.norm_after && a.activation == b.activation && a.dropout == b.dropout, "%s", p->name);
    cr_assert(a.attention_bias == b.attention_bias && a.mlp_bias == b.mlp_bias && a.has_pad == b.has_pad && a.pad_id == b.pad_id, "%s", p->name);
    cr_assert(a.n_layer == b.n_layer && a.n_kv_head == b.n_kv_head && a.head_dim == b.head_dim && a.tied_head == b.tied_head, "%s", p->name);
}

Test(configs, written_and_read_back) {
    char folder[FOLDER_MAX];
    struct fp4_config c;
    folder_make(folder);
    for (size_t i = 0; i < sizeof models / sizeof *models; i++)
        check_round_trip(folder, &models[i]);
    must(io_config_parse("config.json", "{" LLAMA "}", strlen("{" LLAMA "}"), &c));
    c.rope = (struct fp4_rope){.kind = FP4_ROPE_DIVISORS, .divisor = {1, 2}};
    cr_assert_eq(fp4_config_write(folder_file(folder, "config.json"), &c, FP4_F32), FP4_ERR_UNSUPPORTED, "it has no form for that");
    cr_assert_not_null(strstr(fp4_last_error(), "rope_freqs"));
    c.rope.divisor[1] = 0;
    cr_assert_eq(fp4_config_write(folder_file(folder, "config.json"), &c, FP4_F32), FP4_ERR_FORMAT);
}
