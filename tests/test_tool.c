/* The program build/fp4lab as a user meets it: exit statuses, one-line errors, its four output forms, and its numbers on the tiny models. */
#include <dirent.h>
#include <fcntl.h>
#include <jansson.h>
#include <math.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "fp4lab/io.h"
#include "fp4lab/model.h"
#include "tests/bytes.h"
#include "tests/folders.h"
#include "tests/program.h"
#include "tests/support.h"
#include "tests/vectors.h"

enum { MAX_ARGS = 32 };

/* Runs fp4lab with these arguments, ended by NULL. */
static struct outcome tool(const char *first, ...) {
    char *argv[MAX_ARGS] = {"fp4lab", (char *)(uintptr_t)first};
    va_list list;
    va_start(list, first);
    for (int i = 2; first && i < MAX_ARGS && (argv[i] = va_arg(list, char *)); i++)
        ;
    va_end(list);
    return program_run(argv, scratch_file());
}

static void done(struct outcome o) { outcome_free(o); }

/* Success without a word on stderr. */
static void succeeds(struct outcome o) {
    cr_assert_eq(o.status, 0, "%s", o.err);
    cr_assert_str_empty(o.err);
    cr_assert_str_not_empty(o.out);
}

/* Exit 2 and one line that holds `message`. */
static void fails(struct outcome o, const char *message) {
    cr_assert_eq(o.status, 2, "%s: exit %d: %s", message, o.status, o.err);
    cr_assert_eq(strncmp(o.err, "fp4lab: ", 8), 0, "%s", o.err);
    cr_assert_not_null(strstr(o.err, message), "\"%s\" is not in: %s", message, o.err);
    cr_assert_eq(strchr(o.err, '\n'), o.err + strlen(o.err) - 1, "one line: %s", o.err);
    cr_assert_str_empty(o.out);
    done(o);
}

static json_t *json_of(struct outcome o) {
    json_error_t error;
    succeeds(o);
    json_t *root = json_loads(o.out, JSON_REJECT_DUPLICATES, &error);
    cr_assert_not_null(root, "%s: %s", error.text, o.out);
    done(o);
    return root;
}

static double number(json_t *root, const char *key) {
    json_t *value = json_object_get(root, key);
    cr_assert(json_is_number(value), "%s", key);
    return json_number_value(value);
}

/* Small nets of random weights, made once a test. */
static char nets[2][FOLDER_MAX];

static const char *net(enum fp4_arch arch) {
    char *folder = nets[arch == FP4_ARCH_OPT];
    struct fp4_config c = {.arch = arch, .n_vocab = 515, .n_embd = 64, .n_layer = 2, .n_head = 4, .n_kv_head = arch == FP4_ARCH_OPT ? 4 : 2, .head_dim = 16, .n_ff = 128,
                           .n_ctx = 64, .norm_eps = 1e-5f, .rope_theta = 1e4, .bos_id = 1, .eos_id = 2, .activation = arch == FP4_ARCH_OPT ? FP4_ACT_RELU : FP4_ACT_SILU};
    struct fp4_model *m;
    if (*folder)
        return folder;
    must(fp4_model_create(&c, 1, fp4_backend_cpu(), &m));
    folder_make(folder);
    must(fp4_model_export(m, folder, &(struct fp4_export){.dtype = FP4_F32}, NULL));
    fp4_model_free(m);
    return folder;
}
static const char *tiny(void) { return net(FP4_ARCH_LLAMA); }

/* ---- help and errors ---- */

Test(tool, help_and_version) {
    static const char *const commands[] = {"info", "formats", "quantize", "tokenize", "logits", "perplexity", "generate", "export"};
    struct outcome help = tool("--help", NULL);
    succeeds(help);
    for (size_t i = 0; i < sizeof commands / sizeof *commands; i++) {
        cr_assert_not_null(strstr(help.out, commands[i]));
        struct outcome o = tool(commands[i], "--help", NULL);
        succeeds(o);
        cr_assert_not_null(strstr(o.out, commands[i]));
        done(o);
    }
    done(help);
    struct outcome version = tool("--version", NULL);
    succeeds(version);
    cr_assert_str_eq(version.out, "fp4lab " FP4_VERSION "\n");
    done(version);
}

