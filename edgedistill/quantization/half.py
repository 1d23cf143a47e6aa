"""A float ONNX model typed in FP16: what TensorRT computes where the file alone says the type (11, TensorRT for RTX).

Which inputs and outputs of an operator may be FLOAT16 is asked of the ONNX schemas at the model's opset, so Q/DQ
nodes take FP16 scales from opset 19 on and stay FLOAT with Casts around them before. Not the converter of
onnxruntime.transformers.float16: between two neighbours that it is told to leave in float32 it casts to FLOAT16 and
back, so a value that overflows becomes infinite all the same; it clips weights above 65504; and it gives the shared
weights of a float32 and an FP16 node to both as FP16.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

from edgedistill.errors import QuantizeError

LARGEST = float(np.finfo(np.float16).max)
SMALLEST = float(np.finfo(np.float16).smallest_subnormal)
_LEVELS = 127
_TYPE_ATTRIBUTES = {"to", "dtype", "value", "value_float", "value_floats"}  # they fix the type of an output


def half_model(model: onnx.ModelProto, keep_float: Collection[str] = ()) -> onnx.ModelProto:
    """The same network with FP16 weights and activations, float32 inputs and outputs, Casts at the borders.

    Args:
        model: float32, static; Q/DQ nodes may be in it.
        keep_float: layers (their first output) that stay float32. So does a layer whose constants FP16 does not hold.

    Raises:
        QuantizeError: it has subgraphs, or operators that ONNX does not know.
    """
    return _Halved(model, frozenset(keep_float)).model


def float32_layers(model: onnx.ModelProto) -> list[str]:
    """Layers of a typed model that compute in float32, by their first output; Casts, Q and DQ are none."""
    types = types_of(model)
    return [
        node.output[0]
        for node in model.graph.node
        if node.op_type not in ("Cast", "QuantizeLinear", "DequantizeLinear")
        and types.get(node.output[0]) == TensorProto.FLOAT
    ]


def types_of(model: onnx.ModelProto) -> dict[str, int]:
    """Tensor -> element type, of all that shape inference reaches."""
    graph = onnx.shape_inference.infer_shapes(model).graph
    types = {tensor.name: tensor.data_type for tensor in graph.initializer}
    for value in (*graph.input, *graph.value_info, *graph.output):
        types[value.name] = value.type.tensor_type.elem_type
    return types


class _Halved:
    """`model`: the result."""

    def __init__(self, source: onnx.ModelProto, keep_float: frozenset[str]):
        self.model = onnx.ModelProto()
        self.model.CopyFrom(source)
        self._graph, self._keep = self.model.graph, keep_float
        self._opset = next(entry.version for entry in source.opset_import if entry.domain in ("", "ai.onnx"))
        self._before, self._now = types_of(source), {}  # tensor -> its type in the source, and here
        self._constants = {tensor.name: numpy_helper.to_array(tensor) for tensor in self._graph.initializer}
        self._used: dict[str, np.ndarray] = {}  # constants of the result
        self._names: set[str] = set(self._before)
        self._copies: dict[tuple[str, int], str] = {}  # (tensor, type) -> its copy of that type
        self._nodes: list[onnx.NodeProto] = []
        for value in self._graph.input:
            self._now[value.name] = value.type.tensor_type.elem_type
        for node in source.graph.node:
            self._add(node)
        self._finish()

    def _add(self, source: onnx.NodeProto) -> None:
        node = onnx.NodeProto()
        node.CopyFrom(source)
        half = self._may_be_half(node)
        formal = _schema(node, self._opset)
        if half and node.op_type in ("QuantizeLinear", "DequantizeLinear"):
            self._fit_scale(node)
        for at, name in enumerate(node.input):
            if name and self._before.get(name) == TensorProto.FLOAT:
                wanted = half and _takes_half(formal, formal.inputs, at)
                node.input[at] = self._as(name, TensorProto.FLOAT16 if wanted else TensorProto.FLOAT)
        outputs = {value.name for value in self._graph.output}
        borders = []
        for at, name in enumerate(node.output):
            kind = self._before.get(name, 0)
            if kind == TensorProto.FLOAT and half and _takes_half(formal, formal.outputs, at):
                kind = TensorProto.FLOAT16
            self._now[name] = kind
            if name in outputs and kind == TensorProto.FLOAT16:  # its name and type are the file's interface
                node.output[at] = self._name(f"{name}_half")
                borders.append(_cast(node.output[at], name, TensorProto.FLOAT))
                self._now[name], self._now[node.output[at]] = TensorProto.FLOAT, kind
                self._copies[name, TensorProto.FLOAT16] = node.output[at]
        self._nodes += [node, *borders]

    def _may_be_half(self, node: onnx.NodeProto) -> bool:
        if any(
            attribute.type in (onnx.AttributeProto.GRAPH, onnx.AttributeProto.GRAPHS) for attribute in node.attribute
        ):
            raise QuantizeError(
                f"{node.op_type} {node.name} has a graph of its own; no FP16 file is made of such a model"
            )
        if node.output[0] in self._keep or any(item.name in _TYPE_ATTRIBUTES for item in node.attribute):
            return False
        quantizes = node.op_type in ("QuantizeLinear", "DequantizeLinear")
        return all(
            _holds(self._constants[name]) or (quantizes and at == 1)
            for at, name in enumerate(node.input)
            if name in self._constants
        )

    def _fit_scale(self, node: onnx.NodeProto) -> None:
        """A scale as FP16 has it; INT8 weights are counted again in steps of that one.

        Below 6e-5, where FP16's own steps are coarse, it is rounded up, so that no weight is cut off; 0 it never is.
        """
        scale = self._constants.get(node.input[1])
        if scale is None or scale.dtype != np.float32:
            return
        half = scale.astype(np.float16)
        cut = (half < scale) & (scale < np.finfo(np.float16).smallest_normal)
        fitted = np.where(cut, np.nextafter(half, np.float16(np.inf)), half).astype(np.float32)
        weight = self._constants.get(node.input[0])
        if weight is not None and weight.dtype == np.int8:
            axis = next((item.i for item in node.attribute if item.name == "axis"), 1)
            shape = [1] * weight.ndim
            if scale.size > 1:
                shape[axis] = scale.size
            steps = weight * (scale / fitted).reshape(shape)
            self._constants[node.input[0]] = np.clip(np.rint(steps), -_LEVELS, _LEVELS).astype(np.int8)
        self._constants[node.input[1]] = fitted

    def _as(self, name: str, kind: int) -> str:
        """The tensor's copy of that type: the tensor itself, another constant, or behind a Cast."""
        if name in self._constants:
            values = self._constants[name]
            copy = self._copies.setdefault(
                (name, kind), name if name not in self._used else self._name(f"{name}_{kind}")
            )
            self._used[copy] = values.astype(np.float16) if kind == TensorProto.FLOAT16 else values
            return copy
        if self._now[name] == kind:
            return name
        if (name, kind) not in self._copies:
            copy = self._name(f"{name}_{'half' if kind == TensorProto.FLOAT16 else 'float'}")
            self._copies[name, kind] = copy
            self._nodes.append(_cast(name, copy, kind))
        return self._copies[name, kind]

    def _name(self, wanted: str) -> str:
        while wanted in self._names:
            wanted += "_"
        self._names.add(wanted)
        return wanted

    def _finish(self) -> None:
        read = {name for node in self._nodes for name in node.input}
        kept = {name: values for name, values in self._constants.items() if name in read and name not in self._used}
        del self._graph.node[:], self._graph.initializer[:], self._graph.value_info[:]
        self._graph.node.extend(self._nodes)
        self._graph.initializer.extend(
            numpy_helper.from_array(values, name) for name, values in (self._used | kept).items()
        )
        onnx.checker.check_model(self.model, full_check=True)


