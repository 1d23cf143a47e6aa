"""Walk the stage table: skip what is fresh, redo what is not, stop at the first refusal."""

from __future__ import annotations

import importlib
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from edgedistill import ranks
from edgedistill.config import Recipe
from edgedistill.device.signing import require_signer
from edgedistill.errors import RecipeError, RunFolderError
from edgedistill.run_folder import RunFolder, stopwatch, write_json
from edgedistill.stages import Stage, recipe_values, stages_of, stages_read
from edgedistill.talk import Talk
from edgedistill.target import executed_precision, load_target


@dataclass(frozen=True)
class StageContext:
    """What a stage gets: the recipe, earlier artifacts, a folder to write in, a voice."""

    recipe: Recipe
    run: RunFolder
    out: Path
    talk: Talk

    def values(self, stage: str) -> dict[str, Any]:
        """The JSON of an earlier stage."""
        return self.run.artifact(stage)

    def file(self, stage: str, name: str) -> Path:
        """A file of an earlier stage."""
        return self.run.folder(stage) / name


def run_stages(
    recipe: Recipe,
    run_dir: Path,
    talk: Talk,
    only: str | None = None,
    force: Iterable[str] = (),
) -> Path:
    """Run the whole road, or one stage and whatever it needs first.

    Args:
        recipe: validated.
        run_dir: made when absent; held by one process at a time.
        talk: where lines and progress go.
        only: a stage name; stages that it does not read, even indirectly, are left alone.
        force: names of stages to redo although they are fresh.

    Under `torchrun`, every rank calls this: stages that train or cache are worked on by all, the
    first rank does the rest, and the others say nothing.

    Returns:
        The JSON of the last stage that was asked for.

    Raises:
        EdgeDistillError: whatever a stage refuses.
    """
    stages = stages_of(recipe)
    names = [stage.name for stage in stages]
    if only and only not in names:
        raise RecipeError(
            f"a recipe with distill.method = {recipe.distill.method!r} and student.output = "
            f"{recipe.student.output!r} has no stage {only!r}; it has: "
            + ", ".join(names)
        )
    wanted = _with_what_they_read(only, recipe) if only else set(names)
    last = only or names[-1]
    with ranks.joined(recipe.run.device), RunFolder(run_dir, lock=ranks.is_first()) as run:
        if not ranks.is_first():
            talk = Talk(quiet=True)
        ranks.agreed(lambda: write_json(run_dir / "recipe.json", recipe.model_dump(mode="json")))
        _, instead = executed_precision(load_target(recipe.target.device), recipe.target.precision)
        if instead:
            talk.say(f"target.precision = {recipe.target.precision!r}: {instead}")
        if "bundle" in wanted:
            ranks.agreed(lambda: _require_signer(recipe, run))
        for number, stage in enumerate(stages, start=1):
            if stage.name in wanted:
                _run_stage(stage, f"[{number}/{len(stages)}] {stage.name}", recipe, run, talk,
                           stage.name in set(force))  # fmt: skip
    return run_dir / last / f"{last}.json"


def _run_stage(
    stage: Stage, title: str, recipe: Recipe, run: RunFolder, talk: Talk, force: bool
) -> None:
    inputs, reason = ranks.agreed(lambda: _why(stage, recipe, run, force))
    if reason is None:
        talk.say(f"{title}: up to date")
    else:
        talk.say(f"{title}: {stage.help} ({reason})")
        out = ranks.agreed(lambda: run.begin(stage.name, inputs))
        if ranks.is_first() or stage.shared:
            _work(stage, title, StageContext(recipe, run, out, talk), inputs)
        ranks.wait_for_all()
    if stage.gate is not None:
        stage.gate(recipe, run.artifact(stage.name))


def _require_signer(recipe: Recipe, run: RunFolder) -> None:
    """Now, and not after hours of training; a bundle that was made needs its key no more."""
    deploy = recipe.deploy
    if deploy.sign_key is not None and not run.folder("bundle").exists():
        require_signer(deploy.sign_key, deploy.sign_command)


def _why(
    stage: Stage, recipe: Recipe, run: RunFolder, force: bool
) -> tuple[dict[str, Any], str | None]:
    """What a stage's artifact is to be made from, and why the one that is there will not do."""
    inputs = _inputs(stage, recipe, run)
    return inputs, "asked for" if force else run.why_stale(stage.name, inputs)


def _work(stage: Stage, title: str, context: StageContext, inputs: dict[str, Any]) -> None:
    module = importlib.import_module(f"edgedistill.stages.{stage.name}")
    try:
        with stopwatch() as seconds:
            result = module.run(context)
    except OSError as error:
        raise RunFolderError(
            f"{stage.name}: {error.filename or context.out}: {error.strerror or error}; mend that "
            "and run again, finished stages are kept"
        ) from error
    if ranks.is_first():
        context.run.finish(stage.name, inputs, result, seconds[0])
        context.talk.say(f"{title}: done in {seconds[0]:.1f} s")


def _inputs(stage: Stage, recipe: Recipe, run: RunFolder) -> dict[str, Any]:
    inputs: dict[str, Any] = {
        "stage version": stage.version,
        "recipe": recipe_values(stage, recipe),
        "artifacts": {name: run.digest(name) for name in stages_read(stage, recipe)},
    }
    if stage.name == "data":
        from edgedistill.data.sources import fingerprint

        inputs["source files"] = fingerprint(recipe.data)
    return inputs


def _with_what_they_read(name: str, recipe: Recipe) -> set[str]:
    wanted = {name}
    for stage in reversed(stages_of(recipe)):
        if stage.name in wanted:
            wanted |= set(stages_read(stage, recipe))
    return wanted