Test(tool, wrong_command_lines) {
    const char *model = tiny();
    fails(tool(NULL), "no command");
    fails(tool("frobnicate", NULL), "frobnicate: no such command");
    fails(tool("info", NULL), "FILE is missing");
    fails(tool("info", "a", "b", NULL), "b: one argument too many");
    fails(tool("info", model, "--frobnicate", NULL), "--frobnicate: unknown");
    fails(tool("info", model, "-x", NULL), "-x: unknown");
    fails(tool("info", model, "-o", "xml", NULL), "-o xml: no such output format");
    fails(tool("info", model, "-o", NULL), "needs a value");
    fails(tool("info", model, "--threads", "-3", NULL), "--threads -3");
    fails(tool("info", model, "--threads", "many", NULL), "--threads many");
    fails(tool("logits", "--tokens", "1", NULL), "--model is missing");
    fails(tool("logits", "--model", "", "--tokens", "1", NULL), "--model: the name is empty");
    fails(tool("logits", "--model", model, NULL), "--tokens");
    fails(tool("logits", "--model", model, "--tokens", "1", "--prompt", "a", NULL), "give the input once");
    fails(tool("logits", "--model", model, "--tokens", "1,two", NULL), "\"two\" is not a token id");
    fails(tool("logits", "--model", model, "--tokens", "", NULL), "no token id");
    fails(tool("logits", "--model", model, "--tokens", "1,99999999", NULL), "99999999 is not in the vocabulary");
    fails(tool("logits", "--model", model, "--tokens", "-1", NULL), "-1 is not in the vocabulary");
    fails(tool("logits", "--model", model, "--tokens", "1", "--weights", "fp3", NULL), "--weights: ");
    fails(tool("logits", "--model", model, "--tokens", "1", "--activations", "nvfp4:te,hadx", NULL), "--activations: ");
    fails(tool("quantize", model, "nvfp5", NULL), "nvfp5");
    fails(tool("quantize", model, "nvfp4:te", "--tensor", "absent", NULL), "no tensor absent");
    fails(tool("quantize", model, "nvfp4:te", "bf16", "--out", "/tmp/x", NULL), "takes one format");
    fails(tool("quantize", model, "nvfp4:te", "--out", "/nonexistent/x.safetensors", NULL), "/nonexistent/x.safetensors");
    fails(tool("perplexity", "--model", model, "--tokens", "1,2,3", "--window", "1000000", NULL), "--window 1000000");
    fails(tool("perplexity", "--model", model, "--tokens", "1,2,3", "--window", "1", NULL), "--window 1:");
    fails(tool("perplexity", "--model", model, "--tokens", "1,2,3", "--window", "4", NULL), "less than one window");
    fails(tool("perplexity", "--model", model, "--tokens", "1,2,3", "--protocol", "best", NULL), "--protocol best");
    fails(tool("perplexity", "--model", model, "--tokens", "1,2,3", "--window", "2", "--stride", "3", NULL), "a stride of 3");
    fails(tool("perplexity", "--model", model, "--tokens", "1,2,3", "--bos", "often", NULL), "--bos often: one of none, text");
    fails(tool("generate", "--model", model, "--tokens", "1", "--temperature", "hot", NULL), "--temperature hot");
    fails(tool("tokenize", "--model", model, "a", NULL), "tokenizer.json");
    fails(tool("tokenize", "--model", model, NULL), "one text");
    fails(tool("info", model, "--load", "nowhere", NULL), "--load nowhere: not known");
    char path[1100];
    snprintf(path, sizeof path, "%s/config.json", model);
    fails(tool("info", path, NULL), "the folder that holds it");
    fails(tool("export", "--to", "/tmp/x", NULL), "--model is missing");
    fails(tool("export", "--model", model, NULL), "--to is missing");
    fails(tool("export", "--model", model, "--to", "/tmp/x", "--dtype", "f8", NULL), "--dtype f8");
    fails(tool("export", "--model", model, "--to", "/tmp/fp4lab-x", "--dtype", "q8_0", NULL), "a folder holds F32, F16 or BF16");
    fails(tool("export", "--model", model, "--to", model, NULL), "--force");
    fails(tool("export", "--model", model, "--to", "/tmp/fp4lab-x.gguf", NULL), "tokenizer.json");
    fails(tool("export", "--model", net(FP4_ARCH_OPT), "--to", "/tmp/fp4lab-x.gguf", "--no-tokenizer", NULL), "llama.cpp has no architecture for OPT");
}

