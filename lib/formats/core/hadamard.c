/* Random Hadamard transform of groups of 16 to 128 consecutive elements, Sylvester order. Butterflies in the order
 * h = 1, 2, 4, …, then times fl(1/√n): golden/formats/README.md, hadamard. */
#include "lib/kernels/cpu/kernels.h"

#include <math.h>

enum { GROUPS_PER_TASK_ELEMENTS = 32768 };

struct job {
    const struct fp4_cpu_kernels *kernels;
    size_t n, groups, per_task;
    const float *sign;
    float root, *x;
    bool inverse;
};

static void transform_task(void *context, size_t task) {
    const struct job *job = context;
    size_t first = task * job->per_task, left = job->groups - first;
    job->kernels->hadamard(job->n, left < job->per_task ? left : job->per_task, job->sign, job->root, job->inverse,
                           job->x + first * job->n);
}

enum { LARGEST = 128 };

static fp4_status transform(size_t n, size_t rows, size_t cols, const float *sign, bool inverse, float *x) {
    if (n != 16 && n != 32 && n != 64 && n != LARGEST)
        return fp4_fail(FP4_ERR_ARG, "Hadamard transform of size %zu: use 16, 32, 64 or 128", n);
    if (cols % n != 0)
        return fp4_fail(FP4_ERR_ARG, "Hadamard transform of size %zu: rows of %zu elements are no multiple of it", n, cols);
    struct job job = {.n = n, .groups = rows * (cols / n), .per_task = GROUPS_PER_TASK_ELEMENTS / n, .sign = sign,
                      .root = (float)(1.0 / sqrt((double)n)), .x = x, .inverse = inverse};
    FP4_TRY(fp4_cpu_kernels_get(&job.kernels));
    fp4_parallel_for((job.groups + job.per_task - 1) / job.per_task, transform_task, &job);
    return FP4_OK;
}

fp4_status fp4_hadamard(size_t n, size_t rows, size_t cols, const float *sign, float *x) {
    return transform(n, rows, cols, sign, false, x);
}

fp4_status fp4_hadamard_inverse(size_t n, size_t rows, size_t cols, const float *sign, float *x) {
    return transform(n, rows, cols, sign, true, x);
}

void fp4_hadamard_signs(uint32_t seed, size_t n, float *sign) {
    const struct fp4_random address = {.seed = seed, .stream = FP4_STREAM_HADAMARD};
    for (size_t i = 0; i < n; i++) {
        uint32_t word;
        fp4_random_words(&address, i, 1, &word);
        sign[i] = word >> 31 ? -1.0f : 1.0f;
    }
}

fp4_status fp4_hadamard_undo(size_t n, uint32_t seed, size_t rows, size_t cols, float *x) {
    float sign[LARGEST] = {0};
    if (n == 0)
        return FP4_OK;
    fp4_hadamard_signs(seed, n < LARGEST ? n : LARGEST, sign); /* another n is refused below */
    return fp4_hadamard_inverse(n, rows, cols, sign, x);
}
