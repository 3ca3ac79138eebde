/* fp4lab tokenize: text to token ids. */
#include <string.h>

#include "tools/tool.h"

struct request {
    const char *model, *text, *literal;
    bool plain, ids_only;
    enum tool_format format;
};

static void print_ids(const struct tool_session *s) {
    for (size_t i = 0; i < s->n_ids; i++)
        printf("%s%d", i ? "," : "", (int)s->ids[i]);
    putchar('\n');
}

static fp4_status print_table(const struct request *r, const struct tool_session *s) {
    json_t *table = json_array();
    for (size_t i = 0; i < s->n_ids; i++)
        json_array_append_new(table, json_pack("{s:I,s:i,s:o,s:b}", "position", (json_int_t)i, "id", (int)s->ids[i], "text",
                                               tool_token_text(s, s->ids[i]), "control", (int)fp4_token_is_special(s->tokenizer, s->ids[i])));
    json_t *fields = json_pack("{s:I,s:I}", "tokens_count", (json_int_t)s->n_ids, "vocabulary", (json_int_t)fp4_tokenizer_vocab(s->tokenizer));
    return tool_print(r->format, fields, "tokens", table);
}

static fp4_status run(const struct request *r, struct tool_session *s) {
    char *text;
    size_t n;
    FP4_TRY(tool_open_tokenizer(r->model, &s->tokenizer));
    FP4_TRY(tool_read_text(r->text, r->literal, &text, &n));
    fp4_status status = fp4_tokenize(s->tokenizer, text, n, !r->plain, &s->ids, &s->n_ids);
    fp4_free(text);
    FP4_TRY(status);
    if (!r->ids_only)
        return print_table(r, s);
    print_ids(s);
    return FP4_OK;
}

int command_tokenize(int argc, char **argv) {
    struct request r = {0};
    bool done;
    const struct tool_option options[] = {
        {"model", "PATH", TOOL_STRING, &r.model, "a GGUF file, a tokenizer.json, or a folder that holds one"},
        {"text", "FILE", TOOL_STRING, &r.text, "the text, in place of TEXT"},
        {"plain", NULL, TOOL_FLAG, &r.plain, "take the spelling of control tokens as ordinary text"},
        {"ids", NULL, TOOL_FLAG, &r.ids_only, "print the ids alone, as --tokens takes them"}};
    struct tool_line line = {.name = "tokenize", .positional = "[TEXT]", .max_args = 1, .options = options, .n_options = 4,
                             .summary = "Cuts a text into the tokens of a model. No begin token is added."};
    if (tool_parse(&line, argc, argv, &done) != FP4_OK)
        return tool_error();
    if (done)
        return TOOL_OK;
    r.format = line.format;
    r.literal = line.n_args ? line.args[0] : NULL;
    if ((r.literal != NULL) + (r.text != NULL) != 1) {
        fp4_fail(FP4_ERR_ARG, "tokenize: give one text: TEXT or --text FILE");
        return tool_error();
    }
    struct tool_session s = {0};
    int status = run(&r, &s) == FP4_OK ? TOOL_OK : tool_error();
    tool_close(&s);
    return status;
}
