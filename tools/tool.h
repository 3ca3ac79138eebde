/* What the subcommands of fp4lab share: option tables, the document that a command prints, opened models and texts.
 * A subcommand is a function in a file of its own; tools/main.c lists them. Functions return fp4_status with the library's message. */
#ifndef FP4LAB_TOOLS_TOOL_H
#define FP4LAB_TOOLS_TOOL_H

#include <jansson.h>

#include "fp4lab/hub.h"
#include "fp4lab/model.h"
#include "fp4lab/text.h"
#include "fp4lab/weights.h"

/* Exit statuses of every program here. */
enum { TOOL_OK = 0, TOOL_NO = 1, TOOL_ERROR = 2 };

/* ---- options ---- */

enum tool_kind { TOOL_STRING, TOOL_COUNT, TOOL_NUMBER, TOOL_FLAG, TOOL_QUANTIZER };
struct tool_option {
    const char *name, *argument; /* argument: its name in --help; NULL for flags */
    enum tool_kind kind;
    void *target; /* const char **, size_t *, double *, bool *, struct fp4_quantizer * */
    const char *help;
};

enum tool_format { TOOL_TEXT, TOOL_JSON, TOOL_CSV, TOOL_MD };

/* A subcommand's command line. -o, --threads, --offline and --help are understood by all. */
struct tool_line {
    const char *name, *positional; /* "FILE" or "" */
    const char *summary, *notes;   /* notes: printed at the end of --help, or NULL */
    const struct tool_option *options;
    size_t n_options;
    bool lists_formats;      /* --help ends with the spellings of quantizers */
    size_t min_args, max_args;
    enum tool_format format; /* of -o */
    char **args;             /* what is not an option */
    size_t n_args;
};
/* Reads the command line; *done: --help was printed and nothing is left to do. */
fp4_status tool_parse(struct tool_line *line, int argc, char **argv, bool *done);

/* ---- output: fields, and a table of rows ---- */

/* fields: an object. table: NULL or an array of objects with the same keys, which JSON holds under `name`. Both are released. */
fp4_status tool_print(enum tool_format format, json_t *fields, const char *name, json_t *table);
/* A number; null when it is not finite. */
json_t *tool_number(double x);
/* Text of any bytes, repaired to UTF-8. */
json_t *tool_text(const char *bytes, size_t n);

/* ---- models and texts ---- */

struct tool_input {
    const char *model, *text, *tokens, *prompt; /* files, a list of ids, literal text; NULL: not given */
    struct fp4_quantizer weights, activations;
    bool head;
    size_t seed;
    const char *weights_in; /* --weights-in; NULL: auto */
    bool ignore_memory, dry_run;
    enum fp4_join join; /* of the lines of --text */
};
struct tool_session {
    char path[4096];           /* of the model */
    struct fp4_config config;
    struct fp4_model *model;   /* from tool_load on */
    struct fp4_tokenizer *tokenizer; /* NULL: none beside the model */
    int32_t *ids;
    size_t n_ids;
};
/* Where a model is that a command line names: a path, or ORG/NAME[@REVISION][:FILE] in the cache or fetched. */
fp4_status tool_locate(const char *model, struct fp4_hub_found *out);
/* The tokenizer of a model's path or name. */
fp4_status tool_open_tokenizer(const char *model, struct fp4_tokenizer **out);
/* The text that the options name (a file or literal), fp4_alloc'ed. */
fp4_status tool_read_text(const char *file, const char *literal, char **text, size_t *n);
/* The model's configuration and tokenizer, and the tokens of --text, --prompt or --tokens. begin: put the model's begin token first where
 * it wants one. */
fp4_status tool_open(const struct tool_input *in, bool begin, struct tool_session *out);
/* The session's tokens and `more` new ones must fit into the model's context, and there must be a token. */
fp4_status tool_fits(const struct tool_input *in, const struct tool_session *s, size_t more);
/* Loads the model for a use and sets its policy. --dry-run: prints the memory that it would take instead, and *done; FP4_ERR_MEMORY when that is
 * more than there is. */
fp4_status tool_load(const struct tool_input *in, const struct fp4_use *use, enum tool_format format, struct tool_session *s, bool *done);
/* Puts a token before all others. */
fp4_status tool_begin_with(struct tool_session *s, int32_t id);
void tool_close(struct tool_session *s);
/* Puts the text of each row's "id" into its "text", which stays as it is where the tokenizer lacks the token, and without one. */
fp4_status tool_add_texts(const struct tool_session *s, json_t *table);
/* Token ids in a line, as --tokens takes them. */
void tool_print_ids(const int32_t *ids, size_t n);
/* The spellings of both operands, as fields. */
void tool_add_policy(json_t *fields, const struct tool_input *in);

/* The options that open a model, into a struct tool_input. */
#define TOOL_MODEL_OPTIONS(in)                                                                                                      \
    {"model", "PATH", TOOL_STRING, &(in).model, "a folder with config.json and safetensors (or pytorch_model.bin), a GGUF file, or ORG/NAME of a hub"}, \
    {"text", "FILE", TOOL_STRING, &(in).text, "text to read, with the tokenizer of the model"},                                     \
    {"tokens", "IDS", TOOL_STRING, &(in).tokens, "token ids instead of text, as 1,2,3"},                                            \
    {"weights", "FORMAT", TOOL_QUANTIZER, &(in).weights, "quantize the weights of linear layers (default: none)"},                  \
    {"activations", "FORMAT", TOOL_QUANTIZER, &(in).activations, "quantize the inputs of linear layers (default: none)"},           \
    {"head", NULL, TOOL_FLAG, &(in).head, "quantize the output head too"},                                                          \
    {"seed", "N", TOOL_COUNT, &(in).seed, "seed of stochastic rounding, Hadamard signs and sampling (default: 1)"},                 \
    {"weights-in", "PLACE", TOOL_STRING, &(in).weights_in, "memory, file (converted when used; the same bits) or auto (default)"},   \
    {"ignore-memory", NULL, TOOL_FLAG, &(in).ignore_memory, "go on where the memory that is needed is not there"},                  \
    {"dry-run", NULL, TOOL_FLAG, &(in).dry_run, "print the memory that is needed, load nothing"}

/* ---- subcommands: argv[0] is the subcommand's name; the exit status ---- */
int command_fetch(int argc, char **argv);
int command_info(int argc, char **argv);
int command_formats(int argc, char **argv);
int command_quantize(int argc, char **argv);
int command_tokenize(int argc, char **argv);
int command_logits(int argc, char **argv);
int command_perplexity(int argc, char **argv);
int command_generate(int argc, char **argv);
int command_export(int argc, char **argv);

/* Prints the last error as one line and returns TOOL_ERROR. */
int tool_error(void);
/* The same for what has gone wrong with a model (and a text, or NULL): the line names it where the message names neither. */
int tool_error_on(const char *model, const char *text);

#endif
