"""One folder per class: which folders are classes, and what is wrong with those that are not."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

from edgedistill.core.text import plural
from edgedistill.data.files import (
    Walk,
    counts_from_left_out,
    data_files,
    files_in,
    folders_in,
    has_images,
    is_system,
    line_from_left_out,
    pattern_of,
    tables_in,
    walk,
)
from edgedistill.data.items import Item
from edgedistill.data.masks import annotation_folders, is_pool
from edgedistill.data.split_names import named_splits, split_folders, split_of_value
from edgedistill.errors import DataError


def items_of_folder(source: Path, key: str, multiple: bool = False) -> tuple[list[Item], Counter[str], list[str]]:
    """Images, what was left out, and lines for people.

    Args:
        source: a folder, absolute.
        key: of the recipe, for messages.
        multiple: an image has any number of the classes, by links in their folders; none where it lies beside them.

    Raises:
        DataError: no class or one, or a class of pictures that cannot be read.
    """
    if not source.is_dir():
        raise DataError(f"{source}: expected a folder, .csv, .tsv, .parquet or .tar")
    loose = files_in(source)
    left_out, notes = Counter(loose.left_out), []
    below = _walked(source, left_out)
    system = sorted(
        entry.name for entry in source.iterdir() if entry.is_dir() and is_system(entry.name) and entry.name[0] != "."
    )
    if system:
        notes.append(f"folders of an operating system or a tool left out: {', '.join(system)}")
    if loose.images and not multiple:
        left_out["images beside the class folders (no class)"] += len(loose.images)
    _refuse_unreadable_classes(below)
    classes = {folder: files for folder, files in below.items() if files.images}
    for folder in below.keys() - classes.keys():
        notes.append(_line_of_empty(folder, below[folder]))
    left = annotation_folders({f: w.images for f, w in classes.items()})
    for folder, why in left.items():
        notes.append(f"folder {folder.name!r} left out: {plural(len(classes[folder].images), 'file')}, {why}")
        del classes[folder]
    if not classes:
        for files in below.values():
            loose.left_out.update(files.left_out)
    _refuse_less_than_two(source, key, list(classes), loose, left)
    items = [Item(file, "") for file in loose.images] if multiple else []
    for folder, files in classes.items():
        left_out.update(files.left_out)
        splits = _splits_in(folder)
        items += [Item(file, folder.name, split=_split_of(file, folder, splits)) for file in files.images]
    if any(item.split for item in items):
        notes.append("splits from the folders inside the classes")
    notes = sorted(notes)
    return items, left_out, notes[:10] + ([f"and {len(notes) - 10} more folders left out"] if len(notes) > 10 else [])


def _walked(source: Path, left_out: Counter[str]) -> dict[Path, Walk]:
    """What lies below each folder of the source; a link that leads back above it is counted in `left_out`."""
    folders = folders_in(source)
    loops = [folder for folder in folders if folder.is_symlink() and source.resolve().is_relative_to(folder.resolve())]
    if loops:
        left_out["linked folders that lead back above"] += len(loops)
    return {folder: walk(folder) for folder in folders if folder not in loops}


def folder_of_classes(root: Path, depth: int = 3) -> Path | None:
    """The first folder below a root, the root too, that holds at least two folders with images."""
    level = [root]
    for _ in range(depth + 1):
        for folder in level:
            if sum(has_images(below) and not is_pool(below.name) for below in folders_in(folder)) > 1:
                return folder
        level = [below for folder in level for below in folders_in(folder)]
    return None


def _tables_below(root: Path, depth: int = 3) -> list[Path] | None:
    """Tables and shards in the first folder below a root that has any; of splits, those to train on."""
    level = [root]
    for _ in range(depth + 1):
        for folder in level:
            files = data_files(folder)
            if files:
                return named_splits(files).get("train", files)
        level = [below for folder in level for below in folders_in(folder)]
    return None


def _splits_in(folder: Path) -> dict[str, str]:
    """Name of a folder in a class -> its split, where the class is divided into splits by folders."""
    named = {below.name: split_of_value(below.name) for below in folders_in(folder) if has_images(below)}
    given = {name: split for name, split in named.items() if split is not None}
    return given if "train" in given.values() and len(set(given.values())) > 1 else {}


def _split_of(file: Path, folder: Path, splits: dict[str, str]) -> str | None:
    return splits.get(file.relative_to(folder).parts[0]) if splits else None


def _line_of_empty(folder: Path, files: Walk) -> str:
    left_out = line_from_left_out(files.left_out)
    return f"folder {folder.name!r} left out: " + (
        f"no images ({left_out.removeprefix('left out: ')})" if left_out else "empty"
    )


def _refuse_unreadable_classes(below: dict[Path, Walk]) -> None:
    for folder, files in below.items():
        if not files.images and files.pictures:
            left_out = counts_from_left_out(files.left_out)
            raise DataError(
                f"{folder}: the class {folder.name!r} has no images that can be read, only {left_out}; convert "
                "them, or move the folder away"
            )


def _refuse_less_than_two(source: Path, key: str, classes: list[Path], loose: Walk, left: dict[Path, str]) -> None:
    """
    Args:
        left: folders that were left out -> why.
    """
    if len(classes) > 1:
        return
    option = key.removeprefix("data.")
    if not classes:
        why = f"{source}: no class folders in it; expected {source.name}/CLASS/image.jpg"
        if loose.images:
            above = source.parent
            why = f"{source}: {len(loose.images)} images lie in it directly, without a folder for each class"
            tables = [file.name for file in tables_in(above)]
            if tables:
                why += f"; a table beside it may name them: {', '.join(tables[:3])} in {above}"
            elif sum(has_images(folder) for folder in folders_in(above)) > 1:
                why += f"; if {source.name!r} is one of the classes, give the folder above: "
                why += f'{key} = "{above}" (new: --{option} {above})'
            else:
                why += f"; expected {source.name}/CLASS/image.jpg, or a CSV with paths and labels"
        elif (files := _tables_below(source)) is not None:
            why += f'; tables or shards ({files[0].name}) are in {files[0].parent}: {key} = "{pattern_of(files)}"'
        elif loose.left_out:
            why += f"; there is nothing but {counts_from_left_out(loose.left_out)}"
        raise DataError(why)
    why = f"{source}: expected at least two classes, there is only one class folder with images, {classes[0].name!r}"
    deeper = folder_of_classes(classes[0])
    if deeper is not None:
        what = "splits" if split_folders(deeper) else "classes"
        names = [folder.name for folder in folders_in(deeper) if has_images(folder)]
        why += f"; the {what} ({', '.join(names[:4])}{', ...' if len(names) > 4 else ''}) are in {deeper}: "
        why += f'{key} = "{deeper}" (new: --{option} {deeper})'
    for folder, reason in left.items():
        why += f"; {folder.name!r} was left out ({reason}): where it is a class, rename it"
    raise DataError(why)
