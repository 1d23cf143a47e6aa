"""Stage `distill`: train the student against the cached outputs of its teachers."""

from __future__ import annotations

from typing import Any

from torch import nn

from edgedistill.config.task import task_of
from edgedistill.distillation.logit_cache import LogitCache
from edgedistill.distillation.losses import note_for
from edgedistill.distillation.objectives import refuse_loss_without_information
from edgedistill.distillation.pool_confidence import line_from_pool_use, pool_use
from edgedistill.pipeline.context import StageContext
from edgedistill.pipeline.expectation import expectation
from edgedistill.pipeline.inputs import open_images, taught_images
from edgedistill.pipeline.student import last_teacher, links_before, student_lesson, train_student_seeds
from edgedistill.records.result import Result
from edgedistill.records.training import DistillRecord, PoolUse
from edgedistill.training.fit import Lesson, device_of
from edgedistill.training.images import Images


def run(context: StageContext) -> Result:
    distill = context.recipe.distill
    device = device_of(context.recipe.run, context.talk.say)
    images = open_images(context)
    task = task_of(context.recipe)
    if task.learns_outputs and not task.vectors:
        refuse_loss_without_information(distill, len(images.classes))
        note = note_for(distill.loss, len(images.classes))
        if note:
            context.talk.say(f"  {note}")
    told = expectation(context.recipe, context.run)
    if told is not None:
        context.talk.say(f"  {told}", "note")
    cache = last_teacher(context, images)

    def lesson_for(model: nn.Module, seed: int) -> Lesson:
        return student_lesson(context, images, cache, model, seed, device)

    facts: dict[str, Any] = {}
    if not task.vectors:
        facts["teacher_top_probability"] = cache.mean_top_probability(distill.temperature)
    if not task.vectors and context.recipe.data.has_pool:
        facts["pool"] = _pool(context, images, cache)
    return train_student_seeds(context, images, device, task, lesson_for, DistillRecord, facts)


def _pool(context: StageContext, images: Images, cache: LogitCache) -> PoolUse | None:
    """What the teacher says of the images without a label; it is said."""
    distill = context.recipe.distill
    use = pool_use(cache, taught_images(context, images, links_before(context)), distill, images.classes)
    if use is not None:
        context.talk.say(f"  {line_from_pool_use(use, distill.pool_min_confidence)}")
    return use
