"""What a folder that people have is: splits, classes, tables, and what belongs to what.

Used by `new` alone; what it finds is written into the recipe, and stage `data` reads just that.
"""

from __future__ import annotations

import os
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from edgedistill.data.columns import columns_of, group_candidates
from edgedistill.data.files import (
    data_files,
    folders_in,
    has_data,
    has_images,
    has_own_images,
    pattern_of,
    tables_in,
)
from edgedistill.data.labels import clean
from edgedistill.data.rows import Places, best_place
from edgedistill.data.split_names import named_splits, split_folders, split_of_name
from edgedistill.data.table import SPLITS
from edgedistill.data.tables import Table, read_table_file
from edgedistill.errors import DataError
from edgedistill.sections import DataConfig

_SAMPLE = 50  # rows whose files are looked for


@dataclass
class Layout:
    """What `new` writes into [data].

    Attributes:
        sources: `train`, `val`, `test` -> a folder, a table, or a pattern of files.
        keys: further keys of [data].
        said: what was understood, for people.
        asked: keys that the user named.
        tables: those that were read.
    """

    sources: dict[str, str] = field(default_factory=dict)
    keys: dict[str, Any] = field(default_factory=dict)
    said: list[str] = field(default_factory=list)
    asked: dict[str, Any] = field(default_factory=dict)
    tables: dict[Path, Table] = field(default_factory=dict)


def recognise(given: dict[str, Path], keys: dict[str, Any]) -> Layout:
    """Look at the sources that a user named.

    Args:
        given: `train`, and `val` and `test` where they were named.
        keys: keys of [data] that were named.

    Raises:
        DataError: a table that cannot be read, or whose images are nowhere; splits without classes.
    """
    found = Layout(keys=dict(keys), asked=dict(keys))
    root = Path(os.path.abspath(given["train"]))
    splits = _splits_below(root, found) if root.is_dir() else {}
    places = {name: Path(os.path.abspath(path)) for name, path in given.items()}
    if splits:
        places = splits | {name: path for name, path in places.items() if name != "train"}
        _take_splits(root, places, found)
    else:
        for name, place in places.items():
            _take(name, place, _source_in(place, found), found)
        _say_siblings(root, places, found)
    return found


def _splits_below(root: Path, found: Layout) -> dict[str, Path]:
    """Split -> folder or files, in the root or in the only folder that leads there."""
    folder = root
    for _ in range(4):
        splits: dict[str, Any] = split_folders(folder)
        if not splits:
            files = [file for file in data_files(folder) if file.suffix.lower() in {".parquet", ".tar"}]
            named = named_splits(files)
            splits = {name: Path(pattern_of(paths)) for name, paths in named.items()} if len(named) > 1 else {}
        if not splits:
            tables = [table for table in tables_in(folder) if _is_labelled(table, found)]
            listed = named_splits(tables)
            splits = {name: paths[0] for name, paths in listed.items()} if len(listed) > 1 else {}
        if splits:
            splits = {name: splits[name] for name in SPLITS if name in splits}
            names = ", ".join(f"{name} = {path.relative_to(root)}" for name, path in splits.items())
            found.said.append(f"splits found: {names}")
            others = [below.name for below in folders_in(folder) if below not in splits.values() and has_images(below)]
            if others and all(path in folders_in(folder) for path in splits.values()):
                found.said.append(f"folders beside the splits left out: {', '.join(others)}")
            return splits
        inner = [below for below in folders_in(folder) if has_data(below)]
        if len(inner) != 1 or data_files(folder) or has_own_images(folder):
            return {}
        folder = inner[0]
    return {}


def _take_splits(root: Path, places: dict[str, Path], found: Layout) -> None:
    sources = {name: _source_in(place, found, root_too=False) for name, place in places.items()}
    if sources["train"] is None:  # images without classes: a table beside the folders may name them
        beside = places["train"].parent
        tables = [table for table in tables_in(beside) if _is_labelled(table, found)]
        named = {name: paths[0] for name, paths in named_splits(tables).items()}
        sources = {name: named.get(name) for name in sources}
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
            if not (name != "train" and "split_column" in found.keys):
                found.said.append(
                    f"{name}: {place.name} has no labels, so it is left out; --unlabelled {place} "
                    "takes its images as a pool"
                )
            continue
        _take(name, place, source, found)


def _is_unlabelled(source: Path, train: Path | None) -> bool:
    """Whether images lie in one folder that is no class of the training images, as in test/unknown/."""
    if not source.is_dir() or train is None or not train.is_dir():
        return False
    names = [below.name for below in folders_in(source) if has_images(below)]
    return len(names) == 1 and names[0] not in {below.name for below in folders_in(train)}


def _source_in(place: Path, found: Layout, root_too: bool = True) -> Path | None:
    """The folder, or the table in or beside it, that a place is; None when it has no labels."""
    if not place.is_dir():
        return place
    holding = [below for below in folders_in(place) if has_images(below)]
    tables = [table for table in tables_in(place) if _is_labelled(table, found)]
    if len(holding) > 1:
        table = next((table for table in tables if root_too and _overrules(table, holding, found)), None)
        return table or place
    listed = [table for table in tables or tables_in(place) if table.suffix.lower() != ".parquet"]
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
        beside = [table for table in tables_in(place.parent) if _is_labelled(table, found)] if root_too else []
        own = [table for table in beside if _image_root(table, found) == place.name]
        beside = own or beside
        return beside[0] if len(beside) == 1 else (place if root_too else None)
    if len(holding) == 1 and not root_too and (folders_in(holding[0]) or data_files(holding[0])):
        return _source_in(holding[0], found, root_too=False)
    return place if root_too or holding else None


