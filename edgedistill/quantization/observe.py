"""Every tensor that needs a range, out of ONNX Runtime, several images at a time.

Not all have to be looked at. What only a ReLU reads may take the ReLU's range: the values that it
cuts off do no harm. The same holds for hard-sigmoid and hard-swish, which are flat on one side; a
reshape changes no value. Each tensor left out spares its copy and lets ONNX Runtime fuse.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from math import prod
from pathlib import Path
from types import TracebackType

import numpy as np
import onnx
import onnxruntime

from edgedistill.errors import QuantizeError

PIECE_BYTES = 24 << 20  # of the tensors looked at in one run of ONNX Runtime
_BOUNDED = {"Sigmoid": 1.0, "HardSigmoid": 1.0, "Softmax": 1.0}
_SAME_VALUES = {"Flatten", "Reshape", "Identity", "Squeeze", "Unsqueeze", "Transpose", "Dropout"}
# Operators that treat each image alike whatever the batch is, with weights and shapes that do not
# name the batch. A model with another one is run image by image.
_ANY_BATCH = {
    "Conv",
    "Relu",
    "Clip",
    "Add",
    "Mul",
    "Sub",
    "Div",
    "Sigmoid",
    "HardSigmoid",
    "HardSwish",
    "Gemm",
    "GlobalAveragePool",
    "AveragePool",
    "MaxPool",
    "ReduceMean",
    "Concat",
    "Flatten",
    "BatchNormalization",
}


@dataclass(frozen=True)
class Plan:
    """Where each float tensor's range comes from.

    Attributes:
        observed: tensors to look at, the input first.
        same_as: tensor -> (the one whose range it takes, the least that it needs).
        bounded: tensor -> a range that loses nothing.
        shapes: tensor -> shape with a batch of 1.
    """

    observed: tuple[str, ...]
    same_as: dict[str, tuple[str, float]]
    bounded: dict[str, float]
    shapes: dict[str, tuple[int, ...]]

    def spread(self, observed: dict[str, float]) -> dict[str, float]:
        """A range of each observed tensor -> one for every float tensor."""
        values = {**observed, **self.bounded}
        waiting = dict(self.same_as)
        while waiting:
            ready = [name for name, (source, _) in waiting.items() if source in values]
            if not ready:
                name = next(iter(waiting))
                raise QuantizeError(f"no range for tensor {name!r}: {waiting[name][0]!r} has none")
            for name in ready:
                source, least = waiting.pop(name)
                values[name] = max(values[source], least)
        return values


def plan_of(model: onnx.ModelProto) -> Plan:
    """Sort the model's input and float activations; `model` has its shapes inferred."""
    graph = model.graph
    types = {value.name: value.type.tensor_type for value in (*graph.input, *graph.value_info, *graph.output)}
    readers: dict[str, list[onnx.NodeProto]] = {}
    for node in graph.node:
        for name in node.input:
            readers.setdefault(name, []).append(node)
    outputs = {value.name for value in graph.output}
    observed, same_as, bounded = [graph.input[0].name], {}, {}
    for node in graph.node:
        for name in node.output:
            if name not in types or types[name].elem_type != onnx.TensorProto.FLOAT:
                continue
            reading = [] if name in outputs else readers.get(name, [])
            source = _source(name, reading)
            if node.op_type in _SAME_VALUES:
                same_as[name] = (node.input[0], 0.0)
            elif node.op_type in _BOUNDED:
                bounded[name] = _BOUNDED[node.op_type]
            elif source is not None:
                same_as[name] = source
            elif [reader.op_type for reader in reading] == ["HardSigmoid"]:
                bounded[name] = _flat_from(reading[0])
            else:
                observed.append(name)
    shapes = {name: tuple(dim.dim_value for dim in kind.shape.dim) for name, kind in types.items()}
    return Plan(tuple(observed), same_as, bounded, shapes)


