/* fp4lab/io.h: checkpoints from strangers. Every reader works on (pointer, length), checks every size through
 * fp4_size_mul/add, allocates in proportion to the file, and answers a broken file with file, offset and reason. */
#ifndef FP4LAB_IO_H
#define FP4LAB_IO_H

#include "fp4lab/base.h"

/* Element types of stored tensors. */
enum fp4_dtype {
    FP4_F32, FP4_F16, FP4_BF16, FP4_F64, FP4_I8, FP4_U8, FP4_I16, FP4_I32, FP4_I64, FP4_U16, FP4_U32, FP4_U64, FP4_BOOL,
    FP4_GGUF_Q4_0, FP4_GGUF_Q4_1, FP4_GGUF_Q5_0, FP4_GGUF_Q5_1, FP4_GGUF_Q8_0, FP4_GGUF_Q2_K, FP4_GGUF_Q3_K, FP4_GGUF_Q4_K, FP4_GGUF_Q5_K,
    FP4_GGUF_Q6_K, FP4_GGUF_IQ4_NL, FP4_GGUF_IQ4_XS, FP4_GGUF_MXFP4, FP4_GGUF_NVFP4,
    FP4_DTYPE_OTHER, /* known by name and size only: data can be read raw, not converted */
    FP4_DTYPE_COUNT
};
const char *fp4_dtype_name(enum fp4_dtype t);

/* A stored tensor: where it lies in a mapped file. Shapes are row-major, slowest first (GGUF's order reversed). */
struct fp4_stored {
    const char *name;
    enum fp4_dtype dtype;
    const char *type_name; /* as in the file: "F32", "Q4_1", "Q5_K" */
    int n_dims;
    size_t shape[4];
    size_t elements, bytes;
    const uint8_t *data; /* little-endian, not necessarily aligned */
    size_t offset; /* from the start of its file */
};

/* An opened container: one safetensors file, a checkpoint of torch.save, a sharded set of either with its index, or a GGUF file. */
struct fp4_checkpoint;
/* path: a .safetensors, .gguf or pytorch_model.bin file, or a folder with model.safetensors(.index.json), else pytorch_model.bin(.index.json). Type by
 * content, not by name. Of a PyTorch checkpoint (torch.save since 1.6) nothing is run: a pickle that names anything but tensors is refused. */
fp4_status fp4_checkpoint_open(const char *path, struct fp4_checkpoint **out);
/* The file that a folder is opened by: its weights, or (*sharded) their index. */
fp4_status fp4_checkpoint_in_folder(const char *folder, char path[4096], bool *sharded);
void fp4_checkpoint_close(struct fp4_checkpoint *c);
size_t fp4_checkpoint_count(const struct fp4_checkpoint *c);
const struct fp4_stored *fp4_checkpoint_at(const struct fp4_checkpoint *c, size_t i); /* file order */
const struct fp4_stored *fp4_checkpoint_find(const struct fp4_checkpoint *c, const char *name); /* NULL: none */
const char *fp4_checkpoint_kind(const struct fp4_checkpoint *c); /* "safetensors", "pytorch" or "gguf" */
/* The files that hold the tensors, in the order of their names. */
size_t fp4_checkpoint_n_files(const struct fp4_checkpoint *c);
const char *fp4_checkpoint_file(const struct fp4_checkpoint *c, size_t i);

/* Converts elements first … first+n−1 to fp32 (exact for F16, BF16; Q types as ggml defines them; F64 rounds; integers convert).
 * For Q types first and n are multiples of the block. */
fp4_status fp4_stored_to_f32(const struct fp4_stored *t, size_t first, size_t n, float *out);
/* The same, and how many of the values are NaN or infinite. */
fp4_status fp4_stored_read(const struct fp4_stored *t, size_t first, size_t n, float *out, size_t *nonfinite);

/* GGUF metadata: keys and their values. */
enum fp4_meta_kind { FP4_META_NONE, FP4_META_INT, FP4_META_FLOAT, FP4_META_BOOL, FP4_META_STRING, FP4_META_ARRAY };
struct fp4_meta {
    const char *key;              /* zero-terminated copy */
    enum fp4_meta_kind kind;
    const char *type_name;        /* GGUF's: "UINT32", "STRING", "ARRAY", ... */
    int64_t integer;
    double number;
    const char *string;           /* bytes as stored, zero-terminated copy; may hold zeros: see length */
    size_t length;                /* string bytes or array elements */
    const char *element_type;     /* of an array */
};
size_t fp4_gguf_meta_count(const struct fp4_checkpoint *c); /* 0 for other kinds */
const struct fp4_meta *fp4_gguf_meta_at(const struct fp4_checkpoint *c, size_t i);
const struct fp4_meta *fp4_gguf_meta_find(const struct fp4_checkpoint *c, const char *key); /* NULL: absent */
/* A string's value, NULL when the key is absent or of another kind; a BOOL's, `otherwise` likewise. */
const char *fp4_gguf_meta_string(const struct fp4_checkpoint *c, const char *key);
bool fp4_gguf_meta_flag(const struct fp4_checkpoint *c, const char *key, bool otherwise);
/* Element i of a string array: pointer into the map and length; of a numeric array: as double. */
fp4_status fp4_gguf_array_string(const struct fp4_meta *m, size_t i, const char **bytes, size_t *length);
fp4_status fp4_gguf_array_number(const struct fp4_meta *m, size_t i, double *value);
/* Raw little-endian bytes of a numeric array's elements (for hashes); NULL for strings. */
const uint8_t *fp4_gguf_array_raw(const struct fp4_meta *m, size_t *bytes);
struct fp4_gguf_header { uint32_t version; uint64_t tensor_count, kv_count, alignment, data_offset; };
fp4_status fp4_gguf_header(const struct fp4_checkpoint *c, struct fp4_gguf_header *out);

