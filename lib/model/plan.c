/* How much memory a use of a model takes, by the shapes of what will be allocated. */
#include <string.h>
#include <sys/statfs.h>

#include "lib/model/weights.h"

/* What the process has besides (measured: a program with OpenBLAS and its packing buffers; a tokenizer, by its vocabulary). */
enum { PROCESS_BYTES = 20 << 20, TOKEN_BYTES = 192, TMPFS = 0x01021994, ATTENTION_ROWS = 64 /* of scores, for each thread: cpu_attention.c */ };

/* Sums and products that stay at SIZE_MAX once they are there: a size that does not exist never fits. */
static size_t sum(size_t a, size_t b) {
    size_t out;
    return fp4_size_add(a, b, &out) ? out : SIZE_MAX;
}
static size_t times(size_t a, size_t b) {
    size_t out;
    return fp4_size_mul(a, b, &out) ? out : SIZE_MAX;
}
static size_t floats(size_t rows, size_t cols) { return times(times(rows, cols), sizeof(float)); }
static size_t larger(size_t a, size_t b) { return a > b ? a : b; }

/* Extremes of the linear layers of the blocks. */
struct extremes {
    size_t n_in, n_out, weight; /* the largest, each by itself */
};
static struct extremes extremes_of(const struct fp4_model *m) {
    struct extremes e = {0};
    for (size_t i = 0; i < m->n_linear; i++) {
        const struct fp4_linear *l = &m->linear[i];
        if (l->layer >= m->config.n_layer)
            continue;
        e.n_in = larger(e.n_in, l->n_in);
        e.n_out = larger(e.n_out, l->n_out);
        e.weight = larger(e.weight, times(l->n_in, l->n_out));
    }
    return e;
}

static size_t all_weights(const struct fp4_model *m) {
    size_t bytes = 0;
    for (size_t i = 0; i < m->n_params; i++)
        bytes = sum(bytes, floats(m->params[i].elements, 1));
    return bytes;
}

/* Of a model whose weights stay in the file: what is small, the largest block, the head, the rows of a pass's tokens. Also the bytes of all
 * blocks, as fp32. */
static size_t weights_in_file(const struct fp4_model *m, size_t tokens, size_t *blocks) {
    size_t head = m->linear[m->head].param, large = floats(m->params[m->embed].elements, 1), block = 0;
    if (head != m->embed)
        large = sum(large, floats(m->params[head].elements, 1));
    *blocks = 0;
    for (size_t layer = 0; layer < m->config.n_layer; layer++) {
        size_t bytes = 0;
        for (size_t i = 0; i < m->n_linear; i++)
            if (m->linear[i].layer == layer)
                bytes = sum(bytes, floats(m->linear[i].n_out, m->linear[i].n_in));
        *blocks = sum(*blocks, bytes);
        block = larger(block, bytes);
    }
    size_t all = all_weights(m), in_file = sum(large, *blocks), small = all > in_file ? all - in_file : 0;
    return sum(sum(small, block), sum(floats(m->params[head].elements, 1), floats(tokens, m->params[m->embed].cols)));
}

static size_t scratch(const struct fp4_model *m, const struct fp4_use *use, size_t R) {
    struct extremes e = extremes_of(m);
    size_t V = m->config.n_vocab, rows = R < HEAD_ROWS ? R : HEAD_ROWS, bytes = floats(rows, V), d = m->linear[m->head].n_in;
    if (use->reference)
        bytes = sum(bytes, sum(floats(HEAD_ROWS, V), floats(HEAD_ROWS, d)));
    if (use->quantized)
        bytes = sum(bytes, sum(floats(R, use->gradients ? larger(e.n_in, e.n_out) : e.n_in), larger(floats(e.weight, 1), use->gradients ? floats(R, e.n_in) : 0)));
    if (use->quantized_head)
        bytes = sum(bytes, times(use->gradients ? 2 : 1, sum(floats(R, d), floats(V, d))));
    bytes = sum(bytes, times(floats((size_t)fp4_threads(), ATTENTION_ROWS * larger(use->tokens, use->cache)), use->gradients ? 2 : 1));
    if (fp4_rotary(&m->config))
        bytes = sum(bytes, floats(larger(use->tokens, use->cache), 2 * m->config.head_dim)); /* tables, and their host copy for a moment */
    return sum(bytes, times(2 * m->config.n_layer, floats(use->cache, m->config.n_kv_head * m->config.head_dim)));
}

