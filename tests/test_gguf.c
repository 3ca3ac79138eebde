/* GGUF: the real small model field by field, the block types, and files from strangers. */
#include <jansson.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "fp4lab/io.h"
#include "fp4lab/text.h"
#include "lib/io/checkpoint.h"
#include "tests/bytes.h"
#include "tests/support.h"

static json_t *load_json(const char *path) {
    json_error_t error;
    json_t *root = json_load_file(path, 0, &error);
    cr_assert_not_null(root, "%s: %s", path, error.text);
    return root;
}

static const char *text_of(json_t *object, const char *key) { return json_string_value(json_object_get(object, key)); }
static size_t size_of(json_t *object, const char *key) { return (size_t)json_integer_value(json_object_get(object, key)); }

/* ---- the real model ---- */

static void check_array(json_t *want, const struct fp4_meta *m) {
    cr_assert_eq(m->kind, FP4_META_ARRAY);
    cr_assert_str_eq(m->element_type, text_of(want, "element_type"), "%s", m->key);
    cr_assert_eq(m->length, size_of(want, "length"), "%s", m->key);
    struct fp4_sha256 h;
    char hex[65];
    must(fp4_sha256_begin(&h));
    json_t *first = json_object_get(want, "first");
    if (strcmp(m->element_type, "STRING") == 0) {
        for (size_t i = 0; i < m->length; i++) {
            const char *bytes;
            size_t n;
            must(fp4_gguf_array_string(m, i, &bytes, &n));
            fp4_sha256_update(&h, bytes, n);
            fp4_sha256_update(&h, "\n", 1);
            json_t *expected = json_array_get(first, i);
            if (expected)
                cr_assert(n == json_string_length(expected) && memcmp(bytes, json_string_value(expected), n) == 0, "%s %zu", m->key, i);
        }
    } else {
        size_t n;
        const uint8_t *raw = fp4_gguf_array_raw(m, &n);
        fp4_sha256_update(&h, raw, n);
        for (size_t i = 0; i < json_array_size(first); i++) {
            double value = NAN;
            must(fp4_gguf_array_number(m, i, &value));
            cr_assert_eq(value, json_number_value(json_array_get(first, i)), "%s %zu", m->key, i);
        }
    }
    fp4_sha256_end(&h, hex);
    cr_assert_str_eq(hex, text_of(want, "sha256"), "%s", m->key);
}

static void check_value(json_t *want, const struct fp4_meta *m) {
    json_t *value = json_object_get(want, "value");
    cr_assert_str_eq(m->key, text_of(want, "key"));
    cr_assert_str_eq(m->type_name, text_of(want, "type"), "%s", m->key);
    switch (m->kind) {
    case FP4_META_ARRAY: check_array(want, m); break;
    case FP4_META_STRING:
        cr_assert_eq(m->length, json_string_length(value), "%s", m->key);
        cr_assert_str_eq(m->string, json_string_value(value), "%s", m->key);
        break;
    case FP4_META_BOOL: cr_assert_eq(m->integer, json_is_true(value), "%s", m->key); break;
    case FP4_META_INT: cr_assert_eq(m->integer, json_integer_value(value), "%s", m->key); break;
    case FP4_META_FLOAT: {
        cr_assert_eq(m->number, json_number_value(value), "%s", m->key);
        const char *bits = text_of(want, "bits");
        float f = (float)m->number;
        uint32_t got;
        memcpy(&got, &f, sizeof got);
        if (bits)
            cr_assert_eq(got, strtoul(bits, NULL, 16), "%s", m->key);
        break;
    }
    default: cr_assert_fail("%s: no kind", m->key);
    }
}

static void check_numbers(json_t *want, const struct fp4_stored *t, const float *x) {
    char hex[65];
    must(fp4_sha256_buffer(x, t->elements * sizeof *x, hex));
    cr_assert_str_eq(hex, text_of(want, "f32_sha256"), "%s", t->name);
    double sum = 0, magnitudes = 0, amax = 0;
    for (size_t i = 0; i < t->elements; i++) {
        sum += (double)x[i];
        magnitudes += fabs((double)x[i]);
        amax = fmax(amax, fabs((double)x[i]));
    }
    /* two float64 sums in different orders: each term is rounded at most n times on its way */
    double bound = 2 * (double)t->elements * 0x1p-53 * magnitudes;
    cr_assert_leq(fabs(sum - json_number_value(json_object_get(want, "f32_sum"))), bound, "%s", t->name);
    cr_assert_eq(amax, json_number_value(json_object_get(want, "f32_amax")), "%s", t->name);
    json_t *first = json_object_get(want, "f32_first");
    for (size_t i = 0; i < json_array_size(first); i++)
        cr_assert_eq((double)x[i], json_number_value(json_array_get(first, i)), "%s %zu", t->name, i);
}

