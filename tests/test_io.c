/* safetensors, both folders and shards, conversion of element types, config.json. */
#include <dirent.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "fp4lab/io.h"
#include "tests/bytes.h"
#include "tests/folders.h"
#include "tests/support.h"

/* Calls body for each folder of golden/models, in the order of their names. */
static void each_model(void (*body)(const char *folder, const char *name)) {
    const char *root = golden_file("models");
    struct dirent **entries;
    int n = scandir(root, &entries, NULL, alphasort);
    cr_assert_gt(n, 0);
    for (int i = 0; i < n; i++) {
        char folder[1400], golden[1500];
        snprintf(folder, sizeof folder, "%s/%s", root, entries[i]->d_name);
        snprintf(golden, sizeof golden, "%s/config.json", folder);
        if (entries[i]->d_name[0] != '.' && access(golden, R_OK) == 0)
            body(folder, entries[i]->d_name);
        free(entries[i]);
    }
    free(entries);
}

/* Fields one by one: padding bytes may differ. */
static void same_config(const struct fp4_config *a, const struct fp4_config *b, const char *what) {
    cr_assert_eq(a->arch, b->arch, "%s", what);
    cr_assert_eq(a->n_vocab, b->n_vocab, "%s", what);
    cr_assert_eq(a->n_embd, b->n_embd, "%s", what);
    cr_assert_eq(a->n_layer, b->n_layer, "%s", what);
    cr_assert_eq(a->n_head, b->n_head, "%s", what);
    cr_assert_eq(a->n_kv_head, b->n_kv_head, "%s", what);
    cr_assert_eq(a->head_dim, b->head_dim, "%s", what);
    cr_assert_eq(a->n_ff, b->n_ff, "%s", what);
    cr_assert_eq(a->n_ctx, b->n_ctx, "%s", what);
    cr_assert_eq(a->norm_eps, b->norm_eps, "%s", what);
    cr_assert_eq(a->rope_theta, b->rope_theta, "%s", what);
    cr_assert_eq(a->tied_head, b->tied_head, "%s", what);
    cr_assert(a->rope.kind == b->rope.kind && a->rope.factor == b->rope.factor && a->rope.original_ctx == b->rope.original_ctx, "%s", what);
    cr_assert(a->rope.low_freq_factor == b->rope.low_freq_factor && a->rope.high_freq_factor == b->rope.high_freq_factor, "%s", what);
    cr_assert(a->attention_bias == b->attention_bias && a->mlp_bias == b->mlp_bias, "%s", what);
    cr_assert(a->has_pad == b->has_pad && a->pad_id == b->pad_id, "%s", what);
    cr_assert(a->n_word == b->n_word && a->norm_after == b->norm_after && a->no_final_norm == b->no_final_norm, "%s", what);
    cr_assert(a->activation == b->activation && a->dropout == b->dropout && a->attention_dropout == b->attention_dropout, "%s", what);
    cr_assert_eq(a->no_positions, b->no_positions, "%s", what);
    cr_assert_eq(a->bos_id, b->bos_id, "%s", what);
    cr_assert_eq(a->eos_id, b->eos_id, "%s", what);
    cr_assert_eq(a->add_bos, b->add_bos, "%s", what);
}

static void temporary(char path[FOLDER_MAX + 16], const char *suffix) {
    char folder[FOLDER_MAX];
    folder_make(folder);
    snprintf(path, FOLDER_MAX + 16, "%s/x%s", folder, suffix);
}

/* ---- golden models ---- */

static size_t configs;

static void check_config(const char *folder, const char *name) {
    char path[1600], written[FOLDER_MAX + 16];
    struct fp4_config config, other;
    snprintf(path, sizeof path, "%s/config.json", folder);
    (void)name;
    must(fp4_config_read_json(path, &config));
    configs++;
    snprintf(path, sizeof path, "%s/config.hub.json", folder);
    if (access(path, R_OK) == 0) {
        must(fp4_config_read_json(path, &other));
        same_config(&config, &other, path);
        configs++;
    }
    config.add_bos = !config.add_bos;
    config.no_positions = config.arch == FP4_ARCH_WRITEUP_D;
    temporary(written, ".json");
    must(fp4_config_write(written, &config, FP4_F32));
    must(fp4_config_read_json(written, &other));
    same_config(&config, &other, "written and read back");
}

