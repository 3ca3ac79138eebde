/* fp4lab quantize: what formats do to the tensors of a checkpoint. */
#include <math.h>
#include <string.h>
#include <unistd.h>

#include "tools/tool.h"

enum { MAX_FORMATS = 32 };

struct request {
    struct fp4_hub_found found;
    const char *path, *tensor, *out;
    size_t seed;
    bool all, each, force;
    enum tool_format format;
    size_t n_formats;
    struct fp4_quantizer formats[MAX_FORMATS];
};

struct measure {
    size_t tensors, elements, bytes;
    double error, power, largest; /* Σ(y − x)², Σx², max|y − x| */
};

static void matrix_of(const struct fp4_stored *t, size_t *rows, size_t *cols) {
    *cols = t->n_dims ? t->shape[t->n_dims - 1] : 1;
    *rows = *cols ? t->elements / *cols : 0;
}

/* The weights of linear layers: matrices but for embedding and head, unless asked for. */
static bool is_selected(const struct request *r, const struct fp4_stored *t) {
    static const char *const ends[] = {"token_embd.weight", "output.weight", "lm_head.weight"};
    if (r->tensor)
        return strcmp(t->name, r->tensor) == 0;
    if (t->n_dims != 2 || t->elements == 0 || (t->dtype > FP4_F64 && t->dtype <= FP4_BOOL))
        return false;
    bool outer = strstr(t->name, "embed") != NULL;
    for (size_t i = 0; i < sizeof ends / sizeof *ends; i++)
        outer = outer || strcmp(t->name, ends[i]) == 0;
    return r->all || !outer;
}

/* y = what x becomes, in x's own basis; *bytes in packed storage. */
static fp4_status apply(const struct fp4_quantizer *q, const struct fp4_random *random, size_t rows, size_t cols, const float *x, float *y,
                        size_t *bytes) {
    if (fp4_quantizer_is_none(q)) {
        *bytes = rows * cols * sizeof *x;
        memcpy(y, x, *bytes);
        return FP4_OK;
    }
    struct fp4_qtensor packed = {0};
    FP4_TRY(fp4_quantize(q, rows, cols, x, random, &packed));
    fp4_status status = fp4_dequantize(&packed, y);
    *bytes = fp4_qtensor_bytes(&packed);
    fp4_qtensor_free(&packed);
    return status == FP4_OK ? fp4_hadamard_undo((size_t)q->hadamard, random->seed, rows, cols, y) : status;
}

static void compare(size_t n, const float *x, const float *y, struct measure *m) {
    for (size_t i = 0; i < n; i++) {
        double e = (double)y[i] - (double)x[i];
        m->error += e * e;
        m->power += (double)x[i] * (double)x[i];
        m->largest = fmax(m->largest, fabs(e));
    }
    m->elements += n;
    m->tensors++;
}

static void add(struct measure *sum, const struct measure *m) {
    sum->tensors += m->tensors;
    sum->elements += m->elements;
    sum->bytes += m->bytes;
    sum->error += m->error;
    sum->power += m->power;
    sum->largest = fmax(sum->largest, m->largest);
}

static json_t *row_of(const char *tensor, const struct fp4_quantizer *q, const struct measure *m) {
    char spelling[FP4_SPELLING_MAX];
    fp4_quantizer_spell(q, spelling);
    json_t *row = json_object();
    if (tensor)
        json_object_set_new(row, "tensor", json_string(tensor));
    json_object_set_new(row, "format", json_string(spelling));
    if (!tensor)
        json_object_set_new(row, "tensors", json_integer((json_int_t)m->tensors));
    json_object_set_new(row, "elements", json_integer((json_int_t)m->elements));
    json_object_set_new(row, "bytes", json_integer((json_int_t)m->bytes));
    json_object_set_new(row, "bits_per_element", tool_number(8.0 * (double)m->bytes / (double)m->elements));
    json_object_set_new(row, "relative_error", tool_number(sqrt(m->error / m->power)));
    json_object_set_new(row, "sqnr_db", tool_number(10 * log10(m->power / m->error)));
    json_object_set_new(row, "mse", tool_number(m->error / (double)m->elements));
    json_object_set_new(row, "max_error", tool_number(m->largest));
    return row;
}

