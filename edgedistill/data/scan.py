"""Read every image of the sources once: decode, hash, look at it, hand the pixels on, forget them."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple

import numpy as np

from edgedistill.config.data import DataConfig
from edgedistill.config.task import labels_task
from edgedistill.core.prefetch import made_ahead
from edgedistill.data.duplicates import MOST_IMAGES, SIDE, signature
from edgedistill.data.framing import Framing, Kept
from edgedistill.data.group_names import refuse_unnamed
from edgedistill.data.shards import read_bytes
from edgedistill.data.small_classes import without_small_classes
from edgedistill.data.sources import Item, list_source
from edgedistill.data.table import SPLITS
from edgedistill.errors import DataError
from edgedistill.progress.reporter import Talk
from edgedistill_device.decode import decode_raw, to_eight_bits
from edgedistill_device.errors import ImageError

IMAGES_AHEAD = 16  # decoded and not yet taken: they bound the memory

Keep = Callable[[Kept], None]
_EIGHT_BITS = (-1, -1)


@dataclass
class Scan:
    """What was found in the files of all labelled sources, in one order.

    Attributes:
        items: readable images.
        given: the split each came from: `train`, `val` or `test`.
        sha256: hex, of the file's bytes.
        signatures: (N, 1024) float32; (0, 1024) when look-alikes are not searched.
        sizes: (N, 2) height and width, pixels, as stored.
        grey: how many have three equal channels.
        unreadable: one line each.
        values: (N, 2) smallest and largest value of each 16-bit image; -1 of one with 8 bits.
        notes: lines for people: what was taken without being named, what was left out.
    """

    items: list[Item]
    given: list[str]
    sha256: list[str]
    signatures: np.ndarray
    sizes: np.ndarray
    grey: int
    unreadable: list[str]
    values: np.ndarray = field(default_factory=lambda: np.empty((0, 2), np.int64))
    notes: list[str] = field(default_factory=list)


class Seen(NamedTuple):
    """One image that was read.

    Attributes:
        kept: pixels, or None when they are not kept.
        sha256: hex, of the file's bytes.
        signature: (1024,) float32, or None when look-alikes are not searched.
        size: height and width as stored, pixels.
        grey: whether the three channels are equal.
        values: smallest and largest value of a 16-bit image, -1 of one with 8 bits.
    """

    kept: Kept | None
    sha256: str
    signature: np.ndarray | None
    size: tuple[int, int]
    grey: bool
    values: tuple[int, int] = _EIGHT_BITS


def scan(data: DataConfig, framing: Framing | None = None, keep: Keep | None = None, talk: Talk | None = None) -> Scan:
    """Read all labelled images, on all cores; `keep` gets the pixels in order, framed so. Without it
    no pixels are made.

    Memory: 4 KiB an image while look-alikes are searched, else some hundred bytes, whatever the
    size of the images.

    Args:
        talk: shows how many images are read.

    Raises:
        DataError: no readable image, or too many to compare each with each.
    """
    jobs, notes = _listed(data)
    refuse_unnamed((item.group for _, item in jobs), data)
    searched = data.near_duplicate_similarity > 0
    if searched and len(jobs) > MOST_IMAGES:
        raise DataError(
            f"{len(jobs)} images are too many to compare each with each (at most {MOST_IMAGES}); "
            "set data.near_duplicate_similarity = 0, and name shots of one thing by "
            "data.group_pattern or data.group_column"
        )
    signatures = np.empty((len(jobs) if searched else 0, SIDE * SIDE), np.float32)
    scanned = Scan([], [], [], signatures, np.empty(0), 0, [], notes=notes)
    sizes, values = [], []
    readings = read_all([item.path for _, item in jobs], data, framing if keep else None)
    with (talk or Talk(quiet=True)).progress("reading images", len(jobs), unit="image", images_each=1) as show:
        for done, ((name, item), seen) in enumerate(zip(jobs, readings, strict=True), start=1):
            show(done)
            if isinstance(seen, str):
                scanned.unreadable.append(seen)
                continue
            if seen.signature is not None:
                signatures[len(scanned.items)] = seen.signature
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
    scanned.signatures, scanned.sizes = signatures[: len(scanned.items)], np.array(sizes)
    scanned.values = np.array(values, np.int64)
    return scanned


def _listed(data: DataConfig) -> tuple[list[tuple[str, Item]], list[str]]:
    """(split, image) of all labelled sources, and lines for people."""
    jobs: list[tuple[str, Item]] = []
    notes = []
    for name in SPLITS:
        path = getattr(data, name)
        if path is not None:
            listing = list_source(Path(path), data, name)
            jobs += [(item.split or name, item) for item in listing.items]
            notes += [f"{name}: {line}" for line in listing.lines]
    if labels_task(data.task).vectors:
        return jobs, notes
    large_enough, line = without_small_classes([item for _, item in jobs], [name for name, _ in jobs], data)
    return large_enough, notes + ([line] if line else [])


def read_all(paths: list[Path], data: DataConfig, framing: Framing | None) -> Iterator[Seen | str]:
    """Each image in order, or one line that says why it cannot be read.

    Args:
        paths: files or shard members.
        data: whether look-alikes are searched, and which values 16-bit images have.
        framing: of `Seen.kept`; None leaves the pixels out.
    """

    def read(path: Path) -> Seen | str:
        try:
            content = read_bytes(path)
            raw = decode_raw(content, path)
        except ImageError as error:
            return str(error)
        except OSError as error:
            return f"{path}: cannot be read: {error.strerror}"
        image = to_eight_bits(raw, data.sixteen_bit_range)
        pixels = None if framing is None else framing.keep(image)
        values = _EIGHT_BITS if raw.dtype == np.uint8 else (int(raw.min()), int(raw.max()))
        grey = bool((image[..., 0] == image[..., 1]).all() and (image[..., 1] == image[..., 2]).all())
        signed = signature(image) if data.near_duplicate_similarity > 0 else None
        digest = hashlib.sha256(content).hexdigest()
        return Seen(pixels, digest, signed, image.shape[:2], grey, values)

    yield from made_ahead(read, paths, IMAGES_AHEAD)
