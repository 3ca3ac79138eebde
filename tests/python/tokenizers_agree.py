"""tokenizers_agree.py A.json B.json LINES.jsonl: texts (member "text" of each line) that Hugging Face's tokenizers encodes to other ids, or decodes to
other text, with A than with B. Prints texts and mismatches. Exit 77: a package is missing."""
import json
import sys

try:
    from tokenizers import Tokenizer
except ImportError as missing:
    print(missing, file=sys.stderr)
    sys.exit(77)

a, b = (Tokenizer.from_file(path) for path in sys.argv[1:3])
texts = [json.loads(line)["text"] for line in open(sys.argv[3], encoding="ascii")]
wrong = 0
for text in texts:
    for special in (False, True):
        x, y = (t.encode(text, add_special_tokens=special) for t in (a, b))
        wrong += x.ids != y.ids or a.decode(x.ids, skip_special_tokens=special) != b.decode(y.ids, skip_special_tokens=special)
print(json.dumps({"texts": len(texts), "mismatches": wrong}))
