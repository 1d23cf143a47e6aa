"""How well a network tells which of several labels an image has, with bootstrap intervals over images.

Outputs are logits, one a label; the probability of a label is their sigmoid, independent of the other labels.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np

from edgedistill.evaluation.bootstrap import draws_of, interval_of
from edgedistill.records.outputs import Figure, OutputFigures, OutputGain, OutputValidation
from edgedistill_device.label_sets import UNSET, label_probabilities

_ALL = "map"  # mean average precision


def label_measures(
    outputs: np.ndarray, targets: np.ndarray, names: Sequence[str], thresholds: np.ndarray | None = None
) -> OutputFigures:
    """Average precision of each label and its mean; with thresholds also F1, precision, recall and exact matches.

    Args:
        outputs: (N, K) logits. One that is not finite counts as the smallest.
        targets: (N, K), 1 for each label of an image, else 0.
        names: of the K labels.
        thresholds: (K,) probabilities from which on a label is answered.

    Returns:
        Figures 0..1: `ap`, `precision`, `recall`, `f1` of each label; `map`, `f1_macro`, `f1_micro`, `exact_match` over
        all. A figure that the images do not determine is left out: of a label that none has, the average precision and
        recall, of one that is never answered the precision. Means are over the labels that have the figure.

    Raises:
        ValueError: no images.
    """
    if len(targets) == 0:
        raise ValueError("no labelled images to measure on")
    truth, scores, weights = targets == 1, _scores(outputs), draws_of(len(targets))
    both = np.concatenate([np.ones((1, len(targets))), weights])  # all images once, then the draws
    precisions = average_precisions(scores, truth, both)
    figures = [*_of_labels("ap", precisions, names), _overall(_ALL, _mean_over_labels(precisions))]
    if thresholds is not None:
        answers = label_probabilities(scores) >= thresholds
        figures += _of_answers(answers, truth, both, names)
    return OutputFigures(images=len(targets), figures=[one for one in figures if one is not None])


def label_validation(outputs: np.ndarray, targets: np.ndarray, names: Sequence[str]) -> OutputValidation:
    """The same without thresholds of a training, with the binary cross-entropy, mean over labels, as its loss."""
    return OutputValidation(**label_measures(outputs, targets, names).given(), loss=_loss(outputs, targets))


def label_epoch(outputs: np.ndarray, targets: np.ndarray) -> dict[str, float]:
    """Loss and mean average precision as of `label_validation`, without their intervals."""
    precisions = average_precisions(_scores(outputs), targets == 1, np.ones((1, len(targets))))
    return {"loss": _loss(outputs, targets), _ALL: float(_mean_over_labels(precisions)[0])}


def _loss(outputs: np.ndarray, targets: np.ndarray) -> float:
    logits = outputs.astype(np.float64)
    return float((np.logaddexp(0, logits) - targets * logits).mean())


def label_gain(
    outputs: np.ndarray, other: np.ndarray, targets: np.ndarray, names: Sequence[str], name: str = "ap_gain"
) -> OutputGain:
    """How much larger the average precisions are than another network's on the same images; `name` of the figures."""
    truth = targets == 1
    both = np.concatenate([np.ones((1, len(targets))), draws_of(len(targets))])
    own, others = (average_precisions(_scores(one), truth, both) for one in (outputs, other))
    points = 100 * _mean_over_labels(own - others)
    figures = _of_labels(name, own - others, names)
    return OutputGain(
        points=float(points[0]),
        interval_points=interval_of(points[1:]),
        by_output=[one for one in figures if one is not None],
    )


