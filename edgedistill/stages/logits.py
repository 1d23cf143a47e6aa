"""Stage `logits`: the teacher's outputs for every view that the student is taught on, once."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
from collections.abc import Callable
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import numpy as np

from edgedistill.core import distributed
from edgedistill.core.files import locked
from edgedistill.data.framing import framing_of
from edgedistill.data.pixels import PIXEL_FILES
from edgedistill.distillation.logit_cache import LogitCache, belongs_to
from edgedistill.pipeline.context import StageContext
from edgedistill.pipeline.inputs import open_images, taught_images
from edgedistill.pipeline.teacher_cache import cache_teacher, first_teachers, teacher_key
from edgedistill.records.data import DataRecord
from edgedistill.records.result import Result
from edgedistill.records.training import LogitsRecord
from edgedistill.training.autotune import answering_speed
from edgedistill.training.batches import TrainingSet
from edgedistill.training.fit import device_of


def run(context: StageContext) -> Result:
    device = device_of(context.recipe.run, context.talk.say)
    images = open_images(context)
    taught = taught_images(context, images)
    owner = belongs_to(images, taught, teacher_key(context))
    features = context.recipe.distill.cache_features
    speed = answering_speed(context.recipe.run.precision, device)

    def fill(folder: Path) -> list[str]:
        return cache_teacher(context, taught, first_teachers(context, device, speed), folder, owner, features)

    shared = context.recipe.run.cache_dir
    views = context.recipe.distill.cached_views
    key = {**owner, "pixels": _pixels(context), "views": views, "features": features}
    if speed.bfloat16:  # the key of a cache in float32 stays that of earlier releases
        key["computed in"] = "bfloat16"
    files = fill(context.out) if shared is None else _from_shared(context, Path(shared), key, fill)
    record = LogitsRecord(
        images=len(taught),
        views=views,
        bytes=sum((context.out / name).stat().st_size for name in files),
        classes=len(images.classes),
        train_top1_fraction=None
        if taught.targets is not None
        else _top1_fraction(LogitCache(context.out, owner), taught),
    )
    return Result(record, tuple(files), {"speed": str(speed)})


def _pixels(context: StageContext) -> dict[str, Any]:
    """What views are cut from: digests of the decoded pixels, or how the user's files are decoded at each access."""
    recipe, data = context.recipe, context.read(DataRecord)
    kept = {name: data.stamp.files[name].sha256 for name in PIXEL_FILES if name in data.stamp.files}
    return kept or vars(framing_of(recipe.data, data.resize_px, recipe.training_px))


def _from_shared(
    context: StageContext, shared: Path, key: dict[str, Any], fill: Callable[[Path], list[str]]
) -> list[str]:
    """Link the cache of this key from the shared folder; make it there first if it is missing."""
    digest = hashlib.sha256(json.dumps(key, sort_keys=True).encode()).hexdigest()
    folder = shared / digest[:32]
    if distributed.is_first():
        folder.mkdir(parents=True, exist_ok=True)
    distributed.wait_for_all()
    # One run at a time fills it; the first rank holds the lock for all.
    with locked(folder / ".lock", make=True) if distributed.is_first() else nullcontext():
        distributed.wait_for_all()
        if distributed.agreed((folder / "cache.json").exists):
            context.talk.say(f"  shared with other runs: {folder}")
            names = sorted(path.name for path in folder.glob("shard-*.npy")) + ["cache.json"]
        else:
            names = fill(folder)
    if distributed.is_first():
        for name in names:
            _link_or_copy(folder / name, context.out / name)
    distributed.wait_for_all()
    return names


def _link_or_copy(source: Path, to: Path) -> None:
    to.unlink(missing_ok=True)
    try:
        os.link(source, to)
    except OSError:  # another file system
        shutil.copyfile(source, to)


def _top1_fraction(cache: LogitCache, taught: TrainingSet) -> float | None:
    """How often the teacher says the label, over all views of labelled images; None where views
    are mixed of two labels, or nothing has one."""
    labels = np.tile(taught.labels, cache.views)
    if taught.mixing.describe() or not (labels >= 0).any():
        return None
    answers = np.concatenate([shard["logits"].argmax(axis=1) for shard in cache.shards()])
    return float((answers == labels)[labels >= 0].mean())