Test(io, golden_configs) {
    configs = 0;
    each_model(check_config);
    cr_assert_gt(configs, 0);
    golden_count("models", configs);
}

static size_t weights;

/* The parameters that the configuration promises are there, with their shapes; data converts. */
static void check_weights(const char *folder, const char *name) {
    struct fp4_checkpoint *c;
    struct fp4_config config;
    must(fp4_checkpoint_open(folder, &c));
    cr_assert_str_eq(fp4_checkpoint_kind(c), "safetensors");
    cr_assert_gt(fp4_checkpoint_count(c), 0, "%s", name);
    for (size_t i = 0; i < fp4_checkpoint_count(c); i++) {
        const struct fp4_stored *t = fp4_checkpoint_at(c, i);
        cr_assert_eq(fp4_checkpoint_find(c, t->name), t);
        float *x;
        must(FP4_NEW(x, t->elements));
        must(fp4_stored_to_f32(t, 0, t->elements, x));
        double sum = 0;
        for (size_t k = 0; k < t->elements; k++)
            sum += fabs((double)x[k]);
        cr_assert(isfinite(sum) && sum > 0, "%s: %s", name, t->name);
        fp4_free(x);
        weights++;
    }
    must(fp4_config_for(folder, c, &config));
    const struct fp4_stored *e = fp4_checkpoint_find(c, config.arch == FP4_ARCH_OPT ? "model.decoder.embed_tokens.weight" : "model.embed_tokens.weight");
    cr_assert(e && e->n_dims == 2 && e->shape[0] == config.n_vocab && e->shape[1] == (config.n_word ? config.n_word : config.n_embd), "%s", name);
    cr_assert_eq(fp4_checkpoint_find(c, "lm_head.weight") == NULL, config.tied_head, "%s", name);
    cr_assert_null(fp4_checkpoint_find(c, "no such tensor"));
    fp4_checkpoint_close(c);
}

Test(io, golden_weights_open_and_convert) {
    weights = 0;
    each_model(check_weights);
    cr_assert_gt(weights, 0);
}

/* ---- writer, conversions ---- */

static float as_float(const struct fp4_stored *t, size_t i) {
    float x = -99;
    must(fp4_stored_to_f32(t, i, 1, &x));
    return x;
}

