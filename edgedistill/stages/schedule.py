"""Stage `schedule`: how many steps of the student fit into `distill.minutes` on this computer.

Measured on a student from scratch that learns from the labels: what its weights are costs nothing, and the
cached outputs of a teacher nearly so. Student and baseline take the planned steps, with every seed.
"""

from __future__ import annotations

from edgedistill.config.task import task_of
from edgedistill.config.training import DistillConfig
from edgedistill.distillation.objectives import hard_term
from edgedistill.errors import RecipeError
from edgedistill.pipeline.context import StageContext
from edgedistill.pipeline.inputs import open_images, taught_count
from edgedistill.records.result import Result
from edgedistill.records.training import ScheduleRecord
from edgedistill.training.fit import Lesson, Subject, device_of, new_network, training_of
from edgedistill.training.pace import FIRST_STEPS, MEASURED, measured_pace
from edgedistill.training.schedule import STUDENT_STEPS, Pace, steps_of, steps_within


def run(context: StageContext) -> Result:
    recipe = context.recipe
    distill, student = recipe.distill, recipe.student.model_copy(update={"weights": "scratch", "classes": None})
    device, images = device_of(recipe.run, context.talk.say), open_images(context)
    task = task_of(context.recipe).supervised
    taught = images.alone if distill.synthetic is not None else images.from_sources(0)
    lesson = Lesson(
        taught,
        {"label": hard_term(task, images.class_weights(), 1.0, device, value_loss=recipe.data.value_loss)},
        taught_count(images),
    )
    model = new_network(student, images.classes, distill.seed, task)
    config = distill.model_copy(update={"steps": FIRST_STEPS})
    subject = Subject(student.model, student.weights, model, lesson, task=task)
    training = training_of(images, subject, config, distill.views, device)
    pace = measured_pace(training, context.talk, f"first steps of {student.model}")
    record = plan(distill, pace, training.order.steps_per_epoch)
    context.talk.say(f"  {line_from_plan(record)}")
    return Result(record, (), {"speed": str(training.speed)})


def plan(distill: DistillConfig, pace: Pace, steps_per_epoch: int) -> ScheduleRecord:
    """
    Raises:
        RecipeError: not one step fits.
    """
    fitting = steps_within(60 * distill.minutes, pace, steps_per_epoch)
    if fitting < 1:
        raise RecipeError(
            f"distill.minutes = {distill.minutes:g}: a step of the student and a validation take "
            f"{pace.step_seconds + pace.validation_seconds:.1f} seconds on this computer, so not one fits; "
            "give it more minutes"
        )
    return ScheduleRecord(
        minutes=distill.minutes,
        steps=min(fitting, distill.steps or fitting),
        fitting_steps=fitting,
        asked_steps=steps_of(distill, steps_per_epoch),
        steps_per_epoch=steps_per_epoch,
        measured_steps=MEASURED,
        step_seconds=pace.step_seconds,
        validation_seconds=pace.validation_seconds,
    )


def line_from_plan(record: ScheduleRecord) -> str:
    """One line for people."""
    line = (
        f"{record.fitting_steps} steps fit into {record.minutes:g} minutes on this computer "
        f"({record.step_seconds:.3g} s each, {record.validation_seconds:.2g} s for each validation); the recipe asked "
        f"for {record.asked_steps}; {record.steps} are planned"
    )
    if record.steps < STUDENT_STEPS:
        line += f", fewer than the {STUDENT_STEPS} that a student from scratch needs at least"
    return f"{line}; distill.steps = {record.steps} and distill.minutes = 0 train as long elsewhere"
