/* Every allocation failing, one after the other: each time an error, nothing lost, no crash. The library's own allocations and Jansson's fail
 * everywhere; without sanitizers malloc itself is taken over, so that the C library, PCRE2 and libcrypto fail too. */
#include <errno.h>
#include <jansson.h>
#include <openssl/crypto.h>
#include <stdlib.h>
#include <string.h>

#include "fp4lab/formats.h"
#include "fp4lab/hub.h"
#include "fp4lab/model.h"
#include "fp4lab/text.h"
#include "fp4lab/weights.h"
#include "lib/base/json.h"
#include "lib/base/memory.h"
#include "lib/io/checkpoint.h"
#include "lib/io/config.h"
#include "stats/facts_ptq.h"
#include "stats/facts_train.h"
#include "tests/folders.h"
#include "tests/fuzz/fuzz.h"
#include "tests/fuzz/seeds.h"
#include "tests/hub_support.h"
#include "tests/results_fixture.h"
#include "tests/support.h"

static _Thread_local long live; /* blocks that this thread has allocated and not freed */

#if SANITIZED
#define CRYPTO_ALLOCATE malloc
#define CRYPTO_REALLOCATE realloc
#define CRYPTO_RELEASE free
#else
#define CRYPTO_ALLOCATE __libc_malloc
#define CRYPTO_REALLOCATE __libc_realloc
#define CRYPTO_RELEASE __libc_free
#endif

#if !SANITIZED /* there LeakSanitizer looks for what is lost */
/* glibc's own, under the names that it keeps for such programs. */
void *__libc_malloc(size_t n);
void *__libc_calloc(size_t n, size_t size);
void *__libc_realloc(void *p, size_t n);
void *__libc_memalign(size_t alignment, size_t n);
void __libc_free(void *p);

static void *counted(void *p) {
    live += p != NULL;
    return p;
}
static bool fails(void) {
    if (!memory_fails())
        return false;
    errno = ENOMEM;
    return true;
}
void *malloc(size_t n) { return fails() ? NULL : counted(__libc_malloc(n)); }
void *calloc(size_t n, size_t size) { return fails() ? NULL : counted(__libc_calloc(n, size)); }
void *aligned_alloc(size_t alignment, size_t n) { return fails() ? NULL : counted(__libc_memalign(alignment, n)); }
void *realloc(void *p, size_t n) {
    if (fails())
        return NULL;
    return p ? __libc_realloc(p, n) : counted(__libc_malloc(n));
}
void free(void *p) {
    live -= p != NULL;
    __libc_free(p);
}
#endif

/* libcrypto keeps what it has looked up, and takes up later what it had no memory for: its own blocks do not fail here, the ones that it is asked
 * for do. */
static void *crypto_malloc(size_t n, const char *file, int line) { return (void)file, (void)line, CRYPTO_ALLOCATE(n); }
static void *crypto_realloc(void *p, size_t n, const char *file, int line) { return (void)file, (void)line, CRYPTO_REALLOCATE(p, n); }
static void crypto_free(void *p, const char *file, int line) { (void)file, (void)line, CRYPTO_RELEASE(p); }
__attribute__((constructor)) static void spare_libcrypto(void) { CRYPTO_set_mem_functions(crypto_malloc, crypto_realloc, crypto_free); }

struct subject {
    const char *name;
    fp4_status (*run)(void *context);
    void *context;
    size_t every; /* after the first hundred, each every-th allocation only: where there are very many */
};

static const char *emptied; /* a folder, before each run; NULL: none */
/* How often a block may be lost before it counts as a leak: more than once where the subject begins threads, which may take blocks with them. */
static int chances = 1;

static void prepare(void) {
    if (emptied)
        folder_empty(emptied);
}

