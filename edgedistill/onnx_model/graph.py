"""Parameters and multiply-accumulates of an ONNX file, from its own shapes."""

from __future__ import annotations

from math import prod
from pathlib import Path

import onnx


def count(path: Path) -> dict[str, int]:
    """parameters: elements of float initializers; macs: of Conv, Gemm and MatMul, one image."""
    model = onnx.shape_inference.infer_shapes(onnx.load(str(path)))
    graph = model.graph
    weights = {init.name: tuple(init.dims) for init in graph.initializer}
    shapes = dict(weights)
    for value in (*graph.value_info, *graph.input, *graph.output):
        shapes[value.name] = tuple(dim.dim_value for dim in value.type.tensor_type.shape.dim)
    floats = (onnx.TensorProto.FLOAT, onnx.TensorProto.FLOAT16)
    return {
        "parameters": sum(prod(i.dims) for i in graph.initializer if i.data_type in floats),
        "macs": sum(_macs(node, shapes) for node in graph.node),
    }


def _macs(node: onnx.NodeProto, shapes: dict[str, tuple[int, ...]]) -> int:
    if node.op_type == "Conv":
        # (N, K, H, W) outputs, each a sum over C/groups x kernel: that is the weight's shape.
        return prod(shapes[node.output[0]]) * prod(shapes[node.input[1]][1:])
    if node.op_type == "Gemm":
        flipped = any(a.name == "transA" and a.i for a in node.attribute)
        left = shapes[node.input[0]]
        return prod(shapes[node.output[0]]) * left[0 if flipped else 1]
    if node.op_type == "MatMul":
        return prod(shapes[node.output[0]]) * shapes[node.input[0]][-1]
    return 0
