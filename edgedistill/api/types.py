"""What the functions of `edgedistill` take and give."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypedDict

if TYPE_CHECKING:  # pydantic costs more than all of `--help` may
    from edgedistill.records.base import ArtifactStamp

PathLike = str | os.PathLike[str]


class Sections(TypedDict, total=False):
    """The sections of a recipe, each a table of its keys: docs/recipe.md."""

    data: Mapping[str, Any]
    augment: Mapping[str, Any]
    teacher: Mapping[str, Any]
    student: Mapping[str, Any]
    distill: Mapping[str, Any]
    export: Mapping[str, Any]
    quantize: Mapping[str, Any]
    decide: Mapping[str, Any]
    smoothing: Mapping[str, Any]
    target: Mapping[str, Any]
    deploy: Mapping[str, Any]
    run: Mapping[str, Any]
    cost: Mapping[str, Any]


class RunOptions(TypedDict, total=False):
    """What every function that runs stages takes besides the recipe's sections.

    Attributes:
        run_dir: where artifacts go; `runs/` and the recipe's name when absent, as on the command line.
        overrides: `section.key=value` each, as `--set` takes them: the value is TOML, a word needs no quotes, and a
            relative path is relative to the recipe. Sections given as Python values stand above them.
        seeds: train baseline and student this many times; above `distill.seeds`.
        force: stages to redo although they are up to date.
        quiet: nothing on stderr.
        events: called with each event of docs/events.md.
    """

    run_dir: PathLike | None
    overrides: Sequence[str]
    seeds: int | None
    force: Sequence[str]
    quiet: bool
    events: Callable[[dict[str, Any]], None] | None


OWN_OPTIONS = frozenset(RunOptions.__annotations__)


class Options(Sections, RunOptions, total=False):
    """The sections of a recipe, and `RunOptions`."""


class DeployOptions(Options, total=False):
    """What `deploy` takes besides; what is not said stands in the recipe's [deploy], or is its default.

    Attributes:
        group: only these boards of the fleet.
        until: the last step: `build`, `verify`, `bench`, `activate`.
        runs: timed inferences.
        allow_downgrade: let boards take an older serial.
        tune: how a board looks for the fastest way of running its engine: `once` an engine (the default), `again`,
            `build` (also engines that are built otherwise, minutes each), `off`.
        root: folder there, relative to the login's home.
        python: interpreter there.
        ssh_config: what `ssh` reads instead of your ~/.ssh/config.
    """

    group: str | None
    until: str | None
    runs: int | None
    allow_downgrade: bool
    tune: str | None
    root: str | None
    python: str | None
    ssh_config: PathLike | None


DEPLOY_OPTIONS = DeployOptions.__annotations__.keys() - Sections.__annotations__.keys()


class FleetReport(dict[str, Any]):
    """The values of fleet.json.

    Attributes:
        folder: where fleet.json, fleet.html and the boards' receipts are.
    """

    def __init__(self, values: Mapping[str, Any], folder: Path):
        super().__init__(values)
        self.folder = folder


@dataclass(frozen=True)
class Artifact:
    """What a stage left in the run folder.

    Attributes:
        stage: its name.
        folder: where it is.
        values: its JSON, as it was written; each stage's own keys, and `artifact`.
    """

    stage: str
    folder: Path
    values: dict[str, Any]

    @property
    def path(self) -> Path:
        """The JSON file."""
        return self.folder / f"{self.stage}.json"

    @property
    def stamp(self) -> ArtifactStamp:
        """What the artifact was made from: recipe values, digests of earlier artifacts, files, seconds."""
        from edgedistill.records.base import ArtifactStamp

        return ArtifactStamp.from_json(self.values["artifact"], str(self.path))

    @property
    def files(self) -> dict[str, Path]:
        """Name -> path of the files that later stages read, weights and models among them."""
        return {name: self.folder / name for name in self.stamp.files}

    @property
    def seconds(self) -> float:
        """How long the stage took when it was last run."""
        return float(self.stamp.seconds)
