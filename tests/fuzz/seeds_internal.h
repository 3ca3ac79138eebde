/* tests/fuzz/seeds_internal.h: the vocabulary that the seeds share: GPT-2's byte alphabet, a few merges, a control token. */
#ifndef FP4LAB_TESTS_FUZZ_SEEDS_INTERNAL_H
#define FP4LAB_TESTS_FUZZ_SEEDS_INTERNAL_H

#include "tests/fuzz/seeds.h"

enum { SEED_MERGES = 5, SEED_CONTROL = 256 + SEED_MERGES, SEED_VOCAB = SEED_CONTROL + 1, SEED_TOKEN_BYTES = 16 };
extern const char *const seed_merges[SEED_MERGES]; /* "a b" */
/* Text of a token in the byte alphabet; returns `text`. */
char *seed_token(int id, char text[SEED_TOKEN_BYTES]);

/* Tokenizers: number i; false when there are no more. */
bool seed_tokenizer_json(size_t i, struct bytes *out, char name[64]);
bool seed_tokenizer_model(size_t i, struct bytes *out, char name[64]);
bool seed_tokenizer_pair(size_t i, struct bytes *out, char name[64]);
/* Checkpoints of torch.save, likewise. */
bool seed_torch_file(size_t i, struct bytes *out, char name[64]);

#endif
