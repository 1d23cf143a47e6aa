"""What label texts become: class numbers, or figures in their units with a number of the range that each lies in."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from edgedistill.config.data import DataConfig
from edgedistill.config.task import SEPARATOR
from edgedistill.core.ranges import ranges_of
from edgedistill.errors import DataError
from edgedistill.records.data import ValueSummary


@dataclass(frozen=True)
class Targets:
    """The targets of N images.

    Attributes:
        names: of classes, or of the values that the network gives.
        labels: (N,) int64: the class, or the range of the first value, which splits and calibration are balanced over.
        kinds: names of what `labels` counts: the classes, or the ranges.
        figures: (N, K) float64 in their units; None of classes.
    """

    names: list[str]
    labels: np.ndarray
    kinds: list[str]
    figures: np.ndarray | None = None


def targets_of_figures(rows: Sequence[Sequence[float]], names: list[str]) -> Targets:
    """Of (N, K) figures."""
    figures = np.array(rows, dtype=np.float64).reshape(len(rows), len(names))
    labels, bounds = ranges_of(figures[:, 0])
    return Targets(names, labels, [f"{low:.6g} to {high:.6g}" for low, high in bounds], figures)


def text_of_figures(row: np.ndarray) -> str:
    """The label text that `config.task.figure_rows` reads again, to the last bit."""
    return SEPARATOR.join(repr(float(figure)) for figure in row)


def value_summaries(figures: np.ndarray, splits: np.ndarray, data: DataConfig) -> list[ValueSummary]:
    """Unit, range, mean and standard deviation of each value over the training images.

    Raises:
        DataError: a value that is the same for every training image.
    """
    rows = []
    for column, value in zip(figures[splits == "train"].T, data.value_columns, strict=True):
        if column.std() == 0:
            raise DataError(
                f"the value {value.column!r} is {column[0]:g} for each of {len(column)} training images; nothing can "
                "be learnt of it: name another column in data.values"
            )
        rows.append(
            ValueSummary(
                name=value.column,
                unit=value.unit,
                mean=float(column.mean()),
                std=float(column.std()),
                low=value.low,
                high=value.high,
                smallest=float(column.min()),
                largest=float(column.max()),
            )
        )
    return rows
