/* The pickle machine of torch.save's state dicts. The opcodes are those of protocol 2 (Python's pickletools, PEP 307). A pickle is a program that may
 * call any function that it names; this machine knows an ordered dictionary, tensors and their storages, builds a description of them, and calls
 * nothing. No step is recursive: depth costs nothing, and a value that contains itself is never followed. */
#include "lib/io/pickle.h"

#include <string.h>

enum { PICKLE_MAX = 64 << 20 }; /* a state dict takes some 250 bytes a tensor */

enum role { ORDERED_DICT = FP4_DTYPE_COUNT, REBUILD_TENSOR, REBUILD_PARAMETER }; /* what a GLOBAL is; below: a storage's element type */

static const struct {
    const char *module, *name;
    uint32_t role;
} globals[] = {{"collections", "OrderedDict", ORDERED_DICT},
               {"torch._utils", "_rebuild_tensor_v2", REBUILD_TENSOR},
               {"torch._utils", "_rebuild_parameter", REBUILD_PARAMETER},
               {"torch", "FloatStorage", FP4_F32},
               {"torch", "HalfStorage", FP4_F16},
               {"torch", "BFloat16Storage", FP4_BF16},
               {"torch", "DoubleStorage", FP4_F64},
               {"torch", "LongStorage", FP4_I64},
               {"torch", "IntStorage", FP4_I32},
               {"torch", "ShortStorage", FP4_I16},
               {"torch", "CharStorage", FP4_I8},
               {"torch", "ByteStorage", FP4_U8},
               {"torch", "BoolStorage", FP4_BOOL}};

static fp4_status broken(const struct pickle *p, const char *what) {
    return fp4_fail(FP4_ERR_FORMAT, "%s: data.pkl: offset %zu: %s", p->path, p->at, what);
}

/* ---- memory: each list grows with the opcodes that were read ---- */

static fp4_status push(struct pickle *p, uint32_t value) {
    FP4_TRY(FP4_RESERVE(p->stack, p->n_stack, p->n_stack + 1, &p->room_stack));
    p->stack[p->n_stack++] = value;
    return FP4_OK;
}

static fp4_status push_new(struct pickle *p, struct pickle_value value) {
    FP4_TRY(FP4_RESERVE(p->values, p->n_values, p->n_values + 1, &p->room_values));
    p->values[p->n_values] = value;
    return push(p, (uint32_t)p->n_values++);
}

/* ---- the stack ---- */

/* The topmost n are values; they are popped, *values points to them until the next push. */
static fp4_status pop(struct pickle *p, size_t n, const uint32_t **values) {
    if (n > p->n_stack)
        return broken(p, "takes more from the stack than is there");
    for (size_t i = p->n_stack - n; i < p->n_stack; i++)
        if (p->stack[i] == PICKLE_MARK)
            return broken(p, "takes a mark for a value");
    p->n_stack -= n;
    *values = p->stack + p->n_stack;
    return FP4_OK;
}

/* All above the topmost mark, and the mark. */
static fp4_status pop_marked(struct pickle *p, const uint32_t **values, size_t *n) {
    for (*n = 0; *n < p->n_stack; ++*n)
        if (p->stack[p->n_stack - 1 - *n] == PICKLE_MARK) {
            p->n_stack -= *n + 1;
            *values = p->stack + p->n_stack + 1;
            return FP4_OK;
        }
    return broken(p, "there is no mark on the stack");
}

/* The topmost value stays and must be of this kind. */
static fp4_status top_is(const struct pickle *p, enum pickle_kind kind, const char *what, uint32_t *value) {
    if (p->n_stack == 0 || p->values[p->stack[p->n_stack - 1]].kind != kind)
        return broken(p, what);
    *value = p->stack[p->n_stack - 1];
    return FP4_OK;
}

static fp4_status take(struct pickle *p, uint64_t n, const uint8_t **bytes) {
    if (n > p->n - p->at)
        return broken(p, "ends within an opcode; the file is cut short or broken");
    *bytes = p->bytes + p->at;
    p->at += (size_t)n;
    return FP4_OK;
}

static fp4_status take_number(struct pickle *p, int bytes, uint64_t *out) {
    const uint8_t *b = p->bytes;
    FP4_TRY(take(p, (uint64_t)bytes, &b));
    *out = io_little_endian(b, (size_t)bytes);
    return FP4_OK;
}

/* ---- constants ---- */

