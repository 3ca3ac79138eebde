/* Files from strangers, given to the built programs: each is answered soon, in little memory, with one line that names the file, and with nothing
 * in it that could steer a terminal. */
#include <dirent.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "lib/io/config.h"
#include "stats/results.h"
#include "tests/folders.h"
#include "tests/fuzz/fuzz.h"
#include "tests/fuzz/seeds.h"
#include "tests/hostile.h"
#include "tests/program.h"
#include "tests/support.h"

/* ---- the readers themselves ---- */

static fp4_status read_case(const char *kind, const struct bytes *b) {
    fp4_status status;
    uint8_t *p = guarded_prefix(b, b->n);
    if (strcmp(kind, "config") == 0) {
        struct fp4_config config;
        status = io_config_parse("hostile", p, b->n, &config);
    } else if (strcmp(kind, "results") == 0) {
        status = results_parse("hostile", p, b->n, NULL, NULL, NULL);
    } else {
        struct fp4_tokenizer *t;
        status = fuzz_open_tokenizer("hostile", p, b->n, &t);
        fp4_tokenizer_close(t);
    }
    guarded_free(p, b->n, false);
    return status;
}

static void check_table(const char *kind) {
    struct hostile_case c;
    size_t i = 0;
    for (; hostile_case(kind, i, &c); i++) {
        fp4_status status = read_case(kind, &c.file);
        /* FP4_OK: whether it is refused at once is left to the reader; that it is answered is for the programs below. */
        if (c.status != FP4_OK) {
            cr_assert_eq(status, c.status, "%s: %s: %d, %s", kind, c.what, (int)status, fp4_last_error());
            cr_assert_not_null(strstr(fp4_last_error(), c.message), "%s: %s: %s", kind, c.what, fp4_last_error());
            cr_assert_eq(strncmp(fp4_last_error(), "hostile:", 8), 0, "%s: %s: %s", kind, c.what, fp4_last_error());
        }
        free(c.file.data);
    }
    cr_assert_gt(i, 10);
}

Test(hostile, configurations) { check_table("config"); }
Test(hostile, tokenizers) { check_table("tokenizer_json"); }
Test(hostile, results) { check_table("results"); }

/* What a killed run leaves is no fault: the torn line is left out. */
Test(hostile, a_torn_last_line_is_left_out) {
    static const char manifest[] = "{\"type\":\"manifest\",\"schema\":1,\"experiment\":\"tta\",\"inputs\":[],\"machine\":{}}\n{\"type\":\"tri";
    size_t whole = 0, n = sizeof manifest - 1;
    must(results_parse("torn", manifest, n, NULL, NULL, &whole));
    cr_assert_eq(whole, (size_t)(strchr(manifest, '\n') - manifest) + 1);
    must(results_parse("torn", manifest + whole, n - whole, NULL, NULL, &whole));
    cr_assert_eq(whole, 0);
}

/* ---- the programs ---- */

#if SANITIZED
enum { SLOWER = 10, LARGER = 3 }; /* what the sanitizers cost */
#else
enum { SLOWER = 1, LARGER = 1 };
#endif

static char folder[FOLDER_MAX];

/* Nothing but text and line feeds. */
static void check_printable(const char *what, const char *text) {
    for (size_t n = strlen(text), used; n; text += used, n -= used) {
        char safe[FP4_ESCAPED];
        used = fp4_escape(text, n, safe);
        cr_assert(*text == '\n' || strncmp(text, safe, used) == 0, "%s: prints %s", what, safe);
    }
}

/* Runs a program on a hostile file; `named` must stand in the one line of an error. */
static int answer(const char *what, const char *named, char *const *argv) {
    struct outcome o = program_run(argv, scratch_file());
    size_t program = strlen(argv[0]);
    cr_assert(o.status == 0 || o.status == 2, "%s: %s %s: exit %d: %s", what, argv[0], argv[1], o.status, o.err);
    cr_assert_leq(o.cpu_seconds, 1.0 * SLOWER, "%s: %s %s: %.2f s", what, argv[0], argv[1], o.cpu_seconds);
    cr_assert_leq(o.peak_rss, ((size_t)512 << 20) * LARGER, "%s: %s %s: %zu bytes", what, argv[0], argv[1], o.peak_rss);
    check_printable(what, o.out);
    check_printable(what, o.err);
    if (o.status == 2) {
        cr_assert(strncmp(o.err, argv[0], program) == 0 && o.err[program] == ':', "%s: %s", what, o.err);
        cr_assert_eq(strchr(o.err, '\n'), o.err + strlen(o.err) - 1, "%s: one line: %s", what, o.err);
        cr_assert_not_null(strstr(o.err, named), "%s: %s is not named: %s", what, named, o.err);
    }
    int status = o.status;
    outcome_free(o);
    return status;
}

