/* config.json, as transformers 4 (rope_theta, rope_scaling, torch_dtype) and 5 (rope_parameters, dtype) write it. Defaults are
 * those of transformers' LlamaConfig. */
#include "lib/io/config.h"

#include <math.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "lib/io/checkpoint.h"

enum { CONFIG_MAX = 4 << 20 };

/* Bounds that no real model reaches; with them, products of two sizes fit 64 bits easily. */
enum { MAX_WIDTH = 1 << 24, MAX_LAYERS = 1 << 16 };

fp4_status io_config_check(const char *path, const struct fp4_config *c) {
    const struct {
        const char *name;
        size_t value, limit;
    } sizes[] = {{"vocabulary", c->n_vocab, MAX_WIDTH},   {"width", c->n_embd, MAX_WIDTH},     {"layers", c->n_layer, MAX_LAYERS},
                 {"heads", c->n_head, MAX_LAYERS},        {"key-value heads", c->n_kv_head, MAX_LAYERS},
                 {"head width", c->head_dim, MAX_LAYERS}, {"feed-forward width", c->n_ff, MAX_WIDTH}, {"context", c->n_ctx, (size_t)1 << 31}};
    for (size_t i = 0; i < sizeof sizes / sizeof *sizes; i++)
        if (sizes[i].value == 0 || sizes[i].value > sizes[i].limit)
            return fp4_fail(FP4_ERR_FORMAT, "%s: %s is %zu; 1 to %zu is possible", path, sizes[i].name, sizes[i].value, sizes[i].limit);
    if (c->n_head % c->n_kv_head)
        return fp4_fail(FP4_ERR_FORMAT, "%s: %zu heads are not a multiple of %zu key-value heads", path, c->n_head, c->n_kv_head);
    if (c->head_dim % 2)
        return fp4_fail(FP4_ERR_FORMAT, "%s: head width %zu is odd; the rotary embedding needs pairs", path, c->head_dim);
    if (c->arch == FP4_ARCH_WRITEUP_D && (c->head_dim % 4 || c->head_dim < 8 || c->n_head * c->head_dim != c->n_embd))
        return fp4_fail(FP4_ERR_FORMAT, "%s: width %zu over %zu heads; this net needs heads of a multiple of 4, at least 8", path, c->n_embd,
                        c->n_head);
    if (!(c->norm_eps >= 0 && c->norm_eps < 1) || !(c->rope_theta > 0 && isfinite(c->rope_theta)))
        return fp4_fail(FP4_ERR_FORMAT, "%s: norm epsilon %g, rope theta %g: out of range", path, (double)c->norm_eps, c->rope_theta);
    int vocab = (int)c->n_vocab;
    if (c->bos_id < -1 || c->bos_id >= vocab || c->eos_id < -1 || c->eos_id >= vocab)
        return fp4_fail(FP4_ERR_FORMAT, "%s: begin token %d or end token %d is outside the vocabulary of %d", path, c->bos_id, c->eos_id,
                        vocab);
    return FP4_OK;
}

/* ---- fields; an absent one or null keeps the value that is there, which is the default ---- */

struct fields {
    const char *path;
    json_t *root;
};

static json_t *field(const struct fields *f, const char *name) {
    json_t *value = json_object_get(f->root, name);
    return json_is_null(value) ? NULL : value;
}

static fp4_status wrong(const struct fields *f, const char *name, const char *wanted) {
    return fp4_fail(FP4_ERR_FORMAT, "%s: %s is not %s", f->path, name, wanted);
}

static fp4_status get_size(const struct fields *f, const char *name, bool required, size_t *out) {
    json_t *value = field(f, name);
    if (!value)
        return required ? fp4_fail(FP4_ERR_FORMAT, "%s: %s is missing", f->path, name) : FP4_OK;
    if (!json_is_integer(value) || json_integer_value(value) < 0)
        return wrong(f, name, "a size");
    *out = (size_t)json_integer_value(value);
    return FP4_OK;
}

static fp4_status get_number(const struct fields *f, const char *name, double *out) {
    json_t *value = field(f, name);
    if (!value)
        return FP4_OK;
    if (!json_is_number(value))
        return wrong(f, name, "a number");
    *out = json_number_value(value);
    return FP4_OK;
}

