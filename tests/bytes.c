/* A growing buffer for files made by hand. */
#include "tests/bytes.h"

#include <stdlib.h>
#include <string.h>

#include "tests/support.h"

void put(struct bytes *b, const void *data, size_t n) {
    b->data = realloc(b->data, b->n + n + 1);
    cr_assert_not_null(b->data);
    if (n)
        memcpy(b->data + b->n, data, n);
    b->n += n;
}

void put_u32(struct bytes *b, uint32_t value) { put(b, &value, sizeof value); }
void put_u64(struct bytes *b, uint64_t value) { put(b, &value, sizeof value); }

void put_string(struct bytes *b, const char *text) {
    put_u64(b, strlen(text));
    put(b, text, strlen(text));
}

void put_padding(struct bytes *b, size_t alignment) {
    while (b->n % alignment)
        put(b, "", 1);
}

uint8_t *guarded_prefix(const struct bytes *b, size_t n) {
    uint8_t *p = guarded_alloc(n, false);
    memcpy(p, b->data, n);
    return p;
}

void write_bytes(const char *path, const void *data, size_t n) {
    FILE *f = fopen(path, "wb");
    cr_assert_not_null(f, "%s", path);
    cr_assert_eq(n ? fwrite(data, 1, n, f) : 0, n);
    cr_assert_eq(fclose(f), 0);
}
