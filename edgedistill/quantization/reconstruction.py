"""Layer by layer through the INT8 network beside the float one: biases and weights that make up for the error so far.

Both networks run node by node in ONNX Runtime on the same calibration images, and only what is still to be read is
kept. Each INT8 Conv is given the inputs that it will have, errors of the layers before it included, and is changed so
that its output comes close to the float one's: its bias takes up the mean difference of each channel and, if asked
for, its weights are rounded for the least difference.

Source: Nagel et al. 2019, arXiv:1906.04721 (bias correction); Nagel et al. 2020, arXiv:2004.10568 (inputs with the
errors of earlier layers, outputs of the float network).
"""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import numpy as np
import onnx
from onnx import numpy_helper

from edgedistill.quantization.layer_fit import LayerFit, Values
from edgedistill.quantization.node_session import NodeSession
from edgedistill.quantization.observe import shaped
from edgedistill.quantization.rounding import nearest


def reconstructed(path: Path, int8: Path, images: np.ndarray, rounding: bool) -> onnx.ModelProto:
    """The float model with the biases, and the weights, that serve INT8 best.

    Args:
        path: float ONNX.
        int8: the Q/DQ file made of it.
        images: (n, 3, H, W) float32 calibration images.
        rounding: whether weights are changed too. They are then exact steps: to round them again changes nothing.
    """
    return _Walk(shaped(path), shaped(int8), rounding).run(images)


class _Walk:
    """Both graphs at once: each node of the float one stands in the INT8 one with its outputs' names."""

    def __init__(self, model: onnx.ModelProto, int8: onnx.ModelProto, rounding: bool):
        self._model, self._int8, self._rounding = model, int8, rounding
        self._stored = {tensor.name: tensor for one in (int8, model) for tensor in one.graph.initializer}
        self._float = {node.output[0]: node for node in model.graph.node}
        self._types = {
            value.name: value.type.tensor_type.elem_type
            for one in (model, int8)
            for value in (*one.graph.input, *one.graph.value_info, *one.graph.output)
        }
        self._readers = Counter(name for node in model.graph.node for name in node.input if name)
        self._changed: dict[str, np.ndarray] = {}

    def run(self, images: np.ndarray) -> onnx.ModelProto:
        exact: dict[str, Values] = {self._model.graph.input[0].name: list(images[:, np.newaxis])}
        noisy = dict(exact)
        unread = [Counter(name for node in one.graph.node for name in node.input) for one in (self._model, self._int8)]
        for node in self._int8.graph.node:
            if not any(name in noisy for name in node.input):
                continue  # a weight's own Q and DQ
            twin = self._float.get(node.output[0])
            if twin is not None:
                self._run(twin, exact)
            if twin is not None and node.op_type == "Conv" and node.input[1] not in self._stored:
                noisy[node.output[0]] = self._fitted(twin, noisy[node.input[0]], exact[node.output[0]])
            else:
                self._run(node, noisy)
            _forget(exact, unread[0], twin)
            _forget(noisy, unread[1], node)
        return self._result()

    def _run(self, node: onnx.NodeProto, values: dict[str, Values]) -> None:
        names = [name for name in dict.fromkeys(node.input) if name in values]
        with NodeSession(node, self._model, names, self._types, self._stored) as one:
            outputs = [one.run(list(given)) for given in zip(*(values[name] for name in names), strict=True)]
        for place, name in enumerate(name for name in node.output if name):
            values[name] = [output[place] for output in outputs]

    def _fitted(self, node: onnx.NodeProto, inputs: Values, wanted: Values) -> Values:
        """Set this Conv's bias and weight; its outputs with them."""
        weight = numpy_helper.to_array(self._stored[node.input[1]])
        bare = onnx.NodeProto()
        bare.CopyFrom(node)
        bare.input[:] = ["x", "w"]
        with NodeSession(bare, self._model, ["x", "w"], self._types, {}) as conv:
            fit = LayerFit(node, conv, inputs, wanted)
            found = fit.best(weight) if self._rounding else fit.corrected(nearest(weight))
        if self._rounding:
            self._changed[node.input[1]] = found.weight
        if len(node.input) < 3 or self._readers[node.input[2]] > 1:  # torch's exporter merges equal biases
            node.input[2:] = [f"{node.output[0]}_bias"]
        self._changed[node.input[2]] = found.bias
        return found.outputs

    def _result(self) -> onnx.ModelProto:
        """The float model with what was changed; its nodes may have got a bias on the way."""
        stored = self._model.graph.initializer
        for tensor in stored:
            if tensor.name in self._changed:
                tensor.CopyFrom(numpy_helper.from_array(self._changed.pop(tensor.name), tensor.name))
        stored.extend(numpy_helper.from_array(values, name) for name, values in self._changed.items())
        return self._model


def _forget(values: dict[str, Values], unread: Counter[str], node: onnx.NodeProto | None) -> None:
    """Drop the tensors that nobody reads after this node."""
    for name in node.input if node is not None else ():
        unread[name] -= 1
        if not unread[name]:
            values.pop(name, None)
