/* config.json: a configuration that is accepted is one that the models can be built from. */
#include "lib/io/config.h"
#include "tests/fuzz/fuzz.h"

void fuzz_config(const uint8_t *data, size_t size) {
    struct fp4_config c;
    if (io_config_parse(FUZZ_NAME, data, size, &c) != FP4_OK) {
        fuzz_promise_message();
        return;
    }
    fuzz_promise(io_config_check(FUZZ_NAME, &c) == FP4_OK);
    size_t elements;
    fuzz_promise(fp4_size_mul(c.n_vocab, c.n_embd, &elements) && fp4_size_mul(c.n_head, c.head_dim, &elements) &&
                 fp4_size_mul(elements, c.n_embd, &elements) && fp4_size_mul(c.n_ff, c.n_embd, &elements));
}
