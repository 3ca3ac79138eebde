/* The list of benchmarks, and what they share. */
#include "bench/list.h"

#include "fp4lab/backend.h"
#include "fp4lab/formats.h"

#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

struct bench_list {
    struct bench *items;
    size_t n, room;
};

fp4_status bench_add(struct bench_list *list, const struct bench *b) {
    FP4_TRY(FP4_RESERVE(list->items, list->n, list->n + 1, &list->room));
    list->items[list->n++] = *b;
    return FP4_OK;
}

void bench_name(struct bench *b, const char *format, ...) {
    va_list arguments;
    va_start(arguments, format);
    vsnprintf(b->name, sizeof b->name, format, arguments);
    va_end(arguments);
}

fp4_status bench_collect(const struct bench_options *o, struct bench_list **out) {
    static fp4_status (*const adders[])(const struct bench_options *, struct bench_list *) = {bench_add_ceilings, bench_add_formats, bench_add_gemm,
                                                                                                        bench_add_model,    bench_add_text};
    struct bench_list *list;
    FP4_TRY(fp4_blas_init());
    FP4_TRY(FP4_NEW(list, 1));
    for (size_t i = 0; i < sizeof adders / sizeof adders[0]; i++)
        FP4_TRY(adders[i](o, list));
    *out = list;
    return FP4_OK;
}

size_t bench_count(const struct bench_list *list) { return list->n; }
const struct bench *bench_at(const struct bench_list *list, size_t i) { return &list->items[i]; }

fp4_status bench_enter(const struct bench *b) {
    fp4_set_threads(b->threads);
    return fp4_cpu_select(b->rung);
}

fp4_status bench_machine(int threads, void (*add)(const char *name, const char *value)) {
    char text[128];
    FP4_TRY(fp4_cpu_select(NULL));
    fp4_cpu_name(text);
    add("cpu", text);
    snprintf(text, sizeof text, "%ld", sysconf(_SC_NPROCESSORS_ONLN));
    add("cores", text);
    snprintf(text, sizeof text, "%d", threads);
    add("threads", text);
    add("blas_core", fp4_blas_core());
    add("rung", fp4_cpu_level_name(fp4_cpu_level()));
    add("compiler", __VERSION__);
    add("version", FP4_VERSION);
    return FP4_OK;
}

fp4_status bench_normal(size_t n, uint32_t layer, float **out) {
    FP4_TRY(fp4_alloc(n, sizeof **out, (void **)out));
    const struct fp4_random random = {.seed = 1, .stream = FP4_STREAM_TEST, .layer = layer};
    fp4_random_normal(&random, 0, n, *out);
    return FP4_OK;
}
