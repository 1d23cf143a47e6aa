"""How well a network tells which of several labels an image has, with 95 % intervals.

Outputs are logits, one a label; the probability of a label is their sigmoid, independent of the other labels. A
percentile interval of the bootstrap has no width where all images are right, and is too narrow near it.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np

from edgedistill.evaluation.bootstrap import draws_of
from edgedistill.evaluation.classification import Z95, wilson_interval
from edgedistill.evaluation.intervals import binomial_interval, mean_recall_interval
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
    truth, scores = targets == 1, _scores(outputs)
    precisions, own = average_precisions(scores, truth, np.ones((1, len(targets))))[0], truth.sum(axis=0)
    figures = [*_of_labels("ap", precisions, own, names), _mean(_ALL, precisions, own)]
    if thresholds is not None:
        answers = label_probabilities(scores) >= thresholds
        figures += _of_answers(answers, truth, names)
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
    """How much larger the average precisions are than another network's on the same images.

    Args:
        name: of the figures.

    Returns:
        The gain with its 95 % interval: the normal distribution's with the variance of the paired bootstrap over
        images, and for each label that of half an image more among those that have it, so that networks which never
        differ are not certainly equal.
    """
    truth = targets == 1
    both = _all_then_draws(len(targets))
    own, others = (average_precisions(_scores(one), truth, both) for one in (outputs, other))
    larger = own - others
    known, least = np.isfinite(larger[0]), 0.5 / (truth.sum(axis=0) + 2) ** 2
    errors = np.sqrt(_variance(larger) + least)
    mean = _mean_over_labels(larger)
    error = float(np.sqrt(_variance(mean) + least[known].sum() / max(1, known.sum()) ** 2))
    return OutputGain(
        points=100 * float(mean[0]),
        interval_points=[100 * end for end in _around(float(mean[0]), error)],
        by_output=[
            Figure(name=name, output=label, value=float(value), interval=_around(float(value), float(half)), unit="")
            for label, value, half, there in zip(names, larger[0], errors, known, strict=True)
            if there
        ],
    )


def _all_then_draws(images: int) -> np.ndarray:
    """(1 + draws, images) how often each image counts: all once, then as the bootstrap draws them."""
    return np.concatenate([np.ones((1, images)), draws_of(images)])


def _variance(values: np.ndarray) -> np.ndarray:
    """() or (K,) over the draws of (1 + draws, ...) values; draws that determine none are left out."""
    drawn = values[1:]
    held = np.isfinite(drawn)
    count = np.maximum(held.sum(axis=0), 1)
    middle = np.where(held, drawn, 0).sum(axis=0) / count
    return (np.where(held, drawn - middle, 0) ** 2).sum(axis=0) / count


def _around(value: float, error: float) -> list[float]:
    return [max(-1.0, value - Z95 * error), min(1.0, value + Z95 * error)]


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


def _of_answers(answers: np.ndarray, truth: np.ndarray, names: Sequence[str]) -> Iterator[Figure | None]:
    """
    Args:
        answers, truth: (N, K) bool.
    """
    both = _all_then_draws(len(truth))
    right, answered, own = (both @ part.astype(float) for part in (answers & truth, answers, truth))  # (1 + draws, K)
    for name, counts in (("precision", answered[0]), ("recall", own[0])):
        for label, hits, count in zip(names, right[0], counts, strict=True):
            if count:
                ends = binomial_interval(int(hits), int(count))
                yield Figure(name=name, output=label, value=float(hits / count), interval=list(ends), unit="")
    with np.errstate(invalid="ignore", divide="ignore"):
        f1 = 2 * right / (answered + own)
        micro = 2 * right.sum(axis=1) / (answered + own).sum(axis=1)
    either = (answered + own - right)[0]
    counts = _count_of_f1(f1[0], either)
    yield from _of_labels("f1", f1[0], counts, names)
    yield _mean("f1_macro", f1[0], counts, float(_variance(_mean_over_labels(f1))))
    yield _mean("f1_micro", micro[:1], _count_of_f1(micro[:1], either.sum(keepdims=True)), float(_variance(micro)))
    hits, images = int((answers == truth).all(axis=1).sum()), len(truth)
    ends = binomial_interval(hits, images)
    yield Figure(name="exact_match", output=None, value=hits / images, interval=list(ends), unit="")


def _count_of_f1(f1: np.ndarray, either: np.ndarray) -> np.ndarray:
    """(K,) images of which a share equal to F1 would vary as F1 does.

    The share J of images with both among those with answer or label is a binomial one, and F1 = 2 J / (1 + J).

    Args:
        f1: (K,).
        either: (K,) images with the answer or the label.
    """
    both = f1 / (2 - f1)
    return either * (1 + both) ** 2 / 2


def _mean_over_labels(values: np.ndarray) -> np.ndarray:
    """(draws,) of (draws, K), over the labels that all images together determine; NaN without any."""
    known = values[:, np.isfinite(values[0])]
    held = np.isfinite(known)
    with np.errstate(invalid="ignore", divide="ignore"):
        return np.where(held, known, 0).sum(axis=1) / held.sum(axis=1)


def _of_labels(name: str, values: np.ndarray, counts: np.ndarray, names: Sequence[str]) -> list[Figure]:
    """With Wilson's interval of a share of so many images; without labels whose images determine no value.

    Source, of average precision and the images that have the label: Boyd, Eng and Page 2013, ECML PKDD, 451-466, where
    the bootstrap covers less and the binomial interval at least what it says.
    """
    rows = zip(names, values.tolist(), counts.tolist(), strict=True)
    known = [(label, value, count) for label, value, count in rows if count and np.isfinite(value)]
    return [
        Figure(name=name, output=label, value=value, interval=list(wilson_interval(value * count, count)), unit="")
        for label, value, count in known
    ]


def _mean(name: str, values: np.ndarray, counts: np.ndarray, drawn_variance: float = 0.0) -> Figure | None:
    """The mean over the labels whose images determine a value, None without any; intervals as of mean recalls.

    Args:
        drawn_variance: of the mean over bootstrap draws. Where images are hard for all of their labels it is larger
            than that of independent labels; the counts are then fewer by as much.
    """
    known = np.isfinite(values) & (counts > 0)
    if not known.any():
        return None
    values, counts = values[known], counts[known]
    independent = float((values * (1 - values) / counts).sum()) / len(values) ** 2
    counts = counts / max(1.0, drawn_variance / independent if independent else 1.0)
    ends = mean_recall_interval(list(values * counts), list(counts))
    return Figure(name=name, output=None, value=float(values.mean()), interval=list(ends), unit="")


def _scores(outputs: np.ndarray) -> np.ndarray:
    """(N, K) float64, in the order of the probabilities; what is no number is the smallest."""
    least = float(np.finfo(np.float32).min)
    return np.nan_to_num(outputs.astype(np.float64), nan=least, posinf=least, neginf=least)
