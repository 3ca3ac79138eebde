/* GGUF files that fp4lab writes: read back by its own reader and by the gguf package; vocabularies on their way between files. */
#include <jansson.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "fp4lab/model.h"
#include "lib/text/vocab.h"
#include "tests/folders.h"
#include "tests/support.h"

static struct fp4_config config_of(int variant) {
    struct fp4_config c = {.arch = FP4_ARCH_LLAMA, .n_vocab = 96, .n_embd = 64, .n_layer = 2, .n_head = 4, .n_kv_head = 2, .head_dim = 16, .n_ff = 128, .n_ctx = 64,
                           .norm_eps = 1e-5f, .rope_theta = 1e4, .tied_head = true, .bos_id = 1, .eos_id = 2, .add_bos = true};
    if (variant == 1) {
        c.tied_head = false;
        c.head_dim = 24; /* unlike width over heads */
        c.attention_bias = c.mlp_bias = true;
        c.rope = (struct fp4_rope){.kind = FP4_ROPE_LINEAR, .factor = 4};
    }
    if (variant == 2) {
        c.n_kv_head = 1;
        c.rope = (struct fp4_rope){FP4_ROPE_LLAMA3, 8, 1, 4, 8192, {0}};
        c.bos_id = c.eos_id = -1;
        c.add_bos = false;
    }
    return c;
}
enum { VARIANTS = 3 };

/* Vectors get values of their own too: initial biases are 0 and norms 1. */
static struct fp4_model *model_of(const struct fp4_config *c) {
    struct fp4_model *m;
    must(fp4_model_create(c, 7, fp4_backend_cpu(), &m));
    for (size_t i = 0; i < fp4_model_n_params(m); i++) {
        struct fp4_param *p = fp4_model_param(m, i);
        float *x;
        must(FP4_NEW(x, p->elements));
        fp4_random_normal(&(struct fp4_random){.seed = 3, .stream = FP4_STREAM_TEST, .layer = (uint32_t)i}, 0, p->elements, x);
        must(fp4_model_set(m, p, x));
        fp4_free(x);
    }
    return m;
}

static void params_equal(struct fp4_model *a, struct fp4_model *b) {
    char x[65], y[65];
    cr_assert_eq(fp4_model_n_params(a), fp4_model_n_params(b));
    must(fp4_model_hash(a, x));
    must(fp4_model_hash(b, y));
    cr_assert_str_eq(x, y);
}

static void logits_of(struct fp4_model *m, float *logits) {
    static const int32_t ids[] = {1, 7, 9, 30, 81, 2};
    must(fp4_model_logits(m, ids, 6, 1, logits));
}

/* ---- what our reader finds ---- */

Test(export_gguf, the_model_comes_back) {
    for (int v = 0; v < VARIANTS; v++) {
        struct fp4_config c = config_of(v);
        char folder[FOLDER_MAX];
        struct fp4_model *m = model_of(&c), *back;
        float want[96], got[96];
        folder_make(folder);
        const char *path = folder_file(folder, "x.gguf"), *again = folder_file(folder, "y.gguf");
        must(fp4_model_export_gguf(m, path, NULL, &(struct fp4_export){.dtype = FP4_F32}, NULL));
        must(fp4_model_load(path, fp4_backend_cpu(), &back));
        struct fp4_tokenizer *none;
        cr_assert_neq(fp4_tokenizer_open(path, &none), FP4_OK);
        cr_assert_not_null(strstr(fp4_last_error(), "holds no tokenizer"), "%s", fp4_last_error());
        params_equal(m, back);
        logits_of(m, want);
        logits_of(back, got);
        cr_assert_arr_eq(got, want, sizeof want, "configuration %d", v);
        const struct fp4_config *found = fp4_model_config(back);
        cr_assert(found->bos_id == c.bos_id && found->eos_id == c.eos_id && found->add_bos == c.add_bos && found->n_ctx == c.n_ctx, "configuration %d", v);
        must(fp4_model_export_gguf(back, again, NULL, &(struct fp4_export){.dtype = FP4_F32}, NULL));
        cr_assert(files_equal(path, again), "an export of an export");
        fp4_model_free(back);
        fp4_model_free(m);
    }
}