/* Runs it with the n-th allocation failing; whether that came. */
static bool fail_one(const struct subject *s, size_t n, fp4_status *status) {
    long lost = 1;
    bool failed = false;
    for (int i = 0; lost && i < chances; i++) {
        prepare();
        long before = live;
        fp4_fail(FP4_OK, "nothing said");
        memory_fail_at(n);
        *status = s->run(s->context);
        failed = memory_has_failed();
        memory_fail_at(0);
        lost = live - before;
    }
    cr_assert_eq(lost, 0, "%s: allocation %zu failing: %ld blocks lost", s->name, n, lost);
    return failed;
}

/* Some libraries do without a block that they cannot have, which is no error: then the result must be whole. `tolerated`: how many may. */
static void fail_each(const struct subject *s, size_t tolerated) {
    size_t n = 1, without = 0;
    fp4_status status;
    fp4_set_threads(1);
    prepare();
    must(s->run(s->context)); /* once for what is set up once a process */
    for (; fail_one(s, n, &status); n += n < 100 ? 1 : s->every) {
        without += status == FP4_OK;
        if (status != FP4_OK)
            cr_assert_str_neq(fp4_last_error(), "nothing said", "%s: allocation %zu", s->name, n);
        cr_assert_leq(without, tolerated, "%s: allocation %zu failed and nobody minded", s->name, n);
    }
    cr_assert_eq(status, FP4_OK, "%s: %s", s->name, fp4_last_error());
    cr_assert_gt(n, 1, "%s allocates nothing", s->name);
    printf("%s: %zu allocations, %zu done without\n", s->name, n - 1, without);
}

/* ---- containers, configurations, tokenizers ---- */

static fp4_status open_checkpoint(void *context) {
    const struct bytes *b = context;
    struct fp4_checkpoint *c;
    FP4_TRY(io_checkpoint_parse("seed", b->data, b->n, &c));
    fp4_checkpoint_close(c);
    return FP4_OK;
}

static void each_seed(const char *target, fp4_status (*run)(void *context), size_t tolerated) {
    struct bytes b;
    char name[64];
    size_t read = 0;
    for (size_t i = 0; fuzz_seed(target, i, &b, name); i++) {
        if (run(&b) == FP4_OK) {
            fail_each(&(struct subject){name, run, &b, 1}, tolerated);
            read++;
        }
        free(b.data);
    }
    cr_assert_gt(read, 0, "%s", target);
}

Test(memory, safetensors) { each_seed("safetensors", open_checkpoint, 0); }
Test(memory, torch) { each_seed("torch", open_checkpoint, 0); }
Test(memory, gguf) { each_seed("gguf", open_checkpoint, 0); }

static fp4_status read_config(void *context) {
    const struct bytes *b = context;
    struct fp4_config config;
    return io_config_parse("seed", b->data, b->n, &config);
}

Test(memory, config) { each_seed("config", read_config, 0); }

static fp4_status use_opened(struct fp4_tokenizer *t) {
    static const char text[] = "It's the 12th\n\n  of 2 na\xc3\xafve \xf0\x9f\x99\x82";
    int32_t *ids;
    char *back = NULL, *each = NULL;
    size_t n = 0, bytes, *end = NULL;
    fp4_status status = fp4_tokenize(t, text, sizeof text - 1, true, &ids, &n);
    if (status == FP4_OK)
        status = fp4_detokenize(t, ids, n, false, &back, &bytes);
    if (status == FP4_OK)
        status = FP4_NEW(end, n);
    if (status == FP4_OK)
        status = fp4_token_texts(t, ids, n, &each, end);
    fp4_free(end);
    fp4_free(each);
    fp4_free(back);
    fp4_free(ids);
    fp4_tokenizer_close(t);
    return status;
}

static fp4_status use_tokenizer(void *context) {
    const struct bytes *b = context;
    struct fp4_tokenizer *t;
    FP4_TRY(fuzz_open_tokenizer("seed", b->data, b->n, &t));
    return use_opened(t);
}

static fp4_status use_pair(void *context) {
    const struct bytes *b = context;
    struct fp4_tokenizer *t;
    FP4_TRY(fuzz_open_pair("seed", b->data, b->n, &t));
    return use_opened(t);
}

