"""The run's images as the stages use them: table, decoded pixels, and training views."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np
import torch

from edgedistill.config.recipe import Recipe
from edgedistill.data.augment import TrainingView
from edgedistill.data.balance import class_weights, positive_weights, sample_weights
from edgedistill.data.pool import POOL
from edgedistill.data.prepared import PreparedImages
from edgedistill.training.batches import NOT_MIXED, TrainingSet, ViewStream, validation_images
from edgedistill.training.mixing import Mixing


@dataclass(frozen=True)
class Images(PreparedImages):
    """The run's images, and how training views are made of them."""

    view: TrainingView
    recipe: Recipe

    def frames(self, split: str):
        """uint8 pieces (n, H, W, 3), framed as on the board."""
        return validation_images(self.pixels, self.rows(split))

    @property
    def mixing(self) -> Mixing:
        """Of the student's views."""
        distill = self.recipe.distill
        return Mixing(distill.mixup_alpha, distill.cutmix_alpha, distill.mix_fraction)

    def stream(self, link: int = 0) -> ViewStream:
        """The views that a student is taught on; another stream for each link of a chain, because
        the network before it has learnt the views that it was itself taught on."""
        distill = self.recipe.distill
        return ViewStream(f"student {link}", distill.seed, distill.views)

    @cached_property
    def training(self) -> TrainingSet:
        """The labelled images as the teacher sees them."""
        return self.as_taught(self.rows("train"))

    def as_taught(self, rows: np.ndarray) -> TrainingSet:
        """Images as the teacher sees them, never mixed."""
        return self.training_set(rows, NOT_MIXED, ViewStream("teacher", self.recipe.first_teacher.seed))

    @cached_property
    def alone(self) -> TrainingSet:
        """What the student may learn from without a teacher: the labelled images."""
        return self.training_set(self.rows("train"), self.mixing, self.stream())

    def from_sources(self, link: int) -> TrainingSet:
        """What link `link` of a chain is taught on, unless its images are synthesised."""
        labelled, pool = self.rows("train"), self.rows(POOL)
        rows = {"beside": np.concatenate([labelled, pool]), "instead": pool}[self.recipe.distill.pool]
        return self.training_set(rows, self.mixing, self.stream(link))

    def training_set(self, rows: np.ndarray, mixing: Mixing, stream: ViewStream) -> TrainingSet:
        sha256s = [self.table.sha256[row] for row in rows]
        return TrainingSet(
            self.pixels,
            rows,
            self.table.labels[rows],
            sha256s,
            self.view,
            mixing,
            stream,
            self.recipe.run.workers,
            self.standardised(rows),
        )

    def standardised(self, rows: np.ndarray) -> np.ndarray | None:
        """(N, K) float32 figures in standard deviations from the training mean, of several labels an image 1 or 0 each;
        NaN in the pool; None of classes."""
        if self.table.figures is None:
            return None
        if not self.values:
            return self.table.figures[rows].astype(np.float32)
        means, stds = (np.array([getattr(value, key) for value in self.values]) for key in ("mean", "std"))
        return ((self.table.figures[rows] - means) / stds).astype(np.float32)

    def drawn(self, chosen: TrainingSet) -> np.ndarray | None:
        """Weights for drawing images, as the recipe asks; an unlabelled one has the mean weight."""
        if self.recipe.data.balance != "sample":
            return None
        labelled = chosen.labels >= 0
        weights = np.ones(len(chosen))
        if labelled.any():
            weights[labelled] = sample_weights(chosen.labels[labelled])
            weights[~labelled] = weights[labelled].mean()
        return weights

    def class_weights(self) -> torch.Tensor | None:
        """(classes,) weights of the images in the loss, by their label, as the recipe asks; of several labels an image
        the weight of each where it is there."""
        if self.recipe.data.balance != "loss":
            return None
        if self.table.figures is not None:
            return torch.tensor(positive_weights(self.targets("train")), dtype=torch.float32)
        weighed = class_weights(self.labels("train"), len(self.classes))
        return torch.tensor(weighed, dtype=torch.float32)

    def named_class_weights(self) -> dict[str, float] | None:
        """Class -> its weight, for people."""
        weights = self.class_weights()
        if weights is None:
            return None
        return {name: round(weight, 4) for name, weight in zip(self.classes, weights.tolist(), strict=True)}
