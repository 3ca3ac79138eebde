/* fp4lab/model.h: transformers, forward and backward, written once against a table of backend operations.
 * Three families: Llama (RMSNorm, rotary, grouped queries, SiLU gate, optional biases), OPT (LayerNorm before or after the residual
 * sums, learned positions, biases, ReLU or GELU, embedding of another width), and the net of the training write-up (WRITEUPS.md D). */
#ifndef FP4LAB_MODEL_H
#define FP4LAB_MODEL_H

#include "fp4lab/backend.h"
#include "fp4lab/io.h"
#include "fp4lab/policy.h"

/* ---- models ---- */
struct fp4_model;

/* kind of a linear layer, for policies and methods. WRITEUP_D has QKV, O, UP, DOWN, HEAD; Llama Q, K, V, O, GATE, UP, DOWN, HEAD; OPT the
 * same without GATE (UP is fc1, DOWN is fc2) and, where the embedding has another width, PROJECT_IN and PROJECT_OUT. These two belong to
 * the embedding and the head, not to a block: post-training methods leave them alone as they leave the head. */
enum fp4_linear_kind {
    FP4_LIN_Q, FP4_LIN_K, FP4_LIN_V, FP4_LIN_QKV, FP4_LIN_O, FP4_LIN_GATE, FP4_LIN_UP, FP4_LIN_DOWN, FP4_LIN_HEAD,
    FP4_LIN_PROJECT_IN, FP4_LIN_PROJECT_OUT
};

/* Loads config and weights of a folder or GGUF file (weights become fp32 in the backend; GGUF's interleaved q/k rows are put
 * into the rotate-half order of the checkpoints' origin). */
fp4_status fp4_model_load(const char *path, const struct fp4_backend *backend, struct fp4_model **out);
/* Random initial weights: N(0, 0.02²), norms 1, biases 0; addressed by seed and parameter. */
fp4_status fp4_model_create(const struct fp4_config *config, uint32_t seed, const struct fp4_backend *backend, struct fp4_model **out);
void fp4_model_free(struct fp4_model *m);
const struct fp4_config *fp4_model_config(const struct fp4_model *m);
/* fp4_model_export as F32, over what is there. */
fp4_status fp4_model_save(struct fp4_model *m, const char *folder);

/* Parameters, in a fixed order; names as in the checkpoint family ("model.layers.0.self_attn.q_proj.weight"). A tied head is
 * the embedding and is not listed twice. data lives in the backend. */
struct fp4_param {
    char name[96];
    size_t rows, cols; /* cols = 1 … for vectors: rows = 1, cols = n */
    size_t elements;
    float *data, *grad; /* grad: NULL until fp4_model_enable_grad */
};
size_t fp4_model_n_params(const struct fp4_model *m);
struct fp4_param *fp4_model_param(struct fp4_model *m, size_t i);
struct fp4_param *fp4_model_find_param(struct fp4_model *m, const char *name);
size_t fp4_model_n_elements(const struct fp4_model *m);
/* Host copies. */
fp4_status fp4_model_get(struct fp4_model *m, const struct fp4_param *p, float *host);
fp4_status fp4_model_set(struct fp4_model *m, struct fp4_param *p, const float *host);
fp4_status fp4_model_get_grad(struct fp4_model *m, const struct fp4_param *p, float *host);
/* SHA-256 of the parameters' SHA-256 (65 bytes each: hex digits and a zero), in their order. */
fp4_status fp4_model_hash(struct fp4_model *m, char hex[65]);
/* A backend-side copy of all parameters; restore is a copy back. */
struct fp4_snapshot;
fp4_status fp4_model_snapshot(struct fp4_model *m, struct fp4_snapshot **out);
fp4_status fp4_model_restore(struct fp4_model *m, const struct fp4_snapshot *s);
void fp4_snapshot_free(struct fp4_snapshot *s);

