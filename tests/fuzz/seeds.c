/* Which seeds there are, and the textual ones. */
#include "tests/fuzz/seeds.h"

#include <stdlib.h>
#include <string.h>

#include "fp4lab/model.h"
#include "tests/folders.h"
#include "tests/fuzz/seeds_internal.h"
#include "tests/results_fixture.h"

static bool one_of(const char *const *texts, size_t n, size_t i, struct bytes *out, char name[64]) {
    if (i >= n)
        return false;
    *out = (struct bytes){0};
    put(out, texts[i], strlen(texts[i]));
    snprintf(name, 64, "%02zu", i);
    return true;
}

struct bytes seed_safetensors(const char *header, size_t data_bytes) {
    struct bytes b = {0};
    put_u64(&b, strlen(header));
    put(&b, header, strlen(header));
    for (size_t i = 0; i < data_bytes; i++)
        put(&b, &(uint8_t){(uint8_t)(i * 37)}, 1);
    return b;
}

static bool safetensors(size_t i, struct bytes *out, char name[64]) {
    static const struct {
        const char *header;
        size_t data;
    } files[] = {
        {"{}      ", 0},
        {"{\"__metadata__\":{\"format\":\"pt\"},\"a\":{\"dtype\":\"F32\",\"shape\":[2,3],\"data_offsets\":[0,24]},"
         "\"b\":{\"dtype\":\"BF16\",\"shape\":[],\"data_offsets\":[24,26]}}  ",
         26},
        {"{\"h\":{\"dtype\":\"F16\",\"shape\":[4],\"data_offsets\":[0,8]},\"d\":{\"dtype\":\"F64\",\"shape\":[1,1],\"data_offsets\":[8,16]},"
         "\"i\":{\"dtype\":\"I64\",\"shape\":[1],\"data_offsets\":[16,24]},\"u\":{\"dtype\":\"U8\",\"shape\":[3],\"data_offsets\":[24,27]},"
         "\"f\":{\"dtype\":\"F8_E4M3\",\"shape\":[2],\"data_offsets\":[27,29]},\"q\":{\"dtype\":\"F4\",\"shape\":[2],\"data_offsets\":[29,30]},"
         "\"e\":{\"dtype\":\"BOOL\",\"shape\":[0,7],\"data_offsets\":[30,30]}}",
         30}};
    if (i >= sizeof files / sizeof *files)
        return false;
    *out = seed_safetensors(files[i].header, files[i].data);
    snprintf(name, 64, "%02zu.safetensors", i);
    return true;
}

static bool gguf(size_t i, struct bytes *out, char name[64]) {
    if (i > 2)
        return false;
    *out = i == 2 ? seed_gguf_model() : seed_gguf_values(2 + (uint32_t)i);
    snprintf(name, 64, "%s.gguf", i == 0 ? "values-2" : i == 1 ? "values-3" : "model");
    return true;
}

