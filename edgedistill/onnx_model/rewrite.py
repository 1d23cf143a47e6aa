"""Nodes of a model replaced one by one, in its bodies of If, Loop and Scan too."""

from __future__ import annotations

from collections.abc import Callable

import onnx

from edgedistill.onnx_model.findings import Graph

PartsOf = Callable[[onnx.NodeProto, Graph], list[onnx.NodeProto] | None]


def copy_of(model: onnx.ModelProto) -> onnx.ModelProto:
    made = onnx.ModelProto()
    made.CopyFrom(model)
    return made


def rewritten(model: onnx.ModelProto, parts_of: PartsOf) -> tuple[onnx.ModelProto, int]:
    """
    Args:
        model: left as it was.
        parts_of: (node, the copy's graph) -> what takes the node's place, or None to keep it. It may change
            its node: shapes and types are those from before.

    Returns:
        A copy with the nodes replaced, and how many were.
    """
    made = copy_of(model)
    graph, count = Graph(made, 0), 0
    _ = graph.shapes, graph.types  # inferred now: a node that was changed may say less
    for part in graph.graphs:
        nodes: list[onnx.NodeProto] = []
        for node in part.node:
            parts = parts_of(node, graph)
            count += parts is not None
            nodes += [node] if parts is None else parts
        part.ClearField("node")
        part.node.extend(nodes)
    return made, count
