"""One image of a source."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True, slots=True)
class Item:
    """One image.

    Attributes:
        path: absolute, for `shards.read_bytes`.
        label: class name; empty in the unlabelled pool.
        group: images of one group stay in one split; None when nothing was said.
        split: `train`, `val` or `test` where the source itself says so, by a column or a folder.
    """

    path: Path
    label: str
    group: str | None = None
    split: str | None = None
