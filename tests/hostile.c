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

size_t hostile_table(const char *kind, const char *name) {
    struct hostile_case c;
    size_t i = 0, n = strlen(name);
    for (; hostile_case(kind, i, &c); i++) {
        cr_assert_eq(hostile_open(name, &c.file, c.file.n), c.status, "%s: %s", c.what, fp4_last_error());
        cr_assert_not_null(strstr(fp4_last_error(), c.message), "%s: %s", c.what, fp4_last_error());
        cr_assert(strncmp(fp4_last_error(), name, n) == 0 && fp4_last_error()[n] == ':', "%s: %s", c.what, fp4_last_error());
        free(c.file.data);
    }
    return i;
}

size_t hostile_changes(const char *name, const struct bytes *b, const uint8_t *values, size_t n) {
    size_t refused = 0;
    for (size_t i = 0; i < b->n; i++)
        for (size_t v = 0; v < n; v++) {
            uint8_t keep = b->data[i];
            b->data[i] = values[v];
            refused += hostile_open(name, b, b->n) != FP4_OK;
            b->data[i] = keep;
        }
    return refused;
}