static fp4_status number(struct pickle *p, int bytes) {
    uint64_t u;
    FP4_TRY(take_number(p, bytes, &u));
    return push_new(p, (struct pickle_value){.kind = PICKLE_INT, .integer = bytes == 4 ? (int32_t)(uint32_t)u : (int64_t)u});
}

/* Two's complement of any length. */
static fp4_status long1(struct pickle *p) {
    uint64_t n, value = 0;
    const uint8_t *b = p->bytes;
    FP4_TRY(take_number(p, 1, &n));
    FP4_TRY(take(p, n, &b));
    if (n > 8)
        return push_new(p, (struct pickle_value){.kind = PICKLE_OPAQUE});
    if (n && b[n - 1] & 0x80)
        value = UINT64_MAX;
    for (size_t i = (size_t)n; i-- > 0;)
        value = value << 8 | b[i];
    return push_new(p, (struct pickle_value){.kind = PICKLE_INT, .integer = (int64_t)value});
}

static fp4_status text(struct pickle *p) {
    uint64_t n;
    const uint8_t *b = p->bytes;
    FP4_TRY(take_number(p, 4, &n));
    FP4_TRY(take(p, n, &b));
    return push_new(p, (struct pickle_value){PICKLE_TEXT, (uint32_t)n, b - p->bytes});
}

static fp4_status skip_float(struct pickle *p) {
    const uint8_t *b = p->bytes;
    FP4_TRY(take(p, 8, &b));
    return push_new(p, (struct pickle_value){.kind = PICKLE_OPAQUE});
}

static bool is_word(const uint8_t *bytes, size_t n, const char *word) { return strlen(word) == n && memcmp(bytes, word, n) == 0; }

/* Two lines: module and name. */
static fp4_status global(struct pickle *p) {
    const uint8_t *line[2];
    size_t n[2];
    for (int i = 0; i < 2; i++) {
        line[i] = p->bytes + p->at;
        const uint8_t *end = memchr(line[i], '\n', p->n - p->at);
        if (!end)
            return broken(p, "a name without its end; the file is cut short or broken");
        n[i] = (size_t)(end - line[i]);
        p->at += n[i] + 1;
    }
    for (size_t i = 0; i < sizeof globals / sizeof *globals; i++)
        if (is_word(line[0], n[0], globals[i].module) && is_word(line[1], n[1], globals[i].name))
            return push_new(p, (struct pickle_value){.kind = PICKLE_GLOBAL, .n = globals[i].role});
    return fp4_fail(FP4_ERR_UNSUPPORTED,
                    "%s: data.pkl: offset %zu: wants %.*s.%.*s, and running a stranger's choice of code is refused; convert the weights to safetensors",
                    p->path, p->at, n[0] > 100 ? 100 : (int)n[0], (const char *)line[0], n[1] > 100 ? 100 : (int)n[1], (const char *)line[1]);
}

/* ---- containers ---- */

static fp4_status tuple(struct pickle *p, const uint32_t *values, size_t n) {
    size_t first = p->n_items;
    FP4_TRY(FP4_RESERVE(p->items, first, first + n, &p->room_items));
    if (n)
        memcpy(p->items + first, values, n * sizeof *values);
    p->n_items += n;
    return push_new(p, (struct pickle_value){PICKLE_TUPLE, (uint32_t)n, (int64_t)first});
}

static fp4_status short_tuple(struct pickle *p, size_t n) {
    const uint32_t *values = NULL;
    FP4_TRY(pop(p, n, &values));
    return tuple(p, values, n);
}

static fp4_status marked_tuple(struct pickle *p) {
    const uint32_t *values = NULL;
    size_t n = 0;
    FP4_TRY(pop_marked(p, &values, &n));
    return tuple(p, values, n);
}

static fp4_status set_items(struct pickle *p, const uint32_t *values, size_t n) {
    uint32_t dict = 0;
    FP4_TRY(top_is(p, PICKLE_DICT, "sets an item of what is no dictionary", &dict));
    if (n % 2)
        return broken(p, "a key without a value");
    FP4_TRY(FP4_RESERVE(p->pairs, p->n_pairs, p->n_pairs + n / 2, &p->room_pairs));
    for (size_t i = 0; i < n; i += 2) {
        struct pickle_value *d = &p->values[dict];
        uint32_t pair = (uint32_t)p->n_pairs++;
        p->pairs[pair] = (struct pickle_pair){values[i], values[i + 1], 0};
        if (d->n)
            p->pairs[d->n].next = pair;
        else
            d->integer = pair;
        d->n = pair;
    }
    return FP4_OK;
}

