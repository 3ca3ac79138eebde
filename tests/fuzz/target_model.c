/* A GGUF file as a model: loaded with its weights in memory and again with them in the file, and run for two tokens. */
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "fp4lab/model.h"
#include "fp4lab/weights.h"
#include "tests/fuzz/fuzz.h"

static void run_model(const char *path, enum fp4_weights_in where) {
    struct fp4_model *m;
    if (fp4_model_open(path, fp4_backend_cpu(), &(struct fp4_load){.weights_in = where}, &m) != FP4_OK) {
        fuzz_promise(strstr(fp4_last_error(), path) != NULL);
        return;
    }
    const struct fp4_config *config = fp4_model_config(m);
    int32_t tokens[2] = {0, (int32_t)config->n_vocab - 1};
    float *logits;
    if (FP4_NEW(logits, config->n_vocab) == FP4_OK) {
        fp4_model_logits(m, tokens, config->n_ctx < 2 ? 1 : 2, 1, logits);
        fp4_free(logits);
    }
    fp4_model_free(m);
}

void fuzz_model(const uint8_t *data, size_t size) {
    char path[64];
    int fd = memfd_create("hostile", MFD_CLOEXEC); /* a regular file without a folder */
    if (fd < 0)
        return;
    snprintf(path, sizeof path, "/proc/self/fd/%d", fd);
    if (write(fd, data, size) == (ssize_t)size) {
        run_model(path, FP4_WEIGHTS_MEMORY);
        run_model(path, FP4_WEIGHTS_FILE);
    }
    close(fd);
}
