/* The ways in which published perplexities were counted. */
#include <string.h>

#include "fp4lab/text.h"

static const struct fp4_protocol protocols[] = {
    {"disjoint", "windows of 2048 side by side from token 0 on, the text as it is, no begin token; the first token of a window is not counted, the tail dropped",
     "GPTQ's windows without the papers' preparation of the text", {.window = 2048}, FP4_JOIN_NONE},
    {"papers", "the same over lines joined by two newlines, with the begin token once at the start of the text where the model wants one",
     "GPTQ (arXiv 2210.17323) and the quantization papers after it. Their scripts weigh the mean of a window's 2047 losses by 2048 and divide by 2048 times the windows: the same number",
     {.window = 2048, .bos = FP4_BOS_TEXT}, FP4_JOIN_NEWLINES},
    {"writeup_c", "windows of 2048 at stride 512, every token of every window but its first counted, so that most count four times; lines joined by blanks",
     "mansogf/tinyML (experiments/WRITEUPS.md C), first form; what it does at the end of the text is not known: here the last window is the one that reaches it, and is shorter",
     {.window = 2048, .stride = 512, .bos = FP4_BOS_TEXT, .keep_tail = true}, FP4_JOIN_BLANKS},
    {"writeup_c2", "windows of 2048 side by side over lines joined by two newlines: counts as `papers` does",
     "mansogf/tinyML, second notebook", {.window = 2048, .bos = FP4_BOS_TEXT}, FP4_JOIN_NEWLINES},
    {"strided", "windows of 2048 at stride 512, of each only the tokens that no window before it has seen; nothing is counted twice, the tail kept",
     "the guide `Perplexity of fixed-length models` of Hugging Face transformers, every counted token weighing the same",
     {.window = 2048, .stride = 512, .bos = FP4_BOS_TEXT, .counted = FP4_COUNT_NEW, .keep_tail = true}, FP4_JOIN_NEWLINES},
    {"strided_guide", "the same, but each window after the first weighs one token less than it counts",
     "that guide as its code runs: it takes one off for the shift of the labels, which only the first window loses",
     {.window = 2048, .stride = 512, .bos = FP4_BOS_TEXT, .counted = FP4_COUNT_NEW, .weighing = FP4_WEIGH_LESS_ONE, .keep_tail = true}, FP4_JOIN_NEWLINES},
    {"strided_means", "the same, but the mean of the windows' means: a short last window weighs as much as a whole one",
     "that guide before its correction of October 2024 (transformers, pull request 34387)",
     {.window = 2048, .stride = 512, .bos = FP4_BOS_TEXT, .counted = FP4_COUNT_NEW, .weighing = FP4_WEIGH_WINDOWS, .keep_tail = true}, FP4_JOIN_NEWLINES},
    {"bos", "a begin token and 2047 tokens a window, side by side, all 2047 counted; the tail kept: every token of the text counts once",
     "a begin token in every window, where a model was trained with one before each text", {.window = 2048, .bos = FP4_BOS_WINDOW, .keep_tail = true}, FP4_JOIN_NONE},
    {"llama_cpp", "windows of 512 side by side, the first token of each replaced by the begin token where the model wants one, the second half counted",
     "llama.cpp's llama-perplexity with its default context", {.window = 512, .bos = FP4_BOS_REPLACE, .counted = FP4_COUNT_HALF}, FP4_JOIN_NONE},
};
enum { N_PROTOCOLS = sizeof protocols / sizeof *protocols };

const struct fp4_protocol *fp4_protocol_at(size_t i) { return i < N_PROTOCOLS ? &protocols[i] : NULL; }

const struct fp4_protocol *fp4_protocol_find(const char *name) {
    for (size_t i = 0; i < N_PROTOCOLS; i++)
        if (strcmp(protocols[i].name, name) == 0)
            return &protocols[i];
    return NULL;
}

/* Writes to out unless it is NULL; the length either way. */
static size_t join(const char *text, size_t bytes, const char *separator, char *out) {
    size_t n = 0, length = strlen(separator);
    for (size_t at = 0; at < bytes;) {
        const char *newline = memchr(text + at, '\n', bytes - at);
        size_t end = newline ? (size_t)(newline - text) + 1 : bytes, solid = at;
        while (solid < end && text[solid] && strchr(" \t\r\n\v\f", text[solid]))
            solid++;
        if (out && at)
            memcpy(out + n, separator, length);
        n += at ? length : 0;
        if (out && solid < end)
            memcpy(out + n, text + at, end - at);
        n += solid < end ? end - at : 0;
        at = end;
    }
    return n;
}

fp4_status fp4_text_join(const char *text, size_t bytes, enum fp4_join how, char **out, size_t *out_bytes) {
    const char *separator = how == FP4_JOIN_BLANKS ? " " : "\n\n";
    *out_bytes = how == FP4_JOIN_NONE ? bytes : join(text, bytes, separator, NULL);
    FP4_TRY(FP4_NEW(*out, *out_bytes + 1));
    if (how == FP4_JOIN_NONE)
        memcpy(*out, text, bytes);
    else
        join(text, bytes, separator, *out);
    return FP4_OK;
}