/* A 16-bit file gives what a 16-bit folder gives, but for vectors, which stay fp32 as llama.cpp has them. */
Test(export_gguf, matrices_are_rounded_and_vectors_are_not) {
    static const enum fp4_dtype types[] = {FP4_BF16, FP4_F16};
    struct fp4_config c = config_of(1);
    struct fp4_model *m = model_of(&c), *a, *b;
    for (size_t t = 0; t < 2; t++) {
        char folder[FOLDER_MAX];
        folder_make(folder);
        struct fp4_export o = {.dtype = types[t]};
        must(fp4_model_export_gguf(m, folder_file(folder, "x.gguf"), NULL, &o, NULL));
        must(fp4_model_export(m, folder_file(folder, "x"), &o, NULL));
        must(fp4_model_load(folder_file(folder, "x.gguf"), fp4_backend_cpu(), &a));
        must(fp4_model_load(folder_file(folder, "x"), fp4_backend_cpu(), &b));
        for (size_t i = 0; i < fp4_model_n_params(m); i++) {
            struct fp4_param *p = fp4_model_param(m, i);
            float *x, *y;
            must(FP4_NEW(x, p->elements));
            must(FP4_NEW(y, p->elements));
            must(fp4_model_get(a, fp4_model_param(a, i), x));
            must(fp4_model_get(p->rows > 1 ? b : m, fp4_model_param(p->rows > 1 ? b : m, i), y));
            cr_assert_arr_eq(x, y, p->elements * sizeof *x, "%s", p->name);
            fp4_free(x);
            fp4_free(y);
        }
        fp4_model_free(a);
        fp4_model_free(b);
    }
    fp4_model_free(m);
}

Test(export_gguf, eight_bits) {
    struct fp4_config c = config_of(0);
    c.n_embd = 48; /* no multiple of 32: F16 */
    c.head_dim = 12;
    struct fp4_model *m = model_of(&c), *back;
    struct fp4_checkpoint *file;
    char folder[FOLDER_MAX];
    folder_make(folder);
    const char *path = folder_file(folder, "x.gguf");
    must(fp4_model_export_gguf(m, path, NULL, &(struct fp4_export){.dtype = FP4_GGUF_Q8_0}, NULL));
    must(fp4_checkpoint_open(path, &file));
    cr_assert_eq(fp4_checkpoint_find(file, "blk.0.attn_q.weight")->dtype, FP4_F16);
    cr_assert_eq(fp4_checkpoint_find(file, "blk.0.ffn_down.weight")->dtype, FP4_GGUF_Q8_0);
    cr_assert_eq(fp4_checkpoint_find(file, "output_norm.weight")->dtype, FP4_F32);
    fp4_checkpoint_close(file);
    must(fp4_model_load(path, fp4_backend_cpu(), &back));
    struct fp4_param *p = fp4_model_find_param(m, "model.layers.0.mlp.down_proj.weight");
    const float *x = p->data, *y = fp4_model_find_param(back, p->name)->data;
    for (size_t i = 0; i < p->elements; i += 32) {
        float amax = 0;
        for (size_t j = i; j < i + 32; j++)
            amax = x[j] > amax ? x[j] : -x[j] > amax ? -x[j] : amax;
        for (size_t j = i; j < i + 32; j++) { /* half a step of amax/127; the step itself is off by 2⁻¹¹ of it */
            float error = x[j] > y[j] ? x[j] - y[j] : y[j] - x[j];
            cr_assert_leq(error, amax / 127 * (0.5f + 127 * 0x1p-11f), "element %zu: %g, not %g", j, (double)y[j], (double)x[j]);
        }
    }
    fp4_model_free(back);
    fp4_model_free(m);
}

