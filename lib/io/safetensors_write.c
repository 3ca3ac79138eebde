/* safetensors, writing: header in the order given, padded with blanks so that data starts at a multiple of 8. */
#include <stdlib.h>
#include <string.h>

#include "lib/base/json.h"
#include "lib/io/encode.h"

static fp4_status tensor_bytes(const char *path, const struct fp4_tensor_out *t, size_t *bytes) {
    if (t->dtype > FP4_BOOL)
        return fp4_fail(FP4_ERR_ARG, "%s: tensor %s: type %s does not exist in safetensors", path, t->name, fp4_dtype_name(t->dtype));
    return io_out_bytes(t, bytes);
}

/* Adds {name: {dtype, shape, data_offsets}}; *end advances. */
static fp4_status add_entry(json_t *header, const char *path, const struct fp4_tensor_out *t, size_t bytes, size_t *end) {
    if (!io_is_name(t->name, strlen(t->name)) || json_object_get(header, t->name))
        return fp4_fail(FP4_ERR_ARG, "%s: tensor %s: its name is there already or is not UTF-8", path, t->name);
    json_t *shape = json_array();
    for (int i = 0; i < t->n_dims; i++)
        json_array_append_new(shape, json_integer((json_int_t)t->shape[i]));
    size_t begin = *end;
    if (!fp4_size_add(begin, bytes, end)) {
        json_decref(shape);
        return fp4_fail(FP4_ERR_ARG, "%s: tensor %s: the file's size overflows", path, t->name);
    }
    json_t *entry = json_pack("{s:s,s:o,s:[I,I]}", "dtype", io_dtype_info(t->dtype)->name, "shape", shape, "data_offsets",
                              (json_int_t)begin, (json_int_t)*end);
    if (!entry || json_object_set_new(header, t->name, entry) != 0)
        return fp4_fail(FP4_ERR_MEMORY, "%s: no memory for the header", path);
    return FP4_OK;
}

/* The 8 length bytes, the text and its padding in one buffer. */
static fp4_status encode_header(json_t *header, const char *path, uint8_t **out, size_t *size) {
    FP4_TRY(json_whole(path));
    char *text = json_text(header, JSON_COMPACT);
    if (!text)
        return fp4_fail(FP4_ERR_MEMORY, "%s: no memory for the header", path);
    size_t n = strlen(text), padded = (n + 7) / 8 * 8;
    fp4_status status = FP4_NEW(*out, padded + 8);
    if (status == FP4_OK) {
        for (int i = 0; i < 8; i++)
            (*out)[i] = (uint8_t)((uint64_t)padded >> 8 * i);
        memset(*out + 8, ' ', padded);
        memcpy(*out + 8, text, n);
        *size = padded + 8;
    }
    free(text);
    return status;
}

static fp4_status put_all(struct fp4_writer *w, const struct fp4_tensor_out *tensors, size_t n, const size_t *bytes, struct io_values *v) {
    for (size_t i = 0; i < n; i++)
        FP4_TRY(io_put_tensor(w, v, &tensors[i], i, bytes[i]));
    return FP4_OK;
}

static fp4_status write_all(const char *path, const struct fp4_tensor_out *tensors, size_t n, json_t *header, size_t *bytes, struct io_values *v) {
    size_t end = 0, head_bytes = 0;
    uint8_t *head;
    struct fp4_writer *w = NULL;
    /* transformers loads only files that name the framework which made them */
    json_object_set_new(header, "__metadata__", json_pack("{s:s}", "format", "pt"));
    for (size_t i = 0; i < n; i++) {
        FP4_TRY(tensor_bytes(path, &tensors[i], &bytes[i]));
        FP4_TRY(add_entry(header, path, &tensors[i], bytes[i], &end));
    }
    FP4_TRY(encode_header(header, path, &head, &head_bytes));
    fp4_status status = fp4_writer_open(path, head_bytes + end, &w);
    if (status == FP4_OK)
        status = fp4_writer_put(w, head, head_bytes);
    if (status == FP4_OK)
        status = put_all(w, tensors, n, bytes, v);
    fp4_free(head);
    if (status == FP4_OK)
        return fp4_writer_commit(w);
    fp4_writer_abandon(w);
    return status;
}

fp4_status fp4_safetensors_stream(const char *path, const struct fp4_tensor_out *tensors, size_t n, fp4_tensor_values values, void *context) {
    size_t *bytes;
    struct io_values v;
    FP4_TRY(FP4_NEW(bytes, n));
    json_watch();
    json_t *header = json_object();
    fp4_status status = io_values_open(&v, tensors, n, values, context);
    if (status == FP4_OK)
        status = header ? write_all(path, tensors, n, header, bytes, &v) : fp4_fail(FP4_ERR_MEMORY, "%s: no memory for the header", path);
    json_decref(header);
    io_values_close(&v);
    fp4_free(bytes);
    return status;
}

fp4_status fp4_safetensors_write(const char *path, const struct fp4_tensor_out *tensors, size_t n) {
    return fp4_safetensors_stream(path, tensors, n, NULL, NULL);
}
