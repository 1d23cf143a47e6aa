"""Numbers parted into ranges with about as many in each."""

from __future__ import annotations

import numpy as np

RANGES = 5
FEWEST = 8  # numbers of a range, below which there are fewer ranges


def ranges_of(values: np.ndarray) -> tuple[np.ndarray, list[tuple[float, float]]]:
    """The range that each number lies in, and the smallest and largest number of each range, ascending.

    Equal numbers are in one range, so there may be fewer than RANGES, of unequal size.

    Args:
        values: (N,) float.

    Returns:
        (N,) int64 from 0, and (low, high) of each range.
    """
    for count in range(RANGES, 0, -1):
        edges = np.unique(np.quantile(values, np.arange(1, count) / count))
        _, labels, sizes = np.unique(np.searchsorted(edges, values), return_inverse=True, return_counts=True)
        if sizes.min() >= FEWEST:
            break
    held = [values[labels == number] for number in range(len(sizes))]
    return labels.astype(np.int64), [(float(part.min()), float(part.max())) for part in held]
