"""Inputs that were findings once: each run begins with them."""

from corruptions import DEEPLY

_NUMBER = b"1" + b"0" * 400
_BENCH, _BUILD = 18, 12  # in the corpus of protocol lines, with exit code 0
# target -> (number in its corpus, what there is replaced, by what) or a whole input
FOUND = {
    "trtexec": [b"[I] Throughput: 1 qps\n[I] Latency: min = " + b"9" * 200_000 + b" ms\n"],
    "telemetry": [
        b"\n/dev/x file " + b"9" * 5000,
        "\n/dev/x file \u00b2".encode(),
        b"pmode:" + b"9" * 5000,
        b"< POWER_MODEL ID=0 NAME=" + b"9" * 5000 + b"W >",
        b"< POWER_MODEL ID=" + b"9" * 5000 + b" NAME=x >",
    ],
    "engine layers": [
        DEEPLY,
        b'{"Layers": -1}',
        b'{"Layers": [{"Outputs": ["x"]}]}',
        b'{"Layers": [{"Outputs": null}]}',
        b'{"Layers": [{"Weights": {"Type": 1}}]}',
    ],
    "engine record": [
        b"\0" + DEEPLY,
        b"\1" + DEEPLY,
        (0, b"x.engine", b"x.engine\\u0000"),
        (0, b'"onnx": "model.onnx"', b'"onnx": []'),
    ],
    "signature": [b"\3\xf8"],
    "board files": [b"\0" + DEEPLY, b"\1" + DEEPLY, b"\3\xae", b"\4\xff"],
    "protocol lines": [
        (_BENCH, b'"end_to_end"', b'"end_to_em"'),
        (_BENCH, b'"p50_ms": 5.0', b'"p50_ms": 1e999'),
        (_BENCH, b'"p50_ms": 5.0', b'"p50_ms": ' + _NUMBER),
        (_BENCH, b'"executed": "fp16"', b'"executed": []'),
        (_BUILD, b'"executed": "fp16"', b'"executed": {}'),
    ],
    "receipts": [
        b"\0" + DEEPLY,
        b"\1" + DEEPLY,
        (0, b'"steps"', b'"stepz"'),
        (1, b'"p50_ms"', b'"p50_mr"'),
        (1, b'"reason": null', b'"reason": {}'),
        (1, b'"reason": null', b'"reason": "\\ud800"'),
        (0, b'"build": {', b'"build": null, "x": {'),
        (1, b'"p50_ms": 5.0', b'"p50_ms": ' + _NUMBER),
    ],
    "learned reports": [
        b"\0" + DEEPLY,
        b"\1" + DEEPLY,
        b'\1{"version": 1}',
        b'\1{"version": 1, "measurements": ["x"]}',
        (0, b'"executed": "fp16"', b'"executed": 0.5'),
        (0, b'"model": "', b'"model": {}, "x": "'),
        (0, b'"p50_ms": 5.0', b'"p50_ms": ' + _NUMBER),
        (2, b'"fp16"', b'"fp15"'),
    ],
    "compared runs": [
        b"\0" + DEEPLY,
        b"\1{",
        b"\1NaN",
        (0, b'"baseline"', b'"baselime"'),
        (0, b'"retention_fraction": 0.98', b'"retention_fraction": "0.98"'),
        (1, b'"epochs"', b'"epoch"'),
        (1, b'"value": 0.9', b'"value": ' + _NUMBER),
        (1, b'"settings": {', b'"settings": {"x": 1e999, '),
    ],
}


def found_once(name, corpus):
    """The inputs of one target."""
    for row in FOUND.get(name, ()):
        if isinstance(row, bytes):
            yield row
        else:
            number, old, new = row
            assert old in corpus[number], row
            yield corpus[number].replace(old, new)
