"""Refuse images of none of the classes by their largest logit, with a stated coverage of known ones."""

from __future__ import annotations

import math

import numpy as np


def unknown_threshold(scores: np.ndarray, coverage: float) -> float | None:
    """Choose the score below which an image is refused, so that known images are kept with at least `coverage`.

    Args:
        scores: (n,) of validation images, the larger the more known; -inf where there is none.
        coverage: 0..1.

    Returns:
        The k-th smallest score, k = floor((1 - coverage) (n + 1)): a further image from the same source is below it
        with a probability of at most k / (n + 1), whatever the distribution, over the draw of it and of these n.
        None where n is too small to refuse anything: see `images_for`.

    Source: split conformal prediction, Papadopoulos et al. 2002, ECML 345-356; Angelopoulos and Bates 2021,
    arXiv:2107.07511, theorem 1. The largest logit as the score: Hendrycks et al. 2022, arXiv:1911.11132.
    """
    refused = math.floor((1 - coverage) * (len(scores) + 1) + 1e-9)
    if refused < 1:
        return None
    threshold = float(np.sort(scores)[refused - 1])
    return threshold if math.isfinite(threshold) else None


def images_for(coverage: float) -> int:
    """Fewest validation images with which anything can be refused at this coverage."""
    return math.ceil(1 / (1 - coverage) - 1e-9) - 1


def auroc(known: np.ndarray, others: np.ndarray) -> float:
    """Compute the probability that a known image's score is above another's, ties half: the area under the ROC curve.

    Args:
        known, others: (n,) and (m,) scores, n and m at least 1.

    Source: Mann and Whitney 1947, Ann. Math. Stat. 18, 50-60.
    """
    ordered = np.sort(others)
    below, up_to = (np.searchsorted(ordered, known, side) for side in ("left", "right"))
    return float((below + up_to).sum() / (2 * len(known) * len(others)))
