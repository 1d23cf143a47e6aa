"""Run the stage table: skip stages that are up to date, redo the others, stop at the first refusal."""

from __future__ import annotations

import functools
import importlib
import sys
from collections.abc import Iterable
from dataclasses import asdict
from pathlib import Path
from typing import Any

from edgedistill.bundles.signing import require_signer
from edgedistill.config.recipe import Recipe
from edgedistill.config.target import wanted_target
from edgedistill.config.task import task_of
from edgedistill.core import distributed
from edgedistill.core.files import write_json
from edgedistill.errors import EdgeDistillError, RunFolderError
from edgedistill.onnx_model.backends import executed_precision
from edgedistill.pipeline.context import StageContext
from edgedistill.pipeline.early_refusals import refuse_for_classes, refuse_what_fits_no_stage
from edgedistill.pipeline.kept_signing import KEY, with_kept_signing
from edgedistill.pipeline.plan import Planned, as_computed, inputs_of, plan_stages, text_from_plan, wanted_stages
from edgedistill.pipeline.run_folder import RunFolder, stopwatch
from edgedistill.pipeline.side_by_side import Helpers
from edgedistill.pipeline.table import WEIGHED, WITHOUT_TORCH, Stage, stages_of
from edgedistill.progress.events import VERSION
from edgedistill.progress.reporter import Talk
from edgedistill.records.artifacts import artifact_kind
from edgedistill.records.data import DataRecord
from edgedistill.training.trackers import require_trackers


def plan_run(recipe: Recipe, run_dir: Path, only: str | None = None, force: Iterable[str] = ()) -> tuple[Planned, ...]:
    """What `run_stages` would do with the same arguments; a folder that is absent stays absent.

    Raises:
        EdgeDistillError: as `run_stages`, before any stage.
    """
    force = tuple(force)
    sources = functools.partial(_source_files, recipe)
    with RunFolder(run_dir, lock=run_dir.exists()) as run:
        recipe = with_kept_signing(recipe, run)
        planned = plan_stages(wanted_stages(recipe, only, force), recipe, run, force, sources)
    _require_weights(recipe, planned)
    refuse_what_fits_no_stage(recipe, _to_run(planned))
    return planned


def run_stages(
    recipe: Recipe,
    run_dir: Path,
    talk: Talk,
    only: str | None = None,
    force: Iterable[str] = (),
    command: str | None = None,
    alone: bool = False,
) -> Path:
    """Run all stages, or one stage and those that it needs first.

    Args:
        recipe: validated.
        run_dir: made when absent; held by one process at a time.
        talk: where lines, progress and events go.
        only: a stage name; stages that it does not read, even indirectly, are skipped.
        force: names of stages to redo although they are fresh.
        command: that runs this recipe, for advice in the report.
        alone: start no stage but `only` and those of `force`; refuse where one that it needs is not up to date.

    Under `torchrun`, every rank calls this: stages that train or cache are worked on by all, the
    first rank does the rest, and the others say nothing.

    Returns:
        The JSON of the last stage that was asked for.

    Raises:
        EdgeDistillError: what a stage refuses.
    """
    force = tuple(force)
    wanted = wanted_stages(recipe, only, force)
    with distributed.joined(recipe.run.device), RunFolder(run_dir, lock=distributed.is_first()) as run:
        if not distributed.is_first():
            talk = Talk(quiet=True)
        try:
            kept = with_kept_signing(recipe, run)
            if kept.deploy.sign_key != (recipe.deploy.sign_key or None) and any(row.name == "bundle" for row in wanted):
                talk.say(
                    f"the bundle of this run is signed with the key {kept.deploy.sign_key!r} and stays so; "
                    f"--set {KEY}= makes an unsigned one",
                    "note",
                )
            _walk(wanted, kept, run, talk, force, command, only if alone else None)
        except BaseException as error:
            talk.event("run_stopped", reason=_why_stopped(error), text=str(error))
            raise
        result = run_dir / wanted[-1].name / f"{wanted[-1].name}.json"
        talk.event("run_finished", result=str(result))
    return result


def _walk(
    wanted: tuple[Stage, ...],
    recipe: Recipe,
    run: RunFolder,
    talk: Talk,
    force: tuple[str, ...],
    command: str | None,
    only: str | None,
) -> None:
    """
    Args:
        only: the stage beside which none is started; None: any.
    """
    sources = functools.cache(functools.partial(_source_files, recipe))
    planned = plan_stages(wanted, recipe, run, force, sources) if distributed.is_first() else ()
    if only is not None:
        _refuse_other_work(planned, only, force, run)
    distributed.agreed(lambda: write_json(run.path / "recipe.json", recipe.model_dump(mode="json")))
    target = wanted_target(recipe.target)
    _, instead = executed_precision(target, recipe.target.precision)
    if instead:
        talk.say(f"target.precision = {recipe.target.precision!r}: {instead}", "note")
    if target.note:
        talk.say(f"target.device = {recipe.target.device!r}: {target.note}", "note")
    loading_s = 0.0
    if distributed.is_first():
        _require_signer(recipe, planned)
        talk.event(
            "run_started",
            version=VERSION,
            run_dir=str(run.path),
            plan=[asdict(planned_stage) for planned_stage in planned],
        )
        talk.show(text_from_plan(planned, run.path))
        loading_s = _require_weights(recipe, planned, talk)
        refuse_what_fits_no_stage(recipe, _to_run(planned))
    stages = stages_of(recipe)

    def why(stage: Stage) -> tuple[dict[str, Any], str | None]:
        return distributed.agreed(functools.partial(_why, stage, recipe, run, force, sources))

    with Helpers() as helpers:
        for number, stage in enumerate(wanted):
            title = f"[{stages.index(stage) + 1}/{len(stages)}] {stage.name}"
            inputs, reason = why(stage)
            with talk.working_on(stage.name, title):
                if reason is None:
                    talk.event("stage_kept")
                    talk.show(f"{title}: up to date", "kept")
                else:
                    talk.event("stage_started", help=stage.help, reason=reason)
                    talk.show(f"{title}: {stage.help} ({reason})")
                    out = distributed.agreed(functools.partial(run.begin, stage.name, inputs))
                    context = StageContext(stage.name, recipe, run, out, talk, command)
                    loading_s += 0.0 if stage.name in WITHOUT_TORCH else _load_torch(talk)
                    helpers.before(context, inputs, wanted[number + 1 :], why)
                    _work(stage, title, context, inputs, loading_s)
                    loading_s = 0.0
                    distributed.wait_for_all()
                if stage.gate is not None:
                    stage.gate(recipe, run.read(artifact_kind(stage.name, task_of(recipe))))
                if stage.name == "data":
                    refuse_for_classes(recipe, _to_run(planned), len(run.read(DataRecord).classes))


