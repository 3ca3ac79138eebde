"""gguf_requantize.py F32.gguf OTHER.gguf: tensors of OTHER whose bytes are not what the gguf package makes of the fp32 values. Prints tensors and
mismatches. Exit 77: a package is missing."""
import json
import sys

try:
    import gguf
    import numpy
except ImportError as missing:
    print(missing, file=sys.stderr)
    sys.exit(77)

values = {t.name: numpy.array(t.data, dtype=numpy.float32) for t in gguf.GGUFReader(sys.argv[1]).tensors}
other = gguf.GGUFReader(sys.argv[2]).tensors
wrong = [t.name for t in other if gguf.quantize(values[t.name], t.tensor_type).tobytes() != numpy.ascontiguousarray(t.data).tobytes()]
print(json.dumps({"tensors": len(other), "mismatches": len(wrong), "names": wrong[:3]}))