/* ---- linear layers and policies ---- */
struct fp4_linear {
    char name[96];              /* its weight's parameter name; the tied head: "lm_head.weight" */
    enum fp4_linear_kind kind;
    size_t layer;               /* block; n_layer for the head and the projections beside it */
    size_t param;               /* index of its weight */
    size_t bias;                /* index of its bias [n_out], never quantized; SIZE_MAX: none */
    size_t n_out, n_in;
    struct fp4_policy policy;   /* zero: no quantization. Set it directly. */
};
size_t fp4_model_n_linear(const struct fp4_model *m);
struct fp4_linear *fp4_model_linear(struct fp4_model *m, size_t i);
/* Every linear layer, with or without those outside the blocks (head, projections). NULL: no quantization. A tied head's policy quantizes a copy of the
 * embedding for the head's product only. */
void fp4_model_set_policy(struct fp4_model *m, const struct fp4_policy *policy, bool head_too);

/* What randomness a pass uses: seed and step address stochastic rounding (layer = linear's index, operand = fp4_operand). */
struct fp4_pass {
    uint32_t seed, step;
    uint32_t replicate;  /* ≠ 0: embedding look-ups are multiplied by 1 ± 2⁻²³, sign addressed by (replicate, token id, channel) */
    /* Training mode: passes drop out with the configuration's probabilities; what is dropped is addressed by (seed, step, layer, site,
     * element), so that the same pass again drops the same. Generation (KV cache) and single blocks never drop. */
    bool training;
};
void fp4_model_set_pass(struct fp4_model *m, const struct fp4_pass *pass);

/* Called with the host-visible input of every linear layer in a forward pass: x [n_tokens, n_in]. */
typedef fp4_status (*fp4_linear_hook)(void *context, const struct fp4_linear *linear, const float *x, size_t n_tokens);
void fp4_model_set_hook(struct fp4_model *m, fp4_linear_hook hook, void *context); /* NULL: none */

/* ---- forward ---- */
/* One sequence from position 0; logits [n_last, n_vocab] of its last n_last positions, host. */
fp4_status fp4_model_logits(struct fp4_model *m, const int32_t *tokens, size_t n, size_t n_last, float *logits);
/* What the head reads, after the last norm (and OPT's project_out): [n, fp4_model_width], host. */
size_t fp4_model_width(const struct fp4_model *m); /* n_embd, or OPT's n_word */
fp4_status fp4_model_hidden(struct fp4_model *m, const int32_t *tokens, size_t n, float *hidden);
/* Scores a window: nll [n−1] (natural log, float64 log-sum-exp). With reference hidden states of the unquantized model and its
 * head (`reference` model, may be the same object): kl [n−1] = KL(reference ‖ this), top1 [n−1]. Any output may be NULL. Logits exist in
 * bounded chunks only. */
struct fp4_score {
    double *nll, *kl;
    uint8_t *top1;              /* 1: same greedy token */
    float *hidden;              /* [n, fp4_model_width], this model's */
    const float *reference;     /* the same of the reference, or NULL: no kl, no top1. Read through this model's head, which must be unquantized then. */
};
fp4_status fp4_model_score(struct fp4_model *m, const int32_t *tokens, size_t n, struct fp4_score *score);
/* Block-wise, for layer-by-layer methods: embed (with learned positions), then one block at a time, sequences of n tokens each [n, n_embd] host; hooks fire. */
fp4_status fp4_model_embed(struct fp4_model *m, const int32_t *tokens, size_t n, float *hidden);
fp4_status fp4_model_block(struct fp4_model *m, size_t layer, size_t n, float *hidden); /* in place */

/* ---- generation: KV cache ---- */
struct fp4_sampler {
    double temperature;  /* 0: greedy */
    int top_k;           /* 0: all */
    struct fp4_random random; /* step is advanced by the position */
};
/* Appends up to n_new tokens to `tokens` (room for n + n_new); stops at eos when eos ≥ 0. *n_out = total. */
fp4_status fp4_model_generate(struct fp4_model *m, int32_t *tokens, size_t n, size_t n_new, const struct fp4_sampler *s, int eos, size_t *n_out);
/* Probabilities under temperature and top-k (ties with the k-th stay), float64: p [n_vocab]. */
void fp4_sampler_probabilities(const float *logits, size_t n_vocab, double temperature, int top_k, double *p);
int32_t fp4_sample_index(const double *p, size_t n, double u);
/* −Σ p ln p of softmax(logits/T), float64. */
double fp4_logits_entropy(const float *logits, size_t n_vocab, double temperature);

