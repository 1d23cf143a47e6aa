"""Stage `synthesise`: images from the teacher's weights alone, for a student that sees no others."""

from __future__ import annotations

import hashlib
import io
import json
from pathlib import Path
from typing import Any

import numpy as np
import torch

from edgedistill.core.files import write_bytes
from edgedistill.data.pixels import write_pixels
from edgedistill.distillation.inversion import InversionSettings, contact_sheet, synthesise_batch
from edgedistill.errors import TrainingError
from edgedistill.models.weights import load_weights
from edgedistill.pipeline.context import StageContext
from edgedistill.pipeline.inputs import open_images
from edgedistill.records.layout import SYNTHESISED_SHEET, WEIGHTS
from edgedistill.records.result import Result
from edgedistill.records.training import SynthesisRecord
from edgedistill.training.fit import device_of, spec_for

MIN_WANTED_FRACTION = 0.5  # of the images; below, the teacher does not recognise them


def run(context: StageContext) -> Result:
    distill = context.recipe.distill
    device = device_of(context.recipe.run, context.talk.say)
    images = open_images(context)
    made, labels, reports = _batches(context, images.classes, device)
    made, labels = made[: distill.synthetic_images], labels[: distill.synthetic_images]
    wanted = float(np.mean([report["wanted_fraction"] for report in reports]))
    if wanted < MIN_WANTED_FRACTION:
        raise TrainingError(
            f"the teacher assigns {wanted:.0%} of the synthesised images to their intended class, "
            f"expected {MIN_WANTED_FRACTION:.0%}; raise distill.synthetic_steps, or validate the "
            "teacher"
        )
    write_pixels(context.out, made)
    write_bytes(context.out / SYNTHESISED_SHEET, contact_sheet(made, labels, images.classes))
    record = SynthesisRecord(
        images=len(made),
        wanted_fraction=wanted,
        bn_loss_first=reports[0]["bn_loss_first"],
        bn_loss_last=reports[0]["bn_loss_last"],
        sha256=[hashlib.sha256(image.tobytes()).hexdigest() for image in made],
    )
    cost = {"synthesis_seconds": sum(report["seconds"] for report in reports)}
    return Result(record, ("pixels.u8", "pixels.npz", SYNTHESISED_SHEET), cost)


def _batches(
    context: StageContext, classes: list[str], device: torch.device
) -> tuple[np.ndarray, np.ndarray, list[dict[str, Any]]]:
    """Every batch, made now or by an interrupted run: each is a function of seed and number."""
    distill = context.recipe.distill
    model, about = load_weights(context.file("teacher", WEIGHTS))
    model.to(device)
    spec = spec_for(about["model"], context.recipe)
    settings = InversionSettings(
        steps=distill.synthetic_steps,
        seed=distill.seed,
        batch_size=min(InversionSettings().batch_size, distill.synthetic_images),
    )
    images, labels, reports = [], [], []
    count = -(-distill.synthetic_images // settings.batch_size)
    with context.talk.progress("images made", distill.synthetic_images, unit="image", images_each=1) as show:
        for number in range(count):
            path = context.out / f"batch-{number:04d}.npz"
            if not path.exists():
                _keep(path, *synthesise_batch(model, spec, settings, number, classes))
            with np.load(path, allow_pickle=False) as stored:
                images.append(stored["images"])
                labels.append(stored["labels"])
                reports.append(json.loads(str(stored["report"])))
            show(min((number + 1) * settings.batch_size, distill.synthetic_images))
    return np.concatenate(images), np.concatenate(labels), reports


def _keep(path: Path, images: np.ndarray, labels: np.ndarray, report: dict[str, Any]) -> None:
    buffer = io.BytesIO()
    np.savez(buffer, images=images, labels=labels, report=json.dumps(report))
    write_bytes(path, buffer.getvalue())
