/* Tokenizers: bytes of prose a second, for each kind of which a file is at hand. */
#include "bench/list.h"

#include "fp4lab/text.h"

#include <stdlib.h>
#include <string.h>
#include <unistd.h>

struct prose {
    struct fp4_tokenizer *tokenizer;
    struct fp4_documents documents;
    size_t bytes;
};

static fp4_status prose_setup(const struct bench *b, void **state) {
    struct prose *p;
    FP4_TRY(FP4_NEW(p, 1));
    FP4_TRY(fp4_tokenizer_open(b->text, &p->tokenizer));
    FP4_TRY(fp4_documents_open("bible", &p->documents));
    p->bytes = b->size[0] < p->documents.bytes ? b->size[0] : p->documents.bytes;
    *state = p;
    return FP4_OK;
}

static fp4_status prose_run(void *state) {
    struct prose *p = state;
    int32_t *ids;
    size_t n;
    FP4_TRY(fp4_tokenize(p->tokenizer, p->documents.text, p->bytes, false, &ids, &n));
    fp4_free(ids);
    return FP4_OK;
}

/* The model's own file from the asset cache; others from the folder of reference vectors. */
static bool find(const char *name, char *path, size_t size) {
    const char *golden = getenv("FP4LAB_GOLDEN");
    if (strcmp(name, "smollm2") == 0 && fp4_asset_find("SmolLM2-135M-Instruct.Q4_1.gguf", path, size) == FP4_OK)
        return true;
    snprintf(path, size, "%s/tokenizers/%s/tokenizer.json", golden && *golden ? golden : "../shared/golden", name);
    return access(path, R_OK) == 0;
}

fp4_status bench_add_text(const struct bench_options *o, struct bench_list *list) {
    static const char *const names[] = {"smollm2", "gpt2", "llama2"};
    struct bench b = {.threads = 1, .setup = prose_setup, .run = prose_run, .item = "bytes_of_text"};
    struct fp4_documents documents;
    if (fp4_documents_open("bible", &documents) != FP4_OK) {
        fprintf(stderr, "bench: tokenizers not measured: %s\n", fp4_last_error());
        return FP4_OK;
    }
    fp4_documents_close(&documents);
    b.size[0] = o->small ? 1u << 14 : 1u << 18;
    b.items = (double)b.size[0];
    for (size_t i = 0; i < sizeof names / sizeof names[0]; i++) {
        if (!find(names[i], b.text, sizeof b.text)) {
            fprintf(stderr, "bench: tokenizer %s not measured: no file of it in the asset cache or in FP4LAB_GOLDEN\n", names[i]);
            continue;
        }
        bench_name(&b, "tokenize/%s/threads:1", names[i]);
        FP4_TRY(bench_add(list, &b));
    }
    return FP4_OK;
}
