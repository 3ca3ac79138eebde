/* How a tensor is cut into blocks: the driver's own structures. */
#ifndef FP4LAB_FORMATS_DRIVER_H
#define FP4LAB_FORMATS_DRIVER_H

#include "lib/formats/core/format.h"

enum fp4_work { FP4_WORK_FAKE, FP4_WORK_PACK, FP4_WORK_UNPACK };

/* One pass over a tensor. A unit is `band` rows by `segment` columns; units are grouped into tasks by shape alone. */
struct fp4_tensor_pass {
    enum fp4_work work;
    struct fp4_tensor tensor;
    const struct fp4_format *format;
    size_t rows, cols;      /* flat formats: 1, all elements */
    size_t band, segment;   /* 1 row, or 16 in 2d */
    size_t block;           /* columns of a block; the segment where the format has none */
    size_t segments, units, per_task, blocks_per_row;
    size_t row_bytes;       /* packed */
    const float *x;         /* FAKE, PACK */
    float *y;               /* FAKE, UNPACK */
    const float *u;         /* given uniforms, or NULL */
    const struct fp4_random *random;
    const struct fp4_cpu_kernels *kernels;
    uint8_t *data, *scales; /* PACK, UNPACK */
};

/* Cuts [rows, cols] for q. */
void fp4_tensor_pass_shape(struct fp4_tensor_pass *pass, const struct fp4_quantizer *q, size_t rows, size_t cols);
void fp4_tensor_pass_run(struct fp4_tensor_pass *pass);

#endif