/* Writes a safetensors file atomically: header in the order given, data F32/… as described by each entry. */
struct fp4_tensor_out {
    const char *name;
    enum fp4_dtype dtype;
    int n_dims;
    size_t shape[4];
    const void *data;
};
fp4_status fp4_safetensors_write(const char *path, const struct fp4_tensor_out *tensors, size_t n);
/* Same, where a tensor may have no data: then it is F32, F16 or BF16 (nearest even), and values(context, i, x) gives tensor i's values in fp32 when its
 * turn comes. Memory for the largest tensor is all it takes. */
typedef fp4_status (*fp4_tensor_values)(void *context, size_t i, float *x);
fp4_status fp4_safetensors_stream(const char *path, const struct fp4_tensor_out *tensors, size_t n, fp4_tensor_values values, void *context);

/* ---- configuration of a model ---- */

enum fp4_arch { FP4_ARCH_LLAMA, FP4_ARCH_WRITEUP_D, FP4_ARCH_OPT };
enum fp4_activation { FP4_ACT_SILU, FP4_ACT_RELU, FP4_ACT_GELU /* erf */, FP4_ACT_GELU_TANH, FP4_ACT_COUNT };

/* What divides the rotary frequency of a channel pair: nothing, one factor, Llama 3's smooth step between 1 and a factor, or a number
 * of its own (GGUF's rope_freqs.weight where it is not Llama 3's). */
enum fp4_rope_kind { FP4_ROPE_DEFAULT, FP4_ROPE_LINEAR, FP4_ROPE_LLAMA3, FP4_ROPE_DIVISORS };
enum { FP4_ROPE_PAIRS = 256 };
struct fp4_rope {
    enum fp4_rope_kind kind;
    double factor;                            /* LINEAR, LLAMA3 */
    double low_freq_factor, high_freq_factor; /* LLAMA3, with original_ctx */
    size_t original_ctx;
    float divisor[FP4_ROPE_PAIRS];            /* DIVISORS: the first head_dim / 2 */
};

/* "llama", "opt", "fp4lab-writeup-d": config.json's model_type; "silu", "relu", "gelu", "gelu_new": transformers' names. */
const char *fp4_arch_name(enum fp4_arch a);
const char *fp4_activation_name(enum fp4_activation f);

/* Fields that a family does not have are 0. */
struct fp4_config {
    enum fp4_arch arch;
    size_t n_vocab, n_embd, n_layer, n_head, n_kv_head, head_dim, n_ff, n_ctx;
    float norm_eps;
    double rope_theta;
    bool tied_head;
    struct fp4_rope rope;  /* LLAMA */
    bool attention_bias;   /* LLAMA: of q, k, v, o; OPT: true unless enable_bias is false */
    bool mlp_bias;         /* LLAMA: of gate, up, down; OPT: as attention_bias */
    bool has_pad;          /* then look-ups of pad_id get no gradient (torch.nn.Embedding's padding_idx) */
    int pad_id;
    size_t n_word;         /* OPT: width of embedding and head where it differs from n_embd (project_in, project_out); else 0 */
    bool norm_after;       /* OPT: norms follow the residual sums (350M), and there is none at the end */
    bool no_final_norm;    /* OPT: _remove_final_layer_norm */
    enum fp4_activation activation;    /* OPT; the others have SILU */
    double dropout, attention_dropout; /* in training mode (struct fp4_pass); attention's is on the probabilities */
    bool no_positions;     /* WRITEUP_D as published: the rotation cancels (WRITEUPS.md D, defect 6) */
    int bos_id, eos_id;    /* −1: none */
    bool add_bos;
};
/* What divides the rotary frequency of channel pair `pair` (struct fp4_rope); 1: nothing. */
double fp4_rope_divisor(const struct fp4_config *config, size_t pair);
/* From a folder's config.json (both spellings in use: rope_theta + torch_dtype, rope_parameters + dtype) or from
 * GGUF metadata. A field that would change the numbers and is not supported (other activation, another kind of rope
 * scaling, sliding window) is FP4_ERR_UNSUPPORTED and names it. */
fp4_status fp4_config_read_json(const char *path, struct fp4_config *out);
fp4_status fp4_config_from_gguf(const struct fp4_checkpoint *c, struct fp4_config *out);
/* path as for fp4_checkpoint_open: finds the right one of the two (config.json beside the weights). */
fp4_status fp4_config_for(const char *path, const struct fp4_checkpoint *c, struct fp4_config *out);
/* Writes config.json that fp4_config_read_json reads back (and transformers loads, but for the training write-up's net); dtype: of the weights
 * beside it, FP4_F32, FP4_F16 or FP4_BF16. */
fp4_status fp4_config_write(const char *path, const struct fp4_config *config, enum fp4_dtype dtype);
/* Whether it could: FP4_ERR_UNSUPPORTED names what config.json has no form for, FP4_ERR_FORMAT what is out of range. */
fp4_status fp4_config_writable(const char *path, const struct fp4_config *config);

#endif
