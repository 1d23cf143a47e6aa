"""Columns of a table whose figures are learnt."""

from __future__ import annotations

import math

from edgedistill.config.data import DataConfig, ValueConfig
from edgedistill.config.task import SEPARATOR
from edgedistill.data.labels import refuse_unfit
from edgedistill.data.tables import Row, Table
from edgedistill.errors import DataError


def value_columns_of(table: Table, data: DataConfig) -> tuple[ValueConfig, ...]:
    """
    Raises:
        DataError: a column that is not there, or whose name is not one line.
    """
    refuse_unfit((value.column for value in data.value_columns), "columns of figures")
    for value in data.value_columns:
        if value.column not in table.columns:
            raise DataError(
                f"{table.source}: no column {value.column!r}; it has {', '.join(table.columns[:12])}; name the columns "
                'of figures: data.values = [{ column = "NAME", unit = "mm" }]'
            )
    return data.value_columns


def figures_of_row(table: Table, line: int, row: Row, values: tuple[ValueConfig, ...]) -> str:
    """The label text of a row, its figures separated by SEPARATOR.

    Raises:
        DataError: an empty cell, text that is no finite figure, or one outside of its range.
    """
    texts = []
    for value in values:
        text = row.get(value.column)
        try:
            figure = float(text or "")
        except ValueError:
            figure = math.nan
        if not math.isfinite(figure):
            raise DataError(
                f"{table.source}, line {line}: {value.column!r} is {text or ''!r}, expected a finite figure; mend or "
                "remove the row"
            )
        low, high = -math.inf if value.low is None else value.low, math.inf if value.high is None else value.high
        if not low <= figure <= high:
            raise DataError(
                f"{table.source}, line {line}: {value.column!r} is {figure:g}, data.values allows {low:g} to {high:g}; "
                "mend the row or the range"
            )
        texts.append(repr(figure))
    return SEPARATOR.join(texts)
