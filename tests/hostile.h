/* tests/hostile.h: files with one fault each, for every reader of files from strangers. */
#ifndef FP4LAB_TESTS_HOSTILE_H
#define FP4LAB_TESTS_HOSTILE_H

#include "tests/bytes.h"

struct hostile_case {
    const char *what;
    struct bytes file; /* release with free(file.data) */
    fp4_status status; /* the reader's */
    const char *message; /* stands in its message */
};

/* Fault number i of a kind: "safetensors", "torch", "gguf", "config", "tokenizer_json", "results" (named as the fuzz targets); false when there are
 * no more. */
bool hostile_case(const char *kind, size_t i, struct hostile_case *out);

/* Opens the first n bytes as a checkpoint, from guarded memory, and reads everything that opened. */
fp4_status hostile_open(const char *name, const struct bytes *b, size_t n);
/* Opens every file of a kind's faults under this name: the status and the message, which begins with the name, are as they should. How many. */
size_t hostile_table(const char *kind, const char *name);
/* Opens the file with each of its bytes changed to each of values [n], one at a time; how many are refused. */
size_t hostile_changes(const char *name, const struct bytes *b, const uint8_t *values, size_t n);

/* The kinds, for hostile_case. */
bool hostile_gguf(size_t i, struct hostile_case *out);
bool hostile_safetensors(size_t i, struct hostile_case *out);
bool hostile_torch(size_t i, struct hostile_case *out);
bool hostile_config(size_t i, struct hostile_case *out);
bool hostile_tokenizer(size_t i, struct hostile_case *out);
bool hostile_results(size_t i, struct hostile_case *out);

#endif
