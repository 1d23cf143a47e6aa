"""The verbs that work on a recipe as Python functions, with the same words: `edgedistill.run(...)`.

A recipe is a file, as on the command line; sections as keyword arguments; or a file with sections that go on top
of it. Paths in a file are relative to that file, paths in keyword arguments to the working directory.

    edgedistill.distill("parts.toml", distill={"temperature": 2.0})
    edgedistill.run(data={"train": "images"}, target={"device": "orin-nano-8gb"}, run_dir="runs/parts")

What the command line refuses in one line is raised as an `EdgeDistillError`. Boards are in
`boards.py`, questions that need no run in `questions.py`; `edgedistill/__init__.py` lists all of them.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, Unpack, overload

from edgedistill.api.options import command_of, run_dir_of, with_seeds
from edgedistill.api.types import OWN_OPTIONS, Artifact, Options, PathLike, RunOptions, Sections
from edgedistill.progress.reporter import Talk

if TYPE_CHECKING:
    from edgedistill.config.recipe import Recipe
    from edgedistill.pipeline.plan import Planned


def recipe(
    file: PathLike | None = None,
    /,
    *,
    overrides: Sequence[str] = (),
    seeds: int | None = None,
    **sections: Unpack[Sections],
) -> Recipe:
    """A validated recipe, from a file, from sections, or from a file with sections on top.

    Args:
        overrides, seeds: as of `RunOptions`.

    Raises:
        RecipeError: unknown key, value out of range, unreadable file.
    """
    from edgedistill.config.loading import recipe_from_sections

    given = with_seeds(dict(sections), seeds)
    return recipe_from_sections(given, None if file is None else Path(file), overrides)


def stage(name: str, file: PathLike | None = None, /, **options: Unpack[Options]) -> Artifact:
    """Run a stage by name, and before it those stages that it reads and that are not up to date.

    Args:
        name: as of `edgedistill NAME`.
        file: a recipe.
        options: sections of the recipe on top of `file`, and what `RunOptions` has.

    Returns:
        What the stage left, also when there was nothing to do.

    Raises:
        EdgeDistillError: what the stage refuses; RecipeError without a `file` and a `run_dir`.
        KeyboardInterrupt: Ctrl-C; its argument is the name of the stage that was at work, or "".
    """
    return stages_of_file(name, file, options)


def run(file: PathLike | None = None, /, **options: Unpack[Options]) -> Artifact:
    """Every stage in turn; finished ones are skipped. Arguments as of `stage`.

    Returns:
        The last stage's artifact: `report`, whose values are report.json, where there is one.
    """
    return stages_of_file(None, file, options)


def plan(
    file: PathLike | None = None,
    /,
    *,
    run_dir: PathLike | None = None,
    only: str | None = None,
    force: Sequence[str] = (),
    overrides: Sequence[str] = (),
    seeds: int | None = None,
    **sections: Unpack[Sections],
) -> tuple[Planned, ...]:
    """What `run`, or `stage(only, ...)`, would do: `edgedistill run --dry-run`. Nothing is made.

    Args:
        only: a stage.
        run_dir, force, overrides, seeds: as of `RunOptions`.

    Returns:
        For each stage `stage`, `action` (`run`, `perhaps`, `keep`), `reason`, `last_seconds`.

    Raises:
        WeightsError: a network or its weights would be missed: a name, a file, a hub out of reach.
    """
    from edgedistill.pipeline.runner import plan_run

    made = recipe(file, overrides=overrides, seeds=seeds, **sections)
    return plan_run(made, run_dir_of(file, run_dir), only, force)


@overload
def quickstart(*, dry_run: Literal[False] = False, **options: Unpack[RunOptions]) -> Artifact: ...


@overload
def quickstart(*, dry_run: Literal[True], **options: Unpack[RunOptions]) -> tuple[Planned, ...]: ...


def quickstart(*, dry_run: bool = False, **options: Unpack[RunOptions]) -> Artifact | tuple[Planned, ...]:
    """The full pipeline on the ELPV solar-cell images: `edgedistill quickstart`.

    Args:
        dry_run: return what would be done, as `plan` does.
        options: as of `RunOptions`; `run_dir` is runs/quickstart when absent.

    Raises:
        DataError: the package elpv-dataset is not installed.
    """
    from edgedistill.config.quickstart import quickstart_recipe
    from edgedistill.pipeline.runner import plan_run

    folder = Path(options.get("run_dir") or "runs/quickstart")
    made = quickstart_recipe(folder, options.get("overrides", ()), options.get("seeds"))
    if dry_run:
        return plan_run(made, folder, None, options.get("force", ()))
    return _run_stages(None, made, folder, options, command_of(None, options))


def train_teacher(file: PathLike | None = None, /, **options: Unpack[Options]) -> Artifact:
    """The stage `teacher`: fine-tune a timm network. Arguments as of `stage`.

    Returns:
        Values `model`, `parameters`, `epochs`, `steps`, `preprocess`, `validation` (`top1_fraction`,
        `balanced_accuracy_fraction`, ...), `history`; file `weights.safetensors`.

    Raises:
        TeacherError: weaker than `teacher.min_top1_fraction` asks for.
    """
    return stage("teacher", file, **options)


def logits(file: PathLike | None = None, /, **options: Unpack[Options]) -> Artifact:
    """The stage `logits`: the teacher's outputs for every training view. Arguments as of `stage`.

    Returns:
        Values `images`, `views`, ...; the cache is read by `edgedistill.distillation.logit_cache`.
    """
    return stage("logits", file, **options)


def baseline(file: PathLike | None = None, /, **options: Unpack[Options]) -> Artifact:
    """The stage `baseline`: the student without a teacher, for comparison. Arguments as of `stage`.

    Returns:
        Values and file as of `distill`.
    """
    return stage("baseline", file, **options)


def distill(file: PathLike | None = None, /, **options: Unpack[Options]) -> Artifact:
    """The stage `distill`: train the student against the cached teacher. Arguments as of `stage`.

    Returns:
        Values as of `train_teacher`, and `seeds`, one row a training; file `weights.safetensors`.
    """
    return stage("distill", file, **options)


def evaluate(file: PathLike | None = None, /, **options: Unpack[Options]) -> Artifact:
    """The stage `evaluate`: teacher, baseline and student on test images. Arguments as of `stage`.

    Returns:
        Values of each network, `top1_fraction` and others, and what the teacher brought.
    """
    return stage("evaluate", file, **options)


def export(file: PathLike | None = None, /, **options: Unpack[Options]) -> Artifact:
    """The stage `export`: ONNX, proved against PyTorch. Arguments as of `stage`.

    Returns:
        Values with the proof and the findings for the board; file `student.onnx`.

    Raises:
        ExportError: the file does not say what the network says; it is removed.
        PreflightError: the target's TensorRT will not take it.
    """
    return stage("export", file, **options)


def quantize(file: PathLike | None = None, /, **options: Unpack[Options]) -> Artifact:
    """The stage `quantize`: INT8 ranges and the accuracy ladder. Arguments as of `stage`.

    Returns:
        Values `ladder` (`float`, `onnx`, `fp16`, `int8`), `requested`, `executed`, `reason`, ...;
        files `amax.json`, `student_int8.onnx`, `student_fp16.onnx`.

    Raises:
        QuantizeError: INT8 costs more than `quantize.max_int8_drop_points`.
    """
    return stage("quantize", file, **options)


def decide(file: PathLike | None = None, /, **options: Unpack[Options]) -> Artifact:
    """The stage `decide`: how logits become an answer, fitted on validation images. Arguments as of `stage`.

    Returns:
        Values `board` (precision -> temperature, thresholds, unknown_below) and `figures`, on test images.

    Raises:
        DataError: an image of `decide.unknown` cannot be read.
    """
    return stage("decide", file, **options)


@overload
def bundle(
    file: PathLike | None = None, /, *, format: None = None, out: None = None, **options: Unpack[Options]
) -> Artifact: ...


@overload
def bundle(
    file: PathLike | None = None, /, *, format: str, out: PathLike | None = None, **options: Unpack[Options]
) -> dict[str, Any]: ...


@overload
def bundle(
    file: PathLike | None = None, /, *, format: None = None, out: PathLike, **options: Unpack[Options]
) -> dict[str, Any]: ...


def bundle(
    file: PathLike | None = None,
    /,
    *,
    format: str | None = None,
    out: PathLike | None = None,
    **options: Unpack[Options],
) -> Artifact | dict[str, Any]:
    """The stage `bundle`: one folder with all that the board needs. Arguments as of `stage`.

    Args:
        format: also write the signed bundle as `folder`, `archive`, `mender` or `oci`.
        out: where to; beside the run's folders and named after the recipe when None.

    Returns:
        Values `file_count`, `bytes`, `manifest_sha256`, ...; the bundle is `folder / "bundle"`. With `format` or
        `out` instead what was written: `format`, `path`, `id`, and what the format adds.

    Raises:
        BundleError: `format` or `out` of an unsigned bundle, or `out` is something else.
    """
    from edgedistill.bundles.formats import FORMATS, export_bundle
    from edgedistill.core.distributed import speaks
    from edgedistill.errors import BundleError
    from edgedistill.pipeline.kept_signing import with_kept_signing
    from edgedistill.pipeline.run_folder import RunFolder

    if format is None and out is None:
        return stage("bundle", file, **options)
    sections: Any = {key: value for key, value in options.items() if key not in OWN_OPTIONS}
    folder = RunFolder(run_dir_of(file, options.get("run_dir")))
    wanted = recipe(file, overrides=options.get("overrides", ()), **sections)
    if with_kept_signing(wanted, folder).deploy.sign_key is None:
        raise BundleError(
            "what leaves this computer is signed: edgedistill keys new, then "
            '--set deploy.sign_key=NAME or sign_key = "NAME" in [deploy]'
        )
    made = stage("bundle", file, **options)
    kind, run_dir = format or "folder", made.folder.parent
    name = run_dir.name if file is None else Path(file).stem
    place = run_dir / (name + FORMATS[kind].suffix) if out is None else Path(out)
    return export_bundle(made.folder / "bundle", kind, place) if speaks() else {}


def sweep(
    file: PathLike,
    /,
    over: Mapping[str, Sequence[Any]],
    *,
    run_dir: PathLike | None = None,
    trials: int | None = None,
    storage: str | None = None,
    overrides: Sequence[str] = (),
    seeds: int | None = None,
    quiet: bool = False,
    events: Callable[[dict[str, Any]], None] | None = None,
) -> dict[str, Any]:
    """Settings of the student, or students, on one cached teacher: `edgedistill sweep`.

    Args:
        over: key -> values to try, like `{"distill.temperature": [1, 4]}`: keys of [distill],
            `student.model`, `student.weights`.
        trials: how many combinations TPE chooses; all of them when None.
        storage: Optuna storage that several machines share; a file when None.
        run_dir, overrides, seeds, quiet, events: as of `RunOptions`.

    Returns:
        sweep.json: `metric`, `trials`, best first, and `best`, with `settings`, `model` and `value`
        each. The report of the run, made again, shows them.

    Raises:
        RecipeError: a key that the cached teacher depends on, or a value out of range.
    """
    from edgedistill.pipeline.sweep import Sweep

    given = [*overrides, *([] if seeds is None else [f"distill.seeds={seeds}"])]
    made = Sweep(Path(file), given, over, run_dir_of(file, run_dir), Talk(quiet, events))
    return made.run(storage, trials).to_json()


def new(
    train: PathLike,
    file: PathLike,
    /,
    *,
    val: PathLike | None = None,
    test: PathLike | None = None,
    unlabelled: PathLike | None = None,
    target: str = "jetson-nano",
    say: Callable[[str], None] | None = None,
    **keys: Any,
) -> dict[str, Any]:
    """Look at images and write a commented recipe for them: `edgedistill new`.

    Args:
        train: a folder per class, a folder of splits, CSV, parquet, or .tar shards.
        file: the recipe to write; must not exist.
        say: called with each line about what was found; progress goes to stderr then.
        keys: further keys of [data], like `label_column="diagnosis"` or `leave_out=("*_mask.png",)`.

    Returns:
        What was found: `counts`, `imbalance`, `unreadable`, `exact_duplicates`, `leaks`, `refused`, ...
    """
    from edgedistill.config.loading import load_recipe
    from edgedistill.core.text import printable
    from edgedistill.new_project.inspect import inspect_and_write

    splits = [None if path is None else Path(path) for path in (val, unlabelled, test)]
    told, talk = say or (lambda line: None), Talk(quiet=say is None)
    inspected = inspect_and_write(Path(train), splits[0], target, Path(file), told, splits[1], splits[2], keys, talk)
    if say is not None:
        from edgedistill.models.supply import missing_weights  # PyTorch's memory, when the images' is free again

        for line in missing_weights(load_recipe(Path(file))):
            say(f"WEIGHTS: the run will stop at this: {printable(line)}")
    return inspected


def stages_of_file(only: str | None, file: PathLike | None, options: Options, alone: bool = False) -> Artifact:
    """
    Args:
        alone: as of `run_stages`.
    """
    sections: Any = {key: value for key, value in options.items() if key not in OWN_OPTIONS}
    own: Any = {key: value for key, value in options.items() if key in OWN_OPTIONS}
    folder = run_dir_of(file, options.get("run_dir"))
    made = recipe(file, overrides=options.get("overrides", ()), seeds=options.get("seeds"), **sections)
    # No command line says what Python values say; those of [deploy] are no part of the advice.
    repeatable = file is not None and not sections.keys() - {"deploy"}
    return _run_stages(only, made, folder, own, command_of(file, own) if repeatable else None, alone)


def _run_stages(
    only: str | None, made: Recipe, folder: Path, options: RunOptions, command: str | None, alone: bool = False
) -> Artifact:
    from edgedistill.pipeline.runner import run_stages

    talk = Talk(options.get("quiet", False), options.get("events"))
    try:
        path = run_stages(made, folder, talk, only, options.get("force", ()), command, alone)
    except KeyboardInterrupt:
        raise KeyboardInterrupt(talk.stage or "") from None
    return Artifact(path.stem, path.parent, json.loads(path.read_text(encoding="utf-8")))
