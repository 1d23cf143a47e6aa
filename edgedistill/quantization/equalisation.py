"""Cross-layer equalisation: channels of one tensor are brought to like ranges, and the float network stays what it is.

A factor a channel goes into the weights of the Conv that makes the channel, and its inverse into those of the layers
that read it. Between the two may stand only what passes a positive factor through unchanged: ReLU, pooling, the sum of
a residual branch (whose tensors then share the factors), the product with a gate of squeeze-and-excitation. Not ReLU6
and other Clips: scaled by s they would have to clip at 6 s, one value a channel, which TensorRT has not fused; nor
hard-swish, SiLU, sigmoid. Factors are powers of two, so that every product and sum of the float network is scaled
exactly and its outputs are the same bits, short of overflow and of subnormal numbers.

Weights have one scale an output channel, which takes up any factor of the layer that makes a channel. So what is
weighed is the noise of the tensor itself, whose one scale all channels share, against the noise of the weights that
read it.

Source: Nagel et al. 2019, arXiv:1906.04721 (equalisation through ReLU); Xiao et al. 2022, arXiv:2211.10438 (ranges of
activations against those of weights).
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from itertools import product

import numpy as np
import onnx
from onnx import numpy_helper

from edgedistill.quantization.observe import Observer, plan_of
from edgedistill_calibration.scales import LEVELS

SHIFT = 5  # a channel is scaled by 2**SHIFT at most, either way: others than the calibration images reach further
EXPONENTS = (0.0, 0.25, 0.5, 0.75, 1.0)
_PASSES = {"Relu", "MaxPool", "AveragePool", "GlobalAveragePool"}


@dataclass
class Group:
    """Tensors that share one factor a channel.

    Attributes:
        producers: Convs that make them.
        consumers: Convs and Gemms that read them.
        fixed: something else makes or reads one, so that nothing may be scaled.
    """

    producers: list[onnx.NodeProto] = field(default_factory=list)
    consumers: list[onnx.NodeProto] = field(default_factory=list)
    fixed: bool = False


@dataclass
class Statistics:
    """Of a tensor's channels: largest |x| and mean of the squares, both (C,)."""

    largest: np.ndarray
    power: np.ndarray


def equalised(model: onnx.ModelProto, images: np.ndarray) -> tuple[onnx.ModelProto, int]:
    """The same network with scaled channels.

    Args:
        model: float, with its shapes.
        images: (n, 3, H, W) float32 calibration images.

    Returns:
        A copy, and how many channels in it are scaled.
    """
    scaled = onnx.ModelProto()
    scaled.CopyFrom(model)
    weights = {tensor.name: numpy_helper.to_array(tensor).copy() for tensor in scaled.graph.initializer}
    groups = groups_of(scaled)
    read = {node.input[0] for group in groups for node in group.consumers if node.op_type == "Conv"}
    statistics = statistics_of(model, sorted(read), images)
    channels = 0
    for group in groups:
        shifts = _shifts(group, weights, statistics)
        if shifts is not None and shifts.any():
            _scale(group, weights, np.exp2(shifts))
            channels += int((shifts != 0).sum())
    for tensor in scaled.graph.initializer:
        tensor.CopyFrom(numpy_helper.from_array(weights[tensor.name], tensor.name))
    return scaled, channels


def groups_of(model: onnx.ModelProto) -> list[Group]:
    """The groups that may be scaled, in the order of the graph; `model` has its shapes."""
    graph = model.graph
    shapes = plan_of(model).shapes
    stored = {tensor.name for tensor in graph.initializer}
    uses: dict[str, int] = {}
    for node in graph.node:
        for name in node.input:
            uses[name] = uses.get(name, 0) + 1
    joined = _Joined()
    fixed = {value.name for value in (*graph.input, *graph.output)}
    for node in graph.node:
        fixed |= _join(node, joined, shapes, stored, uses)
    groups: dict[str, Group] = {}
    for node in graph.node:
        if node.op_type in ("Conv", "Gemm") and node.input[1] in stored:
            groups.setdefault(joined.root(node.input[0]), Group()).consumers.append(node)
        if node.op_type == "Conv" and node.input[1] in stored:
            groups.setdefault(joined.root(node.output[0]), Group()).producers.append(node)
    for name in fixed:
        groups.setdefault(joined.root(name), Group()).fixed = True
    return [group for group in groups.values() if not group.fixed and group.producers and group.consumers]


