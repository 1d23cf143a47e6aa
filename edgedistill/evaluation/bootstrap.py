"""Bootstrap intervals over images, for figures that have no interval of their own."""

from __future__ import annotations

import math
from functools import lru_cache

import numpy as np

DRAWS = 1000  # fewer of very many images, where the interval is narrow anyway
_MOST, _FEWEST = 5_000_000, 200  # images in all draws together, and draws at least


def draws_of(images: int) -> np.ndarray:
    """(draws, images) float64: how often each image is drawn. Equal for equal counts of images, so draws are paired.

    Source: Efron 1979, Ann. Stat. 7, 1-26; percentile intervals, see `interval_of`.
    """
    return _counts_of(images).astype(float)


@lru_cache(maxsize=2)  # networks, precisions and seeds are compared on the same test or validation images
def _counts_of(images: int) -> np.ndarray:
    counts = np.empty((max(_FEWEST, min(DRAWS, _MOST // images)), images), np.int16)
    rng = np.random.default_rng(images)
    for draw in counts:
        draw[:] = np.bincount(rng.integers(0, images, images), minlength=images)
    return counts


def interval_of(drawn: np.ndarray, images: int) -> list[int | float]:
    """Low and high of 95 % of (draws,) values; those that are NaN, where a draw determines none, are left out.

    Percentiles are taken further out for few images, whose draws vary too little: by n - 1 for n, and Student's t for
    the normal distribution.

    Source: Hesterberg 2015, The American Statistician 69, 371-386, section 5.3 (expanded percentiles).
    """
    from scipy.special import ndtr, stdtrit  # takes half a second to import

    outside = 100 * float(ndtr(-stdtrit(max(1, images - 1), 0.975) * math.sqrt(images / max(1, images - 1))))
    return [float(end) for end in np.nanpercentile(drawn, (outside, 100 - outside))]
