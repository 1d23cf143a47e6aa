"""A teacher of figures for the price of a few forward passes: a ridge head on the features of a frozen network."""

from __future__ import annotations

import numpy as np

from edgedistill.distillation.probe import STRENGTHS, LogisticHead


def ridge_from_features(
    features: np.ndarray, targets: np.ndarray, folds: np.ndarray, image_weights: np.ndarray
) -> LogisticHead:
    """Fit outputs = features @ weight.T + bias; the strength has the least squared error on the folds left out.

    Args:
        features: (V, N, F) of V views of each image.
        targets: (N, K) float.
        folds: (N,) int; images of one fold are left out together.
        image_weights: (N,) in the loss; their mean is 1.

    Returns:
        The head; its `scores` are mean squared errors, half of each, on views of the folds that were left out.

    Source: Hoerl and Kennard 1970, Technometrics 12, 55-67.
    """
    views, _, width = features.shape
    flat = features.reshape(-1, width).astype(np.float64)
    mean, scale = flat.mean(axis=0), max(float(np.sqrt(flat.var(axis=0).mean())), 1e-12)
    inputs = np.concatenate([(flat - mean) / scale, np.ones((len(flat), 1))], axis=1)
    wanted, weights, fold_of = np.tile(targets, (views, 1)), np.tile(image_weights, views), np.tile(folds, views)
    numbers = np.unique(folds)
    sums = {fold: _sums(inputs, wanted, weights * (fold_of == fold)) for fold in numbers}
    gram, cross, total = _sums(inputs, wanted, weights)
    scores: dict[float, float] = {}
    for l2 in STRENGTHS if len(numbers) > 1 else STRENGTHS[:1]:
        scores[l2] = 0.0
        for fold, (own_gram, own_cross, own_total) in sums.items():
            if len(numbers) > 1:
                solution = _solved(gram - own_gram, cross - own_cross, total - own_total, l2)
                error = (inputs @ solution - wanted)[fold_of == fold] ** 2
                scores[l2] += 0.5 * float(weights[fold_of == fold] @ error.mean(axis=1)) / float(weights.sum())
    best = min(scores, key=scores.__getitem__)
    solution = _solved(gram, cross, total, best)
    weight = solution[:-1].T / scale
    return LogisticHead(weight, solution[-1] - weight @ mean, best, scores)


def _sums(inputs: np.ndarray, wanted: np.ndarray, weights: np.ndarray) -> tuple[np.ndarray, np.ndarray, float]:
    weighed = inputs * weights[:, None]
    return weighed.T @ inputs, weighed.T @ wanted, float(weights.sum())


def _solved(gram: np.ndarray, cross: np.ndarray, total: float, l2: float) -> np.ndarray:
    """(F + 1, K) at the least of half the mean squared error + l2 / 2 |weight|^2; the bias is not held back."""
    held = np.full(len(gram), l2)
    held[-1] = 0.0
    return np.linalg.solve(gram / total + np.diag(held), cross / total)
