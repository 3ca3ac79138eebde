/* fp4lab: the tool for people. One file for each subcommand. */
#include <string.h>
#include <unistd.h>

#include "lib/base/json.h"
#include "tools/tool.h"

static const struct {
    const char *name, *summary;
    int (*run)(int argc, char **argv);
} commands[] = {
    {"fetch", "a checkpoint from a model hub, into Hugging Face's cache", command_fetch},
    {"info", "what is in a checkpoint: configuration, tensors, metadata", command_info},
    {"formats", "the spellings of all number formats", command_formats},
    {"quantize", "error and bytes of a checkpoint's tensors in given formats", command_quantize},
    {"tokenize", "text to token ids", command_tokenize},
    {"logits", "next-token logits of a model after a text", command_logits},
    {"perplexity", "perplexity of a model on a text, quantized or not", command_perplexity},
    {"generate", "continue a prompt", command_generate},
    {"export", "write a checkpoint in another container, element type or format", command_export},
};
enum { N_COMMANDS = sizeof commands / sizeof *commands };

int tool_error(void) {
    fflush(stdout);
    fprintf(stderr, "fp4lab: %s\n", fp4_last_error());
    return TOOL_ERROR;
}

int tool_error_on(const char *model, const char *text) {
    const char *message = fp4_last_error();
    if (model && !strstr(message, model) && !(text && strstr(message, text)))
        fp4_fail(FP4_ERR_ARG, "%s: %s", model, message);
    return tool_error();
}

static void warn(void *context, const char *message) {
    (void)context;
    fprintf(stderr, "fp4lab: warning: %s\n", message);
}

static void on_lost_map(const char *message) {
    dprintf(STDERR_FILENO, "fp4lab: %s\n", message);
    _exit(TOOL_ERROR);
}

static int help(void) {
    puts("usage: fp4lab COMMAND [OPTION]...\n"
         "4-bit floating point in transformers: look into checkpoints, quantize them, and see what that does.\n");
    for (int i = 0; i < N_COMMANDS; i++)
        printf("  %-12s %s\n", commands[i].name, commands[i].summary);
    puts("\n'fp4lab COMMAND --help' lists the options of a command. --version prints the version.\n"
         "Exit status: 0 done, 1 a check says no, 2 an error. FP4LAB_CPU=ref|avx2|avx512 chooses the kernels.");
    return TOOL_OK;
}

/* Output that was not written (a full disk, say) must not look like success. */
static int finish(int status) {
    if ((fflush(stdout) != 0 || ferror(stdout)) && status != TOOL_ERROR) {
        fp4_fail(FP4_ERR_IO, "standard output: cannot write; look for a full disk or a closed pipe");
        return tool_error();
    }
    return status;
}

int main(int argc, char **argv) {
    const char *name = argc > 1 ? argv[1] : NULL;
    fp4_hold_standard_files();
    if (name && (strcmp(name, "--help") == 0 || strcmp(name, "-h") == 0 || strcmp(name, "help") == 0))
        return finish(help());
    if (name && strcmp(name, "--version") == 0) {
        puts("fp4lab " FP4_VERSION);
        return finish(TOOL_OK);
    }
    if (fp4_cpu_select(NULL) != FP4_OK)
        return tool_error();
    fp4_set_warning_handler(warn, NULL);
    fp4_catch_lost_maps(on_lost_map);
    json_watch();
    for (int i = 0; name && i < N_COMMANDS; i++)
        if (strcmp(name, commands[i].name) == 0)
            return finish(commands[i].run(argc - 1, argv + 1));
    if (name)
        fp4_fail(FP4_ERR_ARG, "%s: no such command; 'fp4lab --help' lists them", name);
    else
        fp4_fail(FP4_ERR_ARG, "no command given; 'fp4lab --help' lists them");
    return tool_error();
}