static const char *const configs[] = {
    "{\"model_type\":\"llama\",\"architectures\":[\"LlamaForCausalLM\"],\"hidden_act\":\"silu\",\"vocab_size\":262,\"hidden_size\":32,"
    "\"num_hidden_layers\":1,\"num_attention_heads\":2,\"num_key_value_heads\":1,\"head_dim\":16,\"intermediate_size\":64,"
    "\"max_position_embeddings\":64,\"rms_norm_eps\":1e-05,\"rope_theta\":10000.0,\"rope_scaling\":null,\"attention_bias\":false,\"mlp_bias\":false,"
    "\"tie_word_embeddings\":true,\"bos_token_id\":1,\"eos_token_id\":[2,3],\"torch_dtype\":\"bfloat16\"}",
    "{\"model_type\":\"llama\",\"hidden_act\":\"silu\",\"vocab_size\":128,\"hidden_size\":64,\"num_hidden_layers\":2,\"num_attention_heads\":4,"
    "\"num_key_value_heads\":4,\"intermediate_size\":96,\"rms_norm_eps\":1e-06,\"rope_parameters\":{\"rope_type\":\"llama3\",\"rope_theta\":500000.0,"
    "\"factor\":8.0,\"low_freq_factor\":1.0,\"high_freq_factor\":4.0,\"original_max_position_embeddings\":8192},\"dtype\":\"float32\"}",
    "{\"model_type\":\"llama\",\"vocab_size\":128,\"hidden_size\":64,\"num_hidden_layers\":2,\"num_attention_heads\":4,\"intermediate_size\":96,"
    "\"rope_theta\":10000.0,\"rope_scaling\":{\"type\":\"linear\",\"factor\":2.0}}",
    "{\"model_type\":\"opt\",\"activation_function\":\"relu\",\"vocab_size\":128,\"hidden_size\":32,\"word_embed_proj_dim\":16,\"num_hidden_layers\":2,"
    "\"num_attention_heads\":2,\"ffn_dim\":64,\"max_position_embeddings\":64,\"do_layer_norm_before\":false,\"dropout\":0.1,\"attention_dropout\":0.0,"
    "\"enable_bias\":true,\"layer_norm_elementwise_affine\":true,\"bos_token_id\":2,\"eos_token_id\":2,\"pad_token_id\":1,\"torch_dtype\":\"float16\"}",
    "{\"model_type\":\"fp4lab-writeup-d\",\"vocab_size\":64,\"hidden_size\":32,\"num_hidden_layers\":1,\"num_attention_heads\":2,"
    "\"intermediate_size\":64,\"no_positions\":true}"};

static const char *const indices[] = {
    "{\"metadata\":{\"total_size\":48},\"weight_map\":{\"a\":\"model-00001-of-00002.safetensors\",\"b\":\"model-00002-of-00002.safetensors\","
    "\"c\":\"model-00001-of-00002.safetensors\"}}",
    "{\"weight_map\":{\"a\":\"pytorch_model.bin\"}}"};

static const char *const spellings[] = {"none", "nvfp4", "nvfp4:te,2d,sr", "nvfp4:four_over_six,had16,clip0.9", "mxfp4,away,stored", "int4,g128", "nf4",
                                        "bf16", "fp8", "tta_v1", "bnbfp4", "nvfp4:te,sr,had128"};

static const char *const commands[] = {
    "tta\n--profile\nsmoke\n--shard\n1/3\n--threads\n2\n--seed\n7\n--arms\nbase,tta\n--out\nfolder",
    "tta\n--model\nsmollm2\n--items=1,2\n--seeds\n3\n--offline\n--dry-run\n--list-arms\n--help\n--version",
    "fp4lab\n--model\nx.gguf\n--text\nfile\n--weights\nnvfp4:te\n--activations\nmxfp4\n--head\n--seed\n1\n-o\njson",
    "fp4lab\n-ocsv\n--threads\n3\n--window\n128\n--temperature\n0.7\n--plain\n--tokens\n1,2,3\n--\nfile"};

static void append_file(struct bytes *out, const char *path) {
    FILE *f = fopen(path, "rb");
    char buffer[4096];
    for (size_t n; f && (n = fread(buffer, 1, sizeof buffer, f)) > 0;)
        put(out, buffer, n);
    if (f)
        fclose(f);
}