/* Every format on one tensor; the values of the last stay in y. */
static fp4_status measure_tensor(const struct request *r, const struct fp4_stored *t, size_t index, float *x, float *y, struct measure *sums,
                                 json_t *table) {
    size_t rows, cols;
    matrix_of(t, &rows, &cols);
    FP4_TRY(fp4_stored_to_f32(t, 0, t->elements, x));
    for (size_t f = 0; f < r->n_formats; f++) {
        struct fp4_random random = {.seed = (uint32_t)r->seed, .stream = FP4_STREAM_ROUND, .layer = (uint32_t)index};
        struct measure m = {0};
        fp4_status status = apply(&r->formats[f], &random, rows, cols, x, y, &m.bytes);
        if (status != FP4_OK)
            return fp4_fail(status, "%s: tensor %s: %s", r->path, t->name, fp4_last_error());
        compare(t->elements, x, y, &m);
        add(&sums[f], &m);
        if (r->each)
            json_array_append_new(table, row_of(t->name, &r->formats[f], &m));
    }
    return FP4_OK;
}

/* How the tensor goes into the output file: quantized values, or as stored, or fp32 where safetensors lacks the type. */
static fp4_status emit(const struct fp4_stored *t, float *y, bool selected, struct fp4_tensor_out *out) {
    *out = (struct fp4_tensor_out){.name = t->name, .dtype = FP4_F32, .n_dims = t->n_dims};
    memcpy(out->shape, t->shape, sizeof out->shape);
    if (!selected && t->dtype <= FP4_BOOL) {
        out->dtype = t->dtype;
        out->data = t->data;
        return FP4_OK;
    }
    float *copy;
    FP4_TRY(FP4_NEW(copy, t->elements));
    out->data = copy;
    if (selected)
        memcpy(copy, y, t->elements * sizeof *y);
    else
        FP4_TRY(fp4_stored_to_f32(t, 0, t->elements, copy));
    return FP4_OK;
}

struct work {
    float *x, *y;
    struct fp4_tensor_out *out;
    json_t *table;
    struct measure sums[MAX_FORMATS];
    size_t stored_bytes;
};

static fp4_status walk(const struct request *r, const struct fp4_checkpoint *c, struct work *w) {
    size_t n = fp4_checkpoint_count(c), largest = 0, total = 0, done = 0;
    for (size_t i = 0; i < n; i++) {
        const struct fp4_stored *t = fp4_checkpoint_at(c, i);
        if (!is_selected(r, t))
            continue;
        total += t->elements;
        largest = t->elements > largest ? t->elements : largest;
    }
    if (total == 0)
        return r->tensor ? fp4_fail(FP4_ERR_ARG, "%s: no tensor %s with elements; 'fp4lab info' lists what there is", r->path, r->tensor)
                         : fp4_fail(FP4_ERR_ARG, "%s: no weight matrices; try --all or --tensor", r->path);
    FP4_TRY(FP4_NEW(w->x, largest));
    FP4_TRY(FP4_NEW(w->y, largest));
    FP4_TRY(FP4_NEW(w->out, n));
    struct fp4_progress progress;
    fp4_progress_begin(&progress, "quantizing", (double)total);
    fp4_status status = FP4_OK;
    for (size_t i = 0; i < n && status == FP4_OK; i++) {
        const struct fp4_stored *t = fp4_checkpoint_at(c, i);
        bool selected = is_selected(r, t);
        if (selected) {
            status = measure_tensor(r, t, i, w->x, w->y, w->sums, w->table);
            w->stored_bytes += t->bytes;
            fp4_progress_update(&progress, (double)(done += t->elements));
        }
        if (status == FP4_OK && r->out)
            status = emit(t, w->y, selected, &w->out[i]);
    }
    fp4_progress_end(&progress);
    if (status == FP4_OK && r->out)
        status = fp4_safetensors_write(r->out, w->out, n);
    return status;
}

