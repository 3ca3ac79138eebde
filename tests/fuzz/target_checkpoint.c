/* safetensors, PyTorch and GGUF, and an index of shards: what opens is read through and through, its configuration and its tokenizer too. */
#include <string.h>

#include "lib/io/checkpoint.h"
#include "lib/io/shards.h"
#include "lib/text/tokenizer.h"
#include "tests/fuzz/fuzz.h"

static const char TEXT[] = "It's 12 o'clock, <s>na\xc3\xafve\xe4\xb8\xad\n  \xff";

void fuzz_safetensors(const uint8_t *data, size_t size) {
    struct fp4_checkpoint *c;
    if (io_checkpoint_parse(FUZZ_NAME, data, size, &c) != FP4_OK) {
        fuzz_promise_message();
        return;
    }
    fuzz_use_checkpoint(c, data, size);
    fp4_checkpoint_close(c);
}

/* The same reader tells them apart by their content; each starts from seeds of its own. */
void fuzz_torch(const uint8_t *data, size_t size) { fuzz_safetensors(data, size); }

void fuzz_shards(const uint8_t *data, size_t size) {
    struct io_shards shards;
    if (io_shards_parse(FUZZ_NAME, data, size, &shards) == FP4_OK) {
        fuzz_promise(shards.n > 0 && shards.n <= json_object_size(shards.of_tensor));
        for (size_t i = 0; i < shards.n; i++) {
            fuzz_promise(shards.names[i][0] && shards.names[i][0] != '.' && !strchr(shards.names[i], '/'));
            fuzz_promise(i == 0 || strcmp(shards.names[i - 1], shards.names[i]) < 0);
        }
    } else {
        fuzz_promise_message();
    }
    io_shards_free(&shards);
}

void fuzz_gguf(const uint8_t *data, size_t size) {
    struct fp4_config config;
    struct fp4_tokenizer *t;
    fuzz_safetensors(data, size);
    struct fp4_checkpoint *c;
    if (io_checkpoint_parse(FUZZ_NAME, data, size, &c) != FP4_OK)
        return;
    if (fp4_config_from_gguf(c, &config) != FP4_OK)
        fuzz_promise_message();
    fp4_checkpoint_close(c);
    if (tokenizer_parse(FUZZ_NAME, data, size, &t) != FP4_OK) {
        fuzz_promise_message();
        return;
    }
    int32_t *ids;
    size_t n;
    if (fp4_tokenize(t, TEXT, sizeof TEXT - 1, true, &ids, &n) == FP4_OK)
        for (size_t i = 0; i < n; i++)
            fuzz_promise(ids[i] >= 0 && (size_t)ids[i] < fp4_tokenizer_vocab(t));
    fp4_free(ids);
    fp4_tokenizer_close(t);
}
