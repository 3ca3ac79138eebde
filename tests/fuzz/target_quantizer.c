/* Spellings of quantizers: what parses is spelt, and its spelling parses to the same. */
#include <string.h>

#include "fp4lab/formats.h"
#include "tests/fuzz/fuzz.h"

void fuzz_quantizer(const uint8_t *data, size_t size) {
    char *spelling, first[FP4_SPELLING_MAX], second[FP4_SPELLING_MAX];
    struct fp4_quantizer q, again;
    if (fp4_alloc(size + 1, 1, (void **)&spelling) != FP4_OK)
        return;
    memcpy(spelling, data, size);
    if (fp4_quantizer_parse(spelling, &q) == FP4_OK) {
        fp4_quantizer_spell(&q, first);
        fuzz_promise(fp4_quantizer_parse(first, &again) == FP4_OK);
        fp4_quantizer_spell(&again, second);
        fuzz_promise(strcmp(first, second) == 0);
        fuzz_promise(q.format == again.format && q.dialect == again.dialect && q.rounding == again.rounding && q.two_d == again.two_d &&
                     q.hadamard == again.hadamard && q.group == again.group && q.clip == again.clip && q.stored == again.stored);
        float x[256], y[256];
        for (int i = 0; i < 256; i++)
            x[i] = (float)(i - 100) * 0.25f;
        struct fp4_random random = {1, FP4_STREAM_ROUND, 0, 0, 0};
        fp4_fake_quantize(&q, 2, 128, x, y, &random);
    }
    fp4_free(spelling);
}