/* The blocks hold what the same weights rounded to mxfp4:floor and written in fp32 are. */
Test(export_gguf, microscaling) {
    struct fp4_config c = config_of(1);
    struct fp4_model *m = model_of(&c), *a, *b;
    struct fp4_checkpoint *file;
    struct fp4_export o = {.dtype = FP4_F32};
    char folder[FOLDER_MAX];
    folder_make(folder);
    const char *packed = folder_file(folder, "x.gguf"), *plain = folder_file(folder, "y.gguf");
    must(fp4_quantizer_parse("mxfp4:floor", &o.weights));
    must(fp4_model_export_gguf(m, packed, NULL, &(struct fp4_export){.dtype = FP4_GGUF_MXFP4}, NULL));
    must(fp4_model_export_gguf(m, plain, NULL, &o, NULL));
    must(fp4_checkpoint_open(packed, &file));
    cr_assert_eq(fp4_checkpoint_find(file, "blk.1.ffn_up.weight")->dtype, FP4_GGUF_MXFP4);
    cr_assert_eq(fp4_checkpoint_find(file, "token_embd.weight")->dtype, FP4_BF16);
    fp4_checkpoint_close(file);
    must(fp4_model_load(packed, fp4_backend_cpu(), &a));
    must(fp4_model_load(plain, fp4_backend_cpu(), &b));
    for (size_t i = 0; i < fp4_model_n_linear(a); i++) {
        const struct fp4_linear *l = fp4_model_linear(a, i);
        const struct fp4_param *p = fp4_model_param(a, l->param), *q = fp4_model_param(b, l->param);
        for (size_t j = 0; l->layer < c.n_layer && j < p->elements; j++)
            cr_assert_eq(p->data[j], q->data[j], "%s[%zu]: %g, not %g", p->name, j, (double)p->data[j], (double)q->data[j]); /* −0 comes back as 0 */
    }
    fp4_model_free(a);
    fp4_model_free(b);
    fp4_model_free(m);
}

Test(export_gguf, refusals) {
    struct fp4_config c = config_of(0);
    struct fp4_model *m = model_of(&c);
    char folder[FOLDER_MAX];
    folder_make(folder);
    const char *path = folder_file(folder, "x.gguf");
    must(fp4_write_file(path, "mine", 4));
    cr_assert_eq(fp4_model_export_gguf(m, path, NULL, &(struct fp4_export){.dtype = FP4_F32}, NULL), FP4_ERR_ARG);
    cr_assert_not_null(strstr(fp4_last_error(), "--force"), "%s", fp4_last_error());
    must(fp4_model_export_gguf(m, path, NULL, &(struct fp4_export){.dtype = FP4_F32, .force = true}, NULL));
    cr_assert_eq(fp4_model_export_gguf(m, folder_file(folder, "y"), NULL, &(struct fp4_export){.dtype = FP4_F64}, NULL), FP4_ERR_ARG);
    cr_assert_eq(fp4_model_export_gguf(m, folder_file(folder, "y"), folder, &(struct fp4_export){.dtype = FP4_F32}, NULL), FP4_ERR_IO, "no tokenizer.json");
    fp4_model_free(m);
    c.arch = FP4_ARCH_WRITEUP_D;
    c.n_kv_head = c.n_head;
    m = model_of(&c);
    cr_assert_eq(fp4_model_export_gguf(m, folder_file(folder, "y"), NULL, &(struct fp4_export){.dtype = FP4_F32}, NULL), FP4_ERR_UNSUPPORTED);
    cr_assert_not_null(strstr(fp4_last_error(), "llama.cpp"), "%s", fp4_last_error());
    fp4_model_free(m);
}

/* ---- the gguf package ---- */

static json_t *json_of(char *text) {
    json_error_t error;
    json_t *root = json_loads(text, JSON_DISABLE_EOF_CHECK, &error);
    cr_assert_not_null(root, "%s: %s", error.text, text);
    free(text);
    return root;
}

static void check_tensors(const char *path, const json_t *seen) {
    struct fp4_checkpoint *c;
    must(fp4_checkpoint_open(path, &c));
    cr_assert_eq(json_object_size(seen), fp4_checkpoint_count(c));
    for (size_t i = 0; i < fp4_checkpoint_count(c); i++) {
        const struct fp4_stored *t = fp4_checkpoint_at(c, i);
        const json_t *theirs = json_object_get(seen, t->name);
        char hex[65];
        float *x;
        must(FP4_NEW(x, t->elements));
        must(fp4_stored_to_f32(t, 0, t->elements, x));
        must(fp4_sha256_buffer(x, t->elements * sizeof *x, hex));
        cr_assert_str_eq(json_string_value(json_object_get(theirs, "sha256")), hex, "%s", t->name);
        cr_assert_str_eq(json_string_value(json_object_get(theirs, "type")), t->type_name, "%s", t->name);
        cr_assert_eq((size_t)json_integer_value(json_array_get(json_object_get(theirs, "shape"), 0)), t->shape[0]);
        fp4_free(x);
    }
    fp4_checkpoint_close(c);
}

