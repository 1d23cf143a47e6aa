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


def balanced_interval(first: list[list[int]], second: list[list[int]]) -> tuple[float, float]:
    """95 % interval of the difference of two balanced accuracies, from the confusion matrices.

    The matrices do not say which images the two networks share, so the networks are taken as
    independent. Networks that agree more often than that get an interval that is too wide, which is
    the safe side.

    Args:
        first, second: (C, C) counts, rows true, columns predicted, of the same test images.

    Returns:
        (low, high) of first minus second, fractions in -1..1.

    Source: Agresti and Caffo 2000, Am. Stat. 54, 280-288 (one success and one failure added per
    class), summed over the classes.
    """
    differences, variances = [], []
    for number, (row, other) in enumerate(zip(first, second, strict=True)):
        images = sum(row)
        if images == 0:
            continue
        shares = [(hits[number] + 1) / (images + 2) for hits in (row, other)]
        differences.append(shares[0] - shares[1])
        variances += [share * (1 - share) / (images + 2) for share in shares]
    difference = sum(differences) / len(differences)
    half = Z95 * math.sqrt(sum(variances)) / len(differences)
    return max(-1.0, difference - half), min(1.0, difference + half)
