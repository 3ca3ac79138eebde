/* bench/bench.h: benchmarks are plain C functions; main.cc hands them to Google Benchmark.
 *
 * A file bench/NAME.c adds its benchmarks in one function bench_add_NAME, listed in list.c. Work is cut so that one run takes
 * between a microsecond and a few seconds; what it moves and computes is stated per run, so that rates and ratios to this machine's
 * ceilings (ceilings.c, the same process) follow. */
#ifndef FP4LAB_BENCH_H
#define FP4LAB_BENCH_H

#include "fp4lab/base.h"

struct bench {
    char name[96];       /* "quantize/nvfp4:te/avx512/threads:1" */
    int threads;         /* of fp4_parallel_for during the run */
    const char *rung;    /* CPU rung during the run, as fp4_cpu_select takes it; NULL: the best */
    double bytes;        /* read and written by one run, from and to memory that the caller sees; 0: not a matter of bytes */
    double flops;        /* floating-point operations of one run (a fused multiply-add is two); 0: none to speak of */
    double items;        /* elements, tokens or calls of one run: the adder says which in `item` */
    const char *item;    /* "elements", "tokens", ... */
    /* Prepares *state, once, before the first run; NULL: nothing. What it allocates lives until the process ends. */
    fp4_status (*setup)(const struct bench *b, void **state);
    fp4_status (*run)(void *state);
    size_t size[4];      /* the benchmark's own */
    char text[1024];     /* the benchmark's own */
};

struct bench_options {
    int threads;         /* all: the largest number of threads measured */
    bool small;          /* smoke: small sizes */
};

/* A growing list of benchmarks; copies *b. */
struct bench_list;
fp4_status bench_add(struct bench_list *list, const struct bench *b);
/* Fills b->name. */
void bench_name(struct bench *b, const char *format, ...) __attribute__((format(printf, 2, 3)));
/* All benchmarks, and a line on stderr for each that cannot be measured here, with the reason. */
fp4_status bench_collect(const struct bench_options *o, struct bench_list **out);
size_t bench_count(const struct bench_list *list);
const struct bench *bench_at(const struct bench_list *list, size_t i);
/* Thread count and rung of a benchmark take effect. */
fp4_status bench_enter(const struct bench *b);
/* Describes the machine: calls `add` with name and value: cpu, cores, threads, blas_core, rung, compiler, version. */
fp4_status bench_machine(int threads, void (*add)(const char *name, const char *value));

/* A buffer [n] of addressed normal numbers. */
fp4_status bench_normal(size_t n, uint32_t layer, float **out);

#endif
