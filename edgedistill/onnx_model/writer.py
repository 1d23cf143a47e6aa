"""Names and keeps the nodes and constants that take the place of one node."""

from __future__ import annotations

import itertools

import numpy as np
import onnx
from onnx import helper

from edgedistill.onnx_model.findings import Graph


class Writer:
    """Names the nodes and constants that take the place of one node."""

    def __init__(self, node: onnx.NodeProto, graph: Graph):
        self._stem, self._graph = node.output[0], graph
        self._kind = graph.types.get(node.input[0], onnx.TensorProto.FLOAT)
        self._number = itertools.count()
        self.nodes: list[onnx.NodeProto] = []

    def __call__(self, kind: str, *inputs: str, out: str | None = None, **attributes) -> str:
        name = out or f"{self._stem}/{kind}_{next(self._number)}"
        self.nodes.append(helper.make_node(kind, list(inputs), [name], name=name, **attributes))
        return name

    def constant(self, value: float, kind: int | None = None) -> str:
        """A scalar of that ONNX type; None: of the type of the node's first input."""
        name = f"{self._stem}/constant_{next(self._number)}"
        dtype = helper.tensor_dtype_to_np_dtype(kind or self._kind)
        return self._graph.store(name, np.array(value, dtype))

    def array(self, values: np.ndarray) -> str:
        """As it is given."""
        return self._graph.store(f"{self._stem}/constant_{next(self._number)}", values)
