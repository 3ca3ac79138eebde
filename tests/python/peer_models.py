"""peer_models.py FOLDER: writes random checkpoints of the options that golden/models does not have, each in a folder of its own of golden/models'
layout: config.json, model.safetensors, golden.safetensors (tokens, logits, loss, grad.*) and deviations.json, as transformers computes them in
float64; the deviations are those of transformers' float32. Llama folders get a model.gguf too, where the gguf package is there. Prints
the folders' names. Exit 77: a package is missing."""
import json
import os
import sys

try:
    import torch
    from safetensors.torch import save_file
    from transformers import LlamaConfig, LlamaForCausalLM, MistralConfig, MistralForCausalLM, OPTConfig, OPTForCausalLM
except ImportError as missing:
    print(missing, file=sys.stderr)
    sys.exit(77)
try:
    import gguf
except ImportError:
    gguf = None

torch.set_num_threads(1)
F32 = torch.float32
LLAMA = dict(vocab_size=101, hidden_size=32, intermediate_size=48, num_hidden_layers=2, num_attention_heads=4, num_key_value_heads=2,
             max_position_embeddings=128, rms_norm_eps=1e-5, bos_token_id=1, eos_token_id=2, pad_token_id=None)
OPT = dict(vocab_size=101, hidden_size=32, ffn_dim=48, num_hidden_layers=2, num_attention_heads=4, max_position_embeddings=64, dropout=0.0,
           word_embed_proj_dim=32)


def rope(kind, theta=10000.0, **more):
    return {"rope_parameters": {"rope_type": kind, "rope_theta": theta, **more}}


LLAMA3 = rope("llama3", 500000.0, factor=8.0, low_freq_factor=1.0, high_freq_factor=4.0, original_max_position_embeddings=64)
CASES = {
    "llama-rope-llama3": (LlamaForCausalLM, LlamaConfig, {**LLAMA, "head_dim": 16, **LLAMA3}),
    "llama-rope-llama3-published": (LlamaForCausalLM, LlamaConfig, {**LLAMA, "head_dim": 32, "max_position_embeddings": 16384, "tie_word_embeddings": True, "rope_parameters": {
        **LLAMA3["rope_parameters"], "factor": 32.0, "original_max_position_embeddings": 8192}}),
    "llama-rope-linear": (LlamaForCausalLM, LlamaConfig, {**LLAMA, **rope("linear", factor=4.0)}),
    "llama-biases": (LlamaForCausalLM, LlamaConfig, {**LLAMA, "attention_bias": True, "mlp_bias": True}),
    "llama-multi-query-wide-heads": (LlamaForCausalLM, LlamaConfig, {**LLAMA, "num_key_value_heads": 1, "head_dim": 12}),
    "llama-tied-padding": (LlamaForCausalLM, LlamaConfig, {**LLAMA, "tie_word_embeddings": True, "pad_token_id": 7, "num_key_value_heads": 4}),
    "mistral": (MistralForCausalLM, MistralConfig, {**LLAMA, "sliding_window": None, "head_dim": 8}),
    "opt-gelu": (OPTForCausalLM, OPTConfig, {**OPT, "activation_function": "gelu"}),
    "opt-gelu-tanh-untied": (OPTForCausalLM, OPTConfig, {**OPT, "activation_function": "gelu_new", "tie_word_embeddings": False}),
    "opt-projected-before": (OPTForCausalLM, OPTConfig, {**OPT, "word_embed_proj_dim": 24}),
    "opt-wider-word-after": (OPTForCausalLM, OPTConfig, {**OPT, "word_embed_proj_dim": 40, "do_layer_norm_before": False}),
    "opt-no-bias": (OPTForCausalLM, OPTConfig, {**OPT, "enable_bias": False, "activation_function": "silu", "pad_token_id": None}),
    "opt-no-final-norm": (OPTForCausalLM, OPTConfig, {**OPT, "_remove_final_layer_norm": True, "pad_token_id": 5}),
}


def randomise(model, seed):
    draw = torch.Generator().manual_seed(seed)
    for name, p in model.named_parameters():
        x = torch.randn(p.shape, generator=draw, dtype=F32)
        p.data = (1 + 0.1 * x) if "norm" in name and name.endswith("weight") else 0.15 * x


def references(model, tokens):
    out = model(tokens).logits
    loss = torch.nn.functional.cross_entropy(out[:, :-1].flatten(0, 1), tokens[:, 1:].flatten())
    model.zero_grad()
    loss.backward()
    result = {"logits": out.detach(), "loss": loss.detach().reshape(1)}
    for name, p in model.named_parameters():
        result["grad." + name] = p.grad.detach() if p.grad is not None else torch.zeros_like(p)
    return result


def build(kind, config, weights, implementation):
    config._attn_implementation = implementation
    model = kind(config).eval()
    for name, p in model.named_parameters():
        p.data = weights[name].to(torch.get_default_dtype())
    return model