static void write_in_folder(char path[128], const char *name, const struct bytes *b) {
    snprintf(path, 128, "%s/%s", folder, name);
    write_bytes(path, b->data, b->n);
}

/* All that a stranger's file of this kind can be given to. Returns the largest exit status. */
static int try_everything(const char *kind, const char *what, const struct bytes *b) {
    char path[128], text[128], written[80];
    int worst = 0, status;
    snprintf(written, sizeof written, "%s/written", folder);
    struct bytes words = {(uint8_t *)(uintptr_t)"the on 12 aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa!", 61};
    write_in_folder(text, "text.txt", &words);
#define TRY(...)                                            \
    status = answer(what, path, (char *[]){__VA_ARGS__, NULL}); \
    worst = status > worst ? status : worst
    if (strcmp(kind, "gguf") == 0 || strcmp(kind, "safetensors") == 0 || strcmp(kind, "torch") == 0) {
        write_in_folder(path, strcmp(kind, "torch") == 0 ? "pytorch_model.bin" : "model.safetensors", b);
        TRY("fp4lab", "info", path, "--statistics");
        TRY("fp4lab", "info", path, "--metadata", "-o", "md");
        if (strcmp(kind, "gguf") == 0) {
            TRY("fp4lab", "tokenize", "--model", path, "--text", text);
            TRY("fp4lab", "logits", "--model", path, "--text", text);
            TRY("fp4lab", "export", "--model", path, "--to", written, "--force");
        } else {
            char beside[128], name[64];
            struct bytes config;
            cr_assert(fuzz_seed("config", 0, &config, name));
            write_in_folder(beside, "config.json", &config);
            free(config.data);
            TRY("fp4lab", "logits", "--model", path, "--tokens", "1");
        }
    } else if (strcmp(kind, "config") == 0) {
        write_in_folder(path, "config.json", b);
        struct bytes weights = seed_safetensors("{\"model.norm.weight\":{\"dtype\":\"F32\",\"shape\":[32],\"data_offsets\":[0,128]}}", 128);
        char beside[128];
        write_in_folder(beside, "model.safetensors", &weights);
        free(weights.data);
        snprintf(path, sizeof path, "%s", folder);
        TRY("fp4lab", "info", path);
        TRY("fp4lab", "logits", "--model", path, "--tokens", "1");
    } else if (strcmp(kind, "results") == 0) {
        char out[128];
        write_in_folder(path, "tta.jsonl", b);
        snprintf(out, sizeof out, "%s/out", folder);
        TRY("facts", "--digest", path);
        TRY("facts", "--results", path, "--published", "stats/published.json", "--out", out);
    } else {
        write_in_folder(path, strcmp(kind, "tokenizer_model") == 0 ? "tokenizer.model" : "tokenizer.json", b);
        TRY("fp4lab", "tokenize", "--model", path, "--text", text);
        TRY("fp4lab", "tokenize", "--model", path, "the", "-o", "csv");
    }
#undef TRY
    unlink(path);
    return worst;
}

static void gallery_of_faults(const char *kind) {
    struct hostile_case c;
    folder_make(folder);
    for (size_t i = 0; hostile_case(kind, i, &c); i++) {
        int worst = try_everything(kind, c.what, &c.file);
        if (c.status != FP4_OK)
            cr_assert_eq(worst, 2, "%s: %s was accepted", kind, c.what);
        free(c.file.data);
    }
}

Test(hostile, programs_on_faulty_safetensors) { gallery_of_faults("safetensors"); }
Test(hostile, programs_on_faulty_torch) { gallery_of_faults("torch"); }
Test(hostile, programs_on_faulty_gguf) { gallery_of_faults("gguf"); }
Test(hostile, programs_on_faulty_configurations) { gallery_of_faults("config"); }
Test(hostile, programs_on_faulty_tokenizers) { gallery_of_faults("tokenizer_json"); }
Test(hostile, programs_on_faulty_results) { gallery_of_faults("results"); }

