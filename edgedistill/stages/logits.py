"""Stage `logits`: the teacher's outputs for every training view, computed once."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch

from edgedistill.distill.batches import normalised
from edgedistill.distill.logit_cache import write_cache
from edgedistill.models.build import outputs
from edgedistill.models.weights import load_weights
from edgedistill.pipeline import StageContext
from edgedistill.run_folder import Result
from edgedistill.training_stage import WEIGHTS, Images, device_of, open_images, spec_for


def run(context: StageContext) -> Result:
    distill = context.recipe.distill
    device = device_of(context.recipe.run)
    images = open_images(context)
    model, about = load_weights(context.file("teacher", WEIGHTS))
    model.to(device, memory_format=torch.channels_last)
    spec = spec_for(about["model"], context.recipe)

    def teacher(batch: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        return outputs(model, normalised(batch.to(device), spec))

    with torch.no_grad():
        probe = teacher(torch.zeros(1, 3, spec.image_px, spec.image_px, dtype=torch.uint8))
    widths = (probe[0].shape[1], probe[1].shape[1])
    views, count = distill.views, len(images.training)
    with context.talk.progress("logits", views * count) as show:
        files = write_cache(
            context.out, images.training, teacher, views, belongs_to(context, images), widths,
            show, distill.cache_features,
        )  # fmt: skip
    logits = np.memmap(context.out / "logits.f16", np.float16, "r", shape=(views, count, widths[0]))
    hits = logits.argmax(axis=2) == images.training.labels
    values = {
        "images": count,
        "views": views,
        "bytes": sum((context.out / name).stat().st_size for name in files),
        "classes": widths[0],
        "train_top1_fraction": float(hits.mean()),
    }
    return Result(values, tuple(files))


def belongs_to(context: StageContext, images: Images) -> dict[str, Any]:
    """What makes these outputs these: the teacher's weights and all that the views depend on."""
    stamp = context.values("teacher")["artifact"]["files"][WEIGHTS]
    return {"teacher": stamp["sha256"], **images.belongs_to()}