/* PCRE2 translates to machine code where it can: without the memory for that it interprets. */
enum { WITHOUT_JIT = 16 };
Test(memory, tokenizer_json) { each_seed("tokenizer_json", use_tokenizer, WITHOUT_JIT); }

Test(memory, tokenizer_model) { each_seed("tokenizer_model", use_tokenizer, WITHOUT_JIT); }

Test(memory, tokenizer_pair) { each_seed("tokenizer_pair", use_pair, WITHOUT_JIT); }

Test(memory, tokenizer_gguf) {
    struct bytes b = seed_gguf_model();
    fail_each(&(struct subject){"tokenizer in GGUF", use_tokenizer, &b, 1}, WITHOUT_JIT);
    free(b.data);
}

/* ---- a model ---- */

static const struct fp4_config tiny = {.arch = FP4_ARCH_LLAMA, .n_vocab = 16, .n_embd = 8, .n_layer = 1, .n_head = 2, .n_kv_head = 1, .head_dim = 4,
                                       .n_ff = 16, .n_ctx = 16, .norm_eps = 1e-5f, .rope_theta = 10000, .tied_head = true, .bos_id = -1, .eos_id = -1};

static fp4_status train_once(struct fp4_model *m) {
    static const int32_t inputs[8] = {1, 2, 3, 4, 5, 6, 7, 8}, targets[8] = {2, 3, 4, 5, 6, 7, 8, 9};
    struct fp4_optimizer *o = NULL;
    const struct fp4_adamw h = {.lr = 1e-3, .beta1 = 0.9, .beta2 = 0.999, .eps = 1e-8, .weight_decay = 0.01};
    double loss;
    struct fp4_quantizer q;
    FP4_TRY(fp4_quantizer_parse("nvfp4:te,sr", &q));
    struct fp4_policy policy = fp4_policy_forward(&q, &q);
    fp4_model_set_policy(m, &policy, false);
    FP4_TRY(fp4_model_enable_grad(m));
    FP4_TRY(fp4_model_loss_backward(m, inputs, targets, 2, 4, 1, &loss));
    FP4_TRY(fp4_optimizer_create(m, &o));
    fp4_status status = fp4_optimizer_step(o, &h, 1, NULL);
    fp4_optimizer_free(o);
    return status;
}

static fp4_status load_and_train(void *context) {
    const char *path = context;
    struct fp4_model *m;
    FP4_TRY(fp4_model_load(path, fp4_backend_cpu(), &m));
    fp4_status status = train_once(m);
    fp4_model_free(m);
    return status;
}

/* Weights that stay in the file: a plan, passes, rewriting, going back. */
static fp4_status use_in_file(void *context) {
    static const int32_t tokens[4] = {1, 2, 3, 4};
    const struct fp4_use use = {.tokens = 4, .rewrites = true};
    const struct fp4_load load = {.weights_in = FP4_WEIGHTS_FILE, .use = &use};
    struct fp4_snapshot *s = NULL;
    struct fp4_model *m;
    float logits[16], w[16 * 8] = {0};
    char hex[65];
    FP4_TRY(fp4_model_open(context, fp4_backend_cpu(), &load, &m));
    fp4_status status = fp4_model_snapshot(m, &s);
    for (size_t i = 0; i < 2 && status == FP4_OK; i++) {
        status = fp4_model_logits(m, tokens, 4, 1, logits);
        if (status == FP4_OK)
            status = fp4_model_hash(m, hex);
        if (status == FP4_OK)
            status = i == 0 ? fp4_model_set(m, fp4_model_find_param(m, "model.layers.0.mlp.up_proj.weight"), w) : fp4_model_restore(m, s);
    }
    fp4_snapshot_free(s);
    fp4_model_free(m);
    return status;
}

