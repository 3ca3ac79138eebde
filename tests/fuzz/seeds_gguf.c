/* Seeds of GGUF, byte by byte (https://github.com/ggml-org/ggml/blob/master/docs/gguf.md). */
#include <string.h>

#include "tests/fuzz/gguf_bytes.h"
#include "tests/fuzz/seeds_internal.h"

void gguf_head(struct bytes *b, uint32_t version, uint64_t tensors, uint64_t keys) {
    put(b, "GGUF", 4);
    put_u32(b, version);
    put_u64(b, tensors);
    put_u64(b, keys);
}

void gguf_key_u32(struct bytes *b, const char *key, uint32_t value) {
    put_string(b, key);
    put_u32(b, GGUF_U32);
    put_u32(b, value);
}

void gguf_key_string(struct bytes *b, const char *key, const char *value) {
    put_string(b, key);
    put_u32(b, GGUF_STR);
    put_string(b, value);
}

void gguf_key_array(struct bytes *b, const char *key, uint32_t element, uint64_t n) {
    put_string(b, key);
    put_u32(b, GGUF_ARR);
    put_u32(b, element);
    put_u64(b, n);
}

void gguf_tensor(struct bytes *b, const char *name, uint32_t type, uint64_t n, uint64_t offset) {
    put_string(b, name);
    put_u32(b, 1);
    put_u64(b, n);
    put_u32(b, type);
    put_u64(b, offset);
}

struct bytes seed_gguf_values(uint32_t version) {
    struct bytes b = {0};
    gguf_head(&b, version, 2, 7);
    gguf_key_u32(&b, "general.alignment", 8);
    gguf_key_string(&b, "text", "gr\xc3\xbc\xc3\x9f");
    put_string(&b, "yes");
    put_u32(&b, GGUF_BOOLEAN);
    put(&b, "\1", 1);
    gguf_key_array(&b, "words", GGUF_STR, 2);
    put_string(&b, "one");
    put_string(&b, "");
    gguf_key_array(&b, "numbers", GGUF_I32, 2);
    put_u32(&b, 7);
    put_u32(&b, (uint32_t)-7);
    gguf_key_array(&b, "nested", GGUF_ARR, 1);
    put_u32(&b, GGUF_STR);
    put_u64(&b, 1);
    put_string(&b, "deep");
    put_string(&b, "huge");
    put_u32(&b, GGUF_U64);
    put_u64(&b, UINT64_MAX);
    gguf_tensor(&b, "a", 0, 3, 0);
    gguf_tensor(&b, "b", 24, 5, 16);
    put_padding(&b, 8);
    put(&b, (const float[3]){1, 2, 3}, 12);
    put_padding(&b, 8);
    put(&b, "12345", 5);
    return b;
}

/* ---- a whole model ---- */

enum { WIDTH = 32, HIDDEN = 64, HEADS = 2, KV_HEADS = 1, HEAD_WIDTH = 16 };

static const struct {
    const char *name;
    uint32_t type; /* 0 F32, 1 F16, 2 Q4_0, 3 Q4_1, 8 Q8_0, 30 BF16 */
    uint64_t cols, rows; /* rows 0: a vector */
} tensors[] = {{"token_embd.weight", 8, WIDTH, SEED_VOCAB},
               {"blk.0.attn_norm.weight", 0, WIDTH, 0},
               {"blk.0.attn_q.weight", 0, WIDTH, HEADS *HEAD_WIDTH},
               {"blk.0.attn_k.weight", 1, WIDTH, KV_HEADS *HEAD_WIDTH},
               {"blk.0.attn_v.weight", 30, WIDTH, KV_HEADS *HEAD_WIDTH},
               {"blk.0.attn_output.weight", 3, HEADS *HEAD_WIDTH, WIDTH},
               {"blk.0.ffn_norm.weight", 0, WIDTH, 0},
               {"blk.0.ffn_gate.weight", 2, WIDTH, HIDDEN},
               {"blk.0.ffn_up.weight", 2, WIDTH, HIDDEN},
               {"blk.0.ffn_down.weight", 8, HIDDEN, WIDTH},
               {"output_norm.weight", 0, WIDTH, 0}};
enum { N_TENSORS = sizeof tensors / sizeof *tensors };

