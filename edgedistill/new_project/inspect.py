"""`edgedistill new`: look at a user's images, say what is there, write a commented recipe."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from os import PathLike
from pathlib import Path
from typing import Any

from edgedistill.config.data import DataConfig
from edgedistill.config.loading import recipe_from_table
from edgedistill.config.target import load_target
from edgedistill.core.files import as_run_folder_error, locked, write_bytes
from edgedistill.core.text import printable
from edgedistill.data.duplicates import MOST_IMAGES
from edgedistill.data.group_names import roboflow_proposal
from edgedistill.data.grouping import group
from edgedistill.data.layout import recognise
from edgedistill.data.readings import ReadingLog
from edgedistill.data.scan import listed_in, scan
from edgedistill.data.sources import list_pool
from edgedistill.errors import DataError, EdgeDistillError, RecipeError, RunFolderError
from edgedistill.new_project.findings import Look, lines_from_look, values_from_look
from edgedistill.new_project.recipe_text import recipe_text
from edgedistill.progress.reporter import Talk


def inspect_and_write(
    train: Path,
    val: str | PathLike[str] | None,
    target: str,
    recipe_path: Path,
    say: Callable[[str], None],
    unlabelled: str | PathLike[str] | None = None,
    test: str | PathLike[str] | None = None,
    keys: Mapping[str, Any] | None = None,
    talk: Talk | None = None,
) -> dict[str, Any]:
    """Scan the images, report, and write `recipe_path`.

    Args:
        train: a folder of any usual layout, CSV, parquet or .tar shards.
        val: the same, or None: a split that `train` brings, or one that is split off.
        target: a board's name.
        recipe_path: must not exist.
        say: told what was found, after the recipe was written.
        unlabelled: a folder, CSV or shards of images without labels, or None: a folder `unlabelled` beside the
            classes or splits, where there is one.
        test: as `val`.
        keys: further keys of [data], like `label_column`; None values are left out.
        talk: shows how many images are read.

    Returns:
        What was found, JSON-able.

    Raises:
        RecipeError: the recipe exists already, or no such target.
        DataError: no usable images, or a layout that is understood and cannot be learnt from.
    """
    if recipe_path.exists():
        shutil.rmtree(_readings_folder(recipe_path), ignore_errors=True)  # of a kill after the recipe was written
        raise RecipeError(f"{recipe_path} exists; remove it or choose another name")
    load_target(target)
    places = {name: Path(path) for name, path in (("train", train), ("val", val), ("test", test)) if path}
    layout = recognise({name: path.resolve() for name, path in places.items()}, _checked(keys or {}))
    unlabelled = unlabelled or layout.pool
    pool_path = {"unlabelled": str(Path(unlabelled).resolve())} if unlabelled else {}
    data = DataConfig(**layout.sources, **layout.keys, **pool_path)
    with _readings_beside(recipe_path) as folder:
        look = _look(data, folder, talk)
        values = _write(look, train, target, recipe_path)
    tables = tuple(f"{name}: {Path(path).name}: " for name, path in layout.sources.items() if Path(path).is_file())
    for line in [*layout.notes, *lines_from_look(look, values)]:
        if not line.startswith(tables):  # of their columns the layout told already
            say(printable(line))
    goes_on = "mend what stops the run, then:" if values["refused"] else "next:"
    say(f"wrote {recipe_path}; {goes_on} edgedistill run {recipe_path}")
    return values


def _readings_folder(recipe_path: Path) -> Path:
    """Where an interrupted `new` left what it learnt of the images; hidden, since images may lie beside the recipe."""
    return recipe_path.with_name(f".{recipe_path.name}.readings")


@contextmanager
def _readings_beside(recipe_path: Path) -> Iterator[Path]:
    """The folder, for this process alone; it stays only where the block is interrupted.

    Raises:
        RunFolderError: another command fills it, or the disk refuses.
    """
    folder = _readings_folder(recipe_path)
    with as_run_folder_error(f"cannot write {folder}"):
        folder.mkdir(parents=True, exist_ok=True)
    with locked(folder, wait=False) as is_ours:
        if not is_ours:
            raise RunFolderError(f"{folder}: another `edgedistill new` is writing {recipe_path}; wait for it")
        try:
            yield folder
        except EdgeDistillError:
            shutil.rmtree(folder, ignore_errors=True)
            raise
        shutil.rmtree(folder, ignore_errors=True)


def _look(data: DataConfig, log_folder: Path, talk: Talk | None) -> Look:
    listed = listed_in(data)
    if len(listed.items) > MOST_IMAGES:
        data = data.model_copy(update={"near_duplicate_similarity": 0.0})
    grouped_by = data.group_pattern or data.group_column or data.group_by
    proposal = None if grouped_by else roboflow_proposal(str(item.path) for _, item in listed.items)
    if proposal is not None:
        data = data.model_copy(update={"group_pattern": proposal[0]})
        listed = listed_in(data)
    with ReadingLog(log_folder, data, None) as log:
        scanned = scan(data, talk=talk, log=log, listed=listed)
    pool = list_pool(Path(data.unlabelled), data) if data.unlabelled else None
    return Look(data, scanned, group(scanned, data), pool, proposal and proposal[1])


def _write(look: Look, train: Path, target: str, recipe_path: Path) -> dict[str, Any]:
    """Write the recipe, and return what was found.

    Raises:
        DataError: one class alone.
        RecipeError: a name that UTF-8 does not have.
    """
    values = values_from_look(look)
    if len(values["counts"]) < 2:
        raise DataError(
            f"{train}: expected at least two classes, all {values['images']} images are "
            f"{next(iter(values['counts']))!r}"
        )
    text = recipe_text(values, look.data, target, recipe_path.name)
    try:
        content = text.encode()
    except UnicodeEncodeError:
        raise RecipeError(f"{train}: a recipe is UTF-8 and cannot name this folder; rename it") from None
    write_bytes(recipe_path, content)
    return values


def _checked(keys: Mapping[str, Any]) -> dict[str, Any]:
    """Keys that were given; a folder is meant from here when there is one of that name."""
    given = {name: value for name, value in keys.items() if value is not None}
    root = given.get("image_root")
    if root is not None:
        given["image_root"] = str(Path(root).resolve() if Path(root).is_dir() else root)
    recipe_from_table({"data": {"train": "", **given}}, source="new")
    return given
