/* tests/vectors.h: reference tensors of golden/models with their measured deviations. */
#ifndef FP4LAB_TESTS_VECTORS_H
#define FP4LAB_TESTS_VECTORS_H

#include <jansson.h>

#include "fp4lab/io.h"

/* One safetensors file of references and the entry of deviations.json that belongs to it. */
struct vectors {
    char folder[512], name[64];
    struct fp4_checkpoint *file;
    json_t *root, *deviations; /* root owns deviations */
    size_t used;               /* tensors compared */
    double last;               /* largest deviation of the last of them */
};
/* folder: path; file: "golden.safetensors". Asserts that both exist. */
void vectors_open(struct vectors *v, const char *folder, const char *file);
void vectors_close(struct vectors *v);
bool vectors_has(const struct vectors *v, const char *name);
/* The stored description; asserts that it is there. */
const struct fp4_stored *vectors_stored(const struct vectors *v, const char *name);
/* Values as double, exactly as stored; fp4_free'd by the caller. *n may be NULL. */
double *vectors_read(const struct vectors *v, const char *name, size_t *n);
int32_t *vectors_read_ids(const struct vectors *v, const char *name, size_t *n);
/* max_dev and max_ref of a tensor. */
double vectors_deviation(const struct vectors *v, const char *name);
double vectors_magnitude(const struct vectors *v, const char *name);
/* Asserts |x − reference| ≤ factor·max_dev + 2⁻²²·max_ref for the first n elements from `first`, and counts the tensor. */
void vectors_compare(struct vectors *v, const char *name, const double *x, size_t n, double factor);
void vectors_compare_f32(struct vectors *v, const char *name, const float *x, size_t n, double factor);

#endif
