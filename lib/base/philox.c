/* Philox4x32 counter-based random numbers: Salmon, Moraes, Dror, Shaw, "Parallel random numbers: as easy as
 * 1, 2, 3", SC 2011. Constants from section 4.3 of that paper. */
#include "fp4lab/base.h"

#include <math.h>

enum { DEFAULT_ROUNDS = 10 };

void fp4_philox4x32(const uint32_t counter[4], const uint32_t key[2], int rounds, uint32_t result[4]) {
    uint32_t c0 = counter[0], c1 = counter[1], c2 = counter[2], c3 = counter[3];
    uint32_t k0 = key[0], k1 = key[1];
    for (int round = 0; round < rounds; round++) {
        uint64_t p0 = (uint64_t)0xD2511F53u * c0, p1 = (uint64_t)0xCD9E8D57u * c2;
        uint32_t n0 = (uint32_t)(p1 >> 32) ^ c1 ^ k0, n2 = (uint32_t)(p0 >> 32) ^ c3 ^ k1;
        c1 = (uint32_t)p1;
        c3 = (uint32_t)p0;
        c0 = n0;
        c2 = n2;
        k0 += 0x9E3779B9u; /* the Weyl sequence of the key: golden ratio, sqrt(3) - 1 */
        k1 += 0xBB67AE85u;
    }
    result[0] = c0, result[1] = c1, result[2] = c2, result[3] = c3;
}

void fp4_random_words(const struct fp4_random *r, uint64_t first, size_t n, uint32_t *w) {
    const uint32_t key[2] = {r->seed, r->stream};
    size_t done = 0;
    while (done < n) {
        uint64_t element = first + done;
        uint32_t counter[4] = {(uint32_t)(element / 4), r->step, r->layer, r->operand}, block[4];
        fp4_philox4x32(counter, key, DEFAULT_ROUNDS, block);
        for (size_t lane = element % 4; lane < 4 && done < n; lane++)
            w[done++] = block[lane];
    }
}

void fp4_random_uniform(const struct fp4_random *r, uint64_t first, size_t n, float *u) {
    uint32_t words[256];
    for (size_t done = 0; done < n;) {
        size_t chunk = n - done < 256 ? n - done : 256;
        fp4_random_words(r, first + done, chunk, words);
        for (size_t i = 0; i < chunk; i++)
            u[done + i] = (float)(words[i] >> 8) * 0x1p-24f;
        done += chunk;
    }
}

void fp4_random_normal(const struct fp4_random *r, uint64_t first, size_t n, float *z) {
    for (size_t i = 0; i < n; i++) {
        uint64_t pair = (first + i) & ~(uint64_t)1;
        float u[2];
        fp4_random_uniform(r, pair, 2, u);
        /* 1 - u is in (0, 1]: the logarithm is finite. */
        double radius = sqrt(-2.0 * log(1.0 - (double)u[0])), angle = 6.283185307179586 * (double)u[1];
        z[i] = (float)(radius * ((first + i) % 2 ? sin(angle) : cos(angle)));
    }
}