/* Seeds cut short and with changed bits, at addressed places. */
Test(hostile, programs_on_changed_seeds) {
    enum { CHANGES = SLOWER > 1 ? 4 : 8 };
    static const char *const kinds[] = {"safetensors", "torch", "gguf", "config", "tokenizer_json", "tokenizer_model", "results"};
    folder_make(folder);
    for (size_t k = 0; k < sizeof kinds / sizeof *kinds; k++) {
        struct bytes seed;
        char name[64];
        for (size_t i = 0; fuzz_seed(kinds[k], i, &seed, name); i++) {
            struct fp4_random random = {1, FP4_STREAM_TEST, (uint32_t)k, (uint32_t)i, 0};
            uint32_t w[2 * CHANGES];
            fp4_random_words(&random, 0, 2 * CHANGES, w);
            for (size_t c = 0; c < CHANGES; c++) {
                size_t at = w[2 * c] % seed.n;
                struct bytes cut = {seed.data, at};
                if (c % 4 == 3)
                    try_everything(kinds[k], name, &cut);
                seed.data[at] ^= (uint8_t)(1u << w[2 * c + 1] % 8);
                try_everything(kinds[k], name, &seed);
            }
            free(seed.data);
        }
    }
}

Test(hostile, programs_on_what_fuzzing_found) {
    static const char *const kinds[] = {"safetensors", "torch", "gguf", "config", "tokenizer_json", "tokenizer_model", "results", "facts"};
    folder_make(folder);
    for (size_t k = 0; k < sizeof kinds / sizeof *kinds; k++) {
        char found[256], path[600];
        snprintf(found, sizeof found, "tests/fuzz/regressions/%s", kinds[k]);
        struct dirent **entries = NULL;
        int n = scandir(found, &entries, NULL, alphasort);
        for (int i = 0; i < n; i++) {
            struct bytes b = {0};
            char *text;
            snprintf(path, sizeof path, "%s/%s", found, entries[i]->d_name);
            if (entries[i]->d_name[0] != '.') {
                must(fp4_read_file(path, (size_t)1 << 20, &text, &b.n));
                b.data = (uint8_t *)text;
                try_everything(strcmp(kinds[k], "facts") == 0 ? "results" : kinds[k], path, &b);
                fp4_free(text);
            }
            free(entries[i]);
        }
        free(entries);
    }
}

/* Files that stand beside weights and vocabularies: each name with each content, in a folder that is well otherwise. */
Test(hostile, programs_on_faulty_companions) {
    static const struct {
        const char *name, *beside, *seed; /* the file that goes bad; one that makes it be read, and its seed */
    } files[] = {{"model.safetensors.index.json", NULL, NULL},
                 {"tokenizer_config.json", "tokenizer.model", "tokenizer_model"},
                 {"vocab.json", "merges.txt", NULL},
                 {"merges.txt", "vocab.json", "config"},
                 {"special_tokens_map.json", "vocab.json", "config"}};
    static const char *const contents[] = {"", "[", "[]", "{}", "7", "\"\x1b[2J\"", "{\"weight_map\":{\"a\":\"../../../../etc/passwd\"}}", "{\"weight_map\":{\"a\":\"\\u001b[2J\"}}",
                                           "{\"a\":-1}", "{\"a\":9223372036854775807}", "{\"add_bos_token\":{\"a\":[]}}", "#version: 0.2\na b c\n", "a b\n\x1b \xff\n"};
    enum { N_CONTENTS = sizeof contents / sizeof *contents };
    for (size_t f = 0; f < sizeof files / sizeof *files; f++) {
        char path[128], beside[128], name[64];
        struct bytes good = {0};
        folder_make(folder);
        if (files[f].seed)
            cr_assert(fuzz_seed(files[f].seed, 0, &good, name));
        if (files[f].beside)
            write_in_folder(beside, files[f].beside, &good);
        free(good.data);
        for (size_t i = 0; i <= N_CONTENTS; i++) {
            struct bytes b = {0};
            if (i < N_CONTENTS)
                put(&b, contents[i], strlen(contents[i]));
            static char brackets[60000];
            if (i == N_CONTENTS)
                put(&b, memset(brackets, '[', sizeof brackets), sizeof brackets);
            write_in_folder(path, files[f].name, &b);
            answer(files[f].name, folder, (char *[]){"fp4lab", "info", folder, NULL});
            answer(files[f].name, folder, (char *[]){"fp4lab", "tokenize", "--model", folder, "the 12", NULL});
            free(b.data);
        }
    }
}

