/* Checkpoint folders as Hugging Face transformers lays them out. */
#include "lib/model/export.h"

#include <dirent.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "lib/base/json.h"
#include "lib/io/encode.h"

#define DEFAULT_SHARD 5000000000u

static fp4_status path_of(char out[4096], const char *folder, const char *name) {
    int n = snprintf(out, 4096, "%s/%s", folder, name);
    return n > 0 && n < 4096 ? FP4_OK : fp4_fail(FP4_ERR_ARG, "%s: the path is too long", folder);
}

/* ---- values ---- */

fp4_status fp4_exporter_check(const struct fp4_model *m, const struct fp4_export *o) {
    if (o->head && m->config.tied_head && !fp4_quantizer_is_none(&o->weights))
        return fp4_fail(FP4_ERR_ARG, "the head is the embedding here, and a checkpoint holds it once: it cannot be quantized alone");
    return FP4_OK;
}

/* The linear layer to quantize with this weight; NULL: none. */
static const struct fp4_linear *quantized(const struct fp4_exporter *e, size_t param) {
    const struct fp4_model *m = e->m;
    for (size_t i = 0; i < m->n_linear && !fp4_quantizer_is_none(&e->o->weights); i++)
        if (m->linear[i].param == param && (m->linear[i].layer < m->config.n_layer || e->o->head))
            return &m->linear[i];
    return NULL;
}

/* With the address that a pass gives to the weight's draws (fp4_linear_operand); a transform is undone, as it is when activations have none. */
static fp4_status round_weight(const struct fp4_exporter *e, const struct fp4_linear *l, float *x) {
    const struct fp4_quantizer *q = &e->o->weights;
    struct fp4_random random = {.seed = e->o->seed, .stream = FP4_STREAM_ROUND, .layer = (uint32_t)(l - e->m->linear), .operand = FP4_FWD_W};
    fp4_status status = fp4_fake_quantize(q, l->n_out, l->n_in, x, x, &random);
    if (status == FP4_OK)
        status = fp4_hadamard_undo((size_t)q->hadamard, e->o->seed, l->n_out, l->n_in, x);
    return status == FP4_OK ? FP4_OK : fp4_fail(status, "tensor %s: %s", l->name, fp4_last_error());
}

fp4_status fp4_exporter_values(void *context, size_t i, float *x) {
    struct fp4_exporter *e = context;
    size_t param = e->first + i;
    const struct fp4_param *p = &e->m->params[param];
    const struct fp4_linear *l = quantized(e, param);
    FP4_TRY(fp4_model_get(e->m, p, x));
    if (l)
        FP4_TRY(round_weight(e, l, x));
    fp4_progress_update(&e->bar, e->done += (double)p->elements);
    return FP4_OK;
}

/* ---- shards ---- */

struct shards {
    struct fp4_tensor_out *tensors; /* [n_params] */
    size_t *end;                    /* parameters before the end of shard i */
    size_t n;
    uint64_t bytes;
};

fp4_status fp4_exporter_tensor(const struct fp4_param *p, const char *name, enum fp4_dtype dtype, struct fp4_tensor_out *out, uint64_t *bytes) {
    bool matrix = p->rows > 1;
    size_t own;
    *out = (struct fp4_tensor_out){.name = name, .dtype = dtype, .n_dims = matrix ? 2 : 1, .shape = {matrix ? p->rows : p->cols, matrix ? p->cols : 0}};
    FP4_TRY(io_out_bytes(out, &own));
    *bytes += own;
    return FP4_OK;
}

/* As transformers cuts: in order, a new file when the next tensor would not fit. */
static fp4_status plan_shards(const struct fp4_model *m, const struct fp4_export *o, struct shards *s) {
    uint64_t limit = o->shard_bytes ? o->shard_bytes : DEFAULT_SHARD, filled = 0;
    FP4_TRY(FP4_NEW(s->tensors, m->n_params));
    FP4_TRY(FP4_NEW(s->end, m->n_params));
    for (size_t i = 0; i < m->n_params; i++) {
        uint64_t own = 0;
        FP4_TRY(fp4_exporter_tensor(&m->params[i], m->params[i].name, o->dtype, &s->tensors[i], &own));
        if (filled && filled + own > limit) {
            s->end[s->n++] = i;
            filled = 0;
        }
        filled += own;
        s->bytes += own;
    }
    s->end[s->n++] = m->n_params;
    return FP4_OK;
}

static void shard_name(const struct shards *s, size_t i, char out[64]) {
    if (s->n == 1)
        snprintf(out, 64, "model.safetensors");
    else
        snprintf(out, 64, "model-%05zu-of-%05zu.safetensors", i + 1, s->n);
}

static fp4_status write_shards(struct fp4_exporter *e, const char *folder, const struct shards *s) {
    char path[4096], name[64];
    for (size_t i = 0; i < s->n; i++) {
        e->first = i ? s->end[i - 1] : 0;
        shard_name(s, i, name);
        FP4_TRY(path_of(path, folder, name));
        FP4_TRY(fp4_safetensors_stream(path, s->tensors + e->first, s->end[i] - e->first, fp4_exporter_values, e));
    }
    return FP4_OK;
}

