/* Weights that stay in their file: one block at a time is converted into a buffer, and parameters' `data` point into it while it is there. */
#include "lib/model/weights.h"
#include "lib/model/gguf_layout.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

enum { PAGE = 4096 };

static size_t index_of(const struct fp4_model *m, const struct fp4_param *p) { return (size_t)(p - m->params); }

/* Advice about the whole pages of a tensor's bytes. Pages that are given up come back from the page cache when they are read again. */
static void advise_bytes(const uint8_t *data, size_t bytes, int advice) {
    uintptr_t first = (uintptr_t)data / PAGE * PAGE, end = (uintptr_t)data + bytes;
    if (bytes)
        madvise((void *)first, end - first, advice);
}
static void advise(const struct fp4_stored *t, int advice) { advise_bytes(t->data, t->bytes, advice); }

/* ---- reading ---- */

/* A tensor with NaN or infinity: an error, or one warning. */
static fp4_status note_nonfinite(struct fp4_store *s, size_t param, size_t count, size_t of) {
    struct fp4_source *source = &s->source[param];
    if (count == 0)
        return FP4_OK;
    if (s->refuse_nonfinite)
        return fp4_fail(FP4_ERR_NUMERIC, "%s: tensor %s: %zu of %zu values are NaN or infinite; --allow-nonfinite goes on with them", s->path,
                        source->stored->name, count, of);
    pthread_mutex_lock(&s->lock);
    bool first = !source->warned;
    source->warned = true;
    pthread_mutex_unlock(&s->lock);
    if (first)
        fp4_warn("%s: tensor %s: %zu of %zu values are NaN or infinite", s->path, source->stored->name, count, of);
    return FP4_OK;
}

enum { SCALE_CHUNK = 1 << 16 };
struct scaling {
    float scale, *x;
    size_t n;
};
static void scale_task(void *context, size_t task) {
    const struct scaling *s = context;
    for (size_t i = task * SCALE_CHUNK; i < s->n && i < (task + 1) * SCALE_CHUNK; i++)
        s->x[i] *= s->scale;
}

fp4_status fp4_store_read(const struct fp4_model *m, size_t param, float *host) {
    struct fp4_store *s = m->store;
    const struct fp4_source *source = &s->source[param];
    const struct fp4_param *p = &m->params[param];
    size_t nonfinite = 0;
    FP4_TRY(fp4_stored_read(source->stored, 0, p->elements, host, &nonfinite));
    advise(source->stored, MADV_DONTNEED);
    FP4_TRY(note_nonfinite(s, param, nonfinite, p->elements));
    if (source->scale != 1.0f)
        fp4_parallel_for((p->elements + SCALE_CHUNK - 1) / SCALE_CHUNK, scale_task, &(struct scaling){source->scale, host, p->elements});
    if (!source->interleaved)
        return FP4_OK;
    return fp4_gguf_reorder(p, m->config.head_dim, false, host);
}

/* The present values, host: of the overlay where it holds them. */
static fp4_status read_present(struct fp4_model *m, size_t param, float *host) {
    const struct fp4_source *source = &m->store->source[param];
    if (!source->rewritten)
        return fp4_store_read(m, param, host);
    size_t bytes = m->params[param].elements * sizeof *host;
    const uint8_t *overlay = m->store->overlay + source->overlay;
    memcpy(host, overlay, bytes);
    advise_bytes(overlay, bytes, MADV_DONTNEED);
    return FP4_OK;
}

/* The present values into backend memory. */
static fp4_status fetch(struct fp4_model *m, size_t param, float *to) {
    if (m->be->host_memory)
        return read_present(m, param, to);
    float *host;
    FP4_TRY(FP4_NEW(host, m->params[param].elements));
    fp4_status status = read_present(m, param, host);
    if (status == FP4_OK)
        status = m->be->upload(m->params[param].elements, host, to);
    fp4_free(host);
    return status;
}

/* ---- blocks ---- */

