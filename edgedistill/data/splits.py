"""Training, validation and test images: stratified by class, groups kept whole."""

from __future__ import annotations

import hashlib
from collections import Counter

import numpy as np

from edgedistill.errors import DataError

# A group larger than this share of the smallest split goes to `train`: a family of a hundred
# look-alikes would make up a third of the validation images and decide every figure there.
LARGEST_GROUP_FRACTION = 0.05


def split(
    labels: np.ndarray,
    groups: np.ndarray,
    keys: list[str],
    fractions: dict[str, float],
    seed: int,
    classes: list[str],
) -> np.ndarray:
    """Assign every image to `train` or to one of the splits in `fractions`.

    Big groups come first, equal ones in an order given by the hash of their content; each goes
    into the split that lacks most of what it holds. So the outcome depends on the images and the
    seed, not on file names or order.

    Args:
        labels: (N,) int class indices.
        groups: (N,) int; images of one group go together.
        keys: N content hashes.
        fractions: split name -> share wanted, their sum below 1.
        seed: changes the order.
        classes: names, for messages.

    Returns:
        (N,) array of split names.

    Raises:
        DataError: a class would be missing from a split.
    """
    members: dict[int, list[int]] = {}
    for index, group in enumerate(groups):
        members.setdefault(int(group), []).append(index)
    wanted = {**fractions, "train": 1 - sum(fractions.values())}
    totals = np.bincount(labels, minlength=len(classes))
    room = {name: totals * share for name, share in wanted.items()}
    result = np.empty(len(labels), dtype=object)

    def order(indices: list[int]) -> tuple[int, str]:
        first = min(keys[i] for i in indices)
        # Big groups first: they are the hard ones to place.
        return -len(indices), hashlib.sha256(f"{seed}:{first}".encode()).hexdigest()

    largest = max(8.0, LARGEST_GROUP_FRACTION * min(fractions.values()) * len(labels))
    for indices in sorted(members.values(), key=order):
        held = np.bincount(labels[indices], minlength=len(classes))
        # The split with the largest unfilled share of what this group holds; ties by name.
        best = max(
            sorted(wanted) if len(indices) <= largest else ["train"],
            key=lambda name: float(
                (room[name] / np.maximum(totals * wanted[name], 1e-9) * held).sum()
            ),
        )
        room[best] = room[best] - held
        result[indices] = best
    _refuse_missing(result, labels, groups, wanted, classes)
    return result


def _refuse_missing(
    result: np.ndarray, labels: np.ndarray, groups: np.ndarray, wanted: dict, classes: list[str]
) -> None:
    for number, name in enumerate(classes):
        of_class = labels == number
        missing = sorted(set(wanted) - set(result[of_class]))
        if missing:
            count, kinds = int(of_class.sum()), len(set(groups[of_class]))
            raise DataError(
                f"class {name!r} has {count} images in {kinds} groups, too few for a "
                f"{' and a '.join(missing)} split; add images, give data.val and data.test, or leave "
                f"such classes out: data.small_classes = \"drop\", data.min_class_images = {count + 1}"
            )


def leaks_between(
    splits: np.ndarray, pairs: list[tuple[int, int, float]]
) -> tuple[Counter, list[tuple[int, int, float]]]:
    """Alike pairs whose images stand in different splits.

    Returns:
        Counts by "train/test"-like names, and the pairs, most alike first.
    """
    found = [pair for pair in pairs if splits[pair[0]] != splits[pair[1]]]
    found.sort(key=lambda pair: -pair[2])
    return Counter("/".join(sorted((splits[i], splits[j]))) for i, j, _ in found), found
