"""What a stage gets: the recipe, the artifacts before it, its own folder."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from edgedistill.config.recipe import Recipe
from edgedistill.config.task import task_of
from edgedistill.pipeline.run_folder import UNFINISHED, Artifact, RunFolder
from edgedistill.pipeline.table import stage_named
from edgedistill.progress.reporter import Talk
from edgedistill.records.artifacts import artifact_kind


@dataclass(frozen=True)
class StageContext:
    """What a stage gets.

    Attributes:
        stage: its name; it may read what its row in pipeline/table.py declares, and nothing else.
        recipe: of the run.
        run: earlier artifacts.
        out: the folder to write in.
        talk: where lines and progress go.
        command: that a person typed, where one did.
        helps: in a helper (training_helper.py) where its trainings tell of themselves; None in the run's own process.
        wanted: in a helper whether `out` is still the folder that it was started for.
    """

    stage: str
    recipe: Recipe
    run: RunFolder
    out: Path
    talk: Talk
    command: str | None = None
    helps: Talk | None = None
    wanted: Callable[[], bool] = lambda: True

    @property
    def unfinished(self) -> Path:
        """A folder for what an interrupted run of the stage needs to go on; it is gone when the artifact is whole."""
        return self.out / UNFINISHED

    def read(self, kind: type[Artifact]) -> Artifact:
        """The record of an earlier stage: of the recipe's task, where that has a kind of its own.

        Raises:
            ValueError: this stage's row does not declare that it reads that one.
            RunFolderError: it has not run here, or its JSON is of another release or damaged.
        """
        self._require_declared(kind.stage)
        own = artifact_kind(kind.stage, task_of(self.recipe))
        return self.run.read(own if issubclass(own, kind) else kind)

    def values(self, stage: str) -> dict[str, Any]:
        """The JSON of an earlier stage that has no record yet."""
        self._require_declared(stage)
        return self.run.artifact(stage)

    def file(self, stage: str, name: str) -> Path:
        """A file of an earlier stage, or of this one's artifact before this run."""
        if stage != self.stage:
            self._require_declared(stage)
        return self.run.folder(stage) / name

    def _require_declared(self, stage: str) -> None:
        declared = stage_named(self.stage).reads
        if stage not in declared:
            raise ValueError(
                f"stage {self.stage!r} reads the artifact of {stage!r}, but its row in pipeline/table.py declares only "
                f"{', '.join(declared) or 'none'}; add {stage!r} to its `reads`"
            )
