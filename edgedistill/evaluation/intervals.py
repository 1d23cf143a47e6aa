"""Compute intervals of the difference between two networks on the same test images."""

from __future__ import annotations

import math
import statistics
from collections.abc import Sequence

import numpy as np

from edgedistill.evaluation.classification import Z95, paired, wilson_interval
from edgedistill.records.evaluation import MeasuredNetwork

CONFIDENCE = 0.95
POOLED_IMAGES = 5  # images in total that the classes borrow from their pooled rates


def paired_interval(
    first_only: int, second_only: int, images: int, confidence: float = CONFIDENCE
) -> tuple[float, float]:
    """Compute the interval of the difference of two accuracies on the same images.

    Args:
        first_only: images that only the first network classifies correctly.
        second_only: images that only the second classifies correctly.
        images: number of images.
        confidence: 0..1.

    Returns:
        (low, high) of first minus second, fractions in -1..1. The adjustment gives it a width
        above zero when the two networks never differ.

    Source: Bonett and Price 2012, J. Educ. Behav. Stat. 37, 479-488 (adjusted Wald).
    """
    first, second = (first_only + 1) / (images + 2), (second_only + 1) / (images + 2)
    difference = first - second
    half = _normal(confidence) * math.sqrt((first + second - difference**2) / (images + 2))
    return max(-1.0, difference - half), min(1.0, difference + half)


def standard_error_points(first: np.ndarray, second: np.ndarray, labels: np.ndarray) -> float:
    """Compute the standard error of the difference of two top-1 accuracies on the same images, in points.

    It is 0 when the correct images are the same, although other images could differ.

    Source: variance of a difference of paired proportions, Agresti, Categorical Data Analysis, 10.1.
    """
    counts, images = paired(first, second, labels), len(labels)
    b, c = counts["first_only_correct"] / images, counts["second_only_correct"] / images
    return 100 * math.sqrt(max(0.0, b + c - (b - c) ** 2) / images)


def drop_interval_points(first: np.ndarray, second: np.ndarray, labels: np.ndarray) -> list[float]:
    """Compute the 95 % interval of that difference, in points; see `paired_interval`."""
    return [100 * end for end in difference_interval(first, second, labels, "top1_fraction")]


def difference_interval(first: np.ndarray, second: np.ndarray, labels: np.ndarray, metric: str) -> tuple[float, float]:
    """Compute the 95 % interval of the difference of two networks in one metric on the same images.

    Args:
        first, second: (N, C) logits.
        labels: (N,) int.
        metric: `top1_fraction` or `balanced_accuracy_fraction`.

    Returns:
        (low, high) of first minus second, fractions; see `paired_interval` and `balanced_interval`.
    """
    counts = paired(first, second, labels)
    if metric == "top1_fraction":
        return paired_interval(counts["first_only_correct"], counts["second_only_correct"], len(labels))
    return balanced_interval(counts["by_class"])


def balanced_interval(classes: list[list[int]], confidence: float = CONFIDENCE) -> tuple[float, float]:
    """Compute the interval of the difference of two balanced accuracies on the same images.

    Args:
        classes: for each class: images that only the first network classifies correctly, images that only the
            second does, all images. Classes without images are left out.
        confidence: 0..1.

    Returns:
        (low, high) of first minus second, fractions in -1..1; it contains the difference. Equal to
        `paired_interval` for one class.

    Raises:
        ValueError: no class has images.

    Source: the variance of a mean over strata (Cochran, Sampling Techniques, 5.4) with Student's t at
    Satterthwaite's degrees of freedom (Biometrics Bulletin 2, 1946, 110-114). As in Price and
    Bonett 2004 (Comput. Stat. Data Anal. 45, 449-456) the images that are added against intervals
    of width zero are shared out among the classes: two in each would shift the mean of many small
    ones. Within a class of n images plain proportions vary too little by 1 - 1/n; the rates that
    the variances are taken from lean on those of all classes, and what that changes is undone.
    """
    rows = np.array([row for row in classes if row[2] > 0], dtype=np.float64).reshape(-1, 3)
    if len(rows) == 0:
        raise ValueError("no class has images")
    if len(rows) == 1:
        first_only, second_only, count = (int(value) for value in rows[0])
        return paired_interval(first_only, second_only, count, confidence)
    first, second, images = rows.T
    added = images + 2 / len(rows)
    one, other = (_leaning_rates(only, images) for only in (first, second))
    variances, freedom = _variances(one + other - (one - other) ** 2, images, added)
    half = _student_t(freedom, confidence) * math.sqrt(variances.sum()) / len(rows)
    middle, difference = (float(((first - second) / n).mean()) for n in (added, images))
    return max(-1.0, min(difference, middle - half)), min(1.0, max(difference, middle + half))


def _borrowed(images: np.ndarray) -> float:
    """Images that each class borrows from the pooled rate."""
    return min(1.0, POOLED_IMAGES / len(images))


def _leaning_rates(correct: np.ndarray, images: np.ndarray) -> np.ndarray:
    """(K,) shares of the classes' images, which lean on that of all classes; see `balanced_interval`."""
    borrowed = _borrowed(images)
    return (correct + borrowed * (correct.sum() + 1) / (images.sum() + 2)) / (images + borrowed)


def _variances(spread: np.ndarray, images: np.ndarray, counted: np.ndarray) -> tuple[np.ndarray, float]:
    """(K,) variances of the classes' shares, and the degrees of freedom of their mean; see `balanced_interval`.

    Args:
        spread: (K,) variance of one image, from `_leaning_rates`, whose leaning is undone here.
        images: (K,) of each class.
        counted: (K,) that each share is divided by.
    """
    variances = spread / (1 - images / (images + _borrowed(images)) ** 2) / counted
    return variances, float(variances.sum() ** 2 / (variances**2 / images).sum())


