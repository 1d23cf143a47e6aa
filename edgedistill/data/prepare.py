"""The work of stage `data`: list, decode, hash, group, split, keep."""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from edgedistill.data.duplicates import alike_pairs, groups_from_pairs, signature
from edgedistill.data.pixels import write_pixels
from edgedistill.data.sources import Item, list_items
from edgedistill.data.splits import leaks_between, split
from edgedistill.data.table import SPLITS, ImageTable, write_table
from edgedistill.errors import DataError
from edgedistill.sections import DataConfig
from jetson.errors import ImageError
from jetson.preprocess import read_image, resize_short_side

LISTED = 50  # leaks and unreadable files named in the summary; the counts are whole
GIANT_FRACTION = 0.1  # a near-duplicate group above this share is a look-alike family, not copies


@dataclass
class Scan:
    """What was found in the files of all sources, in one order.

    Attributes:
        items: readable images.
        given: the split each came from: `train`, `val` or `test`.
        sha256: hex, of the file's bytes.
        signatures: (N, 1024) float32.
        sizes: (N, 2) height and width, pixels, as stored.
        grey: how many have three equal channels.
        unreadable: one line each.
    """

    items: list[Item]
    given: list[str]
    sha256: list[str]
    signatures: np.ndarray
    sizes: np.ndarray
    grey: int
    unreadable: list[str]


def prepare(
    data: DataConfig, resize_px: int, out: Path, say: Callable[[str], None]
) -> dict[str, Any]:
    """Make `images.csv`, `classes.txt` and the decoded pixels in `out`.

    Args:
        data: the recipe's [data].
        resize_px: short side of the kept pixels.
        out: an existing folder.
        say: told what was found, a line at a time.

    Returns:
        JSON-able summary: classes, counts, duplicates, groups, leaks, unreadable files.

    Raises:
        DataError: faults that would make the result meaningless.
    """
    found = scan(data, resize_px, lambda images: write_pixels(out, images))
    if found.unreadable and not data.skip_unreadable:
        raise DataError(
            f"{len(found.unreadable)} images cannot be used, first: {found.unreadable[0]}; mend or "
            "remove them, or set data.skip_unreadable = true"
        )
    grouped = group(found, data)
    classes = _classes(found)
    labels = np.array([classes.index(item.label) for item in found.items], dtype=np.int64)
    splits = _splits(found, labels, grouped.groups, data, classes)
    _refuse_conflicts(found, grouped.exact)
    write_table(out, ImageTable(classes, [i.path for i in found.items], labels, splits,
                                found.sha256, grouped.groups))  # fmt: skip
    summary = _summary(found, grouped, classes, labels, splits)
    for line in lines_from_summary(summary):
        say("  " + line)
    return summary


def scan(
    data: DataConfig,
    resize_px: int,
    keep: Callable[[Iterator[np.ndarray]], None] | None = None,
) -> Scan:
    """Decode every image once, two threads at a time; `keep` gets the resized pixels in order."""
    sources = {name: getattr(data, name) for name in SPLITS if getattr(data, name)}
    jobs = [(name, item) for name, path in sources.items() for item in list_items(Path(path), data)]
    found = Scan([], [], [], np.empty(0), np.empty(0), 0, [])
    signatures, sizes = [], []

    def images() -> Iterator[np.ndarray]:
        for (name, item), read in zip(jobs, _read_all(jobs, data, resize_px), strict=True):
            if isinstance(read, str):
                found.unreadable.append(read)
                continue
            resized, sha256, signed, size, grey = read
            found.items.append(item)
            found.given.append(name)
            found.sha256.append(sha256)
            signatures.append(signed)
            sizes.append(size)
            found.grey += grey
            yield resized

    if keep is None:
        for _ in images():
            pass
    else:
        keep(images())
    if not found.items:
        raise DataError(f"none of {len(jobs)} images is readable, first: {found.unreadable[0]}")
    found.signatures, found.sizes = np.stack(signatures), np.array(sizes)
    return found


