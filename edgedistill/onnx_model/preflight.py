"""Will the board's TensorRT take this ONNX file? Known before anything is copied there.

The rules come from the importers' source, not from a run of the board's parser: passing them is no
proof. docs/onnx.md lists them.
"""

from __future__ import annotations

from pathlib import Path

import onnx

from edgedistill.errors import PreflightError
from edgedistill.onnx_model.findings import Finding, Graph
from edgedistill.onnx_model.rules import RULES
from edgedistill.onnx_model.rules.tensors import MAX_BYTES
from edgedistill.target import Target

__all__ = ["Finding", "check_graph", "check_onnx"]


def check_onnx(path: Path, target: Target) -> list[Finding]:
    """Every rule on every node of a file; weights in other files are not opened.

    Raises:
        PreflightError: not a readable ONNX file.
    """
    try:
        file_bytes = path.stat().st_size
        if file_bytes > MAX_BYTES:  # protobuf itself reads no more
            why = f"{file_bytes / 2**30:.1f} GiB; a parser reads at most 2 GiB"
            return [Finding("error", "size", "model", why, "take a smaller model")]
        model = onnx.load(str(path), load_external_data=False)
    except FileNotFoundError:
        raise PreflightError(f"{path}: no such file") from None
    except Exception as error:  # protobuf and OSError: both mean a bad file
        reason = " ".join(str(error).split())[:160] or type(error).__name__
        raise PreflightError(f"{path}: not a readable ONNX model: {reason}") from None
    if not model.graph.node:  # protobuf reads many a foreign file, an empty one too, as nothing
        raise PreflightError(f"{path}: not a readable ONNX model: it has no nodes")
    try:
        return check_graph(Graph(model, file_bytes, path), target)
    except (TypeError, ValueError, LookupError, AttributeError) as error:
        reason = " ".join(str(error).split())[:160]  # names that are no text, tensors without data
        raise PreflightError(f"{path}: a malformed ONNX model: {reason}") from error


def check_graph(graph: Graph, target: Target) -> list[Finding]:
    """The rules on a model in memory; none for a target without TensorRT."""
    if target.release is None:
        return []
    return [finding for rule in RULES for finding in rule(graph, target)]
