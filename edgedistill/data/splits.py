"""Training, validation and test images: stratified by class, groups kept whole."""

from __future__ import annotations

import hashlib
from collections.abc import Callable

import numpy as np

from edgedistill.core.text import plural
from edgedistill.errors import DataError

# A group of look-alikes larger than this share of the smallest split goes to `train`: a family of a
# hundred would make up a third of the validation images and decide every figure there. What the user
# named as a group is no such family.
LARGEST_GROUP_FRACTION = 0.05
LEAST_TRAIN = 3  # images of each class that are left to learn from
SWAPS = 100_000  # of two groups that are compared in one step of the repair


def split(
    labels: np.ndarray,
    groups: np.ndarray,
    keys: list[str],
    fractions: dict[str, float],
    seed: int,
    classes: list[str],
    named: np.ndarray | None = None,
) -> np.ndarray:
    """Assign every image to `train` or to one of the splits in `fractions`.

    Big groups come first, equal ones in an order given by the hash of their content; each goes
    into the split that lacks most of what it holds. Where that leaves a split without a class, groups
    move or change places until none lacks any; the rule for big groups of look-alikes is given up
    before a split stays without a class. The outcome depends on the images and the seed, not on file
    names or order.

    Args:
        labels: (N,) int class indices, or (N, classes) bool of images that have several.
        groups: (N,) int; images of one group go together.
        keys: N content hashes.
        fractions: split name -> share wanted, their sum below 1.
        seed: changes the order.
        classes: names, for messages.
        named: (N,) whether the user named the image's group: its size is then no reason to keep it
            out of a split.

    Returns:
        (N,) array of split names.

    Raises:
        DataError: a class is too small, or would be missing from a split.
    """
    _refuse_small(labels, groups, fractions, classes)
    members = _in_order(groups, keys, seed)
    held = _Held(members, labels, len(classes))
    limit = max(8.0, LARGEST_GROUP_FRACTION * min(fractions.values()) * len(labels))
    families = np.array(
        [len(indices) > limit and not (named is not None and named[indices].any()) for indices in members]
    )
    wanted = {**fractions, "train": 1 - sum(fractions.values())}
    for bound in (families, np.zeros(len(members), bool)):
        where = _placed(held, bound, wanted)
        if _repaired(where, held, bound, wanted):
            break
    result = np.empty(len(labels), dtype=object)
    for indices, name in zip(members, where, strict=True):
        result[indices] = name
    _refuse_missing(result, labels, groups, wanted, classes)
    return result


def _in_order(groups: np.ndarray, keys: list[str], seed: int) -> list[list[int]]:
    """The images of each group; big groups first, they are the hard ones to place."""
    members: dict[int, list[int]] = {}
    for index, group in enumerate(groups):
        members.setdefault(int(group), []).append(index)

    def order(indices: list[int]) -> tuple[int, str]:
        first = min(keys[i] for i in indices)
        return -len(indices), hashlib.sha256(f"{seed}:{first}".encode()).hexdigest()

    return sorted(members.values(), key=order)


class _Held:
    """Images of each class in each group. Only what is there is stored: most groups are of one class.

    Attributes:
        totals: (classes,) images.
    """

    def __init__(self, members: list[list[int]], labels: np.ndarray, classes: int) -> None:
        from scipy.sparse import csr_array

        group = np.repeat(np.arange(len(members)), [len(indices) for indices in members])
        label = labels[np.concatenate([*map(np.array, members)])]
        if label.ndim == 2:
            of_image, label = np.nonzero(label)
            group = group[of_image]
        self._rows = csr_array((np.ones(len(label), np.int64), (group, label)), (len(members), classes))
        self._columns = self._rows.tocsc()
        self.totals: np.ndarray = self._rows.sum(axis=0)

    def __len__(self) -> int:
        return self._rows.shape[0]

    def of(self, groups: np.ndarray) -> np.ndarray:
        """(len(groups), classes), dense."""
        return self._rows[groups].toarray()

    def in_all(self, groups: np.ndarray) -> np.ndarray:
        """(classes,) of the groups together; `groups` is a mask."""
        return self._rows[np.flatnonzero(groups)].sum(axis=0)

    def parts(self, group: int) -> tuple[np.ndarray, np.ndarray]:
        """Classes in a group, and images of each."""
        part = slice(self._rows.indptr[group], self._rows.indptr[group + 1])
        return self._rows.indices[part], self._rows.data[part]

    def holders(self, klass: int) -> np.ndarray:
        """Groups with images of a class, ascending."""
        return np.sort(self._columns.indices[self._columns.indptr[klass] : self._columns.indptr[klass + 1]])


def _placed(held: _Held, bound: np.ndarray, wanted: dict[str, float]) -> list[str]:
    """A split for each group.

    Args:
        held: images of each class in each group.
        bound: (groups,) to `train`.
        wanted: share of each split.
    """
    room = {name: held.totals * share for name, share in wanted.items()}
    full = {name: np.maximum(held.totals * share, 1e-9) for name, share in wanted.items()}
    where = []
    for number in range(len(held)):
        there, images = held.parts(number)
        bound_to_train = bound[number] or not len(there)  # an image without labels fills no split
        # The split with the largest unfilled share of what this group holds; ties by name.
        best = max(
            ["train"] if bound_to_train else sorted(wanted),
            key=lambda name: float((room[name][there] / full[name][there] * images).sum()),
        )
        room[best][there] -= images
        where.append(best)
    return where


