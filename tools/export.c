/* fp4lab export: a checkpoint in another container or element type, its weights rounded to a format if asked. */
#include <string.h>

#include "fp4lab/hub.h"
#include "fp4lab/weights.h"
#include "tools/tool.h"

struct request {
    const char *model, *to, *dtype;
    struct fp4_export how;
    size_t shard_mb, seed;
    bool no_tokenizer;
    enum tool_format format;
};

static fp4_status read_dtype(const char *text, enum fp4_dtype *out) {
    static const struct {
        const char *name;
        enum fp4_dtype type;
    } types[] = {{"f32", FP4_F32}, {"bf16", FP4_BF16}, {"f16", FP4_F16}, {"q8_0", FP4_GGUF_Q8_0}, {"mxfp4", FP4_GGUF_MXFP4}};
    for (size_t i = 0; i < sizeof types / sizeof *types; i++)
        if (strcmp(text, types[i].name) == 0) {
            *out = types[i].type;
            return FP4_OK;
        }
    return fp4_fail(FP4_ERR_ARG, "--dtype %s: f32, bf16 or f16, and q8_0 or mxfp4 into a GGUF file", text);
}

static fp4_status report(const struct request *r, struct fp4_model *m, uint64_t bytes, double seconds) {
    char spelling[FP4_SPELLING_MAX];
    fp4_quantizer_spell(&r->how.weights, spelling);
    json_t *fields = json_pack("{s:o,s:o,s:I,s:I,s:s,s:s,s:o}", "model", tool_text(r->model, strlen(r->model)), "written", tool_text(r->to, strlen(r->to)), "parameters",
                               (json_int_t)fp4_model_n_elements(m), "weight_bytes", (json_int_t)bytes, "dtype", fp4_dtype_name(r->how.dtype), "weights", spelling,
                               "seconds", tool_number(seconds));
    return tool_print(r->format, fields, NULL, NULL);
}

static bool names_gguf(const char *path) {
    size_t n = strlen(path);
    return n > 5 && strcmp(path + n - 5, ".gguf") == 0;
}

static fp4_status write_folder(const struct request *r, struct fp4_model *m, const char *source, uint64_t *bytes) {
    bool found;
    if (!r->no_tokenizer)
        FP4_TRY(fp4_tokenizer_export(source, NULL, &found)); /* what cannot be done is known before anything is written */
    FP4_TRY(fp4_model_export(m, r->to, &r->how, bytes));
    return r->no_tokenizer ? FP4_OK : fp4_tokenizer_export(source, r->to, &found);
}

static fp4_status write(const struct request *r, struct fp4_model *m, const char *source) {
    uint64_t bytes = 0;
    double start = fp4_now();
    fp4_status status = names_gguf(r->to) ? fp4_model_export_gguf(m, r->to, r->no_tokenizer ? NULL : source, &r->how, &bytes) : write_folder(r, m, source, &bytes);
    return status == FP4_OK ? report(r, m, bytes, fp4_now() - start) : status;
}

static fp4_status run(struct request *r) {
    struct fp4_model *m;
    struct fp4_hub_found found;
    const struct fp4_load load = {.weights_in = FP4_WEIGHTS_FILE}; /* a tensor at a time is all that is needed */
    if (!r->model || !r->to)
        return fp4_fail(FP4_ERR_ARG, "--%s is missing; 'fp4lab export --help' shows how", r->model ? "to" : "model");
    FP4_TRY(read_dtype(r->dtype, &r->how.dtype));
    r->how.seed = (uint32_t)r->seed;
    r->how.shard_bytes = r->shard_mb * 1000000;
    FP4_TRY(tool_locate(r->model, &found));
    FP4_TRY(fp4_model_open(found.path, fp4_backend_cpu(), &load, &m));
    fp4_status status = write(r, m, found.path);
    fp4_model_free(m);
    return status;
}

int command_export(int argc, char **argv) {
    struct request r = {.dtype = "f32", .seed = 1, .shard_mb = 5000};
    const struct tool_option options[] = {
        {"model", "PATH", TOOL_STRING, &r.model, "a folder with config.json and safetensors (or pytorch_model.bin), a GGUF file, or ORG/NAME of a hub"},
        {"to", "PATH", TOOL_STRING, &r.to, "the folder to write, made if need be, or a file that ends with .gguf"},
        {"dtype", "TYPE", TOOL_STRING, &r.dtype, "f32 (default), bf16, f16: rounded to nearest even; q8_0, mxfp4 in a GGUF file, whose vectors stay f32"},
        {"weights", "FORMAT", TOOL_QUANTIZER, &r.how.weights, "round the weights of linear layers to a format and back first (default: none)"},
        {"head", NULL, TOOL_FLAG, &r.how.head, "the output head's too"},
        {"seed", "N", TOOL_COUNT, &r.seed, "seed of stochastic rounding and Hadamard signs (default: 1)"},
        {"shard-size", "MB", TOOL_COUNT, &r.shard_mb, "cut the weights into files of at most so many megabytes (default: 5000)"},
        {"no-tokenizer", NULL, TOOL_FLAG, &r.no_tokenizer, "the weights and their configuration alone"},
        {"force", NULL, TOOL_FLAG, &r.how.force, "write over a checkpoint that is there"}};
    struct tool_line line = {
        .name = "export", .positional = "", .options = options, .n_options = sizeof options / sizeof *options, .lists_formats = true,
        .summary = "Writes a checkpoint that Hugging Face transformers (a folder) or llama.cpp (a GGUF file) loads.",
        .notes = "A folder gets model.safetensors (or shards and their index), config.json, generation_config.json and the tokenizer: the files of a source\n"
                 "folder as they are, and from a GGUF file a tokenizer.json that gives the same ids. A GGUF file has the llama architecture; a folder's tokenizer.json\n"
                 "goes into it. llama.cpp has no OPT, and neither of the two knows the net of the training write-up: it is written with a model_type of its own.\n"
                 "Memory for the largest tensor is all that writing takes; files appear whole or not at all; the same model gives the same bytes."};
    bool done;
    if (tool_parse(&line, argc, argv, &done) != FP4_OK)
        return tool_error();
    if (done)
        return TOOL_OK;
    r.format = line.format;
    return run(&r) == FP4_OK ? TOOL_OK : tool_error_on(r.model, r.to);
}
