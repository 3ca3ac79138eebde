/* GGUF files with one fault each: the classes of the public advisories on ggml's reader and what else the format can get wrong. */
#include <string.h>

#include "tests/fuzz/gguf_bytes.h"
#include "tests/hostile.h"

static struct bytes broken(size_t fault) {
    struct bytes b = {0};
    switch (fault) {
    case 0: gguf_head(&b, 1, 0, 0); break;
    case 1: gguf_head(&b, 0x03000000, 0, 0); break;
    case 2: gguf_head(&b, 3, UINT64_MAX, 0); break;
    case 3: gguf_head(&b, 3, 0, UINT64_MAX); break;
    case 4: gguf_head(&b, 3, 1, 0); break;
    case 5: gguf_head(&b, 3, 0, 1); put_u64(&b, UINT64_MAX); put_u64(&b, 0); break;
    case 6: gguf_head(&b, 3, 0, 1); put_string(&b, ""); put_u32(&b, GGUF_U8); put_u32(&b, 0); break;
    case 7: gguf_head(&b, 3, 0, 1); put_string(&b, "k\xff"); put_u32(&b, GGUF_U8); put_u32(&b, 0); break;
    case 8: gguf_head(&b, 3, 0, 1); put_string(&b, "key"); put_u32(&b, 13); put_u64(&b, 0); break;
    case 9: gguf_head(&b, 3, 0, 1); put_string(&b, "key"); put_u32(&b, GGUF_BOOLEAN); put(&b, "\2", 1); break;
    case 10: gguf_head(&b, 3, 0, 2); gguf_key_u32(&b, "key", 1); gguf_key_u32(&b, "key", 1); break;
    case 11: gguf_head(&b, 3, 0, 1); put_string(&b, "key"); put_u32(&b, GGUF_ARR); put_u32(&b, GGUF_U64); put_u64(&b, (uint64_t)1 << 61); break;
    case 12: gguf_head(&b, 3, 0, 1); put_string(&b, "key"); put_u32(&b, GGUF_ARR); put_u32(&b, GGUF_STR); put_u64(&b, UINT64_MAX); break;
    case 13:
        gguf_head(&b, 3, 0, 1);
        put_string(&b, "key");
        put_u32(&b, GGUF_ARR);
        for (int i = 0; i < 100; i++) {
            put_u32(&b, GGUF_ARR);
            put_u64(&b, 1);
        }
        break;
    case 14: gguf_head(&b, 3, 0, 1); gguf_key_u32(&b, "general.alignment", 0); break;
    case 15: gguf_head(&b, 3, 0, 1); gguf_key_u32(&b, "general.alignment", 24); break;
    case 16: gguf_head(&b, 3, 1, 0); gguf_tensor(&b, "", 0, 1, 0); put_u64(&b, 0); break;
    case 17: gguf_head(&b, 3, 1, 0); put_string(&b, "t"); put_u32(&b, 5); put_u64(&b, 1); put_u64(&b, 1); put_u64(&b, 1); break;
    case 18: gguf_head(&b, 3, 1, 0); put_string(&b, "t"); put_u32(&b, 2); put_u64(&b, (uint64_t)1 << 62); put_u64(&b, 8); put_u64(&b, 0); break;
    case 19: gguf_head(&b, 3, 1, 0); gguf_tensor(&b, "t", 27, (uint64_t)1 << 62, 0); break;
    case 20: gguf_head(&b, 3, 1, 0); gguf_tensor(&b, "t", 4711, 1, 0); break;
    case 21: gguf_head(&b, 3, 1, 0); gguf_tensor(&b, "t", 4, 1, 0); break;
    case 22: gguf_head(&b, 3, 1, 0); gguf_tensor(&b, "t", 3, 33, 0); break;
    case 23: gguf_head(&b, 3, 1, 0); gguf_tensor(&b, "t", 24, 1, UINT64_MAX - 31); break;
    case 24: gguf_head(&b, 3, 2, 0); gguf_tensor(&b, "t", 24, 1, 0); gguf_tensor(&b, "t", 24, 1, 32); put_padding(&b, 32); put(&b, (char[33]){0}, 33); break;
    case 25: gguf_head(&b, 3, 2, 0); gguf_tensor(&b, "t", 24, 40, 0); gguf_tensor(&b, "u", 24, 1, 32); put_padding(&b, 32); put(&b, (char[64]){0}, 64); break;
    case 26: gguf_head(&b, 3, 2, 0); gguf_tensor(&b, "t", 24, 1, 0); gguf_tensor(&b, "u", 24, 1, 64); put_padding(&b, 32); put(&b, (char[65]){0}, 65); break;
    case 27: gguf_head(&b, 3, 1, 0); gguf_tensor(&b, "t", 24, 1, 7); put_padding(&b, 32); put(&b, (char[64]){0}, 64); break;
    case 28: gguf_head(&b, 3, 1, 0); gguf_tensor(&b, "t", 24, 65, 0); put_padding(&b, 32); put(&b, (char[64]){0}, 64); break;
    case 29: gguf_head(&b, 3, 1, 1); gguf_key_u32(&b, "general.alignment", 1u << 31); gguf_tensor(&b, "t", 24, 1, 0); put_u64(&b, 0); break;
    }
    return b;
}

