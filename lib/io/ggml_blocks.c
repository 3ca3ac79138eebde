/* ggml's tensor types and the decoding of its block types (facts from ggml-common.h and ggml-quants.c of https://github.com/ggml-org/ggml). Every
 * product and sum is one fp32 operation, in ggml's order; multi-byte fields are little-endian; unless said otherwise a byte's low nibble is
 * an element of the first half of its run and its high nibble the same place of the second. */
#include "lib/formats/core/elements.h"
#include "lib/io/ggml_blocks.h"

#include <string.h>

static float half_at(const uint8_t *p) { return fp4_fp16_decode((uint16_t)(p[0] | p[1] << 8)); }

/* ---- runs of 32: fp16 scale d, some with an fp16 minimum m ---- */

static void q4_0(const uint8_t *p, float *y) {
    float d = half_at(p);
    for (int j = 0; j < 16; j++) {
        y[j] = d * (float)((p[2 + j] & 15) - 8);
        y[j + 16] = d * (float)((p[2 + j] >> 4) - 8);
    }
}

static void q4_1(const uint8_t *p, float *y) {
    float d = half_at(p), m = half_at(p + 2);
    for (int j = 0; j < 16; j++) {
        y[j] = d * (float)(p[4 + j] & 15) + m;
        y[j + 16] = d * (float)(p[4 + j] >> 4) + m;
    }
}

/* Codes of the five-bit types: a nibble, and on top bit j of a 32-bit word. */
static void five_bits(const uint8_t *word, const uint8_t *nibbles, int codes[32]) {
    uint32_t top = word[0] | (uint32_t)word[1] << 8 | (uint32_t)word[2] << 16 | (uint32_t)word[3] << 24;
    for (int j = 0; j < 16; j++) {
        codes[j] = (nibbles[j] & 15) | (int)(top >> j & 1) << 4;
        codes[j + 16] = nibbles[j] >> 4 | (int)(top >> (j + 16) & 1) << 4;
    }
}

static void q5_0(const uint8_t *p, float *y) {
    float d = half_at(p);
    int codes[32];
    five_bits(p + 2, p + 6, codes);
    for (int j = 0; j < 32; j++)
        y[j] = d * (float)(codes[j] - 16);
}

static void q5_1(const uint8_t *p, float *y) {
    float d = half_at(p), m = half_at(p + 2);
    int codes[32];
    five_bits(p + 4, p + 8, codes);
    for (int j = 0; j < 32; j++)
        y[j] = d * (float)codes[j] + m;
}

static void q8_0(const uint8_t *p, float *y) {
    float d = half_at(p);
    for (int j = 0; j < 32; j++)
        y[j] = d * (float)(int8_t)p[2 + j];
}

/* ---- K types: 256 elements, scales of scales ---- */

/* 16 bytes (low nibble: scale, high: minimum) for 16 elements each, 64 bytes of two-bit codes, fp16 d, fp16 minimum's d. Each half of the
 * block reads its 32 code bytes four times, two bits at a time. */
static void q2_k(const uint8_t *p, float *y) {
    float d = half_at(p + 80), dmin = half_at(p + 82);
    for (int run = 0; run < 16; run++) {
        const uint8_t *codes = p + 16 + 32 * (run / 8) + 16 * (run % 2);
        int shift = 2 * (run / 2 % 4);
        float scale = d * (float)(p[run] & 15), minimum = dmin * (float)(p[run] >> 4);
        for (int l = 0; l < 16; l++)
            y[16 * run + l] = scale * (float)(codes[l] >> shift & 3) - minimum;
    }
}

/* 32 bytes with each code's third bit (clear: minus 4), 64 bytes of two-bit codes as in Q2_K, 12 bytes of six-bit scales less 32, fp16 d. */
static void q3_k(const uint8_t *p, float *y) {
    const uint8_t *high = p, *scales = p + 96;
    float d = half_at(p + 108);
    for (int run = 0; run < 16; run++) {
        const uint8_t *codes = p + 32 + 32 * (run / 8) + 16 * (run % 2);
        int shift = 2 * (run / 2 % 4), bit = run / 2, place = 16 * (run % 2);
        int low = run < 8 ? scales[run] & 15 : scales[run - 8] >> 4, top = scales[8 + run % 4] >> 2 * (run / 4) & 3;
        float scale = d * (float)((low | top << 4) - 32);
        for (int l = 0; l < 16; l++)
            y[16 * run + l] = scale * (float)((codes[l] >> shift & 3) - (high[place + l] >> bit & 1 ? 0 : 4));
    }
}

