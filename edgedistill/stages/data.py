"""Stage `data`: from files to a split, decoded, hashed set of images."""

from __future__ import annotations

from edgedistill.config.task import task_of
from edgedistill.data.pixels import FRAME_FILE, PIXEL_FILES
from edgedistill.data.prepare import prepare
from edgedistill.models.build import refuse_unless_student, resize_px_of
from edgedistill.new_project.outlook import outlook
from edgedistill.pipeline.context import StageContext
from edgedistill.records.data import DataRecord
from edgedistill.records.result import Result


def run(context: StageContext) -> Result:
    recipe = context.recipe
    refuse_unless_student(recipe.student.model)
    resize_px = resize_px_of(recipe.student.model, recipe.data.image_px, recipe.data.crop_fraction, recipe.data.fit)
    summary = prepare(
        recipe.data,
        resize_px,
        context.out,
        context.talk.say,
        recipe.training_px,
        task_of(recipe),
        context.talk,
        context.unfinished,
    )
    expected = outlook(summary.images["train"], summary.pool_images, recipe.distill)
    if expected is not None:
        context.talk.say(f"  {expected}")
    pixels = PIXEL_FILES if recipe.data.store == "decoded" else ()
    frames = (FRAME_FILE,) if (context.out / FRAME_FILE).exists() else ()
    return Result(
        DataRecord(**summary.given(), resize_px=resize_px, training_px=max(recipe.training_px, resize_px)),
        ("images.csv", "classes.txt", *pixels, *frames),
    )
