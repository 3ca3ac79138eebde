"""gguf_values.py FILE...: every tensor of GGUF files as the gguf package reads and dequantizes it, and the metadata. One JSON object a file:
{"tensors": {name: {"type", "shape", "sha256"}}, "fields": {key: value or length of an array}}. Exit 77: a package is missing."""
import hashlib
import json
import sys

try:
    import gguf
    import numpy
except ImportError as missing:
    print(missing, file=sys.stderr)
    sys.exit(77)

for path in sys.argv[1:]:
    reader = gguf.GGUFReader(path)
    tensors = {}
    for t in reader.tensors:
        values = numpy.ascontiguousarray(gguf.dequantize(t.data, t.tensor_type), dtype="<f4")
        shape = [int(n) for n in reversed(t.shape)]
        assert values.size == numpy.prod(shape)
        tensors[t.name] = {"type": t.tensor_type.name, "shape": shape, "sha256": hashlib.sha256(values.tobytes()).hexdigest()}
    fields = {}
    for key, field in reader.fields.items():
        value = field.contents()
        fields[key] = len(value) if isinstance(value, list) else value
    print(json.dumps({"tensors": tensors, "fields": fields}))
