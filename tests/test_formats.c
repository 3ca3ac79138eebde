/* Number formats against the reference vectors in golden/formats: bit for bit, whatever cases are in the folder. */
#include "lib/formats/core/e2m1.h"
#include "tests/support.h"

#include "fp4lab/io.h"

#include <dirent.h>
#include <inttypes.h>
#include <math.h>
#include <stdlib.h>

/* ---- reading ---- */

static struct fp4_checkpoint *open_file(const char *name) {
    char relative[300];
    snprintf(relative, sizeof relative, "formats/%s.safetensors", name);
    struct fp4_checkpoint *c;
    must(fp4_checkpoint_open(golden_file(relative), &c));
    return c;
}
static const struct fp4_stored *find(const struct fp4_checkpoint *c, const char *prefix, const char *name) {
    char full[600];
    snprintf(full, sizeof full, "%s%s", prefix, name);
    return fp4_checkpoint_find(c, full);
}
/* Contents as floats (values), in malloc'd memory; NULL when the tensor is absent. */
static float *floats(const struct fp4_stored *t) {
    if (!t)
        return NULL;
    float *x = malloc(t->elements * sizeof *x + 1);
    must(fp4_stored_to_f32(t, 0, t->elements, x));
    return x;
}
static const struct fp4_stored *need(const struct fp4_checkpoint *c, const char *prefix, const char *name) {
    const struct fp4_stored *t = find(c, prefix, name);
    cr_assert_not_null(t, "no tensor %s%s", prefix, name);
    return t;
}

static size_t vectors; /* tensors compared */

/* Bytes of a tensor against ours. */
static void same_bytes(const char *file, const struct fp4_stored *t, const void *ours, size_t bytes) {
    cr_assert_eq(t->bytes, bytes, "%s: %s: %zu bytes, ours %zu", file, t->name, t->bytes, bytes);
    const uint8_t *mine = ours;
    for (size_t i = 0; i < bytes; i++)
        cr_assert_eq(t->data[i], mine[i], "%s: %s: byte %zu is %02x, ours %02x", file, t->name, i, t->data[i], mine[i]);
    vectors++;
}
static void same_floats(const char *file, const struct fp4_stored *t, const float *ours, size_t n, bool zeros_by_value) {
    cr_assert_eq(t->elements, n, "%s: %s: %zu elements, ours %zu", file, t->name, t->elements, n);
    float *theirs = floats(t);
    for (size_t i = 0; i < n; i++)
        cr_assert(fp4_bits(theirs[i]) == fp4_bits(ours[i]) || (zeros_by_value && theirs[i] == 0.0f && ours[i] == 0.0f),
                  "%s: %s[%zu] is %a, ours %a", file, t->name, i, (double)theirs[i], (double)ours[i]);
    free(theirs);
    vectors++;
}

/* ---- elements ---- */

static uint8_t e2m1_even(float x) { return fp4_e2m1_encode(x, FP4_ROUND_EVEN, 0); }
static uint8_t e2m1_away(float x) { return fp4_e2m1_encode(x, FP4_ROUND_AWAY, 0); }
static float bf16(uint16_t bits) { return fp4_bf16_decode(bits); }

static const struct {
    const char *name;
    float (*input)(uint16_t bits);
    uint8_t (*encode)(float x);
} encoders[] = {
    {"e2m1/bf16_even", bf16, e2m1_even},         {"e2m1/fp16_even", fp4_fp16_decode, e2m1_even},
    {"e2m1/bf16_away", bf16, e2m1_away},         {"e2m1/fp16_away", fp4_fp16_decode, e2m1_away},
    {"e4m3/bf16", bf16, fp4_e4m3_encode},        {"e5m2/bf16", bf16, fp4_e5m2_encode},
    {"e5m2/bf16_ieee", bf16, fp4_e5m2_encode_ieee}, {"ue4m3/bf16", bf16, fp4_ue4m3_encode},
    {"ue5m3/bf16", bf16, fp4_ue5m3_encode},      {"e8m0/bf16_floor", bf16, fp4_e8m0_floor},
    {"e8m0/bf16_ceil", bf16, fp4_e8m0_ceil},     {"e8m0/bf16_nearest", bf16, fp4_e8m0_nearest},
    {"e8m0/bf16_even", bf16, fp4_e8m0_even},
};
static const struct {
    const char *name;
    float (*decode)(uint8_t code);
} decoders[] = {{"e2m1/decode", fp4_e2m1_decode},   {"e4m3/decode", fp4_e4m3_decode},   {"e5m2/decode", fp4_e5m2_decode},
                {"ue4m3/decode", fp4_ue4m3_decode}, {"ue5m3/decode", fp4_ue5m3_decode}, {"e8m0/decode", fp4_e8m0_decode}};

