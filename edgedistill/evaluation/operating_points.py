"""Choose thresholds on validation images so that a promised recall or precision holds, whatever the distribution.

The board answers a class with a threshold where its probability reaches it, and no other class before it in the list
does; see `edgedistill_device.inference.decide`.
"""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np

from edgedistill.evaluation.intervals import binomial_lower

PRECISION_GRID = (0.55, 0.6, 0.65, 0.7, 0.75, 0.8, 0.85, 0.9, 0.95, 0.975, 0.99)
"""Fixed before any image is seen. Above one half no two classes reach theirs at once."""


class Choice(NamedTuple):
    """A threshold, or why there is none.

    Attributes:
        threshold: on the class's probability; None where the promise cannot be shown.
        hits, images: of validation images, that the choice rests on: of the class for a recall, of its answers for a
            precision; of the threshold, or of the most promising one where none is chosen.
        lower: what these show, with the asked confidence.
        most: the largest share that as many images could show, all right.
        needed: images of the same kind that could show what is asked, all right.
    """

    threshold: float | None
    hits: int
    images: int
    lower: float
    most: float
    needed: int


def threshold_for_recall(scores: np.ndarray, asked: float, confidence: float) -> Choice:
    """Choose the largest threshold that at least `asked` of the class's images reach.

    Args:
        scores: (n,) of the class's validation images: its probability; -inf where another class is answered whatever
            the threshold.
        asked: recall, 0..1.
        confidence: share of the draws of n images in which the promise holds.

    Returns:
        The k-th smallest score, for the largest k that n allows: the share of all images below it has the distribution
        Beta(k, n - k + 1) whatever the scores' own, and k - 1 misses of n show `asked` by Clopper-Pearson. k depends
        on n alone, so that choosing costs nothing.

    Source: tolerance limits from order statistics, Wilks 1941, Ann. Math. Stat. 12, 91-96.
    """
    images, reachable = len(scores), int(np.isfinite(scores).sum())
    misses = _misses_allowed(images, asked, confidence)
    needed, most = _needed(asked, 1 - confidence), _most(images, 1 - confidence)
    if misses < 0 or reachable < images - misses:
        return Choice(None, reachable, images, binomial_lower(reachable, images, confidence), most, needed)
    threshold = float(np.sort(scores)[misses])
    hits, lower = int((scores >= threshold).sum()), binomial_lower(images - misses, images, confidence)
    return Choice(threshold, hits, images, lower, most, needed)


def threshold_for_precision(scores: np.ndarray, right: np.ndarray, asked: float, confidence: float) -> Choice:
    """Choose the smallest threshold of PRECISION_GRID above which at least `asked` of the answers are right.

    Args:
        scores: (n,) the class's probability, of all validation images.
        right: (n,) bool, of this class.
        asked: precision, 0..1.
        confidence: as above.

    Returns:
        Each threshold of the grid is tested at (1 - confidence) / len(grid), so that all that is said of the grid
        holds at once with `confidence`.

    Source: Clopper-Pearson with Bonferroni's correction, as in Learn then Test, Angelopoulos et al. 2021,
    arXiv:2110.01052.
    """
    error = (1 - confidence) / len(PRECISION_GRID)
    rows = []
    for threshold in PRECISION_GRID:
        reached = scores >= threshold
        images, hits = int(reached.sum()), int(right[reached].sum())
        lower = binomial_lower(hits, images, 1 - error)
        rows.append(Choice(threshold, hits, images, lower, _most(images, error), _needed(asked, error)))
    shown = [row for row in rows if row.lower >= asked]
    return shown[0] if shown else max(rows, key=lambda row: row.lower)._replace(threshold=None)


def _misses_allowed(images: int, asked: float, confidence: float) -> int:
    """The most misses among `images` that still show a recall of `asked`; -1: not even none."""
    misses = -1
    while misses + 1 < images and binomial_lower(images - misses - 1, images, confidence) >= asked:
        misses += 1
    return misses


def _most(images: int, error: float) -> float:
    return error ** (1 / images) if images else 0.0


def _needed(asked: float, error: float) -> int:
    return math.ceil(math.log(error) / math.log(asked))
