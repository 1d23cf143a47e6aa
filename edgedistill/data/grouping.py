"""Which images belong together and must not be torn between splits."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from edgedistill.config.data import DataConfig
from edgedistill.data.duplicates import LookAlikes, groups_from_pairs, look_alikes
from edgedistill.data.scan import Scan
from edgedistill.records.data import NamedGroups

GIANT_FRACTION = 0.1  # a near-duplicate group above this share is a look-alike family, not copies
# Units of images that a chain of look-alikes may always join; where the user named groups, two of them
# may be one thing twice, more are a scene that all of them share.
JOINED, JOINED_NAMES = 8, 2


@dataclass(frozen=True)
class Grouping:
    """Which images belong together.

    Attributes:
        groups: (N,) numbers.
        named: (N,) whether the user named something in the image's group.
        exact: pairs of equal files.
        leak_counts: pairs of alike images that were given in different splits, by names like
            `test/train`; equal files are among them.
        leaks: the first of those pairs, (i, j, similarity), most alike first.
        torn: names of groups that were given in several splits, and those splits.
        similarity: the bar that was used in the end.
    """

    groups: np.ndarray
    named: np.ndarray
    exact: list[tuple[int, int]]
    leak_counts: Counter
    leaks: list[tuple[int, int, float]]
    torn: list[tuple[str, list[str]]]
    similarity: float


def group(scanned: Scan, data: DataConfig) -> Grouping:
    """Join exact copies, near-duplicates, and what the user names as groups.

    Where near-duplicates would chain more than a tenth of all images into one group, the images
    are a family of look-alikes: the bar is raised until they do not. What belongs together
    anyway, copies and named groups, counts as one there.
    """
    count, names = len(scanned.items), [item.group for item in scanned.items]
    exact, named = _pairs_of_equals(scanned.sha256), _pairs_of_equals(names)
    alike = LookAlikes(data.near_duplicate_similarity, [], Counter(), [])
    if data.near_duplicate_similarity > 0:
        units = groups_from_pairs(count, [*exact, *named])
        weights = 1 / np.bincount(units, minlength=count)[units]
        always = JOINED_NAMES if any(names) else JOINED
        largest = max(always, GIANT_FRACTION * len(np.unique(units)))
        alike = look_alikes(scanned.signatures, data.near_duplicate_similarity, scanned.given, weights, largest)
    groups = groups_from_pairs(count, [*exact, *named, *alike.pairs])
    of_names = {int(number) for number, name in zip(groups, names, strict=True) if name is not None}
    leak_counts, leaks = _with_copies(alike, exact, scanned)
    return Grouping(
        groups,
        np.isin(groups, list(of_names)),
        exact,
        leak_counts,
        leaks,
        _torn(names, scanned.given),
        alike.similarity,
    )


def _with_copies(alike: LookAlikes, exact: list[tuple[int, int]], scanned: Scan) -> tuple[Counter, list]:
    """Leaks by appearance, and equal files that have none: flat images, or all where none was asked for."""
    counts, leaks = Counter(alike.leak_counts), list(alike.leaks)
    searched = len(scanned.signatures) > 0 and alike.similarity > 0
    for i, j in exact:
        splits = sorted((scanned.given[i], scanned.given[j]))
        if splits[0] == splits[1]:
            continue
        likeness = scanned.signatures[i] @ scanned.signatures[j] if searched else 0.0
        if not (alike.leak_counts and likeness >= np.float32(alike.similarity)):
            counts["/".join(splits)] += 1
            leaks.append((i, j, 1.0))
    return counts, sorted(leaks, key=lambda pair: -pair[2])


def _torn(names: list[str | None], given: list[str]) -> list[tuple[str, list[str]]]:
    splits: dict[str, set[str]] = {}
    for name, split in zip(names, given, strict=True):
        if name is not None:
            splits.setdefault(name, set()).add(split)
    return [(name, sorted(where)) for name, where in splits.items() if len(where) > 1]


def summary_of_groups(scanned: Scan, grouped: Grouping) -> NamedGroups:
    """What the user named; without a key when nothing was."""
    names = [item.group for item in scanned.items]
    if not any(names):
        return NamedGroups()
    unnamed = [str(item.path) for item in scanned.items if item.group is None]
    return NamedGroups(
        named_images=len(names) - len(unnamed),
        named_groups=len(set(names) - {None}),
        unnamed_first=unnamed[0] if unnamed else None,
        torn_groups=len(grouped.torn),
        torn_first=f"{grouped.torn[0][0]!r} ({' and '.join(grouped.torn[0][1])})" if grouped.torn else None,
    )


def lines_of_groups(summary: NamedGroups, images: int) -> list[str]:
    """Lines for people on the groups that were named, from `summary_of_groups`.

    Args:
        images: all labelled ones.
    """
    if not summary.named_images:
        return []
    line = f"{summary.named_groups} named groups hold {summary.named_images} of {images} images"
    if summary.unnamed_first:
        line += f"; each other image counts as a group of its own, first {summary.unnamed_first}"
    lines = [line]
    if summary.torn_groups:
        lines.append(
            f"LEAKS: {summary.torn_groups} named groups stand in several given splits, first {summary.torn_first}"
        )
    return lines


def _pairs_of_equals(keys: Sequence[str | None]) -> list[tuple[int, int]]:
    """(first, other) for every repetition of a key; None repeats nothing."""
    first: dict[str, int] = {}
    pairs = []
    for index, key in enumerate(keys):
        if key is not None:
            before = first.setdefault(key, index)
            if before != index:
                pairs.append((before, index))
    return pairs
