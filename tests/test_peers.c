/* Options of the real architectures that golden/models does not have: random checkpoints that transformers makes and computes in float64 (when Python has
 * it), from safetensors and, of the Llama family, from GGUF. */
#include "tests/folders.h"
#include "tests/subject.h"
#include "tests/support.h"

#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static void check_peer(const char *folder) {
    struct subject s;
    subject_open(&s, folder);
    subject_logits(&s, s.m, "");
    must(fp4_model_enable_grad(s.m));
    must(fp4_model_loss_backward(s.m, s.tokens, s.targets, s.B, s.T, 1.0f, NULL));
    subject_gradients(&s, s.m, "grad.");
    const char *gguf = folder_file(folder, "model.gguf");
    if (access(gguf, R_OK) == 0) {
        struct fp4_model *m;
        must(fp4_model_load(gguf, fp4_backend_cpu(), &m));
        subject_logits(&s, m, "");
        enum fp4_rope_kind kind = fp4_model_config(m)->rope.kind, theirs = fp4_model_config(s.m)->rope.kind;
        cr_assert(kind == theirs || (kind == FP4_ROPE_DIVISORS && theirs == FP4_ROPE_LLAMA3 && !strstr(folder, "published")), "%s", folder);
        fp4_model_free(m);
    }
    subject_close(&s);
}

Test(peers, random_checkpoints_of_transformers, .timeout = 300) {
    char folder[FOLDER_MAX];
    const char *arguments[] = {folder, NULL};
    size_t models = 0;
    folder_make(folder);
    char *names = python_output("peers", "peer_models.py", arguments);
    for (char *name = strtok(names, "\n"); name; name = strtok(NULL, "\n"), models++) {
        char path[256];
        snprintf(path, sizeof path, "%s/%s", folder, name);
        check_peer(path);
    }
    cr_assert_gt(models, 0);
    free(names);
}
