/* tests/subject.h: a model with references of golden/models' layout: its checkpoint, golden.safetensors, deviations.json. */
#ifndef FP4LAB_TESTS_SUBJECT_H
#define FP4LAB_TESTS_SUBJECT_H

#include "fp4lab/model.h"
#include "tests/vectors.h"

/* One folder: its model, references, and the tokens [B,T] with the targets of the next-token loss. */
struct subject {
    struct vectors v;
    struct fp4_model *m;
    int32_t *tokens, *targets;
    size_t B, T, V;
};
void subject_open(struct subject *s, const char *folder);
void subject_close(struct subject *s);

/* prefix and name in one string (a static buffer). */
const char *prefixed(const char *prefix, const char *name);
/* Logits and loss of m against `prefix`logits and `prefix`loss; every parameter's gradient against `prefix`<p>. Both print the largest deviation
 * beside the stated one: "DEVIATION model quantity tensor ours stated". */
void subject_logits(struct subject *s, struct fp4_model *m, const char *prefix);
void subject_gradients(struct subject *s, struct fp4_model *m, const char *prefix);

#endif