static size_t tensor_bytes(size_t i) {
    size_t n = (size_t)(tensors[i].cols * (tensors[i].rows ? tensors[i].rows : 1));
    switch (tensors[i].type) {
    case 0: return n * 4;
    case 2: return n / 32 * 18;
    case 3: return n / 32 * 20;
    case 8: return n / 32 * 34;
    default: return n * 2;
    }
}

static void describe_tensors(struct bytes *b) {
    uint64_t offset = 0;
    for (size_t i = 0; i < N_TENSORS; i++) {
        put_string(b, tensors[i].name);
        put_u32(b, tensors[i].rows ? 2 : 1);
        put_u64(b, tensors[i].cols);
        if (tensors[i].rows)
            put_u64(b, tensors[i].rows);
        put_u32(b, tensors[i].type);
        put_u64(b, offset);
        offset += (tensor_bytes(i) + 31) / 32 * 32;
    }
}

/* Small numbers in every type: the scale of a block is its first half word, and the minimum of a Q4_1 block its second. */
static void put_tensor_data(struct bytes *b, size_t i) {
    static const uint16_t half = 0x2c00, bfloat = 0x3d80; /* both 1/16 */
    size_t n = tensor_bytes(i);
    const size_t block = tensors[i].type == 2 ? 18 : tensors[i].type == 3 ? 20 : tensors[i].type == 8 ? 34 : 0;
    for (size_t k = 0; k < n;) {
        if (tensors[i].type == 0) {
            float x = 0.01f * (float)((k / 4 * 37 + i) % 21) - 0.1f;
            put(b, &x, 4);
            k += 4;
        } else if (!block || k % block == 0 || (tensors[i].type == 3 && k % block == 2)) {
            put(b, tensors[i].type == 30 ? &bfloat : &half, 2);
            k += 2;
        } else {
            put(b, &(uint8_t){(uint8_t)(k * 29 + i)}, 1);
            k++;
        }
    }
}

static void put_tokenizer(struct bytes *b) {
    char text[SEED_TOKEN_BYTES];
    gguf_key_string(b, "tokenizer.ggml.model", "gpt2");
    gguf_key_string(b, "tokenizer.ggml.pre", "smollm");
    gguf_key_array(b, "tokenizer.ggml.tokens", GGUF_STR, SEED_VOCAB);
    for (int id = 0; id < SEED_VOCAB; id++)
        put_string(b, seed_token(id, text));
    gguf_key_array(b, "tokenizer.ggml.token_type", GGUF_I32, SEED_VOCAB);
    for (int id = 0; id < SEED_VOCAB; id++)
        put_u32(b, id == SEED_CONTROL ? 3 : 1);
    gguf_key_array(b, "tokenizer.ggml.merges", GGUF_STR, SEED_MERGES);
    for (int i = 0; i < SEED_MERGES; i++)
        put_string(b, seed_merges[i]);
    gguf_key_u32(b, "tokenizer.ggml.bos_token_id", SEED_CONTROL);
    gguf_key_u32(b, "tokenizer.ggml.eos_token_id", SEED_CONTROL);
}

struct bytes seed_gguf_model(void) {
    struct bytes b = {0};
    gguf_head(&b, 3, N_TENSORS, 9 + 7);
    gguf_key_string(&b, "general.architecture", "llama");
    gguf_key_u32(&b, "llama.context_length", 64);
    gguf_key_u32(&b, "llama.embedding_length", WIDTH);
    gguf_key_u32(&b, "llama.block_count", 1);
    gguf_key_u32(&b, "llama.feed_forward_length", HIDDEN);
    gguf_key_u32(&b, "llama.attention.head_count", HEADS);
    gguf_key_u32(&b, "llama.attention.head_count_kv", KV_HEADS);
    gguf_key_u32(&b, "llama.vocab_size", SEED_VOCAB);
    put_string(&b, "llama.attention.layer_norm_rms_epsilon");
    put_u32(&b, GGUF_F32);
    put(&b, &(float){1e-5f}, 4);
    put_tokenizer(&b);
    describe_tensors(&b);
    for (size_t i = 0; i < N_TENSORS; i++) {
        put_padding(&b, 32);
        put_tensor_data(&b, i);
    }
    return b;
}
