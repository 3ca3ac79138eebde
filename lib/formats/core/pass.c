/* One pass over a tensor: units of work, tiles, random numbers, packing. */
#include "lib/formats/core/driver.h"
#include "lib/kernels/cpu/kernels.h"

#include <string.h>

enum { TASK_ELEMENTS = 32768 };

/* A unit in hand. */
struct unit {
    size_t row, col, rows, n; /* top left corner, size */
    float u[FP4_SEGMENT];     /* [rows, n], stochastic rounding only */
};

void fp4_tensor_pass_shape(struct fp4_tensor_pass *pass, const struct fp4_quantizer *q, size_t rows, size_t cols) {
    const struct fp4_format *f = q->format;
    pass->format = f;
    pass->rows = f->flat ? 1 : rows;
    pass->cols = f->flat ? rows * cols : cols;
    pass->band = q->two_d ? FP4_TILE : 1;
    size_t most = FP4_SEGMENT / pass->band, block = fp4_block_of(q);
    pass->block = block ? block : most;
    pass->segment = most / pass->block * pass->block;
    pass->segments = (pass->cols + pass->segment - 1) / pass->segment;
    pass->units = (pass->rows + pass->band - 1) / pass->band * pass->segments;
    size_t width = pass->cols < pass->segment ? pass->cols : pass->segment;
    pass->per_task = TASK_ELEMENTS / (pass->band * width) + 1;
    pass->blocks_per_row = block ? (pass->cols + block - 1) / block : 0;
    pass->row_bytes = (pass->cols * (size_t)f->code_bits + 7) / 8;
}

static void uniforms(const struct fp4_tensor_pass *pass, struct unit *unit) {
    for (size_t r = 0; r < unit->rows; r++) {
        size_t first = (unit->row + r) * pass->cols + unit->col;
        if (pass->u)
            memcpy(unit->u + r * unit->n, pass->u + first, unit->n * sizeof(float));
        else
            pass->kernels->uniform(pass->random, first, unit->n, unit->u + r * unit->n);
    }
}

/* Codes of one row of a block ↔ bytes at element `at` of a row, which begins a byte. */
static void pack_row(const struct fp4_format *f, uint8_t *bytes, size_t at, size_t n, const uint8_t *codes) {
    if (f->code_bits != 4) {
        size_t width = (size_t)f->code_bits / 8;
        memcpy(bytes + at * width, codes, n * width);
        return;
    }
    int even = f->high_nibble_first ? 4 : 0, odd = 4 - even;
    bytes += at / 2;
    for (size_t i = 0; i < n; i += 2)
        bytes[i / 2] = (uint8_t)((codes[i] & 15) << even | (i + 1 < n ? (codes[i + 1] & 15) << odd : 0));
}

static void unpack_row(const struct fp4_format *f, const uint8_t *bytes, size_t at, size_t n, uint8_t *codes) {
    if (f->code_bits != 4) {
        size_t width = (size_t)f->code_bits / 8;
        memcpy(codes, bytes + at * width, n * width);
        return;
    }
    int even = f->high_nibble_first ? 4 : 0;
    bytes += at / 2;
    for (size_t i = 0; i < n; i++)
        codes[i] = bytes[i / 2] >> (i % 2 ? 4 - even : even) & 15;
}

/* One block of n columns at column c of the unit; rows of a tile lie one after the other in the buffers. */
static void one_block(const struct fp4_tensor_pass *pass, const struct unit *unit, size_t c, size_t n) {
    uint8_t codes[2 * FP4_SEGMENT], own_scale[8];
    float tile[FP4_TILE * FP4_TILE], tile_u[FP4_TILE * FP4_TILE];
    const struct fp4_format *f = pass->format;
    const struct fp4_dialect *d = pass->tensor.dialect;
    bool random = pass->tensor.q.rounding == FP4_ROUND_STOCHASTIC && pass->work != FP4_WORK_UNPACK, flat = unit->rows == 1;
    size_t width = f->code_bits == 16 ? 2 : 1, col = unit->col + c, total = unit->rows * n;
    uint8_t *scale = own_scale;
    if (pass->work != FP4_WORK_FAKE && f->scale_bytes)
        scale = pass->scales + (unit->row / pass->band * pass->blocks_per_row + col / pass->block) * f->scale_bytes;
    if (pass->work == FP4_WORK_UNPACK) {
        for (size_t r = 0; r < unit->rows; r++)
            unpack_row(f, pass->data + (unit->row + r) * pass->row_bytes, col, n, codes + r * n * width);
    } else {
        const float *x = pass->x + unit->row * pass->cols + col, *u = unit->u + c;
        for (size_t r = 0; r < unit->rows && !flat; r++) {
            memcpy(tile + r * n, x + r * pass->cols, n * sizeof(float));
            if (random)
                memcpy(tile_u + r * n, u + r * unit->n, n * sizeof(float));
        }
        d->encode(&pass->tensor, total, flat ? x : tile, !random ? NULL : flat ? u : tile_u, codes, scale);
    }
    if (pass->work == FP4_WORK_PACK) {
        for (size_t r = 0; r < unit->rows; r++)
            pack_row(f, pass->data + (unit->row + r) * pass->row_bytes, col, n, codes + r * n * width);
        return;
    }
    float *y = pass->y + unit->row * pass->cols + col;
    d->decode(&pass->tensor, total, codes, scale, flat ? y : tile);
    for (size_t r = 0; r < unit->rows && !flat; r++)
        memcpy(y + r * pass->cols, tile + r * n, n * sizeof(float));
}

static void one_unit(const struct fp4_tensor_pass *pass, size_t index) {
    struct unit unit;
    unit.row = index / pass->segments * pass->band;
    unit.col = index % pass->segments * pass->segment;
    unit.rows = pass->rows - unit.row < pass->band ? pass->rows - unit.row : pass->band;
    unit.n = pass->cols - unit.col < pass->segment ? pass->cols - unit.col : pass->segment;
    bool random = pass->tensor.q.rounding == FP4_ROUND_STOCHASTIC && pass->work != FP4_WORK_UNPACK;
    if (random)
        uniforms(pass, &unit);
    if (pass->work == FP4_WORK_FAKE && pass->tensor.dialect->fake) {
        size_t at = unit.row * pass->cols + unit.col;
        pass->tensor.dialect->fake(&pass->tensor, unit.rows, unit.n, pass->cols, pass->x + at, random ? unit.u : NULL,
                                   pass->y + at);
        return;
    }
    for (size_t c = 0; c < unit.n; c += pass->block)
        one_block(pass, &unit, c, unit.n - c < pass->block ? unit.n - c : pass->block);
}

static void run_task(void *context, size_t task) {
    const struct fp4_tensor_pass *pass = context;
    size_t first = task * pass->per_task, end = first + pass->per_task;
    for (size_t i = first; i < end && i < pass->units; i++)
        one_unit(pass, i);
}

void fp4_tensor_pass_run(struct fp4_tensor_pass *pass) {
    fp4_parallel_for((pass->units + pass->per_task - 1) / pass->per_task, run_task, pass);
}
