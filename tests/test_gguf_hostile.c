/* GGUF from strangers: every broken file is a status with a message, never a crash, and nothing is read outside the bytes. */
#include <stdlib.h>
#include <string.h>

#include "fp4lab/io.h"
#include "lib/io/checkpoint.h"
#include "tests/bytes.h"
#include "tests/support.h"

enum { U8 = 0, U32 = 4, I32 = 5, BOOLEAN = 7, STRING = 8, ARRAY = 9, U64 = 10 };

static void head(struct bytes *b, uint32_t version, uint64_t tensors, uint64_t keys) {
    put(b, "GGUF", 4);
    put_u32(b, version);
    put_u64(b, tensors);
    put_u64(b, keys);
}

static void key_u32(struct bytes *b, const char *key, uint32_t value) {
    put_string(b, key);
    put_u32(b, U32);
    put_u32(b, value);
}

static void tensor(struct bytes *b, const char *name, uint32_t type, uint64_t n, uint64_t offset) {
    put_string(b, name);
    put_u32(b, 1);
    put_u64(b, n);
    put_u32(b, type);
    put_u64(b, offset);
}

/* A small file with each kind of value; its last byte is the last of its data. */
static struct bytes good(uint32_t version) {
    struct bytes b = {0};
    head(&b, version, 2, 7);
    key_u32(&b, "general.alignment", 8);
    put_string(&b, "text");
    put_u32(&b, STRING);
    put_string(&b, "gr\xc3\xbc\xc3\x9f");
    put_string(&b, "yes");
    put_u32(&b, BOOLEAN);
    put(&b, "\1", 1);
    put_string(&b, "words");
    put_u32(&b, ARRAY);
    put_u32(&b, STRING);
    put_u64(&b, 2);
    put_string(&b, "one");
    put_string(&b, "");
    put_string(&b, "numbers");
    put_u32(&b, ARRAY);
    put_u32(&b, I32);
    put_u64(&b, 2);
    put_u32(&b, 7);
    put_u32(&b, (uint32_t)-7);
    put_string(&b, "nested");
    put_u32(&b, ARRAY);
    put_u32(&b, ARRAY);
    put_u64(&b, 1);
    put_u32(&b, STRING);
    put_u64(&b, 1);
    put_string(&b, "deep");
    put_string(&b, "huge");
    put_u32(&b, U64);
    put_u64(&b, UINT64_MAX);
    tensor(&b, "a", 0, 3, 0);
    tensor(&b, "b", 24, 5, 16);
    put_padding(&b, 8);
    put(&b, (const float[3]){1, 2, 3}, 12);
    put_padding(&b, 8);
    put(&b, "12345", 5);
    return b;
}

/* Opens the first n bytes from guarded memory and reads everything that opened. */
static fp4_status open_prefix(const struct bytes *b, size_t n) {
    uint8_t *p = guarded_prefix(b, n);
    struct fp4_checkpoint *c;
    fp4_status status = io_checkpoint_parse("hostile.gguf", p, n, &c);
    cr_assert_eq(c == NULL, status != FP4_OK);
    for (size_t i = 0; c && i < fp4_checkpoint_count(c); i++) {
        const struct fp4_stored *t = fp4_checkpoint_at(c, i);
        float *x;
        must(FP4_NEW(x, t->elements));
        fp4_stored_to_f32(t, 0, t->elements, x);
        fp4_free(x);
    }
    for (size_t i = 0; c && i < fp4_gguf_meta_count(c); i++) {
        const struct fp4_meta *m = fp4_gguf_meta_at(c, i);
        for (size_t k = 0; m->kind == FP4_META_ARRAY && k < m->length; k++) {
            const char *bytes;
            size_t length = 0;
            double value;
            if (fp4_gguf_array_string(m, k, &bytes, &length) == FP4_OK && length)
                cr_assert_not_null(memchr(bytes, bytes[length - 1], length));
            fp4_gguf_array_number(m, k, &value);
        }
    }
    fp4_checkpoint_close(c);
    guarded_free(p, n, false);
    return status;
}

