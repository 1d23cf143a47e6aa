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


def tensor_bytes(name, rows, dims=None, half=False):
    """Float32, or float16, of nested or of flat rows with their dims."""
    if dims is None:
        dims = [len(rows), len(rows[0])] if isinstance(rows[0], list) else [len(rows)]
    flat = [value for row in rows for value in (row if isinstance(row, list) else [row])]
    raw = struct.pack("<%d%s" % (len(flat), "e" if half else "f"), *flat)
    return (
        b"".join(field_bytes(1, dim) for dim in dims)
        + field_bytes(2, 10 if half else 1)
        + field_bytes(8, name)
        + field_bytes(9, raw)
    )


def scalar_bytes(name, kind, raw):
    """A tensor of one value; kind: 1 is float32, 3 is int8, 10 is float16."""
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


def integer_attribute(name, value):
    """An attribute of a node."""
    return field_bytes(5, field_bytes(1, name) + field_bytes(3, value) + field_bytes(20, 2))


def _cast(source, made, kind):
    return field_bytes(1, node_bytes("Cast", [source], [made], integer_attribute("to", kind)))


def model_bytes(weight, bias, side, int8_scale=None, half=False):
    """weight: classes x 3; bias: classes; input `image` (1, 3, side, side), output `logits`.

    With `int8_scale` the image goes through QuantizeLinear and DequantizeLinear of that scale. With `half` all between
    a Cast of the image and one of the logits is float16, scale, weight and bias too: opset 19, as Q/DQ of it need.
    """
    trans_b, last = integer_attribute("transB", 1), "logits"
    first, rounding, ending = "image", b"", b""
    if half:
        first, rounding, last, ending = "narrow", _cast("image", "narrow", 10), "wide", _cast("wide", "logits", 1)
    if int8_scale is not None:
        kind, letter, ranges = 10 if half else 1, "e" if half else "f", ["scale", "zero"]
        rounding += (
            field_bytes(1, node_bytes("QuantizeLinear", [first] + ranges, ["steps"]))
            + field_bytes(1, node_bytes("DequantizeLinear", ["steps"] + ranges, ["rounded"]))
            + field_bytes(5, scalar_bytes("scale", kind, struct.pack("<" + letter, int8_scale)))
            + field_bytes(5, scalar_bytes("zero", 3, b"\0"))
        )
        first = "rounded"
    graph = (
        rounding
        + field_bytes(1, node_bytes("GlobalAveragePool", [first], ["pooled"], name="pool"))
        + field_bytes(1, node_bytes("Flatten", ["pooled"], ["flat"]))
        + field_bytes(1, node_bytes("Gemm", ["flat", "weight", "bias"], [last], trans_b, name="gemm"))
        + ending
        + field_bytes(2, "tiny")
        + field_bytes(5, tensor_bytes("weight", weight, half=half))
        + field_bytes(5, tensor_bytes("bias", bias, half=half))
        + field_bytes(11, _value("image", [1, 3, side, side]))
        + field_bytes(12, _value("logits", [1, len(bias)]))
    )
    return (
        field_bytes(1, 7)
        + field_bytes(7, graph)
        + field_bytes(8, field_bytes(1, "") + field_bytes(2, 19 if half else 13))
    )