class _Joined:
    """Tensors with the same factors, as sets that grow together."""

    def __init__(self) -> None:
        self._parent: dict[str, str] = {}

    def root(self, name: str) -> str:
        while name in self._parent:
            name = self._parent[name]
        return name

    def join(self, *names: str) -> None:
        first = self.root(names[0])
        for name in names[1:]:
            other = self.root(name)
            if other != first:
                self._parent[other] = first


def _join(
    node: onnx.NodeProto, joined: _Joined, shapes: dict[str, tuple[int, ...]], stored: set[str], uses: dict[str, int]
) -> set[str]:
    """Join what a node passes factors through; return the tensors that it fixes."""
    every = {*node.input, *node.output} - stored
    shape = shapes.get(node.input[0], ()) if node.input else ()
    if node.op_type == "Conv" and node.input[1] in stored:
        alone = all(name in stored and uses[name] == 1 for name in node.input[1:])
        return set() if alone and len(shape) == 4 else every
    if node.op_type == "Gemm" and node.input[1] in stored and uses[node.input[1]] == 1 and not _given(node, "transA"):
        return {node.output[0], *node.input[2:]} - stored
    if node.op_type in _PASSES or (node.op_type == "ReduceMean" and _over_pixels(node)):
        joined.join(node.input[0], node.output[0])
        return set()
    if node.op_type == "Flatten" and shape[2:] == (1, 1) and _given(node, "axis", 1) == 1:
        joined.join(node.input[0], node.output[0])
        return set()
    pair = [shapes.get(name, ()) for name in node.input]
    if node.op_type == "Add" and len(every) == 3 and pair[0] == pair[1]:
        joined.join(*node.input, node.output[0])
        return set()
    if node.op_type == "Mul" and len(every) == 3 and pair[0][:2] == pair[1][:2] and pair[0] != pair[1]:
        gates = [name for name, dims in zip(node.input, pair, strict=True) if dims[2:] == (1, 1)]
        if len(gates) == 1:
            joined.join(next(name for name in node.input if name != gates[0]), node.output[0])
            return set(gates)
    return every


def _over_pixels(node: onnx.NodeProto) -> bool:
    axes = _given(node, "axes", ())
    return {axis % 4 for axis in axes} == {2, 3} and _given(node, "keepdims", 1) == 1


def _given(node: onnx.NodeProto, name: str, absent=0):
    """Value of an attribute."""
    return next((onnx.helper.get_attribute_value(one) for one in node.attribute if one.name == name), absent)


def statistics_of(model: onnx.ModelProto, names: list[str], images: np.ndarray) -> dict[str, Statistics]:
    """Of the channels of these tensors, over all images."""
    if not names:
        return {}  # ONNX Runtime runs nothing for no output
    plan = replace(plan_of(model), observed=(model.graph.input[0].name, *names))
    found: dict[str, Statistics] = {}
    with Observer(model, plan) as observer:
        for start in range(0, len(images), observer.piece):
            part = images[start : start + observer.piece]
            for name, values in observer.run(part).items():
                channels = np.moveaxis(values, 1, 0).reshape(values.shape[1], -1)
                largest, power = np.abs(channels).max(axis=1), np.square(channels).mean(axis=1) * len(part)
                if name in found:
                    largest, power = np.maximum(largest, found[name].largest), power + found[name].power
                found[name] = Statistics(largest, power)
    return {name: Statistics(one.largest, one.power / len(images)) for name, one in found.items()}


