"""peer_tokenizers.py FOLDER SEED TEXTS: writes tokenizer.json files of every kind that fp4lab reads, with small vocabularies trained
here, as FOLDER/KIND/tokenizer.json, and what the tokenizers library makes of TEXTS random strings each as FOLDER/KIND/cases.jsonl: one
object a line with hex (UTF-8), plain and special (ids), ids (of the text or random), and what these are decoded and skipped (control tokens).
Prints the kinds. Exit 77: a package is missing."""
import json
import os
import random
import sys
import unicodedata

try:
    import tokenizers
    from tokenizers import AddedToken, Regex, Tokenizer, decoders, models, normalizers, pre_tokenizers, processors, trainers
except ImportError as missing:
    print(missing, file=sys.stderr)
    sys.exit(77)

folder, seed, texts = sys.argv[1], int(sys.argv[2]), int(sys.argv[3])
rng = random.Random(seed)
SPACE = "\u2581"
LLAMA3 = r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"
QWEN2 = r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"
GPT2 = r"'s|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+"
CUTS = [LLAMA3, QWEN2, GPT2, r"\p{N}{1,3}", r"[\r\n]", r"\s?\p{L}+", r"\s?\p{P}+", r"\w+", r"\W", r"\d", r"[^\d\s]+", r"\bth", r".", r"^.", r"a*", r"(?<=e)\s|x+?y",
        r"[\p{Lu}\p{Lt}]+[\p{Ll}\p{Lm}\p{M}]*(?i:'s|'t)?", r"[!-/:-~]+", r"\p{Han}+|\p{^L}{2}", r"(?:ab|cd)++", r"[\S]+", r"$"]

# Code points whose category has not changed since Unicode 3.2: the version of a library's tables does not matter.
old = unicodedata.ucd_3_2_0
stable = [chr(c) for c in range(0x80, 0x2FA1E) if not 0xD800 <= c <= 0xDFFF and old.category(chr(c)) not in ("Cn", "Cs", "Co")
          and old.category(chr(c)) == unicodedata.category(chr(c))]
few = [c for c in stable if ord(c) < 0x600] + [c for c in stable if 0x2000 <= ord(c) < 0x2100]
odd = ["\x00", "\x1c", "\x1f", "\x85", "\u180e", "\u200b", "\ufeff", "\u017f", "\u0130", "\u00a0", "\u3000", "\u2028", "\r", "\n", "\t", "\x0b", "\x0c", "\u200d",
       "\u0301", "\u0327", "\u212b", "\u1e9b\u0323", "\uac00", "\u1100\u1161", "\U0001f642", "\U00020000", SPACE, SPACE * 3, "\u00df", "\u03a3"]
words = ("the of and to in a is that for it as was with be by on not he his but at are this have from or had an they which you one we all her she there would "
         "their will when who him been has more if no out do so can what up said about other into than its time only could new them man some these then two first "
         "may any like now my such make over our even most me state after also made many did must before back see through way where get much go well your know "
         "should down work year because come people just say each those take day good how long").split()
joints = [" ", " ", " ", "  ", "   ", "\n", "\n\n", " \n", "\t", "", "", ",", ". ", "'s ", "'LL ", "'re", "'", "-", "!?", " (", ") ", "1", "23", "4567", " 8", "x=y"]


def random_text(extra):
    parts = []
    for _ in range(rng.choice([0, 1, 2, 3, 5, 8, 13])):
        r = rng.random()
        if r < 0.4:
            word = rng.choice(words)
            parts.append(rng.choice([word, word.upper(), word.capitalize()]))
        elif r < 0.6:
            parts.append(rng.choice(joints))
        elif r < 0.7:
            parts.append("".join(rng.choice(few) for _ in range(rng.randint(1, 4))))
        elif r < 0.76:
            parts.append("".join(rng.choice(stable) for _ in range(rng.randint(1, 4))))
        elif r < 0.86:
            parts.append(rng.choice(odd))
        elif r < 0.95 and extra:
            parts.append(rng.choice(extra))
        else:
            parts.append("".join(chr(rng.randint(32, 126)) for _ in range(rng.randint(1, 6))))
        parts.append(rng.choice(joints))
    return "".join(parts)


def corpus():
    state = rng.getstate()
    lines = [random_text([]) for _ in range(400)] + [" ".join(rng.choice(words) for _ in range(12)) for _ in range(400)]
    rng.setstate(state)
    rng.random()
    return [line.replace("\x00", "") for line in lines]  # a key of the vocabulary with U+0000 is refused


def added():
    """Tokens with every flag, some of which begin like others."""
    pool = ["<s>", "</s>", "<pad>", "<|end|>", "<|end|>x", "th", "the ", " and", "now", "New", "ab c", "<mask>", "\u4e2d\u4e2d", "it's", "1", "\n\n", "e"]
    chosen = rng.sample(pool, rng.randint(3, 8))
    return [AddedToken(t, special=rng.random() < 0.5, normalized=rng.random() < 0.5, lstrip=rng.random() < 0.25, rstrip=rng.random() < 0.25,
                       single_word=rng.random() < 0.25) for t in chosen]


