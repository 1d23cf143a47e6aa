"""The images of a run as stage `data` left them: table and decoded pixels, without PyTorch."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from edgedistill.config.recipe import Recipe
from edgedistill.config.task import task_of
from edgedistill.data.pixels import FilePixels, PixelCache, open_pixels
from edgedistill.data.table import ImageTable, read_table


@dataclass(frozen=True)
class PreparedImages:
    """The run's images: their table and their decoded pixels."""

    table: ImageTable
    pixels: PixelCache | FilePixels

    @property
    def classes(self) -> list[str]:
        return self.table.classes

    def rows(self, split: str) -> np.ndarray:
        return self.table.rows(split)

    def labels(self, split: str) -> np.ndarray:
        return self.table.labels[self.table.rows(split)]


def open_prepared(folder: Path, recipe: Recipe, resize_px: int) -> PreparedImages:
    """Open what stage `data` wrote.

    Args:
        folder: of the stage.
        resize_px: as its JSON says.

    Raises:
        DataError: the table or the pixels do not fit the recipe.
    """
    table = read_table(folder, task_of(recipe.student))
    return PreparedImages(table, open_pixels(folder, table.paths, recipe.data, resize_px, recipe.training_px))
