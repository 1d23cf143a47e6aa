"""What each precision costs: every step against the float network, on the same images."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np

from edgedistill.config.task import CLASSIFICATION, Task
from edgedistill.evaluation.embeddings import cosines
from edgedistill.evaluation.tasks import drop_of, evaluator_of
from edgedistill.records.outputs import OutputLadderStep, OutputPrecision, OutputStep
from edgedistill.records.provenance import Kind, Provenance
from edgedistill.records.quantization import LadderStep, PrecisionFigures, PrecisionStep
from edgedistill_device.value_spec import Value

PROVENANCE = {
    "float": Provenance(Kind.MEASURED, "PyTorch on this computer"),
    "onnx": Provenance(Kind.MEASURED, "ONNX Runtime on this computer"),
    "fp16": Provenance(Kind.SIMULATED, "the float16 ONNX file in ONNX Runtime on this computer, not TensorRT"),
    "int8": Provenance(Kind.SIMULATED, "the INT8 (QDQ) ONNX file in ONNX Runtime on this computer, not TensorRT"),
}


def ladder_of(
    logits: dict[str, np.ndarray],
    labels: np.ndarray,
    classes: list[str],
    task: Task = CLASSIFICATION,
    values: Sequence[Value] = (),
) -> dict[str, Any]:
    """One row for each precision: a LadderStep, or an OutputLadderStep of figures.

    Args:
        logits: precision -> (N, C), `float` among them.
        labels: (N,) int, or the (N, C) figures of a regression.
        classes: C names.
        task: of the network.
        values: what the outputs of a regression are.
    """
    kind = OutputLadderStep if task.vectors else LadderStep
    return {
        name: kind(
            **step_of(outputs, logits["float"], labels, classes, task, values).given(), provenance=PROVENANCE[name]
        )
        for name, outputs in logits.items()
    }


def step_of(
    outputs: np.ndarray,
    reference: np.ndarray,
    labels: np.ndarray,
    classes: list[str],
    task: Task = CLASSIFICATION,
    values: Sequence[Value] = (),
) -> Any:
    """Figures of one precision: PrecisionFigures of classes, OutputPrecision of figures.

    Args:
        found, reference: (N, C) logits of it and of the float network.

    Returns:
        top1_fraction with its 95 % Wilson interval, balanced_accuracy_fraction; drop_points, the
        task's primary figure (top-1) of float minus this, with the standard error and the 95 % interval
        of that paired difference (the error is 0 where the two never differ in being right, the
        interval is not of width zero); agreement_fraction, images with the same class; sqnr_db of the
        logits, None when they are equal or not finite; max_relative_logit_difference; finite. Of figures their
        errors instead of top-1 and balanced accuracy, and the change of each in its unit. Of an embedding top-1 is the
        recall at 1 among the float network's embeddings of the other images, and mean_cosine and lowest_cosine are of
        each image's embedding with float's.
    """
    evaluator, scores, targets = evaluator_of(task, values), outputs, labels
    if evaluator.scored is not None:
        scores, _, targets = evaluator.scored(outputs, reference, labels, len(classes))
    measured = evaluator.measures(scores, targets, classes)
    drop = drop_of(task, outputs, reference, labels, classes, values)
    finite = bool(np.isfinite(outputs).all())
    apart = np.abs(outputs - reference).max() / np.abs(reference).max() if finite else None
    common: dict[str, Any] = {
        "drop_points": drop.points,
        "drop_interval_points": drop.interval_points,
        "sqnr_db": sqnr_db(reference, outputs) if finite else None,
        "max_relative_logit_difference": None if apart is None else float(apart),
        "finite": finite,
    }
    if task.vectors:
        return OutputPrecision(**measured.given(), **common, changes=drop.changes)
    if evaluator.scored is not None:
        alike = cosines(outputs, reference)
        common |= {"mean_cosine": float(alike.mean()), "lowest_cosine": float(alike.min())}
    return PrecisionFigures(
        top1_fraction=measured.top1_fraction,
        top1_interval=measured.top1_interval,
        balanced_accuracy_fraction=measured.balanced_accuracy_fraction,
        drop_standard_error_points=drop.standard_error_points or 0.0,
        agreement_fraction=drop.agreement_fraction or 0.0,
        **common,
    )


def short_step(step: PrecisionFigures | OutputPrecision) -> Any:
    """What a gate's curve holds of a step: PrecisionStep or OutputStep."""
    kind: Any = OutputStep if isinstance(step, OutputPrecision) else PrecisionStep
    return kind(**{name: value for name, value in step.given().items() if name in kind.model_fields})


def sqnr_db(reference: np.ndarray, outputs: np.ndarray) -> float | None:
    """Signal to noise of logits, 10 log10 of the ratio of summed squares; None without noise."""
    noise = float(((reference.astype(np.float64) - outputs) ** 2).sum())
    signal = float((reference.astype(np.float64) ** 2).sum())
    return 10 * math.log10(signal / noise) if noise and signal else None
