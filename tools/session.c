/* Opening what a command line names: model, tokenizer, text, token ids. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "tools/tool.h"

enum { TEXT_MAX = 1 << 30 };

fp4_status tool_locate(const char *model, struct fp4_hub_found *out) { return fp4_hub_locate(model, NULL, out); }

fp4_status tool_open_tokenizer(const char *model, struct fp4_tokenizer **out) {
    if (!model)
        return fp4_fail(FP4_ERR_ARG, "--model is missing; name a GGUF file, a tokenizer.json, or a folder that holds one");
    struct fp4_hub_found found;
    FP4_TRY(tool_locate(model, &found));
    return fp4_tokenizer_open(found.path, out);
}

fp4_status tool_read_text(const char *file, const char *literal, char **text, size_t *n) {
    if (file)
        return fp4_read_file(file, TEXT_MAX, text, n);
    *n = strlen(literal);
    return fp4_strdup(literal, text);
}

/* Ids separated by commas, blanks or newlines, each in the vocabulary. */
static fp4_status parse_ids(const char *list, size_t n_vocab, int32_t **ids, size_t *n) {
    FP4_TRY(FP4_NEW(*ids, strlen(list) + 1));
    *n = 0;
    for (const char *p = list + strspn(list, ", \n"); *p; p += strspn(p, ", \n")) {
        char *end;
        errno = 0;
        long id = strtol(p, &end, 10);
        if (errno || end == p || !strchr(", \n", *end))
            return fp4_fail(FP4_ERR_ARG, "--tokens: \"%.20s\" is not a token id; write them as 1,2,3", p);
        if (id < 0 || (unsigned long)id >= n_vocab)
            return fp4_fail(FP4_ERR_ARG, "--tokens: %ld is not in the vocabulary of 0 to %zu", id, n_vocab - 1);
        (*ids)[(*n)++] = (int32_t)id;
        p = end;
    }
    return *n ? FP4_OK : fp4_fail(FP4_ERR_ARG, "--tokens: no token id; write them as 1,2,3");
}

static fp4_status tokenize_input(const struct tool_input *in, struct tool_session *s) {
    char *text, *joined = NULL;
    size_t n;
    FP4_TRY(tool_read_text(in->text, in->prompt, &text, &n));
    fp4_status status = fp4_text_join(text, n, in->join, &joined, &n);
    fp4_free(text);
    if (status == FP4_OK)
        status = fp4_tokenize(s->tokenizer, joined, n, true, &s->ids, &s->n_ids);
    fp4_free(joined);
    return status;
}

fp4_status tool_begin_with(struct tool_session *s, int32_t id) {
    int32_t *longer;
    FP4_TRY(FP4_NEW(longer, s->n_ids + 1));
    longer[0] = id;
    if (s->n_ids)
        memcpy(longer + 1, s->ids, s->n_ids * sizeof *longer);
    fp4_free(s->ids);
    s->ids = longer;
    s->n_ids++;
    return FP4_OK;
}

static fp4_status read_tokens(const struct tool_input *in, bool begin, struct tool_session *s) {
    const struct fp4_config *config = &s->config;
    if (in->tokens)
        return parse_ids(in->tokens, config->n_vocab, &s->ids, &s->n_ids);
    FP4_TRY(tokenize_input(in, s));
    for (size_t i = 0; i < s->n_ids; i++)
        if (s->ids[i] < 0 || (size_t)s->ids[i] >= config->n_vocab)
            return fp4_fail(FP4_ERR_FORMAT, "%s: its tokenizer gives token %d, its vocabulary has %zu; they do not belong together", in->model,
                            (int)s->ids[i], config->n_vocab);
    const int32_t *first;
    size_t n_first = begin ? fp4_tokenizer_begin(s->tokenizer, &first) : 0;
    for (size_t i = n_first; i-- > 0;)
        FP4_TRY(tool_begin_with(s, first[i]));
    /* A configuration of ours may say what its tokenizer.json does not. */
    return begin && !n_first && config->add_bos && config->bos_id >= 0 ? tool_begin_with(s, config->bos_id) : FP4_OK;
}

static fp4_status read_config(const char *path, struct tool_session *s) {
    struct fp4_checkpoint *c;
    if (snprintf(s->path, sizeof s->path, "%s", path) >= (int)sizeof s->path)
        return fp4_fail(FP4_ERR_ARG, "--model: the path is too long");
    FP4_TRY(fp4_checkpoint_open(path, &c));
    fp4_status status = fp4_config_for(path, c, &s->config);
    fp4_checkpoint_close(c);
    return status;
}

