/* How GGUF names and orders what a model has. */
#ifndef FP4LAB_MODEL_GGUF_LAYOUT_H
#define FP4LAB_MODEL_GGUF_LAYOUT_H

#include "lib/model/internal.h"

/* GGUF's name of a parameter. */
void fp4_gguf_name(const char *ours, char *out, size_t size);
/* Whether GGUF interleaves the halves of each head in this parameter: queries and keys, weights and biases. */
bool fp4_gguf_interleaved(const struct fp4_model *m, size_t param);
/* Puts such a parameter's rows x into GGUF's order, or back: GGUF's row r of a head of D rows is row (r mod 2)·D/2 + r div 2 of the checkpoint. */
fp4_status fp4_gguf_reorder(const struct fp4_param *p, size_t head_dim, bool to_gguf, float *x);

#endif
