/* bitsandbytes' FP4: its own eight magnitudes over absmax (not E2M1/6), in an order of codes of its own. What the training
 * write-up (D) ran is the cuda dialect. */
#include "lib/formats/core/bnb.h"

#define V1 0.005208333333f
#define V2 0.16666667f
#define V3 0.25f
#define V4 0.33333333f
#define V5 0.5f
#define V6 0.66666667f
#define V7 1.0f

/* Codes are in the order 0 V1 V6 V7 V4 V5 V2 V3. */
static const float values[16] = {0.0f, V1, V6, V7, V4, V5, V2, V3, -0.0f, -V1, -V6, -V7, -V4, -V5, -V2, -V3};

static const float kernel[7] = {0.00260417f, 0.0859375f, 0.20833333f, 0.29166667f, 0.4166667f, 0.583333f, 0.8333333f};
static const uint8_t kernel_codes[8] = {0, 1, 6, 7, 4, 5, 2, 3};

/* The default backend searches the sorted table, in which both zeros have a place. */
#define MIDDLE(a, b) ((a + b) / 2.0f)
static const float middles[15] = {MIDDLE(-V7, -V6), MIDDLE(-V6, -V5), MIDDLE(-V5, -V4), MIDDLE(-V4, -V3), MIDDLE(-V3, -V2),
                                  MIDDLE(-V2, -V1), MIDDLE(-V1, 0.0f), 0.0f,            MIDDLE(0.0f, V1), MIDDLE(V1, V2),
                                  MIDDLE(V2, V3),   MIDDLE(V3, V4),   MIDDLE(V4, V5),   MIDDLE(V5, V6),   MIDDLE(V6, V7)};
static const uint8_t sorted_codes[16] = {11, 10, 13, 12, 15, 14, 9, 0, 8, 1, 6, 7, 4, 5, 2, 3};

static const struct fp4_bnb cuda = {values, kernel, 7, kernel_codes, true, false},
                            cpu = {values, middles, 15, sorted_codes, false, true};

static const struct fp4_dialect dialects[] = {
    {"cuda", "the CUDA kernel's decision values", "bitsandbytes 95f9af3, csrc/kernels.cu", FP4_MOD_STORED, &cuda, NULL,
     fp4_bnb_encode, fp4_bnb_decode, fp4_bnb_fake},
    {"cpu", "the default backend: midpoints of the values", "bitsandbytes 0.50.2", FP4_MOD_STORED, &cpu, NULL, fp4_bnb_encode,
     fp4_bnb_decode, fp4_bnb_fake},
    {0}};

const struct fp4_format fp4_format_bnbfp4 = {
    .name = "bnbfp4",
    .summary = "bitsandbytes' FP4, blocks of 64 of the flattened memory, fp32 absmax",
    .block = 64,
    .scale_bytes = 4,
    .code_bits = 4,
    .flat = true,
    .high_nibble_first = true,
    .dialects = dialects,
};
