"""The images of a run as stage `data` left them: table and decoded pixels, without PyTorch."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from edgedistill.config.recipe import Recipe
from edgedistill.config.task import task_of
from edgedistill.data.pixels import FilePixels, PixelCache, open_pixels
from edgedistill.data.table import ImageTable, read_table
from edgedistill.records.data import ValueSummary
from edgedistill_device.value_spec import Value


@dataclass(frozen=True)
class PreparedImages:
    """The run's images: their table and their decoded pixels."""

    table: ImageTable
    pixels: PixelCache | FilePixels
    values: tuple[Value, ...] = field(default=(), kw_only=True)
    """What the outputs of a regression are; none of classes."""

    @property
    def classes(self) -> list[str]:
        return self.table.classes

    def rows(self, split: str) -> np.ndarray:
        return self.table.rows(split)

    def labels(self, split: str) -> np.ndarray:
        return self.table.labels[self.table.rows(split)]

    def targets(self, split: str) -> np.ndarray:
        """What a network is measured against: (N,) class numbers, or (N, K) figures in their units."""
        if self.table.figures is None:
            return self.labels(split)
        return self.table.figures[self.table.rows(split)]


def open_prepared(folder: Path, recipe: Recipe, resize_px: int, values: Sequence[ValueSummary] = ()) -> PreparedImages:
    """Open what stage `data` wrote.

    Args:
        folder: of the stage.
        resize_px, values: as its JSON says.

    Raises:
        DataError: the table or the pixels do not fit the recipe.
    """
    table = read_table(folder, task_of(recipe))
    pixels = open_pixels(folder, table.paths, recipe.data, resize_px, recipe.training_px)
    return PreparedImages(table, pixels, values=tuple(_value_of(row) for row in values))


def _value_of(row: ValueSummary) -> Value:
    return Value(row.name, row.unit, row.mean, row.std, row.low, row.high)