static bool check_encoder(const struct fp4_stored *t) {
    for (size_t i = 0; i < sizeof encoders / sizeof *encoders; i++) {
        if (strcmp(encoders[i].name, t->name) != 0)
            continue;
        cr_assert_eq(t->elements, 65536);
        static uint8_t ours[65536];
        for (uint32_t bits = 0; bits < 65536; bits++)
            ours[bits] = encoders[i].encode(encoders[i].input((uint16_t)bits));
        same_bytes("elements", t, ours, sizeof ours);
        return true;
    }
    return false;
}
static bool check_decoder(const struct fp4_stored *t) {
    for (size_t i = 0; i < sizeof decoders / sizeof *decoders; i++) {
        if (strcmp(decoders[i].name, t->name) != 0)
            continue;
        float *theirs = floats(t);
        for (size_t code = 0; code < t->elements; code++) {
            float ours = decoders[i].decode((uint8_t)code);
            cr_assert(fp4_bits(ours) == fp4_bits(theirs[code]) || (isnan(ours) && isnan(theirs[code])), "%s: code %zu is %a, ours %a",
                      t->name, code, (double)theirs[code], (double)ours);
        }
        free(theirs);
        vectors++;
        return true;
    }
    return false;
}

Test(formats, elements) {
    struct fp4_checkpoint *c = open_file("elements");
    for (size_t i = 0; i < fp4_checkpoint_count(c); i++) {
        const struct fp4_stored *t = fp4_checkpoint_at(c, i);
        if (!check_encoder(t) && !check_decoder(t))
            fprintf(stderr, "SKIPPED formats/elements: %s: not known here\n", t->name);
    }
    fp4_checkpoint_close(c);
    golden_count("formats", vectors);
}

Test(formats, stochastic) {
    struct fp4_checkpoint *c = open_file("stochastic");
    const struct fp4_stored *code = need(c, "", "code");
    float *x = floats(need(c, "", "x")), *u = floats(need(c, "", "u"));
    uint8_t *ours = malloc(code->elements);
    for (size_t i = 0; i < code->elements; i++)
        ours[i] = fp4_e2m1_encode(x[i], FP4_ROUND_STOCHASTIC, u[i]);
    same_bytes("stochastic", code, ours, code->elements);
    free(ours), free(x), free(u);
    fp4_checkpoint_close(c);
    golden_count("formats", vectors);
}

Test(formats, philox) {
    struct fp4_checkpoint *c = open_file("philox");
    for (size_t i = 0; i < fp4_checkpoint_count(c); i++) {
        const struct fp4_stored *counter = fp4_checkpoint_at(c, i);
        const char *slash = strrchr(counter->name, '/');
        if (!slash || strcmp(slash, "/counter") != 0)
            continue;
        char prefix[200];
        snprintf(prefix, sizeof prefix, "%.*s/", (int)(slash - counter->name), counter->name);
        const struct fp4_stored *key = need(c, prefix, "key"), *result = need(c, prefix, "result");
        const struct fp4_stored *rounds = find(c, prefix, "rounds"), *u24 = find(c, prefix, "u24");
        size_t n = counter->elements / 4;
        uint32_t *ours = malloc(n * 16);
        float *u = malloc(n * 16);
        for (size_t k = 0; k < n; k++) {
            uint32_t in[4], keys[2], r = 10;
            memcpy(in, counter->data + 16 * k, 16);
            memcpy(keys, key->data + 8 * k, 8);
            if (rounds)
                memcpy(&r, rounds->data + 4 * k, 4);
            fp4_philox4x32(in, keys, (int)r, ours + 4 * k);
            for (int lane = 0; lane < 4; lane++)
                u[4 * k + (size_t)lane] = (float)(ours[4 * k + (size_t)lane] >> 8) * 0x1p-24f;
        }
        same_bytes("philox", result, ours, n * 16);
        if (u24)
            same_floats("philox", u24, u, 4 * n, false);
        free(ours), free(u);
    }
    fp4_checkpoint_close(c);
    golden_count("formats", vectors);
}

