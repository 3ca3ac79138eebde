/* SHA-256 by libcrypto. */
#include "fp4lab/base.h"

#include <openssl/evp.h>

fp4_status fp4_sha256_begin(struct fp4_sha256 *h) {
    EVP_MD_CTX *context = EVP_MD_CTX_new();
    h->state = NULL;
    if (!context || EVP_DigestInit_ex(context, EVP_sha256(), NULL) != 1) {
        EVP_MD_CTX_free(context);
        return fp4_fail(FP4_ERR_MEMORY, "sha256: cannot start a digest");
    }
    h->state = context;
    return FP4_OK;
}

void fp4_sha256_update(struct fp4_sha256 *h, const void *data, size_t bytes) {
    EVP_DigestUpdate(h->state, data, bytes);
}

void fp4_sha256_end(struct fp4_sha256 *h, char hex[65]) {
    unsigned char digest[EVP_MAX_MD_SIZE];
    unsigned int length = 0;
    EVP_DigestFinal_ex(h->state, digest, &length);
    EVP_MD_CTX_free(h->state);
    h->state = NULL;
    for (unsigned int i = 0; i < 32; i++)
        snprintf(hex + 2 * i, 3, "%02x", i < length ? digest[i] : 0u);
}

fp4_status fp4_sha256_buffer(const void *data, size_t bytes, char hex[65]) {
    struct fp4_sha256 h;
    FP4_TRY(fp4_sha256_begin(&h));
    fp4_sha256_update(&h, data, bytes);
    fp4_sha256_end(&h, hex);
    return FP4_OK;
}

fp4_status fp4_sha256_file(const char *path, char hex[65]) {
    struct fp4_map map;
    FP4_TRY(fp4_map_open(path, &map));
    fp4_status status = fp4_sha256_buffer(map.data, map.size, hex);
    fp4_map_close(&map);
    return status;
}
