/* A stranger's model: loaded with its weights in memory and again with them in the file, and run for two tokens. A GGUF file, or a folder: then the
 * bytes are config.json, a zero byte, and model.safetensors. */
#include <stdlib.h>
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

static void run_file(const uint8_t *data, size_t size) {
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

static char folder[] = "/tmp/fp4lab-fuzz-XXXXXX", config_path[64], weights_path[64];

static void remove_folder(void) {
    unlink(config_path);
    unlink(weights_path);
    rmdir(folder);
}

static bool write_plain(const char *path, const void *data, size_t n) {
    FILE *f = fopen(path, "wb");
    bool good = f && fwrite(data, 1, n, f) == n;
    return f && fclose(f) == 0 && good;
}

static void run_folder(const uint8_t *data, size_t config_bytes, size_t size) {
    if (!*config_path) {
        if (!mkdtemp(folder))
            return;
        snprintf(config_path, sizeof config_path, "%s/config.json", folder);
        snprintf(weights_path, sizeof weights_path, "%s/model.safetensors", folder);
        atexit(remove_folder);
    }
    if (write_plain(config_path, data, config_bytes) && write_plain(weights_path, data + config_bytes + 1, size - config_bytes - 1)) {
        run_model(folder, FP4_WEIGHTS_MEMORY);
        run_model(folder, FP4_WEIGHTS_FILE);
    }
}

void fuzz_model(const uint8_t *data, size_t size) {
    const uint8_t *zero = size && *data == '{' ? memchr(data, 0, size) : NULL;
    if (zero)
        run_folder(data, (size_t)(zero - data), size);
    else
        run_file(data, size);
}
