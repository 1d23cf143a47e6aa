"""Will the board's TensorRT take this ONNX file? Known before anything is copied there.

The rules come from the importers' source, not from a run of the board's parser: passing them is no
proof. docs/onnx.md lists them.
"""

from __future__ import annotations

from pathlib import Path

import onnx

from edgedistill.config.target import Target
from edgedistill.onnx_model import functions
from edgedistill.onnx_model.findings import Finding, Graph, looking_into, reading
from edgedistill.onnx_model.rules import RULES
from edgedistill.onnx_model.rules.tensors import MAX_BYTES

FUNCTIONS_FROM = (10,)  # a model's own functions: ONNX-TensorRT changelog, 9.0 EA

__all__ = ["Finding", "check_graph", "check_onnx"]


def check_onnx(path: Path, target: Target) -> list[Finding]:
    """Every rule on every node of a file; weights in other files are not opened.

    Raises:
        PreflightError: not a readable ONNX file.
    """
    with reading(path):
        file_bytes = path.stat().st_size
        if file_bytes > MAX_BYTES:  # protobuf itself reads no more
            why = f"{file_bytes / 2**30:.1f} GiB; a parser reads at most 2 GiB"
            return [Finding("error", "size", "model", why, "take a smaller model")]
        model = onnx.load(str(path), load_external_data=False)
    with looking_into(model, path):
        return check_graph(Graph(model, file_bytes, path), target)


def check_graph(graph: Graph, target: Target) -> list[Finding]:
    """The rules on a model in memory; none for a target without TensorRT."""
    if target.release is None:
        return []
    functions.refuse_endless(graph.model)
    if graph.model.functions and target.release.number >= FUNCTIONS_FROM:  # it looks into them too
        graph = Graph(functions.inlined(graph.model), graph.file_bytes, graph.path)
    return [finding for rule in RULES for finding in rule(graph, target)]
