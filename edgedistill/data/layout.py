"""Recognise the layout of a user's folder: splits, classes, tables, and which belong together.

Used by `new` alone; what it finds is written into the recipe, and stage `data` reads just that.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

from edgedistill.data.class_folders import folder_of_classes
from edgedistill.data.files import (
    data_files,
    folders_in,
    has_data,
    has_images,
    has_own_images,
    pattern_of,
    tables_in,
)
from edgedistill.data.layout_tables import Layout, image_root_of, is_labelled, overrules, take
from edgedistill.data.masks import is_pool
from edgedistill.data.split_names import named_splits, split_folders, split_of_name
from edgedistill.data.table import SPLITS
from edgedistill.errors import DataError


def recognise(given: dict[str, Path], keys: dict[str, Any]) -> Layout:
    """Look at the sources that a user named.

    Args:
        given: `train`, and `val` and `test` where they were named.
        keys: keys of [data] that were named.

    Raises:
        DataError: a table that cannot be read, or whose images are nowhere; splits without classes.
    """
    layout = Layout(keys=dict(keys), asked=dict(keys))
    root = Path(os.path.abspath(given["train"]))
    splits = _splits_below(root, layout) if root.is_dir() else {}
    places = {name: Path(os.path.abspath(path)) for name, path in given.items()}
    if splits:
        places = splits | {name: path for name, path in places.items() if name != "train"}
        _take_splits(places, layout)
    else:
        for name, place in places.items():
            take(name, place, _source_in(place, layout), layout)
        _say_siblings(root, places, layout)
    layout.pool = _pool_beside(places["train"], bool(splits))
    return layout


def _pool_beside(train: Path, among_splits: bool) -> Path | None:
    """The folder of images without labels: beside the classes, in the folder that was named; or beside the splits."""
    if not train.is_dir():
        return None
    classes = folder_of_classes(train) or train
    folders = folders_in(classes) + (folders_in(train.parent) if among_splits else [])
    return next((folder for folder in folders if is_pool(folder.name) and has_images(folder)), None)


def _splits_below(root: Path, layout: Layout) -> dict[str, Path]:
    """Split -> folder or files, in the root or in the only folder that leads there."""
    folder = root
    for _ in range(4):
        splits: dict[str, Any] = split_folders(folder)
        if not splits:
            files = [file for file in data_files(folder) if file.suffix.lower() in {".parquet", ".tar"}]
            named = named_splits(files)
            splits = {name: Path(pattern_of(paths)) for name, paths in named.items()} if len(named) > 1 else {}
        tables = [table for table in tables_in(folder) if is_labelled(table, layout)]
        if not splits:
            listed = named_splits(tables)
            splits = _one_each(folder, listed) if len(listed) > 1 else {}
        if splits:
            splits = {name: splits[name] for name in SPLITS if name in splits}
            names = ", ".join(f"{name} = {path.relative_to(root)}" for name, path in splits.items())
            layout.notes.append(f"splits found: {names}")
            others = sorted(
                below.name
                for below in folder.iterdir()
                if below.is_dir() and below not in splits.values() and below.name[0] != "." and not is_pool(below.name)
            )
            if others and all(path in folders_in(folder) for path in splits.values()):
                layout.notes.append(f"folders beside the splits left out: {', '.join(others)}")
            return splits
        inner = [below for below in folders_in(folder) if has_data(below)]
        if len(inner) != 1 or tables or has_own_images(folder):
            return {}
        folder = inner[0]
    return {}


def _one_each(folder: Path, listed: dict[str, list[Path]]) -> dict[str, Path]:
    """
    Raises:
        DataError: two tables are called like one split: parts of it, or folds.
    """
    for name, paths in listed.items():
        if len(paths) > 1:
            raise DataError(
                f"{folder}: {' and '.join(path.name for path in paths[:3])} are both called like the split {name!r}; "
                f"keep one of them, put their rows into one table, or name it: --{name} {paths[0]}"
            )
    return {name: paths[0] for name, paths in listed.items()}


def _take_splits(places: dict[str, Path], layout: Layout) -> None:
    sources = {name: _source_in(place, layout, root_too=False) for name, place in places.items()}
    if sources["train"] is None:  # images without classes: a table beside the folders may name them
        beside = places["train"].parent
        tables = [table for table in tables_in(beside) if is_labelled(table, layout)]
        named = _one_each(beside, named_splits(tables))
        sources = {name: source or named.get(name) for name, source in sources.items()}
        listed = tables or tables_in(beside)
        if not named and len(listed) == 1:
            sources["train"] = listed[0]
        if sources["train"] is None:
            raise DataError(
                f"{places['train']}: images without classes; expected a folder for each class in it, or a table "
                f"with a path and a label column in it or beside it: --train TABLE.csv"
            )
    for name, place in places.items():
        source = sources[name]
        if source is None or (name != "train" and _is_unlabelled(source, sources["train"])):
            if not (name != "train" and "split_column" in layout.keys):
                layout.notes.append(
                    f"{name}: {place.name} has no labels, so it is left out; --unlabelled {place} "
                    "takes its images as a pool"
                )
            continue
        take(name, place, source, layout)


def _is_unlabelled(source: Path, train: Path | None) -> bool:
    """Whether all images are in one folder that is not a class of the training images, as in test/unknown/."""
    if not source.is_dir() or train is None or not train.is_dir():
        return False
    names = [below.name for below in folders_in(source) if has_images(below)]
    return len(names) == 1 and names[0] not in {below.name for below in folders_in(train)}


def _source_in(place: Path, layout: Layout, root_too: bool = True) -> Path | None:
    """The folder, or the table in or beside it, that a place is; None when it has no labels."""
    if not place.is_dir():
        return place
    holding = [below for below in folders_in(place) if has_images(below)]
    tables = [table for table in tables_in(place) if is_labelled(table, layout)]
    if len(holding) > 1:
        table = next((table for table in tables if root_too and overrules(table, place, layout)), None)
        return table or place
    unread = tables_in(place) if folder_of_classes(place) is None else []
    listed = [table for table in tables or unread if table.suffix.lower() != ".parquet"]
    if len(listed) == 1:  # also one that cannot be read: what is wrong with it is said when it is taken
        return listed[0]
    if len(listed) > 1:
        what = "with labels" if tables else "none of which names a file and a label in each row"
        raise DataError(
            f"{place}: {len(listed)} tables {what}: {', '.join(table.name for table in listed[:5])}; name one with "
            "--train (and --val, --test), its columns with --path-column and --label-column"
        )
    if data_files(place) and not holding:
        return place
    if has_own_images(place) and not holding:
        beside = [table for table in tables_in(place.parent) if is_labelled(table, layout)] if root_too else []
        own = [table for table in beside if image_root_of(table, layout) == place.name]
        beside = own or beside
        return beside[0] if len(beside) == 1 else (place if root_too else None)
    if len(holding) == 1 and not root_too and (folders_in(holding[0]) or data_files(holding[0])):
        return _source_in(holding[0], layout, root_too=False)
    return place if root_too or holding else None


def _say_siblings(root: Path, places: dict[str, Path], layout: Layout) -> None:
    """Note val and test folders beside a named train folder that are not in use."""
    named = split_of_name(root.name if root.is_dir() else root.stem)
    if named is None or named.split != "train" or not root.parent.is_dir() or "split_column" in layout.keys:
        return
    beside = folders_in(root.parent) if root.is_dir() else tables_in(root.parent)
    used = {place.resolve() for place in places.values()}
    free = named_splits([path for path in beside if path.resolve() not in used or path == root])
    others = {name: paths[0] for name, paths in free.items() if name not in places}
    if others and root in beside:
        options = " ".join(f"--{name} {path}" for name, path in others.items())
        layout.notes.append(f"beside it lie other splits: use them with {options}, or --train {root.parent}")
