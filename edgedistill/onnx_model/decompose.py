"""An operator written with others: by hand where that is shorter, else by the function body of ONNX.

Constants take the type of the tensor they meet, so that an FP16 network stays one; what the standard computes in
FLOAT inside an FP16 operator stays FLOAT.
"""

from __future__ import annotations

import math
from typing import Any

import onnx
from onnx import helper

from edgedistill.onnx_model.findings import Graph, attribute, constant_value, given
from edgedistill.onnx_model.grid_sample import gathered
from edgedistill.onnx_model.index_operators import BY_HAND
from edgedistill.onnx_model.older_form import needed_schema, schema_of
from edgedistill.onnx_model.writer import Writer

_HALVES = (onnx.TensorProto.FLOAT16, onnx.TensorProto.BFLOAT16)
_HAND_OPSET = 13  # what is written by hand below is valid from here to 17, where axes are attributes


def decomposed(node: onnx.NodeProto, graph: Graph, now: int, opset: int) -> tuple[list[onnx.NodeProto], int] | None:
    """
    Args:
        node: written for opset `now`.
        graph: its model; constants are added to it.
        opset: the nodes are written for this one where that can be chosen.

    Returns:
        Nodes that compute the same and the opset that they are written for, or None when no way is known.
    """
    by_hand = _BY_HAND.get(node.op_type)
    if by_hand is not None:
        made = by_hand(node, graph)
        return None if made is None else (made, _HAND_OPSET)
    function = _function(node, graph, now, opset)
    if function is None:
        return None
    version = function.opset_import[0].version
    made = _body(function, node, graph, now)
    _learn(made, graph, version)
    return made, version


def _learn(nodes: list[onnx.NodeProto], graph: Graph, opset: int) -> None:
    """Types and shapes of what a body computes: the mends of its own nodes ask for them."""
    names = {name for node in nodes for name in node.input if name}
    inputs = [
        helper.make_tensor_value_info(name, graph.types[name], graph.shapes.get(name))
        for name in names
        if name in graph.types and name not in graph.initializers
    ]
    stored = [graph.initializers[name] for name in names if name in graph.initializers]
    body = helper.make_graph(nodes, "body", inputs, [], stored)
    model = helper.make_model(body, opset_imports=[helper.make_opsetid("", opset)])
    inferred = Graph(onnx.shape_inference.infer_shapes(model, data_prop=True), 0)
    graph.types.update(inferred.types)
    graph.shapes.update(inferred.shapes)


def _body(function: onnx.FunctionProto, node: onnx.NodeProto, graph: Graph, now: int) -> list[onnx.NodeProto]:
    """The function body that the standard publishes, with this node's names and attributes in it."""
    names = {formal: given(node, n) for n, formal in enumerate(function.input)}
    names |= dict(zip(function.output, node.output, strict=False))
    made = []
    for number, inner in enumerate(function.node):
        new = onnx.NodeProto()
        new.CopyFrom(inner)
        for field in (new.input, new.output):
            for position, name in enumerate(field):
                field[position] = names.setdefault(name, f"{node.output[0]}/{name}") if name else ""
        new.name = f"{node.output[0]}/{inner.op_type}_{number}"
        _resolve_attributes(new, node, now)
        value = constant_value(new) if new.op_type == "Constant" else None
        if value is None:
            made.append(new)
        else:
            graph.store(new.output[0], value)
    return made


def _function(node: onnx.NodeProto, graph: Graph, now: int, opset: int) -> onnx.FunctionProto | None:
    schema: Any = schema_of(node, now)  # onnx's stub lacks the functions of a schema
    if schema is None:
        return None
    if schema.has_function:
        versions = [v for v in schema.function_opset_versions if v <= opset]
        raw = schema.get_function_with_opset_version(max(versions)) if versions else None
    elif schema.has_context_dependent_function:
        types = [_type(graph, name) for name in node.input]
        versions = [v for v in schema.context_dependent_function_opset_versions if v <= opset]
        versions = versions or sorted(schema.context_dependent_function_opset_versions)[:1]
        raw = schema.get_context_dependent_function_with_opset_version(max(versions), node.SerializeToString(), types)
    else:
        raw = None
    return onnx.FunctionProto.FromString(raw) if raw else None


def _type(graph: Graph, name: str) -> bytes:
    kind = graph.types.get(name, onnx.TensorProto.FLOAT)
    return helper.make_tensor_type_proto(kind, graph.shapes.get(name)).SerializeToString()


