"""An ONNX model at an older opset, when every node can be said in the older one.

onnx.version_converter is no help for networks: from 14 to 13 it has no adapter for Relu, Add, Mul,
Reshape or Identity. Most operators only gained types or attributes, so a node that leaves those at
their defaults means the same before. The others are rewritten here. Nothing of this is trusted:
`equal.prove_equal` runs both models.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterator

import numpy as np
import onnx
from onnx import helper, numpy_helper

from edgedistill.errors import PreflightError
from edgedistill.onnx_model.findings import Graph, attribute, given, is_standard, node_name

_AXES_INPUT_FROM = 18  # of every Reduce* but ReduceSum
_NUM_OUTPUTS_FROM = 18  # of Split


def lower(model: onnx.ModelProto, opset: int) -> onnx.ModelProto:
    """
    Args:
        model: constants folded; left as it was.
        opset: older than the model's.

    Returns:
        A model at that opset, checked against the standard.

    Raises:
        PreflightError: the first node that the older opset cannot say.
    """
    lowered = onnx.ModelProto()
    lowered.CopyFrom(model)
    graph = Graph(lowered, 0)
    for part in graph.graphs:
        nodes = [new for node in part.node for new in _lowered(node, graph, opset)]
        part.ClearField("node")
        part.node.extend(nodes)
    for entry in lowered.opset_import:
        if is_standard(entry.domain):
            entry.version = opset
    for node in Graph(lowered, 0).nodes:
        _refuse_unless_known(node, opset)
    onnx.checker.check_model(lowered)
    return lowered


def _lowered(node: onnx.NodeProto, graph: Graph, opset: int) -> Iterator[onnx.NodeProto]:
    before = _schema(node.op_type, opset)
    if not is_standard(node.domain) or (before and before == _schema(node.op_type, graph.opset)):
        yield node
    elif node.op_type in _DECOMPOSED and before is None:
        yield from _DECOMPOSED[node.op_type](node, graph)
    else:
        if node.op_type.startswith("Reduce") and opset < _AXES_INPUT_FROM:
            _axes_as_attribute(node, graph)
        if node.op_type == "Split" and opset < _NUM_OUTPUTS_FROM:
            _drop(node, "num_outputs")  # equal parts are what no sizes mean in the older form
        _drop_new_defaults(node, graph.opset, before)
        yield node


def _schema(kind: str, opset: int):
    try:
        return onnx.defs.get_schema(kind, max_inclusive_version=opset)
    except onnx.defs.SchemaError:
        return None


def _axes_as_attribute(node: onnx.NodeProto, graph: Graph) -> None:
    if node.op_type == "ReduceSum":
        return  # its axes have been an input since 13
    name = given(node, 1)
    axes = graph.array(name) if name else None
    if axes is not None and axes.size:
        del node.input[1:]
        node.attribute.append(helper.make_attribute("axes", [int(axis) for axis in axes]))
    elif name or attribute(node, "noop_with_empty_axes", 0):
        return  # computed, or a no-op: the older form cannot say it, and the schema check says so
    _drop(node, "noop_with_empty_axes")


def _drop_new_defaults(node: onnx.NodeProto, opset: int, before) -> None:
    now = _schema(node.op_type, opset)
    if before is None or now is None:
        return
    for item in list(node.attribute):
        new = item.name not in before.attributes and item.name in now.attributes
        if new and _is_default(item, now.attributes[item.name].default_value):
            node.attribute.remove(item)


def _is_default(item: onnx.AttributeProto, default: onnx.AttributeProto) -> bool:
    return default.type == item.type and helper.get_attribute_value(
        item
    ) == helper.get_attribute_value(default)


def _drop(node: onnx.NodeProto, name: str) -> None:
    for item in [item for item in node.attribute if item.name == name]:
        node.attribute.remove(item)


def _refuse_unless_known(node: onnx.NodeProto, opset: int) -> None:
    if not is_standard(node.domain):
        return
    schema = _schema(node.op_type, opset)
    if schema is None:
        raise PreflightError(f"{node_name(node)}: opset {opset} has no {node.op_type}")
    extra = [item.name for item in node.attribute if item.name not in schema.attributes]
    if extra:
        raise PreflightError(
            f"{node_name(node)}: at opset {opset}, {node.op_type} has no {extra[0]!r}"
        )
    if not schema.min_input <= len(node.input) <= schema.max_input:
        raise PreflightError(
            f"{node_name(node)}: at opset {opset}, {node.op_type} takes {schema.max_input} inputs, "
            f"not {len(node.input)}"
        )


class _Writer:
    """Names the nodes and constants that take the place of one node."""

    def __init__(self, node: onnx.NodeProto, graph: Graph):
        self._stem, self._graph = node.output[0], graph.model.graph
        self._number = itertools.count()
        self.nodes: list[onnx.NodeProto] = []

    def __call__(self, kind: str, *inputs: str, out: str | None = None, **attributes) -> str:
        name = out or f"{self._stem}/{kind}_{next(self._number)}"
        self.nodes.append(helper.make_node(kind, list(inputs), [name], name=name, **attributes))
        return name

    def constant(self, value: float) -> str:
        name = f"{self._stem}/constant_{next(self._number)}"
        tensor = numpy_helper.from_array(np.array(value, np.float32), name)
        self._graph.initializer.append(tensor)
        return name


def _hard_swish(node: onnx.NodeProto, graph: Graph) -> list[onnx.NodeProto]:
    write = _Writer(node, graph)
    gate = write("HardSigmoid", node.input[0], alpha=1 / 6, beta=0.5)
    write("Mul", node.input[0], gate, out=node.output[0])
    return write.nodes


def _mish(node: onnx.NodeProto, graph: Graph) -> list[onnx.NodeProto]:
    write = _Writer(node, graph)
    gate = write("Tanh", write("Softplus", node.input[0]))
    write("Mul", node.input[0], gate, out=node.output[0])
    return write.nodes


def _gelu(node: onnx.NodeProto, graph: Graph) -> list[onnx.NodeProto]:
    write, x = _Writer(node, graph), node.input[0]
    if attribute(node, "approximate", b"none") == b"tanh":
        cube = write("Mul", write("Mul", x, x), x)
        inner = write("Add", x, write("Mul", cube, write.constant(0.044715)))
        curve = write("Tanh", write("Mul", inner, write.constant(math.sqrt(2 / math.pi))))
    else:
        curve = write("Erf", write("Mul", x, write.constant(math.sqrt(0.5))))
    half = write("Mul", x, write.constant(0.5))
    write("Mul", half, write("Add", curve, write.constant(1.0)), out=node.output[0])
    return write.nodes


def _layer_norm(node: onnx.NodeProto, graph: Graph) -> list[onnx.NodeProto]:
    write, x = _Writer(node, graph), node.input[0]
    axis = attribute(node, "axis", -1)
    rank = len(graph.shapes.get(x, ()))
    if any(node.output[1:]) or (axis >= 0 and not rank):
        return [node]  # mean and deviation are asked for, or nobody knows which axes
    axes = list(range(axis - rank if axis >= 0 else axis, 0))
    centred = write("Sub", x, write("ReduceMean", x, axes=axes))
    variance = write("ReduceMean", write("Mul", centred, centred), axes=axes)
    epsilon = write.constant(attribute(node, "epsilon", 1e-5))
    scaled = write("Div", centred, write("Sqrt", write("Add", variance, epsilon)))
    if given(node, 2):
        scaled = write("Mul", scaled, node.input[1])
        write("Add", scaled, node.input[2], out=node.output[0])
    else:
        write("Mul", scaled, node.input[1], out=node.output[0])
    return write.nodes


_DECOMPOSED = {"HardSwish": _hard_swish, "Mish": _mish, "Gelu": _gelu,
               "LayerNormalization": _layer_norm}  # fmt: skip
