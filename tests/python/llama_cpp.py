"""llama_cpp.py FILE.gguf IDS TEXTS.jsonl KEY: a GGUF file in llama.cpp. Prints {"top": {id: log probability of the token after IDS}, "texts": number of
texts (member "text" of each line), "mismatches": those that it tokenizes otherwise than member KEY says}. Exit 77: a package is missing."""
import json
import sys
import urllib.request

try:
    import xllamacpp
except ImportError as missing:
    print(missing, file=sys.stderr)
    sys.exit(77)

path, ids, texts, key = sys.argv[1:5]
params = xllamacpp.CommonParams()
params.model.path = path
params.n_ctx = 64
params.n_parallel = 1
params.cpuparams.n_threads = 1
params.warmup = False
server = xllamacpp.Server(params)


def tokens_of(text):
    body = json.dumps({"content": text, "add_special": False, "parse_special": False}).encode()
    request = urllib.request.Request(server.listening_address + "/tokenize", body, {"Content-Type": "application/json"})
    return json.load(urllib.request.urlopen(request))["tokens"]


answer = server.handle_completions({"prompt": [int(i) for i in ids.split(",")], "max_tokens": 1, "temperature": 0, "logprobs": 5})
answer = json.loads(answer) if isinstance(answer, (str, bytes)) else answer
top = answer["choices"][0]["logprobs"]["content"][0]["top_logprobs"]
lines = [json.loads(line) for line in open(texts, encoding="ascii")]
lines = [line for line in lines if line["text"] and "\0" not in line["text"]]
wrong = sum(tokens_of(line["text"]) != line[key] for line in lines)
print(json.dumps({"top": {str(t["id"]): t["logprob"] for t in top}, "texts": len(lines), "mismatches": wrong}))