static bool in_block(const struct fp4_model *m, const struct fp4_linear *l, size_t layer) {
    return l->layer == layer && l->layer < m->config.n_layer && m->store->source[l->param].in_file;
}

static void leave(struct fp4_model *m) {
    struct fp4_store *s = m->store;
    for (size_t i = 0; i < m->n_linear; i++)
        if (in_block(m, &m->linear[i], s->current))
            m->params[m->linear[i].param].data = NULL;
    s->current = SIZE_MAX;
}

/* Asks for the next block's pages while this one computes. */
static void look_ahead(const struct fp4_model *m, size_t layer) {
    for (size_t i = 0; i < m->n_linear; i++)
        if (in_block(m, &m->linear[i], layer) && !m->store->source[m->linear[i].param].rewritten)
            advise(m->store->source[m->linear[i].param].stored, MADV_WILLNEED);
}

fp4_status fp4_weights_enter(struct fp4_model *m, size_t layer) {
    struct fp4_store *s = m->store;
    if (!s || s->current == layer)
        return FP4_OK;
    leave(m);
    s->current = layer;
    fp4_status status = FP4_OK;
    for (size_t i = 0; i < m->n_linear && status == FP4_OK; i++) {
        if (!in_block(m, &m->linear[i], layer))
            continue;
        struct fp4_param *p = &m->params[m->linear[i].param];
        p->data = s->block + s->source[m->linear[i].param].place;
        status = fetch(m, m->linear[i].param, p->data);
    }
    if (status != FP4_OK)
        leave(m);
    else
        look_ahead(m, (layer + 1) % m->config.n_layer);
    return status;
}

/* ---- embedding and head ---- */

struct gather {
    struct fp4_model *m;
    const int32_t *tokens;
    float *host;
    size_t *nonfinite; /* [R] */
    bool *failed;      /* [R] */
};

static void gather_row(void *context, size_t r) {
    struct gather *g = context;
    struct fp4_model *m = g->m;
    const struct fp4_source *source = &m->store->source[m->embed];
    size_t d = m->params[m->embed].cols, first = (size_t)g->tokens[r] * d;
    if (source->rewritten)
        memcpy(g->host + r * d, m->store->overlay + source->overlay + first * sizeof *g->host, d * sizeof *g->host);
    else
        g->failed[r] = fp4_stored_read(source->stored, first, d, g->host + r * d, &g->nonfinite[r]) != FP4_OK;
}

/* Rows of R tokens, host [R, d]. */
static fp4_status gather_rows(struct fp4_model *m, const int32_t *tokens, size_t R, float *host) {
    struct gather g = {.m = m, .tokens = tokens, .host = host};
    size_t nonfinite = 0, d = m->params[m->embed].cols;
    fp4_status status = FP4_NEW(g.nonfinite, R);
    if (status == FP4_OK)
        status = FP4_NEW(g.failed, R);
    if (status == FP4_OK)
        fp4_parallel_for(R, gather_row, &g);
    for (size_t r = 0; r < R && status == FP4_OK; r++) {
        nonfinite += g.nonfinite[r];
        if (g.failed[r]) /* its message is another thread's */
            status = fp4_stored_read(m->store->source[m->embed].stored, (size_t)tokens[r] * d, d, host + r * d, NULL);
    }
    if (!m->store->source[m->embed].rewritten)
        advise(m->store->source[m->embed].stored, MADV_DONTNEED); /* a look-up brings its neighbours along */
    fp4_free(g.nonfinite);
    fp4_free(g.failed);
    return status == FP4_OK ? note_nonfinite(m->store, m->embed, nonfinite, R * d) : status;
}

static fp4_status count_rows(struct fp4_store *s, size_t R) {
    if (R <= s->n_rows)
        return FP4_OK;
    fp4_free(s->rows);
    s->n_rows = 0;
    FP4_TRY(FP4_NEW(s->rows, R));
    for (size_t i = 0; i < R; i++)
        s->rows[i] = (int32_t)i;
    s->n_rows = R;
    return FP4_OK;
}