Test(io, every_type_survives_a_round_trip) {
    const float f32[6] = {1, -2.5f, 0, 3e38f, 1e-45f, -0.0f};
    const uint16_t f16[6] = {0x3c00, 0xc100, 0x0001, 0x7bff, 0x03ff, 0x8000}, bf16[2] = {0x3f80, 0xff7f};
    const double f64[2] = {0.1, -1e300};
    const int64_t i64[2] = {-3, INT64_MAX};
    const uint64_t u64[1] = {UINT64_MAX};
    const int32_t i32[1] = {-7};
    const uint32_t u32[1] = {4000000000u};
    const int16_t i16[1] = {-300};
    const uint16_t u16[1] = {65535};
    const int8_t i8[3] = {-128, 0, 127};
    const uint8_t u8[1] = {255}, boolean[2] = {1, 0};
    const struct fp4_tensor_out tensors[] = {
        {"odd é \"name\"\n", FP4_U8, 1, {1}, u8},    {"f32", FP4_F32, 2, {2, 3}, f32}, {"f16", FP4_F16, 3, {1, 2, 3}, f16},
        {"bf16", FP4_BF16, 1, {2}, bf16},            {"f64", FP4_F64, 1, {2}, f64},    {"i8", FP4_I8, 4, {3, 1, 1, 1}, i8},
        {"scalar", FP4_I32, 0, {0}, i32},            {"i64", FP4_I64, 1, {2}, i64},    {"u64", FP4_U64, 1, {1}, u64},
        {"u32", FP4_U32, 1, {1}, u32},               {"i16", FP4_I16, 1, {1}, i16},    {"u16", FP4_U16, 1, {1}, u16},
        {"empty", FP4_F32, 2, {0, 5}, NULL},         {"bool", FP4_BOOL, 1, {2}, boolean}};
    const size_t n = sizeof tensors / sizeof *tensors;
    char path[FOLDER_MAX + 16];
    struct fp4_checkpoint *c;
    temporary(path, ".safetensors");
    must(fp4_safetensors_write(path, tensors, n));
    must(fp4_checkpoint_open(path, &c));
    cr_assert_eq(fp4_checkpoint_count(c), n);
    for (size_t i = 0; i < n; i++) {
        const struct fp4_stored *t = fp4_checkpoint_at(c, i);
        cr_assert_str_eq(t->name, tensors[i].name, "the order is kept");
        cr_assert_eq(t->dtype, tensors[i].dtype);
        cr_assert_str_eq(t->type_name, fp4_dtype_name(t->dtype));
        cr_assert_eq(t->n_dims, tensors[i].n_dims);
        cr_assert_arr_eq(t->shape, tensors[i].shape, sizeof(size_t) * (size_t)t->n_dims);
        if (t->bytes)
            cr_assert_arr_eq(t->data, tensors[i].data, t->bytes, "%s", t->name);
    }
    const struct fp4_stored *t = fp4_checkpoint_find(c, "f16");
    const float halves[6] = {1, -2.5f, 0x1p-24f, 65504, 1023 * 0x1p-24f, -0.0f};
    for (size_t i = 0; i < 6; i++)
        cr_assert_eq(as_float(t, i), halves[i]);
    cr_assert(signbit(as_float(t, 5)) && signbit(as_float(fp4_checkpoint_find(c, "f32"), 5)), "negative zero stays");
    cr_assert_eq(as_float(fp4_checkpoint_find(c, "bf16"), 1), -0x1.fep127f);
    cr_assert_eq(as_float(fp4_checkpoint_find(c, "f64"), 0), 0.1f, "F64 rounds");
    cr_assert_eq(as_float(fp4_checkpoint_find(c, "i8"), 0), -128);
    cr_assert_eq(as_float(fp4_checkpoint_find(c, "scalar"), 0), -7);
    cr_assert_eq(as_float(fp4_checkpoint_find(c, "i64"), 1), 0x1p63f);
    cr_assert_eq(as_float(fp4_checkpoint_find(c, "u64"), 0), 0x1p64f);
    cr_assert_eq(as_float(fp4_checkpoint_find(c, "u32"), 0), 4e9f);
    cr_assert_eq(as_float(fp4_checkpoint_find(c, "i16"), 0), -300);
    cr_assert_eq(as_float(fp4_checkpoint_find(c, "u16"), 0), 65535);
    cr_assert_eq(as_float(fp4_checkpoint_find(c, "bool"), 0), 1);
    float x[4];
    cr_assert_eq(fp4_stored_to_f32(t, 4, 3, x), FP4_ERR_ARG, "beyond the end");
    cr_assert_eq(fp4_stored_to_f32(t, SIZE_MAX, 2, x), FP4_ERR_ARG);
    fp4_checkpoint_close(c);
}

/* Every half is exact; NaN and infinity stay what they are. Against the definition, in double. */
Test(io, every_half_and_bfloat_converts_exactly) {
    uint16_t *all;
    float *x;
    must(FP4_NEW(all, 65536));
    must(FP4_NEW(x, 65536));
    for (size_t i = 0; i < 65536; i++)
        all[i] = (uint16_t)i;
    struct fp4_stored t = {.name = "all", .dtype = FP4_F16, .n_dims = 1, .shape = {65536}, .elements = 65536, .bytes = 131072,
                           .data = (const uint8_t *)all};
    must(fp4_stored_to_f32(&t, 0, 65536, x));
    for (unsigned int i = 0; i < 65536; i++) {
        int exponent = (int)(i >> 10 & 31);
        double mantissa = (i & 1023) / 1024.0, sign = i >> 15 ? -1 : 1;
        double want = sign * (exponent ? ldexp(1 + mantissa, exponent - 15) : ldexp(mantissa, -14));
        if (exponent == 31 && mantissa != 0)
            cr_assert(isnan(x[i]), "%u", i);
        else
            cr_assert_eq((double)x[i], exponent == 31 ? sign * INFINITY : want, "%u", i);
    }
    t.dtype = FP4_BF16;
    must(fp4_stored_to_f32(&t, 0, 65536, x));
    for (uint32_t i = 0; i < 65536; i++) {
        uint32_t bits;
        memcpy(&bits, &x[i], 4);
        cr_assert_eq(bits, i << 16);
    }
    fp4_free(all);
    fp4_free(x);
}