/* ---- training ---- */
fp4_status fp4_model_enable_grad(struct fp4_model *m); /* allocates gradients, zero */
fp4_status fp4_model_zero_grad(struct fp4_model *m);
/* Mean cross-entropy over B sequences of T tokens: inputs [B,T], targets [B,T] (−1: not counted); adds scale·gradient. */
fp4_status fp4_model_loss_backward(struct fp4_model *m, const int32_t *inputs, const int32_t *targets, size_t B, size_t T, float scale, double *loss);
/* Evaluation: mean loss and share of the counted targets that are the argmax; either may be NULL. */
fp4_status fp4_model_evaluate(struct fp4_model *m, const int32_t *inputs, const int32_t *targets, size_t B, size_t T, double *loss, double *accuracy);
/* Entropy of the last position: *entropy = −Σ p·ln p, *loss = −Σ p·ln(p + 1e-8), gradient of the loss added. logits (host, [V], may be NULL):
 * the last position's before the step. */
fp4_status fp4_model_entropy_backward(struct fp4_model *m, const int32_t *tokens, size_t n, double *entropy, double *loss, float *logits);

struct fp4_optimizer;
fp4_status fp4_optimizer_create(struct fp4_model *m, struct fp4_optimizer **out);
void fp4_optimizer_free(struct fp4_optimizer *o);
fp4_status fp4_optimizer_reset(struct fp4_optimizer *o); /* moments to 0, step count to 0 */
/* Optionally clips to max_norm (≤ 0: no): gradients times min(1, max_norm/(norm + 1e-6)). *norm (may be NULL): before clipping. Frozen
 * weights (policy.frozen_weight) are not touched, neither step nor decay. */
fp4_status fp4_optimizer_step(struct fp4_optimizer *o, const struct fp4_adamw *h, double max_norm, double *norm);

/* ---- writing checkpoints ---- */
struct fp4_export {
    enum fp4_dtype dtype;           /* F32, F16 or BF16, nearest even; GGUF: of matrices, its vectors are F32; and Q8_0, and MXFP4 (of the blocks' linear
                                     * layers, as mxfp4:floor has it, other matrices BF16); rows that are no multiple of 32 become F16 and BF16 then */
    struct fp4_quantizer weights;   /* not none: linear layers' weights are rounded to it and back first, to the values that a policy with it reads */
    bool head;                      /* the head's too. FP4_ERR_ARG with a tied head, which a checkpoint holds once */
    uint32_t seed;                  /* of stochastic rounding and Hadamard signs, as in fp4_pass */
    size_t shard_bytes;             /* safetensors files get no larger, but for a tensor that is; 0: 5·10⁹ */
    bool force;                     /* over a checkpoint that is there; else FP4_ERR_ARG */
};
/* Into a folder, as Hugging Face transformers loads it (but for the training write-up's net, which it does not know): model.safetensors, or shards and
 * their index, generation_config.json, and config.json last. Streams: takes the memory of the largest tensor. Equal models give equal bytes. Each file
 * appears whole or not at all. *bytes (may be NULL): of the weights. */
fp4_status fp4_model_export(struct fp4_model *m, const char *folder, const struct fp4_export *o, uint64_t *bytes);
/* As a GGUF file (version 3, architecture llama: FP4_ERR_UNSUPPORTED for the families that llama.cpp has not, OPT and the training write-up's net), tensors named
 * and ordered as llama.cpp reads them. tokenizer: where the model's is, as for fp4_tokenizer_export (a folder needs tokenizer.json); NULL: a file without one. */
fp4_status fp4_model_export_gguf(struct fp4_model *m, const char *path, const char *tokenizer, const struct fp4_export *o, uint64_t *bytes);

#endif