/* gptq: Hessians of a block's inputs, the factor of the largest with its float64 work, the weight and its packed form. */
static size_t method_bytes(const struct fp4_model *m, const struct fp4_use *use) {
    struct extremes e = extremes_of(m);
    size_t bytes = use->rewrites ? times(e.weight, sizeof(float) + 1) : 0;
    if (!use->hessians)
        return bytes;
    bool seen[FP4_LIN_HEAD] = {0};
    for (size_t i = 0; i < m->n_linear; i++) {
        const struct fp4_linear *l = &m->linear[i];
        /* q, k and v read one input, gate and up another */
        if (l->layer != 0 || l->kind >= FP4_LIN_HEAD || l->kind == FP4_LIN_K || l->kind == FP4_LIN_V || l->kind == FP4_LIN_GATE || seen[l->kind])
            continue;
        seen[l->kind] = true;
        bytes = sum(bytes, floats(l->n_in, l->n_in));
    }
    return sum(bytes, times(times(e.n_in, e.n_in), sizeof(double) + sizeof(float)));
}

static fp4_status plan(struct fp4_model *m, size_t pages, enum fp4_weights_in where, const struct fp4_use *use, struct fp4_memory *out) {
    size_t arena, blocks, R = times(use->sequences ? use->sequences : 1, use->tokens), weights = all_weights(m);
    FP4_TRY(fp4_arena_floats(m, use->sequences ? use->sequences : 1, use->tokens, use->gradients, &arena));
    *out = (struct fp4_memory){.pages = pages, .available = fp4_memory_available()};
    size_t small = weights_in_file(m, R, &blocks);
    out->activations = sum(floats(arena, 1), scratch(m, use, R));
    out->training = use->gradients ? times(3, weights) : 0;
    out->method = method_bytes(m, use);
    out->other = sum(sum(PROCESS_BYTES, times(TOKEN_BYTES, m->config.n_vocab)), use->other);
    /* the file's pages are there while weights are converted: before the rest, but for the head's, which come when the arena is there */
    size_t head_pages = sum(pages, floats(arena, 1));
    size_t rest = sum(larger(out->activations, head_pages), sum(out->training, sum(out->method, out->other)));
    size_t in_memory = sum(rest, use->snapshot ? times(2, weights) : weights);
    if (where == FP4_WEIGHTS_AUTO)
        where = use->gradients || in_memory <= out->available / 10 * 9 ? FP4_WEIGHTS_MEMORY : FP4_WEIGHTS_FILE;
    out->weights_in = where;
    out->weights = where == FP4_WEIGHTS_MEMORY ? weights : small;
    if (use->snapshot && where == FP4_WEIGHTS_MEMORY)
        out->method = sum(out->method, weights);
    out->disk = use->rewrites && where == FP4_WEIGHTS_FILE ? blocks : 0;
    out->in_file = use->gradients ? 0 : sum(rest, small);
    out->total = where == FP4_WEIGHTS_MEMORY ? in_memory : sum(rest, small);
    return FP4_OK;
}

fp4_status fp4_memory_plan(const struct fp4_config *config, enum fp4_weights_in weights_in, const struct fp4_use *use, struct fp4_memory *out) {
    struct fp4_model *m;
    FP4_TRY(fp4_model_shape(config, fp4_backend_cpu(), &m));
    size_t largest = 0;
    for (size_t i = 0; i < m->n_params; i++)
        largest = larger(largest, m->params[i].elements);
    fp4_status status = plan(m, times(2, largest), weights_in, use, out); /* stored in 16 bits */
    fp4_model_free(m);
    return status;
}

static size_t largest_tensor(const struct fp4_checkpoint *c) {
    size_t bytes = 0;
    for (size_t i = 0; i < fp4_checkpoint_count(c); i++)
        bytes = larger(bytes, fp4_checkpoint_at(c, i)->bytes);
    return bytes;
}

fp4_status fp4_memory_plan_for(const char *path, enum fp4_weights_in weights_in, const struct fp4_use *use, struct fp4_memory *out) {
    struct fp4_checkpoint *c;
    struct fp4_model *m;
    FP4_TRY(fp4_store_open(path, fp4_backend_cpu(), &c, &m));
    fp4_status status = plan(m, largest_tensor(c), weights_in, use, out);
    fp4_model_free(m);
    fp4_checkpoint_close(c);
    return status;
}

