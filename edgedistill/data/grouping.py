"""Which images belong together and must not be torn between splits."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from edgedistill.data.duplicates import alike_pairs, groups_from_pairs
from edgedistill.data.scan import Scan
from edgedistill.sections import DataConfig

GIANT_FRACTION = 0.1  # a near-duplicate group above this share is a look-alike family, not copies


@dataclass(frozen=True)
class Grouping:
    """Which images belong together.

    Attributes:
        groups: (N,) numbers.
        exact: pairs of equal files.
        near: alike pairs (i, j, similarity), exact ones among them.
        similarity: the bar that was used in the end.
    """

    groups: np.ndarray
    exact: list[tuple[int, int]]
    near: list[tuple[int, int, float]]
    similarity: float


def group(found: Scan, data: DataConfig) -> Grouping:
    """Join exact copies, near-duplicates, and what the user's group column or pattern names.

    Where near-duplicates would chain more than a tenth of all images into one group, the images
    are a family of look-alikes: the bar is raised until they do not.
    """
    exact = _pairs_of_equals(found.sha256)
    named = _pairs_of_equals([item.group for item in found.items])
    similarity = data.near_duplicate_similarity
    near = alike_pairs(found.signatures, similarity) if similarity > 0 else []
    while True:
        close = [(i, j) for i, j, _ in near]
        chained = groups_from_pairs(len(found.items), close)
        if not close or np.bincount(chained).max() <= max(8, GIANT_FRACTION * len(found.items)):
            break
        similarity += (1 - similarity) / 4
        near = [pair for pair in near if pair[2] >= similarity] if similarity < 0.9999 else []
    groups = groups_from_pairs(len(found.items), [*exact, *named, *close])
    return Grouping(groups, exact, near, similarity)


def _pairs_of_equals(keys: list[str | None]) -> list[tuple[int, int]]:
    """(first, other) for every repetition of a key; None repeats nothing."""
    first: dict[str, int] = {}
    pairs = []
    for index, key in enumerate(keys):
        if key is not None:
            before = first.setdefault(key, index)
            if before != index:
                pairs.append((before, index))
    return pairs
