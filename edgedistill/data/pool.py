"""The unlabelled pool: images that the teacher may answer for, none of which is met again."""

from __future__ import annotations

from contextlib import closing
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from edgedistill.config.data import DataConfig
from edgedistill.data.framing import Framing
from edgedistill.data.readings import ReadingLog, read_all
from edgedistill.data.scan import Keep, Scan
from edgedistill.data.sources import list_pool
from edgedistill.data.table import MEASURED
from edgedistill.errors import DataError
from edgedistill.progress.reporter import Talk

POOL = "unlabelled"  # the split of its images in images.csv; their label is -1


@dataclass
class Pool:
    """What is left of the pool, and what was left out.

    Attributes:
        paths: images kept.
        sha256: of each.
        copies: how many were left out as the same bytes as a labelled image.
        alike: left out as look-alikes of a validation or test image: pool path, its most alike
            image's path, split and correlation.
        unreadable: one line each.
        notes: lines for people: what was left out before any image was read.
    """

    paths: list[Path] = field(default_factory=list)
    sha256: list[str] = field(default_factory=list)
    copies: int = 0
    alike: list[tuple[str, str, str, float]] = field(default_factory=list)
    unreadable: list[str] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)


def scan_pool(
    data: DataConfig,
    framing: Framing,
    labelled: Scan,
    splits: np.ndarray,
    similarity: float,
    keep: Keep | None,
    talk: Talk,
    log: ReadingLog,
) -> Pool:
    """Read the pool and leave out what would let the student see validation or test images.

    Copies of training images are left out too: they are there already. Every image is compared
    with the validation and test images only, so the cost is linear in the pool.

    Args:
        data: the recipe's [data], with a pool.
        framing: of what `keep` gets.
        labelled: all other images.
        splits: (N,) theirs; those without a label are of the pool already.
        similarity: correlation from which two images count as one; 0 compares bytes only.
        keep: gets the pixels of each image that stays; None keeps no pixels.
        talk: shows how many images are read.
        log: of the labelled images, which were read before.

    Raises:
        DataError: no pool there, or nothing left of it.
    """
    if data.unlabelled is None:
        raise DataError("data.unlabelled: expected the folder of a pool, got none; set it")
    listing = list_pool(Path(data.unlabelled), data)
    listed = [item.path for item in listing.items]
    labelled_sha256 = set(labelled.sha256)
    held_rows = np.flatnonzero(np.isin(splits, MEASURED)) if similarity > 0 else np.empty(0, np.int64)
    held = labelled.signatures[held_rows] if len(held_rows) else None
    pool = Pool(notes=[f"unlabelled: {line}" for line in listing.lines])
    with closing(read_all(listed, data, framing if keep else None, log, talk, "reading the pool")) as readings:
        for path, seen in zip(listed, readings, strict=True):
            if isinstance(seen, str):
                pool.unreadable.append(seen)
                continue
            if seen.sha256 in labelled_sha256:
                pool.copies += 1
                continue
            if held is not None:
                alike = held @ seen.signature
                most = int(alike.argmax())
                if alike[most] >= similarity:
                    row = held_rows[most]
                    other = str(labelled.items[row].path)
                    pool.alike.append((str(path), other, str(splits[row]), float(alike[most])))
                    continue
            pool.paths.append(path)
            pool.sha256.append(seen.sha256)
            if keep is not None and seen.kept is not None:
                keep(seen.kept)
    if not pool.paths:
        raise DataError(
            f"data.unlabelled: nothing is left of {len(listed)} images: {pool.copies} are copies of "
            f"labelled ones, {len(pool.alike)} look like validation or test images, "
            f"{len(pool.unreadable)} are unreadable; give others, or leave data.unlabelled out"
        )
    return pool
