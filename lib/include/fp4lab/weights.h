/* fp4lab/weights.h: where a model's weights live, and how much memory a use of it takes.
 *
 * In memory: every weight as fp32 in the backend. In the file: the embedding, the head and the linear layers of the blocks stay memory-mapped
 * as stored; a block is converted into one buffer when it is entered, embeddings row by row, the head once, when it is first used. Both give
 * the same bits. A weight that is set while it lives in the file goes to an unlinked temporary file (TMPDIR, else /tmp) as fp32. Training
 * needs weights in memory. */
#ifndef FP4LAB_WEIGHTS_H
#define FP4LAB_WEIGHTS_H

#include "fp4lab/model.h"

enum fp4_weights_in { FP4_WEIGHTS_AUTO, FP4_WEIGHTS_MEMORY, FP4_WEIGHTS_FILE };
/* "auto", "memory", "file"; FP4_ERR_ARG for another name. */
fp4_status fp4_weights_in_parse(const char *name, enum fp4_weights_in *out);

/* What a model will be used for. */
struct fp4_use {
    size_t sequences, tokens;  /* of the largest pass (sequences 0: 1) */
    size_t cache;              /* positions of the key-value cache; 0: none */
    bool quantized, quantized_head; /* policies on linear layers, on the head */
    bool reference;            /* scores against reference hidden states */
    bool snapshot;
    bool gradients;            /* with AdamW's moments: weights in memory */
    bool rewrites;             /* a method sets every weight of the blocks (fp4_model_set) */
    bool hessians;             /* … from second-order statistics (gptq) */
    size_t other;              /* the program's own, bytes */
};

/* Bytes. */
struct fp4_memory {
    enum fp4_weights_in weights_in; /* never AUTO */
    size_t weights;     /* all, or one block, the head, and what is small */
    size_t pages;       /* of the file, while a tensor is converted */
    size_t activations; /* of one pass, with its logits, operands and cache */
    size_t training;    /* gradients, moments */
    size_t method;      /* statistics and copies; snapshot */
    size_t other;       /* of the program, libraries and the use */
    size_t total;       /* at the peak: pages come and go before the last of the activations */
    size_t disk;        /* temporary file of rewritten weights */
    size_t available;   /* fp4_memory_available() */
    size_t in_file;     /* what the total would be with weights in the file; 0 where they cannot stay there */
};
/* Checks nothing against what is available. weights_in AUTO: in memory where that takes at most nine tenths of what is available or is needed
 * (gradients), else in the file. */
fp4_status fp4_memory_plan(const struct fp4_config *config, enum fp4_weights_in weights_in, const struct fp4_use *use, struct fp4_memory *out);
/* The same for the checkpoint at `path` (its stored types say how large its pages are). */
fp4_status fp4_memory_plan_for(const char *path, enum fp4_weights_in weights_in, const struct fp4_use *use, struct fp4_memory *out);

/* "1.62 GiB (weights in memory 0.50, activations 0.31, …)". */
void fp4_memory_describe(const struct fp4_memory *m, char *text, size_t size);
/* FP4_ERR_MEMORY, with what could be done, when a plan for `path` needs more memory, or more room for rewritten weights, than there is. */
fp4_status fp4_memory_check(const char *path, const struct fp4_memory *m);

struct fp4_load {
    enum fp4_weights_in weights_in;
    const struct fp4_use *use;  /* plans before it loads, and fails with FP4_ERR_MEMORY when the plan does not fit; NULL: no plan, AUTO is MEMORY */
    bool ignore_memory;         /* goes on when the plan does not fit */
    bool refuse_nonfinite;      /* a tensor with NaN or infinity is FP4_ERR_NUMERIC, when it is converted; else a warning (fp4_warn) */
};
/* fp4_model_load with a choice. */
fp4_status fp4_model_open(const char *path, const struct fp4_backend *backend, const struct fp4_load *load, struct fp4_model **out);
/* MEMORY or FILE. */
enum fp4_weights_in fp4_model_weights_in(const struct fp4_model *m);

#endif
