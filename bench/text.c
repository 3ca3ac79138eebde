/* Tokenizer: bytes of prose a second. Needs the model's vocabulary and the prose from the asset cache. */
#include "bench/list.h"

#include "fp4lab/text.h"

#include <string.h>

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

fp4_status bench_add_text(const struct bench_options *o, struct bench_list *list) {
    struct bench b = {.threads = 1, .setup = prose_setup, .run = prose_run, .item = "bytes_of_text"};
    struct fp4_documents documents;
    if (fp4_asset_find("SmolLM2-135M-Instruct.Q4_1.gguf", b.text, sizeof b.text) != FP4_OK || fp4_documents_open("bible", &documents) != FP4_OK) {
        fprintf(stderr, "bench: tokenizer not measured: %s\n", fp4_last_error());
        return FP4_OK;
    }
    fp4_documents_close(&documents);
    b.size[0] = o->small ? 1u << 14 : 1u << 18;
    b.items = (double)b.size[0];
    bench_name(&b, "tokenize/smollm2/threads:1");
    return bench_add(list, &b);
}
