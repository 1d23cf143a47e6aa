"""How far a difference between two networks on the same test images can be trusted."""

from __future__ import annotations

import math
import statistics

import numpy as np

from edgedistill.evaluation.classification import Z95, paired

POOLED_IMAGES = 5  # all classes together borrow as many images from their common rates


def paired_interval(first_only: int, second_only: int, images: int) -> tuple[float, float]:
    """95 % interval of the difference of two accuracies on the same images.

    Args:
        first_only: images that only the first network has right.
        second_only: images that only the second has right.
        images: all of them.

    Returns:
        (low, high) of first minus second, fractions in -1..1. Not of width zero when the two
        networks never differ, as the interval without the adjustment would be.

    Source: Bonett and Price 2012, J. Educ. Behav. Stat. 37, 479-488 (adjusted Wald).
    """
    first, second = (first_only + 1) / (images + 2), (second_only + 1) / (images + 2)
    difference = first - second
    half = Z95 * math.sqrt((first + second - difference**2) / (images + 2))
    return max(-1.0, difference - half), min(1.0, difference + half)


def standard_error_points(first: np.ndarray, second: np.ndarray, labels: np.ndarray) -> float:
    """Of the difference of two top-1 accuracies on the same images, in points.

    0 when they never differ in being right, which does not mean that they cannot.

    Source: variance of a difference of paired proportions, Agresti, Categorical Data Analysis, 10.1.
    """
    counts, images = paired(first, second, labels), len(labels)
    b, c = counts["first_only_correct"] / images, counts["second_only_correct"] / images
    return 100 * math.sqrt(max(0.0, b + c - (b - c) ** 2) / images)


def drop_interval_points(first: np.ndarray, second: np.ndarray, labels: np.ndarray) -> list[float]:
    """95 % interval of that difference, in points; see `paired_interval`."""
    counts = paired(first, second, labels)
    interval = paired_interval(counts["first_only_correct"], counts["second_only_correct"], len(labels))
    return [100 * end for end in interval]


def balanced_interval(classes: list[list[int]]) -> tuple[float, float]:
    """95 % interval of the difference of two balanced accuracies on the same images.

    For the balanced accuracy of one network alone, let the second be right on nothing: rows of
    its hits, 0, and the class's images.

    Args:
        classes: for each class: images that only the first network has right, that only the second
            has right, all of the class. Classes without images are left out.

    Returns:
        (low, high) of first minus second, fractions in -1..1; it holds the difference itself. The
        same as `paired_interval` for one class.

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
        return paired_interval(*(int(count) for count in rows[0]))
    first, second, images = rows.T
    added = images + 2 / len(rows)
    borrowed = min(1.0, POOLED_IMAGES / len(rows))
    rates = [
        (only + borrowed * (only.sum() + 1) / (images.sum() + 2)) / (images + borrowed) for only in (first, second)
    ]
    spread = rates[0] + rates[1] - (rates[0] - rates[1]) ** 2
    variances = spread / (1 - images / (images + borrowed) ** 2) / added
    freedom = variances.sum() ** 2 / (variances**2 / images).sum()
    half = t95(freedom) * math.sqrt(variances.sum()) / len(rows)
    middle, difference = (float(((first - second) / n).mean()) for n in (added, images))
    return max(-1.0, min(difference, middle - half)), min(1.0, max(difference, middle + half))


def t95(freedom: float) -> float:
    """Two-sided 95 % of Student's t; of the normal distribution when `freedom` is infinite."""
    from scipy.special import stdtrit  # half a second that only a report needs

    return float(stdtrit(freedom, 0.975))


def over_seeds(baseline: list[float], student: list[float], step_points: float = 0.0) -> dict:
    """Mean and standard deviation over trainings, in points, and what they show of the gain.

    Baseline and student of one seed share it, so it is their difference that varies: its mean has a
    t interval. This is about the luck of a training on the given test images; which images those
    are is what `paired_interval` and `balanced_interval` are about.

    Args:
        baseline, student: one metric, 0..1, of the training with each seed, in the same order.
        step_points: what one image changes the metric by. Two trainings whose gains are equal to
            the image differ by less than that, not by nothing.

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
    half = t95(count - 1) * error
    low, high = mean - half, mean + half
    verdict = "a gain" if low > 0 else "a loss" if high < 0 else "no gain shown"
    sentence = f"{verdict} over {count} seeds: the 95 % interval of the mean gain is {low:+.1f} to {high:+.1f} points"
    return {**summary, "interval_points": [low, high], "shown": low > 0, "sentence": sentence}
