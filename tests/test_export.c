/* Checkpoints that fp4lab writes: read back by its own readers and by transformers. */
#include <dirent.h>
#include <jansson.h>
#include <math.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <unistd.h>

#include "fp4lab/model.h"
#include "tests/folders.h"
#include "tests/support.h"
#include "tests/vectors.h"

static struct fp4_config small_config(bool tied) {
    return (struct fp4_config){.arch = FP4_ARCH_LLAMA, .n_vocab = 96, .n_embd = 64, .n_layer = 2, .n_head = 4, .n_kv_head = 2, .head_dim = 16, .n_ff = 128, .n_ctx = 64,
                               .norm_eps = 1e-5f, .rope_theta = 1e4, .tied_head = tied, .bos_id = 1, .eos_id = 2};
}

static struct fp4_model *small_model(bool tied) {
    struct fp4_config c = small_config(tied);
    struct fp4_model *m;
    must(fp4_model_create(&c, 5, fp4_backend_cpu(), &m));
    return m;
}

static float *values_of(struct fp4_model *m, const struct fp4_param *p) {
    float *x;
    must(FP4_NEW(x, p->elements));
    must(fp4_model_get(m, p, x));
    return x;
}

/* ---- element types ---- */

/* The nearest number with `bits` significant bits (nearest even) and exponents from `lowest`: by its definition, in double. */
static float nearest(float x, int bits, int lowest) {
    if (x == 0 || !isfinite(x))
        return x;
    int exponent = ilogb((double)x) > lowest ? ilogb((double)x) : lowest;
    double step = ldexp(1, exponent - bits + 1);
    return (float)(nearbyint((double)x / step) * step);
}

/* Values across the range of half precision, ties and subnormals among them, in a matrix of the model. */
static void spread(struct fp4_model *m) {
    struct fp4_param *p = fp4_model_find_param(m, "model.embed_tokens.weight");
    float *x = values_of(m, p);
    for (size_t i = 0; i < p->elements; i++)
        x[i] = ldexpf(1.0f + (float)(i % 4099) / 4096.0f, (int)(i % 43) - 27) * (i % 2 ? -1.0f : 1.0f);
    x[0] = -0.0f, x[1] = 65504.0f, x[2] = 0x1p-25f, x[3] = 0x1.8p-24f, x[4] = 65519.0f, x[5] = 0x1.004p0f, x[6] = 0x1.00cp0f, x[7] = 0x1.01p0f, x[8] = 0x1.03p0f;
    must(fp4_model_set(m, p, x));
    fp4_free(x);
}

static void check_type(struct fp4_model *m, enum fp4_dtype type, int bits, int lowest) {
    char folder[FOLDER_MAX];
    struct fp4_model *back;
    folder_make(folder);
    must(fp4_model_export(m, folder, &(struct fp4_export){.dtype = type, .force = true}, NULL));
    must(fp4_model_load(folder, fp4_backend_cpu(), &back));
    for (size_t i = 0; i < fp4_model_n_params(m); i++) {
        const struct fp4_param *p = fp4_model_param(m, i);
        float *want = values_of(m, p), *got = values_of(back, fp4_model_param(back, i));
        for (size_t j = 0; j < p->elements; j++)
            want[j] = bits ? nearest(want[j], bits, lowest) : want[j];
        for (size_t j = 0; j < p->elements; j++)
            cr_assert(memcmp(&want[j], &got[j], sizeof *got) == 0, "%s, %s[%zu]: %a, not %a", fp4_dtype_name(type), p->name, j, (double)got[j], (double)want[j]);
        fp4_free(want);
        fp4_free(got);
    }
    fp4_model_free(back);
}

Test(export, element_types_round_to_nearest) {
    struct fp4_model *m = small_model(true);
    spread(m);
    check_type(m, FP4_F32, 0, 0);
    check_type(m, FP4_BF16, 8, -126);
    check_type(m, FP4_F16, 11, -14);
    fp4_model_free(m);
}

static size_t entries(const char *folder) {
    size_t n = 0;
    DIR *d = opendir(folder);
    for (struct dirent *e = readdir(d); e; e = readdir(d))
        n += e->d_name[0] != '.';
    closedir(d);
    return n;
}

