/* What this machine can do at all, measured in the same run as everything else: bytes copied and multiply-adds a second, by one thread
 * and by all. Rates of the other benchmarks are set against these. */
#include "bench/list.h"

#include <immintrin.h>
#include <string.h>

enum { COPY_CHUNK = 1 << 20, FMA_ROUNDS = 1 << 16, CHAINS = 12 };

/* ---- copy: buffers well beyond the caches, chunks of 1 MiB ---- */
struct copy {
    uint8_t *from, *to;
    size_t bytes;
};

static void copy_chunk(void *context, size_t task) {
    struct copy *c = context;
    memcpy(c->to + task * COPY_CHUNK, c->from + task * COPY_CHUNK, COPY_CHUNK);
}

static fp4_status copy_setup(const struct bench *b, void **state) {
    struct copy *c;
    FP4_TRY(FP4_NEW(c, 1));
    c->bytes = b->size[0];
    FP4_TRY(fp4_alloc(c->bytes, 1, (void **)&c->from));
    FP4_TRY(fp4_alloc(c->bytes, 1, (void **)&c->to));
    memset(c->from, 1, c->bytes); /* every page is there before the first run */
    memset(c->to, 2, c->bytes);
    *state = c;
    return FP4_OK;
}

static fp4_status copy_run(void *state) {
    struct copy *c = state;
    fp4_parallel_for(c->bytes / COPY_CHUNK, copy_chunk, c);
    return FP4_OK;
}

/* ---- multiply-adds: CHAINS independent chains of vectors, more than latency times ports of today's cores (4 · 2) ---- */
struct fma {
    double (*kernel)(void);
    size_t tasks;
    double sums[1024]; /* so that nothing is optimized away */
};

__attribute__((target("avx512f"))) static double fma_avx512(void) {
    __m512 a[CHAINS], x = _mm512_set1_ps(0.999f), y = _mm512_set1_ps(0.001f);
    for (int i = 0; i < CHAINS; i++)
        a[i] = _mm512_set1_ps((float)i);
    for (int r = 0; r < FMA_ROUNDS; r++)
        for (int i = 0; i < CHAINS; i++)
            a[i] = _mm512_fmadd_ps(a[i], x, y);
    double sum = 0;
    for (int i = 0; i < CHAINS; i++)
        sum += (double)_mm512_reduce_add_ps(a[i]);
    return sum;
}

__attribute__((target("avx2,fma"))) static double fma_avx2(void) {
    __m256 a[CHAINS], x = _mm256_set1_ps(0.999f), y = _mm256_set1_ps(0.001f);
    for (int i = 0; i < CHAINS; i++)
        a[i] = _mm256_set1_ps((float)i);
    for (int r = 0; r < FMA_ROUNDS; r++)
        for (int i = 0; i < CHAINS; i++)
            a[i] = _mm256_fmadd_ps(a[i], x, y);
    double sum = 0;
    for (int i = 0; i < CHAINS; i++) {
        float lanes[8];
        _mm256_storeu_ps(lanes, a[i]);
        for (int j = 0; j < 8; j++)
            sum += (double)lanes[j];
    }
    return sum;
}

/* Without FMA units: a multiplication and an addition, four lanes. */
static double fma_sse(void) {
    __m128 a[CHAINS], x = _mm_set1_ps(0.999f), y = _mm_set1_ps(0.001f);
    for (int i = 0; i < CHAINS; i++)
        a[i] = _mm_set1_ps((float)i);
    for (int r = 0; r < FMA_ROUNDS; r++)
        for (int i = 0; i < CHAINS; i++)
            a[i] = _mm_add_ps(_mm_mul_ps(a[i], x), y);
    double sum = 0;
    for (int i = 0; i < CHAINS; i++)
        sum += (double)_mm_cvtss_f32(a[i]);
    return sum;
}

static int fma_lanes(void) {
    __builtin_cpu_init();
    return __builtin_cpu_supports("avx512f") ? 16 : __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma") ? 8 : 4;
}

static void fma_task(void *context, size_t task) {
    struct fma *f = context;
    f->sums[task] = f->kernel();
}

static fp4_status fma_setup(const struct bench *b, void **state) {
    struct fma *f;
    FP4_TRY(FP4_NEW(f, 1));
    int lanes = fma_lanes();
    f->kernel = lanes == 16 ? fma_avx512 : lanes == 8 ? fma_avx2 : fma_sse;
    f->tasks = b->size[0];
    *state = f;
    return FP4_OK;
}

static fp4_status fma_run(void *state) {
    struct fma *f = state;
    fp4_parallel_for(f->tasks, fma_task, f);
    return FP4_OK;
}

fp4_status bench_add_ceilings(const struct bench_options *o, struct bench_list *list) {
    for (int threads = 1;; threads = o->threads) {
        struct bench copy = {.threads = threads, .setup = copy_setup, .run = copy_run, .item = "copies"};
        copy.size[0] = o->small ? 16u << 20 : 256u << 20;
        copy.bytes = 2.0 * (double)copy.size[0]; /* each byte is read and written */
        bench_name(&copy, "ceiling/copy/threads:%d", threads);
        FP4_TRY(bench_add(list, &copy));
        struct bench fma = {.threads = threads, .setup = fma_setup, .run = fma_run, .item = "calls"};
        fma.size[0] = threads > 256 ? 1024 : (size_t)threads * 4;
        fma.flops = 2.0 * FMA_ROUNDS * CHAINS * fma_lanes() * (double)fma.size[0];
        bench_name(&fma, "ceiling/fma/threads:%d", threads);
        FP4_TRY(bench_add(list, &fma));
        if (threads == o->threads)
            return FP4_OK;
    }
}
