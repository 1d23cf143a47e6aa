"""How far a difference between two networks on the same test images can be trusted."""

from __future__ import annotations

import math
import statistics

Z95 = 1.959964  # two-sided 95 % of the normal distribution


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


def balanced_interval(classes: list[list[int]]) -> tuple[float, float]:
    """95 % interval of the difference of two balanced accuracies on the same images.

    Args:
        classes: for each class: images that only the first network has right, that only the second
            has right, all of the class. Classes without images are left out.

    Returns:
        (low, high) of first minus second, fractions in -1..1.

    Source: each class's difference and variance as in `paired_interval`; the mean over independent
    classes has the sum of their variances over the square of their number.
    """
    differences, variances = [], []
    for first_only, second_only, images in classes:
        if images == 0:
            continue
        first, second = (first_only + 1) / (images + 2), (second_only + 1) / (images + 2)
        differences.append(first - second)
        variances.append((first + second - (first - second) ** 2) / (images + 2))
    difference = sum(differences) / len(differences)
    half = Z95 * math.sqrt(sum(variances)) / len(differences)
    return max(-1.0, difference - half), min(1.0, difference + half)


def over_seeds(rows: list[dict], metric: str) -> dict:
    """Mean and standard deviation over trainings, in points.

    Args:
        rows: one for each seed, with `baseline` and `student`, each with both metrics.
        metric: a key of those.

    Returns:
        seeds; baseline, student, gain: each `mean_points` and `sd_points` (n - 1 in the
        denominator; None for one seed); `shown`: the mean gain is above the larger of the two
        networks' own spreads, None for one seed; `sentence`.
    """
    series = {name: [100 * row[name][metric] for row in rows] for name in ("baseline", "student")}
    pairs = zip(series["student"], series["baseline"], strict=True)
    series["gain"] = [student - baseline for student, baseline in pairs]
    found: dict = {"seeds": len(rows)}
    for name, values in series.items():
        spread = statistics.stdev(values) if len(values) > 1 else None
        found[name] = {"mean_points": statistics.fmean(values), "sd_points": spread}
    if len(rows) == 1:
        return {**found, "shown": None,
                "sentence": "one seed: the spread over trainings is unknown"}  # fmt: skip
    mean = found["gain"]["mean_points"]
    spread = max(found["baseline"]["sd_points"], found["student"]["sd_points"])
    if abs(mean) <= spread:
        sentence = f"within the spread over {len(rows)} seeds: no gain shown"
    else:
        sentence = f"{'above' if mean > 0 else 'a loss beyond'} the spread over {len(rows)} seeds"
    return {**found, "shown": mean > spread, "sentence": sentence}
