"""A network as the latency model sees it: sums over its kernels, one number for each constant."""

from __future__ import annotations

import csv
from dataclasses import dataclass, fields
from functools import cache
from importlib import resources
from pathlib import Path

STORED = "features.csv"


@dataclass(frozen=True)
class Features:
    """Sums over the fused kernels of one network, for one image.

    Attributes:
        dense3x3_macs: multiply-accumulates of 3x3 convolutions of stride 1.
        dense_macs: of other convolutions that are neither 1x1 nor depthwise.
        pointwise_macs: of 1x1 convolutions.
        gemm_macs: of fully connected layers.
        matmul_macs: of products of two activations.
        moved: elements read and written by all of these, weights too.
        depthwise_moved: elements read and written by depthwise convolutions.
        other_moved: elements read and written by all other kernels.
        kernels: launches.
        parameters: elements of constants, for the memory model.
        peak: elements read and written by the largest kernel, for the memory model.
    """

    dense3x3_macs: float
    dense_macs: float
    pointwise_macs: float
    gemm_macs: float
    matmul_macs: float
    moved: float
    depthwise_moved: float
    other_moved: float
    kernels: float
    parameters: float
    peak: float

    @property
    def macs(self) -> float:
        """Without those of depthwise convolutions, whose time their memory decides."""
        return self.dense3x3_macs + self.dense_macs + self.pointwise_macs + self.gemm_macs + self.matmul_macs


NAMES = tuple(field.name for field in fields(Features))


def features_from_file(path: Path) -> Features:
    """
    Raises:
        PreflightError: not a readable ONNX file, or shapes that are not static.
    """
    from edgedistill.prediction.kernels import COMPUTING, Kernel, kernels_from_file

    kernels = kernels_from_file(path)

    def macs(*kinds: str) -> int:
        return sum(kernel.macs for kernel in kernels if kernel.kind in kinds)

    def moved(group: list[Kernel]) -> int:
        return sum(kernel.moved + kernel.weights for kernel in group)

    computing = [k for k in kernels if k.kind in COMPUTING and k.kind != "depthwise"]
    depthwise = [k for k in kernels if k.kind == "depthwise"]
    other = [k for k in kernels if k.kind not in COMPUTING]
    return Features(
        macs("dense3x3"),
        macs("dense", "grouped"),
        macs("pointwise"),
        macs("gemm"),
        macs("matmul"),
        moved(computing),
        moved(depthwise),
        moved(other),
        len(kernels),
        sum(k.weights for k in kernels),
        max(k.moved for k in kernels),
    )


@cache
def catalogue() -> dict[tuple[str, int], dict[int, Features]]:
    """(network, image_px) -> number of classes -> features, as `predict.catalogue` counted them."""
    text = (resources.files("edgedistill.prediction") / STORED).read_text(encoding="utf-8")
    networks: dict[tuple[str, int], dict[int, Features]] = {}
    for row in csv.DictReader(text.splitlines()):
        features = Features(*(float(row[name]) for name in NAMES))
        place = networks.setdefault((row["network"], int(row["image_px"])), {})
        place[int(row["classes"])] = features
    return networks


def with_classes(counted: dict[int, Features], classes: int) -> Features:
    """Features for another number of classes: all of them grow in proportion to it."""
    if classes in counted:
        return counted[classes]
    (low, first), (high, last) = sorted(counted.items())
    share = (classes - low) / (high - low)
    pairs = ((getattr(first, name), getattr(last, name)) for name in NAMES)
    return Features(*(a + share * (b - a) for a, b in pairs))
