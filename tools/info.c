/* fp4lab info: what is in a checkpoint. */
#include <math.h>
#include <string.h>

#include "tools/tool.h"

static json_t *shape_of(const struct fp4_stored *t) {
    json_t *shape = json_array();
    for (int i = 0; i < t->n_dims; i++)
        json_array_append_new(shape, json_integer((json_int_t)t->shape[i]));
    return shape;
}

/* amax, rms and the hash of the fp32 values; null where a type has no conversion. */
static fp4_status add_statistics(json_t *row, const struct fp4_stored *t) {
    float *x;
    char hex[65] = "";
    FP4_TRY(FP4_NEW(x, t->elements));
    double amax = NAN, rms = NAN;
    fp4_status status = fp4_stored_to_f32(t, 0, t->elements, x);
    if (status == FP4_OK) {
        double sum = 0;
        amax = 0;
        for (size_t i = 0; i < t->elements; i++) {
            sum += (double)x[i] * (double)x[i];
            amax = fmax(amax, fabs((double)x[i]));
        }
        rms = t->elements ? sqrt(sum / (double)t->elements) : 0;
        status = fp4_sha256_buffer(x, t->elements * sizeof *x, hex);
    } else if (status == FP4_ERR_UNSUPPORTED)
        status = FP4_OK;
    json_object_set_new(row, "amax", tool_number(amax));
    json_object_set_new(row, "rms", tool_number(rms));
    json_object_set_new(row, "sha256_f32", *hex ? json_string(hex) : json_null());
    fp4_free(x);
    return status;
}

static fp4_status tensor_rows(const struct fp4_checkpoint *c, bool statistics, json_t *table) {
    struct fp4_progress progress;
    size_t n = fp4_checkpoint_count(c);
    fp4_progress_begin(&progress, "reading", (double)n);
    fp4_status status = FP4_OK;
    for (size_t i = 0; i < n && status == FP4_OK; i++) {
        const struct fp4_stored *t = fp4_checkpoint_at(c, i);
        json_t *row = json_pack("{s:s,s:s,s:o,s:I,s:I,s:I}", "name", t->name, "type", t->type_name, "shape", shape_of(t), "elements",
                                (json_int_t)t->elements, "bytes", (json_int_t)t->bytes, "offset", (json_int_t)t->offset);
        if (statistics)
            status = add_statistics(row, t);
        json_array_append_new(table, row);
        fp4_progress_update(&progress, (double)(i + 1));
    }
    fp4_progress_end(&progress);
    return status;
}

static json_t *meta_value(const struct fp4_meta *m) {
    char text[96];
    switch (m->kind) {
    case FP4_META_STRING: return tool_text(m->string, m->length);
    case FP4_META_INT: return json_integer(m->integer);
    case FP4_META_BOOL: return json_boolean(m->integer);
    case FP4_META_FLOAT: return tool_number(m->number);
    case FP4_META_ARRAY:
        snprintf(text, sizeof text, "%zu elements of %s", m->length, m->element_type);
        return json_string(text);
    default: return json_null();
    }
}

static void metadata_rows(const struct fp4_checkpoint *c, json_t *table) {
    for (size_t i = 0; i < fp4_gguf_meta_count(c); i++) {
        const struct fp4_meta *m = fp4_gguf_meta_at(c, i);
        json_array_append_new(table, json_pack("{s:s,s:s,s:o}", "key", m->key, "type", m->type_name, "value", meta_value(m)));
    }
}

/* What a family has beside what all have, where it is not what most have. */
static void add_particulars(json_t *fields, const struct fp4_config *c) {
    static const char *const scalings[] = {[FP4_ROPE_LINEAR] = "linear", [FP4_ROPE_LLAMA3] = "llama3", [FP4_ROPE_DIVISORS] = "a divisor for each pair"};
    if (c->rope.kind != FP4_ROPE_DEFAULT)
        json_object_set_new(fields, "rope_scaling", json_string(scalings[c->rope.kind]));
    if (c->rope.kind == FP4_ROPE_LINEAR || c->rope.kind == FP4_ROPE_LLAMA3)
        json_object_set_new(fields, "rope_factor", json_real(c->rope.factor));
    if (c->attention_bias)
        json_object_set_new(fields, "attention_bias", json_true());
    if (c->mlp_bias)
        json_object_set_new(fields, "mlp_bias", json_true());
    if (c->dropout > 0)
        json_object_set_new(fields, "dropout", json_real(c->dropout));
    if (c->attention_dropout > 0)
        json_object_set_new(fields, "attention_dropout", json_real(c->attention_dropout));
    if (c->arch != FP4_ARCH_OPT)
        return;
    json_object_set_new(fields, "activation", json_string(fp4_activation_name(c->activation)));
    json_object_set_new(fields, "norm", json_string(c->norm_after ? "after" : "before"));
    json_object_set_new(fields, "embedding_width", json_integer((json_int_t)(c->n_word ? c->n_word : c->n_embd)));
}

