"""Which columns of a table hold path, label, split and group: as the recipe says, or by usual names."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

from edgedistill.config.data import DataConfig, ValueConfig
from edgedistill.config.task import labels_task
from edgedistill.data.files import IMAGE_SUFFIXES
from edgedistill.data.label_sets import FLAGS, labels_of_row, looks_separated, named_flags, separator_of
from edgedistill.data.labels import are_quantities
from edgedistill.data.split_names import WORDS, split_of_value
from edgedistill.data.tables import Table
from edgedistill.data.value_columns import value_columns_of
from edgedistill.errors import DataError

_PATHS = """path filepath filepaths file_path image_path img_path filename file_name filenames file image_file image
images img image_name image_id img_id image_index id_code photo photo_id picture fname name id"""
_LABELS = """label labels class class_name classname classes category diagnosis target dx species breed label_name
category_name finding y class_id label_id category_id fine_label"""
_GROUPS = """group group_id patient patient_id subject subject_id lesion_id case_id part_id serial video video_id
sequence sequence_id scene location"""

# In order: of two that are there, the first one is taken.
PATHS, LABELS, GROUPS = _PATHS.split(), _LABELS.split(), _GROUPS.split()
SPLIT = "split"
SPLITS = ["set", "subset", "data_set", "dataset", "partition", "usage", "phase"]


@dataclass(frozen=True)
class Columns:
    """Names of columns.

    Attributes:
        path: of image paths; of the images themselves when they are embedded.
        embedded: whether that column holds the images' own bytes.
        label: of class names; None for one-hot columns, and without labels.
        one_hot: a column for each class; empty with `label`.
        split: of train, val, test; None without one.
        group: that the recipe names; None without one.
        notes: what was taken without being named, for people.
        values: of figures that are learnt; `label` is None then.
        separator: of the labels in a cell, where an image has several; "" where it has one.
    """

    path: str
    embedded: bool
    label: str | None
    one_hot: tuple[str, ...]
    split: str | None
    group: str | None
    notes: tuple[str, ...] = ()
    values: tuple[ValueConfig, ...] = ()
    separator: str = ""


def columns_of(table: Table, data: DataConfig, labelled: bool = True) -> Columns:
    """The columns of a table.

    Raises:
        DataError: one is named and missing, or none can be taken; labels that are quantities.
    """
    path = _image_column(table, data) or _path_column(table, data)
    embedded = path in table.embedded
    split = _split_column(table, data) if labelled else None
    group = _named(table, data.group_column, "group_column") if labelled and data.group_column else None
    if not labelled:
        return Columns(path, embedded, None, (), None, None)
    task = labels_task(data.task)
    values = value_columns_of(table, data) if task.vectors and not task.multiple else ()
    label, one_hot = (None, ()) if values else _classes_of(table, data, {path, split, group})
    separator = ""
    if task.multiple:
        separator = separator_of(table, label, data)
    elif label is not None:
        _refuse_quantities(table, label)
    alone = embedded and len(table.embedded) == 1
    notes = _notes(None if alone else path, embedded, label, one_hot, split, data)
    if label is not None:
        notes += _notes_on_several(table, label, separator)
    return Columns(path, embedded, label, one_hot, split, group, tuple(notes), values, separator)


def _notes(
    path: str | None,
    embedded: bool,
    label: str | None,
    one_hot: tuple[str, ...],
    split: str | None,
    data: DataConfig,
) -> list[str]:
    """What was taken without being named."""
    notes = []
    if path is not None and path != data.path_column:
        notes.append(f"images from the column {path!r}" if embedded else f"paths from the column {path!r}")
    if label is not None and label != data.label_column:
        notes.append(f"labels from {label!r}")
    if one_hot and not data.label_columns:
        notes.append(f"labels from {len(one_hot)} columns of 0 and 1")
    if split is not None and data.split_column is None:
        notes.append(f"splits from {split!r}")
    return notes


def _notes_on_several(table: Table, label: str, separator: str) -> list[str]:
    """How several labels of an image are read, or that one class of each image looks like several."""
    if separator:
        return [f"labels separated by {separator!r}"]
    several = looks_separated(table.values(label))
    return [f'{several!r} looks like several labels; to learn each: data.task = "multilabel"'] if several else []


def _classes_of(table: Table, data: DataConfig, taken: set[str | None]) -> tuple[str | None, tuple[str, ...]]:
    """The column of labels, or None and the columns of 0 and 1; `taken` hold something else."""
    if data.label_columns:
        return None, named_flags(table, data)
    candidates = [
        name for name in table.columns if name not in {*taken, *table.lists, *table.embedded} and not _is_index(name)
    ]
    label, one_hot = _label_column(table, data, candidates)
    named = label is None or label == data.label_column or bool(_usual([label], LABELS))
    if label is not None and not named and labels_task(data.task).multiple and _are_flags(table, label):
        return None, (label,)  # the only column: 0 and 1 are no names
    return label, one_hot


def group_candidates(columns: list[str]) -> list[str]:
    """Columns that by their name may say what belongs together."""
    return [name for name in columns if plain(name) in GROUPS]


def plain(name: str) -> str:
    """`Image Index` -> `image_index`."""
    return re.sub(r"[\W_]+", "_", name).strip("_").lower()


def _image_column(table: Table, data: DataConfig) -> str | None:
    """The column of the images' own bytes that is to be read; None where paths are.

    Raises:
        DataError: there are several, and none is named by the recipe or called as usual.
    """
    if data.path_column in table.embedded:
        return data.path_column
    if not table.embedded or (data.path_column != "path" and data.path_column in table.columns):
        return None
    usual = _usual(list(table.embedded), PATHS)[:1] or list(table.embedded)
    if len(usual) > 1:
        raise DataError(
            f"{table.source}: {len(usual)} columns hold images: {_shown(usual)}; name one with data.path_column (new: "
            "--path-column)"
        )
    return usual[0]


def _named(table: Table, column: str, key: str) -> str:
    if column in table.lists:
        raise DataError(f"{table.source}: the column {column!r} holds lists; expected one value a row")
    if column not in table.columns:
        raise DataError(
            f"{table.source}: no column {column!r}; it has {_shown(table.columns)}; name yours with "
            f"data.{key} (new: --{key.replace('_', '-')})"
        )
    return column


def _path_column(table: Table, data: DataConfig) -> str:
    if data.path_column in table.columns or data.path_column != "path":
        return _named(table, data.path_column, "path_column")
    by_value = [name for name in table.columns if _are_image_names(table.values(name)[:50])]
    by_name = _usual(table.columns, PATHS)
    usual = [name for name in by_name if name in by_value] or (by_value if len(by_value) == 1 else by_name)
    return usual[0] if usual else _named(table, "path", "path_column")


def _label_column(table: Table, data: DataConfig, others: list[str]) -> tuple[str | None, tuple[str, ...]]:
    if data.label_column in others or data.label_column != "label":
        return _named(table, data.label_column, "label_column"), ()
    usual = _usual(others, LABELS)
    if usual:
        return usual[0], ()
    if len(others) == 1:
        return others[0], ()
    if len(others) > 1 and all(row.get(name) in FLAGS for row in table.rows for name in others):
        return None, tuple(others)
    return _named(table, "label", "label_column"), ()


def _split_column(table: Table, data: DataConfig) -> str | None:
    if data.split_column == "":
        return None
    if data.split_column is not None:
        return _named(table, data.split_column, "split_column")
    named = _usual(table.columns, [SPLIT])
    if named:
        return named[0]
    return next(
        (
            name
            for name in _usual(table.columns, SPLITS)
            if all(split_of_value(value or "") for value in table.values(name))
        ),
        None,
    )


def refuse_split(source: Path, line: int, column: str, value: str | None) -> DataError:
    """The error for a value of the split column that names no split."""
    accepted = "; ".join(f"{split}: {', '.join(words)}" for split, words in WORDS.items())
    return DataError(
        f"{source}, line {line}: the column {column!r} says {value or ''!r}; expected one of {accepted} (in any case); "
        'or set data.split_column to another column, or to "" for none (new: --split-column)'
    )


def class_of_row(table: Table, line: int, row: dict[str, str | None], columns: Columns) -> str | None:
    """The label of a row.

    Raises:
        DataError: more or less than one 1 in one-hot columns, of an image with one class.
    """
    if columns.separator:
        return labels_of_row(table, line, row, columns.label, columns.separator, columns.one_hot)
    if columns.label is not None:
        return row.get(columns.label)
    ones = [name for name in columns.one_hot if FLAGS.get(row.get(name) or "")]
    if len(ones) != 1:
        raise DataError(
            f"{table.source}, line {line}: {len(ones)} of the {len(columns.one_hot)} class columns are 1 "
            f"({_shown(ones) or 'none'}); expected exactly one: an image has one class here; for several set "
            'data.task = "multilabel"; else remove the row, or name the column of labels with data.label_column'
        )
    return ones[0]


def _refuse_quantities(table: Table, label: str) -> None:
    values = {value for value in table.values(label) if value}
    if values and are_quantities(values):
        few = sorted(values, key=float)
        raise DataError(
            f"{table.source}: the column {label!r} holds decimal numbers ({few[0]} to {few[-1]}, {len(few)} values), "
            f'a quantity, not classes; to learn the figures: data.task = "regression", data.values = '
            f"[{{ column = {label!r} }}]; for classes name another column with data.label_column (new: --label-column)"
        )


def _usual(columns: list[str], names: list[str]) -> list[str]:
    return sorted((name for name in columns if plain(name) in names), key=lambda name: names.index(plain(name)))


def _is_index(name: str) -> bool:
    return plain(name) in {"", "unnamed_0", "index"}


def _are_flags(table: Table, column: str) -> bool:
    return all(value in FLAGS for value in table.values(column))


def _are_image_names(values: list[str | None]) -> bool:
    return bool(values) and all(Path(value or "").suffix.lower() in IMAGE_SUFFIXES for value in values)


def _shown(names: list[str]) -> str:
    return ", ".join(names[:12]) + (f" and {len(names) - 12} more" if len(names) > 12 else "")
