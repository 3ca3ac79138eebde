/* Quantizers by format and CPU rung: packing, unpacking, both in one go, and the Hadamard transform. */
#include "bench/list.h"

#include "lib/formats/core/format.h"

#include <stdlib.h>

/* ---- quantizers: a matrix of normal numbers ---- */
struct matrix {
    struct fp4_quantizer q;
    size_t rows, cols;
    float *x, *y;
    struct fp4_qtensor packed;
};

static fp4_status matrix_setup(const struct bench *b, void **state) {
    struct matrix *m;
    FP4_TRY(FP4_NEW(m, 1));
    FP4_TRY(fp4_quantizer_parse(b->text, &m->q));
    m->rows = b->size[0], m->cols = b->size[1];
    FP4_TRY(bench_normal(m->rows * m->cols, 3, &m->x));
    FP4_TRY(FP4_NEW(m->y, m->rows * m->cols));
    FP4_TRY(fp4_quantize(&m->q, m->rows, m->cols, m->x, NULL, &m->packed));
    *state = m;
    return FP4_OK;
}

static fp4_status quantize_run(void *state) {
    struct matrix *m = state;
    struct fp4_qtensor t;
    FP4_TRY(fp4_quantize(&m->q, m->rows, m->cols, m->x, NULL, &t));
    fp4_qtensor_free(&t);
    return FP4_OK;
}

static fp4_status dequantize_run(void *state) {
    struct matrix *m = state;
    return fp4_dequantize(&m->packed, m->y);
}

static fp4_status fake_run(void *state) {
    struct matrix *m = state;
    return fp4_fake_quantize(&m->q, m->rows, m->cols, m->x, m->y, NULL);
}

/* Bytes of a packed matrix: a formula here (codes and scales), since nothing is packed before the benchmark is asked for. */
static double packed_bytes(const struct fp4_format *f, double elements) {
    return elements * f->code_bits / 8 + (f->block ? elements / (double)f->block * (double)f->scale_bytes : 0);
}

static fp4_status add_quantizer(const struct bench_options *o, struct bench_list *list, const struct fp4_format *f, const char *rung, int threads) {
    static const struct {
        const char *name;
        fp4_status (*run)(void *);
        double plain, packed; /* times the bytes of the matrix in fp32; in packed storage */
    } ways[] = {{"quantize", quantize_run, 1, 1}, {"dequantize", dequantize_run, 1, 1}, {"fake_quantize", fake_run, 2, 0}};
    struct fp4_quantizer q;
    char spelling[FP4_SPELLING_MAX];
    FP4_TRY(fp4_quantizer_parse(f->name, &q));
    fp4_quantizer_spell(&q, spelling);
    for (size_t i = 0; i < sizeof ways / sizeof ways[0]; i++) {
        struct bench b = {.threads = threads, .rung = rung, .setup = matrix_setup, .run = ways[i].run, .item = "elements"};
        b.size[0] = o->small ? 64 : 1024;
        b.size[1] = 1024;
        b.items = (double)(b.size[0] * b.size[1]);
        b.bytes = ways[i].plain * sizeof(float) * b.items + ways[i].packed * packed_bytes(f, b.items);
        snprintf(b.text, sizeof b.text, "%s", spelling);
        bench_name(&b, "%s/%s/%s/threads:%d", ways[i].name, spelling, rung, threads);
        FP4_TRY(bench_add(list, &b));
    }
    return FP4_OK;
}

/* ---- random Hadamard transform, in place ---- */
struct transform {
    size_t n, rows, cols;
    float *sign, *x;
};

static fp4_status transform_setup(const struct bench *b, void **state) {
    struct transform *t;
    FP4_TRY(FP4_NEW(t, 1));
    t->n = b->size[0], t->rows = b->size[1], t->cols = b->size[2];
    FP4_TRY(FP4_NEW(t->sign, t->n));
    fp4_hadamard_signs(1, t->n, t->sign);
    FP4_TRY(bench_normal(t->rows * t->cols, 4, &t->x));
    *state = t;
    return FP4_OK;
}

/* Orthogonal: however often it runs, the numbers keep their size. */
static fp4_status transform_run(void *state) {
    struct transform *t = state;
    return fp4_hadamard(t->n, t->rows, t->cols, t->sign, t->x);
}

static fp4_status add_transforms(const struct bench_options *o, struct bench_list *list, const char *rung, int threads) {
    for (size_t n = 16; n <= 128; n *= 8) {
        struct bench b = {.threads = threads, .rung = rung, .setup = transform_setup, .run = transform_run, .item = "elements"};
        b.size[0] = n, b.size[1] = o->small ? 64 : 1024, b.size[2] = 1024;
        b.items = (double)(b.size[1] * b.size[2]);
        b.bytes = 2 * sizeof(float) * b.items;
        bench_name(&b, "hadamard/%zu/%s/threads:%d", n, rung, threads);
        FP4_TRY(bench_add(list, &b));
    }
    return FP4_OK;
}

fp4_status bench_add_formats(const struct bench_options *o, struct bench_list *list) {
    const enum fp4_cpu_level best = fp4_cpu_detect();
    for (int level = FP4_CPU_REF; level <= (int)best; level++) {
        const char *rung = fp4_cpu_level_name((enum fp4_cpu_level)level);
        for (size_t i = 0; fp4_formats_all[i]; i++) {
            FP4_TRY(add_quantizer(o, list, fp4_formats_all[i], rung, 1));
            if (level == (int)best && o->threads > 1)
                FP4_TRY(add_quantizer(o, list, fp4_formats_all[i], rung, o->threads));
        }
        FP4_TRY(add_transforms(o, list, rung, 1));
    }
    return FP4_OK;
}
