"""A real ONNX model as hand-written protobuf bytes, for Pythons without the onnx package.

GlobalAveragePool -> Flatten -> Gemm: `logits = mean over H x W @ weight.T + bias`. Field numbers
are those of onnx.proto (IR 7, opset 13).
"""

import struct


def _varint(value):
    out = b""
    while True:
        low, value = value & 0x7F, value >> 7
        out += bytes([low | (0x80 if value else 0)])
        if not value:
            return out


def _field(number, content):
    if isinstance(content, int):
        return _varint(number << 3) + _varint(content)
    if isinstance(content, str):
        content = content.encode("utf-8")
    return _varint(number << 3 | 2) + _varint(len(content)) + content


def _tensor(name, rows):
    dims = [len(rows), len(rows[0])] if isinstance(rows[0], list) else [len(rows)]
    flat = [value for row in rows for value in (row if isinstance(row, list) else [row])]
    raw = struct.pack("<%df" % len(flat), *flat)
    return (
        b"".join(_field(1, dim) for dim in dims) + _field(2, 1) + _field(8, name) + _field(9, raw)
    )


def _value(name, dims):
    shape = b"".join(_field(1, _field(1, dim)) for dim in dims)
    return _field(1, name) + _field(2, _field(1, _field(1, 1) + _field(2, shape)))


def _node(kind, inputs, outputs, attributes=b""):
    return (
        b"".join(_field(1, name) for name in inputs)
        + b"".join(_field(2, name) for name in outputs)
        + _field(4, kind)
        + attributes
    )


def model_bytes(weight, bias, side, int8_scale=None):
    """weight: classes x 3; bias: classes; input `image` (1, 3, side, side), output `logits`.

    With `int8_scale` the image goes through QuantizeLinear and DequantizeLinear of that scale.
    """
    trans_b = _field(5, _field(1, "transB") + _field(3, 1) + _field(20, 2))
    first, rounding = "image", b""
    if int8_scale is not None:
        first, ranges = "rounded", ["scale", "zero"]
        rounding = (
            _field(1, _node("QuantizeLinear", ["image"] + ranges, ["steps"]))
            + _field(1, _node("DequantizeLinear", ["steps"] + ranges, ["rounded"]))
            + _field(5, _field(2, 1) + _field(8, "scale") + _field(9, struct.pack("<f", int8_scale)))
            + _field(5, _field(2, 3) + _field(8, "zero") + _field(9, b"\0"))
        )
    graph = (
        rounding
        + _field(1, _node("GlobalAveragePool", [first], ["pooled"]))
        + _field(1, _node("Flatten", ["pooled"], ["flat"]))
        + _field(1, _node("Gemm", ["flat", "weight", "bias"], ["logits"], trans_b))
        + _field(2, "tiny")
        + _field(5, _tensor("weight", weight))
        + _field(5, _tensor("bias", bias))
        + _field(11, _value("image", [1, 3, side, side]))
        + _field(12, _value("logits", [1, len(bias)]))
    )
    return _field(1, 7) + _field(7, graph) + _field(8, _field(1, "") + _field(2, 13))
