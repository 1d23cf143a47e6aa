"""What a precision does to an ONNX graph in the fake TensorRT: Q/DQ from the cache's ranges, or rounding to half.

The graph is rewritten as protobuf bytes, because Python 3.6 has no onnx package here, and ONNX Runtime
computes the result. INT8: each layer whose tensors all have a range reads its activations through
QuantizeLinear and DequantizeLinear of that range, and its weights are rounded to 127 levels a row; a layer
that lacks one is not INT8, as in TensorRT 8 ("Missing scale and zero-point"). FP16: activations and weights
of a layer are rounded to half. Flatten and the like are no layers.

A model with float16 in it is typed: it is computed in the types that it names, each of its float16 tensors rounded to
half, and one whose float16 and float32 meet without a Cast is refused, as a strongly typed network is.
"""

import struct

import numpy as np

from tiny_onnx import field_bytes, integer_attribute, node_bytes, scalar_bytes, tensor_bytes

LAYERS = {
    "GlobalAveragePool": "Reduce",
    "Gemm": "CaskConvolution",
    "MatMul": "CaskConvolution",
    "Conv": "CaskConvolution",
    "Relu": "PointWise",
    "Add": "ElementWise",
}
_SHAPE_ONLY = ("Flatten", "Reshape", "Squeeze", "Unsqueeze", "Identity")
_FLOAT, _FLOAT16 = 1, 10  # TensorProto.DataType
_GRAPH, _OPSETS, _NODES, _INITIALIZERS, _OUTPUTS = 7, 8, 1, 5, 12  # field numbers of ModelProto and GraphProto


class Layer(object):
    """name, kind (the inspector's word), precision: fp32, fp16 or int8."""

    def __init__(self, name, kind, precision):
        self.name, self.kind, self.precision = name, kind, precision


def scales_of(cache):
    """{tensor: INT8 scale} of a calibration cache, without its header; names may hold `: `."""
    scales = {}
    for line in cache.decode("utf-8").splitlines()[1:]:
        name, _, bits = line.rpartition(": ")
        scales[name] = struct.unpack(">f", bytes(bytearray.fromhex(bits.zfill(8))))[0]
    return scales


def rewritten(onnx, half, scales):
    """The model as a board computes it.

    Args:
        onnx: bytes of a model; its own Q/DQ nodes stay as they are.
        half: layers that are not INT8 compute in FP16.
        scales: of `scales_of`; empty without a cache.

    Returns:
        (bytes, [Layer], names of tensors that lack a range).

    Raises:
        ValueError: a typed model whose types do not fit.
    """
    model = _fields(onnx)
    at = [number for number, _ in model].index(_GRAPH)
    graph = _Graph(_fields(model[at][1]), half, scales)
    model[at] = (_GRAPH, graph.rewritten())
    if graph.typed:  # float32 now, in the form of opset 13: ONNX Runtime 1.10 knows no opset 19
        model = [field for field in model if field[0] != _OPSETS]
        model.append((_OPSETS, field_bytes(1, "") + field_bytes(2, 13)))
    return _joined(model), graph.layers, sorted(graph.lacking)


