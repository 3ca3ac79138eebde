/* safetensors files with one fault each. */
#include <string.h>

#include "tests/fuzz/seeds.h"
#include "tests/hostile.h"

static const struct {
    const char *what, *header;
    size_t data;
    fp4_status status;
    const char *message;
} faults[] = {
    {"not an object", "[1,2]   ", 0, FP4_ERR_FORMAT, "not a JSON object"},
    {"trailing text", "{} {}", 0, FP4_ERR_FORMAT, "broken JSON"},
    {"duplicate name", "{\"a\":{\"dtype\":\"U8\",\"shape\":[1],\"data_offsets\":[0,1]},\"a\":{\"dtype\":\"U8\",\"shape\":[1],\"data_offsets\":[1,2]}}", 2,
     FP4_ERR_FORMAT, "duplicate"},
    {"broken UTF-8 in a name", "{\"a\xff\":{\"dtype\":\"U8\",\"shape\":[1],\"data_offsets\":[0,1]}}", 1, FP4_ERR_FORMAT, "byte 0xff"},
    {"zero in a name", "{\"a\\u0000b\":{\"dtype\":\"U8\",\"shape\":[1],\"data_offsets\":[0,1]}}", 1, FP4_ERR_FORMAT, "broken JSON"},
    {"overlap", "{\"a\":{\"dtype\":\"U8\",\"shape\":[2],\"data_offsets\":[0,2]},\"b\":{\"dtype\":\"U8\",\"shape\":[2],\"data_offsets\":[1,3]}}", 3,
     FP4_ERR_FORMAT, "overlaps"},
    {"the same bytes twice", "{\"a\":{\"dtype\":\"U8\",\"shape\":[2],\"data_offsets\":[0,2]},\"b\":{\"dtype\":\"U8\",\"shape\":[2],\"data_offsets\":[0,2]}}",
     2, FP4_ERR_FORMAT, "overlaps"},
    {"gap", "{\"a\":{\"dtype\":\"U8\",\"shape\":[2],\"data_offsets\":[0,2]},\"b\":{\"dtype\":\"U8\",\"shape\":[2],\"data_offsets\":[3,5]}}", 5,
     FP4_ERR_FORMAT, "gap"},
    {"gap at the start", "{\"a\":{\"dtype\":\"U8\",\"shape\":[2],\"data_offsets\":[1,3]}}", 3, FP4_ERR_FORMAT, "gap"},
    {"bytes at the end", "{\"a\":{\"dtype\":\"U8\",\"shape\":[2],\"data_offsets\":[0,2]}}", 3, FP4_ERR_FORMAT, "after the last tensor"},
    {"end before begin", "{\"a\":{\"dtype\":\"U8\",\"shape\":[2],\"data_offsets\":[2,0]}}", 2, FP4_ERR_FORMAT, "outside"},
    {"outside the file", "{\"a\":{\"dtype\":\"U8\",\"shape\":[4],\"data_offsets\":[0,4]}}", 3, FP4_ERR_FORMAT, "outside"},
    {"huge offset", "{\"a\":{\"dtype\":\"U8\",\"shape\":[1],\"data_offsets\":[9223372036854775806,9223372036854775807]}}", 1, FP4_ERR_FORMAT, "outside"},
    {"offset beyond 64 bits", "{\"a\":{\"dtype\":\"U8\",\"shape\":[1],\"data_offsets\":[0,18446744073709551616]}}", 1, FP4_ERR_FORMAT, "broken JSON"},
    {"negative size", "{\"a\":{\"dtype\":\"U8\",\"shape\":[-1],\"data_offsets\":[0,1]}}", 1, FP4_ERR_FORMAT, "shape"},
    {"fractional size", "{\"a\":{\"dtype\":\"U8\",\"shape\":[1.0],\"data_offsets\":[0,1]}}", 1, FP4_ERR_FORMAT, "shape"},
    {"shape overflows", "{\"a\":{\"dtype\":\"U8\",\"shape\":[4294967296,4294967296,2],\"data_offsets\":[0,0]}}", 0, FP4_ERR_FORMAT, "overflows"},
    {"bytes overflow", "{\"a\":{\"dtype\":\"F64\",\"shape\":[4611686018427387904],\"data_offsets\":[0,0]}}", 0, FP4_ERR_FORMAT, "overflows"},
    {"size and offsets differ", "{\"a\":{\"dtype\":\"F32\",\"shape\":[2],\"data_offsets\":[0,4]}}", 4, FP4_ERR_FORMAT, "need 8 bytes"},
    {"unknown type", "{\"a\":{\"dtype\":\"Q9\",\"shape\":[1],\"data_offsets\":[0,1]}}", 1, FP4_ERR_UNSUPPORTED, "Q9"},
    {"no type", "{\"a\":{\"shape\":[1],\"data_offsets\":[0,1]}}", 1, FP4_ERR_FORMAT, "dtype"},
    {"another field", "{\"a\":{\"dtype\":\"U8\",\"shape\":[1],\"data_offsets\":[0,1],\"x\":1}}", 1, FP4_ERR_FORMAT, "dtype"},
    {"entry is a number", "{\"a\":7}", 0, FP4_ERR_FORMAT, "dtype"},
    {"five dimensions", "{\"a\":{\"dtype\":\"U8\",\"shape\":[1,1,1,1,1],\"data_offsets\":[0,1]}}", 1, FP4_ERR_UNSUPPORTED, "5 dimensions"},
    {"half a byte", "{\"a\":{\"dtype\":\"F4\",\"shape\":[3],\"data_offsets\":[0,1]}}", 1, FP4_ERR_FORMAT, "whole number of bytes"},
    {"metadata is a list", "{\"__metadata__\":[]}", 0, FP4_ERR_FORMAT, "__metadata__"},
    {"metadata holds a number", "{\"__metadata__\":{\"a\":1}}", 0, FP4_ERR_FORMAT, "__metadata__"},
};

/* Header lengths: beyond the file, and up to 2^64 - 1. */
static const uint64_t lengths[] = {UINT64_MAX, UINT64_MAX - 7, INT64_MAX, (uint64_t)1 << 32, 100000001, 163};
enum { N_FAULTS = sizeof faults / sizeof *faults, N_LENGTHS = sizeof lengths / sizeof *lengths };

bool hostile_safetensors(size_t i, struct hostile_case *out) {
    if (i >= N_FAULTS + N_LENGTHS)
        return false;
    if (i < N_FAULTS) {
        *out = (struct hostile_case){faults[i].what, seed_safetensors(faults[i].header, faults[i].data), faults[i].status, faults[i].message};
        return true;
    }
    *out = (struct hostile_case){"header length", seed_safetensors("{}      ", 0), FP4_ERR_FORMAT, "header"};
    memcpy(out->file.data, &lengths[i - N_FAULTS], 8);
    return true;
}