/* Six-bit scale and minimum of run j in 12 bytes: the first four runs whole, the last four as nibbles with two bits lent by the first. */
static void scale_and_minimum(const uint8_t *s, int j, int *scale, int *minimum) {
    if (j < 4) {
        *scale = s[j] & 63;
        *minimum = s[j + 4] & 63;
    } else {
        *scale = (s[j + 4] & 15) | s[j - 4] >> 6 << 4;
        *minimum = s[j + 4] >> 4 | s[j] >> 6 << 4;
    }
}

/* fp16 d and minimum's d, 12 bytes of scales, (Q5_K: 32 bytes with bit j for run j,) 128 bytes of nibbles: 32 for each two runs of 32. */
static void nibble_runs(const uint8_t *p, const uint8_t *high, const uint8_t *nibbles, float *y) {
    float d = half_at(p), dmin = half_at(p + 2);
    for (int run = 0; run < 8; run++) {
        const uint8_t *bytes = nibbles + 32 * (run / 2);
        int s, m;
        scale_and_minimum(p + 4, run, &s, &m);
        float scale = d * (float)s, minimum = dmin * (float)m;
        for (int l = 0; l < 32; l++) {
            int code = run % 2 ? bytes[l] >> 4 : bytes[l] & 15;
            if (high)
                code |= (high[l] >> run & 1) << 4;
            y[32 * run + l] = scale * (float)code - minimum;
        }
    }
}

static void q4_k(const uint8_t *p, float *y) { nibble_runs(p, NULL, p + 16, y); }
static void q5_k(const uint8_t *p, float *y) { nibble_runs(p, p + 16, p + 48, y); }

/* 128 bytes of low nibbles, 64 of high pairs, 16 int8 scales for 16 elements each, fp16 d. Each half of the block interleaves four runs of 32. */
static void q6_k(const uint8_t *p, float *y) {
    float d = half_at(p + 208);
    for (int half = 0; half < 2; half++) {
        const uint8_t *low = p + 64 * half, *high = p + 128 + 32 * half, *scales = p + 192 + 8 * half;
        for (int run = 0; run < 8; run++) { /* of 16; two share their place among the nibbles */
            int first = 16 * (run % 2), shift = run / 4 * 4;
            float scale = d * (float)(int8_t)scales[run], *out = y + 128 * half + 16 * run;
            const uint8_t *nibbles = low + 32 * (run / 2 % 2) + first, *pairs = high + first;
            for (int l = 0; l < 16; l++)
                out[l] = scale * (float)(((nibbles[l] >> shift & 15) | (pairs[l] >> run / 2 * 2 & 3) << 4) - 32);
        }
    }
}

/* ---- code books ---- */

/* The 16 values of the non-linear four-bit types. */
static const int8_t nonlinear[16] = {-127, -104, -83, -65, -49, -35, -22, -10, 1, 13, 25, 38, 53, 69, 89, 113};
/* Twice E2M1's values: the scales below are halved. */
static const int8_t e2m1_doubled[16] = {0, 1, 2, 3, 4, 6, 8, 12, 0, -1, -2, -3, -4, -6, -8, -12};

/* n bytes, 2n elements. */
static void look_up(const int8_t book[16], float scale, const uint8_t *bytes, int n, float *y) {
    for (int j = 0; j < n; j++) {
        y[j] = scale * (float)book[bytes[j] & 15];
        y[j + n] = scale * (float)book[bytes[j] >> 4];
    }
}

static void iq4_nl(const uint8_t *p, float *y) { look_up(nonlinear, half_at(p), p + 2, 16, y); }

/* fp16 d, 16 bits of high scale pairs, 4 bytes of low scale nibbles, 128 bytes of codes; scales less 32, for 32 elements each. */
static void iq4_xs(const uint8_t *p, float *y) {
    float d = half_at(p);
    int high = p[2] | p[3] << 8;
    for (int run = 0; run < 8; run++) {
        int low = p[4 + run / 2] >> 4 * (run % 2) & 15;
        look_up(nonlinear, d * (float)((low | (high >> 2 * run & 3) << 4) - 32), p + 8 + 16 * run, 16, y + 32 * run);
    }
}

/* An E8M0 byte e, 16 bytes of codes: 2^(e − 127) times E2M1 (OCP Microscaling 1.0). Here the byte 255 is a number too, as in ggml. */
static void mxfp4(const uint8_t *p, float *y) {
    uint32_t bits = p[0] < 2 ? 0x00200000u << p[0] : (uint32_t)(p[0] - 1) << 23; /* 2^(e − 128) */
    float half_scale;
    memcpy(&half_scale, &bits, sizeof half_scale);
    look_up(e2m1_doubled, half_scale, p + 1, 16, y);
}