Test(io, conversion_is_the_same_for_any_thread_count_and_split) {
    enum { N = 600000 };
    uint16_t *data;
    float *one, *many;
    must(FP4_NEW(data, N));
    must(FP4_NEW(one, N));
    must(FP4_NEW(many, N));
    for (size_t i = 0; i < N; i++)
        data[i] = (uint16_t)(i * 7 % 0x7c00);
    struct fp4_stored t = {.name = "t", .dtype = FP4_F16, .n_dims = 1, .shape = {N}, .elements = N, .bytes = 2 * N, .data = (uint8_t *)data};
    fp4_set_threads(1);
    must(fp4_stored_to_f32(&t, 0, N, one));
    fp4_set_threads(3);
    must(fp4_stored_to_f32(&t, 0, 7, many));
    must(fp4_stored_to_f32(&t, 7, N - 7, many + 7));
    cr_assert_arr_eq(one, many, N * sizeof *one);
    fp4_free(data);
    fp4_free(one);
    fp4_free(many);
}

Test(io, the_writer_refuses_what_cannot_be_read_back) {
    const float x[1] = {0};
    const struct fp4_tensor_out twice[2] = {{"a", FP4_F32, 1, {1}, x}, {"a", FP4_F32, 1, {1}, x}};
    const struct fp4_tensor_out block = {"a", FP4_GGUF_Q8_0, 1, {32}, x}, bad_name = {"\xff", FP4_F32, 1, {1}, x},
                                huge = {"a", FP4_F32, 2, {SIZE_MAX, 2}, x}, reserved = {"__metadata__", FP4_F32, 1, {1}, x},
                                deep = {"a", FP4_F32, 5, {1, 1, 1, 1}, NULL};
    char path[FOLDER_MAX + 16];
    temporary(path, ".safetensors");
    cr_assert_eq(fp4_safetensors_write(path, twice, 2), FP4_ERR_ARG);
    cr_assert_eq(fp4_safetensors_write(path, &block, 1), FP4_ERR_ARG);
    cr_assert_eq(fp4_safetensors_write(path, &bad_name, 1), FP4_ERR_ARG);
    cr_assert_eq(fp4_safetensors_write(path, &huge, 1), FP4_ERR_ARG);
    cr_assert_eq(fp4_safetensors_write(path, &deep, 1), FP4_ERR_ARG);
    cr_assert_not_null(strstr(fp4_last_error(), "5 dimensions"));
    cr_assert_eq(fp4_safetensors_write(path, &reserved, 1), FP4_ERR_ARG);
    cr_assert_neq(access(path, F_OK), 0, "nothing is left behind");
    cr_assert_eq(fp4_safetensors_write("/nonexistent/folder/x", twice, 1), FP4_ERR_IO);
}

/* ---- config.json ---- */

#define LLAMA "\"model_type\":\"llama\",\"vocab_size\":10,\"hidden_size\":8,\"num_hidden_layers\":1,\"num_attention_heads\":2,\"intermediate_size\":4"

