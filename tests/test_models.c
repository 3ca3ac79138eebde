/* The models of golden/models, whatever folders are there: logits, losses, gradients, AdamW, greedy continuation, adaptation, training. */
#include "tests/support.h"

#include "fp4lab/model.h"
#include "lib/backend/backend.h"
#include "tests/subject.h"

#include <dirent.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

/* A fresh model of the same weights. */
static struct fp4_model *reload(const struct subject *s, bool no_positions) {
    struct fp4_model *m, *again;
    must(fp4_model_load(s->v.folder, fp4_backend_cpu(), &m));
    if (!no_positions)
        return m;
    struct fp4_config config = *fp4_model_config(m);
    config.no_positions = true;
    must(fp4_model_create(&config, 1, fp4_backend_cpu(), &again));
    for (size_t i = 0; i < fp4_model_n_params(m); i++) {
        struct fp4_param *p = fp4_model_param(m, i);
        float *host;
        must(FP4_NEW(host, p->elements));
        must(fp4_model_get(m, p, host));
        must(fp4_model_set(again, fp4_model_param(again, i), host));
        fp4_free(host);
    }
    fp4_model_free(m);
    return again;
}

/* Bounds of golden/models/README.md: Adam divides by |g|, so noise in a tiny gradient becomes a step of up to lr. */
static double adam_bound(int steps, double p, double g, double delta, double lr) {
    const double eps = 1e-8;
    double round = 0x1p-22 * (fabs(p) + 4 * lr), rest = fabs(g) > delta ? fabs(g) - delta : 0;
    if (steps == 1)
        return fmin(2 * lr, lr * delta * eps / ((rest + eps) * (rest + eps))) + round;
    return fmin(6 * lr, 96 * lr * delta / (fabs(g) + eps)) + 3 * round;
}

static void check_adam_params(struct subject *s, struct fp4_model *m, int steps) {
    for (size_t i = 0; i < fp4_model_n_params(m); i++) {
        struct fp4_param *p = fp4_model_param(m, i);
        float *host;
        must(FP4_NEW(host, p->elements));
        must(fp4_model_get(m, p, host));
        double *reference = vectors_read(&s->v, prefixed(steps == 1 ? "adamw1." : "adamw3.", p->name), NULL);
        double *g = vectors_read(&s->v, prefixed("grad.", p->name), NULL), delta = 4 * vectors_deviation(&s->v, prefixed("grad.", p->name));
        for (size_t j = 0; j < p->elements; j++) {
            double bound = adam_bound(steps, reference[j], g[j], delta, 1e-3);
            cr_assert(fabs((double)host[j] - reference[j]) <= bound, "%s after %d steps, %s[%zu]: %.9g, reference %.9g, bound %.3g", s->v.folder, steps,
                      p->name, j, (double)host[j], reference[j], bound);
        }
        s->v.used++;
        fp4_free(host);
        fp4_free(reference);
        fp4_free(g);
    }
}

static void check_adamw(struct subject *s) {
    struct fp4_model *m = reload(s, false);
    struct fp4_optimizer *o;
    struct fp4_adamw h = {1e-3, 0.9, 0.999, 1e-8, 0.01};
    double loss[4];
    must(fp4_model_enable_grad(m));
    must(fp4_optimizer_create(m, &o));
    for (int step = 0; step < 4; step++) {
        must(fp4_model_zero_grad(m));
        must(fp4_model_loss_backward(m, s->tokens, s->targets, s->B, s->T, 1.0f, &loss[step]));
        if (step == 0)
            subject_gradients(s, m, "grad.");
        if (step == 3)
            break;
        must(fp4_optimizer_step(o, &h, 0, NULL));
        if (step != 1)
            check_adam_params(s, m, step + 1);
    }
    vectors_compare(&s->v, "adamw_loss", loss, 4, 8);
    fp4_optimizer_free(o);
    fp4_model_free(m);
}

