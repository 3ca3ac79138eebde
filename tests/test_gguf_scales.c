/* NVFP4 in GGUF as llama.cpp writes it: blocks, and the scale of the whole tensor as a tensor of its own. */
#include <stdlib.h>
#include <string.h>

#include "fp4lab/weights.h"
#include "tests/folders.h"
#include "tests/fuzz/gguf_bytes.h"
#include "tests/support.h"

enum { WIDTH = 64, VOCAB = 32, NVFP4 = 40 };
static const struct {
    const char *name;
    uint64_t rows;
    bool nvfp4;
} tensors[] = {{"token_embd.weight", VOCAB, false},     {"blk.0.attn_norm.weight", 1, false},  {"blk.0.attn_q.weight", WIDTH, true},
               {"blk.0.attn_k.weight", WIDTH, true},    {"blk.0.attn_v.weight", WIDTH, true},  {"blk.0.attn_output.weight", WIDTH, true},
               {"blk.0.ffn_norm.weight", 1, false},     {"blk.0.ffn_gate.weight", WIDTH, true}, {"blk.0.ffn_up.weight", WIDTH, true},
               {"blk.0.ffn_down.weight", WIDTH, true},  {"output_norm.weight", 1, false}};
enum { N_TENSORS = sizeof tensors / sizeof *tensors };

struct beside {
    const char *name;
    uint64_t n;
    float value;
};

static void describe(struct bytes *b, const char *name, uint64_t rows, uint64_t cols, uint32_t type, size_t bytes, uint64_t *offset) {
    put_string(b, name);
    put_u32(b, rows > 1 ? 2 : 1);
    put_u64(b, cols);
    if (rows > 1)
        put_u64(b, rows);
    put_u32(b, type);
    put_u64(b, *offset);
    *offset += (bytes + 31) / 32 * 32;
}
static size_t bytes_of(size_t i) { return (size_t)tensors[i].rows * (tensors[i].nvfp4 ? 36 : WIDTH * 4); }

static void put_values(struct bytes *b, size_t i) {
    put_padding(b, 32);
    for (size_t k = 0; k < bytes_of(i); k += tensors[i].nvfp4 ? 1 : 4)
        if (tensors[i].nvfp4)
            put(b, &(uint8_t){k % 36 < 4 ? (uint8_t)(0x28 + k % 7) : (uint8_t)(k * 41 + i)}, 1); /* scales of about 1/4 */
        else
            put(b, &(float){tensors[i].rows == 1 ? 1.0f : 0.1f * (float)((k * 13 + i) % 19) - 0.9f}, 4);
}

/* A model with `n` tensors more; returns its path. */
static const char *model(const struct beside *more, size_t n) {
    char folder[FOLDER_MAX];
    struct bytes b = {0};
    uint64_t offset = 0;
    folder_make(folder);
    gguf_head(&b, 3, N_TENSORS + n, 9);
    gguf_key_string(&b, "general.architecture", "llama");
    gguf_key_u32(&b, "llama.context_length", 64);
    gguf_key_u32(&b, "llama.embedding_length", WIDTH);
    gguf_key_u32(&b, "llama.block_count", 1);
    gguf_key_u32(&b, "llama.feed_forward_length", WIDTH);
    gguf_key_u32(&b, "llama.attention.head_count", 2);
    gguf_key_u32(&b, "llama.attention.head_count_kv", 2);
    gguf_key_u32(&b, "llama.vocab_size", VOCAB);
    put_string(&b, "llama.attention.layer_norm_rms_epsilon");
    put_u32(&b, GGUF_F32);
    put(&b, &(float){1e-5f}, 4);
    for (size_t i = 0; i < N_TENSORS; i++)
        describe(&b, tensors[i].name, tensors[i].rows, WIDTH, tensors[i].nvfp4 ? NVFP4 : 0, bytes_of(i), &offset);
    for (size_t i = 0; i < n; i++)
        describe(&b, more[i].name, 1, more[i].n, 0, 4 * more[i].n, &offset);
    for (size_t i = 0; i < N_TENSORS; i++)
        put_values(&b, i);
    for (size_t i = 0; i < n; i++) {
        put_padding(&b, 32);
        for (uint64_t k = 0; k < more[i].n; k++)
            put(&b, &more[i].value, 4);
    }
    const char *path = folder_file(folder, "x.gguf");
    write_bytes(path, b.data, b.n);
    free(b.data);
    return path;
}

static void weights(const char *path, enum fp4_weights_in where, float *q, float *up) {
    struct fp4_model *m;
    must(fp4_model_open(path, fp4_backend_cpu(), &(struct fp4_load){.weights_in = where}, &m));
    must(fp4_model_get(m, fp4_model_find_param(m, "model.layers.0.self_attn.q_proj.weight"), q));
    must(fp4_model_get(m, fp4_model_find_param(m, "model.layers.0.mlp.up_proj.weight"), up));
    fp4_model_free(m);
}

Test(gguf_scales, a_scale_beside_a_matrix_multiplies_it) {
    static float q[3][WIDTH * WIDTH], up[3][WIDTH * WIDTH];
    const struct beside more[] = {{"blk.0.attn_q.scale", 1, 0.375f}, {"blk.0.attn_q.input_scale", 1, 7.0f}, {"blk.0.ffn_up.input_scale", 1, 7.0f}};
    const char *path = model(NULL, 0);
    weights(path, FP4_WEIGHTS_MEMORY, q[0], up[0]);
    path = model(more, 3);
    weights(path, FP4_WEIGHTS_MEMORY, q[1], up[1]);
    weights(path, FP4_WEIGHTS_FILE, q[2], up[2]);
    float largest = 0;
    for (size_t i = 0; i < WIDTH * WIDTH; i++) {
        cr_assert(q[1][i] == 0.375f * q[0][i] && q[2][i] == q[1][i], "q %zu", i);
        cr_assert(up[1][i] == up[0][i] && up[2][i] == up[0][i], "up %zu", i);
        largest = q[0][i] > largest ? q[0][i] : largest;
    }
    cr_assert_gt(largest, 1);
}

Test(gguf_scales, other_tensors_beside_are_refused) {
    static const struct {
        struct beside more;
        fp4_status status;
        const char *says;
    } cases[] = {{{"blk.0.attn_q.scale", WIDTH, 1.0f}, FP4_ERR_UNSUPPORTED, "blk.0.attn_q.scale: 64 numbers"},
                 {{"blk.0.attn_q.scale", 1, 1.0f / 0.0f}, FP4_ERR_NUMERIC, "blk.0.attn_q.scale is not finite"},
                 {{"blk.0.attn_q.weight_scale", 1, 1.0f}, FP4_ERR_UNSUPPORTED, "no place"},
                 {{"token_embd.scale", 1, 1.0f}, FP4_ERR_UNSUPPORTED, "no place"},
                 {{"blk.1.attn_q.scale", 1, 1.0f}, FP4_ERR_UNSUPPORTED, "no place"}};
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        const char *path = model(&cases[i].more, 1);
        struct fp4_model *m;
        cr_assert_eq(fp4_model_load(path, fp4_backend_cpu(), &m), cases[i].status, "%zu: %s", i, fp4_last_error());
        cr_assert(strstr(fp4_last_error(), cases[i].says) && strstr(fp4_last_error(), path), "%s", fp4_last_error());
    }
}
