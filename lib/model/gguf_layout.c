/* GGUF's names and row order of Llama's tensors. */
#include "lib/model/gguf_layout.h"

#include <stdio.h>
#include <string.h>

/* GGUF's names of a block's parts and ours; ".weight" or ".bias" follows. */
static const struct { const char *ours, *theirs; } block_names[] = {
    {"input_layernorm.", "attn_norm."},    {"self_attn.q_proj.", "attn_q."},      {"self_attn.k_proj.", "attn_k."},
    {"self_attn.v_proj.", "attn_v."},      {"self_attn.o_proj.", "attn_output."}, {"post_attention_layernorm.", "ffn_norm."},
    {"mlp.gate_proj.", "ffn_gate."},       {"mlp.up_proj.", "ffn_up."},           {"mlp.down_proj.", "ffn_down."},
};

void fp4_gguf_name(const char *ours, char *out, size_t size) {
    size_t layer;
    int end = 0;
    if (strcmp(ours, "model.embed_tokens.weight") == 0)
        snprintf(out, size, "token_embd.weight");
    else if (strcmp(ours, "model.norm.weight") == 0)
        snprintf(out, size, "output_norm.weight");
    else if (strcmp(ours, "lm_head.weight") == 0)
        snprintf(out, size, "output.weight");
    else
        snprintf(out, size, "%s", ours);
    if (sscanf(ours, "model.layers.%zu.%n", &layer, &end) != 1 || end == 0)
        return;
    for (size_t i = 0; i < sizeof block_names / sizeof *block_names; i++) {
        size_t n = strlen(block_names[i].ours);
        if (strncmp(ours + end, block_names[i].ours, n) == 0)
            snprintf(out, size, "blk.%zu.%s%s", layer, block_names[i].theirs, ours + end + n);
    }
}

bool fp4_gguf_interleaved(const struct fp4_model *m, size_t param) {
    for (size_t i = 0; i < m->n_linear; i++)
        if ((m->linear[i].param == param || m->linear[i].bias == param) && (m->linear[i].kind == FP4_LIN_Q || m->linear[i].kind == FP4_LIN_K))
            return true;
    return false;
}

fp4_status fp4_gguf_reorder(const struct fp4_param *p, size_t head_dim, bool to_gguf, float *x) {
    size_t rows = p->rows == 1 ? p->cols : p->rows, cols = p->elements / rows;
    float *head;
    FP4_TRY(FP4_NEW(head, head_dim * cols));
    for (size_t first = 0; first + head_dim <= rows; first += head_dim) {
        float *at = x + first * cols;
        memcpy(head, at, head_dim * cols * sizeof *x);
        for (size_t r = 0; r < head_dim; r++) {
            size_t other = r % 2 * head_dim / 2 + r / 2;
            memcpy(at + (to_gguf ? r : other) * cols, head + (to_gguf ? other : r) * cols, cols * sizeof *x);
        }
    }
    fp4_free(head);
    return FP4_OK;
}