/* With the cache, and by a whole pass for every token. */
static void check_greedy(struct subject *s) {
    size_t n;
    int32_t *greedy = vectors_read_ids(&s->v, "greedy", &n), *ids;
    double *margin = vectors_read(&s->v, "greedy_margin", NULL);
    float *logits;
    size_t prompt = 5, total;
    must(FP4_NEW(ids, prompt + n));
    must(FP4_NEW(logits, s->V));
    memcpy(ids, s->tokens, prompt * sizeof *ids);
    must(fp4_model_generate(s->m, ids, prompt, n, NULL, -1, &total));
    cr_assert_eq(total, prompt + n);
    cr_assert_arr_eq(ids + prompt, greedy, n * sizeof *ids, "%s: greedy continuation", s->v.folder);
    for (size_t i = 0; i < n; i++) {
        must(fp4_model_logits(s->m, ids, prompt + i, 1, logits));
        float best = -INFINITY, second = -INFINITY;
        int32_t id = -1;
        for (size_t j = 0; j < s->V; j++)
            if (logits[j] > best) {
                second = best;
                best = logits[j];
                id = (int32_t)j;
            } else if (logits[j] > second) {
                second = logits[j];
            }
        cr_assert_eq(id, greedy[i], "%s: greedy token %zu without cache", s->v.folder, i);
        margin[i] = (double)best - (double)second;
    }
    vectors_compare(&s->v, "greedy_margin", margin, n, 4);
    s->v.used++;
    fp4_free(greedy);
    fp4_free(ids);
    fp4_free(margin);
    fp4_free(logits);
}

struct candidate { double p; int32_t id; };
static int by_p(const void *a, const void *b) {
    const struct candidate *x = a, *y = b;
    return x->p > y->p ? -1 : x->p < y->p ? 1 : x->id - y->id;
}
/* The five most probable tokens of logits [V], float64. */
static void top5(const float *logits, size_t V, double *ids, double *probs) {
    struct candidate *all;
    double max = -INFINITY, sum = 0;
    must(FP4_NEW(all, V));
    for (size_t j = 0; j < V; j++)
        max = fmax(max, (double)logits[j]);
    for (size_t j = 0; j < V; j++)
        sum += exp((double)logits[j] - max);
    for (size_t j = 0; j < V; j++)
        all[j] = (struct candidate){exp((double)logits[j] - max) / sum, (int32_t)j};
    qsort(all, V, sizeof *all, by_p);
    for (size_t k = 0; k < 5; k++) {
        ids[k] = all[k].id;
        probs[k] = all[k].p;
    }
    fp4_free(all);
}

static void check_adaptation(struct subject *s) {
    enum { STEPS = 10 };
    struct fp4_model *m = reload(s, false);
    struct fp4_optimizer *o;
    struct fp4_adamw h = {1e-4, 0.9, 0.999, 1e-8, 0.01};
    double loss[STEPS + 1], entropy, ids[5 * (STEPS + 1)], probs[5 * (STEPS + 1)];
    float *logits;
    must(FP4_NEW(logits, s->V));
    must(fp4_model_enable_grad(m));
    must(fp4_optimizer_create(m, &o));
    for (int step = 0; step <= STEPS; step++) {
        must(fp4_model_zero_grad(m));
        must(fp4_model_entropy_backward(m, s->tokens, s->T, &entropy, &loss[step], logits));
        cr_assert(fabs(entropy - loss[step]) <= 1.1e-8 * (double)s->V, "entropy with and without its guard");
        top5(logits, s->V, ids + 5 * step, probs + 5 * step);
        if (step == 0) {
            vectors_compare(&s->v, "entropy", &loss[0], 1, 4);
            subject_gradients(s, m, "entropy_grad.");
        }
        if (step < STEPS)
            must(fp4_optimizer_step(o, &h, 0, NULL));
    }
    vectors_compare(&s->v, "tta_entropy", loss, STEPS + 1, 8);
    vectors_compare(&s->v, "tta_top5_probs", probs, 5 * (STEPS + 1), 8);
    double *reference = vectors_read(&s->v, "tta_top5_ids", NULL);
    cr_assert_arr_eq(ids, reference, sizeof ids, "%s: tta_top5_ids", s->v.folder);
    s->v.used++;
    vectors_compare_f32(&s->v, "tta_last_logits", logits, s->V, 8);
    fp4_free(reference);
    fp4_free(logits);
    fp4_optimizer_free(o);
    fp4_model_free(m);
}

