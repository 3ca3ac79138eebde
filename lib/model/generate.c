/* Generation with a key-value cache. */
#include "lib/model/internal.h"

static void cache_free(struct fp4_model *m, struct fp4_cache *c) {
    for (size_t i = 0; i < m->config.n_layer; i++) {
        if (c->k)
            m->be->free(c->k[i]);
        if (c->v)
            m->be->free(c->v[i]);
    }
    fp4_free(c->k);
    fp4_free(c->v);
}

static fp4_status cache_alloc(struct fp4_model *m, size_t room, struct fp4_cache *c) {
    size_t n;
    if (!fp4_size_mul(room, m->config.n_kv_head * m->config.head_dim, &n))
        return fp4_fail(FP4_ERR_ARG, "%zu positions are too many", room);
    c->room = room;
    FP4_TRY(FP4_NEW(c->k, m->config.n_layer));
    FP4_TRY(FP4_NEW(c->v, m->config.n_layer));
    for (size_t i = 0; i < m->config.n_layer; i++) {
        FP4_TRY(m->be->alloc(n, &c->k[i]));
        FP4_TRY(m->be->alloc(n, &c->v[i]));
    }
    return FP4_OK;
}

/* Feeds n tokens at the cache's end; logits [V], host, of the last. */
static fp4_status feed(struct fp4_model *m, struct fp4_cache *c, const int32_t *tokens, size_t n, float *logits) {
    struct fp4_head head;
    float *row;
    FP4_TRY(fp4_forward(m, tokens, 1, n, false, c));
    c->used += n;
    FP4_TRY(fp4_head_begin(m, n, m->arena.hidden, &head));
    FP4_TRY(fp4_scratch(m, SCRATCH_LOGITS, m->config.n_vocab, &row));
    FP4_TRY(fp4_head_logits(m, &head, n - 1, 1, row));
    return m->be->download(m->config.n_vocab, row, logits);
}

/* Greedy: the first largest logit. Otherwise one addressed draw: step counts positions. */
static int32_t choose(const struct fp4_sampler *s, const float *logits, size_t V, size_t position, double *p) {
    int32_t best = 0;
    float u;
    if (!s || s->temperature == 0.0) {
        for (size_t i = 1; i < V; i++)
            if (logits[i] > logits[best])
                best = (int32_t)i;
        return best;
    }
    struct fp4_random random = s->random;
    random.step += (uint32_t)position;
    fp4_random_uniform(&random, 0, 1, &u);
    fp4_sampler_probabilities(logits, V, s->temperature, s->top_k, p);
    return fp4_sample_index(p, V, (double)u);
}

static fp4_status run(struct fp4_model *m, struct fp4_cache *c, int32_t *tokens, size_t n, size_t n_new, const struct fp4_sampler *s, int eos,
                      size_t *n_out, float *logits, double *p) {
    size_t V = m->config.n_vocab, total = n, fed = 0;
    while (total < n + n_new) {
        FP4_TRY(feed(m, c, tokens + fed, total - fed, logits));
        fed = total;
        tokens[total] = choose(s, logits, V, total, p);
        total++;
        if (eos >= 0 && tokens[total - 1] == eos)
            break;
    }
    *n_out = total;
    return FP4_OK;
}

fp4_status fp4_model_generate(struct fp4_model *m, int32_t *tokens, size_t n, size_t n_new, const struct fp4_sampler *s, int eos, size_t *n_out) {
    struct fp4_cache cache = {0};
    size_t total;
    float *logits = NULL;
    double *p = NULL;
    if (n == 0 || !fp4_size_add(n, n_new, &total) || total > m->config.n_ctx)
        return fp4_fail(FP4_ERR_ARG, "%zu tokens and %zu new ones: at least one, and at most %zu together", n, n_new, m->config.n_ctx);
    fp4_status status = cache_alloc(m, total, &cache);
    if (status == FP4_OK)
        status = FP4_NEW(logits, m->config.n_vocab);
    if (status == FP4_OK)
        status = FP4_NEW(p, m->config.n_vocab);
    if (status == FP4_OK)
        status = run(m, &cache, tokens, n, n_new, s, eos, n_out, logits, p);
    cache_free(m, &cache);
    fp4_free(logits);
    fp4_free(p);
    return status;
}