/* A transform of groups of n: each of its `steps` is off by half an ulp of what the group's |x| can sum to. */
static void near_in_groups(size_t n, size_t elements, const float *x, const float *wanted, const float *got, double steps) {
    for (size_t first = 0; first < elements; first += n) {
        double sum = 0;
        for (size_t i = first; i < first + n; i++)
            sum += fabs((double)x[i]);
        for (size_t i = first; i < first + n && sum < FP4_FLT_MAX / (double)n; i++) /* else sums overflow */
            cr_assert(fabs((double)got[i] - (double)wanted[i]) <= 0x1p-24 * steps * sum + (double)n * 0x1p-149,
                      "size %zu, element %zu: %a, not %a", n, i, (double)got[i], (double)wanted[i]);
    }
}

Test(formats, hadamard) {
    struct fp4_checkpoint *c = open_file("hadamard");
    for (size_t i = 0; i < fp4_checkpoint_count(c); i++) {
        const struct fp4_stored *t = fp4_checkpoint_at(c, i);
        char prefix[200];
        size_t n = (size_t)strtoul(t->name, NULL, 10);
        snprintf(prefix, sizeof prefix, "%zu/", n);
        if (!strstr(t->name, "/x"))
            continue;
        float *x = floats(t), *y = floats(t), *sign = floats(need(c, prefix, "sign")), *y64 = floats(need(c, prefix, "y64"));
        double steps = log2((double)n) + 3; /* additions, product, fl(1/√n), y64 to fp32 */
        must(fp4_hadamard(n, t->elements / n, n, sign, y));
        same_floats("hadamard", need(c, prefix, "y"), y, t->elements, false);
        near_in_groups(n, t->elements, x, y64, y, steps / sqrt((double)n));
        must(fp4_hadamard_inverse(n, t->elements / n, n, sign, y));
        near_in_groups(n, t->elements, x, x, y, 2 * steps); /* n errors of the first way times 1/√n, and as many on the way back */
        free(x), free(y), free(sign), free(y64);
    }
    fp4_checkpoint_close(c);
    golden_count("formats", vectors);
}

/* ---- quantizers: one function for every file; what a case holds is compared ---- */

/* "nvfp4_te_2d" → nvfp4:te,2d: a format's name, its dialect, and modifiers at the end. */
static bool quantizer_of(const char *file, struct fp4_quantizer *q) {
    char spelling[400], modifiers[32] = "", stem[300];
    snprintf(stem, sizeof stem, "%s", file);
    for (;;) {
        snprintf(spelling, sizeof spelling, "%s%s", stem, modifiers);
        if (fp4_quantizer_parse(spelling, q) == FP4_OK)
            return true;
        char *colon = strchr(spelling, '_');
        if (colon && (*colon = ':', fp4_quantizer_parse(spelling, q) == FP4_OK))
            return true;
        char *last = strrchr(stem, '_');
        if (!last || (strcmp(last, "_sr") != 0 && strcmp(last, "_2d") != 0 && strcmp(last, "_away") != 0))
            return false;
        size_t used = strlen(modifiers);
        snprintf(modifiers + used, sizeof modifiers - used, ",%s", last + 1);
        *last = 0;
    }
}

/* What a case gave. */
struct result {
    struct fp4_qtensor packed;
    struct fp4_tensor tensor;
    float *x, *u, *y; /* y: fake quantization */
    size_t rows, cols;
};

static void run(const struct fp4_quantizer *q, const struct fp4_stored *x, const struct fp4_stored *u, struct result *r) {
    r->rows = x->shape[0];
    r->cols = x->elements / (r->rows ? r->rows : 1);
    r->x = floats(x);
    r->u = floats(u);
    r->y = malloc(x->elements * sizeof *r->y);
    must(fp4_quantize_u(q, r->rows, r->cols, r->x, r->u, &r->packed));
    must(fp4_fake_quantize_u(q, r->rows, r->cols, r->x, r->y, r->u));
    float *unpacked = malloc(x->elements * sizeof *unpacked);
    bool no_minus_zero = strcmp(q->format->name, "int4") == 0;
    must(fp4_dequantize(&r->packed, unpacked));
    for (size_t i = 0; i < x->elements; i++)
        cr_assert(fp4_bits(unpacked[i]) == fp4_bits(r->y[i]) || (no_minus_zero && unpacked[i] == 0.0f && r->y[i] == 0.0f),
                  "%s: element %zu: fake quantization gives %a, packed storage %a", x->name, i, (double)r->y[i], (double)unpacked[i]);
    free(unpacked);
    fp4_tensor_prepare(q, r->packed.amax, &r->tensor);
}
static void done(struct result *r) {
    fp4_qtensor_free(&r->packed);
    free(r->x), free(r->u), free(r->y);
}

