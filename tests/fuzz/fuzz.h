/* tests/fuzz/fuzz.h: fuzz targets. Each takes the bytes of a file (or of a command line) from a stranger, hands them to a reader and uses what
 * came out; it ends with abort() when a promise of the reader does not hold. libFuzzer drives them (entry.c), and the suites replay seeds and
 * regressions through the same functions. */
#ifndef FP4LAB_TESTS_FUZZ_H
#define FP4LAB_TESTS_FUZZ_H

#include "fp4lab/base.h"
#include "fp4lab/io.h"
#include "fp4lab/text.h"

struct fuzz_target {
    const char *name;
    void (*run)(const uint8_t *data, size_t size);
};
extern const struct fuzz_target fuzz_targets[]; /* ends with a NULL name */
/* NULL: no such target. */
const struct fuzz_target *fuzz_find(const char *name);

void fuzz_safetensors(const uint8_t *data, size_t size);
void fuzz_torch(const uint8_t *data, size_t size);
void fuzz_shards(const uint8_t *data, size_t size);
void fuzz_gguf(const uint8_t *data, size_t size);
void fuzz_model(const uint8_t *data, size_t size);
void fuzz_config(const uint8_t *data, size_t size);
void fuzz_tokenizer_json(const uint8_t *data, size_t size);
void fuzz_tokenizer_model(const uint8_t *data, size_t size);
void fuzz_tokenizer_pair(const uint8_t *data, size_t size);
void fuzz_results(const uint8_t *data, size_t size);
void fuzz_facts(const uint8_t *data, size_t size);
void fuzz_quantizer(const uint8_t *data, size_t size);
void fuzz_command(const uint8_t *data, size_t size);

/* Aborts, with the condition on stderr, when a promise is broken. */
#define fuzz_promise(condition) fuzz_check((condition), #condition, __FILE__, __LINE__)
void fuzz_check(bool holds, const char *condition, const char *file, int line);

/* The name under which targets hand over their bytes. */
#define FUZZ_NAME "hostile"
/* Between the files of a target that takes several. */
enum { FUZZ_SEPARATOR = 0x1e };
/* What a reader left after a failure: a message that begins with the name of the file, or of a file in the folder of that name, and is one line without control characters. */
void fuzz_promise_message(void);
/* tokenizer_parse (lib/text/tokenizer.h cannot be included beside tests/bytes.h). */
fp4_status fuzz_open_tokenizer(const char *name, const void *data, size_t size, struct fp4_tokenizer **out);
/* The same for up to five files with FUZZ_SEPARATOR between them: vocab.json, merges.txt and what stands beside. */
fp4_status fuzz_open_pair(const char *name, const void *data, size_t size, struct fp4_tokenizer **out);
/* Reads everything of an opened checkpoint whose bytes are these. */
void fuzz_use_checkpoint(const struct fp4_checkpoint *c, const uint8_t *data, size_t size);

#endif
