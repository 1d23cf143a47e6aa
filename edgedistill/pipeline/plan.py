"""The plan of a run: which stages are redone, which are kept, and why."""

from __future__ import annotations

import itertools
import json
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from edgedistill.config.recipe import Recipe
from edgedistill.config.task import task_of
from edgedistill.errors import RecipeError, RunFolderError, UsageError
from edgedistill.pipeline.named_files import contents_of
from edgedistill.pipeline.run_folder import RunFolder, first_difference
from edgedistill.pipeline.table import PRECISION, STAGES, UNNOTED, Stage, recipe_values, stages_of, stages_read
from edgedistill.records.base import ArtifactStamp

Action = Literal["run", "perhaps", "keep"]
_NAMED = "named files"  # in an artifact's inputs: what is in the files that its recipe values name
MIXED_BF16 = "mixed: bfloat16"  # in an artifact's inputs: `run.precision = "mixed"`, computed on a GPU


@dataclass(frozen=True)
class Planned:
    """One stage of a plan.

    Attributes:
        stage: its name.
        action: `run`; `perhaps`, when a stage that it reads is run and may come out different;
            `keep`.
        reason: why, for people.
        last_seconds: what it took the last time here, None when it has not been done.
    """

    stage: str
    action: Action
    reason: str
    last_seconds: float | None


def wanted_stages(recipe: Recipe, only: str | None, force: Iterable[str]) -> tuple[Stage, ...]:
    """All stages of the recipe, or one and those that it reads, even indirectly.

    Raises:
        RecipeError: the recipe has no stage `only`.
        UsageError: `force` names what is no stage of any recipe.
    """
    all_stages = [stage.name for stage in STAGES]
    for name in force:
        if name not in all_stages:
            raise UsageError(f"--force {name}: no such stage; there are: {', '.join(all_stages)}")
    stages = stages_of(recipe)
    if only is None:
        return stages
    names = [stage.name for stage in stages]
    if only not in names:
        raise RecipeError(
            f"a recipe with distill.method = {recipe.distill.method!r} and student.output = "
            f"{task_of(recipe).output!r} has no stage {only!r}; it has: " + ", ".join(names)
        )
    wanted = {only}
    for stage in reversed(stages):
        if stage.name in wanted:
            wanted |= set(stages_read(stage, recipe))
    return tuple(stage for stage in stages if stage.name in wanted)


def inputs_of(
    stage: Stage,
    recipe: Recipe,
    run: RunFolder,
    source_files: Callable[[], str],
    digest: Callable[[str], str] | None = None,
) -> dict[str, Any]:
    """What a stage's artifact is to be made from.

    Args:
        digest: of the artifact of a stage that it reads, where the run's own is not the one to take.
        source_files: fingerprint of the user's images, asked for by the stage `data`.
    """
    stamp = _stamp(run, stage.name)
    stored = stamp.inputs if stamp else {}
    then: dict[str, Any] = stored.get("recipe", {})
    values = recipe_values(stage, recipe) | _mixed_there(stage, recipe, then)
    inputs: dict[str, Any] = {
        "stage version": stage.version,
        "recipe": values,
        "artifacts": {name: (digest or run.digest)(name) for name in stages_read(stage, recipe)},
    }
    if stage.files:
        inputs["files"] = {name: run.file_digest(name) for name in stage.files}
    if stage.name == "data":
        inputs["source files"] = source_files()
    # What an earlier release did not note makes no finished artifact of it stale.
    older = inputs | {"recipe": {key: value for key, value in values.items() if key not in UNNOTED or key in then}}
    named = _of_named_files(contents_of(values), stored.get(_NAMED, {}))
    if named:
        inputs[_NAMED] = named
    return older if stored and first_difference(stored, older) is None else inputs


def _mixed_there(stage: Stage, recipe: Recipe, then: dict[str, Any]) -> dict[str, str]:
    """What `run.precision = "mixed"` was for the artifact that is there: a run may be copied to another device.

    Args:
        then: recipe values of that artifact, empty without one.
    """
    if recipe.run.precision != "mixed" or PRECISION not in stage.keys:
        return {}
    return {PRECISION: MIXED_BF16} if then.get(PRECISION) == MIXED_BF16 else {}


