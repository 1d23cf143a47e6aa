"""What each precision costs: every step against the float network, on the same images."""

from __future__ import annotations

import math

import numpy as np

from edgedistill.config.task import CLASSIFICATION, Task
from edgedistill.evaluation.tasks import drop_of, evaluator_of
from edgedistill.records.provenance import Kind, Provenance
from edgedistill.records.quantization import LadderStep, PrecisionFigures, PrecisionStep

PROVENANCE = {
    "float": Provenance(Kind.MEASURED, "PyTorch on this computer"),
    "onnx": Provenance(Kind.MEASURED, "ONNX Runtime on this computer"),
    "fp16": Provenance(Kind.SIMULATED, "the float16 ONNX file in ONNX Runtime on this computer, not TensorRT"),
    "int8": Provenance(Kind.SIMULATED, "the INT8 (QDQ) ONNX file in ONNX Runtime on this computer, not TensorRT"),
}


def ladder_of(
    logits: dict[str, np.ndarray], labels: np.ndarray, classes: list[str], task: Task = CLASSIFICATION
) -> dict[str, LadderStep]:
    """One row for each precision.

    Args:
        logits: precision -> (N, C), `float` among them.
        labels: (N,) int.
        classes: C names.
        task: of the network.
    """
    return {
        name: LadderStep(
            **step_of(outputs, logits["float"], labels, classes, task).given(), provenance=PROVENANCE[name]
        )
        for name, outputs in logits.items()
    }


def step_of(
    outputs: np.ndarray, reference: np.ndarray, labels: np.ndarray, classes: list[str], task: Task = CLASSIFICATION
) -> PrecisionFigures:
    """Figures of one precision.

    Args:
        found, reference: (N, C) logits of it and of the float network.

    Returns:
        top1_fraction with its 95 % Wilson interval, balanced_accuracy_fraction; drop_points, the
        task's primary figure (top-1) of float minus this, with the standard error and the 95 % interval
        of that paired difference (the error is 0 where the two never differ in being right, the
        interval is not of width zero); agreement_fraction, images with the same class; sqnr_db of the
        logits, None when they are equal or not finite; max_relative_logit_difference; finite.
    """
    measured = evaluator_of(task).measures(outputs, labels, classes)
    drop = drop_of(task, outputs, reference, labels, classes)
    finite = bool(np.isfinite(outputs).all())
    apart = np.abs(outputs - reference).max() / np.abs(reference).max() if finite else None
    return PrecisionFigures(
        top1_fraction=measured.top1_fraction,
        top1_interval=measured.top1_interval,
        balanced_accuracy_fraction=measured.balanced_accuracy_fraction,
        drop_points=drop.points,
        drop_standard_error_points=drop.standard_error_points,
        drop_interval_points=drop.interval_points,
        agreement_fraction=drop.agreement_fraction,
        sqnr_db=sqnr_db(reference, outputs) if finite else None,
        max_relative_logit_difference=None if apart is None else float(apart),
        finite=finite,
    )


def short_step(step: PrecisionFigures) -> PrecisionStep:
    """What a gate's curve holds of a step."""
    return PrecisionStep(**{name: getattr(step, name) for name in PrecisionStep.model_fields})


def sqnr_db(reference: np.ndarray, outputs: np.ndarray) -> float | None:
    """Signal to noise of logits, 10 log10 of the ratio of summed squares; None without noise."""
    noise = float(((reference.astype(np.float64) - outputs) ** 2).sum())
    signal = float((reference.astype(np.float64) ** 2).sum())
    return 10 * math.log10(signal / noise) if noise and signal else None