def _read_all(jobs: list, data: DataConfig, resize_px: int) -> Iterator[Any]:
    def read(job: tuple[str, Item]) -> Any:
        path = job[1].path
        try:
            image = read_image(path)
            sha256 = hashlib.sha256(path.read_bytes()).hexdigest()
        except ImageError as error:
            return str(error)
        except OSError as error:
            return f"{path}: {error.strerror}"
        resized = resize_short_side(image, resize_px, data.interpolation)
        grey = bool(
            (image[..., 0] == image[..., 1]).all() and (image[..., 1] == image[..., 2]).all()
        )
        return resized, sha256, signature(image), image.shape[:2], grey

    piece = 256  # bounds what is decoded but not yet taken
    with ThreadPoolExecutor(max_workers=2) as pool:
        for start in range(0, len(jobs), piece):
            yield from pool.map(read, jobs[start : start + piece])


@dataclass(frozen=True)
class Grouping:
    """Which images belong together.

    Attributes:
        groups: (N,) numbers.
        exact: pairs of equal files.
        near: alike pairs (i, j, similarity), exact ones among them.
        similarity: the bar that was used in the end.
    """

    groups: np.ndarray
    exact: list[tuple[int, int]]
    near: list[tuple[int, int, float]]
    similarity: float


def group(found: Scan, data: DataConfig) -> Grouping:
    """Join exact copies, near-duplicates, and what the user's group column or pattern names.

    Where near-duplicates would chain more than a tenth of all images into one group, the images
    are a family of look-alikes: the bar is raised until they do not.
    """
    exact = _pairs_of_equals(found.sha256)
    named = _pairs_of_equals([item.group for item in found.items])
    similarity = data.near_duplicate_similarity
    near = alike_pairs(found.signatures, similarity) if similarity > 0 else []
    while True:
        close = [(i, j) for i, j, _ in near]
        chained = groups_from_pairs(len(found.items), close)
        if not close or np.bincount(chained).max() <= max(8, GIANT_FRACTION * len(found.items)):
            break
        similarity += (1 - similarity) / 4
        near = [pair for pair in near if pair[2] >= similarity] if similarity < 0.9999 else []
    groups = groups_from_pairs(len(found.items), [*exact, *named, *close])
    return Grouping(groups, exact, near, similarity)


def _pairs_of_equals(keys: list[str | None]) -> list[tuple[int, int]]:
    """(first, other) for every repetition of a key; None repeats nothing."""
    first: dict[str, int] = {}
    pairs = []
    for index, key in enumerate(keys):
        if key is not None:
            before = first.setdefault(key, index)
            if before != index:
                pairs.append((before, index))
    return pairs


def _classes(found: Scan) -> list[str]:
    """Sorted names; every given split must have the same ones."""
    by_split: dict[str, set[str]] = {}
    for item, given in zip(found.items, found.given, strict=True):
        by_split.setdefault(given, set()).add(item.label)
    classes = sorted(by_split["train"])
    for given, names in by_split.items():
        if names != by_split["train"]:
            missing, extra = sorted(by_split["train"] - names), sorted(names - by_split["train"])
            raise DataError(
                f"data.{given} and data.train have different classes: {given} lacks {missing} and "
                f"alone has {extra}"
            )
    if len(classes) < 2:
        raise DataError(f"expected at least two classes, got {classes}")
    newlines = [name for name in classes if len(name.splitlines()) != 1]
    if newlines:
        raise DataError(f"class names must be one line each, got {newlines[0]!r}")
    return classes