def _schema(node: onnx.NodeProto, opset: int) -> onnx.defs.OpSchema:
    try:
        return onnx.defs.get_schema(node.op_type, opset, node.domain)
    except onnx.defs.SchemaError:
        raise QuantizeError(f"{node.op_type} {node.name}: not an operator of ONNX at opset {opset}") from None


def _takes_half(schema: onnx.defs.OpSchema, formal: Sequence[onnx.defs.OpSchema.FormalParameter], at: int) -> bool:
    """Whether the input or output at that place may be FLOAT16; the last one may be repeated."""
    word = formal[min(at, len(formal) - 1)].type_str
    allowed = next((item.allowed_type_strs for item in schema.type_constraints if item.type_param_str == word), [word])
    return "tensor(float16)" in allowed


def _holds(values: np.ndarray) -> bool:
    """Whether FP16 holds a constant: nothing infinite, and no lone number that becomes 0 (an epsilon)."""
    if values.dtype != np.float32 or not values.size:
        return True
    lost = values.size == 1 and values.item() != 0 and abs(values.item()) < SMALLEST
    return bool(np.abs(values).max() <= LARGEST) and not lost


def _cast(source: str, made: str, kind: int) -> onnx.NodeProto:
    return helper.make_node("Cast", [source], [made], name=f"{made}_Cast", to=kind)
