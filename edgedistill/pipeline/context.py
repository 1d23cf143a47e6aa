"""What a stage gets: the recipe, the artifacts before it, its own folder."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from edgedistill.config.recipe import Recipe
from edgedistill.pipeline.run_folder import RunFolder
from edgedistill.progress.reporter import Talk


@dataclass(frozen=True)
class StageContext:
    """What a stage gets: the recipe, earlier artifacts, a folder to write in, a voice, and the command
    that a person typed, where one did."""

    recipe: Recipe
    run: RunFolder
    out: Path
    talk: Talk
    command: str | None = None

    def values(self, stage: str) -> dict[str, Any]:
        """The JSON of an earlier stage."""
        return self.run.artifact(stage)

    def file(self, stage: str, name: str) -> Path:
        """A file of an earlier stage."""
        return self.run.folder(stage) / name
