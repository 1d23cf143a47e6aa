"""A network as the latency model sees it: sums over its kernels, one number for each constant."""

from __future__ import annotations

import csv
from dataclasses import dataclass, fields
from functools import cache
from importlib import resources
from pathlib import Path
from typing import TYPE_CHECKING

from edgedistill.errors import RecipeError

if TYPE_CHECKING:
    from edgedistill.prediction.kernels import Kernel

STORED = "features.csv"
MOST_CLASSES = 1_000_000  # of a head: no data set comes near


@dataclass(frozen=True)
class Features:
    """Sums over the fused kernels of one network, for one image or for one batch.

    Attributes:
        dense3x3_macs: multiply-accumulates of 3x3 convolutions of stride 1.
        dense_macs: of other convolutions that are neither 1x1 nor grouped.
        pointwise_macs: of 1x1 convolutions.
        gemm_macs: of fully connected layers.
        matmul_macs: of products of two activations.
        moved: elements read and written by all of these, weights too.
        depthwise_moved: elements read and written by depthwise convolutions.
        other_moved: elements read and written by all other kernels.
        kernels: launches.
        parameters: elements of constants, for the memory model.
        peak: elements read and written by the largest kernel, for the memory model.
        grouped_macs: of convolutions in groups of several channels.
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
    grouped_macs: float = 0.0

    @property
    def macs(self) -> float:
        """Without those of depthwise convolutions, whose time their memory decides."""
        convolutions = self.dense3x3_macs + self.dense_macs + self.grouped_macs + self.pointwise_macs
        return convolutions + self.gemm_macs + self.matmul_macs

    def of_batch(self, images: int) -> Features:
        """The same network for a batch: all but the weights is needed once for each image."""
        return Features(
            **{name: images * getattr(self, name) for name in NAMES if name not in ("moved", "kernels", "parameters")},
            moved=images * (self.moved - self.parameters) + self.parameters,
            kernels=self.kernels,
            parameters=self.parameters,
        )


NAMES = tuple(field.name for field in fields(Features))


def features_from_file(path: Path) -> Features:
    """
    Raises:
        PreflightError: not a readable ONNX file, or shapes that are not static.
    """
    from edgedistill.prediction.kernels import kernels_from_file

    return features_of_kernels(kernels_from_file(path))


def features_of_kernels(kernels: list[Kernel]) -> Features:
    """Sum what was counted."""
    from edgedistill.prediction.kernels import COMPUTING

    def macs(*kinds: str) -> int:
        return sum(kernel.macs for kernel in kernels if kernel.kind in kinds)

    def moved(group: list[Kernel]) -> int:
        return sum(kernel.moved + kernel.weights for kernel in group)

    computing = [k for k in kernels if k.kind in COMPUTING and k.kind != "depthwise"]
    depthwise = [k for k in kernels if k.kind == "depthwise"]
    other = [k for k in kernels if k.kind not in COMPUTING]
    return Features(
        macs("dense3x3"),
        macs("dense"),
        macs("pointwise"),
        macs("gemm"),
        macs("matmul"),
        moved(computing),
        moved(depthwise),
        moved(other),
        len(kernels),
        sum(k.weights for k in kernels),
        max(k.moved for k in kernels),
        macs("grouped"),
    )


@cache
def catalogue() -> dict[tuple[str, int], dict[int, Features]]:
    """(network, image_px) -> number of classes -> features, as `predict.catalogue` counted them."""
    text = (resources.files("edgedistill.prediction") / STORED).read_text(encoding="utf-8")
    networks: dict[tuple[str, int], dict[int, Features]] = {}
    for row in csv.DictReader(text.splitlines()):
        features = Features(**{name: float(row[name]) for name in NAMES})
        place = networks.setdefault((row["network"], int(row["image_px"])), {})
        place[int(row["classes"])] = features
    return networks


def refuse_too_many_classes(classes: int) -> None:
    """
    Raises:
        RecipeError: more than MOST_CLASSES.
    """
    if classes > MOST_CLASSES:
        raise RecipeError(f"--classes {classes}: expected at most {MOST_CLASSES}")


def with_classes(counted: dict[int, Features], classes: int) -> Features:
    """Features for another number of classes: all of them grow in proportion to it."""
    if classes in counted:
        return counted[classes]
    (low, first), (high, last) = sorted(counted.items())
    share = (classes - low) / (high - low)
    pairs = {name: (getattr(first, name), getattr(last, name)) for name in NAMES}
    return Features(**{name: a + share * (b - a) for name, (a, b) in pairs.items()})