/* Codes one a byte, from the packed rows. */
static uint8_t *codes_of(const struct result *r) {
    const struct fp4_format *f = r->packed.quantizer.format;
    size_t rows = f->flat ? 1 : r->rows, cols = f->flat ? r->rows * r->cols : r->cols, row_bytes = (cols * (size_t)f->code_bits + 7) / 8;
    uint8_t *codes = malloc(rows * cols);
    for (size_t row = 0; row < rows; row++)
        for (size_t c = 0; c < cols; c++) {
            uint8_t byte = r->packed.data[row * row_bytes + c * (size_t)f->code_bits / 8];
            bool high = (c % 2 == 1) != f->high_nibble_first;
            codes[row * cols + c] = f->code_bits == 8 ? byte : high ? byte >> 4 : byte & 15;
        }
    return codes;
}

static void check_codes(const char *file, const struct fp4_stored *t, const struct result *r) {
    uint8_t *codes = codes_of(r);
    for (size_t i = 0; t->dtype == FP4_I8 && i < t->elements; i++) /* two's complement nibbles as signed bytes */
        codes[i] = (uint8_t)(codes[i] < 8 ? codes[i] : codes[i] + 240);
    same_bytes(file, t, codes, r->rows * r->cols);
    free(codes);
}

/* Scales [rows, blocks]: a tile's scale stands on each of its rows. */
static void check_scales(const char *file, const struct fp4_stored *t, const struct result *r) {
    if (!r->packed.quantizer.two_d) {
        same_bytes(file, t, r->packed.scales, r->packed.scale_bytes);
        return;
    }
    size_t per_row = (r->cols + FP4_TILE - 1) / FP4_TILE;
    uint8_t *repeated = malloc(r->rows * per_row);
    for (size_t row = 0; row < r->rows; row++)
        memcpy(repeated + row * per_row, r->packed.scales + row / FP4_TILE * per_row, per_row);
    same_bytes(file, t, repeated, r->rows * per_row);
    free(repeated);
}

/* Values of the block scales, where a file has them. */
static void check_block_scale(const char *file, const struct fp4_stored *t, const struct result *r) {
    if (r->packed.quantizer.format->scale_bytes == 4) {
        same_bytes(file, t, r->packed.scales, r->packed.scale_bytes);
        return;
    }
    bool adacodec = strstr(file, "adacodec") != NULL; /* else tta_v1, whose byte is that of the inverse */
    float *values = malloc(r->packed.scale_bytes * sizeof *values + 1);
    for (size_t i = 0; i < r->packed.scale_bytes; i++)
        values[i] = adacodec ? fp4_adacodec_scale(r->packed.scales[i]) : ldexpf(1.0f, 127 - r->packed.scales[i]);
    same_floats(file, t, values, r->packed.scale_bytes, false);
    free(values);
}

/* pick4, err4, err6 of every block. */
static void check_choice(const char *file, const char *what, const struct fp4_stored *t, const struct result *r) {
    size_t per_row = (r->cols + 15) / 16, n = r->rows * per_row;
    uint8_t *picks = malloc(n), codes[16], scale;
    float *errors = malloc(n * sizeof *errors);
    for (size_t i = 0; i < n; i++) {
        size_t col = i % per_row * 16, width = r->cols - col < 16 ? r->cols - col : 16;
        struct fp4_four_over_six_choice choice;
        fp4_four_over_six_block(&r->tensor, width, r->x + i / per_row * r->cols + col, NULL, codes, &scale, &choice);
        picks[i] = choice.pick4;
        errors[i] = strcmp(what, "err4") == 0 ? choice.err4 : choice.err6;
    }
    if (strcmp(what, "pick4") == 0)
        same_bytes(file, t, picks, n);
    else
        same_floats(file, t, errors, n, false);
    free(picks), free(errors);
}