Test(gguf_hostile, a_good_file_opens_and_no_truncation_of_it_does) {
    for (uint32_t version = 2; version <= 3; version++) {
        struct bytes b = good(version);
        cr_assert_eq(open_prefix(&b, b.n), FP4_OK, "%s", fp4_last_error());
        for (size_t n = 0; n < b.n; n++) {
            cr_assert_eq(open_prefix(&b, n), FP4_ERR_FORMAT, "%zu bytes of %zu", n, b.n);
            cr_assert_not_null(strstr(fp4_last_error(), "hostile.gguf: "), "%s", fp4_last_error());
        }
        free(b.data);
    }
}

Test(gguf_hostile, values_of_the_good_file) {
    struct bytes b = good(3);
    struct fp4_checkpoint *c;
    double number = 0;
    const char *text;
    size_t n;
    must(io_checkpoint_parse("good.gguf", b.data, b.n, &c));
    cr_assert_str_eq(fp4_gguf_meta_find(c, "text")->string, "gr\xc3\xbc\xc3\x9f");
    cr_assert_eq(fp4_gguf_meta_find(c, "yes")->kind, FP4_META_BOOL);
    must(fp4_gguf_array_string(fp4_gguf_meta_find(c, "words"), 0, &text, &n));
    cr_assert(n == 3 && memcmp(text, "one", 3) == 0);
    cr_assert_eq(fp4_gguf_array_string(fp4_gguf_meta_find(c, "words"), 2, &text, &n), FP4_ERR_ARG);
    cr_assert_eq(fp4_gguf_array_string(fp4_gguf_meta_find(c, "numbers"), 0, &text, &n), FP4_ERR_ARG);
    cr_assert_eq(fp4_gguf_array_string(fp4_gguf_meta_find(c, "nested"), 0, &text, &n), FP4_ERR_ARG);
    cr_assert_eq(fp4_gguf_array_number(fp4_gguf_meta_find(c, "yes"), 0, &number), FP4_ERR_ARG);
    must(fp4_gguf_array_number(fp4_gguf_meta_find(c, "numbers"), 1, &number));
    cr_assert_eq(number, -7);
    cr_assert_eq(fp4_gguf_meta_find(c, "huge")->number, 0x1p64);
    cr_assert_null(fp4_gguf_meta_find(c, "absent"));
    float x[5];
    must(fp4_stored_to_f32(fp4_checkpoint_find(c, "b"), 0, 5, x));
    cr_assert_eq(x[4], '5');
    fp4_checkpoint_close(c);
    free(b.data);
}

Test(gguf_hostile, changed_bytes_never_crash) {
    struct bytes b = good(3);
    static const uint8_t values[] = {0, 1, 9, 0x28, 0x7f, 0x80, 0xff};
    size_t refused = 0;
    for (size_t i = 0; i < b.n; i++)
        for (size_t v = 0; v < sizeof values; v++) {
            uint8_t keep = b.data[i];
            b.data[i] = values[v];
            refused += open_prefix(&b, b.n) != FP4_OK;
            b.data[i] = keep;
        }
    cr_assert_gt(refused, b.n, "most changes are noticed");
    free(b.data);
}

