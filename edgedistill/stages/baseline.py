"""Stage `baseline`: the same student, recipe, views and seeds, without the teacher's terms.

It sees the labelled images only: without a teacher, others say nothing. Where the student is taught
on more or on other images, the baseline takes as many steps on the labelled ones.
"""

from __future__ import annotations

from edgedistill.config.task import task_of
from edgedistill.distillation.objectives import hard_term
from edgedistill.pipeline.context import StageContext
from edgedistill.pipeline.inputs import open_images, taught_count
from edgedistill.pipeline.student import train_student_seeds
from edgedistill.records.result import Result
from edgedistill.records.training import BaselineRecord
from edgedistill.training.fit import Lesson, device_of


def run(context: StageContext) -> Result:
    device = device_of(context.recipe.run, context.talk.say)
    images = open_images(context)
    task = task_of(context.recipe).supervised
    terms = {"label": hard_term(task, images.class_weights(), 1.0, device, value_loss=context.recipe.data.value_loss)}
    lesson = Lesson(images.alone, terms, taught_count(images))
    return train_student_seeds(context, images, device, task, lambda model, seed: lesson, BaselineRecord)
