"""Stage `distill`: train the student against the cached outputs of its teachers."""

from __future__ import annotations

from torch import nn

from edgedistill.config.task import task_of
from edgedistill.distillation.losses import note_for
from edgedistill.distillation.objectives import refuse_loss_without_information
from edgedistill.pipeline.context import StageContext
from edgedistill.pipeline.inputs import open_images
from edgedistill.pipeline.student import last_teacher, student_lesson, train_student_seeds
from edgedistill.records.result import Result
from edgedistill.records.training import DistillRecord
from edgedistill.training.fit import Lesson, device_of


def run(context: StageContext) -> Result:
    distill, student = context.recipe.distill, context.recipe.student
    device = device_of(context.recipe.run)
    images = open_images(context)
    task = task_of(student)
    if task.learns_outputs:
        refuse_loss_without_information(distill, len(images.classes))
        note = note_for(distill.loss, len(images.classes))
        if note:
            context.talk.say(f"  {note}")
    cache = last_teacher(context, images)

    def lesson_for(model: nn.Module, seed: int) -> Lesson:
        return student_lesson(context, images, cache, model, seed, device)

    softness = {"teacher_top_probability": cache.mean_top_probability(distill.temperature)}
    return train_student_seeds(context, images, device, task, lesson_for, DistillRecord, softness)
