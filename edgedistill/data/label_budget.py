"""Few labels on trial: so many of the training images keep theirs, the others are learnt from without."""

from __future__ import annotations

import hashlib

import numpy as np

from edgedistill.core.text import plural
from edgedistill.data.pool import POOL
from edgedistill.data.splits import LEAST_TRAIN
from edgedistill.data.targets import Targets
from edgedistill.errors import DataError


def within_budget(splits: np.ndarray, kinds: np.ndarray, keys: list[str], labels: int, seed: int) -> np.ndarray:
    """The splits, in which training images beyond the budget are of the pool.

    Each kind keeps as many as the others, as far as it has them: few labels are counted by class. Whose labels stay is
    drawn by the hash of the content: a larger budget holds a smaller one, and file names do not matter.

    Args:
        splits: (N,) of train, val and test.
        kinds: (N,) int, as of `Targets.labels`.
        keys: N content hashes.
        labels: training images that keep theirs.
        seed: changes which.

    Raises:
        DataError: there are not more training images than that.
    """
    train = np.flatnonzero(splits == "train")
    if labels >= len(train):
        raise DataError(
            f"data.train_labels = {labels}: expected fewer than the {len(train)} training images; lower it, or leave "
            "it out to use all their labels"
        )
    drawn = sorted(train, key=lambda row: hashlib.sha256(f"{seed}:label:{keys[row]}".encode()).digest())
    of_kind, place = kinds[drawn], np.empty(len(drawn), np.int64)  # of an image in its kind's order
    for kind in np.unique(of_kind):
        place[of_kind == kind] = np.arange((of_kind == kind).sum())
    beyond = np.array(drawn)[np.argsort(place, kind="stable")[labels:]]
    return np.where(np.isin(np.arange(len(splits)), beyond), POOL, splits)


def refuse_lost_kinds(targets: Targets, splits: np.ndarray) -> None:
    """
    Args:
        splits: as of `within_budget`.

    Raises:
        DataError: a class has too few training images left to learn from.
    """
    counts = targets.counts(np.flatnonzero(splits == "train"))
    name = min(counts, key=counts.__getitem__)
    if counts[name] < LEAST_TRAIN:
        raise DataError(
            f"data.train_labels leaves {plural(counts[name], 'training image')} of {name!r}, at least {LEAST_TRAIN} "
            "are needed; raise it, or take another data.split_seed"
        )
