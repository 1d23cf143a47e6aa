"""What the importers of each release know, as tables: made from their sources by docs/make_importers.py."""

from __future__ import annotations

import csv
from functools import cache
from importlib import resources


@cache
def column(table: str, release_column: str) -> dict[str, frozenset[str]]:
    """{operator: words of its cell} of attributes.csv or types.csv; operators without a row are absent."""
    return {row["op"]: frozenset(row[release_column].split()) for row in _rows(table)}


@cache
def importers(release_column: str) -> frozenset[str]:
    """Operators with an importer, from a column of operators.csv."""
    return frozenset(row["op"] for row in _rows("operators.csv") if row[release_column] in ("Y", "?"))


@cache
def unread_importers(release_column: str) -> frozenset[str]:
    """Operators that NVIDIA documents for the release, whose importer's source could not be read."""
    return frozenset(row["op"] for row in _rows("operators.csv") if row[release_column] == "?")


@cache
def _rows(table: str) -> tuple[dict[str, str], ...]:
    text = (resources.files("edgedistill.onnx_model") / table).read_text(encoding="utf-8")
    return tuple(csv.DictReader(text.splitlines()))