static void copy_file(const char *from, const char *to, size_t limit) {
    struct fp4_map map;
    must(fp4_map_open(from, &map));
    write_bytes(to, map.data, map.size < limit ? map.size : limit);
    fp4_map_close(&map);
}

/* A folder like the tiny model's, its weights cut after `limit` bytes. */
static void make_model(char folder[FOLDER_MAX], size_t limit) {
    static const char *const files[] = {"config.json", "model.safetensors"};
    folder_make(folder);
    for (int i = 0; i < 2; i++)
        copy_file(folder_file(tiny(), files[i]), folder_file(folder, files[i]), i ? limit : SIZE_MAX);
}

Test(tool, broken_and_missing_files) {
    char folder[FOLDER_MAX], path[128];
    fails(tool("info", "/nonexistent.gguf", NULL), "/nonexistent.gguf: cannot open");
    fails(tool("info", "/tmp", NULL), "/tmp: no model.safetensors");
    fails(tool("info", "/dev/null", NULL), "/dev/null: not a regular file");
    fails(tool("logits", "--model", "/nonexistent", "--tokens", "1", NULL), "/nonexistent");
    fails(tool("tokenize", "--model", "/nonexistent", "a", NULL), "/nonexistent");
    make_model(folder, 100000);
    snprintf(path, sizeof path, "%s/model.safetensors", folder);
    fails(tool("info", folder, NULL), path);
    fails(tool("logits", "--model", folder, "--tokens", "1", NULL), path);
    fails(tool("quantize", folder, "nvfp4:te", NULL), path);
    snprintf(path, sizeof path, "%s/config.json", folder);
    unlink(path);
    fails(tool("perplexity", "--model", folder, "--tokens", "1,2", NULL), folder);
    make_model(folder, SIZE_MAX);
    unlink(path);
    snprintf(path, sizeof path, "%s/config.json", folder);
    write_bytes(path, "{\"model_type\":\"llama\"", 21);
    fails(tool("logits", "--model", folder, "--tokens", "1", NULL), path);
}

Test(tool, a_full_disk_is_an_error) {
    int full = open("/dev/full", O_WRONLY);
    if (full < 0)
        skip_test("full disk", "no /dev/full");
    char *argv[] = {"fp4lab", "formats", NULL};
    struct outcome o = program_run(argv, full);
    cr_assert_eq(o.status, 2, "%s", o.err);
    cr_assert_not_null(strstr(o.err, "standard output"));
    outcome_free(o);
}

/* ---- output forms ---- */

static size_t lines_of(const char *text) {
    size_t n = 0;
    for (; *text; text++)
        n += *text == '\n';
    return n;
}