static fp4_status report(const struct request *r, struct work *w) {
    if (!r->each)
        for (size_t f = 0; f < r->n_formats; f++)
            json_array_append_new(w->table, row_of(NULL, &r->formats[f], &w->sums[f]));
    json_t *fields = json_pack("{s:o,s:I,s:I,s:I}", "file", tool_text(r->path, strlen(r->path)), "tensors_count",
                               (json_int_t)w->sums[0].tensors, "elements", (json_int_t)w->sums[0].elements, "stored_bytes",
                               (json_int_t)w->stored_bytes);
    if (r->out)
        json_object_set_new(fields, "written", tool_text(r->out, strlen(r->out)));
    return tool_print(r->format, fields, r->each ? "tensors" : "formats", json_incref(w->table));
}

static fp4_status run(const struct request *r) {
    struct fp4_checkpoint *c;
    FP4_TRY(fp4_checkpoint_open(r->path, &c));
    struct work w = {.table = json_array()};
    fp4_status status = walk(r, c, &w);
    if (status == FP4_OK)
        status = report(r, &w);
    for (size_t i = 0; w.out && i < fp4_checkpoint_count(c); i++)
        if (w.out[i].data && w.out[i].data != fp4_checkpoint_at(c, i)->data)
            fp4_free((void *)(uintptr_t)w.out[i].data);
    fp4_free(w.out);
    fp4_free(w.x);
    fp4_free(w.y);
    json_decref(w.table);
    fp4_checkpoint_close(c);
    return status;
}

static fp4_status read_formats(const struct tool_line *line, struct request *r) {
    FP4_TRY(tool_locate(line->args[0], &r->found));
    r->path = r->found.path;
    r->n_formats = line->n_args - 1;
    for (size_t i = 0; i < r->n_formats; i++)
        FP4_TRY(fp4_quantizer_parse(line->args[i + 1], &r->formats[i]));
    if (r->out && r->n_formats != 1)
        return fp4_fail(FP4_ERR_ARG, "--out %s: takes one format, %zu are given", r->out, r->n_formats);
    if (r->out && !r->force && access(r->out, F_OK) == 0)
        return fp4_fail(FP4_ERR_ARG, "%s: is there already; --force writes over it", r->out);
    return FP4_OK;
}

int command_quantize(int argc, char **argv) {
    struct request r = {.seed = 1};
    bool done;
    const struct tool_option options[] = {
        {"tensor", "NAME", TOOL_STRING, &r.tensor, "this tensor alone"},
        {"all", NULL, TOOL_FLAG, &r.all, "every matrix: embedding and head too"},
        {"each", NULL, TOOL_FLAG, &r.each, "a row for each tensor, not only for each format"},
        {"out", "FILE", TOOL_STRING, &r.out, "write the checkpoint with the dequantized values as safetensors (names as in the source)"},
        {"force", NULL, TOOL_FLAG, &r.force, "write over a file that is there"},
        {"seed", "N", TOOL_COUNT, &r.seed, "seed of stochastic rounding and Hadamard signs (default: 1)"}};
    struct tool_line line = {
        .name = "quantize", .positional = "FILE FORMAT...", .min_args = 2, .max_args = 1 + MAX_FORMATS, .options = options,
        .n_options = sizeof options / sizeof *options, .lists_formats = true,
        .summary = "Quantizes the weights of a checkpoint's linear layers, blocks along rows, and shows error and packed bytes.",
        .notes = "relative_error is the norm of the difference over the norm of the tensor; sqnr_db the same in decibels. bytes are those of\n"
                 "the packed codes and scales in memory."};
    if (tool_parse(&line, argc, argv, &done) != FP4_OK)
        return tool_error();
    if (done)
        return TOOL_OK;
    r.format = line.format;
    return read_formats(&line, &r) == FP4_OK && run(&r) == FP4_OK ? TOOL_OK : tool_error();
}
