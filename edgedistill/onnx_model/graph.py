"""Parameters and multiply-accumulates of an ONNX file, from its own shapes."""

from __future__ import annotations

from collections.abc import Callable
from math import prod
from pathlib import Path

import onnx

from edgedistill.onnx_model.findings import attribute


def count(path: Path) -> dict[str, int]:
    """parameters: elements of float initializers; macs: of convolutions, Gemm and MatMul, one image."""
    model = onnx.shape_inference.infer_shapes(onnx.load(str(path)))
    graph = model.graph
    weights = {init.name: tuple(init.dims) for init in graph.initializer}
    shapes = dict(weights)
    for value in (*graph.value_info, *graph.input, *graph.output):
        shapes[value.name] = tuple(dim.dim_value for dim in value.type.tensor_type.shape.dim)
    floats = (onnx.TensorProto.FLOAT, onnx.TensorProto.FLOAT16)
    return {
        "parameters": sum(prod(i.dims) for i in graph.initializer if i.data_type in floats),
        "macs": sum(macs_of(node, shapes.__getitem__) for node in graph.node),
    }


def macs_of(node: onnx.NodeProto, shape: Callable[[str], tuple[int, ...]]) -> int:
    """Multiply-accumulates of one node; 0 of one that has none.

    Args:
        shape: of a tensor by its name.
    """
    if node.op_type == "Conv":
        # (N, K, H, W) outputs, each a sum over C/groups x kernel: that is the weight's shape.
        return prod(shape(node.output[0])) * prod(shape(node.input[1])[1:])
    if node.op_type == "ConvTranspose":
        return prod(shape(node.input[0])) * prod(shape(node.input[1])[1:])
    if node.op_type == "Gemm":
        flipped = attribute(node, "transA", 0)
        return prod(shape(node.output[0])) * shape(node.input[0])[0 if flipped else 1]
    if node.op_type == "MatMul":
        return prod(shape(node.output[0])) * shape(node.input[0])[-1]
    return 0
