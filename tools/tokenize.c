/* fp4lab tokenize: text to token ids. */
#include <math.h>
#include <string.h>
#include <time.h>

#include "tools/tool.h"

struct request {
    const char *model, *text, *literal;
    bool plain, ids_only, around, rate;
    enum tool_format format;
};

static fp4_status print_table(const struct request *r, const struct tool_session *s) {
    json_t *table = json_array();
    for (size_t i = 0; i < s->n_ids; i++)
        json_array_append_new(table, json_pack("{s:I,s:i,s:n,s:b}", "position", (json_int_t)i, "id", (int)s->ids[i], "text", "control",
                                               (int)fp4_token_is_special(s->tokenizer, s->ids[i])));
    fp4_status status = tool_add_texts(s, table);
    if (status != FP4_OK) {
        json_decref(table);
        return status;
    }
    json_t *fields = json_pack("{s:I,s:I}", "tokens_count", (json_int_t)s->n_ids, "vocabulary", (json_int_t)fp4_tokenizer_vocab(s->tokenizer));
    return tool_print(r->format, fields, "tokens", table);
}

static double cpu_seconds(void) {
    struct timespec t;
    clock_gettime(CLOCK_THREAD_CPUTIME_ID, &t);
    return (double)t.tv_sec + 1e-9 * (double)t.tv_nsec;
}

/* The same text again for about a second: the fastest time counts, which other load on the machine moves least. */
static fp4_status print_rate(const struct request *r, struct tool_session *s, const char *text, size_t bytes) {
    if (bytes == 0)
        return fp4_fail(FP4_ERR_ARG, "%s: there is no text to measure with", r->text ? r->text : "TEXT");
    double start = cpu_seconds(), fastest = INFINITY, now = start;
    while (now < start + 1) {
        fp4_free(s->ids);
        s->ids = NULL;
        FP4_TRY(fp4_tokenize(s->tokenizer, text, bytes, !r->plain, &s->ids, &s->n_ids));
        double end = cpu_seconds();
        fastest = end - now < fastest ? end - now : fastest;
        now = end;
    }
    json_t *fields = json_pack("{s:I,s:I,s:f}", "bytes", (json_int_t)bytes, "tokens_count", (json_int_t)s->n_ids, "megabytes_per_cpu_second",
                               (double)bytes / 1e6 / fastest);
    return tool_print(r->format, fields, NULL, NULL);
}

/* The ids between those that the tokenizer's post-processor puts around a text. */
static fp4_status put_around(struct tool_session *s) {
    const int32_t *begin, *end;
    size_t n_begin = fp4_tokenizer_begin(s->tokenizer, &begin), n_end = fp4_tokenizer_end(s->tokenizer, &end), n = n_begin + s->n_ids + n_end;
    int32_t *all;
    FP4_TRY(FP4_NEW(all, n));
    for (size_t i = 0; i < n; i++)
        all[i] = i < n_begin ? begin[i] : i < n_begin + s->n_ids ? s->ids[i - n_begin] : end[i - n_begin - s->n_ids];
    fp4_free(s->ids);
    s->ids = all;
    s->n_ids = n;
    return FP4_OK;
}

static fp4_status run(const struct request *r, struct tool_session *s) {
    char *text;
    size_t n;
    FP4_TRY(tool_open_tokenizer(r->model, &s->tokenizer));
    FP4_TRY(tool_read_text(r->text, r->literal, &text, &n));
    fp4_status status = r->rate ? print_rate(r, s, text, n) : fp4_tokenize(s->tokenizer, text, n, !r->plain, &s->ids, &s->n_ids);
    fp4_free(text);
    if (status != FP4_OK || r->rate)
        return status;
    if (r->around)
        FP4_TRY(put_around(s));
    if (!r->ids_only)
        return print_table(r, s);
    tool_print_ids(s->ids, s->n_ids);
    return FP4_OK;
}

int command_tokenize(int argc, char **argv) {
    struct request r = {0};
    bool done;
    const struct tool_option options[] = {
        {"model", "PATH", TOOL_STRING, &r.model,
         "tokenizer.json, tokenizer.model, a GGUF file, a folder with one of them or vocab.json and merges.txt, or ORG/NAME of a hub"},
        {"text", "FILE", TOOL_STRING, &r.text, "the text, in place of TEXT"},
        {"plain", NULL, TOOL_FLAG, &r.plain, "take the spelling of control tokens as ordinary text"},
        {"around", NULL, TOOL_FLAG, &r.around, "with the tokens that the tokenizer puts in front of and behind a text"},
        {"rate", NULL, TOOL_FLAG, &r.rate, "print how fast the text is tokenized on one core, in place of its tokens"},
        {"ids", NULL, TOOL_FLAG, &r.ids_only, "print the ids alone, as --tokens takes them"}};
    struct tool_line line = {.name = "tokenize", .positional = "[TEXT]", .max_args = 1, .options = options, .n_options = sizeof options / sizeof *options,
                             .summary = "Cuts a text into the tokens of a model. No begin token is added but by --around."};
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
    int status = run(&r, &s) == FP4_OK ? TOOL_OK : tool_error_on(r.model, r.text);
    tool_close(&s);
    return status;
}
