/* Names from files: a pool of copies, UTF-8 and JSON checks by Jansson. */
#include "lib/io/checkpoint.h"

#include <string.h>

#include "lib/base/json.h"

struct io_pool_chunk {
    struct io_pool_chunk *next;
    size_t used, size;
    char bytes[];
};

enum { CHUNK_BYTES = 16384 };

fp4_status io_pool_copy(struct io_pool *pool, const void *bytes, size_t n, const char **out) {
    size_t need;
    if (!fp4_size_add(n, 1, &need))
        return fp4_fail(FP4_ERR_MEMORY, "a string of %zu bytes", n);
    struct io_pool_chunk *chunk = pool->chunks;
    if (!chunk || chunk->size - chunk->used < need) {
        size_t size = need > CHUNK_BYTES ? need : CHUNK_BYTES, total;
        if (!fp4_size_add(size, sizeof *chunk, &total))
            return fp4_fail(FP4_ERR_MEMORY, "a string of %zu bytes", n);
        FP4_TRY(fp4_alloc(total, 1, (void **)&chunk));
        *chunk = (struct io_pool_chunk){.next = pool->chunks, .size = size};
        pool->chunks = chunk;
    }
    char *copy = chunk->bytes + chunk->used;
    memcpy(copy, bytes, n);
    copy[n] = 0;
    chunk->used += need;
    *out = copy;
    return FP4_OK;
}

void io_pool_free(struct io_pool *pool) {
    while (pool->chunks) {
        struct io_pool_chunk *next = pool->chunks->next;
        fp4_free(pool->chunks);
        pool->chunks = next;
    }
}

bool io_is_name(const void *bytes, size_t n) {
    if (memchr(bytes, 0, n))
        return false;
    json_t *string = json_stringn(bytes, n); /* NULL when it is not UTF-8 */
    bool good = string != NULL;
    json_decref(string);
    return good;
}

static fp4_status parse(const char *path, size_t origin, const void *bytes, size_t n, size_t flags, json_t **out) {
    json_error_t error;
    *out = json_parse(bytes, n, JSON_REJECT_DUPLICATES | flags, &error);
    if (*out)
        return FP4_OK;
    size_t at = error.position > 0 ? (size_t)error.position : 0;
    if (json_fault(&error) == FP4_ERR_MEMORY)
        return fp4_fail(FP4_ERR_MEMORY, "%s: no memory for its JSON", path);
    return fp4_fail(FP4_ERR_FORMAT, "%s: offset %zu: broken JSON: %s", path, origin + at, error.text);
}

fp4_status io_json_parse(const char *path, size_t origin, const void *bytes, size_t n, json_t **out) { return parse(path, origin, bytes, n, 0, out); }

fp4_status io_json_file(const char *path, size_t limit, json_t **out) {
    char *text;
    size_t n;
    FP4_TRY(fp4_read_file(path, limit, &text, &n));
    fp4_status status = parse(path, 0, text, n, JSON_DECODE_INT_AS_REAL, out);
    fp4_free(text);
    return status;
}
