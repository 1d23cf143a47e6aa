"""Which images there are and what they are labelled.

A source is a folder per class, a CSV, a parquet file, or WebDataset shards; the unlabelled pool
may be a folder of any shape.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
from collections import Counter
from dataclasses import dataclass, field, replace
from pathlib import Path

from edgedistill.config.data import DataConfig
from edgedistill.config.task import labels_task
from edgedistill.core.files import line_of_state
from edgedistill.core.text import plural
from edgedistill.data.class_folders import items_of_folder
from edgedistill.data.files import (
    IMAGE_SUFFIXES,
    folders_in,
    has_images,
    line_from_left_out,
    pattern_of,
    walk,
)
from edgedistill.data.group_names import group_names
from edgedistill.data.items import Item
from edgedistill.data.label_sets import joined
from edgedistill.data.labels import clean, whole_numbers
from edgedistill.data.masks import is_left_out, refuse_masks
from edgedistill.data.rows import items_of_table
from edgedistill.data.shards import (
    class_lists_beside,
    expand_braces,
    member_of,
    samples_of,
    shards_of,
)
from edgedistill.data.split_names import named_splits, split_folders
from edgedistill.data.tables import read_table_file
from edgedistill.errors import DataError

__all__ = ["Item", "Listing", "fingerprint", "list_items", "list_pool", "list_source"]


@dataclass
class Listing:
    """What a source lists.

    Attributes:
        items: images, files in path order, shards in their own.
        left_out: what was left out and why -> how many.
        notes: further lines for people.
        files: tables and shards that were opened for it, and further links to its images.
    """

    items: list[Item]
    left_out: Counter[str] = field(default_factory=Counter)
    notes: list[str] = field(default_factory=list)
    files: list[Path] = field(default_factory=list)

    @property
    def lines(self) -> list[str]:
        line = line_from_left_out(self.left_out)
        return [*self.notes, *([line] if line else [])]


def list_items(source: Path, data: DataConfig) -> list[Item]:
    """The images of `list_source`."""
    return list_source(source, data).items


def list_source(source: Path, data: DataConfig, split: str = "train") -> Listing:
    """All labelled images of a source.

    Args:
        source: a folder per class, a table or shards.
        data: how to read it.
        split: what it is given as; of a table with a split column, `val` takes the rows of val only.

    Raises:
        DataError: nothing there, a root that holds splits, images and masks mixed, a class without
            images, a missing column, an empty label, a bad shard.
    """
    tables = _tables_of(source)
    shards = [] if tables or (source.is_dir() and folders_in(source)) else shards_of(source)
    task = labels_task(data.task)
    if task.vectors and not tables and source.exists() and (shards or not task.multiple):
        raise DataError(
            f"{source}: data.task = {data.task!r} reads the labels from columns of a table: .csv, .tsv or .parquet"
            + (", or from folders with links" if task.multiple else "")
        )
    if source.is_dir():
        _refuse_split_files(source, tables or shards)
    if shards:
        listing = Listing(_items_of_shards(shards, labelled=True), files=shards)
    elif tables:
        listing = _listing_of_tables(tables, data)
    elif not source.exists():
        raise DataError(f"{source}: no such folder or file; expected one folder per class, a CSV, or .tar shards")
    else:
        _refuse_splits(source)
        listing = Listing(*items_of_folder(Path(os.path.abspath(source)), f"data.{split}", task.multiple))
    if task.multiple:
        _join(listing)
    _keep_split(source, listing, data, split)
    return _finished(Path(os.path.abspath(source)), listing, data, is_folder=not (shards or tables))


def _join(listing: Listing) -> None:
    """Give each file all labels of its rows or links."""
    count = len(listing.items)
    listing.items, others = joined(listing.items)
    listing.files = [*listing.files, *others]
    if len(listing.items) < count:
        listing.notes.append(
            f"{count} rows or links name {len(listing.items)} images; each has the labels of all that name it"
        )
    if bare := sum(not item.label for item in listing.items):
        listing.notes.append(f"{plural(bare, 'image has', 'images have')} no label")


def _finished(source: Path, listing: Listing, data: DataConfig, is_folder: bool) -> Listing:
    """With patterns applied and names cleaned."""
    items = _without_left_out(source, listing, data)
    if not items:
        raise DataError(f"{source}: no images listed" + (" but those of data.leave_out" if listing.items else ""))
    if is_folder and data.same_names == "refuse":
        refuse_masks(source, [item.path for item in items])
    names = {label: clean(label) for label in {item.label for item in items}}
    if any(name != label for label, name in names.items()):
        items = [replace(item, label=names[item.label]) for item in items]
    if data.group_by is not None or data.group_pattern is not None:
        leading = [1 + (item.split is not None) if is_folder else 0 for item in items]
        grouped = group_names([below(item.path, source) for item in items], data, leading)
        items = [replace(item, group=name or item.group) for item, name in zip(items, grouped or (), strict=True)]
    ordered = bool(listing.files) and listing.files[0].suffix == ".tar"
    listing.items = items if ordered else sorted(items, key=lambda item: str(item.path))
    return listing


def below(path: Path, source: Path) -> str:
    """The path of an image below its source, parts joined by "/".

    Of an image in a shard it is the member's name; of a row in a CSV it is below the CSV's folder, or
    the whole path where it lies elsewhere.
    """
    if (member := member_of(path)) is not None:
        return member
    folder = source if source.is_dir() else source.parent
    try:
        return path.relative_to(os.path.abspath(folder)).as_posix()
    except ValueError:
        return path.as_posix()


def _without_left_out(source: Path, listing: Listing, data: DataConfig) -> list[Item]:
    if not data.leave_out:
        return listing.items
    items = [item for item in listing.items if not is_left_out(below(item.path, source), data.leave_out)]
    if len(items) < len(listing.items):
        listing.left_out["images by data.leave_out"] += len(listing.items) - len(items)
    else:
        listing.notes.append(f"data.leave_out = {list(data.leave_out)} matches no image here")
    return items


def list_pool(source: Path, data: DataConfig) -> Listing:
    """All images of the unlabelled pool; labels and folder names are ignored.

    Raises:
        DataError: nothing there, no images, a missing column, a bad shard.
    """
    below = walk(source) if source.is_dir() else None
    tables = [] if below and below.images else _tables_of(source)
    shards = [] if tables or (below and below.images) else shards_of(source)
    if shards:
        listing = Listing(_items_of_shards(shards, labelled=False), files=shards)
    elif tables:
        listing = _rows_of_tables(tables, data, labelled=False)
    elif below is None:
        if source.exists():
            read_table_file(source)  # says what was expected
        raise DataError(
            f"{source}: no such folder or file; expected unlabelled images in a folder, a CSV, or .tar shards"
        )
    else:
        listing = Listing([Item(file, "") for file in below.images], below.left_out)
    items = _without_left_out(Path(os.path.abspath(source)), listing, data)
    if not items:
        raise DataError(f"{source}: no images in it; fill it, or leave data.unlabelled out")
    listing.items = items if shards else sorted(items, key=lambda item: str(item.path))
    return listing


def fingerprint(data: DataConfig) -> str:
    """SHA-256 over path, size and time of every source file: cheap, and changes when they do.

    Of shards it is the .tar files that count, and what names their classes; they are not opened.
    """
    digest = hashlib.sha256()
    for name in ("train", "val", "test", "unlabelled"):
        if getattr(data, name) is None:
            continue
        for file in _files_of(Path(getattr(data, name)), data, name):
            with contextlib.suppress(OSError):  # `prepare` says what is missing; inside a table or shard there is none
                digest.update(line_of_state(str(file), file))
    return digest.hexdigest()


def _files_of(source: Path, data: DataConfig, name: str) -> list[Path]:
    labelled = name != "unlabelled"
    if not source.is_dir() or not (folders_in(source) if labelled else has_images(source)):
        shards = [] if _tables_of(source) else shards_of(source)
        if shards:
            beside = [file for shard in shards for file in class_lists_beside(shard)]
            return [*shards, *dict.fromkeys(beside)]
    listed = list_source(source, data, name) if labelled else list_pool(source, data)
    return [*listed.files, *(item.path for item in listed.items)]


def _tables_of(source: Path) -> list[Path]:
    """The tables that a source names: itself, parquet files in a folder, or by {00..07}."""
    if source.is_dir():
        return (
            []
            if folders_in(source)
            else sorted(entry for entry in source.iterdir() if entry.suffix.lower() == ".parquet" and entry.is_file())
        )
    if source.exists():
        return [] if shards_of(source) else [source]
    if source.suffix.lower() != ".parquet":
        return []
    tables = [Path(name) for name in expand_braces(str(source))]
    missing = next((table for table in tables if not table.is_file()), None)
    if missing is not None:
        raise DataError(f"{source}: no such file: {missing}")
    return tables


def _listing_of_tables(tables: list[Path], data: DataConfig) -> Listing:
    listing = _rows_of_tables(tables, data, labelled=True)
    written = {} if labels_task(data.task).vectors else whole_numbers(item.label for item in listing.items)
    if written:
        listing.items = [replace(item, label=written[item.label]) for item in listing.items]
    return listing


def _rows_of_tables(tables: list[Path], data: DataConfig, labelled: bool) -> Listing:
    listing = Listing([], files=tables)
    for table in tables:
        items, notes = items_of_table(read_table_file(table), data, labelled)
        listing.items += items
        listing.notes += [line for line in notes if line not in listing.notes]
    return listing


def _keep_split(source: Path, listing: Listing, data: DataConfig, split: str) -> None:
    """Of a source that names splits itself: `train` gives those that the recipe has no source for."""
    others = {"train", "val", "test"} - {split}
    if split == "train":
        others = {name for name in ("val", "test") if getattr(data, name) is not None}
    of_split = [item for item in listing.items if item.split not in others]
    if len(of_split) < len(listing.items):
        listing.left_out["images of another split"] += len(listing.items) - len(of_split)
    if not of_split and listing.items:
        raise DataError(f"{source}: it says itself which split an image is in, and none is in {split!r}")
    listing.items = of_split


def _refuse_split_files(source: Path, files: list[Path]) -> None:
    splits = named_splits(files)
    if len(splits) > 1:
        lines = ", ".join(f'data.{name} = "{pattern_of(paths)}"' for name, paths in splits.items())
        raise DataError(
            f"{source}: holds files of the splits {', '.join(splits)}; write {lines}; or let "
            f"`edgedistill new --train {source}` do so"
        )


def _refuse_splits(source: Path) -> None:
    splits = split_folders(source)
    if splits:
        lines = ", ".join(f'data.{name} = "{folder}"' for name, folder in splits.items())
        raise DataError(
            f"{source}: holds splits ({', '.join(folder.name for folder in splits.values())}), not classes; write "
            f"{lines}; or let `edgedistill new --train {source}` do so"
        )


def _items_of_shards(shards: list[Path], labelled: bool) -> list[Item]:
    items = [
        Item(sample.path, sample.label or "")
        for shard in shards
        for sample in samples_of(shard, IMAGE_SUFFIXES, labelled)
    ]
    if not items:
        raise DataError(f"{shards[0]}: no images in it; expected members like KEY.jpg")
    return items
