"""Explicit INT8: Q/DQ nodes where TensorRT wants them, with our own ranges.

Placed as NVIDIA's tools do: before the data and weight inputs of Conv and Gemm, and before the
skip input of a residual Add, so that Conv + Add still fuse. Weights per channel and stored as
float (TensorRT 8 refuses INT8 constants), bias float, zero points 0.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

from calibration.scales import LEVELS, SMALLEST_AMAX
from edgedistill.errors import QuantizeError
from edgedistill.run_folder import write_bytes


def qdq_from_onnx(path: Path, amax: dict[str, float], out_path: Path) -> dict[str, int]:
    """Write the INT8 twin of a float model.

    Args:
        path: float ONNX, opset 13.
        amax: {tensor: largest |x| kept}, from `amax_from_model`.
        out_path: file to write.

    Returns:
        How many activations and weights were quantized.

    Raises:
        QuantizeError: a tensor that needs a range has none.
    """
    model = onnx.load(str(path))
    writer = _Writer(model, amax)
    for node in list(model.graph.node):
        if node.op_type in ("Conv", "Gemm"):
            weight = writer.initializers.get(node.input[1])
            if weight is None:
                continue
            node.input[0] = writer.activation(node.input[0])
            transposed = any(a.name == "transB" and a.i for a in node.attribute)
            axis = 0 if node.op_type == "Conv" or transposed else 1
            node.input[1] = writer.weight(weight, axis)
        elif node.op_type == "Add":
            skip = writer.skip_input(node)
            if skip is not None:
                node.input[skip] = writer.activation(node.input[skip])
    writer.insert()
    onnx.checker.check_model(model)
    write_bytes(out_path, model.SerializeToString(deterministic=True))
    return {"activations": len(writer.activations), "weights": len(writer.weights)}


class _Writer:
    """Q/DQ pairs, one a tensor, put in front of the first node that reads them."""

    def __init__(self, model: onnx.ModelProto, amax: dict[str, float]):
        self.graph, self.amax = model.graph, amax
        self.initializers = {tensor.name: tensor for tensor in model.graph.initializer}
        self.producers = {name: node for node in model.graph.node for name in node.output}
        self.activations: dict[str, str] = {}
        self.weights: dict[str, str] = {}
        self._pairs: dict[str, list[onnx.NodeProto]] = {}

    def activation(self, name: str) -> str:
        """The quantized stand-in of an activation."""
        if name not in self.activations:
            if name not in self.amax:
                raise QuantizeError(
                    f"no calibrated range for tensor {name!r}; calibrate this very file"
                )
            scale = np.array(self.amax[name] / LEVELS, np.float32)
            self.activations[name] = self._pair(name, scale, None)
        return self.activations[name]

    def weight(self, tensor: onnx.TensorProto, axis: int) -> str:
        """The quantized stand-in of a weight, one scale an output channel."""
        if tensor.name not in self.weights:
            values = numpy_helper.to_array(tensor)
            others = tuple(i for i in range(values.ndim) if i != axis)
            largest = np.maximum(np.abs(values).max(axis=others), SMALLEST_AMAX)
            scale = (largest / LEVELS).astype(np.float32)
            self.weights[tensor.name] = self._pair(tensor.name, scale, axis)
        return self.weights[tensor.name]

    def skip_input(self, node: onnx.NodeProto) -> int | None:
        """Of a residual Add, the input that does not come straight from a Conv; None otherwise."""
        if any(name in self.initializers for name in node.input):
            return None
        from_conv = [
            getattr(self.producers.get(name), "op_type", "") == "Conv" for name in node.input
        ]
        if from_conv[0] and from_conv[1]:
            return 0
        if from_conv[0] or from_conv[1]:
            return 1 if from_conv[0] else 0
        return None

    def insert(self) -> None:
        """Put each pair right after what it reads: the graph stays topologically sorted."""
        nodes = list(self.graph.node)
        waiting = dict(self._pairs)
        ordered: list[onnx.NodeProto] = []
        for name in [name for name in waiting if name not in self.producers]:
            ordered += waiting.pop(name)  # inputs and weights
        for node in nodes:
            ordered.append(node)
            for name in node.output:
                ordered += waiting.pop(name, [])
        del self.graph.node[:]
        self.graph.node.extend(ordered)

    def _pair(self, name: str, scale: np.ndarray, axis: int | None) -> str:
        zero = np.zeros(scale.shape, np.int8)
        self.graph.initializer.extend([
            numpy_helper.from_array(scale, f"{name}_scale"),
            helper.make_tensor(f"{name}_zero_point", TensorProto.INT8, scale.shape, zero.ravel().tolist()),
        ])  # fmt: skip
        attributes = {} if axis is None else {"axis": axis}
        parameters = [f"{name}_scale", f"{name}_zero_point"]
        self._pairs[name] = [
            helper.make_node("QuantizeLinear", [name, *parameters], [f"{name}_q"],
                             name=f"{name}_QuantizeLinear", **attributes),
            helper.make_node("DequantizeLinear", [f"{name}_q", *parameters], [f"{name}_dq"],
                             name=f"{name}_DequantizeLinear", **attributes),
        ]  # fmt: skip
        return f"{name}_dq"