Test(io, configs_that_would_change_the_numbers_are_refused_by_name) {
    static const struct {
        const char *fields;
        fp4_status status;
        const char *names;
    } cases[] = {
        {LLAMA, FP4_OK, ""},
        {LLAMA ",\"rope_scaling\":null,\"sliding_window\":null,\"attention_bias\":false,\"hidden_act\":\"silu\"", FP4_OK, ""},
        {LLAMA ",\"eos_token_id\":[3,4]", FP4_OK, ""},
        {LLAMA ",\"rope_scaling\":{\"type\":\"linear\",\"factor\":2.0}", FP4_OK, ""},
        {LLAMA ",\"rope_scaling\":{\"type\":\"linear\"}", FP4_ERR_FORMAT, "without factor"},
        {LLAMA ",\"rope_scaling\":{\"type\":\"linear\",\"factor\":-2}", FP4_ERR_FORMAT, "factor -2"},
        {LLAMA ",\"rope_scaling\":{\"factor\":2}", FP4_ERR_UNSUPPORTED, "rope_scaling"},
        {LLAMA ",\"rope_scaling\":{\"type\":\"dynamic\",\"factor\":2}", FP4_ERR_UNSUPPORTED, "dynamic"},
        {LLAMA ",\"rope_scaling\":{\"rope_type\":\"llama3\",\"factor\":8.0}", FP4_ERR_FORMAT, "low_freq_factor"},
        {LLAMA ",\"rope_scaling\":{\"rope_type\":\"llama3\",\"factor\":8,\"low_freq_factor\":4,\"high_freq_factor\":4,\"original_max_position_embeddings\":64}",
         FP4_ERR_FORMAT, "out of range"},
        {LLAMA ",\"rope_scaling\":{\"rope_type\":\"llama3\",\"factor\":8,\"low_freq_factor\":1,\"high_freq_factor\":4,\"original_max_position_embeddings\":64}",
         FP4_OK, ""},
        {LLAMA ",\"rope_parameters\":{\"rope_type\":\"yarn\",\"rope_theta\":1e4}", FP4_ERR_UNSUPPORTED, "rope_parameters"},
        {LLAMA ",\"rope_parameters\":{\"rope_type\":\"default\",\"partial_rotary_factor\":0.5}", FP4_ERR_UNSUPPORTED, "partial"},
        {LLAMA ",\"hidden_act\":\"gelu\"", FP4_ERR_UNSUPPORTED, "gelu"},
        {LLAMA ",\"attention_bias\":true,\"mlp_bias\":true", FP4_OK, ""},
        {LLAMA ",\"attention_bias\":1", FP4_ERR_FORMAT, "attention_bias"},
        {LLAMA ",\"sliding_window\":1024", FP4_ERR_UNSUPPORTED, "sliding_window"},
        {LLAMA ",\"quantization_config\":{\"bits\":4}", FP4_ERR_UNSUPPORTED, "quantization_config"},
        {LLAMA ",\"no_positions\":true", FP4_ERR_UNSUPPORTED, "no_positions"},
        {"\"model_type\":\"gpt2\"", FP4_ERR_UNSUPPORTED, "gpt2"},
        {"\"vocab_size\":10", FP4_ERR_FORMAT, "model_type"},
        {"\"model_type\":\"llama\",\"vocab_size\":10", FP4_ERR_FORMAT, "hidden_size"},
        {LLAMA ",\"num_key_value_heads\":0", FP4_ERR_FORMAT, "key-value heads"},
        {LLAMA ",\"num_key_value_heads\":3", FP4_ERR_FORMAT, "multiple"},
        {LLAMA ",\"head_dim\":3", FP4_ERR_FORMAT, "odd"},
        {LLAMA ",\"head_dim\":-1", FP4_ERR_FORMAT, "head_dim"},
        {LLAMA ",\"head_dim\":99999999999999", FP4_ERR_FORMAT, "head width"},
        {LLAMA ",\"rms_norm_eps\":\"small\"", FP4_ERR_FORMAT, "rms_norm_eps"},
        {LLAMA ",\"tie_word_embeddings\":1", FP4_ERR_FORMAT, "tie_word_embeddings"},
        {LLAMA ",\"bos_token_id\":10", FP4_ERR_FORMAT, "vocabulary"},
        {LLAMA ",\"hidden_size\":8", FP4_ERR_FORMAT, "duplicate"},
    };
    char path[FOLDER_MAX + 16], text[1024];
    struct fp4_config config;
    temporary(path, ".json");
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        int n = snprintf(text, sizeof text, "{%s}", cases[i].fields);
        write_bytes(path, text, (size_t)n);
        cr_assert_eq(fp4_config_read_json(path, &config), cases[i].status, "%s: %s", cases[i].fields, fp4_last_error());
        if (cases[i].status != FP4_OK)
            cr_assert_not_null(strstr(fp4_last_error(), cases[i].names), "%s: %s", cases[i].fields, fp4_last_error());
        for (int cut = 0; cut < n && i == 0; cut++) {
            write_bytes(path, text, (size_t)cut);
            cr_assert_eq(fp4_config_read_json(path, &config), FP4_ERR_FORMAT, "%d", cut);
        }
    }
}
