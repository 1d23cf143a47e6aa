"""Folds for cross-validation: stratified by class, groups kept whole."""

from __future__ import annotations

import numpy as np


def folds_of(labels: np.ndarray, groups: np.ndarray, count: int) -> np.ndarray:
    """Assign every image to a fold.

    Big groups come first; each goes into the fold that has least of its classes, of equal ones into the
    smallest.

    Args:
        labels: (N,) int class indices.
        groups: (N,) int; images of one group go together.
        count: folds, at least 2; with fewer groups some stay empty.

    Returns:
        (N,) int, 0 .. count - 1.
    """
    numbers, group_of = np.unique(groups, return_inverse=True)
    held = np.zeros((len(numbers), labels.max() + 1))
    np.add.at(held, (group_of, labels), 1)
    shares = held / np.maximum(held.sum(axis=0), 1)  # of each class, so that rare ones are spread too
    filled, sizes = np.zeros((count, held.shape[1])), np.zeros(count)
    fold_of_group = np.empty(len(numbers), dtype=np.int64)
    for number in np.argsort(-held.sum(axis=1), kind="stable"):
        fold = int(np.lexsort((sizes, filled @ shares[number]))[0])
        fold_of_group[number] = fold
        filled[fold] += shares[number]
        sizes[fold] += held[number].sum()
    return fold_of_group[group_of]
