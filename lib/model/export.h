/* What the writers of checkpoints share. */
#ifndef FP4LAB_MODEL_EXPORT_H
#define FP4LAB_MODEL_EXPORT_H

#include "lib/model/internal.h"

/* A model being written: fp4_tensor_values with this as context. Tensor i is parameter first + i. */
struct fp4_exporter {
    struct fp4_model *m;
    const struct fp4_export *o;
    size_t first;
    struct fp4_progress bar;
    double done; /* elements */
};
/* A parameter under a name of the file's: a matrix or a vector, whose values the exporter gives; its bytes are added to *bytes. */
fp4_status fp4_exporter_tensor(const struct fp4_param *p, const char *name, enum fp4_dtype dtype, struct fp4_tensor_out *out, uint64_t *bytes);
fp4_status fp4_exporter_check(const struct fp4_model *m, const struct fp4_export *o);
fp4_status fp4_exporter_values(void *context, size_t i, float *x);

#endif
