"""peer_sentencepiece.py FOLDER SEED TEXTS [MODEL]: SentencePiece models of type BPE trained here under every option that fp4lab reads, as
FOLDER/KIND/tokenizer.model and, where Python has gguf, FOLDER/KIND-gguf/vocabulary.gguf, with what SentencePiece makes of TEXTS random
strings in cases.jsonl: one object a line with hex (UTF-8), plain (ids) and mostly decoded. MODEL: one more. Prints the kinds. Exit 77: a package is
missing."""
import json
import os
import random
import sys

try:
    import sentencepiece
except ImportError as missing:
    print(missing, file=sys.stderr)
    sys.exit(77)
try:
    import gguf
except ImportError:
    gguf = None

folder, seed, texts = sys.argv[1], int(sys.argv[2]), int(sys.argv[3])
rng = random.Random(seed)
SPACE = "\u2581"
words = "the of and to in a is that for it as was with be by on not he his but at are this have from or had an they which you one we all her".split()
odd = [" ", "  ", "   ", " ", "\n", "\t", "\u00e9", "\u00df", "\u4e2d", "\u6587", "\u0301", "\u200b", "\u3000", "\U0001f642", "\U00020000", "1", "23", ".", ", ", "'s", "<s>",
       "</s>", "<unk>", "<0x41>", "x", "q", "Q", "Z", "\u0416", "\u0436\u0437", "a" * 9, "-" * 5]


def random_text():
    parts = []
    for _ in range(rng.choice([0, 1, 2, 4, 8, 16])):
        parts.append(rng.choice(words) if rng.random() < 0.5 else rng.choice(odd))
        parts.append(rng.choice([" ", " ", "", "", "  ", "\n", SPACE if rng.random() < 0.1 else ""]))
    return "".join(parts)


def train(path, **options):
    lines = [random_text().replace(SPACE, "") for _ in range(600)]
    sentencepiece.SentencePieceTrainer.train(sentence_iterator=iter(lines), model_prefix=os.path.join(path, "tokenizer"), model_type="bpe", minloglevel=3,
                                             hard_vocab_limit=False, num_threads=1, normalization_rule_name="identity", **options)


def as_gguf(path, sp, prefix, squeeze):
    writer = gguf.GGUFWriter(path, "llama")
    writer.add_tokenizer_model("llama")
    n = sp.get_piece_size()
    kind = [2 if sp.is_unknown(i) else 3 if sp.is_control(i) else 6 if sp.is_byte(i) else 1 for i in range(n)]
    writer.add_token_list([sp.id_to_piece(i).encode() for i in range(n)])
    writer.add_token_scores([sp.get_score(i) for i in range(n)])
    writer.add_token_types(kind)
    writer.add_unk_token_id(sp.unk_id())
    writer.add_add_space_prefix(prefix)
    writer.add_bool("tokenizer.ggml.remove_extra_whitespaces", squeeze)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()


def write(kind, path, sp):
    with open(os.path.join(path, "cases.jsonl"), "w") as f:
        for _ in range(texts):
            text = random_text()
            ids = sp.encode(text)
            case = {"hex": text.encode().hex(), "plain": ids}
            if sp.unk_id() not in ids:  # which SentencePiece decodes as a double question mark
                case["decoded"] = sp.decode(ids).encode().hex()
            f.write(json.dumps(case) + "\n")
    print(kind)


def both(kind, path, prefix=True, squeeze=False, fallback=True):
    sp = sentencepiece.SentencePieceProcessor(model_file=os.path.join(path, "tokenizer.model"))
    write(kind, path, sp)
    if gguf and fallback:
        other = os.path.join(folder, kind + "-gguf")
        os.makedirs(other)
        as_gguf(os.path.join(other, "vocabulary.gguf"), sp, prefix, squeeze)
        write(kind + "-gguf", other, sp)


for number in range(16):
    fallback, prefix, squeeze, crossing = (bool(number >> bit & 1) for bit in range(4))
    kind = f"model-{number}"
    path = os.path.join(folder, kind)
    os.makedirs(path)
    train(path, vocab_size=rng.choice([330, 400, 500]) if fallback else rng.choice([90, 150, 250]), byte_fallback=fallback, add_dummy_prefix=prefix,
          remove_extra_whitespaces=squeeze, split_by_whitespace=not crossing, split_digits=rng.random() < 0.5,
          character_coverage=rng.choice([0.98, 0.99, 1.0]), allow_whitespace_only_pieces=rng.random() < 0.5)
    both(kind, path, prefix, squeeze, fallback)
if len(sys.argv) > 4:
    path = os.path.join(folder, "given")
    os.makedirs(path)
    with open(sys.argv[4], "rb") as source, open(os.path.join(path, "tokenizer.model"), "wb") as to:
        to.write(source.read())
    both("given", path)