static fp4_status get_bool(const struct fields *f, const char *name, bool *out) {
    json_t *value = field(f, name);
    if (!value)
        return FP4_OK;
    if (!json_is_boolean(value))
        return wrong(f, name, "true or false");
    *out = json_boolean_value(value);
    return FP4_OK;
}

/* A token id; of a list of end tokens the first. */
static fp4_status get_id(const struct fields *f, const char *name, int *out) {
    json_t *value = field(f, name);
    if (json_is_array(value))
        value = json_array_get(value, 0);
    if (!value)
        return FP4_OK;
    if (!json_is_integer(value) || json_integer_value(value) < -1 || json_integer_value(value) > INT32_MAX)
        return wrong(f, name, "a token id");
    *out = (int)json_integer_value(value);
    return FP4_OK;
}

/* ---- what would change the numbers ---- */

static fp4_status unsupported(const struct fields *f, const char *name, json_t *value) {
    char *text = json_dumps(value, JSON_ENCODE_ANY | JSON_COMPACT);
    fp4_status status = fp4_fail(FP4_ERR_UNSUPPORTED, "%s: %s = %.200s is not supported", f->path, name, text ? text : "?");
    free(text);
    return status;
}

static fp4_status refuse_unsupported(const struct fields *f) {
    json_t *activation = field(f, "hidden_act");
    const char *name = json_string_value(activation);
    if (activation && (!name || (strcmp(name, "silu") != 0 && strcmp(name, "swish") != 0)))
        return unsupported(f, "hidden_act", activation);
    static const char *const must_be_off[] = {"attention_bias", "mlp_bias", "sliding_window", "quantization_config", "attn_logit_softcapping",
                                              "final_logit_softcapping", "use_sliding_window", "num_local_experts"};
    for (size_t i = 0; i < sizeof must_be_off / sizeof *must_be_off; i++) {
        json_t *value = field(f, must_be_off[i]);
        if (value && !json_is_false(value))
            return unsupported(f, must_be_off[i], value);
    }
    return FP4_OK;
}

/* Either spelling: {"rope_type": "default", ...} or {"type": "default"}; anything but plain rotation is refused. */
static fp4_status check_rope(const struct fields *f, const char *name) {
    json_t *rope = field(f, name);
    if (!rope)
        return FP4_OK;
    if (!json_is_object(rope))
        return wrong(f, name, "an object");
    json_t *type = json_object_get(rope, "rope_type");
    if (!type)
        type = json_object_get(rope, "type");
    if (type && (!json_is_string(type) || strcmp(json_string_value(type), "default") != 0))
        return unsupported(f, name, rope);
    json_t *partial = json_object_get(rope, "partial_rotary_factor");
    if (partial && json_number_value(partial) != 1)
        return unsupported(f, name, rope);
    if (!type && strcmp(name, "rope_scaling") == 0)
        return unsupported(f, name, rope);
    return FP4_OK;
}

static fp4_status read_rope(const struct fields *f, struct fp4_config *out) {
    FP4_TRY(check_rope(f, "rope_scaling"));
    FP4_TRY(check_rope(f, "rope_parameters"));
    double partial = 1;
    FP4_TRY(get_number(f, "partial_rotary_factor", &partial));
    if (partial != 1)
        return unsupported(f, "partial_rotary_factor", field(f, "partial_rotary_factor"));
    FP4_TRY(get_number(f, "rope_theta", &out->rope_theta));
    struct fields inner = {f->path, field(f, "rope_parameters")};
    return inner.root ? get_number(&inner, "rope_theta", &out->rope_theta) : FP4_OK;
}

static fp4_status read_arch(const struct fields *f, struct fp4_config *out) {
    const char *type = json_string_value(field(f, "model_type"));
    if (!type)
        return fp4_fail(FP4_ERR_FORMAT, "%s: model_type is missing", f->path);
    if (strcmp(type, "llama") == 0)
        out->arch = FP4_ARCH_LLAMA;
    else if (strcmp(type, "fp4lab-writeup-d") == 0)
        out->arch = FP4_ARCH_WRITEUP_D;
    else
        return fp4_fail(FP4_ERR_UNSUPPORTED, "%s: model_type \"%s\" is not supported; llama and fp4lab-writeup-d are", f->path, type);
    return FP4_OK;
}

