"""The run's images as the stages use them: table, decoded pixels, and training views."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import torch

from edgedistill.data.augment import TrainingView
from edgedistill.data.balance import class_weights, sample_weights
from edgedistill.data.pixels import FilePixels, PixelCache, open_pixels
from edgedistill.data.table import ImageTable, read_table
from edgedistill.distill.batches import TrainingSet, validation_images
from edgedistill.distill.logit_cache import image_list_digest
from edgedistill.pipeline import StageContext


@dataclass(frozen=True)
class Images:
    """The run's images: their table, their decoded pixels, and how training views are made."""

    table: ImageTable
    pixels: PixelCache | FilePixels
    training: TrainingSet
    data: Any  # the recipe's [data]

    @property
    def classes(self) -> list[str]:
        return self.table.classes

    def rows(self, split: str) -> np.ndarray:
        return self.table.rows(split)

    def labels(self, split: str) -> np.ndarray:
        return self.table.labels[self.table.rows(split)]

    def frames(self, split: str):
        """uint8 pieces (n, H, W, 3), framed as on the board."""
        return validation_images(self.pixels, self.rows(split), self.data.image_px)

    def balance(self) -> tuple[np.ndarray | None, torch.Tensor | None]:
        """Weights for drawing images and for the classes' losses, as the recipe asks."""
        labels, count = self.training.labels, len(self.classes)
        drawn = sample_weights(labels) if self.data.balance == "sample" else None
        weighed = class_weights(labels, count) if self.data.balance == "loss" else None
        return drawn, None if weighed is None else torch.tensor(weighed, dtype=torch.float32)

    def belongs_to(self) -> dict[str, Any]:
        """What cached teacher outputs depend on here; the teacher is added by its reader."""
        rows = self.rows("train")
        return {
            "transform": self.training.view.describe(),
            "class list": self.classes,
            "image list": image_list_digest([self.table.sha256[row] for row in rows]),
        }


def open_images(context: StageContext) -> Images:
    recipe = context.recipe
    folder = context.run.folder("data")
    table = read_table(folder)
    resize_px = context.values("data")["resize_px"]
    pixels = open_pixels(folder, table.paths, recipe.data, resize_px)
    rows = table.rows("train")
    view = TrainingView(recipe.data.image_px, recipe.augment, recipe.data.interpolation)
    sha256s = [table.sha256[row] for row in rows]
    training = TrainingSet(pixels, rows, table.labels[rows], sha256s, view)
    return Images(table, pixels, training, recipe.data)