Test(memory, load_forward_backward_step) {
    char folder[FOLDER_MAX];
    struct fp4_model *m;
    folder_make(folder);
    must(fp4_model_create(&tiny, 1, fp4_backend_cpu(), &m));
    must(fp4_model_save(m, folder));
    fp4_model_free(m);
    fail_each(&(struct subject){"model", load_and_train, folder, 1}, 4 /* buffers of the C library's streams */);
    fail_each(&(struct subject){"model in its file", use_in_file, folder, 1}, 4);
}

/* ---- writing checkpoints ---- */

struct copy {
    char folder[FOLDER_MAX];
    const char *model, *gguf, *again;
};

/* A GGUF model goes out as a folder, in shards and quantized, with its tokenizer, and from there into another GGUF file. */
static fp4_status export_model(void *context) {
    const struct copy *x = context;
    struct fp4_model *m;
    struct fp4_export o = {.dtype = FP4_BF16, .force = true, .shard_bytes = 4000};
    bool found;
    FP4_TRY(fp4_quantizer_parse("nvfp4:te", &o.weights));
    FP4_TRY(fp4_model_load(x->model, fp4_backend_cpu(), &m));
    fp4_status status = fp4_model_export(m, x->folder, &o, NULL);
    if (status == FP4_OK)
        status = fp4_tokenizer_export(x->model, x->folder, &found);
    if (status == FP4_OK)
        status = fp4_model_export_gguf(m, x->gguf, x->folder, &o, NULL);
    if (status == FP4_OK)
        status = fp4_model_export_gguf(m, x->again, x->model, &o, NULL);
    fp4_model_free(m);
    return status;
}

static fp4_status open_path(void *context) {
    struct fp4_checkpoint *c;
    FP4_TRY(fp4_checkpoint_open(context, &c));
    fp4_checkpoint_close(c);
    return FP4_OK;
}

Test(memory, export) {
    char folder[FOLDER_MAX];
    struct copy x;
    struct bytes b = seed_gguf_model();
    folder_make(folder);
    folder_make(x.folder);
    x.model = folder_file(folder, "x.gguf");
    x.gguf = folder_file(folder, "y.gguf");
    x.again = folder_file(folder, "z.gguf");
    must(fp4_write_file(x.model, b.data, b.n));
    free(b.data);
    fail_each(&(struct subject){"export", export_model, &x, 101}, 4 /* buffers of the C library's streams */);
    fail_each(&(struct subject){"shards and their index", open_path, x.folder, 1}, 0);
}

/* ---- the hub ---- */

/* Into an empty cache, each time; what was not to be had is found to be missing. */
static fp4_status fetch(void *context) {
    const struct fp4_hub_spec *spec = context;
    struct fp4_hub_found found;
    const struct fp4_hub_options options = {.retries = -1, .timeout = 10};
    fp4_status status = fp4_hub_fetch(spec, &options, &found);
    return status == FP4_OK ? fp4_hub_find(spec, &found) : status;
}

Test(memory, fetch) {
    char root[FOLDER_MAX];
    struct fp4_hub_spec spec;
    hub_environment();
    struct hub_server *s = hub_server_start(HUB_FINE);
    hub_use_server(s, root);
    emptied = root;
    chances = 3; /* libcurl resolves names in a thread, also addresses when there was no memory for the short way */
    must(fp4_hub_parse("org/sharded", &spec));
    fail_each(&(struct subject){"fetch", fetch, &spec, 13}, 16 /* connections that are not kept, messages of libcurl */);
    hub_server_stop(s);
}

/* ---- corpus, quantizers ---- */

static fp4_status use_corpus(void *context) {
    struct fp4_corpus *c;
    int32_t *ids = NULL;
    double *nll = NULL;
    size_t n = 0;
    (void)context;
    FP4_TRY(fp4_corpus_create(1, &c));
    fp4_status status = fp4_corpus_document(c, 3, &ids, &n);
    if (status == FP4_OK)
        status = FP4_NEW(nll, n);
    if (status == FP4_OK)
        status = fp4_corpus_nll(c, ids, n, nll);
    fp4_free(nll);
    fp4_free(ids);
    fp4_corpus_destroy(c);
    return status;
}

