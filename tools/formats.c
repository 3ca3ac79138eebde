/* fp4lab formats: the spellings of quantizers. */
#include <stdlib.h>
#include <string.h>

#include "tools/tool.h"

/* One line of fp4_quantizer_list: "  SPELLING   what it is [modifiers]". */
static json_t *row_of(char *text) {
    char *name = text + strspn(text, " "), *rest = name + strcspn(name, " ");
    if (*rest)
        *rest++ = 0;
    rest += strspn(rest, " ");
    size_t n = strlen(rest);
    char *open = strrchr(rest, '['), *modifiers = "";
    if (open && n && rest[n - 1] == ']') {
        rest[n - 1] = 0;
        modifiers = open + 1;
        while (open > rest && open[-1] == ' ')
            open--;
        *open = 0;
    }
    return json_pack("{s:s,s:s,s:s}", "format", name, "modifiers", modifiers, "description", rest);
}

static fp4_status show(enum tool_format format) {
    char *text = NULL, *rest = NULL;
    size_t n;
    FILE *out = open_memstream(&text, &n);
    if (!out)
        return fp4_fail(FP4_ERR_MEMORY, "no memory for the list");
    fp4_quantizer_list(out);
    fclose(out);
    json_t *table = json_array();
    for (char *row = strtok_r(text, "\n", &rest); row; row = strtok_r(NULL, "\n", &rest))
        json_array_append_new(table, row_of(row));
    free(text);
    return tool_print(format, json_object(), "formats", table);
}

int command_formats(int argc, char **argv) {
    bool done;
    struct tool_line line = {.name = "formats", .positional = "",
                             .summary = "Lists the spellings of all number formats, as `quantize`, --weights and --activations take them."};
    if (tool_parse(&line, argc, argv, &done) != FP4_OK)
        return tool_error();
    if (done)
        return TOOL_OK;
    return show(line.format) == FP4_OK ? TOOL_OK : tool_error();
}
