"""One node of a graph in ONNX Runtime."""

from __future__ import annotations

from types import TracebackType

import numpy as np
import onnx
import onnxruntime


class NodeSession:
    """`with NodeSession(node, model, inputs) as one: one.run(arrays)`."""

    def __init__(
        self,
        node: onnx.NodeProto,
        model: onnx.ModelProto,
        inputs: list[str],
        types: dict[str, int],
        stored: dict[str, onnx.TensorProto],
    ):
        """
        Args:
            model: whose opset it is of.
            inputs: those that `run` is given, in its order, each once.
            types: element type of a tensor, where it is not float32.
            stored: the other inputs.
        """
        self._inputs = inputs

        def values(names: list[str]) -> list[onnx.ValueInfoProto]:
            return [
                onnx.helper.make_tensor_value_info(name, types.get(name, onnx.TensorProto.FLOAT), None)
                for name in names
            ]

        outputs = [name for name in node.output if name]
        constants = [stored[name] for name in dict.fromkeys(node.input) if name in stored]
        graph = onnx.helper.make_graph([node], "one", values(inputs), values(outputs), constants)
        self._model = onnx.helper.make_model(graph, opset_imports=model.opset_import, ir_version=model.ir_version)

    def __enter__(self) -> NodeSession:
        options = onnxruntime.SessionOptions()
        options.log_severity_level = 3
        self._session = onnxruntime.InferenceSession(
            self._model.SerializeToString(), options, providers=["CPUExecutionProvider"]
        )
        return self

    def __exit__(self, kind: type | None, error: BaseException | None, trace: TracebackType | None) -> None:
        del self._session

    def run(self, given: list[np.ndarray]) -> list[np.ndarray]:
        """Every output."""
        return self._session.run(None, dict(zip(self._inputs, given, strict=True)))
