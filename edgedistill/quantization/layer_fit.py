"""One INT8 Conv against the outputs of its float twin: its bias, and the rounding of its weights."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import onnx
from numpy.lib.stride_tricks import sliding_window_view

from edgedistill.quantization.node_session import NodeSession
from edgedistill.quantization.rounding import nearest, rounded

Values = list[np.ndarray]  # of one tensor, one array an image

SAMPLES = 16384  # output pixels, at most, that a rounding looks at, or
PIXELS_AN_INPUT = 16  # so many for each weight of an output; with fewer pixels a rounding learns the images by heart
STAY = (0.01, 0.1)  # tried of `rounded`


@dataclass(frozen=True)
class Fitted:
    """A Conv with weights on INT8 steps and a bias that takes up the mean difference of each output channel.

    Attributes:
        outputs: of it, one (1, O, H, W) an image.
        error: mean square of what differs on the images that judge.
    """

    weight: np.ndarray
    bias: np.ndarray
    outputs: Values
    error: float


class LayerFit:
    """The outputs that are wanted of a Conv, for the inputs that it will have in INT8.

    Every other image judges; roundings are made from those between. The bias takes all.
    """

    def __init__(self, node: onnx.NodeProto, conv: NodeSession, inputs: Values, wanted: Values):
        """
        Args:
            node: the Conv.
            conv: it without bias; runs [input, weight].
        """
        self._node, self._conv, self._inputs, self._wanted = node, conv, inputs, wanted
        self._mean = _channel_means(wanted)

    def corrected(self, weight: np.ndarray) -> Fitted:
        """With these weights, which are on their steps."""
        outputs = [self._conv.run([one, weight])[0] for one in self._inputs]
        bias = (self._mean - _channel_means(outputs)).astype(np.float32)
        outputs = [output + bias[:, np.newaxis, np.newaxis] for output in outputs]
        judged = list(zip(outputs, self._wanted, strict=True))[::2]
        error = float(np.mean([np.square(a - b).mean(dtype=np.float64) for a, b in judged]))
        return Fitted(weight, bias, outputs, error)

    def best(self, weight: np.ndarray) -> Fitted:
        """Of nearest rounding and those of `rounding`, the one with the least error; that, where pixels are few."""
        fits = [self.corrected(nearest(weight))]
        each, wanted = int(np.prod(weight.shape[1:])), self._wanted[1::2]
        if sum(one.shape[2] * one.shape[3] for one in wanted) >= PIXELS_AN_INPUT * each:
            moments, cross = _covariances(self._node, weight, self._inputs[1::2], wanted)
            flat = weight.reshape(cross.shape).astype(np.float64)
            for stay in STAY:
                fits.append(self.corrected(rounded(flat, moments, cross, stay).reshape(weight.shape)))
        return min(fits, key=lambda fit: fit.error)


def _channel_means(values: Values) -> np.ndarray:
    """(O,)"""
    return np.mean([one.mean(axis=(0, 2, 3), dtype=np.float64) for one in values], axis=0)


def _covariances(
    node: onnx.NodeProto, weight: np.ndarray, inputs: Values, wanted: Values
) -> tuple[np.ndarray, np.ndarray]:
    """(G, d, d) of the inputs of an output, (G, O, d) of the outputs with them."""
    patches, random = _Patches(node, weight), np.random.default_rng(0)
    each, outputs = int(np.prod(weight.shape[1:])), len(weight) // patches.groups
    count = max(SAMPLES, PIXELS_AN_INPUT * each) // len(inputs) + 1
    total, sums = 0, [np.zeros(1)] * 4
    for image, output in zip(inputs, wanted, strict=True):
        area = output.shape[2] * output.shape[3]
        pixels = np.arange(area) if area <= count else np.sort(random.choice(area, count, replace=False))
        x, y = patches.at(image, pixels), output.reshape(patches.groups, outputs, area)[:, :, pixels]
        turned = np.swapaxes(x, 1, 2)
        parts = (x @ turned, y @ turned, x.sum(axis=2), y.sum(axis=2))
        sums = [so_far + part.astype(np.float64) for so_far, part in zip(sums, parts, strict=True)]
        total += len(pixels)
    moments, cross, x, y = (part / total for part in sums)
    return moments - x[:, :, np.newaxis] * x[:, np.newaxis], cross - y[:, :, np.newaxis] * x[:, np.newaxis]


class _Patches:
    """The inputs that each output pixel of a Conv reads."""

    def __init__(self, node: onnx.NodeProto, weight: np.ndarray):
        given = {one.name: onnx.helper.get_attribute_value(one) for one in node.attribute}
        self._kernel = weight.shape[2:]
        self._strides = given.get("strides", [1, 1])
        self._dilations = given.get("dilations", [1, 1])
        self._pads = given.get("pads", [0, 0, 0, 0])
        self.groups = given.get("group", 1)

    def at(self, image: np.ndarray, pixels: np.ndarray) -> np.ndarray:
        """(1, C, H, W) -> (groups, inputs of an output, pixels)."""
        top, left, bottom, right = self._pads
        padded = np.pad(image[0], ((0, 0), (top, bottom), (left, right)))
        window = [(size - 1) * apart + 1 for size, apart in zip(self._kernel, self._dilations, strict=True)]
        seen = sliding_window_view(padded, window, axis=(1, 2))[:, :: self._strides[0], :: self._strides[1]]
        seen = seen[..., :: self._dilations[0], :: self._dilations[1]]
        rows, columns = np.unravel_index(pixels, seen.shape[1:3])
        return np.moveaxis(seen[:, rows, columns], 1, -1).reshape(self.groups, -1, len(pixels))