def mean_recall_interval(hits: Sequence[float], images: Sequence[float]) -> tuple[float, float]:
    """Compute the 95 % interval of one network's balanced accuracy, the mean of the recalls of its classes.

    Args:
        hits, images: (K,) of each class, also effective counts; classes without images are left out.

    Returns:
        (low, high), fractions; it contains the mean. Wilson's for one class.

    Raises:
        ValueError: no class has images.

    Source: Wilson's interval of an effective count of images, that of a sample with the same variance (Franco, Little,
    Louis and Slud 2019, J. Surv. Stat. Methodol. 7, 334-364), with Student's t as in `balanced_interval`, whose
    variances these are too.
    """
    counts = np.array([(hit, count) for hit, count in zip(hits, images, strict=True) if count], np.float64)
    if len(counts) == 0:
        raise ValueError("no class has images")
    correct, of_class = counts.T
    if len(counts) == 1:
        return wilson_interval(correct[0], of_class[0])
    rates = _leaning_rates(correct, of_class)
    variances, freedom = _variances(rates * (1 - rates), of_class, of_class)
    effective = len(counts) ** 2 * rates.mean() * (1 - rates.mean()) / variances.sum()
    return wilson_interval(float((correct / of_class).mean()) * effective, effective, _student_t(freedom))


def metric_interval(network: MeasuredNetwork, metric: str) -> tuple[float, float]:
    """Compute the 95 % interval of one network's metric, fractions: Wilson's of top-1, else `mean_recall_interval`."""
    if metric == "top1_fraction":
        low, high = network.top1_interval
        return low, high
    hits = [row[own] for own, row in enumerate(network.confusion)]
    return mean_recall_interval(hits, [sum(row) for row in network.confusion])


def _student_t(freedom: float, confidence: float = CONFIDENCE) -> float:
    """Return the two-sided quantile of Student's t; of the normal distribution for infinite `freedom`."""
    from scipy.special import stdtrit  # takes half a second to import; only a report needs it

    return float(stdtrit(freedom, (1 + confidence) / 2))


def _normal(confidence: float) -> float:
    """Return the two-sided quantile of the normal distribution; that of 95 % as reports have it."""
    return Z95 if confidence == CONFIDENCE else statistics.NormalDist().inv_cdf((1 + confidence) / 2)


def over_seeds(baseline: list[float], student: list[float], step_points: float = 0.0) -> dict:
    """Compute mean and standard deviation over trainings, in points, and the interval of the gain.

    Baseline and student with one seed are paired, so the mean of their differences gets a t interval.
    It covers the variation between trainings on the given test images; `paired_interval` and
    `balanced_interval` cover the choice of the test images.

    Args:
        baseline, student: one metric, 0..1, of the training with each seed, in the same order.
        step_points: change of the metric by one image, the rounding step of a gain; adds its variance.

    Returns:
        seeds; baseline, student, gain: each `mean_points` and `sd_points` (n - 1 in the
        denominator; None for one seed); `interval_points`: 95 % of the mean gain, None for one
        seed; `shown`: it lies above zero, None for one seed; `sentence`.

    Source: Student 1908, Biometrika 6, 1-25; the variance of rounding is step^2 / 12.
    """
    series = {"baseline": [100 * value for value in baseline], "student": [100 * value for value in student]}
    count = len(baseline)
    pairs = zip(series["student"], series["baseline"], strict=True)
    series["gain"] = [student - baseline for student, baseline in pairs]
    summary: dict = {"seeds": count}
    for name, values in series.items():
        spread = statistics.stdev(values) if len(values) > 1 else None
        summary[name] = {"mean_points": statistics.fmean(values), "sd_points": spread}
    if count == 1:
        return {
            **summary,
            "interval_points": None,
            "shown": None,
            "sentence": "one seed: the spread over trainings is unknown",
        }
    mean = summary["gain"]["mean_points"]
    error = math.sqrt((summary["gain"]["sd_points"] ** 2 + step_points**2 / 12) / count)
    half = _student_t(count - 1) * error
    low, high = mean - half, mean + half
    verdict = "a gain" if low > 0 else "a loss" if high < 0 else "no gain shown"
    sentence = f"{verdict} over {count} seeds: the 95 % interval of the mean gain is {low:+.1f} to {high:+.1f} points"
    return {**summary, "interval_points": [low, high], "shown": low > 0, "sentence": sentence}


def binomial_lower(hits: int, images: int, confidence: float) -> float:
    """Compute the exact one-sided lower limit of a fraction, which lies above it in at least `confidence` of all draws.

    Args:
        hits: of so many images; 0 images give 0.
        confidence: 0..1.

    Source: Clopper and Pearson 1934, Biometrika 26, 404-413.
    """
    from scipy.special import betaincinv  # scipy.stats takes a second to import

    return float(betaincinv(hits, images - hits + 1, 1 - confidence)) if hits else 0.0


def binomial_interval(hits: int, images: int, confidence: float = CONFIDENCE) -> tuple[float, float]:
    """Compute the exact two-sided interval of a fraction; (0, 1) without images. Source: as `binomial_lower`."""
    one_sided = (1 + confidence) / 2
    return binomial_lower(hits, images, one_sided), 1 - binomial_lower(images - hits, images, one_sided)
