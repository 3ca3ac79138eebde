/* GGUF from strangers: every broken file is a status with a message, never a crash, and nothing is read outside the bytes. */
#include <stdlib.h>
#include <string.h>

#include "fp4lab/io.h"
#include "lib/io/checkpoint.h"
#include "tests/fuzz/gguf_bytes.h"
#include "tests/fuzz/seeds.h"
#include "tests/hostile.h"
#include "tests/support.h"

Test(gguf_hostile, a_good_file_opens_and_no_truncation_of_it_does) {
    for (uint32_t version = 2; version <= 3; version++) {
        struct bytes b = seed_gguf_values(version);
        cr_assert_eq(hostile_open("hostile.gguf", &b, b.n), FP4_OK, "%s", fp4_last_error());
        for (size_t n = 0; n < b.n; n++) {
            cr_assert_eq(hostile_open("hostile.gguf", &b, n), FP4_ERR_FORMAT, "%zu bytes of %zu", n, b.n);
            cr_assert_not_null(strstr(fp4_last_error(), "hostile.gguf: "), "%s", fp4_last_error());
        }
        free(b.data);
    }
}

Test(gguf_hostile, values_of_the_good_file) {
    struct bytes b = seed_gguf_values(3);
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
    cr_assert_not_null(strstr(fp4_last_error(), ": key numbers: "), "%s", fp4_last_error());
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
    struct bytes b = seed_gguf_values(3);
    static const uint8_t values[] = {0, 1, 9, 0x28, 0x7f, 0x80, 0xff};
    cr_assert_gt(hostile_changes("hostile.gguf", &b, values, sizeof values), b.n, "most changes are noticed");
    free(b.data);
}

Test(gguf_hostile, table) { cr_assert_gt(hostile_table("gguf", "hostile.gguf"), 0); }

Test(gguf_hostile, a_model_needs_its_keys) {
    struct bytes b = seed_gguf_values(3);
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
    gguf_head(&b, 3, 0, 2);
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