Test(tool, info_in_every_form) {
    struct fp4_checkpoint *c;
    must(fp4_checkpoint_open(tiny(), &c));
    json_t *root = json_of(tool("info", tiny(), "-o", "json", "--statistics", NULL)), *tensors = json_object_get(root, "tensors");
    cr_assert_eq(json_array_size(tensors), fp4_checkpoint_count(c));
    cr_assert_str_eq(json_string_value(json_object_get(root, "architecture")), "llama");
    double elements = 0;
    for (size_t i = 0; i < json_array_size(tensors); i++) {
        json_t *row = json_array_get(tensors, i);
        const struct fp4_stored *t = fp4_checkpoint_at(c, i);
        char hex[65];
        must(fp4_sha256_buffer(t->data, t->bytes, hex)); /* F32 as stored */
        cr_assert_str_eq(json_string_value(json_object_get(row, "name")), t->name);
        cr_assert_str_eq(json_string_value(json_object_get(row, "sha256_f32")), hex);
        cr_assert_eq(json_array_size(json_object_get(row, "shape")), (size_t)t->n_dims);
        elements += number(row, "elements");
    }
    cr_assert_eq(number(root, "parameters"), elements);
    json_decref(root);
    struct outcome csv = tool("info", tiny(), "-o", "csv", NULL), md = tool("info", tiny(), "--output=md", NULL), text = tool("info", tiny(), NULL);
    succeeds(csv);
    succeeds(md);
    succeeds(text);
    cr_assert_eq(lines_of(csv.out), fp4_checkpoint_count(c) + 1);
    cr_assert_not_null(strstr(md.out, "|---"));
    cr_assert_not_null(strstr(text.out, fp4_checkpoint_at(c, 0)->name));
    done(csv);
    done(md);
    done(text);
    fp4_checkpoint_close(c);
}

Test(tool, csv_and_markdown_quote) {
    char folder[FOLDER_MAX];
    folder_make(folder);
    const char *path = folder_file(folder, "names.safetensors");
    const float x[1] = {0};
    const struct fp4_tensor_out t = {"a,\"b\"|\033[31m", FP4_F32, 1, {1}, x};
    must(fp4_safetensors_write(path, &t, 1));
    struct outcome csv = tool("info", path, "-o", "csv", NULL), md = tool("info", path, "-o", "md", NULL), text = tool("info", path, NULL);
    cr_assert_not_null(strstr(csv.out, "\n\"a,\"\"b\"\"|\\x1b[31m\",F32,1,1,4,"), "%s", csv.out);
    cr_assert_not_null(strstr(md.out, "| a,\"b\"\\|\\\\x1b[31m | F32 |"), "%s", md.out);
    cr_assert_null(strchr(text.out, '\033'), "no escape sequence reaches the terminal");
    done(csv);
    done(md);
    done(text);
}

Test(tool, every_listed_format_is_understood) {
    json_t *root = json_of(tool("formats", "-o", "json", NULL)), *row;
    size_t i, n = 0;
    json_array_foreach(json_object_get(root, "formats"), i, row) {
        const char *format = json_string_value(json_object_get(row, "format"));
        json_t *result = json_of(tool("quantize", tiny(), format, "-o", "json", NULL));
        json_t *got = json_array_get(json_object_get(result, "formats"), 0);
        /* the canonical spelling; a group size that was left out is added */
        cr_assert_eq(strncmp(json_string_value(json_object_get(got, "format")), format, strlen(format)), 0, "%s", format);
        /* a format of 16 bits or less loses something, but not much */
        double error = number(got, "relative_error"), bits = number(got, "bits_per_element");
        cr_assert(strcmp(format, "none") == 0 ? error == 0 && bits == 32 : error > 0 && error < 0.25 && bits >= 4 && bits <= 16.1, "%s: %g, %g bits",
                  format, error, bits);
        json_decref(result);
        n++;
    }
    cr_assert_gt(n, 1);
    json_decref(root);
}

/* ---- numbers ---- */

/* "3,1,4" of n ids; free() it. */
static char *list_of(const int32_t *ids, size_t n) {
    char *text = malloc(12 * n + 1), *p = text;
    for (size_t i = 0; i < n; i++)
        p += sprintf(p, "%s%d", i ? "," : "", (int)ids[i]);
    return text;
}

static double bound_of(const struct vectors *v, const char *name) {
    return 4 * vectors_deviation(v, name) + 0x1p-22 * vectors_magnitude(v, name);
}

