/* ggml's tensor types. */
#ifndef FP4LAB_IO_GGML_BLOCKS_H
#define FP4LAB_IO_GGML_BLOCKS_H

#include "lib/io/checkpoint.h"

struct io_ggml_type {
    struct io_dtype info;
    enum fp4_dtype dtype; /* FP4_DTYPE_OTHER: named and measured, not converted */
    void (*decode)(const uint8_t *bytes, float *values); /* one block; NULL for the plain types */
};
/* By ggml's number; NULL when there is no such type. */
const struct io_ggml_type *io_ggml_type(uint32_t id);
/* The block type with this element type; NULL when it is a plain one. */
const struct io_ggml_type *io_ggml_block_type(enum fp4_dtype t);

#endif