Test(export_gguf, the_gguf_package_reads_the_same, .timeout = 120) {
    static const struct {
        const char *name;
        enum fp4_dtype type;
    } types[] = {{"f32.gguf", FP4_F32}, {"bf16.gguf", FP4_BF16}, {"f16.gguf", FP4_F16}, {"q8_0.gguf", FP4_GGUF_Q8_0}, {"mxfp4.gguf", FP4_GGUF_MXFP4}};
    enum { N_TYPES = sizeof types / sizeof *types };
    char folder[FOLDER_MAX];
    folder_make(folder);
    for (int v = 0; v < VARIANTS; v++) {
        struct fp4_config c = config_of(v);
        struct fp4_model *m = model_of(&c);
        for (size_t t = 0; t < N_TYPES; t++) {
            const char *path = folder_file(folder, types[t].name);
            must(fp4_model_export_gguf(m, path, NULL, &(struct fp4_export){.dtype = types[t].type, .force = true}, NULL));
            json_t *seen = json_of(python_output("gguf", "gguf_values.py", (const char *const[]){path, NULL}));
            check_tensors(path, json_object_get(seen, "tensors"));
            json_t *fields = json_object_get(seen, "fields");
            cr_assert_str_eq(json_string_value(json_object_get(fields, "general.architecture")), "llama");
            cr_assert_eq((size_t)json_integer_value(json_object_get(fields, "llama.block_count")), c.n_layer);
            cr_assert_eq((size_t)json_integer_value(json_object_get(fields, "llama.attention.key_length")), c.head_dim);
            json_decref(seen);
            if (t == 0 || types[t].type == FP4_GGUF_MXFP4) /* on ties that package takes the smaller code, mxfp4:floor the even one */
                continue;
            const char *f32 = folder_file(folder, types[0].name);
            seen = json_of(python_output("gguf", "gguf_requantize.py", (const char *const[]){f32, path, NULL}));
            cr_assert_eq(json_integer_value(json_object_get(seen, "mismatches")), 0, "%s: not the bytes that the gguf package makes", types[t].name);
            cr_assert_gt(json_integer_value(json_object_get(seen, "tensors")), 0);
            json_decref(seen);
        }
        fp4_model_free(m);
    }
}

/* ---- vocabularies ---- */

/* "a b" as ["a","b"]; the order of keys and offsets do not matter. */
static json_t *plain_merges(const json_t *merges) {
    json_t *out = json_array(), *m;
    size_t i;
    json_array_foreach(merges, i, m) {
        const char *text = json_string_value(m), *blank = text ? strchr(text + 1, ' ') : NULL;
        json_array_append_new(out, text ? json_pack("[s%,s]", text, (size_t)(blank - text), blank + 1) : json_incref(m));
    }
    return out;
}

static void same(const json_t *a, const json_t *b, const char *what) { cr_assert(json_equal((json_t *)(uintptr_t)a, (json_t *)(uintptr_t)b), "%s", what); }

static json_t *read_json(const char *path) {
    json_error_t error;
    json_t *root = json_load_file(path, 0, &error);
    cr_assert_not_null(root, "%s: %s", path, error.text);
    return root;
}

/* A number of tokenizers.json. */
static size_t fact(const char *name, const char *key) {
    json_t *facts = read_json(golden_file("tokenizers/tokenizers.json"));
    size_t value = (size_t)json_integer_value(json_object_get(json_object_get(facts, name), key));
    json_decref(facts);
    return value;
}

