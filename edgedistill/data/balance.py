"""Weights that meet class imbalance, in the draw or in the loss."""

from __future__ import annotations

import numpy as np


def sample_weights(labels: np.ndarray) -> np.ndarray:
    """(N,) weights with which every class is drawn equally often."""
    counts = np.bincount(labels)
    return 1.0 / counts[labels]


def class_weights(labels: np.ndarray, classes: int) -> np.ndarray:
    """(classes,) inverse frequencies, scaled so that their mean over the images is 1.

    A class without images gets weight 0.
    """
    counts = np.bincount(labels, minlength=classes)
    present = counts > 0
    return np.where(present, len(labels) / (present.sum() * np.maximum(counts, 1)), 0.0)
