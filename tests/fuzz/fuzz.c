/* The table of targets and what they share. */
#include "tests/fuzz/fuzz.h"

#include <stdlib.h>
#include <string.h>

const struct fuzz_target fuzz_targets[] = {{"safetensors", fuzz_safetensors},
                                           {"torch", fuzz_torch},
                                           {"shards", fuzz_shards},
                                           {"gguf", fuzz_gguf},
                                           {"model", fuzz_model},
                                           {"config", fuzz_config},
                                           {"tokenizer_json", fuzz_tokenizer_json},
                                           {"tokenizer_model", fuzz_tokenizer_model},
                                           {"tokenizer_pair", fuzz_tokenizer_pair},
                                           {"results", fuzz_results},
                                           {"facts", fuzz_facts},
                                           {"quantizer", fuzz_quantizer},
                                           {"command", fuzz_command},
                                           {NULL, NULL}};

const struct fuzz_target *fuzz_find(const char *name) {
    for (const struct fuzz_target *t = fuzz_targets; t->name; t++)
        if (strcmp(t->name, name) == 0)
            return t;
    return NULL;
}

void fuzz_check(bool holds, const char *condition, const char *file, int line) {
    if (holds)
        return;
    fprintf(stderr, "%s:%d: broken promise: %s; last error: %s\n", file, line, condition, fp4_last_error());
    abort();
}

void fuzz_promise_message(void) {
    const char *message = fp4_last_error();
    fuzz_promise(strncmp(message, FUZZ_NAME, sizeof FUZZ_NAME - 1) == 0);
    fuzz_promise(message[sizeof FUZZ_NAME - 1] == ':' || message[sizeof FUZZ_NAME - 1] == '/');
    for (const char *p = message; *p; p++)
        fuzz_promise((unsigned char)*p >= 0x20 && *p != 0x7f);
}

static void use_tensor(const struct fp4_stored *t, const uint8_t *data, size_t size) {
    size_t elements = 1;
    for (int i = 0; i < t->n_dims; i++)
        elements *= t->shape[i];
    fuzz_promise(elements == t->elements);
    fuzz_promise(t->data >= data && t->bytes <= size && (size_t)(t->data - data) <= size - t->bytes);
    fuzz_promise(t->offset == (size_t)(t->data - data));
    /* No type packs more than 8 elements into a byte: what is made of a tensor stays in proportion to the file. */
    fuzz_promise(t->elements / 8 <= t->bytes);
    float *x;
    if (FP4_NEW(x, t->elements) != FP4_OK)
        return;
    fp4_stored_to_f32(t, 0, t->elements, x);
    fp4_free(x);
}

static void use_array(const struct fp4_meta *m) {
    for (size_t i = 0; i < m->length && i < 4096; i++) {
        const char *bytes;
        size_t length = 0;
        double value = 0;
        if (fp4_gguf_array_string(m, i, &bytes, &length) == FP4_OK && length)
            fuzz_promise(memchr(bytes, bytes[length - 1], length) != NULL);
        fp4_gguf_array_number(m, i, &value);
    }
    size_t bytes = 0;
    const uint8_t *raw = fp4_gguf_array_raw(m, &bytes);
    uint8_t sum = 0;
    for (size_t i = 0; raw && i < bytes; i++)
        sum = (uint8_t)(sum + raw[i]);
    fuzz_promise(raw || sum == 0);
}

void fuzz_use_checkpoint(const struct fp4_checkpoint *c, const uint8_t *data, size_t size) {
    for (size_t i = 0; i < fp4_checkpoint_count(c); i++) {
        const struct fp4_stored *t = fp4_checkpoint_at(c, i);
        use_tensor(t, data, size);
        fuzz_promise(fp4_checkpoint_find(c, t->name) == t);
    }
    for (size_t i = 0; i < fp4_gguf_meta_count(c); i++) {
        const struct fp4_meta *m = fp4_gguf_meta_at(c, i);
        fuzz_promise(fp4_gguf_meta_find(c, m->key) == m);
        if (m->kind == FP4_META_ARRAY)
            use_array(m);
    }
}