/* A tokenizer.json goes into a GGUF file with a small model of its vocabulary, and comes back. */
static void there_and_back(const char *name, size_t padding, char folder[FOLDER_MAX]) {
    char relative[64];
    size_t n_vocab = fact(name, "vocab");
    snprintf(relative, sizeof relative, "tokenizers/%s", name);
    const char *source = golden_file(relative);
    struct fp4_config c = config_of(0);
    struct fp4_model *m;
    bool found;
    c.n_vocab = n_vocab + padding;
    c.n_embd = 32, c.head_dim = 8;
    c.add_bos = false; /* but for what tokenizer.json says */
    must(fp4_model_create(&c, 1, fp4_backend_cpu(), &m));
    folder_make(folder);
    must(fp4_model_export_gguf(m, folder_file(folder, "x.gguf"), source, &(struct fp4_export){.dtype = FP4_F16}, NULL));
    must(fp4_tokenizer_export(folder_file(folder, "x.gguf"), folder, &found));
    cr_assert(found);
    fp4_model_free(m);
    json_t *want = read_json(folder_file(source, "tokenizer.json")), *got = read_json(folder_file(folder, "tokenizer.json"));
    json_t *a = json_object_get(want, "model"), *b = json_object_get(got, "model");
    json_t *merges = plain_merges(json_object_get(a, "merges"));
    for (size_t i = 0; i < padding; i++) {
        char pad[32];
        snprintf(pad, sizeof pad, "[PAD%zu]", n_vocab + i);
        cr_assert_eq((size_t)json_integer_value(json_object_get(json_object_get(b, "vocab"), pad)), n_vocab + i);
        json_object_del(json_object_get(b, "vocab"), pad);
    }
    same(json_object_get(a, "vocab"), json_object_get(b, "vocab"), "vocab");
    same(merges, json_object_get(b, "merges"), "merges");
    same(json_object_get(want, "normalizer"), json_object_get(got, "normalizer"), "normalizer");
    same(json_object_get(want, "added_tokens"), json_object_get(got, "added_tokens"), "added_tokens");
    same(json_object_get(a, "unk_token"), json_object_get(b, "unk_token"), "unk_token");
    same(json_object_get(a, "byte_fallback"), json_object_get(b, "byte_fallback"), "byte_fallback");
    json_decref(merges);
    json_decref(want);
    json_decref(got);
    golden_count("tokenizers", 1);
}

static const struct {
    const char *name;
    size_t padding;
} goldens[] = {{"gpt2", 47}, {"smollm2", 0}, {"llama2", 0}};
enum { N_GOLDENS = sizeof goldens / sizeof *goldens };

Test(export_gguf, vocabularies_there_and_back) {
    for (size_t i = 0; i < N_GOLDENS; i++) {
        char folder[FOLDER_MAX];
        there_and_back(goldens[i].name, goldens[i].padding, folder);
    }
}

/* The whole vocabulary, its kinds and merges, as the first file had them. */
Test(export_gguf, a_gguf_files_tokenizer_is_copied_as_it_is) {
    char folder[FOLDER_MAX];
    struct fp4_checkpoint *a, *b;
    struct fp4_model *m;
    there_and_back("smollm2", 0, folder);
    const char *first = folder_file(folder, "x.gguf"), *second = folder_file(folder, "y.gguf");
    must(fp4_model_load(first, fp4_backend_cpu(), &m));
    must(fp4_model_export_gguf(m, second, first, &(struct fp4_export){.dtype = FP4_F16}, NULL));
    cr_assert(files_equal(first, second));
    fp4_model_free(m);
    must(fp4_checkpoint_open(first, &a));
    must(fp4_checkpoint_open(second, &b));
    cr_assert_eq(fp4_gguf_meta_count(a), fp4_gguf_meta_count(b));
    cr_assert_eq(fp4_gguf_meta_find(b, "tokenizer.ggml.merges")->length, fact("smollm2", "merges"));
    fp4_checkpoint_close(a);
    fp4_checkpoint_close(b);
}

