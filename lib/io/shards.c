/* Reading the index of a sharded checkpoint. */
#include "lib/io/shards.h"

#include <stdlib.h>
#include <string.h>

#include "lib/io/checkpoint.h"

enum { INDEX_MAX = 100000000 };

static int compare_strings(const void *a, const void *b) { return strcmp(*(const char *const *)a, *(const char *const *)b); }

static fp4_status list_names(const char *path, struct io_shards *s) {
    const char *tensor;
    json_t *value;
    size_t count = 0;
    FP4_TRY(FP4_NEW(s->names, json_object_size(s->of_tensor)));
    json_object_foreach(s->of_tensor, tensor, value) {
        const char *name = json_string_value(value);
        if (!name || !*name || strchr(name, '/') || name[0] == '.')
            return fp4_fail(FP4_ERR_FORMAT, "%s: weight_map: the entry of %s is not a file name", path, tensor);
        s->names[count++] = name;
    }
    qsort(s->names, count, sizeof *s->names, compare_strings);
    for (size_t i = 0; i < count; i++)
        if (s->n == 0 || strcmp(s->names[s->n - 1], s->names[i]) != 0)
            s->names[s->n++] = s->names[i];
    return s->n ? FP4_OK : fp4_fail(FP4_ERR_FORMAT, "%s: weight_map is empty", path);
}

fp4_status io_shards_parse(const char *name, const void *bytes, size_t size, struct io_shards *out) {
    json_t *index;
    *out = (struct io_shards){0};
    if (size > INDEX_MAX)
        return fp4_fail(FP4_ERR_FORMAT, "%s: %zu bytes, more than the %d of the largest index that is read", name, size, INDEX_MAX);
    FP4_TRY(io_json_parse(name, 0, bytes, size, &index));
    out->of_tensor = json_incref(json_object_get(index, "weight_map"));
    json_decref(index);
    if (!json_is_object(out->of_tensor))
        return fp4_fail(FP4_ERR_FORMAT, "%s: weight_map is missing or not an object", name);
    return list_names(name, out);
}

fp4_status io_shards_open(const char *path, struct io_shards *out) {
    struct fp4_map map;
    *out = (struct io_shards){0};
    FP4_TRY(fp4_map_open(path, &map));
    fp4_status status = io_shards_parse(path, map.data, map.size, out);
    fp4_map_close(&map);
    return status;
}

void io_shards_free(struct io_shards *shards) {
    fp4_free(shards->names);
    json_decref(shards->of_tensor);
}
