"""The student as several stages and a sweep train it: its images, its teacher, its seeds."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import torch
from torch import nn

from edgedistill.config.task import Task, task_of
from edgedistill.config.training import DistillConfig
from edgedistill.distillation.feature_objective import feature_lesson
from edgedistill.distillation.logit_cache import LogitCache, belongs_to
from edgedistill.distillation.objectives import logit_terms
from edgedistill.distillation.pool_confidence import kept_positions
from edgedistill.pipeline.context import StageContext
from edgedistill.pipeline.inputs import open_images, taught_count, taught_images
from edgedistill.pipeline.side_by_side import trained_with_helpers
from edgedistill.pipeline.table import stage_named
from edgedistill.pipeline.teacher_cache import teacher_key
from edgedistill.records.artifacts import artifact_kind, seed_kind
from edgedistill.records.layout import WEIGHTS
from edgedistill.records.result import Result
from edgedistill.records.training import AssistRecord, BaselineRecord, DistillRecord, ScheduleRecord
from edgedistill.training.batches import Order
from edgedistill.training.fit import Lesson, Subject, Trained, new_network, train_and_save
from edgedistill.training.images import Images
from edgedistill.training.schedule import steps_of


def student_lesson(
    context: StageContext,
    images: Images,
    cache: LogitCache,
    model: nn.Module,
    seed: int,
    device: torch.device,
) -> Lesson:
    """What the student is trained on and against: soft labels, hard labels, features."""
    recipe = context.recipe
    taught = taught_images(context, images, links_before(context))
    task, terms = task_of(recipe), {}
    if task.learns_outputs:
        terms = logit_terms(recipe.distill, cache, images.class_weights(), device, task, recipe.data.value_loss)
    chosen = kept_positions(cache, taught, recipe.distill)
    if recipe.distill.feature_weight == 0:
        return Lesson(taught, terms, chosen=chosen)
    weights = context.file("teacher", WEIGHTS)
    lesson = feature_lesson(recipe, taught, terms, cache, weights, model, seed, device, context.talk.say)
    return replace(lesson, chosen=chosen)


def links_before(context: StageContext) -> int:
    """Networks between teacher and student; the further teachers of an ensemble are not among them."""
    chain = stage_named("assist").applies(context.recipe)
    return len(context.read(AssistRecord).links) if chain and context.recipe.distill.method != "ensemble" else 0


def last_teacher(context: StageContext, images: Images) -> LogitCache:
    """The cache of the last link before the student."""
    taught = taught_images(context, images, links_before(context))
    if stage_named("assist").applies(context.recipe):
        assist = context.read(AssistRecord)
        folder = context.run.folder("assist") / assist.cache
        return LogitCache(folder, belongs_to(images, taught, assist.belongs_to))
    owner = belongs_to(images, taught, teacher_key(context))
    return LogitCache(context.run.folder("logits"), owner)


def planned_distill(context: StageContext) -> DistillConfig:
    """The recipe's [distill]; its `steps` are those that stage `schedule` planned, where the recipe has that stage."""
    distill = context.recipe.distill
    if not stage_named("schedule").applies(context.recipe):
        return distill
    return distill.model_copy(update={"steps": context.read(ScheduleRecord).steps})


def images_seen(context: StageContext) -> int:
    """By one training of the student."""
    distill = planned_distill(context)
    order = Order(taught_count(open_images(context)), distill.batch_size, distill.seed)
    return steps_of(distill, order.steps_per_epoch) * min(distill.batch_size, order.epoch_images)


def train_student_seeds(
    context: StageContext,
    images: Images,
    device: torch.device,
    task: Task,
    lesson_for: Callable[[nn.Module, int], Lesson],
    kind: type[BaselineRecord] | type[DistillRecord],
    facts: dict[str, Any] | None = None,
) -> Result:
    """The student once for each seed of the recipe; the first one is the stage's own result.

    Args:
        task: what the student is trained to do; of the baseline the one that labels alone can teach.
        lesson_for: (new student, seed) -> what it is trained against.
        kind: record of the stage: that of the first training, with a row in `seeds` for each.
        facts: further keys of the record.

    Raises:
        NothingLeft: in a helper.
    """
    distill, student = planned_distill(context), context.recipe.student

    def train(number: int) -> Trained:
        seed = distill.seed + number
        model = new_network(student, images.classes, seed, task, context.talk.say)
        title = context.out.name.removesuffix(".partial") + (f" seed {seed}" if number else "")
        subject = Subject(
            student.model,
            student.weights,
            model,
            lesson_for(model, seed),
            number,
            title,
            number * distill.views,
            task,
        )
        config, talk = distill.model_copy(update={"seed": seed}), context.helps or context.talk
        return train_and_save(images, subject, config, distill.views, device, context.out, talk)

    results = trained_with_helpers(context, distill.seeds, train)
    rows = [
        seed_kind(task)(seed=trained.network.seed, weights=trained.file, validation=trained.network.validation)
        for trained in results
    ]
    own: Any = artifact_kind(kind.stage, task)
    record = own(**results[0].network.given(), seeds=rows, **(facts or {}))
    return Result(record, tuple(trained.file for trained in results), results[0].cost)