static double gib(size_t bytes) { return (double)bytes / (1 << 30); }

void fp4_memory_describe(const struct fp4_memory *m, char *text, size_t size) {
    int n = snprintf(text, size, "%.2f GiB (weights in %s %.2f, activations %.2f", gib(m->total), m->weights_in == FP4_WEIGHTS_FILE ? "the file" : "memory",
                     gib(m->weights), gib(m->activations));
    const struct {
        const char *name;
        size_t bytes;
    } items[] = {{"training", m->training}, {"method", m->method}, {"other", m->other}};
    for (size_t i = 0; i < sizeof items / sizeof *items; i++)
        if (items[i].bytes && n >= 0 && (size_t)n < size)
            n += snprintf(text + n, size - (size_t)n, ", %s %.2f", items[i].name, gib(items[i].bytes));
    if (n >= 0 && (size_t)n < size)
        n += snprintf(text + n, size - (size_t)n, ")");
    if (m->disk && n >= 0 && (size_t)n < size)
        snprintf(text + n, size - (size_t)n, " and %.2f GiB in %s", gib(m->disk), fp4_overlay_folder());
}

static fp4_status check_memory(const char *path, const struct fp4_memory *p) {
    char advice[96] = "take less at a time", what[256];
    if (p->total <= p->available)
        return FP4_OK;
    if (p->weights_in == FP4_WEIGHTS_MEMORY && p->in_file && p->in_file < p->total)
        snprintf(advice, sizeof advice, "--weights-in file needs %.2f GiB", gib(p->in_file));
    fp4_memory_describe(p, what, sizeof what);
    return fp4_fail(FP4_ERR_MEMORY, "%s: needs %s of memory, %.2f GiB are available; %s, --ignore-memory goes on all the same", path, what,
                    gib(p->available), advice);
}

/* Room for rewritten weights; a folder in memory is none. */
static fp4_status check_disk(const char *path, const struct fp4_memory *p) {
    const char *folder = fp4_overlay_folder();
    struct statfs fs;
    if (p->disk == 0)
        return FP4_OK;
    if (statfs(folder, &fs) != 0)
        return fp4_fail(FP4_ERR_IO, "%s: no folder for rewritten weights; set TMPDIR", folder);
    size_t room = times((size_t)fs.f_bavail, (size_t)fs.f_bsize);
    if (fs.f_type == TMPFS && sum(p->total, p->disk) > p->available)
        return fp4_fail(FP4_ERR_MEMORY, "%s: rewritten weights take %.2f GiB of %s, which is memory; set TMPDIR to a folder on a disk", path,
                        gib(p->disk), folder);
    if (p->disk > room)
        return fp4_fail(FP4_ERR_MEMORY, "%s: rewritten weights take %.2f GiB of %s, which has %.2f; set TMPDIR to a folder with more", path,
                        gib(p->disk), folder, gib(room));
    return FP4_OK;
}

fp4_status fp4_memory_check(const char *path, const struct fp4_memory *m) {
    FP4_TRY(check_memory(path, m));
    return check_disk(path, m);
}

fp4_status fp4_memory_choose(struct fp4_model *m, const char *path, const struct fp4_load *load, enum fp4_weights_in *where) {
    struct fp4_memory p;
    if (!load->use) {
        *where = load->weights_in == FP4_WEIGHTS_FILE ? FP4_WEIGHTS_FILE : FP4_WEIGHTS_MEMORY;
        return FP4_OK;
    }
    FP4_TRY(plan(m, largest_tensor(m->store->checkpoint), load->weights_in, load->use, &p));
    *where = p.weights_in;
    if (load->ignore_memory)
        return FP4_OK;
    return fp4_memory_check(path, &p);
}

fp4_status fp4_weights_in_parse(const char *name, enum fp4_weights_in *out) {
    static const char *const names[] = {"auto", "memory", "file"};
    for (int i = 0; i < 3; i++)
        if (strcmp(name, names[i]) == 0) {
            *out = (enum fp4_weights_in)i;
            return FP4_OK;
        }
    return fp4_fail(FP4_ERR_ARG, "--weights-in %s: not known; known: auto, memory, file", name);
}