static void check_logits(const struct vectors *v, const int32_t *ids, size_t T) {
    size_t n;
    char *list = list_of(ids, T);
    double *reference = vectors_read(v, "logits", &n), bound = bound_of(v, "logits");
    size_t vocab = vectors_stored(v, "logits")->shape[2];
    json_t *root = json_of(tool("logits", "--model", v->folder, "--tokens", list, "--top", "0", "-o", "json", NULL)), *row;
    json_t *rows = json_object_get(root, "logits");
    cr_assert_eq(json_array_size(rows), vocab, "%s", v->folder);
    size_t i;
    double last = INFINITY, total = 0;
    json_array_foreach(rows, i, row) {
        size_t id = (size_t)number(row, "id");
        double logit = number(row, "logit");
        cr_assert_lt(id, vocab);
        cr_assert_leq(fabs(logit - reference[(T - 1) * vocab + id]), bound, "%s: id %zu", v->folder, id);
        cr_assert_leq(logit, last, "most probable first");
        last = logit;
        total += number(row, "probability");
    }
    cr_assert_float_eq(total, 1, 1e-12 * (double)vocab);
    fp4_free(reference);
    json_decref(root);
    free(list);
}

/* The mean over all rows of the batch is the loss of the references: each row is a window. */
static void check_perplexity(const struct vectors *v, const int32_t *ids, size_t B, size_t T) {
    char window[24], *list = list_of(ids, B * T);
    double *loss = vectors_read(v, "loss", NULL);
    snprintf(window, sizeof window, "%zu", T);
    json_t *root = json_of(tool("perplexity", "--model", v->folder, "--tokens", list, "--window", window, "-o", "json", NULL));
    cr_assert_leq(fabs(number(root, "nll") - loss[0]), bound_of(v, "loss"), "%s: %.9g, not %.9g", v->folder, number(root, "nll"), loss[0]);
    cr_assert_float_eq(number(root, "perplexity"), exp(number(root, "nll")), 1e-12 * exp(loss[0]));
    cr_assert_eq((size_t)number(root, "tokens_counted"), B * (T - 1));
    cr_assert_eq((size_t)number(root, "windows"), B);
    cr_assert_eq(json_array_size(json_object_get(root, "per_window")), B);
    json_decref(root);
    root = json_of(tool("perplexity", "--model", v->folder, "--tokens", list, "--window", window, "--windows", "1", "-o", "json", NULL));
    cr_assert_eq((size_t)number(root, "windows"), 1);
    json_decref(root);
    fp4_free(loss);
    free(list);
}

static void check_greedy(const struct vectors *v, const int32_t *ids) {
    size_t n;
    if (!vectors_has(v, "greedy"))
        return;
    int32_t *want = vectors_read_ids(v, "greedy", &n);
    char *list = list_of(ids, 5), count[24];
    snprintf(count, sizeof count, "%zu", n);
    json_t *root = json_of(tool("generate", "--model", v->folder, "--tokens", list, "--n", count, "--past-end", "-o", "json", NULL));
    json_t *rows = json_object_get(root, "generated");
    cr_assert_eq(json_array_size(rows), n);
    for (size_t i = 0; i < n; i++)
        cr_assert_eq((int32_t)number(json_array_get(rows, i), "id"), want[i], "%s: token %zu", v->folder, i);
    fp4_free(want);
    json_decref(root);
    free(list);
}

Test(tool, the_numbers_of_the_golden_models) {
    const char *root = golden_file("models");
    struct dirent **entries;
    int n = scandir(root, &entries, NULL, alphasort), checked = 0;
    for (int i = 0; i < n; i++) {
        char folder[1400], path[1500];
        struct fp4_config config;
        snprintf(folder, sizeof folder, "%s/%s", root, entries[i]->d_name);
        snprintf(path, sizeof path, "%s/config.json", folder);
        free(entries[i]);
        if (access(path, R_OK) != 0)
            continue;
        if (fp4_config_read_json(path, &config) != FP4_OK) {
            fails(tool("logits", "--model", folder, "--tokens", "1", NULL), "model_type");
            continue;
        }
        struct vectors v;
        vectors_open(&v, folder, "golden.safetensors");
        int32_t *ids = vectors_read_ids(&v, "tokens", NULL);
        const size_t *shape = vectors_stored(&v, "tokens")->shape;
        check_logits(&v, ids, shape[1]);
        check_perplexity(&v, ids, shape[0], shape[1]);
        check_greedy(&v, ids);
        fp4_free(ids);
        vectors_close(&v);
        checked++;
    }
    free(entries);
    cr_assert_gt(checked, 0);
}

