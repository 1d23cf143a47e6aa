"""Compute accuracy from logits in numpy, in one way for teacher, student, ONNX, FP16, INT8 and board."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from edgedistill.records.evaluation import NetworkFigures

Z95 = 1.959964  # two-sided 95 % of the normal distribution


def measures(logits: np.ndarray, labels: np.ndarray, classes: list[str]) -> NetworkFigures:
    """Compute all figures of one network on one set of labelled images.

    Args:
        logits: (N, C) float.
        labels: (N,) int, in 0..C-1.
        classes: C names.

    Returns:
        The figures. balanced_accuracy_fraction is the mean of per_class_recall over the classes that occur;
        per_class_recall is None for a class that does not occur; confusion has C rows (true) of C counts
        (predicted).

    Raises:
        ValueError: no images.
    """
    if len(labels) == 0:
        raise ValueError("no labelled images to measure on")
    predicted = logits.argmax(axis=1)
    confusion = np.zeros((len(classes), len(classes)), dtype=np.int64)
    np.add.at(confusion, (labels, predicted), 1)
    seen = confusion.sum(axis=1)
    hits = confusion.diagonal()
    recall = {name: float(hit / n) if n else None for name, hit, n in zip(classes, hits, seen, strict=True)}
    recalls = [value for value in recall.values() if value is not None]
    return NetworkFigures(
        images=len(labels),
        top1_fraction=float(hits.sum() / len(labels)),
        top1_interval=list(wilson_interval(int(hits.sum()), len(labels))),
        balanced_accuracy_fraction=sum(recalls) / len(recalls),
        per_class_recall=recall,
        confusion=confusion.tolist(),
    )


def cross_entropy(logits: np.ndarray, labels: np.ndarray) -> float:
    """Compute the mean negative log likelihood of the labels under the softmax, nats.

    Args:
        logits: (N, C) float.
        labels: (N,) int.
    """
    shifted = logits - logits.max(axis=1, keepdims=True)
    log_sum = np.log(np.exp(shifted).sum(axis=1))
    return float((log_sum - shifted[np.arange(len(labels)), labels]).mean())


def calibration_error(logits: np.ndarray, labels: np.ndarray, bins: int = 15) -> float:
    """Compute the expected calibration error of the softmax: mean of |accuracy - confidence| over the images.

    Args:
        logits: (N, C) float.
        labels: (N,) int.
        bins: number of bins of equal width over the confidence.

    Source: Guo et al. 2017, arXiv:1706.04599, equation 3.
    """
    shifted = np.exp(logits.astype(np.float64) - logits.max(axis=1, keepdims=True))
    confidence = shifted.max(axis=1) / shifted.sum(axis=1)
    hit = (logits.argmax(axis=1) == labels).astype(np.float64)
    place = np.minimum((confidence * bins).astype(int), bins - 1)
    gaps = np.bincount(place, hit - confidence, minlength=bins)
    return float(np.abs(gaps).sum() / len(labels))


def wilson_interval(hits: float, images: float, quantile: float = Z95) -> tuple[float, float]:
    """Compute the 95 % interval of a fraction; unlike hits +- 2 sigma it is valid near 0 and 1.

    Args:
        hits: of so many images; both may be effective counts, which are no integers.
        quantile: two-sided, of the standardised fraction.

    Source: Wilson 1927, J. Am. Stat. Assoc. 22, 209-212.
    """
    fraction, z = hits / images, quantile
    centre = fraction + z * z / (2 * images)
    half = z * math.sqrt(fraction * (1 - fraction) / images + z * z / (4 * images * images))
    scale = 1 + z * z / images
    # The clipping keeps the fraction inside the interval, despite rounding, when all or no hits occur.
    return max(0.0, min(fraction, (centre - half) / scale)), min(1.0, max(fraction, (centre + half) / scale))


def paired(first: np.ndarray, second: np.ndarray, labels: np.ndarray) -> dict[str, Any]:
    """Count where two networks differ on the same images.

    Args:
        first, second: (N, C) logits.
        labels: (N,) int.

    Returns:
        first_only_correct, second_only_correct: counts; by_class: for each class index both counts and
        the class's images.
    """
    first_hit = first.argmax(axis=1) == labels
    second_hit = second.argmax(axis=1) == labels
    return {
        "first_only_correct": int((first_hit & ~second_hit).sum()),
        "second_only_correct": int((~first_hit & second_hit).sum()),
        "by_class": [
            [
                int((first_hit & ~second_hit)[labels == number].sum()),
                int((~first_hit & second_hit)[labels == number].sum()),
                int((labels == number).sum()),
            ]
            for number in range(first.shape[1])
        ],
    }


def mcnemar_p(first_only: int, second_only: int) -> float:
    """Compute the two-sided p-value of the exact McNemar test that both networks are equally good.

    Args:
        first_only, second_only: images that only this network classifies correctly.

    Source: McNemar 1947, Psychometrika 12, 153-157, with the exact binomial.
    """
    from scipy.special import betainc  # its distribution function; scipy.stats takes a second to import

    images, fewer = first_only + second_only, min(first_only, second_only)
    return min(1.0, 2 * float(betainc(images - fewer, fewer + 1, 0.5))) if images else 1.0
