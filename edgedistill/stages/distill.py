"""Stage `distill`: the student against the cached outputs of whoever teaches it."""

from __future__ import annotations

import torch
from torch import nn

from edgedistill.distill.logit_cache import LogitCache
from edgedistill.distill.losses import note_for
from edgedistill.distill.terms import logit_terms, refuse_loss_without_information
from edgedistill.feature_lesson import feature_lesson
from edgedistill.images import Images, belongs_to, open_images
from edgedistill.pipeline import StageContext
from edgedistill.records.layout import WEIGHTS
from edgedistill.run_folder import Result
from edgedistill.stages import stage_named
from edgedistill.stages.logits import teacher_sha256
from edgedistill.taught import taught_images
from edgedistill.training_stage import Lesson, device_of, train_student_seeds


def run(context: StageContext) -> Result:
    distill, student = context.recipe.distill, context.recipe.student
    device = device_of(context.recipe.run)
    images = open_images(context)
    if student.output == "logits":
        refuse_loss_without_information(distill, len(images.classes))
        note = note_for(distill.loss, len(images.classes))
        if note:
            context.talk.say(f"  {note}")
    cache = last_teacher(context, images)

    def lesson_for(model: nn.Module, seed: int) -> Lesson:
        return student_lesson(context, images, cache, model, seed, device)

    result = train_student_seeds(context, images, device, student.output, lesson_for)
    softness = {"teacher_top_probability": cache.mean_top_probability(distill.temperature)}
    return Result({**result.values, **softness}, result.files, result.cost)


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
    terms = {}
    if recipe.student.output == "logits":
        terms = logit_terms(recipe.distill, cache, images.class_weights(), device)
    if recipe.distill.feature_weight == 0:
        return Lesson(taught, terms)
    weights = context.file("teacher", WEIGHTS)
    return feature_lesson(recipe, taught, terms, cache, weights, model, seed, device, context.talk.say)


def links_before(context: StageContext) -> int:
    """Networks between teacher and student; the further teachers of an ensemble are none."""
    chain = stage_named("assist").applies(context.recipe)
    return len(context.values("assist")["links"]) if chain and context.recipe.distill.method != "ensemble" else 0


def last_teacher(context: StageContext, images: Images) -> LogitCache:
    """The cache of the last link before the student."""
    taught = taught_images(context, images, links_before(context))
    if stage_named("assist").applies(context.recipe):
        assist = context.values("assist")
        folder = context.run.folder("assist") / assist["cache"]
        return LogitCache(folder, belongs_to(images, taught, assist["belongs_to"]))
    owner = belongs_to(images, taught, teacher_sha256(context))
    return LogitCache(context.run.folder("logits"), owner)
