/* GPTQ (Frantar, Ashkboos, Hoefler, Alistarh, ICLR 2023): columns are rounded one after the other, and each column's error is spread
 * over the columns to come so that the layer's output on calibration inputs changes least. With H = Xᵀ X + damping and U the upper
 * Cholesky factor of H⁻¹, column i gives e = (w_i − q_i)/U_ii and w_j −= e·U_ij for j > i (their algorithm 1, lazy batches of 128).
 *
 * Block by block through the model: a block's Hessians are taken on inputs that the already quantized blocks before it produce. Scales
 * are taken when a scale block starts, from the weights as the errors so far have left them; the tensor scale is that of the layer's
 * original weights. No activation order. With a Hadamard transform in the quantizer, H and W are in the transformed basis. */
#include "lib/methods/core/method.h"

#include "lib/backend/gemm.h"
#include "lib/backend/lapack.h"

#include <math.h>
#include <string.h>

enum { LAZY = 128, ROWS = 16, SLOTS = 4 };

/* Linear layers of a block that read the same input share a Hessian. */
static size_t slot_of(enum fp4_linear_kind kind) {
    switch (kind) {
    case FP4_LIN_O:
        return 1;
    case FP4_LIN_GATE:
    case FP4_LIN_UP:
        return 2;
    case FP4_LIN_DOWN:
        return 3;
    default:
        return 0;
    }
}

struct gptq {
    struct fp4_model *model;
    const struct fp4_method_options *o;
    float *hidden;                          /* [n_sequences, length, n_embd] */
    float *hessian[SLOTS];                  /* [n_in, n_in] of the current block; NULL: not seen */
    const struct fp4_linear *reader[SLOTS]; /* the layer whose calls are counted */
    float sign[128];
};

static fp4_status accumulate(void *context, const struct fp4_linear *linear, const float *x, size_t n_tokens) {
    struct gptq *g = context;
    size_t slot = slot_of(linear->kind), k = linear->n_in, turn = (size_t)g->o->weights.hadamard;
    if (!method_wants(linear))
        return FP4_OK;
    if (!g->reader[slot]) {
        FP4_TRY(FP4_NEW(g->hessian[slot], k * k));
        g->reader[slot] = linear;
    }
    if (g->reader[slot] != linear)
        return FP4_OK;
    float *turned = NULL;
    if (turn) {
        FP4_TRY(FP4_NEW(turned, n_tokens * k));
        memcpy(turned, x, sizeof *turned * n_tokens * k);
        fp4_status status = fp4_hadamard(turn, n_tokens, k, g->sign, turned);
        if (status != FP4_OK) {
            fp4_free(turned);
            return status;
        }
        x = turned;
    }
    fp4_gemm(true, false, k, k, n_tokens, 1, x, k, x, k, 1, g->hessian[slot], k);
    fp4_free(turned);
    return FP4_OK;
}

/* u [k,k]: upper Cholesky factor of (H + damping)⁻¹. An input that never occurs gets 1 on the diagonal. */
static fp4_status inverse_factor(size_t k, const float *hessian, double damping, float *u) {
    double *h, mean = 0;
    FP4_TRY(FP4_NEW(h, k * k));
    for (size_t i = 0; i < k * k; i++)
        h[i] = (double)hessian[i];
    for (size_t i = 0; i < k; i++) {
        if (h[i * k + i] == 0)
            h[i * k + i] = 1;
        mean += h[i * k + i] / (double)k;
    }
    for (size_t i = 0; i < k; i++)
        h[i * k + i] += damping * mean;
    fp4_status status = fp4_inverse_cholesky_upper(k, h);
    for (size_t i = 0; status == FP4_OK && i < k; i++)
        for (size_t j = 0; j < k; j++)
            u[i * k + j] = j < i ? 0 : (float)h[i * k + j];
    fp4_free(h);
    return status;
}

/* One lazy batch of columns [first, first + width) of all rows. */
struct batch {
    const struct fp4_tensor *tensor;
    float *w, *error; /* [n_out, k], [n_out, LAZY] */
    const float *u;   /* [k, k] */
    size_t n_out, k, first, width;
};

static void round_row(const struct batch *b, float *w, float *error) {
    struct method_grid grid = {0};
    for (size_t i = 0; i < b->width; i++) {
        size_t column = b->first + i;
        if (column % b->tensor->block == 0)
            method_grid_of(b->tensor, b->k - column < b->tensor->block ? b->k - column : b->tensor->block, w + column, &grid);
        const float *u = b->u + column * b->k;
        float rounded = method_grid_round(&grid, w[column]), e = (w[column] - rounded) / u[column];
        w[column] = rounded;
        error[i] = e;
        for (size_t j = column + 1; j < b->first + b->width; j++)
            w[j] -= e * u[j];
    }
}

static void round_rows(void *context, size_t task) {
    const struct batch *b = context;
    for (size_t row = task * ROWS; row < b->n_out && row < (task + 1) * ROWS; row++)
        round_row(b, b->w + row * b->k, b->error + row * LAZY);
}

