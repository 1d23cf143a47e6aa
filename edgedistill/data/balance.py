"""Weights that meet class imbalance, in the draw or in the loss."""

from __future__ import annotations

import numpy as np

MOST_RATIO = 20.0  # of two classes' weights; below the 31 other images of a batch of 32


def sample_weights(labels: np.ndarray) -> np.ndarray:
    """(N,) weights with which every class is drawn equally often."""
    counts = np.bincount(labels)
    return 1.0 / counts[labels]


def positive_weights(figures: np.ndarray) -> np.ndarray:
    """(K,) images without a label over images with it, at most MOST_RATIO: as much loss in both at the start.

    Args:
        figures: (N, K) of the training images, 1 for each label of an image, else 0; each label is on some.
    """
    counts = figures.sum(axis=0)
    return np.minimum((len(figures) - counts) / counts, MOST_RATIO)


def class_weights(labels: np.ndarray, classes: int) -> np.ndarray:
    """(classes,) inverse frequencies, scaled so that their mean over the images is 1.

    The largest is at most MOST_RATIO times the smallest: an image of a class that is still rarer
    would weigh more than the rest of its batch together, and the network would learn that image by
    heart. A class without images gets weight 0.

    Source: Cui et al. 2019, arXiv:1901.05555, section 1 (inverse frequencies do poorly on strong
    imbalance); Paszke et al. 2016, arXiv:1606.02147, section 5.2 (weights within 1 to 50).
    """
    counts = np.bincount(labels, minlength=classes)
    ratios = np.minimum(counts.max() / np.maximum(counts, 1), MOST_RATIO)
    weights = np.where(counts > 0, ratios, 0.0)
    return weights * len(labels) / (weights * counts).sum()
