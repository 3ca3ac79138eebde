/* The table of CPU quantization kernels. The reference fills all of it; AVX2 and AVX-512 override what they have. All rungs
 * give the same bits. Inputs are finite; x == y is allowed; nothing outside of the stated ranges is read or written. */
#ifndef FP4LAB_KERNELS_CPU_H
#define FP4LAB_KERNELS_CPU_H

#include "lib/formats/core/te.h"

struct fp4_int_grid {
    float low; /* −7 or −8; the upper end is 7 */
    enum fp4_rounding rounding;
};

/* Sixteen values by place; a normalised value takes the place = number of boundaries below it (core/bnb.h). */
struct fp4_value_table {
    const float *boundaries; /* [n] */
    int n;                   /* 7 or 15 */
    float values[16];        /* [n + 1], of each place */
    bool magnitudes;         /* |y| is looked up and negative x give negative values */
    bool clamp;              /* y = clamp(x·(1/max(absmax, 1e−38)), ±1), else x·(1/absmax) */
};

struct fp4_cpu_kernels {
    /* Largest |x|, as bits: an integer maximum, so that NaN > infinity > any number and order does not matter. */
    uint32_t (*amax_bits)(size_t n, const float *x);
    /* b[j] = largest |x| of columns j·block … of all rows; the last block may be short. x [rows, n] with `stride`. */
    void (*block_max)(size_t rows, size_t n, size_t stride, size_t block, const float *x, float *b);
    /* NVFP4 te: block maxima → factors on encoding and steps on decoding. b == factor is allowed. */
    void (*te_scales)(const struct fp4_te *te, size_t blocks, const float *b, float *factor, float *step);
    /* y = ±E2M1(|x|·factor[j])·step[j], sign of x, zeros stay zeros even where a factor is
     * infinite; u [rows, n] for stochastic rounding. block is a multiple of 16. */
    void (*e2m1)(enum fp4_rounding rounding, size_t rows, size_t n, size_t stride, size_t block, const float *x,
                 const float *u, const float *factor, const float *step, float *y);
    /* y = ((±E2M1(|x|·factor[j])·scale[j])·amax)/limit, nearest even, one row; sign bit = (x·factor < 0), or that of x. */
    void (*e2m1_quotient)(bool sign_of_x, float amax, float limit, size_t n, size_t block, const float *x, const float *factor,
                          const float *scale, float *y);
    /* Four over six: block maxima → scales (E4M3 values) and factors of both candidates. */
    void (*six_four)(const struct fp4_six_four *c, size_t blocks, const float *b, float *scale6, float *factor6, float *scale4,
                     float *factor4);
    /* Error of y against x in each block of 16 (the last may be short): sums in element order. */
    void (*block_error)(enum fp4_block_error kind, size_t n, const float *x, const float *y, float *error);
    /* The adaptation write-up's elements (core/tta.h): y = ±(q/scale[j])·ts, q of (|x|/ts)·scale[j]. u may be NULL. */
    void (*tta)(float ts, size_t n, size_t block, const float *x, const float *u, const float *scale, float *y);
    /* Values of a table times absmax[j]. */
    void (*table)(const struct fp4_value_table *table, size_t n, size_t block, const float *x, const float *absmax, float *y);
    void (*bf16)(size_t n, const float *x, float *y);
    /* y = clamp(round(x/scale[j]), low, 7)·scale[j], sign of x. block is a multiple of 16. */
    void (*int4)(struct fp4_int_grid grid, size_t n, size_t block, const float *x, const float *u, const float *scale, float *y);
    /* `groups` consecutive groups of n elements: signs, butterflies h = 1, 2, 4, … , times root = fl(1/√n). With
     * `inverse`, the signs come last. */
    void (*hadamard)(size_t n, size_t groups, const float *sign, float root, bool inverse, float *x);
    /* As fp4_random_uniform. */
    void (*uniform)(const struct fp4_random *r, uint64_t first, size_t n, float *u);
};

extern const struct fp4_cpu_kernels fp4_cpu_kernels_ref, fp4_cpu_kernels_avx2, fp4_cpu_kernels_avx512;

/* The table in use; resolves FP4LAB_CPU at first use (FP4_ERR_ARG as fp4_cpu_select). */
fp4_status fp4_cpu_kernels_get(const struct fp4_cpu_kernels **out);
/* The same inside of a pass that has been through fp4_cpu_kernels_get. */
const struct fp4_cpu_kernels *fp4_cpu_kernels_now(void);
/* The table of a level, for tests and benchmarks; NULL when this CPU lacks it. */
const struct fp4_cpu_kernels *fp4_cpu_kernels_of(enum fp4_cpu_level level);

#endif