static void check_tensor(json_t *want, const struct fp4_stored *t) {
    char hex[65];
    json_t *shape = json_object_get(want, "shape");
    cr_assert_str_eq(t->name, text_of(want, "name"));
    cr_assert_str_eq(t->type_name, text_of(want, "type"), "%s", t->name);
    cr_assert_eq((size_t)t->n_dims, json_array_size(shape), "%s", t->name);
    size_t elements = 1;
    for (int i = 0; i < t->n_dims; i++) {
        cr_assert_eq(t->shape[i], (size_t)json_integer_value(json_array_get(shape, (size_t)i)), "%s", t->name);
        elements *= t->shape[i];
    }
    cr_assert_eq(t->elements, elements, "%s", t->name);
    cr_assert_eq(t->offset, size_of(want, "file_offset"), "%s", t->name);
    cr_assert_eq(t->bytes, size_of(want, "bytes"), "%s", t->name);
    must(fp4_sha256_buffer(t->data, t->bytes, hex));
    cr_assert_str_eq(hex, text_of(want, "sha256"), "%s", t->name);
    float *x;
    must(FP4_NEW(x, elements));
    must(fp4_stored_to_f32(t, 0, elements, x));
    check_numbers(want, t, x);
    fp4_free(x);
}

/* What the metadata says, once more as a configuration. */
static void check_model_config(const struct fp4_checkpoint *c, const char *path) {
    struct fp4_config config;
    must(fp4_config_for(path, c, &config));
    const struct {
        const char *key;
        size_t got;
    } sizes[] = {{"llama.block_count", config.n_layer},           {"llama.context_length", config.n_ctx},
                 {"llama.embedding_length", config.n_embd},       {"llama.feed_forward_length", config.n_ff},
                 {"llama.attention.head_count", config.n_head},   {"llama.attention.head_count_kv", config.n_kv_head},
                 {"llama.vocab_size", config.n_vocab},            {"llama.rope.dimension_count", config.head_dim},
                 {"tokenizer.ggml.bos_token_id", (size_t)config.bos_id}, {"tokenizer.ggml.eos_token_id", (size_t)config.eos_id}};
    for (size_t i = 0; i < sizeof sizes / sizeof *sizes; i++)
        cr_assert_eq(fp4_gguf_meta_find(c, sizes[i].key)->integer, (int64_t)sizes[i].got, "%s", sizes[i].key);
    cr_assert_eq(fp4_gguf_meta_find(c, "llama.rope.freq_base")->number, config.rope_theta);
    cr_assert_eq(fp4_gguf_meta_find(c, "llama.attention.layer_norm_rms_epsilon")->number, (double)config.norm_eps);
    cr_assert_eq(fp4_gguf_meta_find(c, "tokenizer.ggml.add_bos_token")->integer, config.add_bos);
    cr_assert_eq(config.tied_head, fp4_checkpoint_find(c, "output.weight") == NULL);
}

Test(gguf, the_real_model_field_by_field) {
    json_t *root = load_json(golden_file("smollm2/gguf.json"));
    json_t *metadata = json_object_get(root, "metadata"), *tensors = json_object_get(root, "tensors"), *file = json_object_get(root, "file");
    char path[4096];
    if (fp4_asset_find(text_of(file, "name"), path, sizeof path) != FP4_OK)
        skip_test("smollm2/gguf.json", fp4_last_error());
    struct fp4_checkpoint *c;
    struct fp4_gguf_header header;
    must(fp4_checkpoint_open(path, &c));
    cr_assert_str_eq(fp4_checkpoint_kind(c), "gguf");
    must(fp4_gguf_header(c, &header));
    cr_assert_eq(header.version, size_of(root, "version"));
    cr_assert_eq(header.tensor_count, size_of(root, "tensor_count"));
    cr_assert_eq(header.kv_count, size_of(root, "kv_count"));
    cr_assert_eq(header.alignment, size_of(root, "alignment"));
    cr_assert_eq(header.data_offset, size_of(root, "data_offset"));
    cr_assert_eq(fp4_gguf_meta_count(c), json_array_size(metadata));
    for (size_t i = 0; i < json_array_size(metadata); i++) {
        check_value(json_array_get(metadata, i), fp4_gguf_meta_at(c, i));
        cr_assert_eq(fp4_gguf_meta_find(c, text_of(json_array_get(metadata, i), "key")), fp4_gguf_meta_at(c, i));
    }
    cr_assert_eq(fp4_checkpoint_count(c), json_array_size(tensors));
    size_t parameters = 0;
    for (size_t i = 0; i < json_array_size(tensors); i++) {
        check_tensor(json_array_get(tensors, i), fp4_checkpoint_at(c, i));
        parameters += fp4_checkpoint_at(c, i)->elements;
    }
    cr_assert_eq(parameters, size_of(root, "parameters"));
    check_model_config(c, path);
    golden_count("smollm2", json_array_size(metadata) + json_array_size(tensors));
    fp4_checkpoint_close(c);
    json_decref(root);
}