/* Half of an unsigned E4M3 number (bias 7, the top bit ignored). Its NaN counts as zero, as in ggml. */
static float half_of_ue4m3(uint8_t b) {
    int exponent = b >> 3 & 15, mantissa = b & 7;
    if (b == 0x7f)
        return 0.0f;
    uint32_t bits = (uint32_t)(exponent + 119) << 23 | (uint32_t)mantissa << 20; /* (1 + mantissa/8) · 2^(exponent − 8) */
    float normal;
    memcpy(&normal, &bits, sizeof normal);
    return exponent ? normal : (float)mantissa * 0x1p-10f;
}

/* Four UE4M3 scales for 16 elements each, then 8 bytes of E2M1 codes for each. */
static void nvfp4(const uint8_t *p, float *y) {
    for (int run = 0; run < 4; run++)
        look_up(e2m1_doubled, half_of_ue4m3(p[run]), p + 4 + 8 * run, 8, y + 16 * run);
}

/* ---- the table ---- */

static const struct io_ggml_type types[] = {
    [0] = {{"F32", 1, 4}, FP4_F32, NULL},
    [1] = {{"F16", 1, 2}, FP4_F16, NULL},
    [2] = {{"Q4_0", 32, 18}, FP4_GGUF_Q4_0, q4_0},
    [3] = {{"Q4_1", 32, 20}, FP4_GGUF_Q4_1, q4_1},
    [6] = {{"Q5_0", 32, 22}, FP4_GGUF_Q5_0, q5_0},
    [7] = {{"Q5_1", 32, 24}, FP4_GGUF_Q5_1, q5_1},
    [8] = {{"Q8_0", 32, 34}, FP4_GGUF_Q8_0, q8_0},
    [9] = {{"Q8_1", 32, 36}, FP4_DTYPE_OTHER, NULL}, /* of activations in flight: no file holds it, and ggml does not decode it */
    [10] = {{"Q2_K", 256, 84}, FP4_GGUF_Q2_K, q2_k},
    [11] = {{"Q3_K", 256, 110}, FP4_GGUF_Q3_K, q3_k},
    [12] = {{"Q4_K", 256, 144}, FP4_GGUF_Q4_K, q4_k},
    [13] = {{"Q5_K", 256, 176}, FP4_GGUF_Q5_K, q5_k},
    [14] = {{"Q6_K", 256, 210}, FP4_GGUF_Q6_K, q6_k},
    [15] = {{"Q8_K", 256, 292}, FP4_DTYPE_OTHER, NULL}, /* of activations in flight, too */
    [16] = {{"IQ2_XXS", 256, 66}, FP4_DTYPE_OTHER, NULL},
    [17] = {{"IQ2_XS", 256, 74}, FP4_DTYPE_OTHER, NULL},
    [18] = {{"IQ3_XXS", 256, 98}, FP4_DTYPE_OTHER, NULL},
    [19] = {{"IQ1_S", 256, 50}, FP4_DTYPE_OTHER, NULL},
    [20] = {{"IQ4_NL", 32, 18}, FP4_GGUF_IQ4_NL, iq4_nl},
    [21] = {{"IQ3_S", 256, 110}, FP4_DTYPE_OTHER, NULL},
    [22] = {{"IQ2_S", 256, 82}, FP4_DTYPE_OTHER, NULL},
    [23] = {{"IQ4_XS", 256, 136}, FP4_GGUF_IQ4_XS, iq4_xs},
    [24] = {{"I8", 1, 1}, FP4_I8, NULL},
    [25] = {{"I16", 1, 2}, FP4_I16, NULL},
    [26] = {{"I32", 1, 4}, FP4_I32, NULL},
    [27] = {{"I64", 1, 8}, FP4_I64, NULL},
    [28] = {{"F64", 1, 8}, FP4_F64, NULL},
    [29] = {{"IQ1_M", 256, 56}, FP4_DTYPE_OTHER, NULL},
    [30] = {{"BF16", 1, 2}, FP4_BF16, NULL},
    [34] = {{"TQ1_0", 256, 54}, FP4_DTYPE_OTHER, NULL},
    [35] = {{"TQ2_0", 256, 66}, FP4_DTYPE_OTHER, NULL},
    [39] = {{"MXFP4", 32, 17}, FP4_GGUF_MXFP4, mxfp4},
    [40] = {{"NVFP4", 64, 36}, FP4_GGUF_NVFP4, nvfp4},
    [41] = {{"Q1_0", 128, 18}, FP4_DTYPE_OTHER, NULL},
};

const struct io_ggml_type *io_ggml_type(uint32_t id) {
    return id < sizeof types / sizeof *types && types[id].info.name ? &types[id] : NULL;
}

const struct io_ggml_type *io_ggml_block_type(enum fp4_dtype t) {
    for (size_t i = 0; i < sizeof types / sizeof *types; i++)
        if (types[i].decode && types[i].dtype == t)
            return &types[i];
    return NULL;
}
