/* safetensors from strangers: every broken file is a status with a message, never a crash, and nothing is read outside the bytes. */
#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "fp4lab/io.h"
#include "lib/io/checkpoint.h"
#include "tests/folders.h"
#include "tests/fuzz/seeds.h"
#include "tests/hostile.h"
#include "tests/support.h"

#define GOOD                                                                               \
    "{\"__metadata__\":{\"format\":\"pt\"},\"a\":{\"dtype\":\"F32\",\"shape\":[2,3],"      \
    "\"data_offsets\":[0,24]},\"b\":{\"dtype\":\"BF16\",\"shape\":[],\"data_offsets\":[24,26]}}  "

Test(io_hostile, a_good_file_opens_and_no_truncation_of_it_does) {
    struct bytes b = seed_safetensors(GOOD, 26);
    cr_assert_eq(hostile_open("hostile.safetensors", &b, b.n), FP4_OK, "%s", fp4_last_error());
    for (size_t n = 0; n < b.n; n++) {
        cr_assert_eq(hostile_open("hostile.safetensors", &b, n), FP4_ERR_FORMAT, "%zu bytes of %zu", n, b.n);
        cr_assert_not_null(strstr(fp4_last_error(), "hostile.safetensors: "));
    }
    free(b.data);
}

Test(io_hostile, changed_bytes_never_crash) {
    struct bytes b = seed_safetensors(GOOD, 26);
    static const uint8_t values[] = {0, 1, '"', '{', '9', 0x7f, 0x80, 0xff};
    cr_assert_gt(hostile_changes("hostile.safetensors", &b, values, sizeof values), b.n, "most changes of the header are noticed");
    free(b.data);
}

Test(io_hostile, table) { cr_assert_gt(hostile_table("safetensors", "hostile.safetensors"), 0); }

Test(io_hostile, header_lengths) {
    const uint64_t lengths[] = {UINT64_MAX, UINT64_MAX - 7, INT64_MAX, (uint64_t)1 << 32, 100000001, 163};
    struct bytes b = seed_safetensors(GOOD, 0);
    for (size_t i = 0; i < sizeof lengths / sizeof *lengths; i++) {
        memcpy(b.data, &lengths[i], 8);
        cr_assert_eq(hostile_open("hostile.safetensors", &b, b.n), FP4_ERR_FORMAT, "%zu", i);
    }
    free(b.data);
}

Test(io_hostile, deep_nesting_is_an_error) {
    enum { DEPTH = 200000 };
    char *text = malloc(DEPTH + 8);
    memcpy(text, "{\"a\":", 5);
    memset(text + 5, '[', DEPTH);
    text[5 + DEPTH] = 0;
    struct bytes b = seed_safetensors(text, 0);
    cr_assert_eq(hostile_open("hostile.safetensors", &b, b.n), FP4_ERR_FORMAT);
    free(text);
    free(b.data);
}

Test(io_hostile, a_long_list_costs_memory_in_proportion) {
    enum { N = 1 << 20 };
    char *text = malloc(2 * N + 64);
    size_t n = (size_t)sprintf(text, "{\"a\":{\"dtype\":\"U8\",\"shape\":[1");
    for (size_t i = 0; i < N; i++) {
        text[n++] = ',';
        text[n++] = '1';
    }
    n += (size_t)sprintf(text + n, "],\"data_offsets\":[0,1]}}");
    struct bytes b = seed_safetensors(text, 1);
    cr_assert_eq(hostile_open("hostile.safetensors", &b, b.n), FP4_ERR_UNSUPPORTED);
    free(text);
    free(b.data);
}

/* ---- folders ---- */

static fp4_status open_with_index(const char *folder, const char *index) {
    char path[128];
    struct fp4_checkpoint *c;
    snprintf(path, sizeof path, "%s/model.safetensors.index.json", folder);
    write_bytes(path, index, strlen(index));
    fp4_status status = fp4_checkpoint_open(folder, &c);
    fp4_checkpoint_close(c);
    unlink(path);
    return status;
}

static void shard(const char *folder, const char *name, const char *tensor) {
    char header[128], path[128];
    snprintf(header, sizeof header, "{\"%s\":{\"dtype\":\"U8\",\"shape\":[1],\"data_offsets\":[0,1]}}", tensor);
    snprintf(path, sizeof path, "%s/%s", folder, name);
    struct bytes b = seed_safetensors(header, 1);
    write_bytes(path, b.data, b.n);
    free(b.data);
}

Test(io_hostile, indexes_of_shards) {
    static const struct {
        const char *index;
        fp4_status status;
        const char *message;
    } indexes[] = {
        {"{\"weight_map\":{\"a\":\"1.st\",\"b\":\"2.st\"}}", FP4_OK, ""},
        {"{\"weight_map\":{\"a\":\"2.st\",\"b\":\"1.st\"}}", FP4_ERR_FORMAT, "is not in"},
        {"{\"weight_map\":{\"a\":\"1.st\",\"c\":\"2.st\"}}", FP4_ERR_FORMAT, "tensor c is not in 2.st"},
        {"{\"weight_map\":{\"a\":\"1.st\",\"b\":\"3.st\"}}", FP4_ERR_IO, "3.st"},
        {"{\"weight_map\":{\"a\":\"1.st\",\"b\":\"../2.st\"}}", FP4_ERR_FORMAT, "not a file name"},
        {"{\"weight_map\":{\"a\":\"1.st\",\"b\":\"..\"}}", FP4_ERR_FORMAT, "not a file name"},
        {"{\"weight_map\":{\"a\":\"1.st\",\"b\":7}}", FP4_ERR_FORMAT, "not a file name"},
        {"{\"weight_map\":{\"a\":\"1.st\",\"twice\":\"4.st\"}}", FP4_ERR_FORMAT, "tensor a is there twice"},
        {"{\"weight_map\":{}}", FP4_ERR_FORMAT, "empty"},
        {"{\"weight_map\":[]}", FP4_ERR_FORMAT, "weight_map"},
        {"{}", FP4_ERR_FORMAT, "weight_map"},
        {"[", FP4_ERR_FORMAT, "broken JSON"},
    };
    char folder[FOLDER_MAX];
    folder_make(folder);
    shard(folder, "1.st", "a");
    shard(folder, "2.st", "b");
    shard(folder, "4.st", "a");
    for (size_t i = 0; i < sizeof indexes / sizeof *indexes; i++) {
        cr_assert_eq(open_with_index(folder, indexes[i].index), indexes[i].status, "%s: %s", indexes[i].index, fp4_last_error());
        if (indexes[i].status != FP4_OK)
            cr_assert_not_null(strstr(fp4_last_error(), indexes[i].message), "%s: %s", indexes[i].index, fp4_last_error());
    }
    struct fp4_checkpoint *c;
    folder_empty(folder);
    cr_assert_eq(fp4_checkpoint_open(folder, &c), FP4_ERR_IO, "an empty folder");
    rmdir(folder);
    cr_assert_eq(fp4_checkpoint_open(folder, &c), FP4_ERR_IO, "no folder at all");
    cr_assert_null(c);
}