/* One fault each, by its number; see the table below. */
static struct bytes broken(int fault) {
    struct bytes b = {0};
    switch (fault) {
    case 0: head(&b, 1, 0, 0); break;
    case 1: head(&b, 0x03000000, 0, 0); break;
    case 2: head(&b, 3, UINT64_MAX, 0); break;
    case 3: head(&b, 3, 0, UINT64_MAX); break;
    case 4: head(&b, 3, 1, 0); break;
    case 5: head(&b, 3, 0, 1); put_u64(&b, UINT64_MAX); put_u64(&b, 0); break;
    case 6: head(&b, 3, 0, 1); put_string(&b, ""); put_u32(&b, U8); put_u32(&b, 0); break;
    case 7: head(&b, 3, 0, 1); put_string(&b, "k\xff"); put_u32(&b, U8); put_u32(&b, 0); break;
    case 8: head(&b, 3, 0, 1); put_string(&b, "key"); put_u32(&b, 13); put_u64(&b, 0); break;
    case 9: head(&b, 3, 0, 1); put_string(&b, "key"); put_u32(&b, BOOLEAN); put(&b, "\2", 1); break;
    case 10: head(&b, 3, 0, 2); key_u32(&b, "key", 1); key_u32(&b, "key", 1); break;
    case 11: head(&b, 3, 0, 1); put_string(&b, "key"); put_u32(&b, ARRAY); put_u32(&b, U64); put_u64(&b, (uint64_t)1 << 61); break;
    case 12: head(&b, 3, 0, 1); put_string(&b, "key"); put_u32(&b, ARRAY); put_u32(&b, STRING); put_u64(&b, UINT64_MAX); break;
    case 13:
        head(&b, 3, 0, 1);
        put_string(&b, "key");
        put_u32(&b, ARRAY);
        for (int i = 0; i < 100; i++) {
            put_u32(&b, ARRAY);
            put_u64(&b, 1);
        }
        break;
    case 14: head(&b, 3, 0, 1); key_u32(&b, "general.alignment", 0); break;
    case 15: head(&b, 3, 0, 1); key_u32(&b, "general.alignment", 24); break;
    case 16: head(&b, 3, 1, 0); tensor(&b, "", 0, 1, 0); put_u64(&b, 0); break;
    case 17: head(&b, 3, 1, 0); put_string(&b, "t"); put_u32(&b, 5); put_u64(&b, 1); put_u64(&b, 1); put_u64(&b, 1); break;
    case 18: head(&b, 3, 1, 0); put_string(&b, "t"); put_u32(&b, 2); put_u64(&b, (uint64_t)1 << 62); put_u64(&b, 8); put_u64(&b, 0); break;
    case 19: head(&b, 3, 1, 0); tensor(&b, "t", 27, (uint64_t)1 << 62, 0); break;
    case 20: head(&b, 3, 1, 0); tensor(&b, "t", 4711, 1, 0); break;
    case 21: head(&b, 3, 1, 0); tensor(&b, "t", 4, 1, 0); break;
    case 22: head(&b, 3, 1, 0); tensor(&b, "t", 3, 33, 0); break;
    case 23: head(&b, 3, 1, 0); tensor(&b, "t", 24, 1, UINT64_MAX - 31); break;
    case 24: head(&b, 3, 2, 0); tensor(&b, "t", 24, 1, 0); tensor(&b, "t", 24, 1, 32); put_padding(&b, 32); put(&b, (char[33]){0}, 33); break;
    case 25: head(&b, 3, 2, 0); tensor(&b, "t", 24, 40, 0); tensor(&b, "u", 24, 1, 32); put_padding(&b, 32); put(&b, (char[64]){0}, 64); break;
    case 26: head(&b, 3, 2, 0); tensor(&b, "t", 24, 1, 0); tensor(&b, "u", 24, 1, 64); put_padding(&b, 32); put(&b, (char[65]){0}, 65); break;
    case 27: head(&b, 3, 1, 0); tensor(&b, "t", 24, 1, 7); put_padding(&b, 32); put(&b, (char[64]){0}, 64); break;
    case 28: head(&b, 3, 1, 0); tensor(&b, "t", 24, 65, 0); put_padding(&b, 32); put(&b, (char[64]){0}, 64); break;
    case 29: head(&b, 3, 1, 1); key_u32(&b, "general.alignment", 1u << 31); tensor(&b, "t", 24, 1, 0); put_u64(&b, 0); break;
    }
    return b;
}