fp4_status fp4_weights_embedding(struct fp4_model *m, const int32_t *tokens, size_t R, const float **table, const int32_t **rows) {
    const struct fp4_param *p = &m->params[m->embed];
    float *gathered, *host;
    *table = p->data;
    *rows = NULL;
    if (p->data)
        return FP4_OK;
    FP4_TRY(count_rows(m->store, R));
    FP4_TRY(fp4_scratch(m, SCRATCH_EMBEDDING, R * p->cols, &gathered));
    *table = gathered;
    *rows = m->store->rows;
    if (m->be->host_memory)
        return gather_rows(m, tokens, R, gathered);
    FP4_TRY(FP4_NEW(host, R * p->cols));
    fp4_status status = gather_rows(m, tokens, R, host);
    if (status == FP4_OK)
        status = m->be->upload(R * p->cols, host, gathered);
    fp4_free(host);
    return status;
}

fp4_status fp4_weights_head(struct fp4_model *m) {
    struct fp4_param *p = &m->params[m->linear[m->head].param];
    struct fp4_store *s = m->store;
    if (p->data)
        return FP4_OK;
    if (!s->head)
        FP4_TRY(m->be->alloc(p->elements, &s->head));
    FP4_TRY(fetch(m, index_of(m, p), s->head));
    p->data = s->head;
    return FP4_OK;
}

/* ---- rewritten weights ---- */

static fp4_status overlay_error(const char *folder, const char *what, int error) {
    return fp4_fail(FP4_ERR_IO, "%s: cannot %s the file of rewritten weights: %s; set TMPDIR to a folder with room", folder, what, strerror(error));
}

const char *fp4_overlay_folder(void) {
    const char *folder = getenv("TMPDIR");
    return folder && *folder ? folder : "/tmp";
}

/* The file has no name, and blocks on the disk only where weights were written. */
static fp4_status open_overlay(struct fp4_store *s) {
    char path[4096];
    const char *folder = fp4_overlay_folder();
    if (s->overlay)
        return FP4_OK;
    if (snprintf(path, sizeof path, "%s/fp4lab-weights.XXXXXX", folder) >= (int)sizeof path)
        return fp4_fail(FP4_ERR_ARG, "TMPDIR: the path is too long");
    s->overlay_fd = mkostemp(path, O_CLOEXEC);
    if (s->overlay_fd < 0)
        return overlay_error(folder, "create", errno);
    unlink(path);
    if (ftruncate(s->overlay_fd, (off_t)s->overlay_bytes) != 0)
        return overlay_error(folder, "size", errno);
    void *p = mmap(NULL, s->overlay_bytes, PROT_READ | PROT_WRITE, MAP_SHARED, s->overlay_fd, 0);
    if (p == MAP_FAILED)
        return overlay_error(folder, "map", errno);
    s->overlay = p;
    return FP4_OK;
}

static void close_overlay(struct fp4_store *s) {
    if (s->overlay)
        munmap(s->overlay, s->overlay_bytes);
    if (s->overlay_fd >= 0)
        close(s->overlay_fd);
    s->overlay = NULL;
    s->overlay_fd = -1;
}

fp4_status fp4_weights_get(struct fp4_model *m, size_t param, float *host) {
    const struct fp4_param *p = &m->params[param];
    return p->data ? m->be->download(p->elements, p->data, host) : read_present(m, param, host);
}

