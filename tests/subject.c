/* Models with references. */
#include "tests/subject.h"

#include "tests/support.h"

#include <string.h>

void subject_open(struct subject *s, const char *folder) {
    vectors_open(&s->v, folder, "golden.safetensors");
    must(fp4_model_load(folder, fp4_backend_cpu(), &s->m));
    const struct fp4_stored *t = vectors_stored(&s->v, "tokens");
    s->tokens = vectors_read_ids(&s->v, "tokens", NULL);
    s->B = t->shape[0];
    s->T = t->shape[1];
    s->V = fp4_model_config(s->m)->n_vocab;
    must(FP4_NEW(s->targets, s->B * s->T));
    for (size_t i = 0; i < s->B * s->T; i++)
        s->targets[i] = (i + 1) % s->T ? s->tokens[i + 1] : -1;
}
void subject_close(struct subject *s) {
    fp4_model_free(s->m);
    fp4_free(s->tokens);
    fp4_free(s->targets);
    vectors_close(&s->v);
}

const char *prefixed(const char *prefix, const char *name) {
    static char buffer[256];
    snprintf(buffer, sizeof buffer, "%s%s", prefix, name);
    return buffer;
}

static void print_deviation(const struct subject *s, const char *prefix, const char *name, double ours, double stated) {
    const char *slash = strrchr(s->v.folder, '/');
    fprintf(stderr, "DEVIATION %s %s%s %.3g stated %.3g\n", slash ? slash + 1 : s->v.folder, prefix, name, ours, stated);
}

void subject_logits(struct subject *s, struct fp4_model *m, const char *prefix) {
    float *logits;
    must(FP4_NEW(logits, s->B * s->T * s->V));
    for (size_t b = 0; b < s->B; b++)
        must(fp4_model_logits(m, s->tokens + b * s->T, s->T, s->T, logits + b * s->T * s->V));
    vectors_compare_f32(&s->v, prefixed(prefix, "logits"), logits, s->B * s->T * s->V, 4);
    print_deviation(s, prefix, "logits", s->v.last, vectors_deviation(&s->v, prefixed(prefix, "logits")));
    double loss;
    must(fp4_model_evaluate(m, s->tokens, s->targets, s->B, s->T, &loss, NULL));
    vectors_compare(&s->v, prefixed(prefix, "loss"), &loss, 1, 4);
    fp4_free(logits);
}

/* Every parameter's gradient against `prefix`<p>. */
void subject_gradients(struct subject *s, struct fp4_model *m, const char *prefix) {
    double worst = -1, ours = 0, stated = 0;
    const char *name = "";
    for (size_t i = 0; i < fp4_model_n_params(m); i++) {
        struct fp4_param *p = fp4_model_param(m, i);
        float *grad;
        must(FP4_NEW(grad, p->elements));
        must(fp4_model_get_grad(m, p, grad));
        vectors_compare_f32(&s->v, prefixed(prefix, p->name), grad, p->elements, 4);
        fp4_free(grad);
        double deviation = vectors_deviation(&s->v, prefixed(prefix, p->name)), share = s->v.last / (deviation + 0x1p-60);
        if (share > worst) {
            worst = share;
            ours = s->v.last;
            stated = deviation;
            name = p->name;
        }
    }
    print_deviation(s, prefix, name, ours, stated);
}
