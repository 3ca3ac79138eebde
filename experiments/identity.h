/* experiments/identity.h: what a checkpoint is, by the hashes of its files. */
#ifndef FP4LAB_EXPERIMENTS_IDENTITY_H
#define FP4LAB_EXPERIMENTS_IDENTITY_H

#include "fp4lab/io.h"

/* SHA-256 of a file, or of a folder's model.safetensors or pytorch_model.bin; of a sharded folder, that of the hashes (65 bytes each: hex digits and a zero) of
 * its index and its shards in the order of their names. *bytes: of these files together. Within a process a file is read once, until its size
 * or its time changes. */
fp4_status identity_of(const char *path, char sha256[65], size_t *bytes);

#endif
