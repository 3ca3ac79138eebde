/* fp4lab/formats.h: number formats and quantizers.
 *
 * A quantizer is a value: {format, dialect, rounding, block shape, transform, clip} fully names what happens to
 * an operand. Its canonical spelling is what command lines take, --help lists and results record:
 *
 *     none | FORMAT[:DIALECT][,MODIFIER...]          e.g. nvfp4:te  nvfp4:te,sr,had16  nvfp4:te,2d  mxfp4:floor
 *                                                         int4:sym7,g128  nf4:cuda  bnbfp4:cuda  fp8  bf16
 *     modifiers, in canonical order: 2d (16×16 blocks), away | sr (ties away, stochastic; nearest even is
 *     silent), hadN (random Hadamard of N = 16, 32, 64, 128 along the blocked axis, before quantizing), gN
 *     (group size where the format takes one), clipF (block maxima times F), stored (see fp4_policy).
 *
 * Bit-exactness: fp32 operation order as in the format's file; nearest even unless said; no fused multiply-add. */
#ifndef FP4LAB_FORMATS_H
#define FP4LAB_FORMATS_H

#include "fp4lab/base.h"

struct fp4_format; /* one file in lib/formats/ each; see lib/formats/core/format.h */
extern const struct fp4_format *const fp4_formats_all[]; /* NULL-terminated, by name; generated from lib/formats */

enum fp4_rounding { FP4_ROUND_EVEN = 0, FP4_ROUND_AWAY = 1, FP4_ROUND_STOCHASTIC = 2 };

/* Zero-initialised = no quantization. Plain data: copy freely, compare by spelling. */
struct fp4_quantizer {
    const struct fp4_format *format; /* NULL: none */
    int dialect;                     /* index into the format's dialects */
    enum fp4_rounding rounding;
    bool two_d;     /* 16×16 blocks */
    int hadamard;   /* 0 or the transform's size */
    int group;      /* 0: the format's own block size */
    float clip;     /* 1: none */
    bool stored;    /* blocks along the tensor as stored, not along the GEMM's reduction axis */
};

enum { FP4_SPELLING_MAX = 96 };

/* Parses a spelling; FP4_ERR_ARG names the part that is not known and lists what is. */
fp4_status fp4_quantizer_parse(const char *spelling, struct fp4_quantizer *out);
/* Writes the canonical spelling; parse ∘ spell is the identity. */
void fp4_quantizer_spell(const struct fp4_quantizer *q, char out[FP4_SPELLING_MAX]);
/* One line for each format and dialect, for --help. */
void fp4_quantizer_list(FILE *out);
static inline bool fp4_quantizer_is_none(const struct fp4_quantizer *q) { return q->format == NULL; }

/* y = dequantize(quantize(x)), both [rows, cols], blocks along cols (formats that block the flattened memory do so).
 * x == y is allowed. A last block that is shorter than the block size is a block of its own. `random` addresses
 * the numbers of stochastic rounding (element = index in the tensor) and may be NULL otherwise; with a
 * Hadamard transform y is in the TRANSFORMED basis (both operands of a product are transformed with the same
 * signs, and H Hᵀ = 1), signs addressed by random->seed when given, else seed 0. cols must then be a multiple of the
 * transform's size (FP4_ERR_ARG). Result is the same for any thread count and CPU rung. */
fp4_status fp4_fake_quantize(const struct fp4_quantizer *q, size_t rows, size_t cols, const float *x, float *y,
                             const struct fp4_random *random);
/* Same, with the uniforms u [rows, cols] given (tests, and reproducing other libraries). */
fp4_status fp4_fake_quantize_u(const struct fp4_quantizer *q, size_t rows, size_t cols, const float *x, float *y,
                               const float *u);

/* A quantized tensor in packed storage. */
struct fp4_qtensor {
    struct fp4_quantizer quantizer;
    size_t rows, cols;
    size_t block;          /* elements a scale (of a row when !two_d) */
    uint8_t *data;         /* codes, packed as the format packs them */
    size_t data_bytes;
    uint8_t *scales;       /* block scales as stored (E4M3 or E8M0 bytes, or fp32 values) */
    size_t scale_bytes;    /* all scales together */
    float tensor_scale;    /* as the dialect defines it; 1 where there is none */
    float amax;            /* largest |x| */
};

fp4_status fp4_quantize(const struct fp4_quantizer *q, size_t rows, size_t cols, const float *x,
                        const struct fp4_random *random, struct fp4_qtensor *out);
/* Same, with the uniforms u [rows, cols] given. */
fp4_status fp4_quantize_u(const struct fp4_quantizer *q, size_t rows, size_t cols, const float *x, const float *u,
                          struct fp4_qtensor *out);
/* y [rows, cols]; bit for bit what fp4_fake_quantize gives, but for the sign of zeros in int4, whose codes have no −0. */
fp4_status fp4_dequantize(const struct fp4_qtensor *t, float *y);
/* Bytes in memory of codes, scales and tensor scale together: measured, not a formula. */
size_t fp4_qtensor_bytes(const struct fp4_qtensor *t);
void fp4_qtensor_free(struct fp4_qtensor *t);

/* In-place random Hadamard transform of every group of n = 16 … 128 consecutive elements of each row:
 * y = H (sign ∘ x)/√n, butterflies in the order of golden/formats/README.md. sign [n] is ±1. */
fp4_status fp4_hadamard(size_t n, size_t rows, size_t cols, const float *sign, float *x);
/* The inverse: x = sign ∘ (H y)/√n. */
fp4_status fp4_hadamard_inverse(size_t n, size_t rows, size_t cols, const float *sign, float *x);
/* The signs of a seed: addressed, stream FP4_STREAM_HADAMARD. */
void fp4_hadamard_signs(uint32_t seed, size_t n, float *sign);
/* The inverse with the signs of a seed: what a quantizer with had<n> and this seed has turned comes back into its basis. n = 0: nothing to undo. */
fp4_status fp4_hadamard_undo(size_t n, uint32_t seed, size_t rows, size_t cols, float *x);

/* ---- CPU rungs ---- */
/* Kernels exist as plain C and for AVX2 and AVX-512; the best that the CPU has is taken, or what FP4LAB_CPU=ref|avx2|avx512
 * names (an unavailable one is an error of fp4_cpu_select). */
enum fp4_cpu_level { FP4_CPU_REF = 0, FP4_CPU_AVX2 = 1, FP4_CPU_AVX512 = 2 };
enum fp4_cpu_level fp4_cpu_detect(void);  /* what this machine has */
enum fp4_cpu_level fp4_cpu_level(void);   /* what is used */
fp4_status fp4_cpu_select(const char *name); /* NULL: from FP4LAB_CPU, else the best */
const char *fp4_cpu_level_name(enum fp4_cpu_level level);
void fp4_cpu_name(char out[128]); /* this machine's, as Linux tells it; else its architecture */

#endif
