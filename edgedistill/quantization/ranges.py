"""Activation ranges: every float tensor of the model, over any number of images."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from edgedistill.errors import QuantizeError
from edgedistill.quantization.observe import Observer, pieces, plan_of, shaped
from edgedistill_calibration.collect import Collector
from edgedistill_calibration.histogram import Histogram
from edgedistill_calibration.scales import amax_from_histogram


@dataclass(frozen=True)
class Ranges:
    """What calibration found, for the input and every float activation.

    Attributes:
        kept: largest |x| that INT8 keeps, by the recipe's threshold.
        largest: largest |x| that was seen.
    """

    kept: dict[str, float]
    largest: dict[str, float]


def ranges_from_model(
    path: Path,
    image: Callable[[int], np.ndarray],
    count: int,
    threshold: str,
    percentile: float = 99.99,
    state: Path | None = None,
    belongs_to: str = "",
) -> Ranges:
    """Run the model over the calibration images.

    Args:
        path: float ONNX file.
        image: position -> (1, 3, H, W) float32; none is kept.
        count: images.
        threshold: one of `edgedistill_calibration.scales.THRESHOLDS`.
        percentile: of |x|, used by `percentile`.
        state: file that a killed run goes on from; removed at the end.
        belongs_to: says which images `image` gives; a state of others is not gone on from.

    Raises:
        QuantizeError: no images, or a tensor that is NaN or infinite.
    """
    histograms = histograms_from_model(path, image, count, state, belongs_to)
    if state is not None:
        state.unlink(missing_ok=True)
    return ranges_from_histograms(path, histograms, threshold, percentile)


def ranges_from_histograms(
    path: Path, histograms: dict[str, Histogram], threshold: str, percentile: float = 99.99
) -> Ranges:
    """Any threshold from histograms of the same model, without running it again."""
    plan = plan_of(shaped(path))
    chosen = {
        name: float(amax_from_histogram(histogram, threshold, percentile)) for name, histogram in histograms.items()
    }
    largest = {name: float(histogram.amax) for name, histogram in histograms.items()}
    return Ranges(plan.spread(chosen), largest)


def histograms_from_model(
    path: Path,
    image: Callable[[int], np.ndarray],
    count: int,
    state: Path | None = None,
    belongs_to: str = "",
    threads: int = 0,
) -> dict[str, Histogram]:
    """Tensor -> histogram of |x| for those that must be looked at; arguments as above.

    Args:
        threads: of ONNX Runtime; 0 is one a core.
    """
    if count < 1:
        raise QuantizeError("expected calibration images, got none")
    model = shaped(path)
    plan = plan_of(model)
    key = hashlib.sha256(path.read_bytes() + f"\n{count}\n{belongs_to}".encode()).hexdigest()
    collector = Collector(plan.observed, count, state, key)
    with Observer(model, plan, threads) as observer:
        for values in observer.stream(image, pieces(count, collector.images, observer.piece)):
            try:
                collector.add(values)
            except ValueError as error:
                raise QuantizeError(f"calibration {error}") from None
    return collector.finish()
