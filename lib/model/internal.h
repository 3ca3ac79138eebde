/* lib/model/internal.h: what the files of this folder share. */
#ifndef FP4LAB_MODEL_INTERNAL_H
#define FP4LAB_MODEL_INTERNAL_H

#include "fp4lab/model.h"
#include "lib/backend/backend.h"

enum { FP4_PARAM_ALIGN = 16 }; /* floats: every parameter begins on a cache line */
enum { HEAD_ROWS = 256 }; /* rows of logits that exist at a time; a multiple of every block size */

/* A norm's parameters; SIZE_MAX: none. RMSNorm has no bias. */
struct fp4_norm {
    size_t weight, bias;
};

/* Indices of a block's parameters and linear layers; SIZE_MAX: the family has none. */
struct fp4_block {
    struct fp4_norm norm1, norm2;
    size_t q, k, v, qkv, o, gate, up, down; /* linear layers */
};

/* Activations of one block, backend memory; R rows. A = H·D, K = KV·D. Norm before: x1 = norm(in), mid = in + attention(x1), x2 = norm(mid),
 * out = mid + mlp(x2). Norm after: mid = norm(sum1), sum1 = in + attention(in), out = norm(sum2), sum2 = mid + mlp(mid). */
struct fp4_block_acts {
    float *in, *mid;         /* residual stream before each half [R, d] */
    float *sum1, *sum2;      /* what the norms read [R, d]; norm before: in and mid */
    float *x1, *x2;          /* what the halves read [R, d]; norm after: in and mid */
    float *mean1, *mean2;    /* [R], LayerNorm only */
    float *rstd1, *rstd2;    /* [R] */
    float *q, *k, *v;        /* [R, A], [R, K], [R, K]; the write-up's net: slices of one [R, 3d] */
    float *attention, *stats; /* [R, A]; [B, H, T, 2] */
    float *gate, *up, *act;  /* [R, ff]; gate: NULL where there is none */
};

/* All activations of a pass in one allocation. Without gradients every block uses the same buffers and mid == in. */
struct fp4_arena {
    float *memory;
    size_t capacity;
    size_t B, T;
    bool grad;
    struct fp4_block_acts *block; /* [n_layer] */
    float *word;                  /* embedding rows that project_in reads [R, w]; NULL without it */
    float *last, *normed;         /* residual stream at the end, and after the last norm [R, d]: the same where there is none */
    float *mean, *rstd;           /* [R] */
    float *hidden;                /* what the head reads [R, w]: normed, or project_out's */
    float *branch;                /* what a half adds to the stream, where it is dropped out first [R, d] */
    bool dropping;                /* this pass is in training mode, with a probability that is not 0 */
    /* gradients, with grad only */
    float *dx, *dnorm, *dbranch, *dq, *dk, *dv, *dattention, *dgate, *dup, *dhidden, *dword;
};

struct fp4_buffer {
    float *p;
    size_t capacity;
};

/* Scratch buffers by use. */
enum { SCRATCH_A, SCRATCH_B, SCRATCH_HEAD_X, SCRATCH_HEAD_W, SCRATCH_HEAD_WT, SCRATCH_HEAD_XT, SCRATCH_LOGITS, SCRATCH_REFERENCE,
       SCRATCH_EMBEDDING,
       SCRATCH_COUNT };

struct fp4_model {
    const struct fp4_backend *be;
    struct fp4_config config;
    size_t n_params, n_linear, n_elements, n_stored; /* n_stored: floats of `data`, with padding */
    struct fp4_param *params;
    struct fp4_linear *linear;
    struct fp4_block *block;
    size_t embed, positions;        /* parameters */
    struct fp4_norm final_norm;
    size_t head, project_in, project_out; /* linear layers */
    float *data, *grad;             /* all parameters but those that stay in their file, all gradients */
    struct fp4_store *store;        /* weights.c; NULL: all weights are in memory */
    bool *fresh;                    /* [n_params]: gradient counts as zero whatever its memory holds: the first product overwrites it */
    struct fp4_pass pass;
    fp4_linear_hook hook;
    void *hook_context;
    struct fp4_arena arena;
    struct fp4_buffer scratch[SCRATCH_COUNT];
    struct fp4_buffer host; /* host copies for hooks */
    float *cosine, *sine;   /* rotary tables [rotations, D/2] */
    size_t rotations;
};

/* What the families differ in. */
static inline bool fp4_packed(const struct fp4_config *c) { return c->arch == FP4_ARCH_WRITEUP_D; } /* q, k, v: slices of one product */
static inline bool fp4_gated(const struct fp4_config *c) { return c->arch == FP4_ARCH_LLAMA; }
static inline bool fp4_rotary(const struct fp4_config *c) { return c->arch != FP4_ARCH_OPT && !c->no_positions; }
static inline bool fp4_layer_norm(const struct fp4_config *c) { return c->arch == FP4_ARCH_OPT; }
enum { OPT_POSITION_OFFSET = 2 }; /* row of position t is t + 2: transformers' OPTLearnedPositionalEmbedding */

