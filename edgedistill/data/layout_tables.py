"""The tables of a layout: which list images with labels, where their images are, what [data] needs for them."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from edgedistill.config.data import DataConfig
from edgedistill.data.columns import class_of_row, columns_of, group_candidates
from edgedistill.data.rows import Places, best_place, is_there
from edgedistill.data.tables import Table, read_table_file
from edgedistill.errors import DataError

_SAMPLE = 50  # rows whose files are looked for


@dataclass
class Layout:
    """What `new` writes into [data].

    Attributes:
        sources: `train`, `val`, `test` -> a folder, a table, or a pattern of files.
        keys: further keys of [data].
        notes: what was understood, for people.
        asked: keys that the user named.
        tables: those that were read.
        pool: folder of images without labels beside the classes or splits, None where there is none.
    """

    sources: dict[str, str] = field(default_factory=dict)
    keys: dict[str, Any] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)
    asked: dict[str, Any] = field(default_factory=dict)
    tables: dict[Path, Table] = field(default_factory=dict)
    pool: Path | None = None


def is_labelled(table: Path, layout: Layout) -> bool:
    """Whether a table lists images with labels. One that cannot be read at all is met later."""
    try:
        read = _read(table, layout)
        columns = columns_of(read, _config(table, layout))
    except DataError:
        return False
    return columns.embedded or _find_images(read, columns.path, _config(table, layout)) is not None


def image_root_of(table: Path, layout: Layout) -> str | None:
    read, data = _read(table, layout), _config(table, layout)
    return (_find_images(read, columns_of(read, data).path, data) or {}).get("image_root")


def overrules(table: Path, place: Path, layout: Layout) -> bool:
    """Whether a table beside folders is to be taken: images of one folder have different labels in it.

    Where each folder has one label the folders are the classes, and their names say more.
    """
    read, data = _read(table, layout), _config(table, layout)
    columns = columns_of(read, data)
    file_of = Places(table, data.model_copy(update=_find_images(read, columns.path, data) or {}))
    labels: dict[str, set[str | None]] = {}
    for number in range(0, len(read.rows), max(1, len(read.rows) // (10 * _SAMPLE))):
        row = read.rows[number]
        file = file_of(row.get(columns.path) or "")
        if file.is_relative_to(place) and file.is_file():
            label = class_of_row(read, read.line(number), row, columns)
            labels.setdefault(file.relative_to(place).parts[0], set()).add(label)
    overruled = any(len(of_folder) > 1 for of_folder in labels.values())
    layout.notes.append(
        f"{table.name} names the labels: images of one folder have different ones in it"
        if overruled
        else f"the folders are the classes; {table.name} beside them is not used"
    )
    return overruled


def take(name: str, place: Path, source: Path | None, layout: Layout) -> None:
    """Add a source, and the keys that its table needs."""
    source = source or place
    layout.sources[name] = str(source)
    if source != place and source.is_relative_to(place):
        layout.notes.append(f"{name}: {source.relative_to(place.parent)}")
    elif source != place:
        layout.notes.append(f"{name}: {source.name} beside {place.name}")
    if not source.is_file() or source.suffix.lower() not in {".csv", ".tsv", ".parquet"}:
        return
    table, data = _read(source, layout), _config(source, layout)
    columns = columns_of(table, data)
    named = not columns.embedded or len(table.embedded) > 1
    keys: dict[str, Any] = {"path_column": columns.path} if named else {}
    keys |= {"label_column": columns.label} if columns.label else {}
    keys |= {"split_column": columns.split} if columns.split else {}
    layout.notes += [f"{source.name}: {', '.join(columns.notes)}"] if columns.notes else []
    groups = [column for column in group_candidates(table.columns) if column != columns.group]
    if groups and columns.group is None and name == "train":
        layout.notes.append(
            f"the column {groups[0]!r} may say which images belong together: --group-column {groups[0]}"
        )
    if not columns.embedded:
        placed = _find_images(table, columns.path, data)
        if placed is None:
            first = Places(source, data)(str(table.rows[0][columns.path]))
            raise DataError(
                f"{source}: none of the paths in the column {columns.path!r} is a file (first: {first}); name the "
                "folder with --image-root and the missing ending with --suffix, or the column with --path-column"
            )
        keys |= placed
        if placed:
            layout.notes.append(
                f"{source.name}: images in "
                + (placed.get("image_root") or ".")
                + (f", with the ending {placed['suffix']}" if placed.get("suffix") else "")
            )
    for key, value in keys.items():
        _set(layout, key, value, source)


def _set(layout: Layout, key: str, value: Any, source: Path) -> None:
    before = layout.keys.setdefault(key, value)
    if before == value:
        return
    if key == "image_root":  # train.csv with train/, val.csv with val/
        train = Path(layout.sources["train"]).stem
        if before.replace(train, "{table}") == value.replace(source.stem, "{table}"):
            layout.keys[key] = value.replace(source.stem, "{table}")
            return
        if "{table}" in before and before == value.replace(source.stem, "{table}"):
            return
    raise DataError(
        f"{source}: it needs data.{key} = {value!r}, and {layout.sources['train']} needs {before!r}; bring both "
        "tables into one form"
    )


def _find_images(table: Table, column: str, data: DataConfig) -> dict[str, Any] | None:
    """image_root and suffix with which the paths are files; empty when they are as they stand."""
    paths = [value for value in table.values(column) if value]
    sample = paths[:: max(1, len(paths) // _SAMPLE)][:_SAMPLE]
    if not sample:
        return None

    def share(**keys: Any) -> float:
        place = Places(table.source, data.model_copy(update=keys))
        return sum(is_there(place(path)) for path in sample) / len(sample)

    as_it_stands = share()
    if as_it_stands == 1 or data.image_root is not None:
        return {} if as_it_stands else None
    if data.suffix:
        sample = [path if path.lower().endswith(data.suffix.lower()) else path + data.suffix for path in sample]
    placed, root, suffix = best_place(table.source, sample)
    by_name = share(image_root=".") if placed < 1 else 0.0
    if max(placed, by_name) <= as_it_stands:
        return {} if as_it_stands else None
    if by_name > placed:
        return {"image_root": "."}
    return {key: value for key, value in (("image_root", root), ("suffix", suffix)) if value}


def _read(path: Path, layout: Layout) -> Table:
    if path not in layout.tables:
        layout.tables[path] = read_table_file(path)
    return layout.tables[path]


def _config(source: Path, layout: Layout) -> DataConfig:
    return DataConfig(train=str(source), **layout.asked)