Test(export, a_number_that_does_not_fit_leaves_nothing) {
    struct fp4_model *m = small_model(true);
    struct fp4_param *p = fp4_model_find_param(m, "model.layers.1.mlp.up_proj.weight");
    float *x = values_of(m, p);
    char folder[FOLDER_MAX];
    x[77] = 65520.0f;
    must(fp4_model_set(m, p, x));
    folder_make(folder);
    cr_assert_eq(fp4_model_export(m, folder, &(struct fp4_export){.dtype = FP4_F16}, NULL), FP4_ERR_NUMERIC);
    cr_assert_not_null(strstr(fp4_last_error(), p->name), "%s", fp4_last_error());
    cr_assert_eq(entries(folder), 0, "no file, whole or in part");
    must(fp4_model_export(m, folder, &(struct fp4_export){.dtype = FP4_BF16}, NULL));
    fp4_free(x);
    fp4_model_free(m);
}

/* ---- files ---- */

Test(export, the_same_model_gives_the_same_bytes) {
    char a[FOLDER_MAX], b[FOLDER_MAX];
    struct fp4_model *m = small_model(false), *back;
    struct fp4_export o = {.dtype = FP4_BF16, .shard_bytes = 20000};
    must(fp4_quantizer_parse("nvfp4:te,sr", &o.weights));
    folder_make(a);
    folder_make(b);
    fp4_set_threads(1);
    must(fp4_model_export(m, a, &o, NULL));
    fp4_set_threads(3);
    must(fp4_model_load(a, fp4_backend_cpu(), &back));
    must(fp4_model_export(back, b, &(struct fp4_export){.dtype = FP4_BF16, .shard_bytes = 20000}, NULL));
    size_t n = entries(a);
    cr_assert_gt(n, 6, "several shards");
    cr_assert_eq(entries(b), n);
    DIR *d = opendir(a);
    for (struct dirent *e = readdir(d); e; e = readdir(d))
        if (e->d_name[0] != '.')
            cr_assert(files_equal(folder_file(a, e->d_name), folder_file(b, e->d_name)), "%s", e->d_name);
    closedir(d);
    folder_make(b);
    must(fp4_model_export(m, b, &o, NULL));
    cr_assert(files_equal(folder_file(a, "model.safetensors.index.json"), folder_file(b, "model.safetensors.index.json")));
    cr_assert(files_equal(folder_file(a, "config.json"), folder_file(b, "config.json")));
    fp4_model_free(back);
    fp4_model_free(m);
}

Test(export, shards_are_no_larger_than_asked) {
    enum { LIMIT = 50000 };
    char folder[FOLDER_MAX];
    struct fp4_model *m = small_model(false);
    struct fp4_checkpoint *c;
    uint64_t bytes;
    json_error_t error;
    folder_make(folder);
    must(fp4_model_export(m, folder, &(struct fp4_export){.dtype = FP4_F32, .shard_bytes = LIMIT}, &bytes));
    cr_assert_eq(bytes, 4 * fp4_model_n_elements(m));
    json_t *index = json_load_file(folder_file(folder, "model.safetensors.index.json"), JSON_REJECT_DUPLICATES, &error), *value;
    cr_assert_not_null(index, "%s", error.text);
    cr_assert_eq((size_t)json_integer_value(json_object_get(json_object_get(index, "metadata"), "total_size")), bytes);
    json_t *map = json_object_get(index, "weight_map");
    cr_assert_eq(json_object_size(map), fp4_model_n_params(m));
    const char *name;
    json_object_foreach(map, name, value) {
        must(fp4_checkpoint_open(folder_file(folder, json_string_value(value)), &c));
        size_t sum = 0;
        for (size_t i = 0; i < fp4_checkpoint_count(c); i++)
            sum += fp4_checkpoint_at(c, i)->bytes;
        cr_assert(sum <= LIMIT || fp4_checkpoint_count(c) == 1, "%s", json_string_value(value));
        cr_assert_not_null(fp4_checkpoint_find(c, name), "%s is not in %s", name, json_string_value(value));
        fp4_checkpoint_close(c);
    }
    json_decref(index);
    fp4_model_free(m);
}