def train(tok, alphabet, vocab=500, specials=()):
    tok.train_from_iterator(corpus(), trainers.BpeTrainer(vocab_size=vocab, initial_alphabet=alphabet, special_tokens=list(specials), show_progress=False))


BYTES = [f"<0x{b:02X}>" for b in range(256)]


def remake(tok, **options):
    """The same vocabulary and merges under other options of the model."""
    state = json.loads(tok.to_str())
    state["model"].update(options)
    return Tokenizer.from_str(json.dumps(state))


def byte_level(cuts, regex, ignore=False, prefix=False, normal=None, last_digits=None):
    tok = Tokenizer(models.BPE())
    tok.pre_tokenizer = pre_tokenizers.Sequence(cuts + [pre_tokenizers.ByteLevel(add_prefix_space=prefix, use_regex=regex)])
    if normal:
        tok.normalizer = normal
    train(tok, pre_tokenizers.ByteLevel.alphabet())
    tok.decoder = decoders.ByteLevel()
    return remake(tok, ignore_merges=ignore)


def split(pattern, behavior="isolated", invert=False):
    return pre_tokenizers.Split(Regex(pattern), behavior, invert)


def random_cut():
    r = rng.random()
    if r < 0.75:
        pattern = rng.choice(CUTS) if rng.random() < 0.8 else None
        behavior = rng.choice(["isolated", "removed", "merged_with_previous", "merged_with_next", "contiguous"])
        return pre_tokenizers.Split(Regex(pattern) if pattern else rng.choice([" ", "e", "th", "\n"]), behavior, rng.random() < 0.3)
    return rng.choice([pre_tokenizers.Digits(True), pre_tokenizers.Digits(False), pre_tokenizers.WhitespaceSplit(), pre_tokenizers.Whitespace(),
                       pre_tokenizers.Punctuation(rng.choice(["isolated", "contiguous", "removed"]))])


def random_normalizer():
    steps = [normalizers.NFC(), normalizers.NFD(), normalizers.NFKC(), normalizers.NFKD(), normalizers.Lowercase(), normalizers.Strip(), normalizers.Strip(True, False),
             normalizers.Replace("e", "xy"), normalizers.Replace(Regex(r"\s+"), " "), normalizers.Replace(Regex("a*"), "_"), normalizers.Prepend("th")]
    return normalizers.Sequence(rng.sample(steps, rng.randint(1, 3)))


LLAMA_DECODER = decoders.Sequence([decoders.Replace(SPACE, " "), decoders.ByteFallback(), decoders.Fuse(), decoders.Strip(" ", 1, 0)])


def characters(normal, cut, decoder, fallback, fuse, unknown=True, missing=0, ignore=False):
    tok = Tokenizer(models.BPE(unk_token="<unk>"))
    tok.pre_tokenizer = pre_tokenizers.Metaspace()
    kept = [b for b in BYTES if rng.randrange(100) >= missing]
    train(tok, [SPACE], 700, ["<unk>"] + kept)
    state = json.loads(tok.to_str())
    state["added_tokens"] = []
    vocab, merges = state["model"]["vocab"], state["model"]["merges"]
    # Rare characters leave the vocabulary, with what is made of them.
    gone = {t for t in vocab if len(t) == 1 and ord(t) > 127 and t != SPACE and rng.random() < 0.8}
    gone |= {t for t in vocab if t not in kept and t != "<unk>" and any(c in gone for c in t)}
    keep = [t for t in vocab if t not in gone]
    state["model"].update(vocab={t: i for i, t in enumerate(sorted(keep, key=vocab.get))}, byte_fallback=fallback, fuse_unk=fuse, ignore_merges=ignore,
                          merges=[m for m in merges if not {m[0], m[1], m[0] + m[1]} & gone], unk_token="<unk>" if unknown else None)
    state["pre_tokenizer"] = None
    tok = Tokenizer.from_str(json.dumps(state))
    if normal:
        tok.normalizer = normal
    if cut:
        tok.pre_tokenizer = cut
    tok.decoder = decoder
    return tok


def metaspace(scheme, cut=True):
    return pre_tokenizers.Metaspace(SPACE, prepend_scheme=scheme, split=cut), decoders.Metaspace(SPACE, prepend_scheme=scheme, split=cut)


LEGACY = normalizers.Sequence([normalizers.Prepend(SPACE), normalizers.Replace(" ", SPACE)])


