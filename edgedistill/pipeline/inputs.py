"""What the student is taught on: labelled images, a pool without labels, or synthesised ones."""

from __future__ import annotations

import numpy as np

from edgedistill.data.augment import TrainingView
from edgedistill.data.pixels import PixelCache
from edgedistill.data.pool import POOL
from edgedistill.data.prepared import open_prepared
from edgedistill.pipeline.context import StageContext
from edgedistill.pipeline.table import stage_named
from edgedistill.records.data import DataRecord
from edgedistill.records.training import SynthesisRecord
from edgedistill.training.batches import TrainingSet
from edgedistill.training.images import Images


def taught_images(context: StageContext, images: Images, link: int = 0) -> TrainingSet:
    """The training set of the student and of the assistants between teacher and student.

    Args:
        link: networks between the teacher and the one that is taught; each has views of its own.
    """
    if not stage_named("synthesise").applies(context.recipe):
        return images.from_sources(link)
    folder = context.run.folder("synthesise")
    sha256s = context.read(SynthesisRecord).sha256
    count = len(sha256s)
    return TrainingSet(
        PixelCache(folder),
        np.arange(count),
        np.full(count, -1),
        sha256s,
        images.view,
        images.mixing,
        images.stream(link),
        images.recipe.run.workers,
    )


def taught_count(images: Images) -> int:
    """How many images that will be: the baseline, which sees others, takes as many steps."""
    distill = images.recipe.distill
    if distill.synthetic is not None:
        return distill.synthetic
    pool = len(images.rows(POOL))
    return pool if distill.pool == "instead" else pool + len(images.rows("train"))


def open_images(context: StageContext) -> Images:
    recipe = context.recipe
    data = context.read(DataRecord)
    prepared = open_prepared(context.run.folder("data"), recipe, data.resize_px, data.quantities)
    view = TrainingView(recipe.data.size, recipe.augment, recipe.data.interpolation, recipe.data.fit)
    return Images(prepared.table, prepared.pixels, view, recipe, values=prepared.values)