static void check_tensor(const char *file, const char *what, const struct fp4_stored *t, const struct result *r) {
    /* In the write-up's code the sign of a zero is an accident of its formula (the folder's README). */
    bool zeros = strcmp(r->packed.quantizer.format->name, "tta_v1") == 0 ||
                 (strcmp(r->packed.quantizer.format->name, "tta_v2") == 0 && r->u);
    if (strcmp(what, "codes") == 0)
        check_codes(file, t, r);
    else if (strcmp(what, "packed") == 0)
        same_bytes(file, t, r->packed.data, r->packed.data_bytes);
    else if (strcmp(what, "scales") == 0 || strcmp(what, "scale_codes") == 0)
        check_scales(file, t, r);
    else if (strcmp(what, "group_scale") == 0 || strcmp(what, "absmax") == 0)
        same_bytes(file, t, r->packed.scales, r->packed.scale_bytes);
    else if (strcmp(what, "block_scale") == 0)
        check_block_scale(file, t, r);
    else if (strcmp(what, "tensor_scale") == 0 || strcmp(what, "amax") == 0)
        same_floats(file, t, *what == 't' ? &r->packed.tensor_scale : &r->packed.amax, 1, false);
    else if (strcmp(what, "dequant") == 0)
        same_floats(file, t, r->y, r->rows * r->cols, zeros);
    else if (strcmp(what, "pick4") == 0 || strcmp(what, "err4") == 0 || strcmp(what, "err6") == 0)
        check_choice(file, what, t, r);
    else if (strcmp(what, "x") != 0 && strcmp(what, "u") != 0)
        fprintf(stderr, "SKIPPED formats/%s: %s: not known here\n", file, t->name);
}

/* All tensors `prefix`NAME of a file, for one quantizer. */
static void check_case(const char *file, const struct fp4_checkpoint *c, const char *prefix, struct fp4_quantizer q,
                       const struct fp4_stored *x, const struct fp4_stored *u) {
    if (u)
        q.rounding = FP4_ROUND_STOCHASTIC;
    struct result r = {0};
    run(&q, x, u, &r);
    size_t before = vectors;
    for (size_t i = 0; i < fp4_checkpoint_count(c); i++) {
        const struct fp4_stored *t = fp4_checkpoint_at(c, i);
        size_t length = strlen(prefix);
        if (strncmp(t->name, prefix, length) == 0 && !strchr(t->name + length, '/'))
            check_tensor(file, t->name + length, t, &r);
    }
    cr_assert_gt(vectors, before, "%s: case %s has nothing to compare", file, prefix);
    done(&r);
}

/* Every case of a file: the prefixes of its /dequant tensors. Inputs are in the same file or in FORMAT_inputs. With `dialects`
 * the prefix is case/DIALECT/. */
static void check_file(const char *file, const struct fp4_quantizer *q) {
    struct fp4_checkpoint *c = open_file(file), *inputs = NULL;
    char name[300];
    for (size_t i = 0; i < fp4_checkpoint_count(c); i++) {
        const char *slash = strstr(fp4_checkpoint_at(c, i)->name, "/dequant");
        if (!slash)
            continue;
        snprintf(name, sizeof name, "%.*s/", (int)(slash - fp4_checkpoint_at(c, i)->name), fp4_checkpoint_at(c, i)->name);
        const struct fp4_stored *x = find(c, name, "x"), *u = find(c, name, "u");
        if (!x) {
            char other[300];
            snprintf(other, sizeof other, "%s_inputs", q->format->name);
            inputs = inputs ? inputs : open_file(other);
            x = need(inputs, name, "x");
            u = find(inputs, name, "u");
        }
        check_case(file, c, name, *q, x, u);
    }
    if (inputs)
        fp4_checkpoint_close(inputs);
    fp4_checkpoint_close(c);
}

/* Files that hold several dialects: case/x and case/MODE/…; `spell` gives MODE's quantizer. */
static void check_modes(const char *file, bool (*spell)(const char *mode, struct fp4_quantizer *q)) {
    struct fp4_checkpoint *c = open_file(file);
    char prefix[300];
    for (size_t i = 0; i < fp4_checkpoint_count(c); i++) {
        const char *name = fp4_checkpoint_at(c, i)->name, *end = strstr(name, "/dequant");
        if (!end)
            continue;
        const char *mode = memrchr(name, '/', (size_t)(end - name));
        cr_assert_not_null(mode, "%s: %s: no mode", file, name);
        char one[100];
        struct fp4_quantizer q;
        snprintf(one, sizeof one, "%.*s", (int)(end - mode - 1), mode + 1);
        snprintf(prefix, sizeof prefix, "%.*s/", (int)(mode - name), name);
        if (!spell(one, &q)) {
            fprintf(stderr, "SKIPPED formats/%s: %s: no such dialect\n", file, one);
            continue;
        }
        const struct fp4_stored *x = need(c, prefix, "x");
        snprintf(prefix, sizeof prefix, "%.*s/", (int)(end - name), name);
        check_case(file, c, prefix, q, x, NULL);
    }
    fp4_checkpoint_close(c);
}