def _splits(
    found: Scan, labels: np.ndarray, groups: np.ndarray, data: DataConfig, classes: list[str]
) -> np.ndarray:
    splits = np.array(found.given, dtype=object)
    fractions = {name: getattr(data, f"{name}_fraction")
                 for name in ("val", "test") if getattr(data, name) is None}  # fmt: skip
    if fractions:
        own = np.flatnonzero(splits == "train")
        keys = [found.sha256[i] for i in own]
        splits[own] = split(labels[own], groups[own], keys, fractions, data.split_seed, classes)
    return splits.astype(str)


def _refuse_conflicts(found: Scan, exact: list[tuple[int, int]]) -> None:
    for i, j in exact:
        if found.items[i].label != found.items[j].label:
            raise DataError(
                f"the same image has two labels: {found.items[i].path} ({found.items[i].label}) and "
                f"{found.items[j].path} ({found.items[j].label}); keep one of them"
            )


def _summary(
    found: Scan, grouped: Grouping, classes: list[str], labels: np.ndarray, splits: np.ndarray
) -> dict[str, Any]:
    counts = {
        name: {c: int(((splits == name) & (labels == n)).sum()) for n, c in enumerate(classes)}
        for name in SPLITS
    }
    pairs = grouped.near + [(i, j, 1.0) for i, j in grouped.exact]
    leak_counts, leaks = leaks_between(splits, sorted(set(pairs)))
    sizes = Counter(grouped.groups.tolist())
    test = counts["test"]
    return {
        "classes": classes,
        "images": {name: sum(of.values()) for name, of in counts.items()},
        "counts": counts,
        "majority_fraction": max(test.values()) / sum(test.values()),
        "unreadable_count": len(found.unreadable),
        "unreadable": found.unreadable[:LISTED],
        "exact_duplicates": len(grouped.exact),
        "near_duplicate_groups": sum(1 for size in sizes.values() if size > 1),
        "images_in_groups": sum(size for size in sizes.values() if size > 1),
        "near_duplicate_similarity": grouped.similarity,
        "leak_count": len(leaks),
        "leak_counts": dict(leak_counts),
        "leaks": [[str(found.items[i].path), str(found.items[j].path), round(s, 4)]
                  for i, j, s in leaks[:LISTED]],
        "grey_images": found.grey,
        "height_px": _spread(found.sizes[:, 0]),
        "width_px": _spread(found.sizes[:, 1]),
    }  # fmt: skip


def _spread(values: np.ndarray) -> dict[str, int]:
    return {"min": int(values.min()), "median": int(np.median(values)), "max": int(values.max())}


def lines_from_summary(summary: dict[str, Any]) -> list[str]:
    """What a person should know of the images, a line at a time."""
    counts, classes = summary["counts"], summary["classes"]
    totals = {name: sum(counts[split][name] for split in SPLITS) for name in classes}
    lines = [f"{len(classes)} classes, " + ", ".join(
        f"{summary['images'][split]} {split}" for split in SPLITS) + " images"]  # fmt: skip
    lines += [f"  {name}: {total}" for name, total in totals.items()]
    most, least = max(totals, key=totals.__getitem__), min(totals, key=totals.__getitem__)
    if totals[most] > 2 * totals[least]:
        lines.append(
            f"imbalance {totals[most] / totals[least]:.1f} to 1 ({most} / {least}): a net that "
            f"always says {most!r} has {summary['majority_fraction']:.0%} top-1; see data.balance"
        )
    lines.append(
        f"{summary['exact_duplicates']} exact copies; {summary['images_in_groups']} images in "
        f"{summary['near_duplicate_groups']} groups that stay in one split "
        f"(similarity >= {summary['near_duplicate_similarity']:.3f})"
    )
    if summary["leak_count"]:
        first = summary["leaks"][0]
        lines.append(
            f"LEAKS: {summary['leak_count']} pairs of alike images stand in different splits, first "
            f"{first[0]} and {first[1]} ({first[2]})"
        )
    if summary["unreadable_count"]:
        lines.append(f"{summary['unreadable_count']} unreadable, first: {summary['unreadable'][0]}")
    return lines
