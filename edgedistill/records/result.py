"""What a stage gives back to the pipeline."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any


@dataclass(frozen=True)
class Result:
    """What a stage gives back.

    Attributes:
        values: JSON-able; equal inputs give equal values (times and rates go into `cost`).
        files: names inside the stage's folder that later stages may read.
        cost: JSON-able facts of this execution alone: seconds, rates. Not part of the digest.
    """

    values: dict[str, Any]
    files: tuple[str, ...] = ()
    cost: dict[str, Any] = field(default_factory=dict)