def average_precisions(scores: np.ndarray, truth: np.ndarray, weights: np.ndarray) -> np.ndarray:
    """(draws, K) sum over the thresholds of precision times the recall that each adds; equal scores are one threshold.

    Args:
        scores: (N, K); the larger, the surer.
        truth: (N, K) bool.
        weights: (draws, N) how often each image counts.

    Returns:
        NaN where no image that counts has the label.

    Source: Zhu 2004, "Recall, precision and average precision", without interpolation, as scikit-learn's
    average_precision_score.
    """
    found = np.empty((len(weights), scores.shape[1]))
    for number, (column, own) in enumerate(zip(scores.T, truth.T, strict=True)):
        order = np.argsort(-column, kind="stable")
        last = np.append(np.diff(column[order]) != 0, True)  # of each run of equal scores
        drawn = weights[:, order]
        reached, right = np.cumsum(drawn, axis=1)[:, last], np.cumsum(drawn * own[order], axis=1)[:, last]
        added = np.diff(right, axis=1, prepend=0)
        with np.errstate(invalid="ignore", divide="ignore"):
            precision = np.where(reached > 0, right / reached, 0.0)
            found[:, number] = (added * precision).sum(axis=1) / right[:, -1]
    return found


def best_f1_thresholds(outputs: np.ndarray, targets: np.ndarray) -> np.ndarray:
    """(K,) thresholds on the probability with the largest F1 on these images; UNSET of a label that none has.

    Each lies halfway between the last score that reaches it and the next one, so that rounding on another computer
    changes no answer. Of equal F1 the one with the fewest answers is taken.

    Args:
        outputs: (N, K) logits of validation images.
        targets: (N, K), 1 for each label of an image, else 0.

    Source: Lipton, Elkan and Narayanaswamy 2014, arXiv:1402.1892 (thresholds that maximise F1).
    """
    probabilities = label_probabilities(_scores(outputs))
    return np.array([_best_f1(*pair) for pair in zip(probabilities.T, targets.T == 1, strict=True)])


def _best_f1(scores: np.ndarray, own: np.ndarray) -> float:
    if not own.any():
        return UNSET
    order = np.argsort(-scores, kind="stable")
    ranked = scores[order]
    last = np.flatnonzero(np.append(np.diff(ranked) != 0, True))
    f1 = 2 * np.cumsum(own[order])[last] / (last + 1 + own.sum())
    place = last[int(f1.argmax())]
    below = ranked[place + 1] if place + 1 < len(ranked) else 0.0
    return float((ranked[place] + below) / 2)


def _of_answers(answers: np.ndarray, truth: np.ndarray, weights: np.ndarray, names: Sequence[str]) -> Iterator:
    right, answered, own = (weights @ part.astype(float) for part in (answers & truth, answers, truth))  # (draws, K)
    with np.errstate(invalid="ignore", divide="ignore"):
        f1 = 2 * right / (answered + own)
        by_label = {"precision": right / answered, "recall": right / own, "f1": f1}
        micro = 2 * right.sum(axis=1) / (answered + own).sum(axis=1)
    for name, values in by_label.items():
        yield from _of_labels(name, values, names)
    yield _overall("f1_macro", _mean_over_labels(f1))
    yield _overall("f1_micro", micro)
    yield _overall("exact_match", weights @ (answers == truth).all(axis=1) / len(truth))


def _mean_over_labels(values: np.ndarray) -> np.ndarray:
    """(draws,) of (draws, K), over the labels that all images together determine; NaN without any."""
    known = values[:, np.isfinite(values[0])]
    held = np.isfinite(known)
    with np.errstate(invalid="ignore", divide="ignore"):
        return np.where(held, known, 0).sum(axis=1) / held.sum(axis=1)


def _of_labels(name: str, values: np.ndarray, names: Sequence[str]) -> list[Figure | None]:
    return [_figure(name, label, column) for label, column in zip(names, values.T, strict=True)]


def _overall(name: str, values: np.ndarray) -> Figure | None:
    return _figure(name, None, values)


def _figure(name: str, output: str | None, values: np.ndarray) -> Figure | None:
    """Of (1 + draws,) values, all images first; None where those determine none."""
    if not np.isfinite(values[0]):
        return None
    return Figure(name=name, output=output, value=float(values[0]), interval=interval_of(values[1:]), unit="")


def _scores(outputs: np.ndarray) -> np.ndarray:
    """(N, K) float64, in the order of the probabilities; what is no number is the smallest."""
    least = float(np.finfo(np.float32).min)
    return np.nan_to_num(outputs.astype(np.float64), nan=least, posinf=least, neginf=least)
