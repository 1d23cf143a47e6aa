"""Measure and interpret the outputs of each task in numpy. `config/task.py` has the constants of the tasks."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, TypeVar

import numpy as np

from edgedistill.config.task import CLASSIFICATION, EMBEDDING, MULTILABEL, REGRESSION, Task
from edgedistill.evaluation.classification import calibration_error, cross_entropy, measures
from edgedistill.evaluation.embeddings import deployed_scores, nearest_other_scores
from edgedistill.evaluation.intervals import drop_interval_points, standard_error_points
from edgedistill.evaluation.multilabel import (
    best_f1_thresholds,
    label_epoch,
    label_gain,
    label_measures,
    label_validation,
)
from edgedistill.evaluation.regression import value_epoch, value_gain, value_measures, value_validation
from edgedistill.records.evaluation import ValidationFigures
from edgedistill.records.outputs import LABEL_CHANGE, Figure, OutputGain
from edgedistill_device.decision_spec import PLAIN, Decision
from edgedistill_device.inference.decide import answer
from edgedistill_device.inference.gallery import Gallery
from edgedistill_device.inference.values import values_answer
from edgedistill_device.label_sets import labels_answer
from edgedistill_device.value_spec import Value

Function = TypeVar("Function", bound=Callable[..., Any])


@dataclass(frozen=True)
class Drop:
    """The accuracy loss of a precision against the float network, on the same images.

    Attributes:
        points: loss in the task's primary figure, float minus this precision.
        standard_error_points: of that paired difference.
        interval_points: low and high of its 95 % interval.
        agreement_fraction: images with the same answer, 0..1; None of figures, like the standard error.
        changes: of figures, the loss of each value in its unit.
    """

    points: float
    standard_error_points: float | None
    interval_points: list[float]
    agreement_fraction: float | None
    changes: list[Figure] = field(default_factory=list)


@dataclass(frozen=True)
class Evaluator:
    """The functions of a task; `outputs` are (N, W) float, `classes` the names of classes or values, `targets` (N,) int
    of classes or (N, W) figures in their units, of labels 1 or 0.

    Attributes:
        validation: (outputs, targets, classes) -> figures of a training on validation images.
        epoch: the same -> its loss and the task's metrics by their names, without intervals.
        hits: the same -> (N,) bool, the images that count as right in them; None of figures, which are never right.
        measures: (outputs, targets, classes) -> figures on test images; for an embedding the outputs are
            the class scores of its neighbours.
        drop: (outputs of a precision, outputs of float, targets, classes) -> the loss of the precision.
            None for a task that does not deploy, like `answer`.
        answer: (outputs of one image (W,), classes, count, decision) -> what is said of it; of an embedding the
            decision is a `Gallery`.
        scored: (outputs of a precision, outputs of float, targets, classes) -> what `measures` reads of both, and their
            targets; None where that is the outputs themselves.
        gain: of vectors, (outputs, another network's, targets, classes) -> how much better they are.
        fitted: of labels that are answered from a threshold on, (outputs, targets) of validation images -> this with
            those thresholds.
    """

    validation: Callable[[np.ndarray, np.ndarray, list[str]], Any]
    epoch: Callable[[np.ndarray, np.ndarray, list[str]], Mapping[str, float | None]]
    hits: Callable[[np.ndarray, np.ndarray, list[str]], np.ndarray] | None
    measures: Callable[[np.ndarray, np.ndarray, list[str]], Any]
    drop: Callable[[np.ndarray, np.ndarray, np.ndarray, list[str]], Drop] | None = None
    answer: Callable[[np.ndarray, Sequence[str], int, Any], dict[str, Any]] | None = None
    scored: Callable[[np.ndarray, np.ndarray, np.ndarray, int], tuple[np.ndarray, np.ndarray, np.ndarray]] | None = None
    gain: Callable[[np.ndarray, np.ndarray, np.ndarray, list[str]], OutputGain] | None = None
    fitted: Callable[[np.ndarray, np.ndarray], Evaluator] | None = None


def _classifier_validation(logits: np.ndarray, labels: np.ndarray, classes: list[str]) -> ValidationFigures:
    return ValidationFigures(
        loss=cross_entropy(logits, labels),
        calibration_error=calibration_error(logits, labels),
        **measures(logits, labels, classes).given(),
    )


def _classifier_epoch(logits: np.ndarray, labels: np.ndarray, classes: list[str]) -> dict[str, float | None]:
    return _of_epoch(_classifier_validation(logits, labels, classes))


def _of_epoch(figures: ValidationFigures) -> dict[str, float | None]:
    return {"loss": figures.loss, **{name: figures.metric(name) for name in CLASSIFICATION.metrics}}


def _classifier_hits(logits: np.ndarray, labels: np.ndarray, classes: list[str]) -> np.ndarray:
    return logits.argmax(axis=1) == labels


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
    """Measure by the nearest other image of each image."""
    scores = nearest_other_scores(embeddings, labels, len(classes))
    return ValidationFigures(loss=None, **measures(scores, labels, classes).given())


def _embedding_epoch(embeddings: np.ndarray, labels: np.ndarray, classes: list[str]) -> dict[str, float | None]:
    return _of_epoch(_embedding_validation(embeddings, labels, classes))


def _embedding_hits(embeddings: np.ndarray, labels: np.ndarray, classes: list[str]) -> np.ndarray:
    return nearest_other_scores(embeddings, labels, len(classes)).argmax(axis=1) == labels


def _embedding_drop(outputs: np.ndarray, reference: np.ndarray, labels: np.ndarray, classes: list[str]) -> Drop:
    """In recall at 1 among the float network's embeddings of the other images."""
    return _classifier_drop(*deployed_scores(outputs, reference, labels, len(classes)), classes)


def _embedding_answer(outputs: np.ndarray, classes: Sequence[str], count: int, gallery: Gallery) -> dict[str, Any]:
    return gallery.answer(outputs, count)


def _regression(values: Sequence[Value]) -> Evaluator:
    """The functions of figures; `values` say what each output is."""

    def drop(outputs: np.ndarray, reference: np.ndarray, targets: np.ndarray, classes: list[str]) -> Drop:
        loss = value_gain(reference, outputs, targets, values, "mae_change")
        return Drop(loss.points, None, loss.interval_points, None, loss.by_output)

    return Evaluator(
        lambda outputs, targets, classes: value_validation(outputs, targets, values),
        lambda outputs, targets, classes: value_epoch(outputs, targets, values),
        None,
        lambda outputs, targets, classes: value_measures(outputs, targets, values),
        drop,
        lambda outputs, classes, count, decision: values_answer(outputs, values),
        gain=lambda outputs, other, targets, classes: value_gain(outputs, other, targets, values),
    )


def _multilabel(thresholds: np.ndarray | None = None) -> Evaluator:
    """The functions of several labels an image, which are answered from these probabilities on."""

    def drop(outputs: np.ndarray, reference: np.ndarray, targets: np.ndarray, classes: list[str]) -> Drop:
        change = label_gain(outputs, reference, targets, classes, LABEL_CHANGE)
        low, high = change.interval_points
        return Drop(0 - change.points, None, [0 - high, 0 - low], None, change.by_output)

    return Evaluator(
        label_validation,
        lambda outputs, targets, classes: label_epoch(outputs, targets),
        None,
        lambda outputs, targets, classes: label_measures(outputs, targets, classes, thresholds),
        drop,
        lambda outputs, classes, count, decision: labels_answer(outputs, classes, decision.thresholds),
        gain=label_gain,
        fitted=lambda outputs, targets: _multilabel(best_f1_thresholds(outputs, targets)),
    )


_CLASSIFIER = Evaluator(_classifier_validation, _classifier_epoch, _classifier_hits, measures, _classifier_drop, answer)
_EMBEDDING = Evaluator(
    _embedding_validation,
    _embedding_epoch,
    _embedding_hits,
    measures,
    _embedding_drop,
    _embedding_answer,
    scored=deployed_scores,
)
EVALUATORS: dict[str, Callable[[Sequence[Value]], Evaluator]] = {
    CLASSIFICATION.name: lambda values: _CLASSIFIER,
    EMBEDDING.name: lambda values: _EMBEDDING,
    REGRESSION.name: _regression,
    MULTILABEL.name: lambda values: _multilabel(),
}


def evaluator_of(task: Task, values: Sequence[Value] = ()) -> Evaluator:
    """Return the functions of a task; `values` say what the outputs of a regression are."""
    return EVALUATORS[task.name](values)


def required(function: Function | None) -> Function:
    """A function that a task with vectors has.

    Raises:
        ValueError: it is missing.
    """
    if function is None:
        raise ValueError("a task with vectors needs all functions of its Evaluator; see evaluation/tasks.py")
    return function


def drop_of(
    task: Task,
    outputs: np.ndarray,
    reference: np.ndarray,
    targets: np.ndarray,
    classes: list[str],
    values: Sequence[Value] = (),
) -> Drop:
    """Compute the accuracy loss of a precision; arguments as of `Evaluator.drop` and `evaluator_of`.

    Raises:
        ValueError: the task does not deploy, so that it has no precisions to compare.
    """
    drop = evaluator_of(task, values).drop
    if drop is None:
        raise ValueError(f"task {task.name!r} gives no drop of a precision; add one to evaluation/tasks.py")
    return drop(outputs, reference, targets, classes)


def answer_of(
    task: Task,
    outputs: np.ndarray,
    classes: Sequence[str],
    count: int,
    decision: Decision | Gallery = PLAIN,
    values: Sequence[Value] = (),
) -> dict[str, Any]:
    """Return what is said of one image; arguments as of `Evaluator.answer` and `evaluator_of`.

    Returns:
        As on the board: `top`, [{"class", "probability"}, ...], for a classifier; as `Gallery.answer` of an embedding;
        `values`, [{"name", "value", "unit"}, ...], for a regression; `labels`, [{"label", "probability"}, ...], for
        several labels an image.

    Raises:
        ValueError: the task does not deploy, so that it has no answer.
        BackendError: an output is NaN or infinite.
    """
    say = evaluator_of(task, values).answer
    if say is None:
        raise ValueError(f"task {task.name!r} gives no answer for an image; add one to evaluation/tasks.py")
    return say(outputs, classes, count, decision)