/* ---- block types ---- */

/* ggml's numbers of the types in golden/gguf_types. */
static const struct {
    const char *name;
    uint32_t id;
    bool exact; /* one product: the reference's bits. Else a sum: 2⁻²² of the block's largest */
} type_ids[] = {{"F16", 1, true},     {"Q4_0", 2, true},    {"Q4_1", 3, false},   {"Q5_0", 6, true},   {"Q5_1", 7, false},  {"Q8_0", 8, true},
                {"Q2_K", 10, false},  {"Q3_K", 11, false},  {"Q4_K", 12, false},  {"Q5_K", 13, false}, {"Q6_K", 14, true},  {"IQ4_NL", 20, true},
                {"IQ4_XS", 23, false}, {"BF16", 30, true},  {"MXFP4", 39, true},  {"NVFP4", 40, true}};

/* A GGUF file with one tensor. */
static struct bytes one_tensor(const char *name, uint32_t type, size_t rows, size_t cols, const void *data, size_t bytes) {
    struct bytes b = {0};
    put(&b, "GGUF", 4);
    put_u32(&b, 3);
    put_u64(&b, 1);
    put_u64(&b, 0);
    put_string(&b, name);
    put_u32(&b, 2);
    put_u64(&b, cols);
    put_u64(&b, rows);
    put_u32(&b, type);
    put_u64(&b, 0);
    put_padding(&b, 32);
    put(&b, data, bytes);
    return b;
}

/* Infinities must be the same, and what is NaN is NaN: a stranger's scale may be either. */
static void compare_blocks(const char *type, bool exact, const struct fp4_stored *want, const float *got) {
    const float *reference = (const float *)(const void *)want->data;
    size_t block = want->shape[1];
    for (size_t row = 0; row < want->shape[0]; row++) {
        float largest = 0;
        for (size_t i = row * block; i < (row + 1) * block; i++)
            largest = isfinite(reference[i]) ? fmaxf(largest, fabsf(reference[i])) : largest;
        for (size_t i = row * block; i < (row + 1) * block; i++) {
            float bound = exact ? 0x1p-23f * fabsf(reference[i]) : 0x1p-22f * largest;
            bool same = isfinite(reference[i]) ? fabsf(got[i] - reference[i]) <= bound
                                               : got[i] == reference[i] || (isnan(got[i]) && isnan(reference[i]));
            cr_assert(same, "%s, element %zu: %.9g, not %.9g", type, i, (double)got[i], (double)reference[i]);
        }
    }
}

static void check_type(const char *type, const struct fp4_stored *raw, const struct fp4_stored *want) {
    size_t k = 0, n = sizeof type_ids / sizeof *type_ids;
    while (k < n && strcmp(type_ids[k].name, type) != 0)
        k++;
    cr_assert_lt(k, n, "%s is not in the table of this test", type);
    struct bytes b = one_tensor("blocks", type_ids[k].id, want->shape[0], want->shape[1], raw->data, raw->bytes);
    struct fp4_checkpoint *c;
    must(io_checkpoint_parse("types.gguf", b.data, b.n, &c));
    const struct fp4_stored *t = fp4_checkpoint_find(c, "blocks");
    cr_assert(t && t->elements == want->elements && t->bytes == raw->bytes, "%s", type);
    cr_assert_str_eq(t->type_name, type);
    float *got, *pieces;
    must(FP4_NEW(got, t->elements));
    must(FP4_NEW(pieces, t->elements));
    must(fp4_stored_to_f32(t, 0, t->elements, got));
    compare_blocks(type, type_ids[k].exact, want, got);
    for (size_t row = 0; row < want->shape[0]; row++)
        must(fp4_stored_to_f32(t, row * want->shape[1], want->shape[1], pieces + row * want->shape[1]));
    cr_assert_arr_eq(got, pieces, t->elements * sizeof *got, "%s", type);
    cr_assert_eq(fp4_stored_to_f32(t, want->elements, want->shape[1], pieces), FP4_ERR_ARG);
    fp4_free(got);
    fp4_free(pieces);
    fp4_checkpoint_close(c);
    free(b.data);
}

