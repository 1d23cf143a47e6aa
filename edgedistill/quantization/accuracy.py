"""What each precision costs: every step against the float network, on the same images."""

from __future__ import annotations

import math

import numpy as np

from edgedistill.evaluation.classification import measures, paired
from edgedistill.evaluation.intervals import paired_interval
from edgedistill.records.provenance import Kind, Provenance
from edgedistill.records.quantization import LadderStep, PrecisionFigures, PrecisionStep

PROVENANCE = {
    "float": Provenance(Kind.MEASURED, "PyTorch on this computer"),
    "onnx": Provenance(Kind.MEASURED, "ONNX Runtime on this computer"),
    "fp16": Provenance(Kind.SIMULATED, "the float16 ONNX file in ONNX Runtime on this computer, not TensorRT"),
    "int8": Provenance(Kind.SIMULATED, "the INT8 (QDQ) ONNX file in ONNX Runtime on this computer, not TensorRT"),
}


def ladder_of(logits: dict[str, np.ndarray], labels: np.ndarray, classes: list[str]) -> dict[str, LadderStep]:
    """One row for each precision.

    Args:
        logits: precision -> (N, C), `float` among them.
        labels: (N,) int.
        classes: C names.
    """
    return {
        name: LadderStep(**step_of(found, logits["float"], labels, classes).given(), provenance=PROVENANCE[name])
        for name, found in logits.items()
    }


def step_of(found: np.ndarray, reference: np.ndarray, labels: np.ndarray, classes: list[str]) -> PrecisionFigures:
    """Figures of one precision.

    Args:
        found, reference: (N, C) logits of it and of the float network.

    Returns:
        top1_fraction with its 95 % Wilson interval, balanced_accuracy_fraction; drop_points, top-1
        of float minus this, with the standard error and the 95 % interval of that paired difference
        (the error is 0 where the two never differ in being right, the interval is not of width
        zero); agreement_fraction, images with the same class; sqnr_db of the logits, None when they
        are equal or not finite; max_relative_logit_difference; finite.
    """
    measured, other = measures(found, labels, classes), measures(reference, labels, classes)
    finite = bool(np.isfinite(found).all())
    apart = np.abs(found - reference).max() / np.abs(reference).max() if finite else None
    return PrecisionFigures(
        top1_fraction=measured.top1_fraction,
        top1_interval=measured.top1_interval,
        balanced_accuracy_fraction=measured.balanced_accuracy_fraction,
        drop_points=100 * (other.top1_fraction - measured.top1_fraction),
        drop_standard_error_points=standard_error_points(reference, found, labels),
        drop_interval_points=drop_interval_points(reference, found, labels),
        agreement_fraction=float((found.argmax(axis=1) == reference.argmax(axis=1)).mean()),
        sqnr_db=sqnr_db(reference, found) if finite else None,
        max_relative_logit_difference=None if apart is None else float(apart),
        finite=finite,
    )


def short_step(step: PrecisionFigures) -> PrecisionStep:
    """What a gate's curve holds of a step."""
    return PrecisionStep(**{name: getattr(step, name) for name in PrecisionStep.model_fields})


def sqnr_db(reference: np.ndarray, found: np.ndarray) -> float | None:
    """Signal to noise of logits, 10 log10 of the ratio of summed squares; None without noise."""
    noise = float(((reference.astype(np.float64) - found) ** 2).sum())
    signal = float((reference.astype(np.float64) ** 2).sum())
    return 10 * math.log10(signal / noise) if noise and signal else None


def standard_error_points(first: np.ndarray, second: np.ndarray, labels: np.ndarray) -> float:
    """Of the difference of two top-1 accuracies on the same images, in points.

    0 when they never differ in being right, which does not mean that they cannot.

    Source: variance of a difference of paired proportions, Agresti, Categorical Data Analysis, 10.1.
    """
    found, images = paired(first, second, labels), len(labels)
    b, c = found["first_only_correct"] / images, found["second_only_correct"] / images
    return 100 * math.sqrt(max(0.0, b + c - (b - c) ** 2) / images)


def drop_interval_points(first: np.ndarray, second: np.ndarray, labels: np.ndarray) -> list[float]:
    """95 % interval of the same difference, in points; see `paired_interval`."""
    found = paired(first, second, labels)
    interval = paired_interval(found["first_only_correct"], found["second_only_correct"], len(labels))
    return [100 * end for end in interval]
