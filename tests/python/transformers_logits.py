"""transformers_logits.py IDS PATH...: last-position logits of each checkpoint (a folder, or a GGUF file through transformers' own reader) as
transformers computes them in fp32 on the CPU, one JSON array a line. IDS: 1,2,3. Exit 77: a package is missing."""
import json
import os
import sys

try:
    import accelerate  # transformers wants it for GGUF files
    import gguf
    import torch
    from transformers import AutoModelForCausalLM
except ImportError as missing:
    print(missing, file=sys.stderr)
    sys.exit(77)

torch.set_num_threads(1)
ids = torch.tensor([[int(i) for i in sys.argv[1].split(",")]])
for path in sys.argv[2:]:
    where = {} if os.path.isdir(path) else {"gguf_file": os.path.basename(path)}
    folder = os.path.dirname(path) if where else path
    model = AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32, **where).eval()
    with torch.no_grad():
        logits = model(ids % model.config.vocab_size).logits[0, -1]
    print(json.dumps([float(x) for x in logits]))