Test(gguf_hostile, table) {
    static const struct {
        fp4_status status;
        const char *message;
    } want[] = {{FP4_ERR_UNSUPPORTED, "version 1"},
                {FP4_ERR_UNSUPPORTED, "big-endian"},
                {FP4_ERR_FORMAT, "18446744073709551615 tensors"},
                {FP4_ERR_FORMAT, "18446744073709551615 keys"},
                {FP4_ERR_FORMAT, "1 tensors"},
                {FP4_ERR_FORMAT, "a key needs 18446744073709551615 bytes"},
                {FP4_ERR_FORMAT, "key is empty"},
                {FP4_ERR_FORMAT, "not UTF-8"},
                {FP4_ERR_FORMAT, "value type 13"},
                {FP4_ERR_FORMAT, "truth value"},
                {FP4_ERR_FORMAT, "key key is there twice"},
                {FP4_ERR_FORMAT, "an array of 2305843009213693952 elements"},
                {FP4_ERR_FORMAT, "an array of 18446744073709551615 elements"},
                {FP4_ERR_FORMAT, "nested deeper"},
                {FP4_ERR_FORMAT, "power of two"},
                {FP4_ERR_FORMAT, "power of two"},
                {FP4_ERR_FORMAT, "name is empty"},
                {FP4_ERR_FORMAT, "5 dimensions"},
                {FP4_ERR_FORMAT, "overflows"},
                {FP4_ERR_FORMAT, "overflows"},
                {FP4_ERR_UNSUPPORTED, "type number 4711"},
                {FP4_ERR_UNSUPPORTED, "type number 4"},
                {FP4_ERR_FORMAT, "whole blocks of Q4_1"},
                {FP4_ERR_FORMAT, "overlap, gap or misalignment"},
                {FP4_ERR_FORMAT, "tensor t is there twice"},
                {FP4_ERR_FORMAT, "overlap"},
                {FP4_ERR_FORMAT, "gap"},
                {FP4_ERR_FORMAT, "misalignment"},
                {FP4_ERR_FORMAT, "outside the file"},
                {FP4_ERR_FORMAT, "outside the file"}};
    for (int i = 0; i < (int)(sizeof want / sizeof *want); i++) {
        struct bytes b = broken(i);
        cr_assert_eq(open_prefix(&b, b.n), want[i].status, "fault %d: %s", i, fp4_last_error());
        cr_assert_not_null(strstr(fp4_last_error(), want[i].message), "fault %d: %s", i, fp4_last_error());
        free(b.data);
    }
}

Test(gguf_hostile, a_model_needs_its_keys) {
    struct bytes b = good(3);
    struct fp4_checkpoint *c;
    struct fp4_config config;
    must(io_checkpoint_parse("good.gguf", b.data, b.n, &c));
    cr_assert_eq(fp4_config_from_gguf(c, &config), FP4_ERR_UNSUPPORTED);
    cr_assert_not_null(strstr(fp4_last_error(), "architecture"));
    fp4_checkpoint_close(c);
    free(b.data);
}

Test(gguf_hostile, a_part_of_a_model_is_named) {
    struct bytes b = {0};
    struct fp4_checkpoint *c;
    head(&b, 3, 0, 2);
    const char *keys[] = {"split.no", "split.count"};
    for (uint8_t i = 0; i < 2; i++) {
        put_string(&b, keys[i]);
        put_u32(&b, 2); /* UINT16 */
        put(&b, (uint8_t[]){(uint8_t)(1 + 2 * i), 0}, 2);
    }
    cr_assert_eq(io_checkpoint_parse("m-00002-of-00003.gguf", b.data, b.n, &c), FP4_ERR_UNSUPPORTED);
    cr_assert(strstr(fp4_last_error(), "split.count: part 2 of a model in 3 files"), "%s", fp4_last_error());
    free(b.data);
}
