/* tokenizer.json, tokenizer.model, and the pair of vocab.json and merges.txt: the tail of the file is also the text that is tokenized. */
#include <string.h>

#include "lib/text/tokenizer.h"
#include "tests/fuzz/fuzz.h"

enum { TAIL = 200 };

fp4_status fuzz_open_tokenizer(const char *name, const void *data, size_t size, struct fp4_tokenizer **out) {
    return tokenizer_parse(name, data, size, out);
}

static void round_trip(const struct fp4_tokenizer *t, const char *text, size_t bytes, bool special) {
    int32_t *ids;
    size_t n, decoded;
    char *back;
    if (fp4_tokenize(t, text, bytes, special, &ids, &n) != FP4_OK)
        return;
    for (size_t i = 0; i < n; i++)
        fuzz_promise(ids[i] >= 0 && (size_t)ids[i] < fp4_tokenizer_vocab(t));
    if (fp4_detokenize(t, ids, n, !special, &back, &decoded) == FP4_OK) {
        fuzz_promise(back[decoded] == 0);
        fp4_free(back);
    }
    fp4_free(ids);
}

static void use(fp4_status status, struct fp4_tokenizer *t, const uint8_t *data, size_t size) {
    static const char text[] = "It's 12 o'clock, don't  \n\t <s>na\xc3\xafve\xe4\xb8\xad\xf0\x9f\x99\x82</s>\xff\xfe";
    if (status != FP4_OK) {
        fuzz_promise_message();
        return;
    }
    round_trip(t, text, sizeof text - 1, true);
    size_t tail = size < TAIL ? size : TAIL;
    round_trip(t, (const char *)data + size - tail, tail, false);
    fp4_tokenizer_close(t);
}

static void open_and_use(const uint8_t *data, size_t size) {
    struct fp4_tokenizer *t;
    fp4_status status = tokenizer_parse(FUZZ_NAME, data, size, &t);
    use(status, t, data, size);
}

fp4_status fuzz_open_pair(const char *name, const void *data, size_t size, struct fp4_tokenizer **out) {
    const uint8_t *bytes = data;
    struct tokenizer_part part[5] = {{0}};
    size_t at = 0;
    for (int i = 0; i < 5 && at <= size; i++) {
        const uint8_t *end = i < 4 ? memchr(bytes + at, FUZZ_SEPARATOR, size - at) : NULL;
        part[i] = (struct tokenizer_part){(const char *)bytes + at, end ? (size_t)(end - bytes) - at : size - at};
        at += part[i].n + 1;
    }
    if (!part[1].text) /* it is opened with both there */
        part[1].text = "";
    return tokenizer_parse_pair(name, &(struct tokenizer_pair){part[0], part[1], part[2], part[3], part[4]}, out);
}

void fuzz_tokenizer_pair(const uint8_t *data, size_t size) {
    struct fp4_tokenizer *t;
    fp4_status status = fuzz_open_pair(FUZZ_NAME, data, size, &t);
    use(status, t, data, size);
}

/* The same reader tells them apart by their content; each starts from seeds of its own. */
void fuzz_tokenizer_json(const uint8_t *data, size_t size) { open_and_use(data, size); }
void fuzz_tokenizer_model(const uint8_t *data, size_t size) { open_and_use(data, size); }