static void add_config(json_t *fields, const struct fp4_config *c) {
    json_t *all = json_pack("{s:s,s:I,s:I,s:I,s:I,s:I,s:I,s:I,s:I,s:f,s:f,s:b,s:i,s:i}", "architecture",
                            fp4_arch_name(c->arch), "vocabulary", (json_int_t)c->n_vocab, "width",
                            (json_int_t)c->n_embd, "layers", (json_int_t)c->n_layer, "heads", (json_int_t)c->n_head, "kv_heads",
                            (json_int_t)c->n_kv_head, "head_width", (json_int_t)c->head_dim, "feed_forward", (json_int_t)c->n_ff, "context",
                            (json_int_t)c->n_ctx, "norm_epsilon", (double)c->norm_eps, "rope_theta", c->rope_theta, "tied_head",
                            (int)c->tied_head, "bos_id", c->bos_id, "eos_id", c->eos_id);
    if (c->arch == FP4_ARCH_OPT) /* its positions are learned */
        json_object_del(all, "rope_theta");
    json_object_update(fields, all);
    json_decref(all);
    add_particulars(fields, c);
}

/* A checkpoint is shown even when its configuration is missing or not supported: why stands in a field. */
static json_t *head_fields(const char *path, const struct fp4_checkpoint *c) {
    size_t elements = 0, bytes = 0;
    for (size_t i = 0; i < fp4_checkpoint_count(c); i++) {
        elements += fp4_checkpoint_at(c, i)->elements;
        bytes += fp4_checkpoint_at(c, i)->bytes;
    }
    json_t *fields = json_pack("{s:o,s:s,s:I,s:I,s:I}", "file", tool_text(path, strlen(path)), "kind", fp4_checkpoint_kind(c), "tensors_count",
                               (json_int_t)fp4_checkpoint_count(c), "parameters", (json_int_t)elements, "tensor_bytes", (json_int_t)bytes);
    struct fp4_gguf_header header;
    if (fp4_gguf_meta_count(c) && fp4_gguf_header(c, &header) == FP4_OK) {
        json_object_set_new(fields, "gguf_version", json_integer(header.version));
        json_object_set_new(fields, "metadata_count", json_integer((json_int_t)header.kv_count));
    }
    struct fp4_config config;
    if (fp4_config_for(path, c, &config) == FP4_OK)
        add_config(fields, &config);
    else
        json_object_set_new(fields, "no_configuration", tool_text(fp4_last_error(), strlen(fp4_last_error())));
    return fields;
}

/* What it takes to have the model ready for use, with weights in memory or in the file. Pages of the file that are in the page cache are not
 * read again: the first call is slower. */
static fp4_status add_load(const char *path, const char *place, json_t *fields) {
    struct fp4_load load = {0};
    struct fp4_model *m;
    if (fp4_weights_in_parse(place, &load.weights_in) != FP4_OK)
        return fp4_fail(FP4_ERR_ARG, "--load %s: not known; known: auto, memory, file", place);
    load.use = &(struct fp4_use){.tokens = 1};
    fp4_reset_peak_rss();
    size_t before = fp4_peak_rss();
    double start = fp4_now();
    FP4_TRY(fp4_model_open(path, fp4_backend_cpu(), &load, &m));
    json_object_set_new(fields, "load_seconds", tool_number(fp4_now() - start));
    json_object_set_new(fields, "load_weights_in", json_string(fp4_model_weights_in(m) == FP4_WEIGHTS_FILE ? "file" : "memory"));
    json_object_set_new(fields, "load_peak_bytes", json_integer((json_int_t)(fp4_peak_rss() - before)));
    fp4_model_free(m);
    return FP4_OK;
}

struct asked {
    bool metadata, statistics;
    const char *load; /* NULL: no */
};

static fp4_status show(const char *name, enum tool_format format, const struct asked *asked) {
    struct fp4_checkpoint *c;
    struct fp4_hub_found found;
    FP4_TRY(tool_locate(name, &found));
    const char *path = found.path;
    FP4_TRY(fp4_checkpoint_open(path, &c));
    json_t *table = json_array(), *fields = head_fields(path, c);
    fp4_status status = asked->load ? add_load(path, asked->load, fields) : FP4_OK;
    if (status == FP4_OK && asked->metadata)
        metadata_rows(c, table);
    else if (status == FP4_OK)
        status = tensor_rows(c, asked->statistics, table);
    if (status == FP4_OK) {
        status = tool_print(format, fields, asked->metadata ? "metadata" : "tensors", table);
    } else {
        json_decref(fields);
        json_decref(table);
    }
    fp4_checkpoint_close(c);
    return status;
}

int command_info(int argc, char **argv) {
    struct asked asked = {0};
    bool done;
    const struct tool_option options[] = {
        {"metadata", NULL, TOOL_FLAG, &asked.metadata, "list the metadata of a GGUF file instead of the tensors"},
        {"statistics", NULL, TOOL_FLAG, &asked.statistics, "read the tensors: largest magnitude, root mean square, hash of the fp32 values"},
        {"load", "PLACE", TOOL_STRING, &asked.load, "load the model (memory, file or auto): seconds, and memory at the peak"}};
    struct tool_line line = {.name = "info", .positional = "FILE", .min_args = 1, .max_args = 1, .options = options,
                             .n_options = sizeof options / sizeof *options,
                             .summary = "Shows what is in a checkpoint: a .safetensors, .gguf or pytorch_model.bin file, or a folder with weights."};
    if (tool_parse(&line, argc, argv, &done) != FP4_OK)
        return tool_error();
    if (done)
        return TOOL_OK;
    return show(line.args[0], line.format, &asked) == FP4_OK ? TOOL_OK : tool_error_on(line.args[0], NULL);
}
