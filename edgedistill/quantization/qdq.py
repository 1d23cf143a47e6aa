"""Explicit INT8: Q/DQ nodes where TensorRT wants them, with our own ranges.

Placed as NVIDIA's tools do: before the data and weight inputs of Conv, and before the skip input of
a residual Add, so that Conv + Add still fuse. A Gemm of one image stays float, as in NVIDIA's
modelopt: it is a matrix times a vector, for which TensorRT has little INT8 to offer. The inputs of
a Concat share one scale, or it would have to rescale. Weights per channel, bias float, zero points 0.
TensorRT 8 refuses INT8 constants, so there a weight is stored as float with Q and DQ; from 10 on as
INT8 with DQ alone, a quarter of the bytes and the same arithmetic.
"""

from __future__ import annotations

from collections.abc import Collection
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

from edgedistill.core.files import write_bytes
from edgedistill.errors import QuantizeError
from edgedistill.quantization.rounding import scales_of
from edgedistill_calibration.scales import LEVELS


def qdq_from_onnx(
    path: Path,
    amax: dict[str, float],
    out_path: Path,
    keep_float: Collection[str] = (),
    int8_weights: bool = False,
    float_path: Path | None = None,
) -> dict[str, int]:
    """Write the INT8 twin of a float model.

    Args:
        path: float ONNX, opset 13.
        amax: {tensor: largest |x| kept}, as `ranges_from_model` finds it.
        out_path: file to write.
        keep_float: names of layers (their first output) that are left unquantized.
        int8_weights: store weights as INT8 with DQ alone, for TensorRT 10 and newer.
        float_path: ONNX file of the same nodes, from which a layer in `keep_float` takes its weights.

    Returns:
        How many activations and weights were quantized.

    Raises:
        QuantizeError: a tensor that needs a range has none.
    """
    model = onnx.load(str(path))
    if float_path is not None and float_path != path and keep_float:
        _take_weights(model.graph, onnx.load(str(float_path)).graph, keep_float)
    writer = _Writer(model, _shared_by_concat(model.graph, amax), int8_weights)
    for node in list(model.graph.node):
        if node.op_type == "Conv":
            weight = writer.initializers.get(node.input[1])
            if weight is None or node.output[0] in keep_float:
                continue
            node.input[0] = writer.activation(node.input[0])
            node.input[1] = writer.weight(weight)
        elif node.op_type == "Add":
            skip = writer.skip_input(node)
            if skip is not None:
                node.input[skip] = writer.activation(node.input[skip])
    writer.insert()
    onnx.checker.check_model(model)
    write_bytes(out_path, model.SerializeToString(deterministic=True))
    return {"activations": len(writer.activations), "weights": len(writer.weights)}


def layers_of(path: Path) -> list[str]:
    """The layers that `qdq_from_onnx` quantizes, by the name of their first output, in order."""
    graph = onnx.load(str(path), load_external_data=False).graph
    stored = {tensor.name for tensor in graph.initializer}
    return [node.output[0] for node in graph.node if node.op_type == "Conv" and node.input[1] in stored]


def _take_weights(graph: onnx.GraphProto, other: onnx.GraphProto, layers: Collection[str]) -> None:
    """Give these layers the weights that they have in another graph of the same nodes."""
    own = {tensor.name: tensor for tensor in graph.initializer}
    others = {tensor.name: tensor for tensor in other.initializer}
    twins = {node.output[0]: node for node in other.node}
    for node in graph.node:
        if node.output[0] in layers:
            twin = twins[node.output[0]]
            node.input[:] = twin.input  # without a bias that was added for INT8
            for name in twin.input:
                if name in own:
                    own[name].CopyFrom(others[name])


def _shared_by_concat(graph: onnx.GraphProto, amax: dict[str, float]) -> dict[str, float]:
    """`amax` with one range, the largest, for the inputs of each Concat and its output."""
    shared = dict(amax)
    for node in graph.node:
        if node.op_type == "Concat":
            names = [name for name in (*node.input, *node.output) if name in shared]
            largest = max((shared[name] for name in names), default=0.0)
            shared |= dict.fromkeys(names, largest)
    return shared


class _Writer:
    """Q/DQ pairs, one a tensor, put in front of the first node that reads them."""

    def __init__(self, model: onnx.ModelProto, amax: dict[str, float], int8_weights: bool):
        self.graph, self.amax, self._int8_weights = model.graph, amax, int8_weights
        self.initializers = {tensor.name: tensor for tensor in model.graph.initializer}
        self.producers = {name: node for node in model.graph.node for name in node.output}
        self.activations: dict[str, str] = {}
        self.weights: dict[str, str] = {}
        self._pairs: dict[str, list[onnx.NodeProto]] = {}

    def activation(self, name: str) -> str:
        """The quantized stand-in of an activation."""
        if name not in self.activations:
            if name not in self.amax:
                raise QuantizeError(f"no calibrated range for tensor {name!r}; calibrate this file")
            scale = np.array(self.amax[name] / LEVELS, np.float32)
            self.activations[name] = self._pair(name, scale, None)
        return self.activations[name]

    def weight(self, tensor: onnx.TensorProto) -> str:
        """The quantized stand-in of a Conv's weight, one scale an output channel."""
        if tensor.name not in self.weights:
            values = numpy_helper.to_array(tensor)
            scale = scales_of(values)
            self.weights[tensor.name] = self._pair(tensor.name, scale, 0)
            if self._int8_weights:
                self._store_int8(tensor, values, scale)
        return self.weights[tensor.name]

    def _store_int8(self, tensor: onnx.TensorProto, values: np.ndarray, scale: np.ndarray) -> None:
        """Do now what the Q node would do, and drop that node."""
        name = tensor.name
        steps = values / scale.reshape(-1, *[1] * (values.ndim - 1))
        rounded = np.clip(np.rint(steps), -LEVELS, LEVELS).astype(np.int8)
        self.graph.initializer.remove(tensor)
        self.graph.initializer.append(numpy_helper.from_array(rounded, f"{name}_q"))
        self._pairs[name] = self._pairs[name][1:]

    def skip_input(self, node: onnx.NodeProto) -> int | None:
        """Of a residual Add, the input that does not come straight from a Conv; None otherwise."""
        if any(name in self.initializers for name in node.input):
            return None
        from_conv = [getattr(self.producers.get(name), "op_type", "") == "Conv" for name in node.input]
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
        self.graph.initializer.extend(
            [
                numpy_helper.from_array(scale, f"{name}_scale"),
                helper.make_tensor(f"{name}_zero_point", TensorProto.INT8, scale.shape, zero.ravel().tolist()),
            ]
        )
        attributes: dict[str, Any] = {} if axis is None else {"axis": axis}
        parameters = [f"{name}_scale", f"{name}_zero_point"]
        self._pairs[name] = [
            helper.make_node(
                "QuantizeLinear", [name, *parameters], [f"{name}_q"], name=f"{name}_QuantizeLinear", **attributes
            ),
            helper.make_node(
                "DequantizeLinear",
                [f"{name}_q", *parameters],
                [f"{name}_dq"],
                name=f"{name}_DequantizeLinear",
                **attributes,
            ),
        ]
        return f"{name}_dq"
