"""How the outputs of each task are measured and read, in numpy. The facts of a task stand in `config/task.py`."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from edgedistill.config.task import CLASSIFICATION, EMBEDDING, Task
from edgedistill.evaluation.classification import calibration_error, measures
from edgedistill.evaluation.embeddings import nearest_other_scores
from edgedistill.evaluation.intervals import drop_interval_points, standard_error_points
from edgedistill.records.evaluation import NetworkFigures, ValidationFigures
from edgedistill_device.inference.classify import top_classes


@dataclass(frozen=True)
class Drop:
    """What a precision costs against the float network, on the same images.

    Attributes:
        points: of the task's primary figure, float minus this.
        standard_error_points: of that paired difference.
        interval_points: low and high of its 95 % interval.
        agreement_fraction: images with the same answer, 0..1.
    """

    points: float
    standard_error_points: float
    interval_points: list[float]
    agreement_fraction: float


@dataclass(frozen=True)
class Evaluator:
    """The functions of a task; `outputs` are (N, W) float, `targets` (N,) int, `classes` the names.

    Attributes:
        validation: (outputs, targets, classes) -> figures of a training on validation images.
        measures: (outputs, targets, classes) -> figures on test images; for an embedding the outputs are
            the class scores of its neighbours.
        drop: (outputs of a precision, outputs of float, targets, classes) -> what the precision costs.
            None for a task that does not deploy, like `answer`.
        answer: (outputs of one image (W,), classes, count) -> the best `count` answers, best first.
    """

    validation: Callable[[np.ndarray, np.ndarray, list[str]], ValidationFigures]
    measures: Callable[[np.ndarray, np.ndarray, list[str]], NetworkFigures]
    drop: Callable[[np.ndarray, np.ndarray, np.ndarray, list[str]], Drop] | None = None
    answer: Callable[[np.ndarray, Sequence[str], int], list[dict[str, Any]]] | None = None


def _classifier_validation(logits: np.ndarray, labels: np.ndarray, classes: list[str]) -> ValidationFigures:
    shifted = logits - logits.max(axis=1, keepdims=True)
    log_sum = np.log(np.exp(shifted).sum(axis=1))
    loss = float((log_sum - shifted[np.arange(len(labels)), labels]).mean())
    return ValidationFigures(
        loss=loss,
        calibration_error=calibration_error(logits, labels),
        **measures(logits, labels, classes).given(),
    )


def _classifier_drop(outputs: np.ndarray, reference: np.ndarray, labels: np.ndarray, classes: list[str]) -> Drop:
    measured, other = (
        measures(logits, labels, classes).metric(CLASSIFICATION.primary) for logits in (outputs, reference)
    )
    return Drop(
        points=100 * (other - measured),
        standard_error_points=standard_error_points(reference, outputs, labels),
        interval_points=drop_interval_points(reference, outputs, labels),
        agreement_fraction=float((outputs.argmax(axis=1) == reference.argmax(axis=1)).mean()),
    )


def _embedding_validation(embeddings: np.ndarray, labels: np.ndarray, classes: list[str]) -> ValidationFigures:
    """By each image's nearest other one."""
    scores = nearest_other_scores(embeddings, labels, len(classes))
    return ValidationFigures(loss=None, **measures(scores, labels, classes).given())


EVALUATORS = {
    CLASSIFICATION.name: Evaluator(_classifier_validation, measures, _classifier_drop, top_classes),
    EMBEDDING.name: Evaluator(_embedding_validation, measures),
}


def evaluator_of(task: Task) -> Evaluator:
    """The functions of a task."""
    return EVALUATORS[task.name]


def drop_of(task: Task, outputs: np.ndarray, reference: np.ndarray, targets: np.ndarray, classes: list[str]) -> Drop:
    """What a precision costs; arguments as of `Evaluator.drop`.

    Raises:
        ValueError: the task does not deploy, so that it has no precisions to compare.
    """
    drop = evaluator_of(task).drop
    if drop is None:
        raise ValueError(f"task {task.name!r} gives no drop of a precision; add one to evaluation/tasks.py")
    return drop(outputs, reference, targets, classes)


def answer_of(task: Task, outputs: np.ndarray, classes: Sequence[str], count: int) -> list[dict[str, Any]]:
    """How the outputs of one image are read; arguments as of `Evaluator.answer`.

    Returns:
        Of a classifier [{"class", "probability"}, ...], as on the board.

    Raises:
        ValueError: the task does not deploy, so that it has no answer.
        BackendError: an output is NaN or infinite.
    """
    answer = evaluator_of(task).answer
    if answer is None:
        raise ValueError(f"task {task.name!r} gives no answer for an image; add one to evaluation/tasks.py")
    return answer(outputs, classes, count)
