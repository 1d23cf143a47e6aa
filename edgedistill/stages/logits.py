"""Stage `logits`: the teacher's outputs for every training view, computed once."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import torch

from edgedistill.distill.batches import normalised
from edgedistill.distill.logit_cache import write_cache
from edgedistill.images import Images, open_images
from edgedistill.models.build import outputs
from edgedistill.models.weights import load_weights
from edgedistill.pipeline import StageContext
from edgedistill.run_folder import Result
from edgedistill.training_stage import WEIGHTS, device_of, spec_for


def run(context: StageContext) -> Result:
    device = device_of(context.recipe.run)
    images = open_images(context)
    weights = context.file("teacher", WEIGHTS)
    files = cache_teacher(
        context, images, weights, context.out, teacher_sha256(context), device,
        context.recipe.distill.cache_features,
    )  # fmt: skip
    views, count = context.recipe.distill.views, len(images.training)
    stored = np.memmap(context.out / "logits.f16", np.float16, "r").reshape(views, count, -1)
    hits = stored.argmax(axis=2) == images.training.labels
    values = {
        "images": count,
        "views": views,
        "bytes": sum((context.out / name).stat().st_size for name in files),
        "classes": stored.shape[2],
        "train_top1_fraction": float(hits.mean()),
    }
    return Result(values, tuple(files))


def cache_teacher(
    context: StageContext, images: Images, weights: Path, folder: Path, sha256: str | list[str],
    device: torch.device, with_features: bool,
) -> list[str]:  # fmt: skip
    """Run the network in `weights` over every training view, into `folder`."""
    model, about = load_weights(weights)
    model.to(device, memory_format=torch.channels_last)
    spec = spec_for(about["model"], context.recipe)

    def teacher(batch: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        return outputs(model, normalised(batch.to(device), spec))

    with torch.no_grad():
        probe = teacher(torch.zeros(1, 3, spec.image_px, spec.image_px, dtype=torch.uint8))
    widths = (probe[0].shape[1], probe[1].shape[1])
    views, count = context.recipe.distill.views, len(images.training)
    with context.talk.progress(f"outputs of {about['model']}", views * count) as show:
        return write_cache(
            folder, images.training, teacher, views, belongs_to(images, sha256), widths, show,
            with_features,
        )  # fmt: skip


def teacher_sha256(context: StageContext) -> str:
    return context.values("teacher")["artifact"]["files"][WEIGHTS]["sha256"]


def belongs_to(images: Images, sha256: str | list[str]) -> dict[str, Any]:
    """What makes these outputs these: the teacher's weights and all that the views depend on."""
    return {"teacher": sha256, **images.belongs_to()}