static fp4_status round_matrix(const struct fp4_quantizer *q, size_t n_out, size_t k, const float *u, float *w) {
    struct fp4_tensor tensor;
    float *error, amax = 0;
    for (size_t i = 0; i < n_out * k; i++)
        amax = fmaxf(amax, fabsf(w[i]));
    FP4_TRY(method_grid_prepare(q, amax, &tensor));
    if (tensor.block == 0 || LAZY % tensor.block)
        return fp4_fail(FP4_ERR_UNSUPPORTED, "gptq: scale blocks of %zu do not divide batches of %d columns", tensor.block, LAZY);
    FP4_TRY(FP4_NEW(error, n_out * LAZY));
    struct batch b = {&tensor, w, error, u, n_out, k, 0, 0};
    for (; b.first < k; b.first += LAZY) {
        b.width = k - b.first < LAZY ? k - b.first : LAZY;
        fp4_parallel_for((n_out + ROWS - 1) / ROWS, round_rows, &b);
        size_t rest = b.first + b.width;
        if (rest < k)
            fp4_gemm(false, false, n_out, k - rest, b.width, -1, error, LAZY, u + b.first * k + rest, k, 1, w + rest, k);
    }
    fp4_free(error);
    return FP4_OK;
}

static fp4_status quantize_layer(struct gptq *g, struct fp4_linear *linear, struct fp4_method_result *result) {
    struct fp4_param *param = fp4_model_param(g->model, linear->param);
    size_t k = linear->n_in, turn = (size_t)g->o->weights.hadamard;
    float *w = NULL, *u = NULL;
    fp4_status status = FP4_NEW(w, param->elements);
    if (status == FP4_OK)
        status = FP4_NEW(u, k * k);
    if (status == FP4_OK)
        status = fp4_model_get(g->model, param, w);
    if (status == FP4_OK) /* same layout as any packing of this layer: its bytes are the measured ones */
        status = method_pack(linear, g->o, w, NULL, result);
    if (status == FP4_OK && turn)
        status = fp4_hadamard(turn, linear->n_out, k, g->sign, w);
    if (status == FP4_OK)
        status = inverse_factor(k, g->hessian[slot_of(linear->kind)], g->o->damping, u);
    if (status == FP4_OK)
        status = round_matrix(&g->o->weights, linear->n_out, k, u, w);
    if (status == FP4_OK)
        status = method_turn_back(linear, g->o, w);
    if (status == FP4_OK)
        status = fp4_model_set(g->model, param, w);
    fp4_free(w);
    fp4_free(u);
    return status;
}

/* Every sequence through one block; keep: its outputs become the next block's inputs. */
static fp4_status run_sequences(struct gptq *g, size_t layer, bool keep) {
    size_t n = g->o->length * fp4_model_config(g->model)->n_embd;
    float *copy;
    FP4_TRY(FP4_NEW(copy, n));
    fp4_status status = FP4_OK;
    for (size_t s = 0; status == FP4_OK && s < g->o->n_sequences; s++) {
        float *hidden = g->hidden + s * n;
        if (!keep)
            memcpy(copy, hidden, sizeof *copy * n);
        status = fp4_model_block(g->model, layer, g->o->length, keep ? hidden : copy);
    }
    fp4_free(copy);
    return status;
}

static void forget_hessians(struct gptq *g) {
    for (size_t s = 0; s < SLOTS; s++) {
        fp4_free(g->hessian[s]);
        g->hessian[s] = NULL;
        g->reader[s] = NULL;
    }
}

static fp4_status quantize_block(struct gptq *g, size_t layer, struct fp4_method_result *result) {
    fp4_model_set_hook(g->model, accumulate, g);
    fp4_status status = run_sequences(g, layer, false);
    fp4_model_set_hook(g->model, NULL, NULL);
    for (size_t i = 0; status == FP4_OK && i < fp4_model_n_linear(g->model); i++) {
        struct fp4_linear *linear = fp4_model_linear(g->model, i);
        if (linear->layer != layer || !method_wants(linear))
            continue;
        status = quantize_layer(g, linear, result);
        method_set_activations(linear, g->o);
    }
    forget_hessians(g);
    return status == FP4_OK ? run_sequences(g, layer, true) : status;
}

static fp4_status apply(struct fp4_model *m, const struct fp4_method_options *o, struct fp4_method_result *result) {
    *result = (struct fp4_method_result){0};
    struct fp4_tensor tensor;
    if (fp4_quantizer_is_none(&o->weights) || !o->calibration || o->n_sequences == 0 || o->length == 0)
        return fp4_fail(FP4_ERR_ARG, "gptq: needs a weight quantizer and calibration tokens");
    FP4_TRY(method_grid_prepare(&o->weights, 1, &tensor)); /* before any work: can this quantizer be used? */
    const struct fp4_config *config = fp4_model_config(m);
    struct gptq g = {.model = m, .o = o};
    FP4_TRY(FP4_NEW(g.hidden, o->n_sequences * o->length * config->n_embd));
    if (o->weights.hadamard)
        fp4_hadamard_signs(o->seed, (size_t)o->weights.hadamard, g.sign);
    fp4_model_set_policy(m, NULL, true);
    fp4_status status = FP4_OK;
    for (size_t s = 0; status == FP4_OK && s < o->n_sequences; s++)
        status = fp4_model_embed(m, o->calibration + s * o->length, o->length, g.hidden + s * o->length * config->n_embd);
    for (size_t layer = 0; status == FP4_OK && layer < config->n_layer; layer++)
        status = quantize_block(&g, layer, result);
    fp4_free(g.hidden);
    return status;
}

const struct fp4_method fp4_method_gptq = {
    .name = "gptq",
    .summary = "second-order error compensation from calibration text",
    .source = "Frantar et al., GPTQ, ICLR 2023, algorithm 1",
    .needs_calibration = true,
    .apply = apply,
};
