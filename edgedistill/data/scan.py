"""Read every image of the sources once: decode, hash, look at it, hand the pixels on, forget them."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import closing
from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple

import numpy as np

from edgedistill.config.data import DataConfig
from edgedistill.config.task import labels_task
from edgedistill.data.duplicates import MOST_IMAGES
from edgedistill.data.framing import Framing, Kept, KeptBefore
from edgedistill.data.group_names import refuse_unnamed
from edgedistill.data.readings import ReadingLog, read_all
from edgedistill.data.signatures import Signatures
from edgedistill.data.small_classes import without_small_classes
from edgedistill.data.sources import Item, list_source
from edgedistill.data.table import SPLITS
from edgedistill.errors import DataError
from edgedistill.progress.reporter import Talk

Keep = Callable[[Kept | KeptBefore], None]


@dataclass
class Scan:
    """What was found in the files of all labelled sources, in one order.

    Attributes:
        items: readable images.
        given: the split each came from: `train`, `val` or `test`.
        sha256: hex, of the file's bytes.
        signatures: of the N images, then of a pool that was read after them; none when look-alikes are not searched.
        sizes: (N, 2) height and width, pixels, as stored.
        grey: how many have three equal channels.
        unreadable: one line each.
        values: (N, 2) smallest and largest value of each 16-bit image; -1 of one with 8 bits.
        notes: lines for people: what was taken without being named, what was left out.
    """

    items: list[Item]
    given: list[str]
    sha256: list[str]
    signatures: Signatures
    sizes: np.ndarray
    grey: int
    unreadable: list[str]
    values: np.ndarray = field(default_factory=lambda: np.empty((0, 2), np.int64))
    notes: list[str] = field(default_factory=list)


class Listed(NamedTuple):
    """What the labelled sources list.

    Attributes:
        items: (split, image) of all.
        notes: lines for people.
    """

    items: list[tuple[str, Item]]
    notes: list[str]


def scan(
    data: DataConfig,
    framing: Framing | None = None,
    keep: Keep | None = None,
    talk: Talk | None = None,
    log: ReadingLog | None = None,
    listed: Listed | None = None,
) -> Scan:
    """Read all labelled images, on all cores; `keep` gets the pixels in order, framed so. Without it
    no pixels are made.

    Memory: some hundred bytes an image, whatever the size of the images. Signatures, 4 KiB an image while look-alikes
    are searched, are on the disk.

    Args:
        talk: shows how many images are read.
        log: what an interrupted run read already; None reads all.
        listed: of `listed_in(data)`, where it is known.

    Raises:
        DataError: no readable image, or too many to compare each with each.
    """
    jobs, notes = listed or listed_in(data)
    refuse_unnamed((item.group for _, item in jobs), data)
    if data.near_duplicate_similarity > 0 and len(jobs) > MOST_IMAGES:
        raise DataError(
            f"{len(jobs)} images are too many to compare each with each (at most {MOST_IMAGES}); "
            "set data.near_duplicate_similarity = 0, and name shots of one thing by "
            "data.group_pattern or data.group_column"
        )
    framing, log = framing if keep else None, log or ReadingLog(None, data, None)
    scanned = Scan([], [], [], log.signatures, np.empty(0), 0, [], notes=notes)
    sizes, values = [], []
    paths = [item.path for _, item in jobs]
    with closing(read_all(paths, data, framing, log, talk or Talk(quiet=True))) as readings:
        for (name, item), seen in zip(jobs, readings, strict=True):
            if isinstance(seen, str):
                scanned.unreadable.append(seen)
                continue
            scanned.items.append(item)
            scanned.given.append(name)
            scanned.sha256.append(seen.sha256)
            sizes.append(seen.size)
            values.append(seen.values)
            scanned.grey += seen.grey
            if keep is not None and seen.kept is not None:
                keep(seen.kept)
    if not scanned.items:
        raise DataError(f"none of {len(jobs)} images is readable, first: {scanned.unreadable[0]}")
    scanned.sizes, scanned.values = np.array(sizes), np.array(values, np.int64)
    return scanned


def listed_in(data: DataConfig) -> Listed:
    """The images of all labelled sources.

    Raises:
        DataError: of `list_source`.
    """
    jobs: list[tuple[str, Item]] = []
    notes = []
    for name in SPLITS:
        path = getattr(data, name)
        if path is not None:
            listing = list_source(Path(path), data, name)
            jobs += [(item.split or name, item) for item in listing.items]
            notes += [f"{name}: {line}" for line in listing.lines]
    if labels_task(data.task).vectors:
        return Listed(jobs, notes)
    large_enough, line = without_small_classes([item for _, item in jobs], [name for name, _ in jobs], data)
    return Listed(large_enough, notes + ([line] if line else []))
