/* fp32 values into the element types that files are written in. */
#ifndef FP4LAB_IO_ENCODE_H
#define FP4LAB_IO_ENCODE_H

#include "lib/io/checkpoint.h"

struct io_values {
    fp4_tensor_values get;
    void *context;
    float *x;       /* room for the largest tensor */
    uint8_t *chunk; /* encoded, CHUNK elements at a time */
};
/* Room for tensors [n] that have no data of their own. */
fp4_status io_values_open(struct io_values *v, const struct fp4_tensor_out *tensors, size_t n, fp4_tensor_values get, void *context);
void io_values_close(struct io_values *v);
/* Tensor i's bytes into the file: its data, or its values when it has none. */
fp4_status io_put_tensor(struct fp4_writer *w, struct io_values *v, const struct fp4_tensor_out *t, size_t i, size_t bytes);
/* Bytes in a file. FP4_ERR_ARG: they overflow, there are more than 4 dimensions, or elements that are no whole blocks. */
fp4_status io_out_bytes(const struct fp4_tensor_out *t, size_t *bytes);

#endif
