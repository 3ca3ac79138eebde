/* Loading a model for a use, or saying what that would take. */
#include <math.h>

#include "tools/tool.h"

static json_t *gib(size_t bytes) { return tool_number(round((double)bytes / (1 << 30) * 1000) / 1000); }

static fp4_status print_plan(const struct fp4_memory *m, enum tool_format format) {
    return tool_print(format, json_pack("{s:s,s:o,s:o,s:b,s:o,s:o,s:o,s:o,s:o}", "weights_in", m->weights_in == FP4_WEIGHTS_FILE ? "file" : "memory",
                                        "needed_gib", gib(m->total), "available_gib", gib(m->available), "fits", (int)(m->total <= m->available),
                                        "weights_gib", gib(m->weights), "pages_gib", gib(m->pages), "activations_gib", gib(m->activations),
                                        "other_gib", gib(m->other), "in_file_gib", gib(m->in_file)),
                      NULL, NULL);
}

fp4_status tool_load(const struct tool_input *in, const struct fp4_use *use, enum tool_format format, struct tool_session *s, bool *done) {
    struct fp4_use full = *use;
    full.quantized = !fp4_quantizer_is_none(&in->weights) || !fp4_quantizer_is_none(&in->activations);
    full.quantized_head = full.quantized && in->head;
    struct fp4_load load = {.use = &full, .ignore_memory = in->ignore_memory};
    *done = in->dry_run;
    if (in->weights_in)
        FP4_TRY(fp4_weights_in_parse(in->weights_in, &load.weights_in));
    if (in->dry_run) {
        struct fp4_memory m;
        FP4_TRY(fp4_memory_plan_for(s->path, load.weights_in, &full, &m));
        FP4_TRY(print_plan(&m, format));
        return fp4_memory_check(s->path, &m);
    }
    FP4_TRY(fp4_model_open(s->path, fp4_backend_cpu(), &load, &s->model));
    struct fp4_policy policy = fp4_policy_forward(&in->activations, &in->weights);
    fp4_model_set_policy(s->model, &policy, in->head);
    fp4_model_set_pass(s->model, &(struct fp4_pass){.seed = (uint32_t)in->seed});
    return FP4_OK;
}