static fp4_status set_or_append(struct pickle *p, uint8_t opcode) {
    const uint32_t *values = NULL;
    size_t n = opcode == 's' ? 2 : 1;
    uint32_t list = 0;
    FP4_TRY(opcode == 's' || opcode == 'a' ? pop(p, n, &values) : pop_marked(p, &values, &n));
    return opcode == 's' || opcode == 'u' ? set_items(p, values, n) : top_is(p, PICKLE_LIST, "appends to what is no list", &list);
}

/* ---- memo ---- */

static fp4_status memo_put(struct pickle *p, int bytes) {
    uint64_t i;
    FP4_TRY(take_number(p, bytes, &i));
    if (i >= p->n) /* Python numbers its entries: fewer than opcodes */
        return broken(p, "a memo of more entries than opcodes");
    if (p->n_stack == 0 || p->stack[p->n_stack - 1] == PICKLE_MARK)
        return broken(p, "memorizes what is no value");
    FP4_TRY(FP4_RESERVE(p->memo, p->room_memo, (size_t)i + 1, &p->room_memo));
    p->memo[i] = p->stack[p->n_stack - 1];
    return FP4_OK;
}

static fp4_status memo_get(struct pickle *p, int bytes) {
    uint64_t i;
    FP4_TRY(take_number(p, bytes, &i));
    if (i >= p->room_memo || p->memo[i] == PICKLE_MARK)
        return broken(p, "asks the memo for what is not there");
    return push(p, p->memo[i]);
}

/* ---- what torch builds ---- */

const struct pickle_value *pickle_item(const struct pickle *p, const struct pickle_value *t, size_t i) { return &p->values[p->items[(size_t)t->integer + i]]; }
const char *pickle_text(const struct pickle *p, const struct pickle_value *t) { return (const char *)p->bytes + t->integer; }

/* The items of a tuple begin with these kinds. */
static bool begins(const struct pickle *p, const struct pickle_value *t, const enum pickle_kind *kinds, size_t n) {
    bool same = t->kind == PICKLE_TUPLE && t->n >= n;
    for (size_t i = 0; same && i < n; i++)
        same = pickle_item(p, t, i)->kind == kinds[i];
    return same;
}

static fp4_status persistent(struct pickle *p) {
    static const enum pickle_kind kinds[5] = {PICKLE_TEXT, PICKLE_GLOBAL, PICKLE_TEXT, PICKLE_TEXT, PICKLE_INT};
    const uint32_t *id = NULL;
    FP4_TRY(pop(p, 1, &id));
    uint32_t place = *id;
    const struct pickle_value *t = &p->values[place];
    if (!begins(p, t, kinds, 5) || t->n != 5 || pickle_item(p, t, 1)->n >= FP4_DTYPE_COUNT ||
        !is_word((const uint8_t *)pickle_text(p, pickle_item(p, t, 0)), pickle_item(p, t, 0)->n, "storage"))
        return broken(p, "a persistent object that is no storage (type, key, device, elements)");
    return push_new(p, (struct pickle_value){.kind = PICKLE_STORAGE, .n = place});
}

static fp4_status reduce(struct pickle *p) {
    static const enum pickle_kind tensor[4] = {PICKLE_STORAGE, PICKLE_INT, PICKLE_TUPLE, PICKLE_TUPLE}, parameter[1] = {PICKLE_TENSOR};
    const uint32_t *call = NULL;
    FP4_TRY(pop(p, 2, &call));
    uint32_t place = call[1];
    const struct pickle_value *function = &p->values[call[0]], *arguments = &p->values[place];
    if (function->kind == PICKLE_GLOBAL && function->n == ORDERED_DICT && arguments->kind == PICKLE_TUPLE && arguments->n == 0)
        return push_new(p, (struct pickle_value){.kind = PICKLE_DICT});
    if (function->kind == PICKLE_GLOBAL && function->n == REBUILD_TENSOR && begins(p, arguments, tensor, 4))
        return push_new(p, (struct pickle_value){.kind = PICKLE_TENSOR, .n = place});
    if (function->kind == PICKLE_GLOBAL && function->n == REBUILD_PARAMETER && begins(p, arguments, parameter, 1))
        return push(p, p->items[arguments->integer]);
    return broken(p, "calls something with arguments that do not fit: no ordered dictionary, no tensor");
}

