"""Which images there are and what they are labelled.

A source is a folder per class, a CSV, a parquet file, or WebDataset shards; the unlabelled pool
may be a folder of any shape.
"""

from __future__ import annotations

import csv
import hashlib
import os
from collections.abc import Iterable
from dataclasses import dataclass, replace
from pathlib import Path

from edgedistill.data.group_names import group_names
from edgedistill.data.shards import class_lists_beside, member_of, samples_of, shards_of
from edgedistill.errors import DataError
from edgedistill.sections import DataConfig

IMAGE_SUFFIXES = frozenset(
    [
        ".jpg",
        ".jpeg",
        ".jpe",
        ".png",
        ".bmp",
        ".tif",
        ".tiff",
        ".webp",
        ".jp2",
        ".pgm",
        ".ppm",
        ".pbm",
        ".pnm",
    ]
)


@dataclass(frozen=True)
class Item:
    """One image.

    Attributes:
        path: absolute, for `shards.read_bytes`.
        label: class name; empty in the unlabelled pool.
        group: images of one group stay in one split; None when nothing was said.
    """

    path: Path
    label: str
    group: str | None = None


def list_items(source: Path, data: DataConfig) -> list[Item]:
    """All labelled images of a source, files in path order, shards in their own.

    Raises:
        DataError: nothing there, an empty class, a missing column, an empty label, a bad shard.
    """
    shards = [] if source.is_dir() and _class_folders(source) else shards_of(source)
    if shards:
        found = _items_of_shards(shards, labelled=True)
    elif not source.exists():
        raise DataError(
            f"{source}: no such folder or file; expected one folder per class, a CSV, or .tar shards"
        )
    elif source.is_dir():
        found = _items_of_folder(source)
    else:
        found = _items_of_rows(source, _rows(source), data)
    if not found:
        raise DataError(f"{source}: no images listed")
    names = group_names([below(item.path, source) for item in found], data, source.is_dir() and not shards)
    if names is not None:
        found = [replace(item, group=name or item.group) for item, name in zip(found, names, strict=True)]
    return found if shards else sorted(found, key=lambda item: str(item.path))


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


def list_pool(source: Path, data: DataConfig) -> list[Item]:
    """All images of the unlabelled pool; labels and folder names are ignored.

    Raises:
        DataError: nothing there, no images, a missing column, a bad shard.
    """
    files = list(_images_below(source)) if source.is_dir() else []
    shards = [] if files else shards_of(source)
    if shards:
        return _items_of_shards(shards, labelled=False)
    if not source.exists():
        raise DataError(f"{source}: no such folder or file; expected unlabelled images in a "
                        "folder, a CSV, or .tar shards")  # fmt: skip
    found = [Item(file, "") for file in files]
    if not source.is_dir():
        found = _items_of_rows(source, _rows(source), data, labelled=False)
    if not found:
        raise DataError(f"{source}: no images in it; fill it, or leave data.unlabelled out")
    return sorted(found, key=lambda item: str(item.path))


def fingerprint(data: DataConfig) -> str:
    """SHA-256 over path, size and time of every source file: cheap, and changes when they do.

    Of shards it is the .tar files that count, and what names their classes; they are not opened.
    """
    digest = hashlib.sha256()
    for name in ("train", "val", "test", "unlabelled"):
        if getattr(data, name) is None:
            continue
        for file in _files_of(Path(getattr(data, name)), data, name != "unlabelled"):
            try:
                stat = file.stat()
            except OSError:
                continue  # `prepare` says which file is missing
            digest.update(
                f"{file}\0{stat.st_size}\0{stat.st_mtime_ns}\n".encode("utf-8", "surrogateescape")
            )
    return digest.hexdigest()


def _files_of(source: Path, data: DataConfig, labelled: bool) -> list[Path]:
    is_folder = source.is_dir()
    if not (is_folder and (_class_folders(source) if labelled else any(_images_below(source)))):
        shards = shards_of(source)
        if shards:
            beside = [file for shard in shards for file in class_lists_beside(shard)]
            return [*shards, *dict.fromkeys(beside)]
    listed = list_items(source, data) if labelled else list_pool(source, data)
    return ([] if is_folder else [source]) + [item.path for item in listed]