static fp4_status read_fields(const struct fields *f, struct fp4_config *out) {
    *out = (struct fp4_config){.n_ctx = 2048, .rope_theta = 10000, .bos_id = -1, .eos_id = -1};
    FP4_TRY(read_arch(f, out));
    FP4_TRY(refuse_unsupported(f));
    FP4_TRY(get_size(f, "vocab_size", true, &out->n_vocab));
    FP4_TRY(get_size(f, "hidden_size", true, &out->n_embd));
    FP4_TRY(get_size(f, "num_hidden_layers", true, &out->n_layer));
    FP4_TRY(get_size(f, "num_attention_heads", true, &out->n_head));
    FP4_TRY(get_size(f, "intermediate_size", true, &out->n_ff));
    FP4_TRY(get_size(f, "max_position_embeddings", false, &out->n_ctx));
    out->n_kv_head = out->n_head;
    FP4_TRY(get_size(f, "num_key_value_heads", false, &out->n_kv_head));
    out->head_dim = out->n_head ? out->n_embd / out->n_head : 0;
    FP4_TRY(get_size(f, "head_dim", false, &out->head_dim));
    if (out->arch == FP4_ARCH_WRITEUP_D && out->n_kv_head != out->n_head)
        return unsupported(f, "num_key_value_heads", field(f, "num_key_value_heads"));
    double eps = out->arch == FP4_ARCH_WRITEUP_D ? 0x1p-23 : 1e-6;
    FP4_TRY(get_number(f, "rms_norm_eps", &eps));
    out->norm_eps = (float)eps;
    FP4_TRY(read_rope(f, out));
    FP4_TRY(get_bool(f, "tie_word_embeddings", &out->tied_head));
    FP4_TRY(get_id(f, "bos_token_id", &out->bos_id));
    FP4_TRY(get_id(f, "eos_token_id", &out->eos_id));
    FP4_TRY(get_bool(f, "add_bos_token", &out->add_bos));
    FP4_TRY(get_bool(f, "no_positions", &out->no_positions));
    if (out->no_positions && out->arch != FP4_ARCH_WRITEUP_D)
        return unsupported(f, "no_positions", field(f, "no_positions"));
    return io_config_check(f->path, out);
}

fp4_status io_config_parse(const char *name, const void *bytes, size_t size, struct fp4_config *out) {
    json_t *root;
    FP4_TRY(io_json_parse(name, 0, bytes, size, &root));
    struct fields f = {name, root};
    fp4_status status = json_is_object(root) ? read_fields(&f, out) : fp4_fail(FP4_ERR_FORMAT, "%s: not a JSON object", name);
    json_decref(root);
    return status;
}

fp4_status fp4_config_read_json(const char *path, struct fp4_config *out) {
    char *text;
    size_t size;
    FP4_TRY(fp4_read_file(path, CONFIG_MAX, &text, &size));
    fp4_status status = io_config_parse(path, text, size, out);
    fp4_free(text);
    return status;
}

fp4_status fp4_config_for(const char *path, const struct fp4_checkpoint *c, struct fp4_config *out) {
    if (strcmp(fp4_checkpoint_kind(c), "gguf") == 0)
        return fp4_config_from_gguf(c, out);
    struct stat info;
    bool folder = stat(path, &info) == 0 && S_ISDIR(info.st_mode);
    const char *slash = strrchr(path, '/');
    int length = folder ? (int)strlen(path) : slash ? (int)(slash - path) : 0;
    char file[4096];
    int n = snprintf(file, sizeof file, "%.*s%sconfig.json", length, path, folder || slash ? "/" : "");
    if (n < 0 || (size_t)n >= sizeof file)
        return fp4_fail(FP4_ERR_ARG, "%s: path too long", path);
    if (access(file, F_OK) != 0)
        return fp4_fail(FP4_ERR_IO, "%s: not found; the weights need their configuration beside them", file);
    return fp4_config_read_json(file, out);
}