static const struct {
    const char *what;
    fp4_status status;
    const char *message;
} faults[] = {
    {"version 1", FP4_ERR_UNSUPPORTED, "version 1"},
    {"big-endian", FP4_ERR_UNSUPPORTED, "big-endian"},
    {"2^64-1 tensors", FP4_ERR_FORMAT, "18446744073709551615 tensors"},
    {"2^64-1 keys", FP4_ERR_FORMAT, "18446744073709551615 keys"},
    {"a tensor without bytes", FP4_ERR_FORMAT, "1 tensors"},
    {"a key of 2^64-1 bytes", FP4_ERR_FORMAT, "a key needs 18446744073709551615 bytes"},
    {"an empty key", FP4_ERR_FORMAT, "key is empty"},
    {"a key that is not UTF-8", FP4_ERR_FORMAT, "not UTF-8"},
    {"a value type that is none", FP4_ERR_FORMAT, "value type 13"},
    {"a truth value of 2", FP4_ERR_FORMAT, "truth value"},
    {"a key twice", FP4_ERR_FORMAT, "key key is there twice"},
    {"an array that overflows", FP4_ERR_FORMAT, "an array of 2305843009213693952 elements"},
    {"an array of 2^64-1 strings", FP4_ERR_FORMAT, "an array of 18446744073709551615 elements"},
    {"nested arrays", FP4_ERR_FORMAT, "nested deeper"},
    {"alignment 0", FP4_ERR_FORMAT, "power of two"},
    {"alignment 24", FP4_ERR_FORMAT, "power of two"},
    {"an empty tensor name", FP4_ERR_FORMAT, "name is empty"},
    {"five dimensions", FP4_ERR_FORMAT, "5 dimensions"},
    {"a shape that overflows", FP4_ERR_FORMAT, "overflows"},
    {"bytes that overflow", FP4_ERR_FORMAT, "overflows"},
    {"a tensor type out of range", FP4_ERR_UNSUPPORTED, "type number 4711"},
    {"a tensor type that was removed", FP4_ERR_UNSUPPORTED, "type number 4"},
    {"a row of half blocks", FP4_ERR_FORMAT, "whole blocks of Q4_1"},
    {"an offset of 2^64-32", FP4_ERR_FORMAT, "overlap, gap or misalignment"},
    {"a tensor twice", FP4_ERR_FORMAT, "tensor t is there twice"},
    {"overlapping tensors", FP4_ERR_FORMAT, "overlap"},
    {"a gap", FP4_ERR_FORMAT, "gap"},
    {"misaligned data", FP4_ERR_FORMAT, "misalignment"},
    {"data beyond the end", FP4_ERR_FORMAT, "outside the file"},
    {"an alignment of 2^31", FP4_ERR_FORMAT, "outside the file"},
};

bool hostile_gguf(size_t i, struct hostile_case *out) {
    if (i >= sizeof faults / sizeof *faults)
        return false;
    *out = (struct hostile_case){faults[i].what, broken(i), faults[i].status, faults[i].message};
    return true;
}
