"""Stage `distill`: the student against the cached outputs of whoever teaches it."""

from __future__ import annotations

import torch
from torch import nn

from edgedistill.distill.logit_cache import LogitCache
from edgedistill.distill.loop import Term
from edgedistill.distill.losses import feature_loss, note_for, projector_between
from edgedistill.distill.terms import logit_terms, refuse_loss_without_information
from edgedistill.images import Images, open_images
from edgedistill.models.build import outputs
from edgedistill.pipeline import StageContext
from edgedistill.run_folder import Result
from edgedistill.stages import stage_named
from edgedistill.stages.logits import belongs_to, teacher_sha256
from edgedistill.training_stage import device_of, train_student_seeds


def run(context: StageContext) -> Result:
    distill = context.recipe.distill
    device = device_of(context.recipe.run)
    images = open_images(context)
    refuse_loss_without_information(distill, len(images.classes))
    note = note_for(distill.loss, len(images.classes))
    if note:
        context.talk.say(f"  {note}")
    cache = last_teacher(context, images)

    def taught_by(model: nn.Module, seed: int) -> tuple[dict[str, Term], nn.Module | None]:
        return student_terms(context, images, cache, model, seed, device)

    result = train_student_seeds(context, images, device, taught_by)
    softness = {"teacher_top_probability": cache.mean_top_probability(distill.temperature)}
    return Result({**result.values, **softness}, result.files, result.cost)


def student_terms(
    context: StageContext, images: Images, cache: LogitCache, model: nn.Module, seed: int,
    device: torch.device,
) -> tuple[dict[str, Term], nn.Module | None]:  # fmt: skip
    """The student's loss, and the projector that is trained along when features are matched."""
    distill = context.recipe.distill
    terms = logit_terms(distill, cache, images.balance()[1], device)
    if distill.feature_weight == 0:
        return terms, None
    projector = projector_between(
        _feature_width(model, context.recipe.data.image_px), cache.feature_width, seed
    )
    terms["feature"] = Term(
        lambda _, features, batch: feature_loss(
            features, cache.features(batch).to(device), projector
        ),
        distill.feature_weight,
        distill.feature_warmup_fraction,
    )
    return terms, projector


def last_teacher(context: StageContext, images: Images) -> LogitCache:
    """The cache of the last link before the student."""
    if stage_named("assist").applies(context.recipe):
        assist = context.values("assist")
        folder = context.run.folder("assist") / assist["cache"]
        return LogitCache(folder, belongs_to(images, assist["belongs_to"]))
    return LogitCache(context.run.folder("logits"), belongs_to(images, teacher_sha256(context)))


def _feature_width(model: nn.Module, image_px: int) -> int:
    with torch.no_grad():
        return outputs(model.eval(), torch.zeros(1, 3, image_px, image_px))[1].shape[1]
