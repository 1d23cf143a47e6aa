"""Will the board's runtime take this ONNX file? Known before anything is copied there.

TensorRT's rules come from the importers' source, not from a run of the board's parser: passing them is no
proof. docs/onnx.md lists them. What another runtime refuses is for its own backend to say.
"""

from __future__ import annotations

from pathlib import Path

import onnx

from edgedistill.config.target import Target
from edgedistill.onnx_model import sort
from edgedistill.onnx_model.backends import backend_of
from edgedistill.onnx_model.findings import Finding, Graph, looking_into, reading
from edgedistill.onnx_model.rules.tensors import MAX_BYTES

__all__ = ["Finding", "check_onnx"]


def check_onnx(path: Path, target: Target) -> list[Finding]:
    """What the target's backend says of a file: TensorRT, every rule on every node; weights elsewhere are not opened.

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
        in_order = sort.sorted_model(model) or model  # ONNX's shape inference follows the order; a cycle is `schema`'s
        return backend_of(target).findings(Graph(in_order, file_bytes, path), target)