/* Llama 2's tokenizer.model into a folder and into a GGUF file: as its tokenizer.json has it. */
Test(export_gguf, a_sentencepiece_model_becomes_the_same_tokenizer) {
    static const char config[] = "{\"add_bos_token\":true,\"model_max_length\":1000000000000000019884624838656}"; /* the length as published */
    char from[FOLDER_MAX], to[FOLDER_MAX];
    struct fp4_map model;
    struct fp4_config c = config_of(0);
    struct fp4_model *m;
    bool found;
    must(fp4_map_open(golden_file("../data/llama2/tokenizer.model"), &model));
    folder_make(from);
    folder_make(to);
    must(fp4_write_file(folder_file(from, "tokenizer.model"), model.data, model.size));
    must(fp4_write_file(folder_file(from, "tokenizer_config.json"), config, strlen(config)));
    fp4_map_close(&model);
    c.n_vocab = fact("llama2", "vocab"), c.n_embd = 32, c.head_dim = 8;
    must(fp4_model_create(&c, 1, fp4_backend_cpu(), &m));
    must(fp4_model_export_gguf(m, folder_file(from, "x.gguf"), from, &(struct fp4_export){.dtype = FP4_F16}, NULL));
    fp4_model_free(m);
    json_t *want = read_json(golden_file("tokenizers/llama2/tokenizer.json")), *a = json_object_get(want, "model");
    for (int gguf = 0; gguf < 2; gguf++) {
        must(fp4_tokenizer_export(gguf ? folder_file(from, "x.gguf") : folder_file(from, "tokenizer.model"), to, &found));
        cr_assert(found);
        json_t *got = read_json(folder_file(to, "tokenizer.json")), *b = json_object_get(got, "model");
        same(json_object_get(a, "vocab"), json_object_get(b, "vocab"), "vocab");
        same(json_object_get(a, "merges"), json_object_get(b, "merges"), "merges");
        same(json_object_get(a, "unk_token"), json_object_get(b, "unk_token"), "unk_token");
        same(json_object_get(want, "normalizer"), json_object_get(got, "normalizer"), "normalizer");
        same(json_object_get(want, "added_tokens"), json_object_get(got, "added_tokens"), "added_tokens");
        json_t *around = json_object_get(want, "post_processor"), *ours = json_object_get(got, "post_processor");
        same(json_object_get(around, "single"), json_object_get(ours, "single"), "post_processor of one text");
        same(json_object_get(around, "special_tokens"), json_object_get(ours, "special_tokens"), "post_processor's tokens");
        same(json_object_get(want, "decoder"), json_object_get(got, "decoder"), "decoder");
        json_decref(got);
    }
    cr_assert(files_equal(folder_file(from, "tokenizer.model"), folder_file(to, "tokenizer.model")));
    json_decref(want);
}

/* Merges by scores are sentencepiece's: a small case by hand. "abc" can be made of a+bc or ab+c; b+c scores more than a+b. */
Test(export_gguf, merges_come_from_scores) {
    static struct vocab_token tokens[] = {{"a", 1, VOCAB_NORMAL, 0}, {"b", 1, VOCAB_NORMAL, 0}, {"c", 1, VOCAB_NORMAL, 0}, {"ab", 2, VOCAB_NORMAL, -2},
                                          {"bc", 2, VOCAB_NORMAL, -1}, {"abc", 3, VOCAB_NORMAL, -3}, {NULL, 0, VOCAB_UNUSED, 0}, {"xc", 2, VOCAB_NORMAL, 5}};
    static const char *const want[] = {"b c", "a b", "a bc", "ab c"};
    struct vocab v = {.kind = VOCAB_PIECES, .tokens = tokens, .n_tokens = 8};
    must(vocab_merges_from_scores(&v));
    cr_assert_eq(v.n_merges, 4);
    for (size_t i = 0; i < 4; i++) {
        char text[16];
        snprintf(text, sizeof text, "%.*s %.*s", (int)v.merges[i].left_bytes, v.merges[i].left, (int)v.merges[i].right_bytes, v.merges[i].right);
        cr_assert_str_eq(text, want[i]);
    }
    must(vocab_scores_from_merges(&v));
    cr_assert_eq(tokens[4].score, 0.0f);
    cr_assert_eq(tokens[3].score, -1.0f);
    cr_assert_eq(tokens[5].score, -2.0f, "the first rank that makes it");
    fp4_free(v.merges);
}

Test(export_gguf, pre_tokenizers_have_names) {
    static const char *const names[] = {"gpt-2", "smollm", "llama-bpe"};
    for (size_t i = 0; i < 3; i++) {
        json_t *pre = vocab_pre_tokenizer(names[i]);
        cr_assert_str_eq(vocab_pre_name(pre), names[i]);
        json_object_set_new(pre, "another", json_true());
        cr_assert_null(vocab_pre_name(pre), "not what GGUF's name says");
        json_decref(pre);
    }
    cr_assert_null(vocab_pre_tokenizer("qwen2"));
}

Test(export_gguf, tokenizers_gives_the_same_ids, .timeout = 300) {
    for (size_t i = 0; i < N_GOLDENS; i++) {
        char folder[FOLDER_MAX], relative[64];
        snprintf(relative, sizeof relative, "tokenizers/%s/tokenizer.json", goldens[i].name);
        there_and_back(goldens[i].name, 0, folder);
        const char *const arguments[] = {golden_file(relative), folder_file(folder, "tokenizer.json"), golden_file("tokenizers/torture.jsonl"), NULL};
        json_t *seen = json_of(python_output("tokenizers", "tokenizers_agree.py", arguments));
        cr_assert_gt(json_integer_value(json_object_get(seen, "texts")), 100);
        cr_assert_eq(json_integer_value(json_object_get(seen, "mismatches")), 0, "%s: %d of %d", goldens[i].name,
                     (int)json_integer_value(json_object_get(seen, "mismatches")), (int)json_integer_value(json_object_get(seen, "texts")));
        json_decref(seen);
    }
}