static char *text_of(struct outcome o) {
    succeeds(o);
    free(o.err);
    return o.out;
}

Test(tool, threads_do_not_change_a_bit) {
    char *one = text_of(tool("logits", "--model", tiny(), "--tokens", "1,7,9,30", "--weights", "nvfp4:te", "--activations", "nvfp4:te,sr", "-o",
                             "json", "--threads", "1", NULL));
    char *three = text_of(tool("logits", "--model", tiny(), "--tokens", "1,7,9,30", "--weights", "nvfp4:te", "--activations", "nvfp4:te,sr", "-o",
                               "json", "--threads", "3", NULL));
    char *other = text_of(tool("logits", "--model", tiny(), "--tokens", "1,7,9,30", "--weights", "nvfp4:te", "--activations", "nvfp4:te,sr", "-o",
                               "json", "--seed", "2", NULL));
    cr_assert_str_eq(one, three);
    cr_assert_str_neq(one, other, "another seed rounds otherwise");
    free(one);
    free(three);
    free(other);
}

/* Weights written by `quantize --out` give, bit for bit, what --weights gives on the original. */
Test(tool, a_written_model_is_the_quantized_one) {
    char folder[FOLDER_MAX], path[128];
    make_model(folder, SIZE_MAX);
    snprintf(path, sizeof path, "%s/model.safetensors", folder);
    fails(tool("quantize", tiny(), "nvfp4:te", "--out", path, NULL), "is there already; --force");
    done(tool("quantize", tiny(), "nvfp4:te", "--out", path, "--force", NULL));
    json_t *a = json_of(tool("logits", "--model", tiny(), "--tokens", "1,7,9,30", "--weights", "nvfp4:te", "-o", "json", NULL));
    json_t *b = json_of(tool("logits", "--model", folder, "--tokens", "1,7,9,30", "-o", "json", NULL));
    json_t *plain = json_of(tool("logits", "--model", tiny(), "--tokens", "1,7,9,30", "-o", "json", NULL));
    cr_assert(json_equal(json_object_get(a, "logits"), json_object_get(b, "logits")));
    cr_assert_not(json_equal(json_object_get(a, "logits"), json_object_get(plain, "logits")));
    json_decref(a);
    json_decref(b);
    json_decref(plain);
}

/* What comes out of a folder, through a GGUF file and back, is what went in. */
Test(tool, an_exported_model_is_the_same) {
    char folder[FOLDER_MAX], beside[FOLDER_MAX];
    folder_make(beside);
    const char *gguf = folder_file(beside, "x.gguf");
    make_model(folder, SIZE_MAX);
    json_t *written = json_of(tool("export", "--model", tiny(), "--to", gguf, "--no-tokenizer", "-o", "json", NULL));
    struct fp4_checkpoint *c;
    must(fp4_checkpoint_open(tiny(), &c));
    double elements = 0;
    for (size_t i = 0; i < fp4_checkpoint_count(c); i++)
        elements += (double)fp4_checkpoint_at(c, i)->elements;
    fp4_checkpoint_close(c);
    cr_assert_eq(number(written, "parameters"), elements);
    cr_assert_eq(number(written, "weight_bytes"), 4 * elements);
    json_decref(written);
    fails(tool("export", "--model", gguf, "--to", folder, NULL), "config.json: is there already; --force");
    json_decref(json_of(tool("export", "--model", gguf, "--to", folder, "--force", "-o", "json", NULL)));
    json_t *a = json_of(tool("logits", "--model", tiny(), "--tokens", "1,7,9,30", "-o", "json", NULL));
    json_t *b = json_of(tool("logits", "--model", folder, "--tokens", "1,7,9,30", "-o", "json", NULL));
    cr_assert(json_equal(json_object_get(a, "logits"), json_object_get(b, "logits")));
    json_decref(a);
    json_decref(b);
}