/* What goes wrong when all is read still names the model: its context, values that a type cannot hold. */
Test(hostile, what_a_model_cannot_do_names_it) {
    char path[128], written[128], tokens[160] = "1", large[128];
    folder_make(folder);
    struct bytes model = seed_gguf_model();
    write_in_folder(path, "model.gguf", &model);
    for (size_t i = 0; i < 64; i++)
        strcat(tokens, ",1");
    cr_assert_eq(answer("a long text", path, (char *[]){"fp4lab", "logits", "--model", path, "--tokens", tokens, NULL}), 2);
    cr_assert_eq(answer("a long text", path, (char *[]){"fp4lab", "generate", "--model", path, "--tokens", "1", "--n", "64", NULL}), 2);
    cr_assert_eq(answer("an id", path, (char *[]){"fp4lab", "perplexity", "--model", path, "--tokens", "1", NULL}), 2);
    for (size_t i = 0; i < 32; i++) /* the last tensor is F32 */
        memcpy(model.data + model.n - 4 * (i + 1), "\0\0\x7f\x7f", 4);
    write_in_folder(large, "large.gguf", &model);
    snprintf(written, sizeof written, "%s/written.gguf", folder);
    answer("large values", large, (char *[]){"fp4lab", "perplexity", "--model", large, "--tokens", "1,2,3,4,5,6,7,8,9", "--window", "4", NULL});
    free(model.data);
}

/* A vocabulary of all bytes, chosen from at random: what is generated cannot steer a terminal. */
Test(hostile, generated_text_is_safe_to_print) {
    char path[128], seed[16];
    folder_make(folder);
    struct bytes model = seed_gguf_model();
    write_in_folder(path, "model.gguf", &model);
    free(model.data);
    for (int i = 1; i <= 20; i++) {
        snprintf(seed, sizeof seed, "%d", i);
        struct outcome o = program_run((char *[]){"fp4lab", "generate", "--model", path, "--prompt", "a\x1b[2J\xc2\x9b\xe2\x80\xae", "--temperature", "100", "--n", "40",
                                                  "--past-end", "--seed", seed, NULL}, scratch_file());
        cr_assert_eq(o.status, 0, "%s", o.err);
        cr_assert_not_null(strstr(o.out, "a\\x1b[2J\\u009b\\u202e"), "%s", o.out);
        for (char *tab; (tab = strchr(o.out, '\t'));)
            *tab = ' ';
        check_printable("generated text", o.out);
        outcome_free(o);
    }
}

/* A model in a folder that a stranger has named. */
static void put_model(const char *name, char path[128]) {
    char inside[100];
    struct bytes model = seed_gguf_model();
    snprintf(inside, sizeof inside, "%s/%s", folder, name);
    cr_assert_eq(mkdir(inside, 0700), 0);
    snprintf(path, 128, "%s/m.gguf", inside);
    write_bytes(path, model.data, model.n);
    free(model.data);
}

Test(hostile, names_of_folders_are_escaped) {
    static const char *const odd[] = {"x\x1b[2J\x7f\n", "x\xc2\x9b\xe2\x80\xae"}, *const forms[] = {"text", "json", "csv", "md"};
    char path[128];
    folder_make(folder);
    for (size_t k = 0; k < 2; k++) {
        put_model(odd[k], path);
        for (size_t i = 0; i < 4; i++)
            cr_assert_eq(answer(forms[i], path, (char *[]){"fp4lab", "info", path, "-o", (char *)(uintptr_t)forms[i], NULL}), 0);
    }
}

