"""Several labels of one image: from columns of 0 and 1, from cells like `a;b`, or from links in several folders."""

from __future__ import annotations

import os
from collections.abc import Iterable, Sequence
from dataclasses import replace
from pathlib import Path

from edgedistill.config.data import DataConfig
from edgedistill.data.items import Item
from edgedistill.data.labels import clean, in_order, refuse_unfit
from edgedistill.data.tables import Row, Table
from edgedistill.errors import DataError

SEPARATORS = (";", "|", ",")
_BETWEEN = "\n"  # of the labels in `Item.label`
FLAGS = {"1": True, "1.0": True, "True": True, "0": False, "0.0": False, "False": False}


def text_of_labels(labels: Iterable[str]) -> str:
    """The text of `Item.label`; empty of an image without labels.

    Raises:
        DataError: a label of several lines.
    """
    names = {clean(label) for label in labels} - {""}
    refuse_unfit(names, "names of labels")
    return _BETWEEN.join(in_order(names))


def labels_of_text(text: str) -> list[str]:
    """The labels of `text_of_labels`."""
    return text.split(_BETWEEN) if text else []


def separator_of(table: Table, column: str | None, data: DataConfig) -> str:
    """What stands between the labels of a cell: as the recipe says, or the first of SEPARATORS in the column."""
    if data.label_separator is not None:
        return data.label_separator
    if column is None:  # columns of 0 and 1
        return SEPARATORS[0]
    cells = [cell for cell in table.values(column) if cell]
    return next((one for one in SEPARATORS if any(one in cell for cell in cells)), SEPARATORS[0])


def looks_separated(values: Iterable[str | None]) -> str | None:
    """A class name that looks like several, as its parts are class names too: `a;b` beside `a` and `b`; else None."""
    names = {value for value in values if value}
    for separator in SEPARATORS:
        for name in sorted(names):
            parts = [part.strip() for part in name.split(separator)]
            if len(parts) > 1 and names.issuperset(parts):
                return name
    return None


def labels_of_row(table: Table, line: int, row: Row, label: str | None, separator: str, flags: Sequence[str]) -> str:
    """The text of a row's labels.

    Args:
        label: column of separated labels; None with `flags`, columns of 0 and 1.

    Raises:
        DataError: a flag that is neither.
    """
    if label is not None:
        return text_of_labels((row.get(label) or "").split(separator))
    held = []
    for name in flags:
        value = row.get(name)
        if value not in FLAGS:
            raise DataError(
                f"{table.source}, line {line}: {name!r} is {value or ''!r}, expected 0 or 1; mend the row, or name the "
                "columns of labels with data.label_columns"
            )
        held += [name] if FLAGS[value] else []
    return text_of_labels(held)


def named_flags(table: Table, data: DataConfig) -> tuple[str, ...]:
    """
    Raises:
        DataError: a column of `data.label_columns` that is not there.
    """
    missing = [name for name in data.label_columns if name not in table.columns]
    if missing:
        raise DataError(
            f"{table.source}: no column {missing[0]!r}, which data.label_columns names; it has "
            f"{', '.join(table.columns[:12])}"
        )
    return data.label_columns


def joined(items: list[Item]) -> tuple[list[Item], list[Path]]:
    """Each file once, with the labels of all its rows or links, and the other paths that led to one.

    Raises:
        DataError: a file that is given in several splits.
    """
    first: dict[object, Item] = {}
    others = []
    for item in items:
        key = _identity(item.path)
        if key not in first:
            first[key] = item
            continue
        known = first[key]
        if known.split != item.split:
            raise DataError(f"{item.path} is given in the splits {known.split!r} and {item.split!r}; keep one of them")
        labels = text_of_labels([*labels_of_text(known.label), *labels_of_text(item.label)])
        first[key] = replace(known, label=labels, group=known.group or item.group)
        others += [item.path] if item.path != known.path else []
    return list(first.values()), others


def _identity(path: Path) -> object:
    """Equal of all links to a file; of what is no file by itself, like a shard's member, its path."""
    try:
        stat = os.stat(path)
    except OSError:
        return path
    return stat.st_dev, stat.st_ino


def names_of(texts: Sequence[str], given: Sequence[str]) -> list[str]:
    """The labels of the training images, in order.

    Args:
        texts: of the images.
        given: the split that each came from.

    Raises:
        DataError: none, or a label that only another split has.
    """
    by_split: dict[str, set[str]] = {"train": set()}
    for text, split in zip(texts, given, strict=True):
        by_split.setdefault(split, set()).update(labels_of_text(text))
    known = by_split["train"]
    if not known:
        raise DataError("no training image has a label; expected at least one label on some of them")
    for split, names in by_split.items():
        if not names:
            raise DataError(f"no image of data.{split} has a label, so that nothing can be measured on it")
        if names - known:
            raise DataError(
                f"data.{split} has labels that data.train lacks: {', '.join(in_order(names - known)[:10])}; nothing "
                "can be learnt of them: add training images, or remove these labels"
            )
    return in_order(known)


def rows_of(texts: Sequence[str], names: Sequence[str]) -> list[list[float]]:
    """1 for each label that an image has, 0 for each other."""
    held = [set(labels_of_text(text)) for text in texts]
    return [[float(name in labels) for name in names] for labels in held]