/* Attributes of an ordered dictionary (torch's _metadata) say nothing about tensors. */
static fp4_status build(struct pickle *p) {
    const uint32_t *state = NULL;
    uint32_t dict = 0;
    FP4_TRY(pop(p, 1, &state));
    return top_is(p, PICKLE_DICT, "gives attributes to what is no dictionary", &dict);
}

static fp4_status protocol(struct pickle *p) {
    uint64_t version;
    FP4_TRY(take_number(p, 1, &version));
    return version == 2 ? FP4_OK
                        : fp4_fail(FP4_ERR_UNSUPPORTED, "%s: data.pkl: offset %zu: pickle protocol %u; torch.save's own is 2: convert the weights to safetensors",
                                   p->path, p->at - 1, (unsigned int)version);
}

/* ---- the machine ---- */

static fp4_status constant(struct pickle *p, uint8_t opcode) {
    switch (opcode) {
    case 'J': return number(p, 4); /* BININT */
    case 'K': return number(p, 1);
    case 'M': return number(p, 2);
    case 0x8a: return long1(p);
    case 0x88: return push_new(p, (struct pickle_value){.kind = PICKLE_INT, .integer = 1}); /* NEWTRUE */
    case 0x89: return push_new(p, (struct pickle_value){.kind = PICKLE_INT});
    case 'N': return push_new(p, (struct pickle_value){.kind = PICKLE_OPAQUE});
    case 'G': return skip_float(p); /* BINFLOAT */
    case 'X': return text(p); /* BINUNICODE */
    case 'c': return global(p);
    default:
        return fp4_fail(FP4_ERR_UNSUPPORTED, "%s: data.pkl: offset %zu: opcode 0x%02x, which no state dict of torch.save has; convert the weights to safetensors",
                        p->path, p->at - 1, opcode);
    }
}

static fp4_status step(struct pickle *p, uint8_t opcode) {
    switch (opcode) {
    case 0x80: return protocol(p);
    case '(': return push(p, PICKLE_MARK);
    case '}': return push_new(p, (struct pickle_value){.kind = PICKLE_DICT});
    case ']': return push_new(p, (struct pickle_value){.kind = PICKLE_LIST});
    case ')': return short_tuple(p, 0);
    case 0x85: case 0x86: case 0x87: return short_tuple(p, opcode - 0x84u); /* TUPLE1 to TUPLE3 */
    case 't': return marked_tuple(p);
    case 's': case 'u': case 'a': case 'e': return set_or_append(p, opcode); /* SETITEM(S), APPEND(S) */
    case 'q': return memo_put(p, 1); /* BINPUT */
    case 'r': return memo_put(p, 4);
    case 'h': return memo_get(p, 1); /* BINGET */
    case 'j': return memo_get(p, 4);
    case 'Q': return persistent(p); /* BINPERSID */
    case 'R': return reduce(p);
    case 'b': return build(p);
    default: return constant(p, opcode);
    }
}

fp4_status pickle_read(const char *path, const uint8_t *bytes, size_t n, struct pickle *p, uint32_t *top) {
    *p = (struct pickle){.path = path, .bytes = bytes, .n = n};
    if (n > PICKLE_MAX)
        return fp4_fail(FP4_ERR_UNSUPPORTED, "%s: data.pkl has %zu bytes; at most %d are allowed", path, n, PICKLE_MAX);
    FP4_TRY(FP4_RESERVE(p->values, 0, 1, &p->room_values));
    FP4_TRY(FP4_RESERVE(p->stack, 0, 1, &p->room_stack));
    FP4_TRY(FP4_RESERVE(p->pairs, 0, 1, &p->room_pairs));
    p->n_values = p->n_pairs = 1; /* number 0 means none */
    while (p->at < n && bytes[p->at] != '.')
        FP4_TRY(step(p, bytes[p->at++]));
    if (p->at == n)
        return broken(p, "does not stop; the file is cut short or broken");
    if (p->at + 1 != n)
        return broken(p, "stops before its end");
    if (p->n_stack != 1 || p->stack[0] == PICKLE_MARK)
        return broken(p, "does not leave one value");
    *top = p->stack[0];
    return FP4_OK;
}

void pickle_free(struct pickle *p) {
    fp4_free(p->values);
    fp4_free(p->stack);
    fp4_free(p->items);
    fp4_free(p->memo);
    fp4_free(p->pairs);
}