/* What a run would do (it takes no C0 in a name). */
static void check_plan(char *program) {
    char path[128], out[80];
    folder_make(folder);
    snprintf(out, sizeof out, "%s/out", folder);
    put_model("x\xc2\x9b\xe2\x80\xae", path);
    struct outcome o = program_run((char *[]){program, "--model", path, "--offline", "--profile", "smoke", "--out", out, "--dry-run", NULL}, scratch_file());
    cr_assert_eq(o.status, 0, "%s: %s", program, o.err);
    cr_assert_not_null(strstr(o.out, "x\\u009b\\u202e/m.gguf"), "%s", o.out);
    for (char *tab; (tab = strchr(o.out, '\t'));) /* between columns */
        *tab = ' ';
    check_printable(program, o.out);
    check_printable(program, o.err);
    outcome_free(o);
    cr_assert_eq(answer("an argument too many", "x\\u009b\\u202e", (char *[]){program, path, NULL}), 2);
}

Test(hostile, names_in_the_plan_of_tta_are_escaped) { check_plan("tta"); }

Test(hostile, names_in_the_plan_of_ptq_are_escaped) {
    need_text("bible"); /* what ptq reads with a model of the user's */
    check_plan("ptq");
}

/* ---- what is no file ---- */

/* Each program option that takes a file, with {} in place of its name. */
enum { MAX_WORDS = 10 };
static const char *const takers[][MAX_WORDS] = {{"fp4lab", "info", "{}"},
                                        {"fp4lab", "logits", "--model", "{}", "--tokens", "1"},
                                        {"fp4lab", "tokenize", "--model", "{}", "the"},
                                        {"fp4lab", "tokenize", "--model", "SEED", "--text", "{}"},
                                        {"fp4lab", "perplexity", "--model", "SEED", "--text", "{}"},
                                        {"fp4lab", "generate", "--model", "{}", "--tokens", "1"},
                                        {"fp4lab", "quantize", "{}", "nvfp4"},
                                        {"fp4lab", "export", "--model", "{}", "--to", "OUT"},
                                        {"fp4lab", "info", "{}", "--load", "memory"},
                                        {"tta", "--model", "{}", "--offline", "--profile", "smoke", "--out", "OUT"},
                                        {"ptq", "--model", "{}", "--offline", "--profile", "smoke", "--out", "OUT"},
                                        {"facts", "--digest", "{}"},
                                        {"facts", "--results", "{}", "--published", "stats/published.json", "--out", "OUT"},
                                        {"facts", "--results", "RESULTS", "--published", "{}", "--out", "OUT"},
                                        {"facts", "--results", "RESULTS", "--published", "stats/published.json", "--bench", "{}", "--out", "OUT"},
                                        {"facts", "--render", "{}", "--facts", "OUT"}};

static void try_taker(const char *const *words, const char *instead, const char *seed, const char *results) {
    char *argv[12] = {0}, out[80];
    size_t n = 0;
    snprintf(out, sizeof out, "%s/out", folder);
    for (; n < MAX_WORDS && words[n]; n++)
        argv[n] = (char *)(uintptr_t)(strcmp(words[n], "{}") == 0       ? instead
                                      : strcmp(words[n], "SEED") == 0    ? seed
                                      : strcmp(words[n], "RESULTS") == 0 ? results
                                      : strcmp(words[n], "OUT") == 0     ? out
                                                                         : words[n]);
    cr_assert_eq(answer(instead, instead, argv), 2, "%s %s took %s", argv[0], argv[1], instead);
}

Test(hostile, pipes_devices_and_folders_are_no_files) {
    char pipe[80], empty[80], seed[128], results[128];
    folder_make(folder);
    snprintf(pipe, sizeof pipe, "%s/pipe", folder);
    snprintf(empty, sizeof empty, "%s/empty", folder);
    cr_assert_eq(mkfifo(pipe, 0600), 0);
    cr_assert_eq(mkdir(empty, 0700), 0);
    struct bytes model = seed_gguf_model(), none = {(uint8_t *)(uintptr_t)"", 0};
    write_in_folder(seed, "seed.gguf", &model);
    write_in_folder(results, "empty.jsonl", &none);
    free(model.data);
    for (size_t i = 0; i < sizeof takers / sizeof *takers; i++) {
        const char *const instead[] = {pipe, "/dev/zero", "/dev/tty", empty, "/dev/null"};
        for (size_t k = 0; k < sizeof instead / sizeof *instead; k++)
            try_taker(takers[i], instead[k], seed, results);
    }
}
