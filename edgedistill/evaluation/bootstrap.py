"""Bootstrap intervals over images, for figures that have no interval of their own."""

from __future__ import annotations

import numpy as np

DRAWS = 1000  # fewer of very many images, where the interval is narrow anyway
_MOST, _FEWEST = 5_000_000, 200  # images in all draws together, and draws at least
_ENDS = (2.5, 97.5)


def draws_of(images: int) -> np.ndarray:
    """(draws, images) float64: how often each image is drawn. Equal for equal counts of images, so draws are paired.

    Source: Efron 1979, Ann. Stat. 7, 1-26; percentile intervals.
    """
    draws = max(_FEWEST, min(DRAWS, _MOST // images))
    rng = np.random.default_rng(images)
    return np.stack([np.bincount(rng.integers(0, images, images), minlength=images) for _ in range(draws)]).astype(
        float
    )


def interval_of(drawn: np.ndarray) -> list[int | float]:
    """Low and high of 95 % of (draws,) values; those that are NaN, where a draw determines none, are left out."""
    return [float(end) for end in np.nanpercentile(drawn, _ENDS)]
