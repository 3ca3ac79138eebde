/* NF4 (Dettmers et al., QLoRA, 2023), as bitsandbytes has it: 16 quantiles of the normal distribution, asymmetric around an
 * exact zero. */
#include "lib/formats/core/bnb.h"

static const float values[16] = {-1.0f,
                                 -0.6961928009986877f,
                                 -0.5250730514526367f,
                                 -0.39491748809814453f,
                                 -0.28444138169288635f,
                                 -0.18477343022823334f,
                                 -0.09105003625154495f,
                                 0.0f,
                                 0.07958029955625534f,
                                 0.16093020141124725f,
                                 0.24611230194568634f,
                                 0.33791524171829224f,
                                 0.44070982933044434f,
                                 0.5626170039176941f,
                                 0.7229568362236023f,
                                 1.0f};

/* The kernel's literals, as floats: several are decimal ties, which conversion through double rounds the other way. */
static const float kernel[15] = {-0.8480964004993439f,   -0.6106329262256622f, -0.4599952697753906f, -0.33967943489551544f,
                                 -0.23460740596055984f,  -0.13791173323988914f, -0.045525018125772476f, 0.03979014977812767f,
                                 0.1202552504837513f,    0.2035212516784668f,  0.2920137718319893f,  0.3893125355243683f,
                                 0.5016634166240692f,    0.6427869200706482f,  0.8614784178118011f};

/* Midpoints of neighbouring values, in fp32. */
#define MIDDLE(a, b) ((a + b) / 2.0f)
static const float middles[15] = {
    MIDDLE(-1.0f, -0.6961928009986877f),
    MIDDLE(-0.6961928009986877f, -0.5250730514526367f),
    MIDDLE(-0.5250730514526367f, -0.39491748809814453f),
    MIDDLE(-0.39491748809814453f, -0.28444138169288635f),
    MIDDLE(-0.28444138169288635f, -0.18477343022823334f),
    MIDDLE(-0.18477343022823334f, -0.09105003625154495f),
    MIDDLE(-0.09105003625154495f, 0.0f),
    MIDDLE(0.0f, 0.07958029955625534f),
    MIDDLE(0.07958029955625534f, 0.16093020141124725f),
    MIDDLE(0.16093020141124725f, 0.24611230194568634f),
    MIDDLE(0.24611230194568634f, 0.33791524171829224f),
    MIDDLE(0.33791524171829224f, 0.44070982933044434f),
    MIDDLE(0.44070982933044434f, 0.5626170039176941f),
    MIDDLE(0.5626170039176941f, 0.7229568362236023f),
    MIDDLE(0.7229568362236023f, 1.0f),
};

static const struct fp4_bnb cuda = {values, kernel, 15, NULL, false, false}, cpu = {values, middles, 15, NULL, false, true};

static const struct fp4_dialect dialects[] = {
    {"cuda", "the CUDA kernel's decision values", "bitsandbytes 95f9af3, csrc/kernels.cu", FP4_MOD_STORED, &cuda, NULL,
     fp4_bnb_encode, fp4_bnb_decode, fp4_bnb_fake},
    {"cpu", "the default backend: midpoints of the values", "bitsandbytes 0.50.2", FP4_MOD_STORED, &cpu, NULL, fp4_bnb_encode,
     fp4_bnb_decode, fp4_bnb_fake},
    {0}};

const struct fp4_format fp4_format_nf4 = {
    .name = "nf4",
    .summary = "16 normal quantiles, blocks of 64 of the flattened memory, fp32 absmax",
    .block = 64,
    .scale_bytes = 4,
    .code_bits = 4,
    .flat = true,
    .high_nibble_first = true,
    .dialects = dialects,
};
