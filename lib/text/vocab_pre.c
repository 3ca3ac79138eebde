/* Pre-tokenizers of byte-level vocabularies: GGUF has names for them, tokenizer.json spells them out. */
#include <string.h>

#include "lib/text/pieces.h"
#include "lib/text/vocab.h"

enum shape { GPT2, DIGITS, PATTERN };
/* The first name of a shape is the one to write. */
static const struct {
    const char *name;
    enum shape shape;
} names[] = {{"gpt-2", GPT2}, {"gpt2", GPT2}, {"phi-2", GPT2}, {"smollm", DIGITS}, {"starcoder", DIGITS}, {"refact", DIGITS}, {"llama-bpe", PATTERN}, {"llama3", PATTERN}, {"llama-v3", PATTERN}};
enum { N_NAMES = sizeof names / sizeof *names };

static json_t *byte_level(bool regex) {
    return json_pack("{s:s,s:b,s:b,s:b}", "type", "ByteLevel", "add_prefix_space", 0, "trim_offsets", 1, "use_regex", (int)regex);
}

static json_t *sequence(json_t *first, json_t *second) { return json_pack("{s:s,s:[o,o]}", "type", "Sequence", "pretokenizers", first, second); }

static json_t *of_shape(enum shape shape) {
    switch (shape) {
    case GPT2: return byte_level(true);
    case DIGITS: return sequence(json_pack("{s:s,s:b}", "type", "Digits", "individual_digits", 1), byte_level(true));
    default: break;
    }
    return sequence(json_pack("{s:s,s:{s:s},s:s,s:b}", "type", "Split", "pattern", "Regex", PIECES_LLAMA3_PATTERN, "behavior", "Isolated", "invert", 0), byte_level(false));
}

json_t *vocab_pre_tokenizer(const char *pre) {
    for (size_t i = 0; pre && i < N_NAMES; i++)
        if (strcmp(names[i].name, pre) == 0)
            return of_shape(names[i].shape);
    return NULL;
}

/* trim_offsets says where tokens lie, not which they are. */
static json_t *without_offsets(const json_t *step) {
    json_t *copy = json_deep_copy(step);
    json_object_del(copy, "trim_offsets");
    json_t *steps = json_object_get(copy, "pretokenizers"), *inner;
    size_t i;
    json_array_foreach(steps, i, inner) json_object_del(inner, "trim_offsets");
    return copy;
}

const char *vocab_pre_name(const json_t *pre_tokenizer) {
    const char *found = NULL;
    json_t *wanted = without_offsets(pre_tokenizer);
    for (size_t i = 0; i < N_NAMES && !found; i++) {
        json_t *known = of_shape(names[i].shape), *plain = without_offsets(known);
        if (json_equal(plain, wanted))
            found = names[i].name;
        json_decref(known);
        json_decref(plain);
    }
    json_decref(wanted);
    return found;
}

bool vocab_pre_ignores_merges(const char *pre) {
    for (size_t i = 0; i < N_NAMES; i++)
        if (strcmp(names[i].name, pre) == 0)
            return names[i].shape == PATTERN;
    return false;
}