Test(export, nothing_is_overwritten_unasked_and_no_shard_is_left_behind) {
    char folder[FOLDER_MAX];
    struct fp4_model *m = small_model(false), *back;
    struct fp4_export o = {.dtype = FP4_F32, .shard_bytes = 50000};
    folder_make(folder);
    must(fp4_model_export(m, folder, &o, NULL));
    cr_assert_eq(fp4_model_export(m, folder, &o, NULL), FP4_ERR_ARG);
    cr_assert_not_null(strstr(fp4_last_error(), "--force"), "%s", fp4_last_error());
    unlink(folder_file(folder, "config.json"));
    cr_assert_eq(fp4_model_export(m, folder, &o, NULL), FP4_ERR_ARG, "weights alone count too");
    must(fp4_write_file(folder_file(folder, "model-card.md"), "mine", 4));
    must(fp4_write_file(folder_file(folder, "model-of-mine.safetensors.txt"), "mine", 4));
    o.force = true;
    o.shard_bytes = 0;
    must(fp4_model_export(m, folder, &o, NULL));
    cr_assert_eq(entries(folder), 5, "model.safetensors, config.json, generation_config.json and what is not ours: %zu", entries(folder));
    must(fp4_model_load(folder, fp4_backend_cpu(), &back));
    fp4_model_free(back);
    o.shard_bytes = 50000;
    must(fp4_model_export(m, folder, &o, NULL));
    cr_assert_neq(access(folder_file(folder, "model.safetensors"), F_OK), 0, "an old single file would be read before the shards");
    must(fp4_model_load(folder, fp4_backend_cpu(), &back));
    fp4_model_free(back);
    fp4_model_free(m);
}

/* Another limit on writing is the nearest to a full disk that needs no disk of its own. */
Test(export, a_disk_that_fills_up) {
    char folder[FOLDER_MAX];
    struct fp4_model *m = small_model(false);
    struct rlimit before;
    folder_make(folder);
    signal(SIGXFSZ, SIG_IGN);
    cr_assert_eq(getrlimit(RLIMIT_FSIZE, &before), 0);
    cr_assert_eq(setrlimit(RLIMIT_FSIZE, &(struct rlimit){100000, before.rlim_max}), 0);
    fp4_status status = fp4_model_export(m, folder, &(struct fp4_export){.dtype = FP4_F32}, NULL);
    cr_assert_eq(setrlimit(RLIMIT_FSIZE, &before), 0);
    cr_assert_eq(status, FP4_ERR_IO, "%s", fp4_last_error());
    cr_assert_not_null(strstr(fp4_last_error(), "cannot write"), "%s", fp4_last_error());
    cr_assert_eq(entries(folder), 0, "no file, whole or in part");
    fp4_model_free(m);
}

Test(export, a_disk_without_room_is_known_before) {
    char folder[FOLDER_MAX];
    struct fp4_writer *w;
    folder_make(folder);
    cr_assert_eq(fp4_writer_open(folder_file(folder, "x"), UINT64_MAX / 2, &w), FP4_ERR_IO);
    cr_assert_not_null(strstr(fp4_last_error(), "the disk has room for"), "%s", fp4_last_error());
    cr_assert_null(w);
    cr_assert_eq(fp4_disk_room(folder, UINT64_MAX / 2), FP4_ERR_IO);
    must(fp4_disk_room(folder, 1));
    must(fp4_writer_open(folder_file(folder, "x"), 3, &w));
    must(fp4_writer_put(w, "abc", 3));
    cr_assert_neq(access(folder_file(folder, "x"), F_OK), 0, "not before it is whole");
    must(fp4_writer_commit(w));
    must(fp4_writer_open(folder_file(folder, "x"), 0, &w));
    must(fp4_writer_put(w, "de", 2));
    fp4_writer_abandon(w);
    cr_assert_eq(entries(folder), 1);
    struct fp4_map map;
    must(fp4_map_open(folder_file(folder, "x"), &map));
    cr_assert(map.size == 3 && memcmp(map.data, "abc", 3) == 0, "abandoned: as it was");
    fp4_map_close(&map);
}

/* ---- quantized weights ---- */

static void logits_of(struct fp4_model *m, float *logits) {
    static const int32_t ids[] = {1, 7, 9, 30, 81, 2};
    must(fp4_model_logits(m, ids, 6, 1, logits));
}