/* All but 0.5 % of a tensor within 1e-6 + 2⁻²¹|p|, all within 10 lr. */
static void check_trained(struct subject *s, struct fp4_model *m, double lr) {
    for (size_t i = 0; i < fp4_model_n_params(m); i++) {
        struct fp4_param *p = fp4_model_param(m, i);
        float *host;
        size_t outside = 0;
        must(FP4_NEW(host, p->elements));
        must(fp4_model_get(m, p, host));
        double *reference = vectors_read(&s->v, prefixed("train_params.", p->name), NULL);
        for (size_t j = 0; j < p->elements; j++) {
            double off = fabs((double)host[j] - reference[j]);
            cr_assert(off <= 10 * lr, "%s: %s[%zu] off by %g", s->v.folder, p->name, j, off);
            outside += off > 1e-6 + 0x1p-21 * fabs(reference[j]);
        }
        cr_assert((double)outside <= 0.005 * (double)p->elements, "%s: %zu of %zu elements of %s are off", s->v.folder, outside, p->elements, p->name);
        s->v.used++;
        fp4_free(host);
        fp4_free(reference);
    }
}

static void check_training(struct subject *s, bool published) {
    const struct fp4_stored *shape = vectors_stored(&s->v, "train_windows");
    size_t steps = shape->shape[0], B = shape->shape[1], T = shape->shape[2] - 1;
    int32_t *windows = vectors_read_ids(&s->v, "train_windows", NULL), *in, *out;
    struct fp4_model *m = reload(s, published);
    struct fp4_optimizer *o;
    struct fp4_adamw h = {1e-3, 0.9, 0.999, 1e-8, 0.1};
    double *loss, *norm;
    must(FP4_NEW(loss, steps));
    must(FP4_NEW(norm, steps));
    must(FP4_NEW(in, B * T));
    must(FP4_NEW(out, B * T));
    must(fp4_model_enable_grad(m));
    must(fp4_optimizer_create(m, &o));
    for (size_t step = 0; step < steps; step++) {
        for (size_t i = 0; i < B * T; i++) {
            size_t at = (step * B + i / T) * (T + 1) + i % T;
            in[i] = windows[at];
            out[i] = windows[at + 1];
        }
        must(fp4_model_zero_grad(m));
        must(fp4_model_loss_backward(m, in, out, B, T, 1.0f, &loss[step]));
        must(fp4_optimizer_step(o, &h, 1.0, &norm[step]));
    }
    const char *prefix = published ? "published." : "";
    vectors_compare(&s->v, prefixed(prefix, "train_loss"), loss, steps, 8);
    vectors_compare(&s->v, prefixed(prefix, "train_norm"), norm, steps, 8);
    if (!published)
        check_trained(s, m, h.lr);
    fp4_optimizer_free(o);
    fp4_model_free(m);
    fp4_free(windows);
    fp4_free(loss);
    fp4_free(norm);
    fp4_free(in);
    fp4_free(out);
}

static void check_published(struct subject *s) {
    struct fp4_model *m = reload(s, true);
    subject_logits(s, m, "published.");
    must(fp4_model_enable_grad(m));
    must(fp4_model_loss_backward(m, s->tokens, s->targets, s->B, s->T, 1.0f, NULL));
    subject_gradients(s, m, "published.grad.");
    fp4_model_free(m);
    check_training(s, true);
}

/* ---- the folders ---- */

/* Calls `check` for every model folder. */
static void each_model(void (*check)(struct subject *)) {
    const char *root = golden_file("models");
    struct dirent **entries;
    int n = scandir(root, &entries, NULL, alphasort), models = 0;
    cr_assert(n >= 0, "%s", root);
    for (int i = 0; i < n; i++) {
        char folder[512], file[640];
        snprintf(folder, sizeof folder, "%s/%s", root, entries[i]->d_name);
        snprintf(file, sizeof file, "%s/golden.safetensors", folder);
        if (entries[i]->d_name[0] != '.' && access(file, R_OK) == 0) {
            struct subject s;
            subject_open(&s, folder);
            check(&s);
            golden_count("models", s.v.used);
            subject_close(&s);
            models++;
        }
        free(entries[i]);
    }
    free(entries);
    cr_assert_gt(models, 0, "%s holds no model", root);
}

