/* fp4lab export: a checkpoint in another container or element type, its weights rounded to a format if asked. */
#include <string.h>

#include "tools/tool.h"

struct request {
    const char *model, *to, *dtype;
    struct fp4_export how;
    size_t shard_mb, seed;
    enum tool_format format;
};

static fp4_status read_dtype(const char *text, enum fp4_dtype *out) {
    static const struct {
        const char *name;
        enum fp4_dtype type;
    } types[] = {{"f32", FP4_F32}, {"bf16", FP4_BF16}, {"f16", FP4_F16}, {"q8_0", FP4_GGUF_Q8_0}};
    for (size_t i = 0; i < sizeof types / sizeof *types; i++)
        if (strcmp(text, types[i].name) == 0) {
            *out = types[i].type;
            return FP4_OK;
        }
    return fp4_fail(FP4_ERR_ARG, "--dtype %s: f32, bf16 or f16, and q8_0 into a GGUF file", text);
}

static fp4_status report(const struct request *r, struct fp4_model *m, uint64_t bytes, double seconds) {
    char spelling[FP4_SPELLING_MAX];
    fp4_quantizer_spell(&r->how.weights, spelling);
    json_t *fields = json_pack("{s:o,s:o,s:I,s:I,s:s,s:s,s:o}", "model", tool_text(r->model, strlen(r->model)), "written", tool_text(r->to, strlen(r->to)), "parameters",
                               (json_int_t)fp4_model_n_elements(m), "weight_bytes", (json_int_t)bytes, "dtype", fp4_dtype_name(r->how.dtype), "weights", spelling,
                               "seconds", tool_number(seconds));
    return tool_print(r->format, fields, NULL, NULL);
}

static fp4_status write(const struct request *r, struct fp4_model *m) {
    uint64_t bytes = 0;
    double start = fp4_now();
    FP4_TRY(fp4_model_export(m, r->to, &r->how, &bytes));
    return report(r, m, bytes, fp4_now() - start);
}

static fp4_status run(struct request *r) {
    struct fp4_model *m;
    struct fp4_hub_found found;
    if (!r->model || !r->to)
        return fp4_fail(FP4_ERR_ARG, "--%s is missing; 'fp4lab export --help' shows how", r->model ? "to" : "model");
    FP4_TRY(read_dtype(r->dtype, &r->how.dtype));
    r->how.seed = (uint32_t)r->seed;
    r->how.shard_bytes = r->shard_mb * 1000000;
    FP4_TRY(tool_locate(r->model, &found));
    FP4_TRY(fp4_model_load(found.path, fp4_backend_cpu(), &m));
    fp4_status status = write(r, m);
    fp4_model_free(m);
    return status;
}

int command_export(int argc, char **argv) {
    struct request r = {.dtype = "f32", .seed = 1, .shard_mb = 5000};
    const struct tool_option options[] = {
        {"model", "PATH", TOOL_STRING, &r.model, "a folder with safetensors and config.json, a GGUF file, or ORG/NAME of a hub"},
        {"to", "PATH", TOOL_STRING, &r.to, "the folder to write, made if need be"},
        {"dtype", "TYPE", TOOL_STRING, &r.dtype, "f32 (default), bf16, f16: rounded to nearest even"},
        {"weights", "FORMAT", TOOL_QUANTIZER, &r.how.weights, "round the weights of linear layers to a format and back first (default: none)"},
        {"head", NULL, TOOL_FLAG, &r.how.head, "the output head's too"},
        {"seed", "N", TOOL_COUNT, &r.seed, "seed of stochastic rounding and Hadamard signs (default: 1)"},
        {"shard-size", "MB", TOOL_COUNT, &r.shard_mb, "cut the weights into files of at most so many megabytes (default: 5000)"},
        {"force", NULL, TOOL_FLAG, &r.how.force, "write over a checkpoint that is there"}};
    struct tool_line line = {
        .name = "export", .positional = "", .options = options, .n_options = sizeof options / sizeof *options, .lists_formats = true,
        .summary = "Writes a checkpoint that Hugging Face transformers loads with the same logits.",
        .notes = "The folder gets model.safetensors (or shards and their index), config.json and generation_config.json. Memory for the largest\n"
                 "tensor is all that writing takes; files appear whole or not at all; the same model gives the same bytes."};
    bool done;
    if (tool_parse(&line, argc, argv, &done) != FP4_OK)
        return tool_error();
    if (done)
        return TOOL_OK;
    r.format = line.format;
    return run(&r) == FP4_OK ? TOOL_OK : tool_error();
}