Test(memory, corpus) { fail_each(&(struct subject){"corpus", use_corpus, NULL, 7}, 0); }

static fp4_status use_quantizer(void *context) {
    struct fp4_quantizer q;
    float x[256], y[256];
    struct fp4_qtensor packed;
    for (int i = 0; i < 256; i++)
        x[i] = (float)(i - 77);
    FP4_TRY(fp4_quantizer_parse(context, &q));
    FP4_TRY(fp4_fake_quantize(&q, 2, 128, x, y, NULL));
    FP4_TRY(fp4_quantize(&q, 2, 128, x, NULL, &packed));
    fp4_status status = fp4_dequantize(&packed, y);
    fp4_qtensor_free(&packed);
    return status;
}

Test(memory, quantizer) { fail_each(&(struct subject){"quantizer", use_quantizer, (void *)(uintptr_t)"nvfp4:te,had16", 1}, 0); }

/* ---- results and facts ---- */

static fp4_status load_results(void *context) {
    struct results r;
    const char *const paths[] = {context};
    char hex[65];
    FP4_TRY(results_load(paths, 1, &r));
    fp4_status status = results_digest(&r, hex);
    results_free(&r);
    return status;
}

static fp4_status compute_facts(void *context) {
    struct results r;
    struct facts f;
    char out[128];
    const char *const paths[] = {context};
    char *text;
    size_t n;
    json_error_t error;
    FP4_TRY(fp4_read_file("stats/published.json", (size_t)1 << 20, &text, &n));
    json_t *published = json_parse(text, n, 0, &error);
    fp4_free(text);
    if (!published)
        return fp4_fail(json_fault(&error), "published.json: %s", error.text);
    fp4_status status = results_load(paths, 1, &r);
    if (status != FP4_OK) {
        json_decref(published);
        return status;
    }
    snprintf(out, sizeof out, "%s/facts", paths[0]);
    status = facts_begin(&f, &r, published, NULL);
    if (status == FP4_OK) {
        facts_all(&f);
        status = facts_write(&f, out);
    }
    facts_free(&f);
    results_free(&r);
    return status;
}

static void on_results(const char *name, enum fixture kind, fp4_status (*run)(void *context), size_t every, size_t tolerated) {
    char folder[FOLDER_MAX];
    folder_make(folder);
    must(fixture_write(folder, kind));
    fail_each(&(struct subject){name, run, folder, every}, tolerated);
}

/* What sections of the report keep of the results: without memory for it a section is broken, and not one that was not run. */
static fp4_status load_sections(void *context) {
    struct facts f = {.results = context};
    struct ptq_section ptq = {.f = &f, .model = "selftrained", .text = "generated", .prefix = "ptq"};
    struct train_section train;
    ptq_load(&ptq);
    train_load(&train, &f, "generated");
    if (!memory_has_failed())
        cr_assert(ptq.n_arms > 1 && ptq.arms[1].n_documents > 0 && train.n_arms > 1);
    ptq_free(&ptq);
    train_unload(&train);
    return f.status;
}

Test(memory, results) { on_results("results", FIXTURE_EMPTY, load_results, 1, 4); }
Test(memory, many_results) { on_results("many results", FIXTURE_SMOKE, load_results, 499, 4); }
Test(memory, facts) { on_results("facts", FIXTURE_SMOKE, compute_facts, 997, 4); }

Test(memory, sections) {
    char folder[FOLDER_MAX];
    const char *const paths[] = {folder};
    struct results r;
    folder_make(folder);
    must(fixture_write(folder, FIXTURE_SMOKE));
    must(results_load(paths, 1, &r));
    fail_each(&(struct subject){"sections", load_sections, &r, 1}, 0);
    results_free(&r);
}
