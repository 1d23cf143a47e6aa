"""Fit a threshold for each of several labels on validation images, and measure the answers on test images."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from edgedistill.config.decide import DecideConfig
from edgedistill.evaluation.decisions import class_row, curve_of, operating_point, point_of
from edgedistill.evaluation.multilabel import best_f1_thresholds, label_measures
from edgedistill.evaluation.operating_points import Choice, threshold_for_precision, threshold_for_recall
from edgedistill.records.decision import ClassFigures, DecisionFigures, OperatingPoint
from edgedistill_device.decision_spec import Decision
from edgedistill_device.label_sets import label_probabilities, reached


@dataclass(frozen=True)
class FittedLabels:
    """What the validation images give at one precision.

    Attributes:
        best_f1: label -> the threshold with the largest F1.
        choices: label with a promise -> its threshold, or why it has none; in the order of the recipe.
    """

    best_f1: dict[str, float]
    choices: dict[str, Choice]

    @property
    def decision(self) -> Decision:
        """What the board gets: the threshold of a promise that holds, else that of the largest F1."""
        promised = {name: one.threshold for name, one in self.choices.items() if one.threshold is not None}
        return Decision(1.0, tuple((self.best_f1 | promised).items()), None)

    @property
    def plain(self) -> Decision:
        """The same without promises."""
        return Decision(1.0, tuple(self.best_f1.items()), None)


def fit_labels(logits: np.ndarray, targets: np.ndarray, classes: list[str], wanted: DecideConfig) -> FittedLabels:
    """Fit the threshold of each label by itself.

    Args:
        logits: (N, K) of validation images. One that is not finite reaches no threshold.
        targets: (N, K), 1 for each label of an image, else 0.
        classes: K names.
    """
    best = dict(zip(classes, best_f1_thresholds(logits, targets).tolist(), strict=True))
    scores = np.where(np.isfinite(logits), label_probabilities(logits), -np.inf)
    choices = {}
    for name, asked in wanted.promises.items():
        number = classes.index(name)
        own, of_label = targets[:, number] == 1, scores[:, number]
        choices[name] = (
            threshold_for_recall(of_label[own], asked, wanted.confidence)
            if wanted.recall
            else threshold_for_precision(of_label, own, asked, wanted.confidence)
        )
    return FittedLabels(best, choices)


def label_figures(
    precision: str,
    logits: np.ndarray,
    targets: np.ndarray,
    classes: list[str],
    fitted: FittedLabels,
    wanted: DecideConfig,
) -> DecisionFigures:
    """Measure each label and each promise on test images, answered as the board does at this precision."""
    thresholds = dict(fitted.decision.thresholds)
    return DecisionFigures(
        precision=precision,
        calibration=None,
        classes=_of_labels(logits, targets, classes, fitted),
        points=_points(logits, targets, classes, fitted, wanted),
        unknown=None,
        by_label=label_measures(logits, targets, classes, np.array([thresholds[name] for name in classes])),
    )


def _of_labels(logits: np.ndarray, targets: np.ndarray, classes: list[str], fitted: FittedLabels) -> list[ClassFigures]:
    answers = reached(logits, classes, fitted.decision.thresholds)
    return [
        class_row(name, point_of(answered, own), threshold=threshold)
        for (name, threshold), answered, own in zip(fitted.decision.thresholds, answers.T, targets.T == 1, strict=True)
    ]


def _points(
    logits: np.ndarray, targets: np.ndarray, classes: list[str], fitted: FittedLabels, wanted: DecideConfig
) -> list[OperatingPoint]:
    ruled, plain = (reached(logits, classes, one.thresholds) for one in (fitted.decision, fitted.plain))
    scores, points = np.where(np.isfinite(logits), label_probabilities(logits), -np.inf), []
    for name, choice in fitted.choices.items():
        number = classes.index(name)
        own = targets[:, number] == 1
        points.append(
            operating_point(
                name,
                choice,
                wanted,
                by_threshold=point_of(ruled[:, number], own),
                by_probability=point_of(plain[:, number], own),
                curve=curve_of(scores[:, number], own),
                cost=None,
                best_f1_threshold=fitted.best_f1[name],
            )
        )
    return points