/* arena.c */
fp4_status fp4_arena_prepare(struct fp4_model *m, size_t B, size_t T, bool grad);
/* How many floats that takes; the arena's pointers are lost. */
fp4_status fp4_arena_floats(struct fp4_model *m, size_t B, size_t T, bool grad, size_t *floats);
void fp4_arena_release(struct fp4_model *m);
/* A scratch buffer of at least n floats; its contents are lost. */
fp4_status fp4_scratch(struct fp4_model *m, int use, size_t n, float **out);
fp4_status fp4_rotary_prepare(struct fp4_model *m, size_t positions);

/* build.c: names, shapes and storage of a configuration's parameters and linear layers */
fp4_status fp4_model_build(const struct fp4_config *config, const struct fp4_backend *backend, struct fp4_model **out);
/* The same in two steps: without storage, and storage for what does not stay in the file. */
fp4_status fp4_model_shape(const struct fp4_config *config, const struct fp4_backend *backend, struct fp4_model **out);
fp4_status fp4_model_place(struct fp4_model *m);

/* weights.c: makes weights that stay in their file readable through params[].data; nothing to do for weights in memory */
/* Before a block's parameters are read. */
fp4_status fp4_weights_enter(struct fp4_model *m, size_t layer);
/* Before the head's weight is read; it stays. */
fp4_status fp4_weights_head(struct fp4_model *m);
/* Table of the embeddings of R tokens; *rows: which row of it each token has, NULL: its id's. */
fp4_status fp4_weights_embedding(struct fp4_model *m, const int32_t *tokens, size_t R, const float **table, const int32_t **rows);
bool fp4_weights_in_file(const struct fp4_model *m, size_t param);
void fp4_weights_release(struct fp4_model *m);

/* linear.c: products under a policy. x [R, n_in], y [R, n_out]. */
/* An operand as a product takes it: [rows, cols] as stored with row stride ld, or transposed [cols, rows]. */
struct fp4_prepared {
    const float *p;
    size_t ld;
    bool transposed;
};
/* Operand `which` of a layer's product, quantized into scratch where its policy says so. */
fp4_status fp4_linear_operand(struct fp4_model *m, const struct fp4_linear *l, enum fp4_operand which, size_t rows, const float *x,
                              int scratch, struct fp4_prepared *out);
/* y = x Wᵀ, or y += x Wᵀ; calls the hook first. */
fp4_status fp4_linear_forward(struct fp4_model *m, const struct fp4_linear *l, size_t R, const float *x, float *y, bool add); /* with its bias */
fp4_status fp4_linear_hook_call(struct fp4_model *m, const struct fp4_linear *l, size_t R, const float *x);
/* dx (+)= dy W; gradient of the weight += dyᵀ x, of the bias += the rows of dy. */
fp4_status fp4_linear_backward(struct fp4_model *m, const struct fp4_linear *l, size_t R, const float *x, const float *dy, float *dx,
                               bool add);
/* Weight gradient from prepared operands: grad += dyᵀ x over R rows. */
fp4_status fp4_linear_weight_gradient(struct fp4_model *m, const struct fp4_linear *l, size_t R, const struct fp4_prepared *dy,
                                      const struct fp4_prepared *x);
/* The gradient of a parameter, made zero first when it is fresh. */
fp4_status fp4_grad_of(struct fp4_model *m, size_t param, float **grad);

/* dropout.c: sites of a block, and of the attention's probabilities */
enum fp4_drop_site { DROP_ATTENTION, DROP_MLP, DROP_PROBABILITIES };
/* What is dropped at a site of a layer in this pass; p = 0 where nothing is. */
struct fp4_dropout fp4_drop_of(const struct fp4_model *m, size_t layer, enum fp4_drop_site site);

/* norm.c: RMSNorm or LayerNorm by what the parameters are. Backward adds to dx. */
fp4_status fp4_norm_forward(struct fp4_model *m, const struct fp4_norm *n, size_t R, const float *x, float *y, float *mean, float *rstd);
fp4_status fp4_norm_backward(struct fp4_model *m, const struct fp4_norm *n, size_t R, const float *x, const float *mean, const float *rstd,
                             const float *dy, float *dx);

/* forward.c. cache: see generate.c */
struct fp4_cache {
    size_t room, used; /* positions */
    float **k, **v;    /* [n_layer], each [room, K] */
};
struct fp4_embedding fp4_embedding_of(const struct fp4_model *m);
struct fp4_attention fp4_attention_of(const struct fp4_model *m, size_t layer, size_t B, size_t T);
/* Leaves the arena's hidden [B·T, width]. */
fp4_status fp4_forward(struct fp4_model *m, const int32_t *tokens, size_t B, size_t T, bool grad, struct fp4_cache *cache);

/* backward.c: from the arena's dhidden [B·T, width] to all gradients */
fp4_status fp4_backward(struct fp4_model *m, const int32_t *tokens, size_t B, size_t T);

/* head.c */
struct fp4_head {
    struct fp4_prepared x, w;
};
/* Quantizes the head's operands for all R rows of hidden states at once. */
fp4_status fp4_head_begin(struct fp4_model *m, size_t R, const float *hidden, struct fp4_head *h);
/* logits [n, V] of rows first … first+n−1 */
fp4_status fp4_head_logits(struct fp4_model *m, const struct fp4_head *h, size_t first, size_t n, float *logits);

#endif
