"""Stage `logits`: the teacher's outputs for every view that the student is taught on, once."""

from __future__ import annotations

import fcntl
import hashlib
import json
import os
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import torch

from edgedistill import ranks
from edgedistill.distill.batches import TrainingSet, normalised
from edgedistill.distill.logit_cache import LogitCache, write_cache
from edgedistill.images import belongs_to, open_images
from edgedistill.models.build import outputs
from edgedistill.models.weights import load_weights
from edgedistill.pipeline import StageContext
from edgedistill.records.layout import WEIGHTS
from edgedistill.run_folder import Result
from edgedistill.taught import taught_images
from edgedistill.training_stage import device_of, spec_for


def run(context: StageContext) -> Result:
    device = device_of(context.recipe.run)
    images = open_images(context)
    taught = taught_images(context, images)
    owner = belongs_to(images, taught, teacher_sha256(context))
    features = context.recipe.distill.cache_features

    def fill(folder: Path) -> list[str]:
        return cache_teacher(context, taught, context.file("teacher", WEIGHTS), folder, owner, device, features)

    shared = context.recipe.run.cache_dir
    files = (
        fill(context.out)
        if shared is None
        else _from_shared(
            context, Path(shared), {**owner, "views": context.recipe.distill.cached_views, "features": features}, fill
        )
    )
    values = {
        "images": len(taught),
        "views": context.recipe.distill.cached_views,
        "bytes": sum((context.out / name).stat().st_size for name in files),
        "classes": len(images.classes),
        "train_top1_fraction": _top1_fraction(LogitCache(context.out, owner), taught),
    }
    return Result(values, tuple(files))


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
    model.to(device, memory_format=torch.channels_last)
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
    return context.values("teacher")["artifact"]["files"][WEIGHTS]["sha256"]


def _from_shared(
    context: StageContext, shared: Path, key: dict[str, Any], fill: Callable[[Path], list[str]]
) -> list[str]:
    """The cache of this very key in the shared folder, made there when it is not; linked here."""
    digest = hashlib.sha256(json.dumps(key, sort_keys=True).encode()).hexdigest()
    folder = shared / digest[:32]
    if ranks.is_first():
        folder.mkdir(parents=True, exist_ok=True)
    ranks.wait_for_all()
    with _held(folder / ".lock"):
        if ranks.agreed((folder / "cache.json").exists):
            context.talk.say(f"  shared with other runs: {folder}")
            names = sorted(path.name for path in folder.glob("shard-*.npy")) + ["cache.json"]
        else:
            names = fill(folder)
    if ranks.is_first():
        for name in names:
            _link_or_copy(folder / name, context.out / name)
    ranks.wait_for_all()
    return names


@contextmanager
def _held(lock: Path) -> Iterator[None]:
    """One run at a time fills a shared cache; the first rank holds the lock for all."""
    with open(lock, "a") as file:
        if ranks.is_first():
            fcntl.flock(file, fcntl.LOCK_EX)
        ranks.wait_for_all()
        yield


def _link_or_copy(source: Path, to: Path) -> None:
    to.unlink(missing_ok=True)
    try:
        os.link(source, to)
    except OSError:  # another file system
        shutil.copyfile(source, to)


def _top1_fraction(cache: LogitCache, taught: TrainingSet) -> float | None:
    """How often the teacher says the label, over all views of labelled images; None where views
    are mixed of two labels, or nothing has one."""
    known = np.tile(taught.labels, cache.views)
    if taught.mixing.describe() or not (known >= 0).any():
        return None
    said = np.concatenate([shard["logits"].argmax(axis=1) for shard in cache.shards()])
    return float((said == known)[known >= 0].mean())