/* Folders of models with random weights, as target_model.c wants them. */
static bool model_folder(size_t i, struct bytes *out, char name[64]) {
    static const struct fp4_config all[] = {
        {.arch = FP4_ARCH_LLAMA, .n_vocab = 16, .n_embd = 8, .n_layer = 1, .n_head = 2, .n_kv_head = 1, .head_dim = 4, .n_ff = 16, .n_ctx = 16,
         .norm_eps = 1e-5f, .rope_theta = 10000, .attention_bias = true, .bos_id = -1, .eos_id = -1},
        {.arch = FP4_ARCH_OPT, .n_vocab = 16, .n_embd = 8, .n_layer = 1, .n_head = 2, .n_kv_head = 2, .head_dim = 4, .n_ff = 16, .n_ctx = 16,
         .norm_eps = 1e-5f, .rope_theta = 10000, .tied_head = true, .attention_bias = true, .mlp_bias = true, .n_word = 4, .norm_after = true,
         .activation = FP4_ACT_RELU, .bos_id = -1, .eos_id = -1},
        {.arch = FP4_ARCH_WRITEUP_D, .n_vocab = 16, .n_embd = 16, .n_layer = 1, .n_head = 2, .n_kv_head = 2, .head_dim = 8, .n_ff = 16, .n_ctx = 16,
         .norm_eps = 1e-5f, .rope_theta = 10000, .bos_id = -1, .eos_id = -1}};
    if (i >= sizeof all / sizeof *all)
        return false;
    char folder[FOLDER_MAX];
    struct fp4_model *m = NULL;
    *out = (struct bytes){0};
    folder_make(folder);
    if (fp4_model_create(&all[i], 1, fp4_backend_cpu(), &m) != FP4_OK || fp4_model_save(m, folder) != FP4_OK) {
        fprintf(stderr, "fuzz-seeds: %s\n", fp4_last_error());
        abort();
    }
    fp4_model_free(m);
    append_file(out, folder_file(folder, "config.json"));
    put(out, "", 1);
    append_file(out, folder_file(folder, "model.safetensors"));
    snprintf(name, 64, "folder-%zu", i);
    return true;
}

/* Made-up results of the three experiments: of each file the first lines are one seed. */
enum { RESULTS_SEED = 12000 };
static bool results(size_t i, struct bytes *out, char name[64]) {
    static const char *const files[] = {"tta.jsonl", "ptq.jsonl", "train.jsonl"};
    static const enum fixture kinds[] = {FIXTURE_EMPTY, FIXTURE_SMOKE};
    if (i >= 6)
        return false;
    char folder[FOLDER_MAX];
    *out = (struct bytes){0};
    folder_make(folder);
    if (fixture_write(folder, kinds[i / 3]) != FP4_OK)
        return false;
    append_file(out, folder_file(folder, files[i % 3]));
    while (out->n > RESULTS_SEED || (out->n && out->data[out->n - 1] != '\n'))
        out->n--;
    snprintf(name, 64, "%s-%s", i / 3 ? "smoke" : "empty", files[i % 3]);
    return true;
}

bool fuzz_seed(const char *target, size_t i, struct bytes *out, char name[64]) {
    if (strcmp(target, "safetensors") == 0)
        return safetensors(i, out, name);
    if (strcmp(target, "shards") == 0)
        return one_of(indices, sizeof indices / sizeof *indices, i, out, name);
    if (strcmp(target, "gguf") == 0)
        return gguf(i, out, name);
    if (strcmp(target, "torch") == 0)
        return seed_torch_file(i, out, name);
    if (strcmp(target, "model") == 0)
        return i == 0 ? gguf(2, out, name) : model_folder(i - 1, out, name);
    if (strcmp(target, "config") == 0)
        return one_of(configs, sizeof configs / sizeof *configs, i, out, name);
    if (strcmp(target, "tokenizer_json") == 0)
        return seed_tokenizer_json(i, out, name);
    if (strcmp(target, "tokenizer_model") == 0)
        return seed_tokenizer_model(i, out, name);
    if (strcmp(target, "tokenizer_pair") == 0)
        return seed_tokenizer_pair(i, out, name);
    if (strcmp(target, "results") == 0 || strcmp(target, "facts") == 0)
        return results(i, out, name);
    if (strcmp(target, "quantizer") == 0)
        return one_of(spellings, sizeof spellings / sizeof *spellings, i, out, name);
    if (strcmp(target, "command") == 0)
        return one_of(commands, sizeof commands / sizeof *commands, i, out, name);
    return false;
}
