/* tests/fuzz/seeds_torch.h: checkpoints as torch.save lays them out, made by hand: a ZIP archive and the pickle in it. */
#ifndef FP4LAB_TESTS_FUZZ_SEEDS_TORCH_H
#define FP4LAB_TESTS_FUZZ_SEEDS_TORCH_H

#include "tests/bytes.h"

/* A ZIP archive of stored entries, each aligned to 64 bytes and with its sizes behind it (as torch writes them). */
struct seed_zip {
    struct bytes file, directory;
    size_t n;
    bool wide; /* sizes and places in 64-bit fields, and the 64-bit end */
};
void seed_zip_add(struct seed_zip *z, const char *name, const void *data, size_t n);
/* The finished archive; release with free(data). */
struct bytes seed_zip_end(struct seed_zip *z);

/* An archive "m" with this pickle, byteorder (NULL: none), and storage "0" of so many bytes, byte i being 37·i. */
struct bytes seed_torch(const void *pickle, size_t n, const char *byteorder, size_t storage, bool wide);

/* Opcodes, as string literals. Numbers K are BININT1. */
#define SEED_DICT "\x80\x02" "}("
#define SEED_END "u."
#define SEED_KEY(letter) "X\x01\0\0\0" letter
#define SEED_STORAGE(type, key, elements) "(X\7\0\0\0" "storagec" type "\n" SEED_KEY(key) "X\3\0\0\0" "cpu" elements "tQ"
/* storage, offset, sizes and strides: opcodes */
#define SEED_TENSOR(storage, offset, sizes, strides) \
    "ctorch._utils\n_rebuild_tensor_v2\n(" storage offset sizes strides "\x89" "ccollections\nOrderedDict\n)RtR"
/* Of 2×3 floats. */
#define SEED_FLOATS SEED_TENSOR(SEED_STORAGE("torch\nFloatStorage", "0", "K\6"), "K\0", "K\2K\3\x86", "K\3K\1\x86")
#define SEED_GOOD SEED_DICT SEED_KEY("a") SEED_FLOATS SEED_END

#endif