def _repaired(where: list[str], held: _Held, bound: np.ndarray, wanted: dict[str, float]) -> bool:
    """Move groups, in place, until every split has every class; False where no single step helps."""
    names = sorted(wanted)
    place = np.array([names.index(name) for name in where])
    shares = np.array([wanted[name] for name in names])[:, None] * held.totals
    free = np.flatnonzero(~bound)

    def badness(counts: np.ndarray) -> np.ndarray:
        """(...,) of (..., splits, classes): classes that are missing first, then how uneven they are."""
        missing = (counts == 0).sum(axis=(-1, -2))
        return 1e9 * missing + ((counts - shares) ** 2 / np.maximum(shares, 1e-9)).sum(axis=(-1, -2))

    counts = np.array([held.in_all(place == number) for number in range(len(names))])
    while missing := list(zip(*np.nonzero(counts == 0), strict=True)):
        split, klass = min(missing, key=lambda pair: len(held.holders(pair[1])))
        holders = held.holders(klass)
        holders = holders[~bound[holders]]  # none lies in `split`, which lacks the class
        step = _best_step(holders, free[place[free] == split], split, place, held, counts, badness)
        if step is None:
            return False
        for group, target in step:
            there, images = held.parts(group)
            counts[place[group], there] -= images
            counts[target, there] += images
            place[group] = target
    where[:] = [names[number] for number in place]
    return True


def _best_step(
    holders: np.ndarray,
    inside: np.ndarray,
    split: int,
    place: np.ndarray,
    held: _Held,
    counts: np.ndarray,
    badness: Callable[[np.ndarray], np.ndarray],
) -> list[tuple[int, int]] | None:
    """(group, its new split) of one move into `split`, or of one exchange, whichever leaves it best.

    None where none leaves fewer classes missing.
    """
    best, step = float(badness(counts)) - 5e8, None
    inside = inside[: max(1, SWAPS // max(1, len(holders)))]
    of_inside = held.of(inside)
    for group in holders:
        after, (there, images) = counts.copy(), held.parts(group)
        after[place[group], there] -= images
        after[split, there] += images
        value = float(badness(after))
        if value < best:
            best, step = value, [(int(group), split)]
        if len(inside):
            swapped = np.repeat(after[None], len(inside), axis=0)
            swapped[:, split] -= of_inside
            swapped[:, place[group]] += of_inside
            scores = badness(swapped)
            if scores.min() < best:
                best, other = float(scores.min()), int(inside[scores.argmin()])
                step = [(int(group), split), (other, int(place[group]))]
    return step


def least_images(fractions: dict[str, float]) -> int:
    """Images of a class below which splitting it off is refused: LEAST_TRAIN to learn from, one for each split."""
    return LEAST_TRAIN + len(fractions)


def _of(labels: np.ndarray, number: int) -> np.ndarray:
    """(N,) bool: the images of a class."""
    return labels[:, number] if labels.ndim == 2 else labels == number


def _refuse_small(labels: np.ndarray, groups: np.ndarray, fractions: dict[str, float], classes: list[str]) -> None:
    counts = labels.sum(axis=0) if labels.ndim == 2 else np.bincount(labels, minlength=len(classes))
    least = least_images(fractions)
    small = np.flatnonzero(counts < least)
    if len(small) == 0:
        return
    first = int(counts[small].argmin())
    count, kinds = int(counts[small[first]]), len(set(groups[_of(labels, small[first])].tolist()))
    more = f" ({len(small)} classes are that small)" if len(small) > 1 else ""
    raise DataError(
        f"class {classes[small[first]]!r} has {plural(count, 'image')} in {plural(kinds, 'group')}, too few for a "
        f"{' and a '.join(sorted(fractions))} split of its own{more}: at least {least} are needed, {LEAST_TRAIN} to "
        f"train on and one for each split; add images, {_leave_out(labels, least)}, or give data.val and data.test"
    )


def _leave_out(labels: np.ndarray, least: int) -> str:
    """What to do with classes of less images; with labels, of which an image may have several, if (N, classes)."""
    if labels.ndim == 2:
        return "remove such labels"
    return (
        'leave such classes out or merge them (data.small_classes = "drop" or "merge", '
        f"data.min_class_images = {least})"
    )


def _refuse_missing(
    result: np.ndarray, labels: np.ndarray, groups: np.ndarray, wanted: dict, classes: list[str]
) -> None:
    for number, name in enumerate(classes):
        of_class = _of(labels, number)
        missing = sorted(set(wanted) - set(result[of_class]))
        if missing:
            count, kinds = int(of_class.sum()), len(set(groups[of_class]))
            raise DataError(
                f"class {name!r} has {plural(count, 'image')} in {plural(kinds, 'group')}, too few for a "
                f"{' and a '.join(missing)} split: images of one group, named or alike, stay in one split, and each of "
                f"{len(wanted)} splits needs a group of every class; add images of other groups, raise "
                "data.near_duplicate_similarity or set it to 0 if what looks alike is not the same, or give data.val "
                f"and data.test, or {_leave_out(labels, count + 1)}"
            )