def _class_folders(source: Path) -> list[Path]:
    return sorted(
        entry for entry in source.iterdir() if entry.is_dir() and not entry.name.startswith(".")
    )


def _items_of_shards(shards: list[Path], labelled: bool) -> list[Item]:
    found = [Item(sample.path, sample.label or "")
             for shard in shards for sample in samples_of(shard, IMAGE_SUFFIXES, labelled)]  # fmt: skip
    if not found:
        raise DataError(f"{shards[0]}: no images in it; expected members like KEY.jpg")
    return found


def _items_of_folder(source: Path) -> list[Item]:
    classes = _class_folders(source)
    if not classes:
        raise DataError(f"{source}: no class folders in it; expected {source.name}/CLASS/image.jpg")
    found: list[Item] = []
    for folder in classes:
        files = list(_images_below(folder))
        if not files:
            raise DataError(
                f"{folder}: the class {folder.name!r} has no images; remove the folder or fill it"
            )
        found += [Item(file, folder.name) for file in files]
    return found


def _images_below(folder: Path) -> Iterable[Path]:
    """Image files at any depth. Links to folders are not followed, so they cannot loop."""
    for place, folders, files in os.walk(folder):
        folders[:] = sorted(name for name in folders if not name.startswith("."))
        for name in sorted(files):
            if not name.startswith(".") and Path(name).suffix.lower() in IMAGE_SUFFIXES:
                yield Path(os.path.abspath(os.path.join(place, name)))


def _rows(source: Path) -> list[dict[str, str | None]]:
    if source.suffix.lower() in {".csv", ".tsv"}:
        return _csv_rows(source)
    if source.suffix.lower() == ".parquet":
        return _parquet_rows(source)
    raise DataError(f"{source}: expected a folder, .csv, .tsv, .parquet or .tar")


def _csv_rows(source: Path) -> list[dict[str, str | None]]:
    try:
        with open(source, newline="", encoding="utf-8-sig") as file:
            separator = "\t" if source.suffix.lower() == ".tsv" else ","
            return list(csv.DictReader(file, delimiter=separator))
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise DataError(f"{source}: not a readable CSV in UTF-8: {error}") from None


def _parquet_rows(source: Path) -> list[dict[str, str | None]]:
    try:
        import pyarrow.parquet as parquet
    except ImportError:
        raise DataError(
            f"{source}: parquet needs pyarrow: pip install 'edgedistill[parquet]'"
        ) from None
    try:
        rows = parquet.read_table(source).to_pylist()
    except Exception as error:  # pyarrow has its own family of errors; all mean a bad file
        raise DataError(f"{source}: not a readable parquet file: {error}") from None
    return [{k: None if v is None else str(v) for k, v in row.items()} for row in rows]


def _items_of_rows(
    source: Path, rows: list[dict[str, str | None]], data: DataConfig, labelled: bool = True
) -> list[Item]:
    if not rows:
        raise DataError(f"{source}: no rows below the header")
    columns = (data.path_column, data.label_column, data.group_column)
    for column in filter(None, columns if labelled else columns[:1]):
        if column not in rows[0]:
            known = ", ".join(str(name) for name in rows[0])
            raise DataError(
                f"{source}: no column {column!r}; it has {known}; name yours with "
                "data.path_column, data.label_column, data.group_column"
            )
    found = []
    for number, row in enumerate(rows, start=2):
        path, label = row[data.path_column], row[data.label_column] if labelled else ""
        if not path or (labelled and not label):
            raise DataError(f"{source}, line {number}: the path or the label is empty")
        if "\0" in path:
            raise DataError(f"{source}, line {number}: {path!r} is no path")
        group = row[data.group_column] if labelled and data.group_column else None
        found.append(Item(Path(os.path.abspath(source.parent / path)), label or "", group or None))
    return found