static bool int4_mode(const char *mode, struct fp4_quantizer *q) {
    char spelling[FP4_SPELLING_MAX];
    snprintf(spelling, sizeof spelling, "int4:%.60s", mode);
    return fp4_quantizer_parse(spelling, q) == FP4_OK;
}
/* "nf4_cuda" → nf4:cuda, "fp4_cpu" → bnbfp4:cpu */
static bool bnb_mode(const char *mode, struct fp4_quantizer *q) {
    char spelling[FP4_SPELLING_MAX];
    bool fp4 = strncmp(mode, "fp4_", 4) == 0;
    snprintf(spelling, sizeof spelling, "%s:%.60s", fp4 ? "bnbfp4" : "nf4", mode + 4);
    return (fp4 || strncmp(mode, "nf4_", 4) == 0) && fp4_quantizer_parse(spelling, q) == FP4_OK;
}

Test(formats, int4) {
    check_modes("int4", int4_mode);
    golden_count("formats", vectors);
}

Test(formats, bitsandbytes) {
    check_modes("bitsandbytes", bnb_mode);
    struct fp4_checkpoint *c = open_file("bitsandbytes");
    static const char *const tables[][2] = {{"nf4_table", "nf4:cuda"}, {"fp4_table", "bnbfp4:cuda"}};
    for (int i = 0; i < 2; i++) { /* a block of absmax 1 shows the table */
        struct fp4_quantizer q;
        uint8_t codes[16];
        float one = 1.0f, values[16];
        must(fp4_quantizer_parse(tables[i][1], &q));
        for (uint8_t code = 0; code < 16; code++)
            codes[code] = code;
        struct fp4_tensor t;
        fp4_tensor_prepare(&q, 1.0f, &t);
        t.dialect->decode(&t, 16, codes, (const uint8_t *)&one, values);
        same_floats("bitsandbytes", need(c, "", tables[i][0]), values, 16, true);
    }
    fp4_checkpoint_close(c);
    golden_count("formats", vectors);
}

Test(formats, fp8_tensor) {
    struct fp4_quantizer q;
    must(fp4_quantizer_parse("fp8", &q));
    check_file("fp8_tensor", &q);
    golden_count("formats", vectors);
}

/* All other files of the folder: the name is the quantizer. */
static bool has_own_test(const char *stem) {
    static const char *const own[] = {"elements", "stochastic", "philox", "hadamard", "int4", "bitsandbytes", "fp8_tensor"};
    for (size_t i = 0; i < sizeof own / sizeof *own; i++)
        if (strcmp(own[i], stem) == 0)
            return true;
    size_t length = strlen(stem);
    return length > 7 && strcmp(stem + length - 7, "_inputs") == 0;
}

Test(formats, dialects) {
    if (!golden_folder())
        skip_test("formats", "no golden folder; set FP4LAB_GOLDEN");
    char folder[1100], stem[256];
    snprintf(folder, sizeof folder, "%s/formats", golden_folder());
    DIR *dir = opendir(folder);
    if (!dir)
        skip_test("formats", "not in the golden folder");
    size_t files = 0;
    for (struct dirent *entry; (entry = readdir(dir));) {
        const char *dot = strstr(entry->d_name, ".safetensors");
        struct fp4_quantizer q;
        if (!dot)
            continue;
        snprintf(stem, sizeof stem, "%.*s", (int)(dot - entry->d_name), entry->d_name);
        if (has_own_test(stem))
            continue;
        if (!quantizer_of(stem, &q)) {
            fprintf(stderr, "SKIPPED formats/%s: no such dialect\n", stem);
            continue;
        }
        check_file(stem, &q);
        files++;
    }
    closedir(dir);
    cr_assert_gt(files, 0, "%s: no file was recognised", folder);
    golden_count("formats", vectors);
}