static fp4_status check_input(const struct tool_input *in) {
    if (!in->model)
        return fp4_fail(FP4_ERR_ARG, "--model is missing; name a folder with config.json and safetensors (or pytorch_model.bin), a GGUF file, or ORG/NAME of a hub");
    if ((in->text != NULL) + (in->tokens != NULL) + (in->prompt != NULL) != 1)
        return fp4_fail(FP4_ERR_ARG, "give the input once: --text FILE, --tokens IDS or (logits, generate) --prompt TEXT");
    return FP4_OK;
}

static fp4_status open_all(const struct tool_input *in, bool begin, struct tool_session *s) {
    if (!in->tokens)
        FP4_TRY(fp4_tokenizer_open(in->model, &s->tokenizer));
    else if (fp4_tokenizer_open(in->model, &s->tokenizer) != FP4_OK)
        s->tokenizer = NULL; /* ids go without: texts of tokens are left out */
    FP4_TRY(read_config(in->model, s));
    return read_tokens(in, begin, s);
}

fp4_status tool_open(const struct tool_input *in, bool begin, struct tool_session *out) {
    struct tool_input here = *in;
    struct fp4_hub_found found;
    *out = (struct tool_session){0};
    FP4_TRY(check_input(in));
    FP4_TRY(tool_locate(in->model, &found));
    here.model = found.path;
    fp4_status status = open_all(&here, begin, out);
    if (status != FP4_OK)
        tool_close(out);
    return status;
}

fp4_status tool_fits(const struct tool_input *in, const struct tool_session *s, size_t more) {
    const char *what = in->text ? in->text : in->tokens ? "--tokens" : "--prompt";
    if (s->n_ids == 0)
        return fp4_fail(FP4_ERR_ARG, "%s: there are no tokens; a model needs at least one", what);
    if (s->n_ids > s->config.n_ctx)
        return fp4_fail(FP4_ERR_ARG, "%s: %zu tokens are more than the model's context of %zu; give less", what, s->n_ids, s->config.n_ctx);
    if (more > s->config.n_ctx - s->n_ids)
        return fp4_fail(FP4_ERR_ARG, "--n %zu: after %zu tokens the model's context of %zu has room for %zu", more, s->n_ids, s->config.n_ctx,
                        s->config.n_ctx - s->n_ids);
    return FP4_OK;
}

void tool_close(struct tool_session *s) {
    if (s->model)
        fp4_model_free(s->model);
    if (s->tokenizer)
        fp4_tokenizer_close(s->tokenizer);
    fp4_free(s->ids);
    *s = (struct tool_session){0};
}

static int32_t known_id(const struct tool_session *s, const json_t *row) {
    json_int_t id = json_integer_value(json_object_get(row, "id"));
    return id >= 0 && (size_t)id < fp4_tokenizer_vocab(s->tokenizer) ? (int32_t)id : -1;
}

static fp4_status add_texts(const struct tool_session *s, json_t *table, int32_t *ids, size_t *end) {
    char *texts;
    size_t n = 0, i, start = 0;
    json_t *row;
    json_array_foreach(table, i, row) if (known_id(s, row) >= 0) ids[n++] = known_id(s, row);
    FP4_TRY(fp4_token_texts(s->tokenizer, ids, n, &texts, end));
    json_array_foreach(table, i, row) if (known_id(s, row) >= 0) {
        json_object_set_new(row, "text", tool_text(texts + start, *end - start));
        start = *end++;
    }
    fp4_free(texts);
    return FP4_OK;
}

fp4_status tool_add_texts(const struct tool_session *s, json_t *table) {
    int32_t *ids;
    size_t *end;
    if (!s->tokenizer)
        return FP4_OK;
    FP4_TRY(FP4_NEW(ids, json_array_size(table)));
    fp4_status status = FP4_NEW(end, json_array_size(table));
    if (status == FP4_OK)
        status = add_texts(s, table, ids, end);
    fp4_free(end);
    fp4_free(ids);
    return status;
}

void tool_add_policy(json_t *fields, const struct tool_input *in) {
    char spelling[FP4_SPELLING_MAX];
    fp4_quantizer_spell(&in->weights, spelling);
    json_object_set_new(fields, "weights", json_string(spelling));
    fp4_quantizer_spell(&in->activations, spelling);
    json_object_set_new(fields, "activations", json_string(spelling));
}
