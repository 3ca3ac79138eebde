/* tests/fuzz/seeds.h: small valid files of every kind that a reader takes, made here. Fuzzing starts from them, and the suites of hostile files
 * break them. */
#ifndef FP4LAB_TESTS_FUZZ_SEEDS_H
#define FP4LAB_TESTS_FUZZ_SEEDS_H

#include "tests/bytes.h"

/* Seed number i of a target, its name without folder in `name`; false when there are no more. Release with free(out->data). */
bool fuzz_seed(const char *target, size_t i, struct bytes *out, char name[64]);

/* A GGUF file with every kind of value and two tensors (7 keys); its last byte is the last of its data. */
struct bytes seed_gguf_values(uint32_t version);
/* A Llama with one block and its tokenizer, whole enough to be run. */
struct bytes seed_gguf_model(void);
/* safetensors: a header as given, then so many bytes of data. */
struct bytes seed_safetensors(const char *header, size_t data_bytes);

#endif