def _source(name: str, reading: list[onnx.NodeProto]) -> tuple[str, float] | None:
    """The output whose range a tensor may take: of its only ReLU, or of its hard-swish."""
    kinds = sorted(reader.op_type for reader in reading)
    if kinds in (["Relu"], ["Clip"]):
        return reading[0].output[0], 0.0
    if kinds == ["HardSigmoid", "Mul"]:
        gate, product = sorted(reading, key=lambda reader: reader.op_type)
        if set(product.input) == {name, gate.output[0]}:
            return product.output[0], _flat_from(gate)
    return None


def _flat_from(node: onnx.NodeProto) -> float:
    """|x| from which a HardSigmoid is 0 or 1 on both sides."""
    given = {attribute.name: attribute.f for attribute in node.attribute}
    alpha, beta = given.get("alpha", 0.2), given.get("beta", 0.5)
    return max(beta, 1 - beta) / alpha


class Observer:
    """`with Observer(model, plan) as observer: observer.run(images)`.

    Attributes:
        piece: images that one run takes.
    """

    def __init__(self, model: onnx.ModelProto, plan: Plan, threads: int = 0):
        self._threads = threads
        self._source = model.graph.input[0].name
        self._names = [name for name in plan.observed if name != self._source]
        any_batch = {node.op_type for node in model.graph.node} <= _ANY_BATCH
        bytes_each = 4 * sum(prod(plan.shapes[name]) for name in plan.observed)
        self.piece = max(1, min(16, PIECE_BYTES // max(1, bytes_each))) if any_batch else 1
        self._model = _exposed(model, self._names, any_batch)

    def __enter__(self) -> Observer:
        options = onnxruntime.SessionOptions()
        options.log_severity_level = 3
        options.intra_op_num_threads = self._threads
        self._session = onnxruntime.InferenceSession(
            self._model.SerializeToString(), options, providers=["CPUExecutionProvider"]
        )
        return self

    def __exit__(self, kind: type | None, error: BaseException | None, trace: TracebackType | None) -> None:
        del self._session

    def run(self, images: np.ndarray) -> dict[str, np.ndarray]:
        """(n, 3, H, W) float32, n up to `piece` -> every observed tensor, each (n, ...)."""
        tensors = self._session.run(self._names, {self._source: images})
        return {self._source: images, **dict(zip(self._names, tensors, strict=True))}

    def stream(self, image: Callable[[int], np.ndarray], parts: Iterable[range]) -> Iterator[dict[str, np.ndarray]]:
        """`run` on the images at these positions, one part ahead of the consumer of the results."""

        def part(positions: range) -> dict[str, np.ndarray]:
            return self.run(np.concatenate([image(position) for position in positions]))

        waiting: deque[Future[dict[str, np.ndarray]]] = deque()
        with ThreadPoolExecutor(1, thread_name_prefix="observe") as pool:
            for positions in parts:
                waiting.append(pool.submit(part, positions))
                if len(waiting) > 1:
                    yield waiting.popleft().result()
            while waiting:
                yield waiting.popleft().result()


def shaped(path: Path) -> onnx.ModelProto:
    """The model with the shape of every tensor."""
    return onnx.shape_inference.infer_shapes(onnx.load(str(path)))


def pieces(total: int, start: int, size: int) -> Iterator[range]:
    """Positions from `start` to `total` in runs of at most `size`."""
    for first in range(start, total, size):
        yield range(first, min(first + size, total))


def _exposed(model: onnx.ModelProto, names: list[str], any_batch: bool) -> onnx.ModelProto:
    exposed = onnx.ModelProto()
    exposed.CopyFrom(model)
    graph = exposed.graph
    infos = {value.name: value for value in (*model.graph.value_info, *model.graph.output)}
    del graph.output[:], graph.value_info[:]
    graph.output.extend([infos[name] for name in names])
    if any_batch:
        for value in (graph.input[0], *graph.output):
            value.type.tensor_type.shape.dim[0].dim_param = "images"
    return exposed
