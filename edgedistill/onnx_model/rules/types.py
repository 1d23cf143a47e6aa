"""Types that an operator's importer takes: shape inference says what each tensor is.

types.csv has the table of the parser's own documentation (docs/operators.md). Where the source says
more than the documentation, `_ALSO` and `_NEVER` follow the source.
"""

from __future__ import annotations

from collections.abc import Iterator

import onnx
from onnx import TensorProto

from edgedistill.config.target import Target
from edgedistill.onnx_model.findings import (
    Finding,
    Graph,
    attribute,
    is_standard,
    node_name,
    type_name,
)
from edgedistill.onnx_model.rules.tables import column

# Their types are another rule's, or have nothing to do with what they compute.
_OTHER_RULES = {
    "Cast",
    "CastLike",
    "Constant",
    "ConstantOfShape",
    "QuantizeLinear",
    "DequantizeLinear",
    "If",
    "Loop",
    "Scan",
    "EyeLike",
    "RandomNormal",
    "RandomUniform",
    "Shape",
    "Size",
    "BlackmanWindow",
    "HammingWindow",
    "HannWindow",
}
# operator -> types that the source takes beside the documented ones
_ALSO = {
    "Clip": {"INT32"},  # kINT32 in its assertion at 8.2 and 8.5
    "NonZero": {"INT32", "BOOL"},
    "ReduceMax": {"INT32"},
    "ReduceMin": {"INT32"},
    "ReduceProd": {"INT32"},
    "ReduceSum": {"INT32"},  # of shapes
}
# operator -> (types, release from which the source takes them all the same)
_NEVER = {
    "Where": ({"BOOL"}, (8, 5)),
    "Range": ({"FLOAT16", "BFLOAT16"}, (99,)),
    "Celu": ({"FLOAT16", "BFLOAT16"}, (99,)),
}  # its importers add FLOAT constants to it
# documented later than the source takes it: elementwiseCheck lets BOOL pass for Equal from 8.5
_FROM = {"Equal": ({"BOOL"}, (8, 5))}
_POSITIONS = {"Where": (1, 2), "Pow": (0, 1)}  # else all inputs of the first input's type variable


def _types(graph: Graph, target: Target) -> Iterator[Finding]:
    documented = column("types.csv", target.needed_release.operators)
    for node in graph.nodes:
        if not is_standard(node.domain) or node.op_type in _OTHER_RULES or not documented.get(node.op_type):
            continue
        if node.op_type == "Range" and _static_float_range(graph, target, node):
            continue
        taken = _taken(node.op_type, documented[node.op_type], target.needed_release.number)
        for name in _data_inputs(graph, node):
            kind = graph.types.get(name, TensorProto.UNDEFINED)
            seen = _as_computed(kind, target.needed_release.number)
            if seen not in taken and seen != "UNDEFINED" and not _between_q_and_dq(graph, name):
                yield Finding(
                    "error",
                    "operator-type",
                    node_name(node),
                    f"{node.op_type} of {type_name(kind)} ({name}); TensorRT {target.tensorrt} "
                    f"takes {', '.join(sorted(taken))}",
                    "cast to FLOAT before it, or keep to another operator",
                )
                break


def _between_q_and_dq(graph: Graph, name: str) -> bool:
    """Whether a QuantizeLinear made it, be it some Reshapes and Transposes before; the rule `q-dq` sees to those."""
    for _ in graph.nodes:  # no chain is longer
        maker = graph.producers.get(name)
        if maker is None or not maker.input:
            return False
        if maker.op_type == "QuantizeLinear":
            return True
        if graph.types.get(maker.input[0]) != graph.types.get(name):
            return False
        name = maker.input[0]
    return False


def _taken(kind: str, documented: frozenset[str], release: tuple[int, ...]) -> set[str]:
    taken = set(documented) | _ALSO.get(kind, set())
    types, first = _NEVER.get(kind, (set(), ()))
    if release < first:
        taken -= types
    types, first = _FROM.get(kind, (set(), (99,)))
    return taken | types if release >= first else taken


def _as_computed(kind: int, release: tuple[int, ...]) -> str:
    """The type that the parser makes of a file's."""
    name = type_name(kind)
    if name == "INT64" and release < (10,):
        return "INT32"
    return "FLOAT" if name == "DOUBLE" else name


def _data_inputs(graph: Graph, node: onnx.NodeProto) -> list[str]:
    positions = _POSITIONS.get(node.op_type)
    if positions is not None:
        return [node.input[position] for position in positions if position < len(node.input)]
    try:
        schema = onnx.defs.get_schema(node.op_type, max_inclusive_version=graph.opset)
    except onnx.defs.SchemaError:
        return []
    if not schema.inputs:
        return []
    described = [one.type_str for one in schema.inputs]
    if schema.inputs[-1].option == onnx.defs.OpSchema.FormalParameterOption.Variadic:
        described += described[-1:] * len(node.input)
    return [name for name, kind in zip(node.input, described, strict=False) if name and kind == described[0]]


def _static_float_range(graph: Graph, target: Target, node: onnx.NodeProto) -> bool:
    """8.2 takes a float Range only when all three inputs are initializers; later releases take each."""
    if graph.types.get(node.input[0]) != TensorProto.FLOAT or target.needed_release.number >= (8, 5):
        return False
    return all(name in graph.constants for name in node.input)


def _float_range(graph: Graph, target: Target) -> Iterator[Finding]:
    if target.needed_release.number >= (8, 5):
        return
    for node in graph.of_type("Range"):
        floats = graph.types.get(node.input[0]) in (TensorProto.FLOAT, TensorProto.FLOAT16, TensorProto.DOUBLE)
        if floats and not _static_float_range(graph, target, node):
            yield Finding(
                "error",
                "operator-type",
                node_name(node),
                "a float Range of computed inputs; TensorRT 8.2 wants INT32, or three initializers",
                "compute it in INT32 and cast, or fold constants (onnxslim)",
            )


def _mod(graph: Graph, target: Target) -> Iterator[Finding]:
    """Every importer of Mod wants fmod for floats; the standard does not any more."""
    for node in graph.of_type("Mod"):
        kind = graph.types.get(node.input[0], TensorProto.UNDEFINED)
        floats = (TensorProto.FLOAT, TensorProto.FLOAT16, TensorProto.DOUBLE, TensorProto.BFLOAT16)
        if kind in floats and not attribute(node, "fmod", 0):
            yield Finding(
                "error",
                "operator-type",
                node_name(node),
                f"Mod of {type_name(kind)} without fmod; the importers take integers only",
                "set fmod to 1 where the sign allows it",
            )


RULES = (_types, _float_range, _mod)