Test(gguf, golden_block_types) {
    struct fp4_checkpoint *c;
    must(fp4_checkpoint_open(golden_file("gguf_types/blocks.safetensors"), &c));
    size_t compared = 0;
    for (size_t i = 0; i < fp4_checkpoint_count(c); i++) {
        const struct fp4_stored *raw = fp4_checkpoint_at(c, i);
        const char *slash = strchr(raw->name, '/');
        if (!slash || strcmp(slash, "/raw") != 0)
            continue;
        char type[32], name[64];
        snprintf(type, sizeof type, "%.*s", (int)(slash - raw->name), raw->name);
        snprintf(name, sizeof name, "%s/f32", type);
        const struct fp4_stored *want = fp4_checkpoint_find(c, name);
        cr_assert(want && want->dtype == FP4_F32 && want->n_dims == 2, "%s", name);
        check_type(type, raw, want);
        compared++;
    }
    cr_assert_gt(compared, 0);
    golden_count("gguf_types", compared);
    fp4_checkpoint_close(c);
}

Test(gguf, ranges_of_block_types_are_whole_blocks) {
    uint8_t data[2 * 34] = {0, 0x3c, 1, 2, 3}; /* d = 1 */
    struct bytes b = one_tensor("t", 8, 2, 32, data, sizeof data);
    struct fp4_checkpoint *c;
    float x[64];
    must(io_checkpoint_parse("t.gguf", b.data, b.n, &c));
    const struct fp4_stored *t = fp4_checkpoint_at(c, 0);
    cr_assert_eq(fp4_stored_to_f32(t, 0, 16, x), FP4_ERR_ARG);
    cr_assert_eq(fp4_stored_to_f32(t, 16, 32, x), FP4_ERR_ARG);
    must(fp4_stored_to_f32(t, 0, 32, x));
    cr_assert(x[0] == 1 && x[1] == 2 && x[2] == 3 && x[3] == 0);
    must(fp4_stored_to_f32(t, 32, 32, x));
    cr_assert_eq(x[0], 0);
    fp4_checkpoint_close(c);
    free(b.data);
}

/* A type without a conversion is there by name and size, and refused by name when its numbers are wanted. */
Test(gguf, types_without_conversion_are_named) {
    const struct {
        uint32_t id;
        const char *name;
        size_t block, bytes;
    } types[] = {{9, "Q8_1", 32, 36}, {15, "Q8_K", 256, 292}, {16, "IQ2_XXS", 256, 66}, {29, "IQ1_M", 256, 56}, {34, "TQ1_0", 256, 54}};
    for (size_t i = 0; i < sizeof types / sizeof *types; i++) {
        uint8_t data[292] = {0};
        float x[256];
        struct bytes b = one_tensor("blk.0.attn_q.weight", types[i].id, 1, types[i].block, data, types[i].bytes);
        struct fp4_checkpoint *c;
        must(io_checkpoint_parse("t.gguf", b.data, b.n, &c));
        const struct fp4_stored *t = fp4_checkpoint_at(c, 0);
        cr_assert(t->bytes == types[i].bytes && strcmp(t->type_name, types[i].name) == 0, "%s", types[i].name);
        cr_assert_eq(fp4_stored_to_f32(t, 0, t->elements, x), FP4_ERR_UNSUPPORTED);
        cr_assert(strstr(fp4_last_error(), types[i].name) && strstr(fp4_last_error(), "blk.0.attn_q.weight"), "%s", fp4_last_error());
        fp4_checkpoint_close(c);
        free(b.data);
    }
}

/* What the random blocks of the reference do not hold: the ends of the scales. OCP FP8: E4M3's least is 2⁻⁹, its largest 448; MX: 2⁻¹²⁷ … 2¹²⁷. */
Test(gguf, ends_of_fp4_scales) {
    uint8_t nv[36] = {0x00, 0x01, 0x7e, 0x7f}, mx[2][17] = {{0}, {254}};
    for (int run = 0; run < 4; run++)
        nv[4 + 8 * run] = 0xf7; /* +6, and −6 in the second half */
    mx[0][1] = mx[1][1] = 0x21; /* 0.5 and 1 */
    float x[64];
    struct fp4_checkpoint *c;
    struct bytes b = one_tensor("t", 40, 1, 64, nv, sizeof nv);
    must(io_checkpoint_parse("t.gguf", b.data, b.n, &c));
    must(fp4_stored_to_f32(fp4_checkpoint_at(c, 0), 0, 64, x));
    const float scales[4] = {0.0f, 0x1p-9f, 448.0f, 0.0f};
    for (int run = 0; run < 4; run++)
        cr_assert(x[16 * run] == 6 * scales[run] && x[16 * run + 8] == -6 * scales[run] && x[16 * run + 1] == 0, "scale %d", run);
    fp4_checkpoint_close(c);
    free(b.data);
    b = one_tensor("t", 39, 2, 32, mx, sizeof mx);
    must(io_checkpoint_parse("t.gguf", b.data, b.n, &c));
    must(fp4_stored_to_f32(fp4_checkpoint_at(c, 0), 0, 64, x));
    cr_assert(x[0] == 0x1p-128f && x[16] == 0x1p-127f && x[32] == 0x1p126f && x[48] == 0x1p127f);
    fp4_checkpoint_close(c);
    free(b.data);
}
