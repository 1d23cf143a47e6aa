"""The outputs of a network that teaches, cached for every view."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch

from edgedistill.distillation.logit_cache import write_cache
from edgedistill.models.build import outputs
from edgedistill.models.weights import load_weights
from edgedistill.pipeline.context import StageContext
from edgedistill.records.layout import WEIGHTS
from edgedistill.records.training import TeacherRecord
from edgedistill.training.batches import TrainingSet, normalised
from edgedistill.training.fit import spec_for


def cache_teacher(
    context: StageContext,
    taught: TrainingSet,
    weights: Path,
    folder: Path,
    owner: dict[str, Any],
    device: torch.device,
    with_features: bool,
) -> list[str]:
    """Run the network in `weights` over every view, into `folder`."""
    model, about = load_weights(weights)
    model.to(device, memory_format=torch.channels_last)  # type: ignore[call-overload]  # the stub lacks this pair of arguments
    spec = spec_for(about["model"], context.recipe)

    def teacher(batch: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        return outputs(model, normalised(batch.to(device), spec))

    with torch.no_grad():
        probe = teacher(torch.zeros(1, 3, *spec.size, dtype=torch.uint8))
    widths = (probe[0].shape[1], probe[1].shape[1])
    views = context.recipe.distill.cached_views
    with context.talk.progress(f"outputs of {about['model']}", views * len(taught), images_each=1) as show:
        return write_cache(folder, taught, teacher, views, owner, widths, show, with_features)


def teacher_sha256(context: StageContext) -> str:
    return context.read(TeacherRecord).stamp.files[WEIGHTS].sha256