class _Graph(object):
    def __init__(self, fields, half, scales):
        self._fields, self._half, self._scales = fields, half, scales
        self._weights = {_name_of(tensor): tensor for number, tensor in fields if number == _INITIALIZERS}
        self._outputs = {_first(value, 1).decode("utf-8") for number, value in fields if number == _OUTPUTS}
        self._maker, self._made, self._rounded = {}, {}, {}
        self.layers, self.lacking = [], set()
        self._types = {}  # of float tensors that are not inputs: _FLOAT or _FLOAT16
        for name, tensor in list(self._weights.items()):
            self._types[name] = _first(tensor, 2)
            if self._types[name] == _FLOAT16:
                self._weights[name] = _widened(name, tensor)
        self.typed = _FLOAT16 in self._types.values()

    def rewritten(self):
        nodes = []
        for number, node in self._fields:
            if number == _NODES:
                nodes += self._of_node(_fields(node))
        weights = dict(self._weights, **self._rounded)
        rest = [(number, content) for number, content in self._fields if number not in (_NODES, _INITIALIZERS)]
        return _joined(
            [(_NODES, node) for node in nodes] + rest + [(_INITIALIZERS, weights[name]) for name in sorted(weights)]
        )

    def _of_node(self, node):
        """The node's bytes, after those of the roundings that it reads first."""
        kind, inputs = _text(node, 4)[0], _text(node, 1)
        for name in _text(node, 2):
            self._maker[name] = kind if kind not in _SHAPE_ONLY else self._maker.get(inputs[0])
        activations = [name for name in inputs if name not in self._weights]
        half = self.typed and self._type_of(node, kind, inputs) == _FLOAT16
        if kind not in LAYERS:
            return self._as_typed(node, kind, half)
        precision = "fp16" if half else self._precision(activations, _text(node, 2))
        if half and all(self._maker.get(name) == "DequantizeLinear" for name in activations):
            precision = "int8"
        self.layers.append(Layer((_text(node, 3) or _text(node, 2))[0], LAYERS[kind], precision))
        if self.typed:
            return self._as_typed(node, kind, half)
        before, names = [], {}
        for name in inputs:
            if name in self._weights:
                self._round_weight(name, precision)
            elif self._maker.get(name) != "DequantizeLinear":
                names[name] = self._read_through(name, precision, before)
        return before + [
            _joined(
                [
                    (number, names.get(_decoded(content), _decoded(content)).encode("utf-8"))
                    if number == 1
                    else (number, content)
                    for number, content in node
                ]
            )
        ]

    def _type_of(self, node, kind, inputs):
        """The type of a typed model's node, kept for its output.

        Raises:
            ValueError: float16 and float32 meet.
        """
        if kind == "Cast":
            made = next(_first(value, 3) for number, value in node if number == 5 and _first(value, 1) == b"to")
        elif kind == "DequantizeLinear":
            made = self._types[inputs[1]]
        else:
            read = {self._types.get(name, _FLOAT) for name in inputs} & {_FLOAT, _FLOAT16}
            if len(read) > 1:
                raise ValueError("ITensor types of %s do not match in a strongly typed network" % (_text(node, 2)[0],))
            made = None if kind == "QuantizeLinear" else read.pop() if read else None
        self._types[_text(node, 2)[0]] = made
        return made

    def _as_typed(self, node, kind, half):
        """Of a typed model: the node in float32, its output rounded where that is float16."""
        if not self.typed:
            return [_joined(node)]
        if kind == "Cast":
            node = [field for field in node if field[0] not in (4, 5)] + [(4, b"Identity")]
        if not half:
            return [_joined(node)]
        name = _text(node, 2)[0]
        wide = [(number, (name + "/wide").encode("utf-8") if number == 2 else value) for number, value in node]
        return [_joined(wide)] + _rounding(name + "/wide", name)

    def _precision(self, activations, outputs):
        if all(self._maker.get(name) == "DequantizeLinear" for name in activations):
            return "int8"
        touched = activations + [name for name in outputs if name not in self._outputs]
        lacking = set(touched) - set(self._scales)
        if self._scales:
            self.lacking |= lacking
        return "int8" if self._scales and not lacking else "fp16" if self._half else "fp32"

    def _read_through(self, name, precision, before):
        """The name of the rounded activation; `before` gets the nodes that make it, once."""
        if precision == "fp32":
            return name
        rounded = "%s/%s" % (name, precision)
        if rounded not in self._made:
            self._made[rounded] = True
            if precision == "fp16":
                before += _rounding(name, rounded)
            else:
                ranges = [rounded + "/scale", rounded + "/zero"]
                self._rounded[ranges[0]] = scalar_bytes(ranges[0], _FLOAT, struct.pack("<f", self._scales[name]))
                self._rounded[ranges[1]] = scalar_bytes(ranges[1], 3, b"\0")
                before += [
                    node_bytes("QuantizeLinear", [name] + ranges, [rounded + "/steps"]),
                    node_bytes("DequantizeLinear", [rounded + "/steps"] + ranges, [rounded]),
                ]
        return rounded

    def _round_weight(self, name, precision):
        tensor = _fields(self._weights[name])
        raw = [content for number, content in tensor if number == 9]
        if _first(self._weights[name], 2) != _FLOAT or not raw or precision == "fp32":
            return
        dims = [content for number, content in tensor if number == 1]
        values = np.frombuffer(raw[0], "<f4").reshape(dims)
        if precision == "fp16":
            values = values.astype(np.float16).astype(np.float32)
        elif values.ndim > 1:  # one range a row, and biases stay float
            scale = np.abs(values).reshape(len(values), -1).max(axis=1) / np.float32(127)
            scale = np.maximum(scale, np.float32(1e-30)).reshape([-1] + [1] * (values.ndim - 1))
            values = np.rint(values / scale) * scale
        self._rounded[name] = tensor_bytes(name, values.astype("<f4").reshape(-1).tolist(), dims)


def _rounding(name, rounded):
    """Nodes that round a tensor to half: ONNX Runtime 1.10 drops two casts in a row, so something stands between."""
    return [
        node_bytes("Cast", [name], [rounded + "/narrow"], integer_attribute("to", _FLOAT16)),
        node_bytes("Concat", [rounded + "/narrow"], [rounded + "/kept"], integer_attribute("axis", 0)),
        node_bytes("Cast", [rounded + "/kept"], [rounded], integer_attribute("to", _FLOAT)),
    ]


def _widened(name, tensor):
    """A float16 tensor as float32."""
    fields = _fields(tensor)
    raw = next(content for number, content in fields if number == 9)
    dims = [content for number, content in fields if number == 1]
    values = np.frombuffer(raw, "<f2").astype(np.float32)
    return tensor_bytes(name, values.tolist(), dims) if dims else scalar_bytes(name, _FLOAT, values.tobytes())


def _fields(content):
    """[(number, int or bytes)] of a protobuf message; fields of four and eight bytes stay bytes."""
    found, at = [], 0
    while at < len(content):
        key, at = _varint_at(content, at)
        number, kind = key >> 3, key & 7
        if kind == 0:
            value, at = _varint_at(content, at)
        else:
            size, at = _varint_at(content, at) if kind == 2 else ({1: 8, 5: 4}[kind], at)
            value = content[at : at + size] if kind == 2 else _Fixed(content[at : at + size])
            at += size
        found.append((number, value))
    return found


class _Fixed(bytes):
    """A field of four or eight bytes."""


def _varint_at(content, at):
    value = shift = 0
    while True:
        byte = content[at]
        value |= (byte & 0x7F) << shift
        at, shift = at + 1, shift + 7
        if not byte & 0x80:
            return value, at


def _joined(fields):
    parts = []
    for number, value in fields:
        if isinstance(value, _Fixed):
            parts.append(bytes(bytearray([number << 3 | (5 if len(value) == 4 else 1)])) + value)
        else:
            parts.append(field_bytes(number, value))
    return b"".join(parts)


def _first(content, number):
    return next(value for found, value in _fields(content) if found == number)


def _name_of(tensor):
    return _first(tensor, 8).decode("utf-8")


def _text(fields, number):
    return [_decoded(value) for found, value in fields if found == number]


def _decoded(value):
    return value.decode("utf-8")
