"""The outputs of the networks that teach, cached for every view."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from edgedistill.config.recipe import Recipe
from edgedistill.distillation.logit_cache import write_cache
from edgedistill.models.build import outputs
from edgedistill.models.weights import load_weights
from edgedistill.pipeline.context import StageContext
from edgedistill.records.layout import WEIGHTS
from edgedistill.records.training import TeacherRecord
from edgedistill.training.autotune import FIXED, Speed
from edgedistill.training.batches import TrainingSet, normalised, sent
from edgedistill.training.fit import spec_for


class Teachers:
    """Networks that answer as one: by the mean of their logits, and of those of the mirror image where `flips`.

    The mean of logits is the geometric mean of probabilities, up to scale: its cross-entropy is at most the mean of
    the members' own.

    Args:
        files: weights, of the first network to the last.
        recipe: its frame of the images.
        device: where.
        flips: ask about the mirror image of each view too.
        speed: what they compute in; the answers are float32, and the cache keeps float16.

    Source: Hinton, Vinyals and Dean 2015, arXiv:1503.02531, section 1 (arithmetic or geometric mean of an ensemble);
    Heskes 1998, NIPS 10, 266-272 (logarithmic opinion pools).
    """

    def __init__(
        self, files: Sequence[Path], recipe: Recipe, device: torch.device, flips: bool = False, speed: Speed = FIXED
    ):
        loaded = [(model, about["model"]) for model, about in map(load_weights, files)]
        self.name = ", ".join(dict.fromkeys(name for _, name in loaded))
        self._device, self._flips, self._speed = device, flips, speed
        self._networks = [
            (model.to(device, memory_format=torch.channels_last), spec_for(name, recipe))  # type: ignore[call-overload]  # the stub lacks this pair of arguments
            for model, name in loaded
        ]
        self.size = self._networks[0][1].size

    def __call__(self, images: Tensor) -> tuple[Tensor, Tensor]:
        """(N, C) logits of (N, 3, H, W) uint8 images, and the (N, F) pooled features of the first network."""
        images = sent(images, self._device)
        views = [images, images.flip(3)] if self._flips else [images]
        with self._speed.autocast(self._device):
            by_network = [[outputs(model, normalised(view, spec)) for view in views] for model, spec in self._networks]
        logits = torch.stack([logits.float() for answers in by_network for logits, _ in answers])
        return logits.mean(dim=0), torch.stack([features.float() for _, features in by_network[0]]).mean(dim=0)

    def logits_of(self, frames: Iterable[np.ndarray]) -> np.ndarray:
        """(N, C) float32 over uint8 pieces (n, H, W, 3)."""
        with torch.no_grad():
            pieces = [self(torch.from_numpy(piece).permute(0, 3, 1, 2))[0] for piece in frames]
        return torch.cat(pieces).cpu().numpy()


def cache_teacher(
    context: StageContext,
    taught: TrainingSet,
    teachers: Teachers,
    folder: Path,
    owner: dict[str, Any],
    with_features: bool,
) -> list[str]:
    """Run the networks over every view, into `folder`."""
    with torch.no_grad():
        answer = teachers(torch.zeros(1, 3, *teachers.size, dtype=torch.uint8))
    widths = (answer[0].shape[1], answer[1].shape[1])
    views = context.recipe.distill.cached_views
    title, total = f"outputs of {teachers.name}", views * len(taught)
    with context.talk.progress(title, total, unit="view", images_each=1) as show:
        return write_cache(folder, taught, teachers, views, owner, widths, show, with_features)


def first_teachers(context: StageContext, device: torch.device, speed: Speed = FIXED) -> Teachers:
    """What stage `teacher` left, asked as the recipe says."""
    files = [context.file("teacher", name) for name in _weights_of(context.read(TeacherRecord))]
    return Teachers(files, context.recipe, device, context.recipe.first_teacher.tta == "flip", speed)


def teacher_key(context: StageContext) -> str | list[str]:
    """What the cached logits of stage `logits` are of: the SHA-256 of the weights, and how they were asked."""
    record, tta = context.read(TeacherRecord), context.recipe.first_teacher.tta
    parts = [record.stamp.files[name].sha256 for name in _weights_of(record)] + [tta] * (tta != "none")
    return parts if len(parts) > 1 else parts[0]


def _weights_of(record: TeacherRecord) -> list[str]:
    return [WEIGHTS] if record.second is None else [WEIGHTS, record.second]
