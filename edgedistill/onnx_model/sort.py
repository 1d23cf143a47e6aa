"""Nodes in an order in which each can be computed: the parsers sort for themselves, the standard asks for it."""

from __future__ import annotations

from graphlib import CycleError, TopologicalSorter

import onnx

from edgedistill.onnx_model.rewrite import copy_of


def sorted_model(model: onnx.ModelProto) -> onnx.ModelProto | None:
    """The same model with its nodes in order; the model itself if they are, None if they form a cycle."""
    nodes = list(model.graph.node)
    makers = {name: number for number, node in enumerate(nodes) for name in node.output if name}
    needs = {number: {makers[name] for name in _reads(node) if name in makers} for number, node in enumerate(nodes)}
    if all(needed < number for number, many in needs.items() for needed in many):
        return model
    try:
        order = list(TopologicalSorter(needs).static_order())
    except CycleError:
        return None
    made = copy_of(model)
    made.graph.ClearField("node")
    made.graph.node.extend(nodes[number] for number in order)
    return made


def _reads(node: onnx.NodeProto) -> set[str]:
    """Its inputs, and what the bodies of If, Loop and Scan read from outside."""
    read = set(node.input)
    for item in node.attribute:
        for body in (*([item.g] if item.HasField("g") else []), *item.graphs):
            read |= {name for inner in body.node for name in _reads(inner)}
            read |= {value.name for value in body.output}
    return read - {""}
