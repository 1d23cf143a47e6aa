"""The graph of a network without the values of its weights: for counting what it costs, not for running it.

A traced network computes some of its shapes (`Shape`, `Gather`, `Concat`, ...) from that of its input, which is static;
they are replaced by their values, so that every tensor's shape is known.
"""

from __future__ import annotations

import numpy as np
import onnx
import torch
from onnx import numpy_helper
from onnx.reference import ReferenceEvaluator
from torch import nn

from edgedistill.onnx_model.export import OPSET, exported

_OPSET_OF_ATTENTION = 14  # the first that PyTorch's attention has a form in
_LARGEST = 4096  # elements; a larger tensor is no shape


def structure_of(model: nn.Module, image: torch.Tensor) -> onnx.ModelProto:
    """Every node and every shape; weights are initializers without data.

    Args:
        model: in eval mode; its weights are not read.
        image: (N, 3, H, W) float32, of any values.

    Raises:
        ExportError: the exporter cannot write this model.
    """
    attention = any(isinstance(module, nn.MultiheadAttention) for module in model.modules())
    fast_path = torch.backends.mha.get_fastpath_enabled()
    torch.backends.mha.set_fastpath_enabled(False)  # its operator has no form in any
    try:
        with torch.no_grad():
            proto = exported(model, image, False, _OPSET_OF_ATTENTION if attention else OPSET)
    finally:
        torch.backends.mha.set_fastpath_enabled(fast_path)
    weights = list(proto.graph.input)[1:]
    del proto.graph.input[1:]
    for weight in weights:
        kind = weight.type.tensor_type
        dims = [dim.dim_value for dim in kind.shape.dim]
        proto.graph.initializer.append(onnx.TensorProto(name=weight.name, data_type=kind.elem_type, dims=dims))
    return with_static_shapes(proto)


def with_static_shapes(model: onnx.ModelProto) -> onnx.ModelProto:
    """Return the model with its shapes inferred; what depends on values that are not there keeps its nodes."""
    values: dict[str, np.ndarray] = {}
    pending = _shape_arithmetic(model.graph)
    while True:
        model = onnx.shape_inference.infer_shapes(model, data_prop=True)
        shapes, count = _static_shapes(model.graph), len(values)
        for node in model.graph.node:
            if node.output and node.output[0] in pending and node.output[0] not in values:
                value = _value_of(node, shapes, values)
                if value is not None:
                    values[node.output[0]] = value
                    node.CopyFrom(
                        onnx.helper.make_node("Constant", [], node.output[:1], value=numpy_helper.from_array(value))
                    )
        if len(values) == count:
            return model


def _shape_arithmetic(graph: onnx.GraphProto) -> set[str]:
    """Names of the tensors that depend on nothing but shapes and constants."""
    known: set[str] = set()
    for node in graph.node:
        inputs = [name for name in node.input if name]
        if len(node.output) == 1 and (
            node.op_type in ("Constant", "Shape") or (inputs and all(name in known for name in inputs))
        ):
            known.add(node.output[0])
    return known


def _value_of(
    node: onnx.NodeProto, shapes: dict[str, tuple[int, ...]], values: dict[str, np.ndarray]
) -> np.ndarray | None:
    if node.op_type == "Constant":
        return numpy_helper.to_array(node.attribute[0].t) if node.attribute[0].name == "value" else None
    if node.op_type == "Shape":
        return np.array(shapes[node.input[0]], np.int64) if node.input[0] in shapes else None
    inputs = [name for name in node.input if name]
    if not all(name in values for name in inputs):
        return None
    (value,) = ReferenceEvaluator(node).run(None, {name: values[name] for name in inputs})
    return np.asarray(value) if np.size(value) <= _LARGEST else None


def _static_shapes(graph: onnx.GraphProto) -> dict[str, tuple[int, ...]]:
    shapes = {tensor.name: tuple(tensor.dims) for tensor in graph.initializer}
    for value in (*graph.input, *graph.value_info, *graph.output):
        tensor = value.type.tensor_type
        if tensor.HasField("shape") and all(dim.HasField("dim_value") for dim in tensor.shape.dim):
            shapes[value.name] = tuple(dim.dim_value for dim in tensor.shape.dim)
    return shapes
