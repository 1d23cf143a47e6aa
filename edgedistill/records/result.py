"""What a stage gives back to the pipeline."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from edgedistill.records.base import ArtifactRecord


@dataclass(frozen=True)
class Result:
    """What a stage gives back.

    Attributes:
        record: equal inputs give an equal record (times and rates go into `cost`); or its JSON-able values.
        files: names inside the stage's folder that later stages may read.
        cost: JSON-able facts of this execution alone: seconds, rates. Not part of the digest.
    """

    record: ArtifactRecord | dict[str, Any]
    files: tuple[str, ...] = ()
    cost: dict[str, Any] = field(default_factory=dict)

    @property
    def values(self) -> dict[str, Any]:
        """JSON-able: what stands in STAGE.json beside the stamp."""
        return self.record.values() if isinstance(self.record, ArtifactRecord) else self.record
