"""The images that the rows of a table name."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

from edgedistill.config.data import DataConfig
from edgedistill.core.text import plural
from edgedistill.data.columns import class_of_row, columns_of, refuse_split
from edgedistill.data.embedded import path_of_row
from edgedistill.data.files import IMAGE_SUFFIXES, is_system, walk
from edgedistill.data.items import Item
from edgedistill.data.split_names import split_of_name, split_of_value
from edgedistill.data.tables import Table
from edgedistill.data.value_columns import figures_of_row
from edgedistill.errors import DataError


def items_of_table(table: Table, data: DataConfig, labelled: bool = True) -> tuple[list[Item], list[str]]:
    """The images of a table, in its order, and what was taken from it without being named.

    Raises:
        DataError: a missing column, an empty path or label, an unknown split.
    """
    columns = columns_of(table, data, labelled)
    place = Places(table.source, data)
    items = []
    for number, row in enumerate(table.rows):
        line, path = table.line(number), row.get(columns.path)
        label: str | None = ""
        if columns.values:
            label = figures_of_row(table, line, row, columns.values)
        elif labelled:
            label = class_of_row(table, line, row, columns)
        if (not path and not columns.embedded) or (labelled and not label and not columns.separator):
            raise DataError(f"{table.source}, line {line}: the path or the label is empty")
        if path and "\0" in path:
            raise DataError(f"{table.source}, line {line}: {path!r} is not a path")
        split = None
        if columns.split is not None:
            split = split_of_value(row.get(columns.split) or "")
            if split is None:
                raise refuse_split(table.source, line, columns.split, row.get(columns.split))
        file = path_of_row(table.source, number, columns.path, path) if columns.embedded else place(path or "")
        group = row.get(columns.group) if columns.group else None
        items.append(Item(file, label or "", group or None, split))
    notes = [f"{table.source.name}: {', '.join(columns.notes)}"] if columns.notes else []
    return items, notes + ([place.line_of_found()] if place.found else [])


class Places:
    """From a path in a table to a file: `Places(source, data)(path)` is absolute, there or not.

    Attributes:
        found: how many were found by their names alone, elsewhere below `data.image_root`.
    """

    def __init__(self, source: Path, data: DataConfig):
        self._root, self._suffix, self._source = source.parent, data.suffix, source
        self._searched = data.image_root is not None
        self._below: dict[str, list[Path]] | None = None
        self._folders: set[str] = set()
        self.found = 0
        if data.image_root is not None:
            self._root /= data.image_root.replace("{table}", source.stem)

    def __call__(self, path: str) -> Path:
        if self._suffix and not path.lower().endswith(self._suffix.lower()):
            path += self._suffix
        file = Path(os.path.abspath(self._root / path))
        if is_there(file):
            return file
        if "\\" in path and "/" not in path:  # written on Windows
            file = Path(os.path.abspath(self._root / path.replace("\\", "/")))
        if self._searched and not is_there(file):
            named = self._named(file)
            self.found += named is not None
            return named or file
        return file

    def line_of_found(self) -> str:
        images = plural(self.found, "image was", "images were")
        return f"{self._source.name}: {images} found by name below {self._root}, not where the table says"

    def _named(self, file: Path) -> Path | None:
        """The only image below the root that has this name, with or without its ending.

        Where the file's own folder is there, or others of that name are, an image of another folder is another image.
        """
        if self._below is None:
            self._below = {}
            for image in walk(self._root).images if self._root.is_dir() else ():
                self._folders.add(image.parent.name)
                for key in {image.name, image.stem}:
                    self._below.setdefault(key, []).append(image)
        named = self._below.get(file.name, [])
        if file.parent.is_dir():
            named = [image for image in named if image.is_relative_to(file.parent)]
        elif file.parent.name in self._folders:
            named = [image for image in named if image.parent.name == file.parent.name]
        return named[0] if len(named) == 1 else None


def is_there(file: Path) -> bool:
    """Whether it is a file; a name that no file can have, such as one that is too long, is not there."""
    try:
        return file.is_file()
    except (OSError, ValueError):
        return False


def best_place(source: Path, paths: list[str]) -> tuple[float, str | None, str]:
    """(share, image_root, suffix): with which most of some paths of a table are files, the simplest of equal ones."""
    folder, stem = source.parent, source.stem.lower().lstrip("_")

    def order(root: str) -> tuple[int, int, str]:
        named = split_of_name(Path(root).name)
        other = named is not None and named.split != "train"
        return root.count("/"), 0 if root.lower().startswith(stem) else 1 + other, root

    best: tuple[float, str | None, str] = (0.0, None, "")
    for root in [None, *sorted(_folders_below(folder), key=order)]:
        start = folder / (root or "")
        for suffix in dict.fromkeys(suffix for path in paths[:3] for suffix in _suffixes(start / path)):
            share = sum(is_there(Path(f"{start / path}{suffix}")) for path in paths) / len(paths)
            if share > best[0]:
                best = (share, root, suffix)
        if best[0] == 1:
            break
    return best


def _folders_below(folder: Path, depth: int = 3) -> Iterator[str]:
    for place, folders, _ in os.walk(folder):
        below = Path(place).relative_to(folder)
        folders[:] = [name for name in folders if not is_system(name)] if len(below.parts) < depth else []
        if below.parts:
            yield below.as_posix()


def _suffixes(file: Path) -> list[str]:
    """Endings with which a path is a file, none first."""
    try:
        named = sorted(entry.name for entry in file.parent.iterdir() if entry.name.startswith(file.name))
    except OSError:
        return []
    endings = [name[len(file.name) :] for name in named]
    return [ending for ending in endings if not ending or ending.lower() in IMAGE_SUFFIXES]
