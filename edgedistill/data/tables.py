"""Rows of a CSV or parquet file, as text."""

from __future__ import annotations

import csv
import io
import itertools
import json
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from edgedistill.environment.requirements import install_command
from edgedistill.errors import DataError

Row = dict[str, str | None]
_LOOKED_AT = 5  # rows, of bytes that may be images


@dataclass(frozen=True)
class Table:
    """A list of images.

    Attributes:
        source: the file.
        columns: names, in order.
        rows: column -> value, None where it is empty or missing.
        embedded: columns that hold the images' own bytes (parquet).
        lists: columns with several values in a row (parquet); they have no value in `rows`.
        lines: of each row, the last of the file that belongs to it (CSV); empty where a row is no line.
    """

    source: Path
    columns: list[str]
    rows: list[Row]
    embedded: tuple[str, ...] = ()
    lists: tuple[str, ...] = ()
    lines: tuple[int, ...] = ()

    def line(self, number: int) -> int:
        """Of a row, for people; rows count from 0."""
        return self.lines[number] if self.lines else number + 2

    def values(self, column: str) -> list[str | None]:
        return [row.get(column) for row in self.rows]


def read_table_file(source: Path) -> Table:
    """Rows of a .csv, .tsv or .parquet file.

    Raises:
        DataError: of another kind, unreadable, not in UTF-8, empty.
    """
    suffix = source.suffix.lower()
    if suffix in {".csv", ".tsv"}:
        table = _csv_table(source)
    elif suffix == ".parquet":
        table = _parquet_table(source)
    else:
        raise DataError(f"{source}: expected a folder, .csv, .tsv, .parquet or .tar")
    if not table.rows:
        raise DataError(f"{source}: no rows below the header")
    return table


def _csv_table(source: Path) -> Table:
    try:
        text = _text(source, source.read_bytes())
        reader = csv.DictReader(io.StringIO(text, newline=""), delimiter=_separator(text))
        columns = [str(name).strip() for name in reader.fieldnames or ()]
        if len(set(columns)) < len(columns):
            twice = next(name for name in columns if columns.count(name) > 1)
            raise DataError(f"{source}: two columns are named {twice!r}; rename one")
        reader.fieldnames = columns
        rows, lines = [], []
        for row in reader:
            if any(row.pop(None, ())):
                raise DataError(
                    f"{source}, line {reader.line_num}: more values than the {len(columns)} columns of the "
                    "header; put a value with a separator in it in double quotes"
                )
            lines.append(reader.line_num)
            rows.append({name: value.strip() if value else None for name, value in row.items()})
    except (OSError, csv.Error) as error:
        raise DataError(f"{source}: not a readable CSV in UTF-8: {error}") from None
    return Table(source, columns, rows, lines=tuple(lines))


def _text(source: Path, content: bytes) -> str:
    if content[:2] in (b"\xff\xfe", b"\xfe\xff") or b"\0" in content[:200]:
        raise DataError(
            f"{source}: expected UTF-8, this is UTF-16 or no text; save it as UTF-8 (in a spreadsheet: "
            f"CSV UTF-8), or: iconv -f UTF-16 -t UTF-8 {source.name} > utf8.csv"
        )
    try:
        return content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = content[: error.start].count(b"\n") + 1
        raise DataError(
            f"{source}, line {line}: expected UTF-8, the byte 0x{content[error.start]:02x} is not; if the file "
            f"is in Windows' cp1252: iconv -f CP1252 -t UTF-8 {source.name} > utf8.csv"
        ) from None


def _separator(text: str) -> str:
    """The most frequent of comma, semicolon and tab in the header, outside quotes."""
    header = re.sub(r'"[^"]*"', "", text.lstrip("\r\n").split("\n", 1)[0])
    return max(",;\t", key=header.count)


def _parquet_table(source: Path) -> Table:
    try:
        import pyarrow.parquet as parquet
        import pyarrow.types as types
    except ImportError:
        raise DataError(f"{source}: parquet needs pyarrow: {install_command('pyarrow')}") from None
    try:
        with parquet.ParquetFile(source) as file:
            schema, embedded, lists, wanted = file.schema_arrow, [], [], []
            for field in schema:
                kind = field.type
                is_image = types.is_struct(kind) and kind.get_field_index("bytes") >= 0
                if types.is_list(kind) or types.is_large_list(kind) or types.is_fixed_size_list(kind):
                    lists.append(field.name)
                elif is_image or types.is_binary(kind) or types.is_large_binary(kind):
                    embedded += [field.name] if is_image or _holds_images(file, field.name) else []
                    wanted += [f"{field.name}.path"] if is_image else []
                else:
                    wanted.append(field.name)
            stored = file.read(columns=wanted).to_pylist() or [{}] * file.metadata.num_rows
    except Exception as error:  # pyarrow has its own family of errors; all mean a bad file
        raise DataError(f"{source}: not a readable parquet file: {error}") from None
    names = _class_labels(schema.metadata or {})
    columns = [field.name for field in schema]
    rows = [{name: _cell(source, name, row.get(name), names) for name in columns} for row in stored]
    return Table(source, columns, rows, tuple(embedded), tuple(lists))


def _holds_images(file: Any, column: str) -> bool:
    """Whether one of the first bytes in a column are an image; they may be a hash or an embedding."""
    import cv2

    for batch in itertools.islice(file.iter_batches(batch_size=1, columns=[column]), _LOOKED_AT):
        content = batch.column(0)[0].as_py()
        if content and cv2.imdecode(np.frombuffer(content, np.uint8), cv2.IMREAD_REDUCED_GRAYSCALE_8) is not None:
            return True
    return False


def _cell(source: Path, column: str, value: Any, names: dict[str, list[str]]) -> str | None:
    if isinstance(value, dict):
        value = value.get("path")
    if column in names and isinstance(value, int):
        if not 0 <= value < len(names[column]):
            raise DataError(
                f"{source}: {column} is {value} in a row, but the file names {len(names[column])} classes; "
                "rows without a label cannot be learnt from"
            )
        return names[column][value]
    return None if value is None else str(value).strip() or None


def _class_labels(metadata: dict[bytes, bytes]) -> dict[str, list[str]]:
    """Column -> class names, of Hugging Face's ClassLabel columns.

    Source: huggingface.co/docs/datasets, Features: stored as JSON in the schema's `huggingface`.
    """
    try:
        features = json.loads(metadata.get(b"huggingface", b"{}"))["info"]["features"]
        return {
            name: [str(label) for label in feature["names"]]
            for name, feature in features.items()
            if isinstance(feature, dict) and feature.get("_type") == "ClassLabel" and feature.get("names")
        }
    except (ValueError, KeyError, TypeError, AttributeError):
        return {}