/* A small net with Llama 2's vocabulary in llama.cpp itself: the same ids, and the same probabilities but for its half-precision cache of keys and values. */
Test(export_gguf, llama_cpp_runs_it, .timeout = 120) {
    static const int32_t ids[] = {1, 450, 7483, 310, 3444, 338};
    struct fp4_config c = config_of(2); /* one key-value head, Llama 3's rotary divisors */
    char folder[FOLDER_MAX];
    struct fp4_model *m;
    float *logits;
    c.n_vocab = 32000;
    must(fp4_model_create(&c, 1, fp4_backend_cpu(), &m));
    for (size_t i = 0; i < fp4_model_n_params(m); i++)
        for (size_t j = 0; fp4_model_param(m, i)->rows > 1 && j < fp4_model_param(m, i)->elements; j++)
            fp4_model_param(m, i)->data[j] *= 20;
    folder_make(folder);
    const char *path = folder_file(folder, "x.gguf");
    must(fp4_model_export_gguf(m, path, golden_file("../data/llama2"), &(struct fp4_export){.dtype = FP4_F32}, NULL));
    json_t *seen = json_of(python_output("llama.cpp", "llama_cpp.py", (const char *const[]){path, "1,450,7483,310,3444,338", golden_file("tokenizers/torture.jsonl"), "llama2", NULL}));
    cr_assert_eq(json_integer_value(json_object_get(seen, "mismatches")), 0, "%d of %d texts", (int)json_integer_value(json_object_get(seen, "mismatches")),
                 (int)json_integer_value(json_object_get(seen, "texts")));
    cr_assert_gt(json_integer_value(json_object_get(seen, "texts")), 100);
    must(FP4_NEW(logits, c.n_vocab));
    must(fp4_model_logits(m, ids, 6, 1, logits));
    double sum = 0, most = 0;
    for (size_t i = 0; i < c.n_vocab; i++)
        sum += exp((double)logits[i] - (double)logits[0]);
    const char *id;
    json_t *theirs;
    json_object_foreach(json_object_get(seen, "top"), id, theirs) {
        double ours = (double)logits[strtoul(id, NULL, 10)] - (double)logits[0] - log(sum);
        most = fmax(most, fabs(ours - json_number_value(theirs)));
    }
    cr_assert_geq(json_object_size(json_object_get(seen, "top")), 5);
    printf("llama.cpp: largest difference of a log probability %.3g\n", most);
    cr_assert_leq(most, 0.02, "log probabilities differ by %g", most); /* logits of some tens, from values rounded to 11 bits */
    json_decref(seen);
    fp4_free(logits);
    fp4_model_free(m);
}

Test(export_gguf, a_folders_tokenizer_files_are_copied) {
    char from[FOLDER_MAX], to[FOLDER_MAX];
    bool found;
    folder_make(from);
    folder_make(to);
    must(fp4_tokenizer_export(from, to, &found));
    cr_assert_not(found);
    must(fp4_write_file(folder_file(from, "merges.txt"), "a b\n", 4));
    must(fp4_write_file(folder_file(from, "generation_config.json"), "{}", 2));
    must(fp4_write_file(folder_file(from, "notes.txt"), "mine", 4));
    must(fp4_tokenizer_export(folder_file(from, "merges.txt"), to, &found));
    cr_assert(found);
    cr_assert(files_equal(folder_file(from, "merges.txt"), folder_file(to, "merges.txt")));
    cr_assert(files_equal(folder_file(from, "generation_config.json"), folder_file(to, "generation_config.json")));
    cr_assert_neq(access(folder_file(to, "notes.txt"), F_OK), 0);
    must(fp4_tokenizer_export(from, from, &found)); /* onto itself */
    cr_assert(found);
    cr_assert_eq(fp4_tokenizer_export("/nonexistent", to, &found), FP4_ERR_IO);
}