def _is_labelled(table: Path, found: Layout) -> bool:
    """Whether a table lists images with labels. One that cannot be read at all is met later."""
    try:
        read = _read(table, found)
        columns = columns_of(read, _config(table, found))
    except DataError:
        return False
    return read.embedded is not None or bool(_find_images(read, columns.path, _config(table, found)))


def _image_root(table: Path, found: Layout) -> str | None:
    read, data = _read(table, found), _config(table, found)
    return (_find_images(read, columns_of(read, data).path, data) or {}).get("image_root")


def _overrules(table: Path, folders: list[Path], found: Layout) -> bool:
    """Whether a table beside folders names other labels than they do: they hold parts, not classes."""
    read = _read(table, found)
    columns = columns_of(read, _config(table, found))
    names = {clean(folder.name).lower() for folder in folders}
    labels = (
        {clean(value or "").lower() for value in read.values(columns.label)} if columns.label else set(columns.one_hot)
    )
    overruled = not names & labels
    found.said.append(
        f"{table.name} beside the folders names the labels: it is taken, not {', '.join(sorted(names)[:4])} as classes"
        if overruled
        else f"the folders are the classes; {table.name} beside them is not used"
    )
    return overruled


def _take(name: str, place: Path, source: Path | None, found: Layout) -> None:
    """Add a source, and the keys that its table needs."""
    source = source or place
    found.sources[name] = str(source)
    if source != place and source.is_relative_to(place):
        found.said.append(f"{name}: {source.relative_to(place.parent)}")
    elif source != place:
        found.said.append(f"{name}: {source.name} beside {place.name}")
    if not source.is_file() or source.suffix.lower() not in {".csv", ".tsv", ".parquet"}:
        return
    table, data = _read(source, found), _config(source, found)
    columns = columns_of(table, data)
    keys: dict[str, Any] = {} if table.embedded else {"path_column": columns.path}
    keys |= {"label_column": columns.label} if columns.label else {}
    keys |= {"split_column": columns.split} if columns.split else {}
    found.said += [f"{source.name}: {', '.join(columns.said)}"] if columns.said else []
    groups = [column for column in group_candidates(table.columns) if column != columns.group]
    if groups and columns.group is None and name == "train":
        found.said.append(f"the column {groups[0]!r} may say which images belong together: --group-column {groups[0]}")
    if table.embedded is None:
        placed = _find_images(table, columns.path, data)
        if placed is None:
            first = Places(source, data)(str(table.rows[0][columns.path]))
            raise DataError(
                f"{source}: none of the paths in the column {columns.path!r} is a file (first: {first}); name the "
                "folder with --image-root and the missing ending with --suffix, or the column with --path-column"
            )
        keys |= placed
        if placed:
            found.said.append(
                f"{source.name}: images in "
                + (placed.get("image_root") or ".")
                + (f", with the ending {placed['suffix']}" if placed.get("suffix") else "")
            )
    for key, value in keys.items():
        _set(found, key, value, source)


def _set(found: Layout, key: str, value: Any, source: Path) -> None:
    before = found.keys.setdefault(key, value)
    if before == value:
        return
    if key == "image_root":  # train.csv with train/, val.csv with val/
        train = Path(found.sources["train"]).stem
        if before.replace(train, "{table}") == value.replace(source.stem, "{table}"):
            found.keys[key] = value.replace(source.stem, "{table}")
            return
        if "{table}" in before and before == value.replace(source.stem, "{table}"):
            return
    raise DataError(
        f"{source}: it needs data.{key} = {value!r}, and {found.sources['train']} needs {before!r}; bring both "
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
        return sum(place(path).is_file() for path in sample) / len(sample)

    as_it_stands = share()
    if as_it_stands == 1 or data.image_root is not None or data.suffix:
        return {} if as_it_stands else None
    placed, root, suffix = best_place(table.source, sample)
    by_name = share(image_root=".") if placed < 1 else 0.0
    if max(placed, by_name) <= as_it_stands:
        return {} if as_it_stands else None
    if by_name > placed:
        return {"image_root": "."}
    return {key: value for key, value in (("image_root", root), ("suffix", suffix)) if value}


def _read(path: Path, found: Layout) -> Table:
    if path not in found.tables:
        found.tables[path] = read_table_file(path)
    return found.tables[path]


def _config(source: Path, found: Layout) -> DataConfig:
    return DataConfig(train=str(source), **found.asked)


def _say_siblings(root: Path, places: dict[str, Path], found: Layout) -> None:
    """A train folder was named alone, and its val and test lie beside it."""
    named = split_of_name(root.name if root.is_dir() else root.stem)
    if named is None or named.split != "train" or not root.parent.is_dir() or "split_column" in found.keys:
        return
    beside = folders_in(root.parent) if root.is_dir() else tables_in(root.parent)
    others = {name: paths[0] for name, paths in named_splits(beside).items() if name not in places}
    if others and root in beside:
        options = " ".join(f"--{name} {path}" for name, path in others.items())
        found.said.append(f"beside it lie other splits: use them with {options}, or --train {root.parent}")
