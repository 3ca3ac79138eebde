"""torch_checkpoints.py FOLDER [MODEL.safetensors]: checkpoints that torch itself writes into FOLDER. types.bin: a state dict of every element type, with
shared storages, a view and a parameter; its lines on standard output are "NAME TYPE SHAPE SHA256 OF THE BYTES". With a model: pytorch_model.bin of the same
tensors, the output head tied as transformers saves it. Further: legacy.bin, module.bin, strided.bin, nested.bin. Exit 77: a package is missing."""
import hashlib
import sys
from collections import OrderedDict

try:
    import torch
    from safetensors.torch import load_file
except ImportError as missing:
    print(missing, file=sys.stderr)
    sys.exit(77)

folder = sys.argv[1]
types = {"F32": torch.float32, "F16": torch.float16, "BF16": torch.bfloat16, "F64": torch.float64, "I64": torch.int64, "I32": torch.int32,
         "I16": torch.int16, "I8": torch.int8, "U8": torch.uint8, "BOOL": torch.bool}
torch.manual_seed(1)
tensors = OrderedDict((name, (100 * torch.randn(3, 5, 2)).to(dtype)) for name, dtype in types.items())
tensors["tied"] = tensors["F32"]
tensors["view"] = tensors["BF16"][1:]
tensors["scalar"] = torch.tensor(2.5, dtype=torch.float64)
tensors["empty"] = torch.zeros(0, 3)
tensors["parameter"] = torch.nn.Parameter(torch.randn(4))
names = {dtype: name for name, dtype in types.items()}
for name, t in tensors.items():
    shape = "x".join(str(n) for n in t.shape) or "-"
    raw = t.detach().contiguous().flatten().view(torch.uint8) if t.numel() else torch.zeros(0, dtype=torch.uint8)
    print(name, names[t.dtype], shape, hashlib.sha256(bytes(raw.tolist())).hexdigest())
tensors["step"] = 3
tensors["settings"] = {"lr": 0.1, "betas": [0.9, 0.999], "name": "x", "none": None, "long": 1 << 70}
torch.save(tensors, folder + "/types.bin")
torch.save(tensors, folder + "/legacy.bin", _use_new_zipfile_serialization=False)
torch.save(torch.nn.Linear(2, 3), folder + "/module.bin")
torch.save({"a": torch.ones(3, 4).t()}, folder + "/strided.bin")
torch.save({"model": {"a": torch.ones(3)}, "epoch": 1}, folder + "/nested.bin")
if len(sys.argv) > 2:
    state = OrderedDict(sorted(load_file(sys.argv[2]).items()))
    embedding = [name for name in state if name.endswith("embed_tokens.weight")]
    state["lm_head.weight"] = state.get("lm_head.weight", state[embedding[0]])
    torch.save(state, folder + "/pytorch_model.bin")
