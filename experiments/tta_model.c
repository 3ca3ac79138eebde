/* The model under adaptation: loaded once, changed by a trial, copied back. */
#include "experiments/tta.h"

#include <string.h>

static fp4_status copy_param(struct fp4_model *from, const char *name, struct fp4_model *to, struct fp4_param *target) {
    struct fp4_param *p = fp4_model_find_param(from, name);
    if (!p || p->elements != target->elements)
        return fp4_fail(FP4_ERR_FORMAT, "parameter %s has no counterpart of its size in the untied model", name);
    float *host;
    FP4_TRY(FP4_NEW(host, p->elements));
    fp4_status status = fp4_model_get(from, p, host);
    if (status == FP4_OK)
        status = fp4_model_set(to, target, host);
    fp4_free(host);
    return status;
}

static const struct fp4_param *tied_weight(struct fp4_model *m) {
    size_t i = 0;
    while (fp4_model_linear(m, i)->kind != FP4_LIN_HEAD)
        i++;
    return fp4_model_param(m, fp4_model_linear(m, i)->param);
}

/* The same weights with the head as a parameter of its own, equal to the embedding at first. */
static fp4_status untie(struct source *s) {
    struct fp4_config config = *fp4_model_config(s->model);
    struct fp4_model *untied;
    if (!config.tied_head)
        return FP4_OK;
    config.tied_head = false;
    FP4_TRY(fp4_model_create(&config, 0, fp4_backend_cpu(), &untied));
    fp4_status status = FP4_OK;
    for (size_t i = 0; status == FP4_OK && i < fp4_model_n_params(untied); i++) {
        struct fp4_param *p = fp4_model_param(untied, i);
        bool head = strcmp(p->name, "lm_head.weight") == 0;
        status = copy_param(s->model, head ? tied_weight(s->model)->name : p->name, untied, p);
    }
    if (status != FP4_OK) {
        fp4_model_free(untied);
        return status;
    }
    fp4_model_free(s->model);
    s->model = untied;
    return FP4_OK;
}

/* Prompts and answers are short: no published pair has half as many tokens. */
const struct fp4_use tta_use = {.tokens = 128, .cache = 128, .quantized = true, .gradients = true, .snapshot = true};

fp4_status tta_model_use(struct tta_model *t, const char *name, bool untied, const struct fp4_load *load) {
    struct fp4_load full = *load;
    full.use = &tta_use;
    if (t->open && t->untied == untied && strcmp(t->source.name, name) == 0)
        return FP4_OK;
    tta_model_close(t);
    FP4_TRY(source_open(name, &full, &t->source));
    t->open = true;
    t->untied = untied;
    fp4_status status = untied ? untie(&t->source) : FP4_OK;
    if (status == FP4_OK)
        status = fp4_model_hash(t->source.model, t->hash);
    if (status != FP4_OK)
        tta_model_close(t);
    return status;
}

fp4_status tta_model_ready(struct tta_model *t) {
    if (!t->optimizer) {
        FP4_TRY(fp4_model_enable_grad(t->source.model));
        FP4_TRY(fp4_optimizer_create(t->source.model, &t->optimizer));
    }
    return t->snapshot ? FP4_OK : fp4_model_snapshot(t->source.model, &t->snapshot);
}

fp4_status tta_model_restore(struct tta_model *t) {
    char now[65];
    FP4_TRY(fp4_model_restore(t->source.model, t->snapshot));
    FP4_TRY(fp4_model_hash(t->source.model, now));
    return strcmp(now, t->hash) == 0 ? FP4_OK : fp4_fail(FP4_ERR_NUMERIC, "%s: the weights after a trial are not those before it", t->source.name);
}

void tta_model_close(struct tta_model *t) {
    fp4_optimizer_free(t->optimizer);
    fp4_snapshot_free(t->snapshot);
    if (t->open)
        source_close(&t->source);
    *t = (struct tta_model){0};
}
