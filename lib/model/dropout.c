/* Where a pass in training mode drops out. OPT and the training write-up's net: what attention and MLP add to the residual stream
 * (WRITEUPS.md A, D: transformers' OPT drops after out_proj and fc2). Attention probabilities where the configuration says so. */
#include "lib/model/internal.h"

struct fp4_dropout fp4_drop_of(const struct fp4_model *m, size_t layer, enum fp4_drop_site site) {
    const struct fp4_config *c = &m->config;
    double p = !m->arena.dropping ? 0 : site == DROP_PROBABILITIES ? c->attention_dropout : c->dropout;
    return (struct fp4_dropout){.p = (float)p,
                                .random = {.seed = m->pass.seed, .stream = FP4_STREAM_DROPOUT, .step = m->pass.step, .layer = (uint32_t)layer,
                                           .operand = (uint32_t)site}};
}
