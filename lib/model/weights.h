/* lib/model/weights.h: weights that stay in their file (fp4lab/weights.h). */
#ifndef FP4LAB_MODEL_WEIGHTS_H
#define FP4LAB_MODEL_WEIGHTS_H

#include <pthread.h>

#include "fp4lab/weights.h"
#include "lib/model/internal.h"

/* Where a parameter comes from. */
struct fp4_source {
    const struct fp4_stored *stored;
    float scale;      /* times the stored values: NVFP4's scale of the tensor, which GGUF keeps beside it; else 1 */
    bool interleaved; /* GGUF's order of query and key rows */
    bool warned;      /* of NaN or infinity in it */
    bool in_file;     /* not in memory for good */
    bool rewritten;   /* the overlay holds it */
    size_t place;     /* in_file: floats into the block buffer */
    size_t overlay;   /* in_file: bytes into the overlay */
};

struct fp4_store {
    struct fp4_checkpoint *checkpoint;
    char *path;
    bool refuse_nonfinite;
    pthread_mutex_t lock;      /* of `warned` */
    struct fp4_source *source; /* [n_params] */
    float *block, *head;       /* backend memory: the current block's weights; the head's weight once it was used */
    size_t block_floats, current; /* current: SIZE_MAX when no block is in the buffer */
    uint8_t *overlay;          /* rewritten weights, fp32; NULL until the first */
    int overlay_fd;
    size_t overlay_bytes;
    int32_t *rows;             /* 0, 1, …: look-ups in gathered embedding rows */
    size_t n_rows;
};

/* Opens a checkpoint, and a model of its configuration without weights. Both are NULL after a failure. */
fp4_status fp4_store_open(const char *path, const struct fp4_backend *backend, struct fp4_checkpoint **checkpoint, struct fp4_model **model);
/* Gives m a store, which owns the checkpoint from then on (fp4_weights_release). */
fp4_status fp4_store_create(struct fp4_model *m, const char *path, struct fp4_checkpoint *c);
/* A parameter's values as the file has them, host. Thread-safe. */
fp4_status fp4_store_read(const struct fp4_model *m, size_t param, float *host);
/* Marks what stays in the file, and its places. */
void fp4_store_lay_out(struct fp4_model *m);
/* Buffers of a model whose weights stay in the file. */
fp4_status fp4_store_begin(struct fp4_model *m);

/* fp4_model_get and fp4_model_set of a parameter that is in the file. */
fp4_status fp4_weights_get(struct fp4_model *m, size_t param, float *host);
fp4_status fp4_weights_set(struct fp4_model *m, size_t param, const float *host);
/* Back to the file's values. */
fp4_status fp4_weights_forget(struct fp4_model *m);
bool fp4_weights_rewritten(const struct fp4_model *m);
/* Where rewritten weights go. */
const char *fp4_overlay_folder(void);

/* plan.c: memory or file, by load->use; fails when that does not fit. */
fp4_status fp4_memory_choose(struct fp4_model *m, const char *path, const struct fp4_load *load, enum fp4_weights_in *where);

#endif
