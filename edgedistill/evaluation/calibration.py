"""Fit the softmax temperature, so that a probability says how often an answer is right."""

from __future__ import annotations

import math

import numpy as np

from edgedistill.evaluation.classification import cross_entropy

LEAST, MOST = 0.05, 20.0  # temperatures that are looked at
LEAST_GAIN = 1e-6  # nats by which the best has to be better than both ends


def fitted_temperature(logits: np.ndarray, labels: np.ndarray) -> float | None:
    """Find the temperature whose softmax gives the labels the largest likelihood.

    Args:
        logits: (N, C) float; rows that are not finite are left out.
        labels: (N,) int.

    Returns:
        A number above 0. None where the images determine none: where all answers are right (the smaller, the better),
        or where the logits say nothing of the labels (the larger, the better).

    Source: Guo et al. 2017, arXiv:1706.04599, section 4.2. The likelihood is concave in 1 / temperature, so that a
    search between two ends finds its only maximum.
    """
    from scipy.optimize import minimize_scalar  # takes long to import; only a fit needs it

    finite = np.isfinite(logits).all(axis=1)
    if not finite.any():
        return None
    kept, known = logits[finite].astype(np.float64), labels[finite]

    def loss(log_temperature: float) -> float:
        return cross_entropy(kept / math.exp(log_temperature), known)

    ends = math.log(LEAST), math.log(MOST)
    found = minimize_scalar(loss, bounds=ends, method="bounded", options={"xatol": 1e-6})
    if found.fun > min(map(loss, ends)) - LEAST_GAIN:
        return None
    return round(math.exp(found.x), 6)
