"""Stage `distill`: the student against the teacher's cached outputs."""

from __future__ import annotations

import torch

from edgedistill.distill.logit_cache import LogitCache
from edgedistill.distill.loop import Term
from edgedistill.distill.losses import feature_loss, kd_loss, projector_between
from edgedistill.models.build import outputs
from edgedistill.pipeline import StageContext
from edgedistill.run_folder import Result
from edgedistill.stages.baseline import label_term, new_student
from edgedistill.stages.logits import belongs_to
from edgedistill.training_stage import device_of, open_images, train_and_save


def run(context: StageContext) -> Result:
    recipe = context.recipe
    distill = recipe.distill
    device = device_of(recipe.run)
    images = open_images(context)
    cache = LogitCache(context.run.folder("logits"), belongs_to(context, images))
    model = new_student(context, images)
    terms = {
        "kd": Term(
            lambda logits, _, batch: kd_loss(
                logits, cache.logits(batch).to(device), distill.temperature
            ),
            distill.kd_weight,
        ),
        "label": label_term(images, 1 - distill.kd_weight),
    }
    projector = None
    if distill.feature_weight > 0:
        projector = projector_between(_feature_width(model, recipe.data.image_px),
                                      cache.feature_width, distill.seed)  # fmt: skip
        terms["feature"] = Term(
            lambda _, features, batch: feature_loss(
                features, cache.features(batch).to(device), projector
            ),
            distill.feature_weight,
            distill.feature_warmup_fraction,
        )
    return train_and_save(
        context, images, recipe.student.model, recipe.student.weights, model, distill, terms,
        distill.views, device, extra=projector,
    )  # fmt: skip


def _feature_width(model: torch.nn.Module, image_px: int) -> int:
    with torch.no_grad():
        return outputs(model.eval(), torch.zeros(1, 3, image_px, image_px))[1].shape[1]