def _resolve_attributes(new: onnx.NodeProto, node: onnx.NodeProto, now: int) -> None:
    """An attribute of a body may stand for one of the node, or for its default."""
    defaults = needed_schema(node, now).attributes
    for item in [item for item in new.attribute if item.ref_attr_name]:
        wanted, name = item.ref_attr_name, item.name
        new.attribute.remove(item)
        source = next((a for a in node.attribute if a.name == wanted), None)
        if source is None and wanted in defaults and defaults[wanted].default_value.type:
            source = defaults[wanted].default_value
        if source is not None:
            copied = new.attribute.add()
            copied.CopyFrom(source)
            copied.name = name


def _hard_swish(node: onnx.NodeProto, graph: Graph) -> list[onnx.NodeProto]:
    write = Writer(node, graph)
    gate = write("HardSigmoid", node.input[0], alpha=1 / 6, beta=0.5)
    write("Mul", node.input[0], gate, out=node.output[0])
    return write.nodes


def _mish(node: onnx.NodeProto, graph: Graph) -> list[onnx.NodeProto]:
    write = Writer(node, graph)
    gate = write("Tanh", write("Softplus", node.input[0]))
    write("Mul", node.input[0], gate, out=node.output[0])
    return write.nodes


def _swish(node: onnx.NodeProto, graph: Graph) -> list[onnx.NodeProto]:
    write, x = Writer(node, graph), node.input[0]
    alpha = attribute(node, "alpha", 1.0)
    gate = write("Sigmoid", x if alpha == 1 else write("Mul", x, write.constant(alpha)))
    write("Mul", x, gate, out=node.output[0])
    return write.nodes


def _gelu(node: onnx.NodeProto, graph: Graph) -> list[onnx.NodeProto]:
    write, x = Writer(node, graph), node.input[0]
    if attribute(node, "approximate", b"none") == b"tanh":
        cube = write("Mul", write("Mul", x, x), x)
        inner = write("Add", x, write("Mul", cube, write.constant(0.044715)))
        curve = write("Tanh", write("Mul", inner, write.constant(math.sqrt(2 / math.pi))))
    else:
        curve = write("Erf", write("Mul", x, write.constant(math.sqrt(0.5))))
    half = write("Mul", x, write.constant(0.5))
    write("Mul", half, write("Add", curve, write.constant(1.0)), out=node.output[0])
    return write.nodes


def _layer_norm(node: onnx.NodeProto, graph: Graph) -> list[onnx.NodeProto] | None:
    if any(node.output[1:]):
        return None  # mean and deviation are asked for
    return _normalised(node, graph, centre=True)


def _rms_norm(node: onnx.NodeProto, graph: Graph) -> list[onnx.NodeProto] | None:
    return _normalised(node, graph, centre=False)


def _normalised(node: onnx.NodeProto, graph: Graph, centre: bool) -> list[onnx.NodeProto] | None:
    """Over the root of the mean square, in the type that `stash_type` names; None when nobody knows which axes.

    A half has no squares above 65504 and no epsilon of 1e-8: the standard computes both in FLOAT (stash_type = 1, the
    default) and only scales and shifts in the type of the input.
    """
    write, x = Writer(node, graph), node.input[0]
    axis = attribute(node, "axis", -1)
    rank = len(graph.shapes.get(x, ()))
    if axis >= 0 and not rank:
        return None
    axes = list(range(axis - rank if axis >= 0 else axis, 0))
    kind = graph.types.get(x, onnx.TensorProto.FLOAT)
    inside = attribute(node, "stash_type", onnx.TensorProto.FLOAT) if kind in _HALVES else kind
    value = x if inside == kind else write("Cast", x, to=inside)
    if centre:
        value = write("Sub", value, write("ReduceMean", value, axes=axes))
    variance = write("ReduceMean", write("Mul", value, value), axes=axes)
    epsilon = write.constant(attribute(node, "epsilon", 1e-5), inside)
    scaled = write("Div", value, write("Sqrt", write("Add", variance, epsilon)))
    if inside != kind:
        scaled = write("Cast", scaled, to=kind)
    if given(node, 2):
        write("Add", write("Mul", scaled, node.input[1]), node.input[2], out=node.output[0])
    else:
        write("Mul", scaled, node.input[1], out=node.output[0])
    return write.nodes


def _cast_like(node: onnx.NodeProto, graph: Graph) -> list[onnx.NodeProto] | None:
    kind = graph.types.get(node.input[1])
    if not kind:
        return None
    return [helper.make_node("Cast", [node.input[0]], list(node.output), name=node.name, to=kind)]


_BY_HAND = {
    "CastLike": _cast_like,
    "Gelu": _gelu,
    "GridSample": gathered,
    "HardSwish": _hard_swish,
    "LayerNormalization": _layer_norm,
    "Mish": _mish,
    "RMSNormalization": _rms_norm,
    "Swish": _swish,
    **BY_HAND,
}