def _of_named_files(found: dict[str, str | None], known: dict[str, str | None]) -> dict[str, str | None]:
    """Of a file that is gone, as where a finished run was copied to, what was in it.

    Args:
        found: of `contents_of`.
        known: the same, of the artifact that is there.
    """
    return {key: known.get(key) if content is None else content for key, content in found.items()}


def as_computed(inputs: dict[str, Any], recipe: Recipe, cost: dict[str, Any]) -> dict[str, Any]:
    """The inputs of a finished stage, in which `mixed` is what it was on this device.

    Args:
        inputs: as of `inputs_of`.
        cost: of the stage's result; its `speed` names what was computed in.
    """
    values = inputs["recipe"]
    if recipe.run.precision != "mixed" or PRECISION not in values:
        return inputs
    was = MIXED_BF16 if str(cost.get("speed", "")).startswith("bfloat16") else "fp32"
    return {**inputs, "recipe": {**values, PRECISION: was}}


def plan_stages(
    wanted: tuple[Stage, ...],
    recipe: Recipe,
    run: RunFolder,
    force: Iterable[str],
    source_files: Callable[[], str],
) -> tuple[Planned, ...]:
    """What happens to the wanted stages, in order. Of the images only sizes and times are read for it.

    Raises:
        DataError: the images are not there.
    """
    planned: dict[str, Planned] = {}
    causes: dict[str, list[str]] = {}  # stage -> those that are surely run and that it depends on
    for stage in wanted:
        stamp = _stamp(run, stage.name)
        inputs_then = stamp.inputs if stamp else {}
        moved = [name for name in stages_read(stage, recipe) if planned[name].action != "keep"]
        causes[stage.name] = list(dict.fromkeys(cause for name in moved for cause in causes[name]))
        digests = {name: inputs_then.get("artifacts", {}).get(name) for name in moved}

        def digest(name: str, digests: dict[str, Any] = digests) -> Any:
            return digests[name] if name in digests else run.digest(name)

        action: Action
        inputs = inputs_of(stage, recipe, run, source_files, digest)
        reason = "asked for" if stage.name in set(force) else run.why_stale(stage.name, inputs)
        if reason is not None:
            if not moved and run.is_begun(stage.name, inputs):
                reason += "; resumes where it stopped"
            action, causes[stage.name] = "run", [stage.name]
        elif moved:
            action = "perhaps"
            reason = f"if {' or '.join(causes[stage.name])} comes out different"
        else:
            action, reason = "keep", "finished, and nothing that it depends on has changed"
        planned[stage.name] = Planned(stage.name, action, reason, stamp.seconds if stamp else None)
    return tuple(planned.values())


def text_from_plan(planned: Iterable[Planned], run_dir: Path) -> str:
    """A line for consecutive stages with the same action, with the seconds that they took last time."""
    lines = [f"plan for {run_dir}"]
    for (action, reason), group in itertools.groupby(
        planned, lambda planned_stage: (planned_stage.action, planned_stage.reason)
    ):
        rows = list(group)
        seconds = [planned_stage.last_seconds for planned_stage in rows if planned_stage.last_seconds is not None]
        last = f" (last time {sum(seconds):.0f} s)" if seconds and action != "keep" else ""
        lines.append(f"  {action:<7}  {', '.join(planned_stage.stage for planned_stage in rows)}: {reason}{last}")
    return "\n".join(lines)


def _stamp(run: RunFolder, stage: str) -> ArtifactStamp | None:
    try:
        return run.stamp(stage)
    except RunFolderError:
        return None


def json_from_plan(planned: Iterable[Planned], run_dir: Path) -> str:
    rows = [vars(planned_stage) for planned_stage in planned]
    return json.dumps({"run_dir": str(run_dir), "stages": rows}, indent=1)
