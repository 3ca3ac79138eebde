/* Configurations: where they are found, what holds for all of them. */
#include "lib/io/config.h"

#include <math.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "lib/io/checkpoint.h"
#include "lib/io/config_fields.h"

enum { CONFIG_MAX = 4 << 20 };

/* Bounds that no real model reaches; with them, products of two sizes fit 64 bits easily. */
enum { MAX_WIDTH = 1 << 24, MAX_LAYERS = 1 << 16 };

static fp4_status check_rope(const char *path, const struct fp4_config *c) {
    const struct fp4_rope *r = &c->rope;
    bool factor = r->factor > 0 && isfinite(r->factor);
    if (r->kind == FP4_ROPE_LINEAR && !factor)
        return fp4_fail(FP4_ERR_FORMAT, "%s: rope scaling: factor %g is out of range", path, r->factor);
    if (r->kind == FP4_ROPE_LLAMA3 && (!factor || !(r->low_freq_factor > 0) || !(r->high_freq_factor > r->low_freq_factor) ||
                                       !isfinite(r->high_freq_factor) || r->original_ctx == 0))
        return fp4_fail(FP4_ERR_FORMAT, "%s: rope scaling llama3: factor %g, low %g, high %g, original context %zu: out of range", path, r->factor,
                        r->low_freq_factor, r->high_freq_factor, r->original_ctx);
    if (r->kind == FP4_ROPE_DIVISORS && c->head_dim / 2 > FP4_ROPE_PAIRS)
        return fp4_fail(FP4_ERR_UNSUPPORTED, "%s: rotary divisors for heads of %zu channels; %d is the most", path, c->head_dim, 2 * FP4_ROPE_PAIRS);
    for (size_t i = 0; r->kind == FP4_ROPE_DIVISORS && i < c->head_dim / 2; i++)
        if (!(r->divisor[i] > 0) || !isfinite(r->divisor[i]))
            return fp4_fail(FP4_ERR_FORMAT, "%s: rotary divisor %zu is %g", path, i, (double)r->divisor[i]);
    return FP4_OK;
}

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
    if (c->n_word > MAX_WIDTH)
        return fp4_fail(FP4_ERR_FORMAT, "%s: the embedding's width is %zu; %d is the most", path, c->n_word, MAX_WIDTH);
    if (c->arch == FP4_ARCH_OPT && (c->n_head * c->head_dim != c->n_embd || c->n_kv_head != c->n_head))
        return fp4_fail(FP4_ERR_FORMAT, "%s: width %zu is not a multiple of %zu heads", path, c->n_embd, c->n_head);
    if (c->arch != FP4_ARCH_OPT && c->head_dim % 2)
        return fp4_fail(FP4_ERR_FORMAT, "%s: head width %zu is odd; the rotary embedding needs pairs", path, c->head_dim);
    if (c->arch == FP4_ARCH_WRITEUP_D && (c->head_dim % 4 || c->head_dim < 8 || c->n_head * c->head_dim != c->n_embd))
        return fp4_fail(FP4_ERR_FORMAT, "%s: width %zu over %zu heads; this net needs heads of a multiple of 4, at least 8", path, c->n_embd,
                        c->n_head);
    bool rotates = c->arch != FP4_ARCH_OPT;
    if (!(c->norm_eps >= 0 && c->norm_eps < 1) || (rotates && !(c->rope_theta > 0 && isfinite(c->rope_theta))))
        return fp4_fail(FP4_ERR_FORMAT, "%s: norm epsilon %g, rope theta %g: out of range", path, (double)c->norm_eps, c->rope_theta);
    int vocab = (int)c->n_vocab;
    if (c->bos_id < -1 || c->bos_id >= vocab || c->eos_id < -1 || c->eos_id >= vocab)
        return fp4_fail(FP4_ERR_FORMAT, "%s: begin token %d or end token %d is outside the vocabulary of %d", path, c->bos_id, c->eos_id,
                        vocab);
    if (c->has_pad && (c->pad_id < 0 || c->pad_id >= vocab))
        return fp4_fail(FP4_ERR_FORMAT, "%s: padding token %d is outside the vocabulary of %d", path, c->pad_id, vocab);
    if (!(c->dropout >= 0 && c->dropout < 1) || !(c->attention_dropout >= 0 && c->attention_dropout < 1))
        return fp4_fail(FP4_ERR_FORMAT, "%s: dropout %g, attention dropout %g: from 0 to below 1 is possible", path, c->dropout,
                        c->attention_dropout);
    return check_rope(path, c);
}

/* Llama 3.1 (transformers' _compute_llama3_parameters): wavelengths above original/low are stretched by the factor, those below
 * original/high stay, and between them the two frequencies are mixed linearly in original/wavelength. */
static double llama3_divisor(const struct fp4_config *c, size_t pair) {
    const struct fp4_rope *r = &c->rope;
    double frequency = pow(c->rope_theta, -2.0 * (double)pair / (double)c->head_dim);
    double turns = (double)r->original_ctx * frequency / 6.283185307179586; /* original context in wavelengths */
    if (turns < r->low_freq_factor)
        return r->factor;
    if (turns > r->high_freq_factor)
        return 1.0;
    double smooth = (turns - r->low_freq_factor) / (r->high_freq_factor - r->low_freq_factor);
    return 1.0 / ((1.0 - smooth) / r->factor + smooth);
}

double fp4_rope_divisor(const struct fp4_config *c, size_t pair) {
    switch (c->rope.kind) {
    case FP4_ROPE_LINEAR: return c->rope.factor;
    case FP4_ROPE_LLAMA3: return llama3_divisor(c, pair);
    case FP4_ROPE_DIVISORS: return (double)c->rope.divisor[pair];
    case FP4_ROPE_DEFAULT: break;
    }
    return 1.0;
}

fp4_status io_config_parse(const char *name, const void *bytes, size_t size, struct fp4_config *out) {
    json_t *root;
    FP4_TRY(io_json_parse(name, 0, bytes, size, &root));
    struct fields f = {name, root};
    fp4_status status = json_is_object(root) ? config_read_fields(&f, out) : fp4_fail(FP4_ERR_FORMAT, "%s: not a JSON object", name);
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