Test(tool, a_limit_on_perplexity_is_a_check) {
    struct outcome low = tool("perplexity", "--model", tiny(), "--tokens", "1,7,9,30", "--window", "4", "--max-perplexity", "1.0001", NULL);
    struct outcome high = tool("perplexity", "--model", tiny(), "--tokens", "1,7,9,30", "--window", "4", "--max-perplexity", "1e30", NULL);
    cr_assert_eq(low.status, 1, "%s", low.err);
    succeeds(high);
    done(low);
    done(high);
}

/* Counts of 26 tokens in windows of 8 at stride 2, and the sampling interval around each mean. */
Test(tool, perplexity_by_protocol) {
    static const struct {
        const char *protocol, *bos;
        size_t counted, dropped, windows;
    } expected[] = {{"disjoint", "none", 21, 5, 3},  {"writeup_c", "none", 70, 1, 10}, {"writeup_c", "text", 76, 0, 11}, {"strided", "none", 25, 1, 10},
                    {"strided", "window", 26, 0, 11}, {"bos", "window", 26, 0, 4},      {"llama_cpp", "replace", 9, 17, 3}};
    for (size_t i = 0; i < sizeof expected / sizeof *expected; i++) {
        bool overlaps = strcmp(expected[i].protocol, "disjoint") != 0 && expected[i].protocol[0] != 'b' && expected[i].protocol[0] != 'l';
        json_t *root = json_of(tool("perplexity", "--model", tiny(), "--tokens", "1,7,9,30,4,11,8,2,3,3,21,30,44,10,8,2,60,7,19,35,4,51,9,12,5,6", "--protocol",
                                    expected[i].protocol, "--window", "8", "--bos", expected[i].bos, "-o", "json", overlaps ? "--stride" : NULL, "2", NULL));
        double mean = number(root, "perplexity");
        cr_assert_eq((size_t)number(root, "tokens_counted"), expected[i].counted, "%s, %s: %g", expected[i].protocol, expected[i].bos, number(root, "tokens_counted"));
        cr_assert_eq((size_t)number(root, "tokens_dropped"), expected[i].dropped, "%s, %s: %g", expected[i].protocol, expected[i].bos, number(root, "tokens_dropped"));
        cr_assert_eq((size_t)number(root, "windows"), expected[i].windows, "%s, %s: %g", expected[i].protocol, expected[i].bos, number(root, "windows"));
        cr_assert_eq((size_t)number(root, "tokens_in_text"), 26);
        cr_assert(number(root, "ci_low") < mean && mean < number(root, "ci_high"), "%s", expected[i].protocol);
        json_decref(root);
    }
}

/* The tiny model's context is 64 tokens. */
Test(tool, the_context_is_a_limit_with_a_way_out) {
    char ids[256] = "1";
    for (int i = 0; i < 62; i++)
        strcat(ids, ",7");
    json_t *root = json_of(tool("generate", "--model", tiny(), "--tokens", ids, "-o", "json", NULL)); /* 63: one is left */
    cr_assert_eq(number(root, "generated_tokens"), 1);
    json_decref(root);
    fails(tool("generate", "--model", tiny(), "--tokens", ids, "--n", "2", NULL), "--n 2: after 63 tokens the model's context of 64 has room for 1");
    strcat(ids, ",7,7");
    fails(tool("generate", "--model", tiny(), "--tokens", ids, NULL), "--tokens: 65 tokens are more than the model's context of 64");
    fails(tool("logits", "--model", tiny(), "--tokens", ids, NULL), "--tokens: 65 tokens are more than the model's context of 64");
}

Test(tool, sampling_is_repeatable) {
    const char *sample[] = {"generate", "--model", tiny(), "--tokens", "1,7", "--n", "12", "--temperature", "1.5", "--past-end", "--seed"};
    char *text[3];
    for (int i = 0; i < 3; i++)
        text[i] = text_of(tool(sample[0], sample[1], sample[2], sample[3], sample[4], sample[5], sample[6], sample[7], sample[8], sample[9],
                               sample[10], i == 1 ? "4" : "3", NULL));
    cr_assert_str_eq(text[0], text[2]);
    cr_assert_str_neq(text[0], text[1]);
    for (int i = 0; i < 3; i++)
        free(text[i]);
}