def write_gguf(path, c, weights):
    w = gguf.GGUFWriter(path, "llama")
    head = getattr(c, "head_dim", None) or c.hidden_size // c.num_attention_heads
    w.add_vocab_size(c.vocab_size), w.add_context_length(c.max_position_embeddings), w.add_embedding_length(c.hidden_size)
    w.add_block_count(c.num_hidden_layers), w.add_feed_forward_length(c.intermediate_size), w.add_head_count(c.num_attention_heads)
    w.add_head_count_kv(c.num_key_value_heads), w.add_layer_norm_rms_eps(c.rms_norm_eps), w.add_rope_dimension_count(head)
    w.add_key_length(head), w.add_value_length(head), w.add_rope_freq_base(c.rope_parameters["rope_theta"])
    r = c.rope_parameters
    if r["rope_type"] == "linear":
        w.add_rope_scaling_type(gguf.RopeScalingType.LINEAR), w.add_rope_scaling_factor(r["factor"])
    if r["rope_type"] == "llama3":
        wavelength = 2 * torch.pi * r["rope_theta"] ** (torch.arange(0, head, 2, dtype=torch.float64) / head)
        turns = r["original_max_position_embeddings"] / wavelength
        smooth = ((turns - r["low_freq_factor"]) / (r["high_freq_factor"] - r["low_freq_factor"])).clamp(0, 1)
        w.add_tensor("rope_freqs.weight", (1 / ((1 - smooth) / r["factor"] + smooth)).to(F32).numpy())
    names = {"input_layernorm": "attn_norm", "self_attn.q_proj": "attn_q", "self_attn.k_proj": "attn_k", "self_attn.v_proj": "attn_v",
             "self_attn.o_proj": "attn_output", "post_attention_layernorm": "ffn_norm", "mlp.gate_proj": "ffn_gate", "mlp.up_proj": "ffn_up",
             "mlp.down_proj": "ffn_down"}
    for name, x in weights.items():
        theirs = {"model.embed_tokens.weight": "token_embd.weight", "model.norm.weight": "output_norm.weight", "lm_head.weight": "output.weight"}.get(name)
        if not theirs:
            _, _, layer, rest = name.split(".", 3)
            part, ending = rest.rsplit(".", 1)
            theirs = f"blk.{layer}.{names[part]}.{ending}"
            if part in ("self_attn.q_proj", "self_attn.k_proj"):  # the two halves of each head interleaved
                n = x.shape[0] // head
                x = x.reshape(n, 2, head // 2, *x.shape[1:]).transpose(1, 2).reshape(x.shape)
        w.add_tensor(theirs, x.contiguous().numpy())
    w.write_header_to_file(), w.write_kv_data_to_file(), w.write_tensors_to_file(), w.close()


def prepare(root):
    cases = []
    for i, (name, (kind, config_kind, fields)) in enumerate(CASES.items()):
        config = config_kind(**fields)
        model = kind(config)
        randomise(model, 1000 + i)
        weights = {n: p.detach().clone() for n, p in model.named_parameters()}
        length = 45 if "rope" in name else 17
        tokens = torch.randint(0, 101, (2, length), generator=torch.Generator().manual_seed(i))
        tokens[:, 3] = config.pad_token_id if config.pad_token_id is not None else 9
        folder = os.path.join(root, name)
        os.mkdir(folder)
        runs = [references(build(kind, config, weights, how), tokens) for how in ("eager", "sdpa")]
        config.architectures = [kind.__name__]
        with open(os.path.join(folder, "config.json"), "w") as f:
            json.dump(config.to_dict(), f)
        save_file({n: x.contiguous() for n, x in weights.items()}, os.path.join(folder, "model.safetensors"), {"format": "pt"})
        if gguf and kind is LlamaForCausalLM:
            write_gguf(os.path.join(folder, "model.gguf"), config, weights)
        cases.append((name, kind, config, weights, tokens, folder, runs))
    return cases


def finish(name, kind, config, weights, tokens, folder, runs):
    exact = references(build(kind, config, weights, "eager"), tokens)
    deviations = {}
    for key, x in exact.items():
        assert x.dtype == torch.float64, key
        if key != "loss":
            x = x.to(F32).double()
        off = max((run[key].double() - x).abs().max().item() for run in runs)
        deviations[key] = {"max_dev": off, "max_ref": x.abs().max().item()}
    stored = {k: v if k == "loss" else v.to(F32).contiguous() for k, v in exact.items()} | {"tokens": tokens}
    save_file(stored, os.path.join(folder, "golden.safetensors"))
    with open(os.path.join(folder, "deviations.json"), "w") as f:
        json.dump({"golden": deviations}, f)
    print(name)


cases = prepare(sys.argv[1])
# transformers narrows norms, rotary tables and eager softmax to float32 by name: from here on that name means float64
torch.set_default_dtype(torch.float64)
torch.float32 = torch.float = torch.float64
torch.Tensor.float = torch.Tensor.double
for case in cases:
    finish(*case)
