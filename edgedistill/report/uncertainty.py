"""How far a difference between two networks on the same test images can be trusted."""

from __future__ import annotations

import math

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