/* Written weights give, bit for bit, what the policy gives. */
Test(export, quantized_weights_are_the_policys) {
    static const char *const formats[] = {"nvfp4:te", "nvfp4:te,sr", "nvfp4:te,2d", "mxfp4:floor", "nvfp4:te,had16", "mxfp4:floor,sr,had32", "int4:sym7,g32", "bnbfp4:cuda"};
    for (size_t f = 0; f < sizeof formats / sizeof *formats; f++)
        for (int head = 0; head < 2; head++) {
            char folder[FOLDER_MAX];
            float got[96], want[96];
            struct fp4_model *m = small_model(false), *back;
            struct fp4_export o = {.dtype = FP4_F32, .head = head, .seed = 3};
            must(fp4_quantizer_parse(formats[f], &o.weights));
            folder_make(folder);
            must(fp4_model_export(m, folder, &o, NULL));
            struct fp4_policy policy = fp4_policy_forward(&(struct fp4_quantizer){0}, &o.weights);
            fp4_model_set_policy(m, &policy, head);
            fp4_model_set_pass(m, &(struct fp4_pass){.seed = 3});
            logits_of(m, want);
            must(fp4_model_load(folder, fp4_backend_cpu(), &back));
            logits_of(back, got);
            cr_assert_arr_eq(got, want, sizeof want, "%s%s", formats[f], head ? " with the head" : "");
            fp4_model_free(back);
            fp4_model_free(m);
        }
}

Test(export, refusals) {
    struct fp4_model *m = small_model(true);
    struct fp4_export o = {.dtype = FP4_F32, .head = true};
    must(fp4_quantizer_parse("nvfp4:te", &o.weights));
    cr_assert_eq(fp4_model_export(m, "/tmp/fp4lab-not-written", &o, NULL), FP4_ERR_ARG, "a tied head");
    cr_assert_eq(fp4_model_export(m, "/tmp/fp4lab-not-written", &(struct fp4_export){.dtype = FP4_I8}, NULL), FP4_ERR_ARG);
    cr_assert_eq(fp4_model_export(m, "/dev/null/x", &(struct fp4_export){.dtype = FP4_F32}, NULL), FP4_ERR_IO);
    fp4_model_free(m);
    struct fp4_config own = {.arch = FP4_ARCH_LLAMA, .n_vocab = 20, .n_embd = 8, .n_layer = 1, .n_head = 2, .n_kv_head = 1, .head_dim = 4, .n_ff = 8, .n_ctx = 16,
                             .norm_eps = 1e-5f, .rope_theta = 1e4, .bos_id = -1, .eos_id = -1, .rope = {.kind = FP4_ROPE_DIVISORS, .divisor = {1, 3}}};
    must(fp4_model_create(&own, 1, fp4_backend_cpu(), &m));
    cr_assert_eq(fp4_model_export(m, "/tmp/fp4lab-not-written", &(struct fp4_export){.dtype = FP4_F32, .force = true}, NULL), FP4_ERR_UNSUPPORTED);
    cr_assert_not_null(strstr(fp4_last_error(), "rope_freqs.weight"), "%s", fp4_last_error());
    cr_assert_neq(access("/tmp/fp4lab-not-written", F_OK), 0, "known before anything is written");
    fp4_model_free(m);
}

/* ---- transformers ---- */

static const int32_t prompt[] = {3, 17, 5, 250, 99, 1, 44, 8, 123, 71, 6, 200};
enum { N_PROMPT = sizeof prompt / sizeof *prompt };

/* Largest difference of the last position's logits; the line is a JSON array. */
static double difference(const char *folder, const char *line, double *largest) {
    struct fp4_model *m;
    int32_t ids[N_PROMPT];
    json_error_t error;
    json_t *theirs = json_loads(line, JSON_DISABLE_EOF_CHECK, &error);
    cr_assert_not_null(theirs, "%s", error.text);
    must(fp4_model_load(folder, fp4_backend_cpu(), &m));
    size_t vocab = fp4_model_config(m)->n_vocab;
    float *logits;
    double most = 0;
    must(FP4_NEW(logits, vocab));
    for (size_t i = 0; i < N_PROMPT; i++)
        ids[i] = prompt[i] % (int32_t)vocab;
    must(fp4_model_logits(m, ids, N_PROMPT, 1, logits));
    cr_assert_eq(json_array_size(theirs), vocab);
    *largest = 0;
    for (size_t i = 0; i < vocab; i++) {
        double x = json_number_value(json_array_get(theirs, i));
        most = fmax(most, fabs((double)logits[i] - x));
        *largest = fmax(*largest, fabs(x));
    }
    json_decref(theirs);
    fp4_free(logits);
    fp4_model_free(m);
    return most;
}

