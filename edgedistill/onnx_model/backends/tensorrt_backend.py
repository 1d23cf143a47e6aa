"""TensorRT: the rules of the release that the board has, and a TensorRT of this computer to compile with."""

from __future__ import annotations

from typing import TYPE_CHECKING

from edgedistill.config.target import Target
from edgedistill.onnx_model.backends import Backend

if TYPE_CHECKING:
    from edgedistill.onnx_model.findings import Finding, Graph

FUNCTIONS_FROM = (10,)  # a model's own functions: ONNX-TensorRT changelog, 9.0 EA


class TensorRT(Backend):
    name, title = "tensorrt", "TensorRT"
    stand_in = False

    def findings(self, graph: Graph, target: Target) -> list[Finding]:
        """Of every rule; none where the target names no release."""
        from edgedistill.onnx_model import functions
        from edgedistill.onnx_model.findings import Graph
        from edgedistill.onnx_model.rules import RULES

        if target.release is None:
            return []
        functions.refuse_endless(graph.model)
        if graph.model.functions and target.release.number >= FUNCTIONS_FROM:  # it looks into them too
            graph = Graph(functions.inlined(graph.model), graph.file_bytes, graph.path)
        return [finding for rule in RULES for finding in rule(graph, target)]

    def basis(self, target: Target) -> str:
        """The sources that the rules of this release were read from."""
        return f"rules read from {target.release.source}" if target.release else "no rules"

    def release_of(self, target: Target) -> str:
        return f"TensorRT {target.tensorrt}"

    def why_not(self, target: Target, requested: str, served: str) -> str:
        return (
            f"{target.title} has no {requested.upper()} hardware (sm_{target.sm}); TensorRT would accept "
            f"the request and run slower, so it is served as {served.upper()}"
        )


BACKEND = TensorRT()
