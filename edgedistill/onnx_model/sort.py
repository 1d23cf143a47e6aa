"""Nodes in an order in which each can be computed: the parsers sort for themselves, the standard asks for it."""

from __future__ import annotations

from graphlib import CycleError, TopologicalSorter

import onnx

from edgedistill.onnx_model.findings import bodies_of, with_bodies
from edgedistill.onnx_model.rewrite import copy_of


def sorted_model(model: onnx.ModelProto) -> onnx.ModelProto | None:
    """The same model with its nodes in order, in bodies of If, Loop and Scan too.

    Returns:
        The model itself if they are, None if they form a cycle.
    """
    if all(_is_sorted(graph) for graph in with_bodies(model.graph)):
        return model
    made = copy_of(model)
    for graph in reversed(list(with_bodies(made.graph))):  # inner ones first: a graph copies its nodes
        if not _is_sorted(graph) and not _sort(graph):
            return None
    return made


def reads(node: onnx.NodeProto) -> set[str]:
    """Its inputs, and what its bodies (of If, Loop and Scan) read from outside."""
    read = set(node.input)
    for item in node.attribute:
        for body in bodies_of(item):
            read |= _captures(body)
    return read - {""}


def _captures(body: onnx.GraphProto) -> set[str]:
    own = {value.name for value in (*body.input, *body.initializer)}
    own |= {name for node in body.node for name in node.output}
    read = {name for node in body.node for name in reads(node)}
    return (read | {value.name for value in body.output}) - own


def _needs(graph: onnx.GraphProto) -> dict[int, set[int]]:
    """Position of a node -> positions of the nodes whose outputs it reads."""
    makers = {name: number for number, node in enumerate(graph.node) for name in node.output if name}
    return {number: {makers[name] for name in reads(node) if name in makers} for number, node in enumerate(graph.node)}


def _is_sorted(graph: onnx.GraphProto) -> bool:
    return all(needed < number for number, many in _needs(graph).items() for needed in many)


def _sort(graph: onnx.GraphProto) -> bool:
    """Put the nodes in order; False, and nothing done, if they form a cycle."""
    try:
        order = list(TopologicalSorter(_needs(graph)).static_order())
    except CycleError:
        return False
    nodes = list(graph.node)
    graph.ClearField("node")
    graph.node.extend(nodes[number] for number in order)
    return True