enum { MAX_MODELS = 256 };
struct exported {
    size_t n;
    char name[MAX_MODELS][64], path[MAX_MODELS][256];
};

static void export_one(struct fp4_model *m, const char *name, bool gguf, const char *scratch, struct exported *x) {
    enum fp4_arch arch = fp4_model_config(m)->arch;
    struct fp4_export o = {.dtype = FP4_F32, .shard_bytes = x->n % 4 ? 100000 : 0};
    const struct fp4_config *c = fp4_model_config(m);
    bool theirs = arch == FP4_ARCH_LLAMA && !c->attention_bias && !c->mlp_bias && c->rope.kind == FP4_ROPE_DEFAULT; /* transformers' reader of GGUF passes over the rest */
    if (arch == FP4_ARCH_WRITEUP_D || (gguf && !theirs))
        return;
    cr_assert_lt(x->n, MAX_MODELS);
    snprintf(x->name[x->n], sizeof x->name[0], "%.60s", name);
    snprintf(x->path[x->n], sizeof x->path[0], "%s/%.60s%s", scratch, name, gguf ? ".gguf" : "");
    must(gguf ? fp4_model_export_gguf(m, x->path[x->n], NULL, &o, NULL) : fp4_model_export(m, x->path[x->n], &o, NULL));
    x->n++;
}

/* Every golden model of an architecture that transformers has, written by us: as a folder, and Llamas as GGUF files for transformers' own reader of these. */
static void export_golden(const char *scratch, struct exported *x) {
    const char *root = golden_file("models");
    struct dirent **names;
    int n = scandir(root, &names, NULL, alphasort);
    x->n = 0;
    for (int i = 0; i < n; i++) {
        char from[1400];
        struct fp4_model *m;
        snprintf(from, sizeof from, "%s/%s", root, names[i]->d_name);
        bool model = names[i]->d_name[0] != '.' && access(folder_file(from, "config.json"), R_OK) == 0;
        if (model && fp4_model_load(from, fp4_backend_cpu(), &m) == FP4_OK) {
            for (int gguf = 0; gguf < 2; gguf++)
                export_one(m, names[i]->d_name, gguf, scratch, x);
            fp4_model_free(m);
        }
        free(names[i]);
    }
    free(names);
}

Test(export, transformers_computes_the_same_logits, .timeout = 300) {
    char scratch[FOLDER_MAX], ids[256] = "";
    const char *arguments[MAX_MODELS + 2] = {ids};
    struct exported x;
    folder_make(scratch);
    export_golden(scratch, &x);
    cr_assert_gt(x.n, 0);
    for (size_t i = 0; i < N_PROMPT; i++)
        snprintf(ids + strlen(ids), sizeof ids - strlen(ids), "%s%d", i ? "," : "", prompt[i]);
    for (size_t i = 0; i < x.n; i++)
        arguments[1 + i] = x.path[i];
    char *text = python_output("transformers", "transformers_logits.py", arguments), *line = text;
    for (size_t i = 0; i < x.n; i++) {
        double largest, most = difference(x.path[i], line, &largest);
        struct vectors v;
        char path[1400];
        snprintf(path, sizeof path, "%s/%s", golden_file("models"), x.name[i]);
        vectors_open(&v, path, "golden.safetensors");
        /* either side is one fp32 run: the golden models' bound for one, twice */
        double bound = 2 * (4 * vectors_deviation(&v, "logits") + 0x1p-22 * vectors_magnitude(&v, "logits"));
        vectors_close(&v);
        printf("transformers, %s: largest logit difference %.3g of %.3g\n", strrchr(x.path[i], '/') + 1, most, largest);
        cr_assert_leq(most, bound, "%s: logits differ by %g, more than %g", x.path[i], most, bound);
        line = strchr(line, '\n') + 1;
    }
    free(text);
}
