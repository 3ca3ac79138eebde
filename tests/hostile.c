/* What the suites of hostile files share. */
#include "tests/hostile.h"

#include <string.h>

#include "lib/io/checkpoint.h"
#include "tests/fuzz/fuzz.h"
#include "tests/support.h"

bool hostile_case(const char *kind, size_t i, struct hostile_case *out) {
    static const struct {
        const char *kind;
        bool (*make)(size_t i, struct hostile_case *out);
    } kinds[] = {{"gguf", hostile_gguf},
                 {"safetensors", hostile_safetensors},
                 {"torch", hostile_torch},
                 {"config", hostile_config},
                 {"tokenizer_json", hostile_tokenizer},
                 {"results", hostile_results}};
    for (size_t k = 0; k < sizeof kinds / sizeof *kinds; k++)
        if (strcmp(kind, kinds[k].kind) == 0)
            return kinds[k].make(i, out);
    return false;
}

fp4_status hostile_open(const char *name, const struct bytes *b, size_t n) {
    uint8_t *p = guarded_prefix(b, n);
    struct fp4_checkpoint *c;
    fp4_status status = io_checkpoint_parse(name, p, n, &c);
    cr_assert_eq(c == NULL, status != FP4_OK);
    if (c)
        fuzz_use_checkpoint(c, p, n);
    fp4_checkpoint_close(c);
    guarded_free(p, n, false);
    return status;
}