static fp4_status write_index(const struct fp4_model *m, const char *folder, const struct shards *s) {
    char name[64];
    json_watch();
    json_t *map = json_object();
    for (size_t i = 0, shard = 0; i < m->n_params; i++) {
        shard += i == s->end[shard];
        shard_name(s, shard, name);
        json_object_set_new(map, m->params[i].name, json_string(name));
    }
    json_t *root = json_pack("{s:{s:I,s:I},s:o}", "metadata", "total_parameters", (json_int_t)m->n_elements, "total_size", (json_int_t)s->bytes, "weight_map", map);
    return io_json_write(folder, "model.safetensors.index.json", root, JSON_INDENT(2));
}

static fp4_status write_generation(const struct fp4_config *c, const char *folder) {
    json_watch();
    json_t *root = json_pack("{s:b}", "_from_model_config", 1);
    if (c->bos_id >= 0)
        json_object_set_new(root, "bos_token_id", json_integer(c->bos_id));
    if (c->eos_id >= 0)
        json_object_set_new(root, "eos_token_id", json_integer(c->eos_id));
    return io_json_write(folder, "generation_config.json", root, JSON_INDENT(2));
}

/* ---- what is there already ---- */

static bool is_weights(const char *name) {
    size_t n = strlen(name), suffix = strlen(".safetensors");
    bool shard = n > suffix && strncmp(name, "model-", 6) == 0 && strcmp(name + n - suffix, ".safetensors") == 0 && strstr(name, "-of-");
    return shard || strcmp(name, "model.safetensors") == 0 || strcmp(name, "model.safetensors.index.json") == 0;
}

/* Removes weights that are not of these shards; without shards: an error when there are any. */
static fp4_status stale_weights(const char *folder, const struct shards *keep) {
    fp4_status status = FP4_OK;
    DIR *d = opendir(folder);
    if (!d)
        return fp4_fail(FP4_ERR_IO, "%s: cannot read the folder: %s", folder, strerror(errno));
    for (struct dirent *e = readdir(d); e && status == FP4_OK; e = readdir(d)) {
        char path[4096], name[64];
        bool kept = false;
        if (!is_weights(e->d_name))
            continue;
        for (size_t i = 0; keep && i < keep->n && !kept; i++) {
            shard_name(keep, i, name);
            kept = strcmp(name, e->d_name) == 0;
        }
        status = path_of(path, folder, e->d_name);
        if (status == FP4_OK && !keep)
            status = fp4_fail(FP4_ERR_ARG, "%s: is there already; --force writes over it", path);
        if (status == FP4_OK && !kept && unlink(path) != 0)
            status = fp4_fail(FP4_ERR_IO, "%s: cannot remove: %s", path, strerror(errno));
    }
    closedir(d);
    return status;
}

/* Without its config.json a folder is no checkpoint: a killed export leaves none that mixes old and new. */
static fp4_status prepare(const struct fp4_config *c, const char *folder, bool force, char config[4096]) {
    FP4_TRY(path_of(config, folder, "config.json"));
    FP4_TRY(fp4_config_writable(config, c)); /* known before an old checkpoint is touched */
    FP4_TRY(fp4_make_dirs(folder));
    if (!force && access(config, F_OK) == 0)
        return fp4_fail(FP4_ERR_ARG, "%s: is there already; --force writes over it", config);
    if (!force)
        return stale_weights(folder, NULL);
    if (unlink(config) != 0 && errno != ENOENT)
        return fp4_fail(FP4_ERR_IO, "%s: cannot remove: %s", config, strerror(errno));
    return FP4_OK;
}

static fp4_status write_folder(struct fp4_exporter *e, const char *folder, struct shards *s) {
    char config[4096];
    FP4_TRY(plan_shards(e->m, e->o, s));
    FP4_TRY(prepare(&e->m->config, folder, e->o->force, config));
    if (!e->o->force) /* over an old checkpoint, each file makes room for the next */
        FP4_TRY(fp4_disk_room(folder, s->bytes));
    FP4_TRY(write_shards(e, folder, s));
    FP4_TRY(stale_weights(folder, s));
    if (s->n > 1)
        FP4_TRY(write_index(e->m, folder, s));
    if (e->m->config.arch != FP4_ARCH_WRITEUP_D)
        FP4_TRY(write_generation(&e->m->config, folder));
    return fp4_config_write(config, &e->m->config, e->o->dtype);
}

fp4_status fp4_model_export(struct fp4_model *m, const char *folder, const struct fp4_export *o, uint64_t *bytes) {
    struct fp4_exporter e = {.m = m, .o = o};
    struct shards s = {0};
    if (o->dtype != FP4_F32 && o->dtype != FP4_F16 && o->dtype != FP4_BF16)
        return fp4_fail(FP4_ERR_ARG, "weights of type %s: a folder holds F32, F16 or BF16; name a file that ends with .gguf", fp4_dtype_name(o->dtype));
    FP4_TRY(fp4_exporter_check(m, o));
    fp4_progress_begin(&e.bar, "writing", (double)m->n_elements);
    fp4_status status = write_folder(&e, folder, &s);
    fp4_progress_end(&e.bar);
    if (bytes)
        *bytes = s.bytes;
    fp4_free(s.tensors);
    fp4_free(s.end);
    return status;
}

fp4_status fp4_model_save(struct fp4_model *m, const char *folder) {
    return fp4_model_export(m, folder, &(struct fp4_export){.dtype = FP4_F32, .force = true}, NULL);
}
