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


def field_bytes(number, content):
    if isinstance(content, int):
        return _varint(number << 3) + _varint(content)
    if isinstance(content, str):
        content = content.encode("utf-8")
    return _varint(number << 3 | 2) + _varint(len(content)) + content


def tensor_bytes(name, rows, dims=None):
    """Float32, of nested or of flat rows with their dims."""
    if dims is None:
        dims = [len(rows), len(rows[0])] if isinstance(rows[0], list) else [len(rows)]
    flat = [value for row in rows for value in (row if isinstance(row, list) else [row])]
    raw = struct.pack("<%df" % len(flat), *flat)
    return (
        b"".join(field_bytes(1, dim) for dim in dims) + field_bytes(2, 1) + field_bytes(8, name) + field_bytes(9, raw)
    )


def scalar_bytes(name, kind, raw):
    """A tensor of one value; kind: 1 is float32, 3 is int8."""
    return field_bytes(2, kind) + field_bytes(8, name) + field_bytes(9, raw)


def _value(name, dims):
    shape = b"".join(field_bytes(1, field_bytes(1, dim)) for dim in dims)
    return field_bytes(1, name) + field_bytes(2, field_bytes(1, field_bytes(1, 1) + field_bytes(2, shape)))


def node_bytes(kind, inputs, outputs, attributes=b"", name=""):
    return (
        b"".join(field_bytes(1, name) for name in inputs)
        + b"".join(field_bytes(2, name) for name in outputs)
        + (field_bytes(3, name) if name else b"")
        + field_bytes(4, kind)
        + attributes
    )


def model_bytes(weight, bias, side, int8_scale=None):
    """weight: classes x 3; bias: classes; input `image` (1, 3, side, side), output `logits`.

    With `int8_scale` the image goes through QuantizeLinear and DequantizeLinear of that scale.
    """
    trans_b = field_bytes(5, field_bytes(1, "transB") + field_bytes(3, 1) + field_bytes(20, 2))
    first, rounding = "image", b""
    if int8_scale is not None:
        first, ranges = "rounded", ["scale", "zero"]
        rounding = (
            field_bytes(1, node_bytes("QuantizeLinear", ["image"] + ranges, ["steps"]))
            + field_bytes(1, node_bytes("DequantizeLinear", ["steps"] + ranges, ["rounded"]))
            + field_bytes(5, scalar_bytes("scale", 1, struct.pack("<f", int8_scale)))
            + field_bytes(5, scalar_bytes("zero", 3, b"\0"))
        )
    graph = (
        rounding
        + field_bytes(1, node_bytes("GlobalAveragePool", [first], ["pooled"], name="pool"))
        + field_bytes(1, node_bytes("Flatten", ["pooled"], ["flat"]))
        + field_bytes(1, node_bytes("Gemm", ["flat", "weight", "bias"], ["logits"], trans_b, name="gemm"))
        + field_bytes(2, "tiny")
        + field_bytes(5, tensor_bytes("weight", weight))
        + field_bytes(5, tensor_bytes("bias", bias))
        + field_bytes(11, _value("image", [1, 3, side, side]))
        + field_bytes(12, _value("logits", [1, len(bias)]))
    )
    return field_bytes(1, 7) + field_bytes(7, graph) + field_bytes(8, field_bytes(1, "") + field_bytes(2, 13))
