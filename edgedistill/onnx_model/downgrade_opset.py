"""An ONNX model at an older opset, node by node.

onnx.version_converter is no help for networks: from 14 to 13 it has no adapter for Relu, Add, Mul,
Reshape or Identity. Most operators only gained types or attributes, so a node that leaves those
without effect means the same before (`older_form`). An operator that the older opset does not have is
written with older ones (`decompose`). Nothing of this is trusted: onnx.checker looks at every model in
full, and `equal.prove_equal` runs it beside the original.
"""

from __future__ import annotations

import onnx

from edgedistill.errors import PreflightError
from edgedistill.onnx_model.decompose import decomposed
from edgedistill.onnx_model.findings import Graph, is_standard, node_name, standard_fault
from edgedistill.onnx_model.older_form import (
    in_older_form,
    part_of_shape,
    refuse_unless_known,
    schema_of,
)
from edgedistill.onnx_model.rewrite import rewritten

_MOST_NAMED = 5  # nodes that are named one by one


def lower(model: onnx.ModelProto, opset: int) -> tuple[onnx.ModelProto, list[str]]:
    """
    Args:
        model: constants folded; left as it was.
        opset: older than the model's.

    Returns:
        The model at that opset, or at the oldest one above it that its nodes allow; and one line for
        each node that stood in the way.

    Raises:
        PreflightError: onnx.checker refuses what was made, for a reason that no node was found for.
    """
    now = Graph(model, 0).opset
    lowered, stuck = _at(model, opset)
    refused = stuck
    while refused and (opset := opset + 1) < now:
        lowered, refused = _at(model, opset)
    if refused:
        return model, stuck
    reason = standard_fault(lowered, full_check=True)
    if reason:
        raise PreflightError(f"at opset {opset} it would break the ONNX standard: {reason}")
    return lowered, stuck


def with_plain_shapes(model: onnx.ModelProto) -> onnx.ModelProto:
    """Shape nodes without start and end, which onnxslim overlooks when it folds them."""
    return rewritten(model, lambda node, graph: part_of_shape(node, graph, 0) if node.op_type == "Shape" else None)[0]


def without_importer(model: onnx.ModelProto, importers: frozenset[str]) -> tuple[onnx.ModelProto, int]:
    """Operators without an importer written with others, where that is known; and how many."""

    def parts_of(node: onnx.NodeProto, graph: Graph) -> list[onnx.NodeProto] | None:
        missing = is_standard(node.domain) and node.op_type not in importers
        return _with_others(node, graph) if missing else None

    made, count = rewritten(model, parts_of)
    return (made, count) if count else (model, 0)


def _with_others(node: onnx.NodeProto, graph: Graph) -> list[onnx.NodeProto] | None:
    """The same at the model's own opset, or None when no way is known."""
    replacement = decomposed(node, graph, graph.opset, graph.opset)
    if replacement is None:
        return None
    parts, written_for = replacement
    try:
        return [old for part in parts for old in _older(part, graph, written_for, graph.opset)]
    except PreflightError:
        return None


def _at(model: onnx.ModelProto, opset: int) -> tuple[onnx.ModelProto, list[str]]:
    """The model at exactly that opset, or what stands in its way."""
    stuck: list[str] = []

    def parts_of(node: onnx.NodeProto, graph: Graph) -> list[onnx.NodeProto] | None:
        try:
            return _older(node, graph, graph.opset, opset)
        except PreflightError as error:
            stuck.append(f"{node_name(node)}: at opset {opset}, {error}")
            return None

    made, _ = rewritten(model, parts_of)
    made.graph.ClearField("value_info")  # of the newer forms
    for entry in made.opset_import:
        if is_standard(entry.domain):
            entry.version = opset
    more = len(stuck) - _MOST_NAMED
    return made, stuck if more <= 0 else [*stuck[:_MOST_NAMED], f"and {more} more nodes"]


def _older(node: onnx.NodeProto, graph: Graph, now: int, opset: int) -> list[onnx.NodeProto]:
    """What a node of opset `now` is at `opset`.

    Raises:
        PreflightError: it cannot be said there.
    """
    if not is_standard(node.domain) or schema_of(node, now) == schema_of(node, opset):
        return [node]
    if now < opset:  # of a body: attributes and inputs that are still there mean the same
        refuse_unless_known(node, opset)
        return [node]
    if schema_of(node, opset) is not None:
        return in_older_form(node, graph, now, opset)
    replacement = decomposed(node, graph, now, opset)
    if replacement is None:
        raise PreflightError(f"there is no {node.op_type}")
    parts, written_for = replacement
    return [old for part in parts for old in _older(part, graph, written_for, opset)]
