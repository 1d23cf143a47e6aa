"""Fit on validation images how logits become an answer, and measure the answers on test images."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from edgedistill.config.decide import DecideConfig
from edgedistill.evaluation.calibration import fitted_temperature
from edgedistill.evaluation.classification import calibration_error, cross_entropy
from edgedistill.evaluation.intervals import binomial_interval
from edgedistill.evaluation.operating_points import Choice, threshold_for_precision, threshold_for_recall
from edgedistill.evaluation.unknown import auroc, images_for, unknown_threshold
from edgedistill.records.decision import (
    CalibrationFigures,
    ClassFigures,
    OperatingPoint,
    OtherImages,
    PointCost,
    PointFigures,
    Shown,
    UnknownFigures,
)
from edgedistill_device.decision_spec import Decision
from edgedistill_device.errors import BackendError
from edgedistill_device.inference.decide import answer, best_of, probabilities_of

CURVE_POINTS = 120  # of a precision-recall curve, at most
NO_ANSWER = -1  # of an image that is refused as unknown, or whose logits are not finite


@dataclass(frozen=True)
class Fitted:
    """What the validation images give at one precision.

    Attributes:
        temperature: None where they determine none.
        choices: class with a promise -> its threshold, or why it has none; in the order of the recipe.
        unknown_below: largest logit below which an image is refused; None: nothing is.
        images: of the fit.
    """

    temperature: float | None
    choices: dict[str, Choice]
    unknown_below: float | None
    images: int

    @property
    def decision(self) -> Decision:
        """What the board gets."""
        thresholds = {name: choice.threshold for name, choice in self.choices.items()}
        kept = tuple((name, value) for name, value in thresholds.items() if value is not None)
        return Decision(self.temperature or 1.0, kept, self.unknown_below)


def fit(logits: np.ndarray, labels: np.ndarray, classes: list[str], wanted: DecideConfig) -> Fitted:
    """Fit temperature, thresholds in the order of the recipe, and what is refused as unknown.

    Args:
        logits: (N, C) of validation images. One that is not finite has no answer: it counts as a miss.
        labels: (N,) int.
        classes: C names.
    """
    temperature = fitted_temperature(logits, labels)
    probabilities = _probabilities(logits, temperature or 1.0)
    choices: dict[str, Choice] = {}
    free = np.ones(len(labels), bool)  # of classes that come before
    for name, asked in wanted.promises.items():
        own, scores = labels == classes.index(name), probabilities[:, classes.index(name)]
        if wanted.recall:
            reachable = np.where(free & np.isfinite(scores), scores, -np.inf)
            choice = threshold_for_recall(reachable[own], asked, wanted.confidence)
        else:
            choice = threshold_for_precision(scores, own, asked, wanted.confidence)
        choices[name] = choice
        if choice.threshold is not None:
            free &= ~(scores >= choice.threshold)
    below = None
    if wanted.unknown_coverage is not None:
        below = unknown_threshold(_largest(logits), wanted.unknown_coverage)
    return Fitted(temperature, choices, below, len(labels))


def calibration_figures(logits: np.ndarray, labels: np.ndarray, fitted: Fitted) -> CalibrationFigures | None:
    """Measure confidence before and after the temperature on test images; None where a logit is not finite."""
    if not np.isfinite(logits).all():
        return None
    before = logits.astype(np.float64)
    after = before / fitted.decision.temperature
    return CalibrationFigures(
        temperature=fitted.decision.temperature,
        fitted=fitted.temperature is not None,
        validation_images=fitted.images,
        test_images=len(labels),
        calibration_error_before=calibration_error(before, labels),
        calibration_error_after=calibration_error(after, labels),
        loss_before=cross_entropy(before, labels),
        loss_after=cross_entropy(after, labels),
    )


def operating_point(name: str, choice: Choice, wanted: DecideConfig, **measured: Any) -> OperatingPoint:
    """What was promised of a class, what the validation images show, and what was `measured` on test images."""
    return OperatingPoint(
        class_name=name,
        promise="recall" if wanted.recall else "precision",
        asked=wanted.promises[name],
        confidence=wanted.confidence,
        threshold=choice.threshold,
        validation=Shown(hits=choice.hits, images=choice.images, lower=choice.lower),
        most=choice.most,
        images_needed=choice.needed,
        **measured,
    )


def operating_points(
    logits: np.ndarray, labels: np.ndarray, classes: list[str], fitted: Fitted, wanted: DecideConfig
) -> list[OperatingPoint]:
    """Measure each promise on test images, answered as the board does, and as without thresholds."""
    ruled = _answers(logits, classes, fitted.decision)
    plain = np.where(np.isfinite(logits).all(axis=1), logits.argmax(axis=1), NO_ANSWER)
    probabilities = _probabilities(logits, fitted.decision.temperature)
    points = []
    for name, choice in fitted.choices.items():
        number = classes.index(name)
        own = labels == number
        with_rule, without = (point_of(answers == number, own) for answers in (ruled, plain))
        points.append(
            operating_point(
                name,
                choice,
                wanted,
                by_threshold=with_rule,
                by_probability=without,
                curve=curve_of(probabilities[:, number], own),
                cost=_cost(name, with_rule, without, len(labels), wanted),
            )
        )
    return points


def class_figures(logits: np.ndarray, labels: np.ndarray, classes: list[str], fitted: Fitted) -> list[ClassFigures]:
    """Measure each class on test images, answered as the board does."""
    answers, rows = _answers(logits, classes, fitted.decision), []
    for number, name in enumerate(classes):
        rows.append(class_row(name, point_of(answers == number, labels == number)))
    return rows


def class_row(name: str, point: PointFigures, **more: Any) -> ClassFigures:
    """The figures of a class as it is answered, and its F1."""
    both = point.images + point.answers
    return ClassFigures(
        class_name=name,
        images=point.images,
        answers=point.answers,
        precision=point.precision,
        recall=point.recall,
        f1=2 * point.right / both if both else None,
        **more,
    )


def unknown_figures(
    logits: np.ndarray, others: np.ndarray | None, classes: list[str], fitted: Fitted, coverage: float
) -> UnknownFigures:
    """Measure on test images, answered as the board does, what is kept, and of images of no class what is refused.

    Args:
        logits: (N, C) of test images.
        others: (M, C) of images of none of the classes, M at least 1; None without any.
    """
    kept = int((_answers(logits, classes, fitted.decision) != NO_ANSWER).sum())
    return UnknownFigures(
        coverage=coverage,
        threshold=fitted.unknown_below,
        validation_images=fitted.images,
        images_needed=images_for(coverage),
        test_images=len(logits),
        test_kept=kept,
        test_kept_interval=list(binomial_interval(kept, len(logits))),
        others=None if others is None else _other_images(logits, others, classes, fitted.decision),
    )


def _other_images(logits: np.ndarray, others: np.ndarray, classes: list[str], decision: Decision) -> OtherImages:
    refused = int((_answers(others, classes, decision) == NO_ANSWER).sum())
    scores = _largest(logits), _largest(others)
    return OtherImages(
        images=len(others),
        refused=refused,
        refused_interval=list(binomial_interval(refused, len(others))),
        auroc=auroc(*scores) if np.isfinite(np.concatenate(scores)).all() else None,
    )


def _largest(logits: np.ndarray) -> np.ndarray:
    """(N,) largest logit of each image; -inf in rows that are not finite."""
    return np.where(np.isfinite(logits).all(axis=1), logits.max(axis=1), -np.inf)


def _probabilities(logits: np.ndarray, temperature: float) -> np.ndarray:
    """(N, C) calibrated probabilities; -inf in rows that are not finite, which reach no threshold."""
    rows = np.full(logits.shape, -np.inf)
    for number in np.flatnonzero(np.isfinite(logits).all(axis=1)):
        rows[number] = probabilities_of(logits[number], temperature)
    return rows


def _answers(logits: np.ndarray, classes: list[str], decision: Decision) -> np.ndarray:
    """(N,) class numbers that the board answers with, or NO_ANSWER."""
    numbers = {name: number for number, name in enumerate(classes)}
    answers = np.full(len(logits), NO_ANSWER)
    for place, row in enumerate(logits):
        try:
            said = answer(row, classes, 1, decision)
        except BackendError:
            continue
        answers[place] = numbers.get(best_of(said)[0], NO_ANSWER)
    return answers


def point_of(answered: np.ndarray, own: np.ndarray) -> PointFigures:
    """A class that these of N images are answered with, and that these are of; both (N,) bool."""
    right, images, answers = int((answered & own).sum()), int(own.sum()), int(answered.sum())
    return PointFigures(
        right=right,
        images=images,
        answers=answers,
        recall=right / images if images else None,
        recall_interval=list(binomial_interval(right, images)),
        precision=right / answers if answers else None,
        precision_interval=list(binomial_interval(right, answers)),
    )


def curve_of(scores: np.ndarray, own: np.ndarray) -> list[list[float]]:
    """[recall, precision] from the largest score down, one for each distinct score, thinned; empty without images."""
    if not own.any():
        return []
    order = np.argsort(-scores, kind="stable")[: np.isfinite(scores).sum()]
    hits, places = np.cumsum(own[order]), np.flatnonzero(np.append(np.diff(scores[order]) != 0, len(order) > 0))
    kept = places[np.unique(np.linspace(0, len(places) - 1, CURVE_POINTS).astype(int))] if len(places) else places
    return [[float(hits[place] / own.sum()), float(hits[place] / (place + 1))] for place in kept]


def _cost(
    name: str, with_rule: PointFigures, without: PointFigures, images: int, wanted: DecideConfig
) -> PointCost | None:
    """Price of 1,000 images like the test images, as far as this class goes; None without prices for it."""
    if name not in wanted.miss_cost and name not in wanted.false_alarm_cost:
        return None
    miss, alarm = wanted.miss_cost.get(name, 0.0), wanted.false_alarm_cost.get(name, 0.0)
    ruled, plain = (
        1000 * (miss * (point.images - point.right) + alarm * (point.answers - point.right)) / images
        for point in (with_rule, without)
    )
    return PointCost(miss=miss, false_alarm=alarm, per_1000_images=ruled, by_probability_per_1000_images=plain)
