"""tokenizer_ids.py TOKENIZER.json TEXT...: ids that Hugging Face's tokenizers gives the text of each file, and the text that they decode to. One JSON
object a file: {"ids": [...], "text": ...}. Exit 77: a package is missing."""
import json
import sys

try:
    from tokenizers import Tokenizer
except ImportError as missing:
    print(missing, file=sys.stderr)
    sys.exit(77)

tokenizer = Tokenizer.from_file(sys.argv[1])
for path in sys.argv[2:]:
    encoding = tokenizer.encode(open(path, encoding="utf-8", newline="").read())
    print(json.dumps({"ids": encoding.ids, "text": tokenizer.decode(encoding.ids)}))