def _why_stopped(error: BaseException) -> str:
    if isinstance(error, KeyboardInterrupt):
        return "interrupted"
    return "refused" if isinstance(error, EdgeDistillError) else "failed"


def _refuse_other_work(planned: Iterable[Planned], only: str, force: tuple[str, ...], run: RunFolder) -> None:
    """
    Raises:
        RunFolderError: a stage beside `only` and those of `force` is not up to date.
    """
    stale = next((row for row in planned if row.action == "run" and row.stage not in (only, *force)), None)
    if stale is None:
        return
    finished = (run.folder(only) / f"{only}.json").exists()
    as_it_is = f", or `edgedistill {only} {run.path}` to see the finished run as it is" if finished else ""
    raise RunFolderError(
        f"stage {stale.stage} is not up to date ({stale.reason}), and `edgedistill {only}` runs no stage but its own: "
        f"use `edgedistill run` with the same options{as_it_is}"
    )


def _require_signer(recipe: Recipe, planned: Iterable[Planned]) -> None:
    """Check the signing key before the training; a bundle that stays as it is needs it no longer."""
    deploy = recipe.deploy
    if deploy.sign_key is not None and any(row.stage == "bundle" and row.action != "keep" for row in planned):
        require_signer(deploy.sign_key, deploy.sign_command)


def _require_weights(recipe: Recipe, planned: Iterable[Planned], talk: Talk | None = None) -> float:
    """Check names and weights of the networks that will be built before hours of training, not after them.

    A stage that is perhaps redone asks for them when it is. A run that is up to date needs no torch.

    Returns:
        Seconds that PyTorch took to load.
    """
    building = _to_run(planned) & WEIGHED
    loading_s = 0.0
    if building:
        require_trackers(recipe.run.trackers)
        if talk is not None:
            loading_s = _load_torch(talk)
        from edgedistill.models.supply import fetch_weights, require_weights

        require_weights(recipe, building)
        if talk is not None:  # not a dry run
            fetch_weights(recipe, building, talk.say)
    return loading_s


def _to_run(planned: Iterable[Planned]) -> set[str]:
    """Stages that are surely run."""
    return {planned_stage.stage for planned_stage in planned if planned_stage.action == "run"}


def _load_torch(talk: Talk) -> float:
    """Import PyTorch, which takes seconds, and show that meanwhile.

    Returns:
        The seconds; 0 where it was imported before.
    """
    if "torch" in sys.modules:
        return 0.0
    with talk.progress("loading PyTorch", 1), stopwatch() as seconds:
        importlib.import_module("torch")
    return seconds[0]


def _why(
    stage: Stage, recipe: Recipe, run: RunFolder, force: tuple[str, ...], sources: Any
) -> tuple[dict[str, Any], str | None]:
    """What a stage's artifact is to be made from, and why the existing artifact is not up to date."""
    inputs = inputs_of(stage, recipe, run, sources)
    reason = "asked for" if stage.name in force else run.why_stale(stage.name, inputs)
    if reason is None:
        run.forget_begun(stage.name, inputs)
    return inputs, reason


def _work(stage: Stage, title: str, context: StageContext, inputs: dict[str, Any], loading_s: float) -> None:
    """Do a stage: all ranks do one that is shared, else the first alone.

    Args:
        loading_s: seconds that PyTorch took to load before the first stage that needs it.
    """
    if stage.shared:
        _do(stage, title, context, inputs, loading_s)
    elif distributed.is_first():
        with distributed.alone():
            _do(stage, title, context, inputs, loading_s)


def _do(stage: Stage, title: str, context: StageContext, inputs: dict[str, Any], loading_s: float) -> None:
    try:
        with stopwatch() as measured:
            module = importlib.import_module(f"edgedistill.stages.{stage.name}")
            result = module.run(context)
    except OSError as error:
        raise RunFolderError(
            f"{stage.name}: {error.filename or context.out}: {error.strerror or error}; mend that "
            "and run again, finished stages are kept"
        ) from error
    distributed.wait_for_all()  # who still reads the folder must not find it renamed
    if distributed.is_first():
        seconds = loading_s + measured[0]
        context.run.finish(stage.name, as_computed(inputs, context.recipe, result.cost), result, seconds)
        context.talk.event("stage_finished", seconds=round(seconds, 2))
        context.talk.show(f"{title}: done in {seconds:.1f} s", "done")


def _source_files(recipe: Recipe) -> str:
    from edgedistill.data.sources import fingerprint

    return fingerprint(recipe.data)