fp4_status fp4_weights_set(struct fp4_model *m, size_t param, const float *host) {
    struct fp4_store *s = m->store;
    struct fp4_source *source = &s->source[param];
    struct fp4_param *p = &m->params[param];
    size_t bytes = p->elements * sizeof *host;
    FP4_TRY(open_overlay(s));
    /* the room first: writing to a map of a full disk would be a signal */
    int error = posix_fallocate(s->overlay_fd, (off_t)source->overlay, (off_t)bytes);
    if (error)
        return overlay_error(fp4_overlay_folder(), "enlarge", error);
    memcpy(s->overlay + source->overlay, host, bytes);
    advise_bytes(s->overlay + source->overlay, bytes, MADV_DONTNEED); /* out of this process; the kernel writes the pages back */
    source->rewritten = true;
    return p->data ? m->be->upload(p->elements, host, p->data) : FP4_OK;
}

bool fp4_weights_rewritten(const struct fp4_model *m) {
    for (size_t i = 0; m->store && i < m->n_params; i++)
        if (m->store->source[i].rewritten)
            return true;
    return false;
}

fp4_status fp4_weights_forget(struct fp4_model *m) {
    struct fp4_store *s = m->store;
    size_t head = m->linear[m->head].param;
    if (!fp4_weights_rewritten(m))
        return FP4_OK;
    leave(m);
    if (s->source[head].rewritten)
        m->params[head].data = NULL;
    for (size_t i = 0; i < m->n_params; i++)
        s->source[i].rewritten = false;
    close_overlay(s); /* gives its room on the disk back */
    return FP4_OK;
}

/* ---- layout ---- */

static void stays(struct fp4_store *s, const struct fp4_model *m, size_t param, size_t place) {
    struct fp4_source *source = &s->source[param];
    if (source->in_file)
        return;
    source->in_file = true;
    source->place = place;
    source->overlay = s->overlay_bytes;
    s->overlay_bytes += (m->params[param].elements * sizeof(float) + PAGE - 1) / PAGE * PAGE;
}

void fp4_store_lay_out(struct fp4_model *m) {
    struct fp4_store *s = m->store;
    stays(s, m, m->embed, 0);
    stays(s, m, m->linear[m->head].param, 0);
    for (size_t layer = 0; layer < m->config.n_layer; layer++) {
        size_t at = 0;
        for (size_t i = 0; i < m->n_linear; i++) {
            if (m->linear[i].layer != layer)
                continue;
            stays(s, m, m->linear[i].param, at);
            at += (m->params[m->linear[i].param].elements + FP4_PARAM_ALIGN - 1) / FP4_PARAM_ALIGN * FP4_PARAM_ALIGN;
        }
        s->block_floats = at > s->block_floats ? at : s->block_floats;
    }
}

bool fp4_weights_in_file(const struct fp4_model *m, size_t param) { return m->store && m->store->source[param].in_file; }
enum fp4_weights_in fp4_model_weights_in(const struct fp4_model *m) { return m->store ? FP4_WEIGHTS_FILE : FP4_WEIGHTS_MEMORY; }

fp4_status fp4_store_begin(struct fp4_model *m) { return m->be->alloc(m->store->block_floats, &m->store->block); }

fp4_status fp4_store_create(struct fp4_model *m, const char *path, struct fp4_checkpoint *c) {
    struct fp4_store *s;
    FP4_TRY(FP4_NEW(s, 1));
    *s = (struct fp4_store){.current = SIZE_MAX, .overlay_fd = -1};
    fp4_status status = fp4_strdup(path, &s->path);
    if (status == FP4_OK)
        status = FP4_NEW(s->source, m->n_params);
    if (status != FP4_OK) {
        fp4_free(s->path);
        fp4_free(s);
        return status;
    }
    pthread_mutex_init(&s->lock, NULL);
    s->checkpoint = c;
    m->store = s;
    return FP4_OK;
}

void fp4_weights_release(struct fp4_model *m) {
    struct fp4_store *s = m->store;
    if (!s)
        return;
    m->store = NULL;
    close_overlay(s);
    fp4_checkpoint_close(s->checkpoint);
    m->be->free(s->block);
    m->be->free(s->head);
    pthread_mutex_destroy(&s->lock);
    fp4_free(s->rows);
    fp4_free(s->source);
    fp4_free(s->path);
    fp4_free(s);
}
