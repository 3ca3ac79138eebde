"""peer_tokenizers.py [-n ROUNDS] TEXT MODEL...: megabytes a second of `fp4lab tokenize` and of the tokenizers library on the same text, in
turns, on one core each, in CPU time (other load on the machine moves it least). MODEL: a tokenizer.json. The library reads the text whole
and, which suits its cache and its longest word, line by line. FP4LAB: the program (default build/fp4lab). Ids are compared first."""
import argparse
import json
import os
import statistics
import subprocess
import sys
import time

os.environ["TOKENIZERS_PARALLELISM"] = "false"
os.environ["RAYON_NUM_THREADS"] = "1"
try:
    from tokenizers import Tokenizer, __version__
except ImportError as missing:
    sys.exit(f"peer_tokenizers: {missing}; install the package tokenizers")

parser = argparse.ArgumentParser(description=__doc__)
parser.add_argument("-n", type=int, default=5, metavar="ROUNDS")
parser.add_argument("text")
parser.add_argument("models", nargs="+")
options = parser.parse_args()
program = os.environ.get("FP4LAB", "build/fp4lab")
with open(options.text, encoding="utf-8", newline="") as f:
    text = f.read()
size = len(text.encode())
lines = text.splitlines(keepends=True)


def ours(model):
    out = subprocess.run([program, "tokenize", "--model", model, "--text", options.text, "--plain", "--rate", "--output", "json"], capture_output=True, text=True,
                         check=True).stdout
    return json.loads(out)["megabytes_per_cpu_second"]


def rate(body):
    start = time.process_time()
    body()
    return size / 1e6 / (time.process_time() - start)


print(f"{'tokenizer':40} {'fp4lab':>8} {'whole':>8} {'by line':>8}   MB/s; tokenizers {__version__}, {size} bytes, median of {options.n}")
for model in options.models:
    tok = Tokenizer.from_file(model)
    tok.encode_special_tokens = True
    out = subprocess.run([program, "tokenize", "--model", model, "--text", options.text, "--plain", "--ids"], capture_output=True, text=True, check=True).stdout
    if [int(i) for i in out.split(",")] != tok.encode(text, add_special_tokens=False).ids:
        sys.exit(f"peer_tokenizers: {model}: the ids differ")
    rows = [(ours(model), rate(lambda: tok.encode(text, add_special_tokens=False)), rate(lambda: [tok.encode(line, add_special_tokens=False) for line in lines]))
            for _ in range(options.n)]
    print(f"{os.path.basename(os.path.dirname(os.path.abspath(model))):40} " + " ".join(f"{statistics.median(column):8.1f}" for column in zip(*rows)))
