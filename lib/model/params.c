/* Parameters: initial values, host copies, hash, snapshots. */
#include <stdio.h>
#include <string.h>

#include "lib/model/weights.h"

fp4_status fp4_model_get(struct fp4_model *m, const struct fp4_param *p, float *host) {
    size_t index = (size_t)(p - m->params);
    return fp4_weights_in_file(m, index) ? fp4_weights_get(m, index, host) : m->be->download(p->elements, p->data, host);
}
fp4_status fp4_model_set(struct fp4_model *m, struct fp4_param *p, const float *host) {
    size_t index = (size_t)(p - m->params);
    return fp4_weights_in_file(m, index) ? fp4_weights_set(m, index, host) : m->be->upload(p->elements, host, p->data);
}
fp4_status fp4_model_get_grad(struct fp4_model *m, const struct fp4_param *p, float *host) {
    float *grad;
    if (!p->grad)
        return fp4_fail(FP4_ERR_ARG, "%s has no gradient: fp4_model_enable_grad comes first", p->name);
    FP4_TRY(fp4_grad_of(m, (size_t)(p - m->params), &grad));
    return m->be->download(p->elements, grad, host);
}

static size_t largest(const struct fp4_model *m) {
    size_t most = 0;
    for (size_t i = 0; i < m->n_params; i++)
        most = m->params[i].elements > most ? m->params[i].elements : most;
    return most;
}

enum { INIT_CHUNK = 1 << 16 };
struct init_job {
    struct fp4_random random;
    size_t n;
    float *host;
};

static void init_task(void *context, size_t task) {
    const struct init_job *job = context;
    size_t first = task * INIT_CHUNK, n = job->n - first < INIT_CHUNK ? job->n - first : INIT_CHUNK;
    fp4_random_normal(&job->random, first, n, job->host + first);
    for (size_t i = first; i < first + n; i++)
        job->host[i] *= 0.02f;
}

/* Norms 1, biases 0. */
static void fill_vector(const struct fp4_param *p, float *host) {
    size_t n = strlen(p->name);
    float value = n > 5 && strcmp(p->name + n - 5, ".bias") == 0 ? 0.0f : 1.0f;
    for (size_t j = 0; j < p->elements; j++)
        host[j] = value;
}

static fp4_status initialise(struct fp4_model *m, uint32_t seed, float *host) {
    for (size_t i = 0; i < m->n_params; i++) {
        struct fp4_param *p = &m->params[i];
        struct init_job job = {{.seed = seed, .stream = FP4_STREAM_INIT, .layer = (uint32_t)i}, p->elements, host};
        if (p->rows > 1)
            fp4_parallel_for((p->elements + INIT_CHUNK - 1) / INIT_CHUNK, init_task, &job);
        else
            fill_vector(p, host);
        FP4_TRY(m->be->upload(p->elements, host, p->data));
    }
    return FP4_OK;
}

fp4_status fp4_model_create(const struct fp4_config *config, uint32_t seed, const struct fp4_backend *backend, struct fp4_model **out) {
    struct fp4_model *m;
    float *host;
    *out = NULL;
    FP4_TRY(fp4_model_build(config, backend, &m));
    fp4_status status = FP4_NEW(host, largest(m));
    if (status == FP4_OK)
        status = initialise(m, seed, host);
    fp4_free(host);
    if (status != FP4_OK) {
        fp4_model_free(m);
        return status;
    }
    *out = m;
    return FP4_OK;
}

/* ---- hash: of the hashes of the parameters, so that these can be taken side by side ---- */

struct hash_job {
    struct fp4_model *m;
    char (*hex)[65];
    fp4_status *status;
};

static fp4_status hash_param(struct fp4_model *m, const struct fp4_param *p, char hex[65]) {
    if (m->be->host_memory && p->data)
        return fp4_sha256_buffer(p->data, p->elements * sizeof *p->data, hex);
    float *host;
    FP4_TRY(FP4_NEW(host, p->elements));
    fp4_status status = fp4_model_get(m, p, host);
    if (status == FP4_OK)
        status = fp4_sha256_buffer(host, p->elements * sizeof *host, hex);
    fp4_free(host);
    return status;
}

static void hash_task(void *context, size_t i) {
    struct hash_job *job = context;
    job->status[i] = hash_param(job->m, &job->m->params[i], job->hex[i]);
}

fp4_status fp4_model_hash(struct fp4_model *m, char hex[65]) {
    struct hash_job job = {.m = m};
    FP4_TRY(FP4_NEW(job.hex, m->n_params));
    fp4_status status = FP4_NEW(job.status, m->n_params);
    if (status == FP4_OK)
        fp4_parallel_for(m->n_params, hash_task, &job);
    for (size_t i = 0; status == FP4_OK && i < m->n_params; i++)
        if (job.status[i] != FP4_OK)
            status = fp4_fail(job.status[i], "%s: cannot be hashed", m->params[i].name);
    if (status == FP4_OK)
        status = fp4_sha256_buffer(job.hex, sizeof *job.hex * m->n_params, hex);
    fp4_free(job.status);
    fp4_free(job.hex);
    return status;
}

/* ---- snapshots ---- */

struct fp4_snapshot {
    const struct fp4_backend *be;
    size_t n;
    float *data;
};

fp4_status fp4_model_snapshot(struct fp4_model *m, struct fp4_snapshot **out) {
    struct fp4_snapshot *s;
    *out = NULL;
    if (fp4_weights_rewritten(m)) /* the file itself is the copy */
        return fp4_fail(FP4_ERR_UNSUPPORTED, "snapshot of a model whose weights stay in their file and were rewritten: take it before");
    FP4_TRY(FP4_NEW(s, 1));
    s->be = m->be;
    s->n = m->n_stored;
    fp4_status status = m->be->alloc(s->n, &s->data);
    if (status == FP4_OK)
        status = m->be->copy(s->n, m->data, s->data);
    if (status != FP4_OK) {
        fp4_snapshot_free(s);
        return status;
    }
    *out = s;
    return FP4_OK;
}

fp4_status fp4_model_restore(struct fp4_model *m, const struct fp4_snapshot *s) {
    if (s->n != m->n_stored || s->be != m->be)
        return fp4_fail(FP4_ERR_ARG, "snapshot of another model: %zu floats, this one has %zu", s->n, m->n_stored);
    if (m->store)
        FP4_TRY(fp4_weights_forget(m));
    return m->be->copy(s->n, s->data, m->data);
}

void fp4_snapshot_free(struct fp4_snapshot *s) {
    if (!s)
        return;
    s->be->free(s->data);
    fp4_free(s);
}