def make_all():
    yield "gpt2", byte_level([], True)
    yield "gpt2-prefix", byte_level([], True, prefix=True)
    yield "opt", byte_level([], True)
    yield "llama3", byte_level([split(LLAMA3)], False, ignore=True)
    yield "qwen2", byte_level([split(QWEN2)], False, normal=normalizers.NFC())
    yield "smollm", byte_level([pre_tokenizers.Digits(True)], True)
    yield "smollm-prefix", byte_level([pre_tokenizers.Digits(True)], True, prefix=True)
    yield "llama2", characters(LEGACY, None, LLAMA_DECODER, True, True)
    yield "tinyllama", characters(LEGACY, None, LLAMA_DECODER, True, False)
    yield "llama2-missing", characters(LEGACY, None, LLAMA_DECODER, True, rng.random() < 0.5, missing=8)
    yield "llama2-dropped", characters(LEGACY, None, LLAMA_DECODER, False, False, unknown=False)
    yield "llama2-whole", characters(LEGACY, None, LLAMA_DECODER, True, True, ignore=True)
    for scheme in ("always", "first", "never"):
        for cut in (True, False):
            pre, decoder = metaspace(scheme, cut)
            yield f"metaspace-{scheme}-{int(cut)}", characters(None, pre, decoder if cut else LLAMA_DECODER, rng.random() < 0.5, rng.random() < 0.5)
    for i in range(12):
        cuts = [random_cut() for _ in range(rng.randint(1, 3))]
        yield f"cuts-{i}", byte_level(cuts, rng.random() < 0.5, ignore=rng.random() < 0.5, prefix=rng.random() < 0.3)
    for i in range(8):
        cut = pre_tokenizers.Sequence([random_cut() for _ in range(rng.randint(1, 2))]) if rng.random() < 0.7 else None
        yield f"normal-{i}", characters(random_normalizer(), cut, decoders.Fuse(), rng.random() < 0.5, rng.random() < 0.5)


def hexes(text):
    return text.encode().hex()


def random_ids(size):
    return [rng.randrange(size) for _ in range(rng.randint(0, 12))]


def normal_form(tok, text):
    try:
        return tok.normalizer.normalize_str(text)
    except BaseException as error:  # as below
        if type(error).__name__ != "PanicException":
            raise
        return ""


def one_case(tok, text, ids, unlike):
    """unlike: added tokens that this version of the library decodes as their normalized text and no longer takes for special (its pull
    request 1995); fp4lab, like the versions before, decodes them as their own text: left out."""
    tok.encode_special_tokens = True
    case = {"hex": hexes(text), "plain": tok.encode(text, add_special_tokens=False).ids}
    tok.encode_special_tokens = False
    case["special"] = tok.encode(text, add_special_tokens=False).ids
    ids = case["ids"] = [i for i in (case["special"] if ids is None else ids) if i not in unlike]
    case["decoded"] = hexes(tok.decode(ids, skip_special_tokens=False))
    case["skipped"] = hexes(tok.decode(ids, skip_special_tokens=True))
    return case


def write(kind, tok):
    path = os.path.join(folder, kind)
    os.makedirs(path)
    if rng.random() < 0.8:
        # A token that the normalizer leaves nothing of matches everywhere for the library, and nowhere for fp4lab.
        tokens = [t for t in added() if not (t.normalized and tok.normalizer and normal_form(tok, t.content) == "")]
        tok.add_special_tokens([t for t in tokens if t.special])
        tok.add_tokens([t for t in tokens if not t.special])
    else:
        tokens = []
    around = [t.content for t in tokens if t.special and not t.content.count(" ") and t.content.strip() and t.content.isascii()][:2]
    if around:
        ids = [(t, tok.token_to_id(t)) for t in around]
        template = processors.TemplateProcessing(single=around[0] + " $A" + (" " + around[1] if len(around) > 1 and rng.random() < 0.5 else ""), special_tokens=ids)
        tok.post_processor = template if rng.random() < 0.5 else processors.Sequence([processors.ByteLevel(trim_offsets=False), template])
    tok.save(os.path.join(path, "tokenizer.json"))
    if rng.random() < 0.3:  # older files write merges as one string
        with open(os.path.join(path, "tokenizer.json")) as f:
            state = json.load(f)
        if all(" " not in a + b for a, b in state["model"]["merges"]):
            state["model"]["merges"] = [f"{a} {b}" for a, b in state["model"]["merges"]]
        with open(os.path.join(path, "tokenizer.json"), "w") as f:
            json.dump(state, f)
    extra = [t.content for t in tokens]
    size = max(tok.get_vocab().values()) + 1
    known = set(tok.get_vocab().values())
    unlike = {tok.token_to_id(t.content) for t in tokens if t.normalized and tok.id_to_token(tok.token_to_id(t.content)) != t.content}
    with open(os.path.join(path, "cases.jsonl"), "w") as f:
        f.write(json.dumps({"around": tok.encode("").ids}) + "\n")
        for i in range(texts):
            try:
                f.write(json.dumps(one_case(tok, random_text(extra), [n for n in random_ids(size) if n in known] if i % 4 == 0 else None, unlike)) + "\n")
            except BaseException as error:  # the library's own assertions, which are no Exception: it has no answer to that text
                if type(error).__name__ != "PanicException":
                    raise
    print(kind)


for kind, tok in make_all():
    write(kind, tok)
