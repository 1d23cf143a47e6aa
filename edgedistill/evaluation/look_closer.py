"""Images that a person should look at: clear errors, close calls, labels that may be wrong."""

from __future__ import annotations

import numpy as np


def softmax(logits: np.ndarray, temperature: float = 1.0) -> np.ndarray:
    """(N, C) float64 probabilities of (N, C) logits; 0 where an image's logits are not finite."""
    with np.errstate(invalid="ignore"):
        scaled = logits.astype(np.float64) / temperature
        powers = np.exp(scaled - scaled.max(axis=1, keepdims=True))
        return np.nan_to_num(powers / powers.sum(axis=1, keepdims=True))


def worst(probabilities: np.ndarray, labels: np.ndarray, most: int) -> np.ndarray:
    """Positions of at most `most` images with a wrong answer, the least probable label first.

    Args:
        probabilities: (N, C).
        labels: (N,) int.
    """
    wrong = np.flatnonzero(probabilities.argmax(axis=1) != labels)
    return wrong[np.argsort(probabilities[wrong, labels[wrong]], kind="stable")][:most]


def doubtful(probabilities: np.ndarray, most: int) -> np.ndarray:
    """Positions of at most `most` images, those whose two most probable classes are closest first.

    Args:
        probabilities: (N, C), at least two classes.
    """
    two = np.sort(probabilities, axis=1)[:, -2:]
    return np.argsort(two[:, 1] - two[:, 0], kind="stable")[:most]


def suspect_labels(probabilities: np.ndarray, labels: np.ndarray) -> np.ndarray:
    """Positions of the images whose label may be wrong, the clearest first.

    Suspect is a label where the most probable class is another one, and at least as probable as that class is on
    average over the images that bear it as their label. Whoever has learnt the labels by heart suspects none.

    Args:
        probabilities: (N, C) of a network that one trusts.
        labels: (N,) int.

    Source: Northcutt, Jiang and Chuang 2021, arXiv:1911.00068, section 3.1 (confident joint, with the average
    self-confidence of a class as its threshold); ranked by the normalised margin.
    """
    named = probabilities.argmax(axis=1)
    usual = np.array(
        [
            probabilities[labels == number, number].mean() if (labels == number).any() else np.inf
            for number in range(probabilities.shape[1])
        ]
    )
    everyone = np.arange(len(labels))
    suspects = np.flatnonzero((named != labels) & (probabilities[everyone, named] >= usual[named]))
    margins = probabilities[suspects, labels[suspects]] - probabilities[suspects, named[suspects]]
    return suspects[np.argsort(margins, kind="stable")]
