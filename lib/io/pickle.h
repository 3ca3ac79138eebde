/* A pickle, read without running anything: the opcodes and the names that the state dicts of torch.save use. Everything else is refused. */
#ifndef FP4LAB_IO_PICKLE_H
#define FP4LAB_IO_PICKLE_H

#include "lib/io/checkpoint.h"

enum pickle_kind {
    PICKLE_MARK, /* of the stack; no value */
    PICKLE_OPAQUE, /* None, a float, a number beyond 64 bits: nothing of it is used */
    PICKLE_INT,
    PICKLE_TEXT,
    PICKLE_GLOBAL,
    PICKLE_TUPLE,
    PICKLE_LIST, /* its elements are dropped */
    PICKLE_DICT,
    PICKLE_STORAGE, /* ("storage", GLOBAL of a type, TEXT key, TEXT device, INT elements) */
    PICKLE_TENSOR /* the arguments of _rebuild_tensor_v2: (STORAGE, INT offset, TUPLE sizes, TUPLE strides, ...) */
};

/* Values are named by their number. */
struct pickle_value {
    enum pickle_kind kind;
    uint32_t n; /* bytes of a TEXT, items of a TUPLE, last pair of a DICT, number of the TUPLE behind a STORAGE or TENSOR, type of a GLOBAL */
    int64_t integer; /* an INT; where a TEXT starts in the pickle; the first of the items or pairs */
};

/* One entry of a dictionary; next: 0 ends the list. */
struct pickle_pair {
    uint32_t key, value, next;
};

struct pickle {
    const char *path;
    const uint8_t *bytes;
    size_t n, at;
    struct pickle_value *values; /* 0 is the mark */
    uint32_t *stack, *items, *memo;
    struct pickle_pair *pairs; /* 0 is none */
    size_t n_values, n_stack, n_items, n_pairs, room_values, room_stack, room_items, room_pairs, room_memo;
};

/* Runs the pickle's n bytes; *top is the value that it leaves. Memory is in proportion to n. pickle_free also after a failure. */
fp4_status pickle_read(const char *path, const uint8_t *bytes, size_t n, struct pickle *p, uint32_t *top);
void pickle_free(struct pickle *p);
/* Item i of a TUPLE that has it. */
const struct pickle_value *pickle_item(const struct pickle *p, const struct pickle_value *tuple, size_t i);
/* A TEXT's bytes, not terminated. */
const char *pickle_text(const struct pickle *p, const struct pickle_value *text);

#endif