static void logits_and_loss(struct subject *s) { subject_logits(s, s->m, ""); }
static void gradients(struct subject *s) {
    if (vectors_has(&s->v, "adamw_loss"))
        check_adamw(s);
}
static void greedy(struct subject *s) {
    if (vectors_has(&s->v, "greedy"))
        check_greedy(s);
}
static void adaptation(struct subject *s) {
    if (vectors_has(&s->v, "tta_entropy"))
        check_adaptation(s);
}
static void training(struct subject *s) {
    if (vectors_has(&s->v, "train_windows"))
        check_training(s, false);
    if (vectors_has(&s->v, "published.logits"))
        check_published(s);
}

Test(models, logits_and_loss) { each_model(logits_and_loss); }
Test(models, gradients_and_adamw) { each_model(gradients); }
Test(models, greedy) { each_model(greedy); }
Test(models, adaptation) { each_model(adaptation); }
Test(models, training) { each_model(training); }

/* ---- the optimizer alone ---- */

struct adam_case { const char *name; struct fp4_adamw h; double max_norm; };

static void check_adam_case(struct vectors *v, const struct adam_case *c) {
    size_t n, total;
    double *p0 = vectors_read(v, "p0", &n), *g = vectors_read(v, "g", &total), *norms;
    double *reference = vectors_read(v, prefixed(c->name, ".p"), NULL);
    float *p, *m, *grad, *second;
    must(FP4_NEW(norms, total / n));
    must(FP4_NEW(p, n));
    must(FP4_NEW(m, n));
    must(FP4_NEW(second, n));
    must(FP4_NEW(grad, n));
    for (size_t i = 0; i < n; i++)
        p[i] = (float)p0[i];
    for (size_t step = 0; step < total / n; step++) {
        double sum = 0;
        for (size_t i = 0; i < n; i++)
            grad[i] = (float)g[step * n + i];
        must(fp4_backend_cpu()->sum_squares(n, grad, &sum));
        norms[step] = sqrt(sum);
        double scale = c->max_norm > 0 ? fmin(1, c->max_norm / (norms[step] + 1e-6)) : 1;
        fp4_adamw_update(n, p, grad, m, second, &c->h, step + 1, (float)scale);
        for (size_t i = 0; i < n; i++) {
            /* README's bound; near zero and after more steps, each step's own: two roundings of p, and some of an update of up to 3 lr */
            double each = 0x1p-23 * (fabs(p0[i]) + 4 * c->h.lr);
            double bound = fmax(8 * 0x1p-23 * fmax(fabs(p0[i]), c->h.lr), (double)(step + 1) * each), off = fabs((double)p[i] - reference[step * n + i]);
            cr_assert(off <= bound, "%s step %zu [%zu]: off by %g, bound %g", c->name, step + 1, i, off, bound);
        }
    }
    v->used++;
    if (c->max_norm > 0)
        vectors_compare(v, prefixed(c->name, ".norm"), norms, total / n, 4);
    fp4_free(p0);
    fp4_free(norms);
    fp4_free(g);
    fp4_free(reference);
    fp4_free(p);
    fp4_free(m);
    fp4_free(second);
    fp4_free(grad);
}

Test(models, adamw) {
    static const struct adam_case cases[] = {{"wd0.01", {1e-3, 0.9, 0.999, 1e-8, 0.01}, 0},
                                             {"wd0.1_clip1", {1e-3, 0.9, 0.999, 1e-8, 0.1}, 1},
                                             {"tta", {1e-4, 0.9, 0.999, 1e-8, 0.01}, 0}};
    struct vectors v;
    char folder[512];
    snprintf(folder, sizeof folder, "%s", golden_file("models/adamw"));
    vectors_open(&v, folder, "adamw.safetensors");
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++)
        check_adam_case(&v, &cases[i]);
    golden_count("models", v.used);
    vectors_close(&v);
}