def _shifts(group: Group, weights: dict[str, np.ndarray], statistics: dict[str, Statistics]) -> np.ndarray | None:
    """The powers of two of least noise by the model below, (C,) int; None where no INT8 layer reads the group."""
    convs = [_Reader(node, weights, statistics) for node in group.consumers if node.op_type == "Conv"]
    if not convs:
        return None
    largest = np.max([conv.largest for conv in convs], axis=0)
    reach = np.max([conv.reach for conv in convs], axis=0)
    alive = (largest > 0) & (reach > 0)
    if not alive.any():
        return None
    best, least = np.zeros(len(largest)), sum(conv.noise(np.ones(len(largest))) for conv in convs)
    for alpha, beta in product(EXPONENTS, EXPONENTS):
        wanted = np.zeros(len(largest))
        wanted[alive] = beta * np.log2(reach[alive]) - alpha * np.log2(largest[alive] / largest.max())
        wanted[alive] -= np.median(wanted[alive])
        shifts = np.clip(np.rint(wanted), -SHIFT, SHIFT)
        noise = sum(conv.noise(np.exp2(shifts)) for conv in convs)
        if noise < least:
            best, least = shifts, noise
    # One factor for all changes no noise: the tensor reaches no further than before, for the sake of FP16.
    return best - np.ceil(np.log2((np.exp2(best) * largest).max() / largest.max()))


class _Reader:
    """A Conv that reads a group, and the noise that INT8 gives it."""

    def __init__(self, node: onnx.NodeProto, weights: dict[str, np.ndarray], statistics: dict[str, Statistics]):
        own = statistics[node.input[0]]
        self.largest, self._power = own.largest, own.power
        weight = weights[node.input[1]]
        self._taps = np.abs(weight).max(axis=(2, 3))
        self._squares = np.square(weight).sum(axis=(2, 3))
        self._of = channels_read(weight, len(self.largest))
        rows = np.maximum(self._taps.max(axis=1, keepdims=True), np.finfo(np.float32).tiny)
        self.reach = np.zeros(len(self.largest))
        np.maximum.at(self.reach, self._of, self._taps / rows)
        self._energy = np.zeros(len(self.largest))
        np.add.at(self._energy, self._of, self._squares)
        self._signal = max(float(self._energy @ self._power), np.finfo(np.float64).tiny)
        self._area = weight.shape[2] * weight.shape[3]

    def noise(self, factors: np.ndarray) -> float:
        """Of the rounding of activations and of weights, over the signal, were all channels independent."""
        step = (factors * self.largest).max() / LEVELS
        steps = (self._taps / factors[self._of]).max(axis=1) / LEVELS
        by_activations = step**2 * (self._energy / factors**2).sum()
        by_weights = (steps**2 * (factors**2 * self._power)[self._of].sum(axis=1)).sum() * self._area
        return float(by_activations + by_weights) / (12 * self._signal)


def channels_read(weight: np.ndarray, channels: int) -> np.ndarray:
    """Which input channel each weight of a Conv reads, (Cout, Cin / groups) int, whatever its groups are."""
    outputs, each = weight.shape[:2]
    groups = channels // each
    first = np.arange(outputs) // (outputs // groups) * each
    return first[:, np.newaxis] + np.arange(each)


def _scale(group: Group, weights: dict[str, np.ndarray], factors: np.ndarray) -> None:
    """Multiply what makes the channels, divide what reads them."""
    factors = factors.astype(np.float32)
    for node in group.producers:
        for name in node.input[1:]:
            weights[name] *= factors.reshape(-1, *[1] * (weights[name].ndim - 1))
    for node in group.consumers:
        weight = weights[node.input[1]]
        if node.op_type == "Gemm":
            weight /= factors if _given(node, "transB") else factors[:, np.newaxis]
        else:
            weight /= factors[channels_read(weight, len(factors))][:, :, np.newaxis, np.newaxis]
