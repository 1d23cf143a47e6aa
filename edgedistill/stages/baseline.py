"""Stage `baseline`: the same student, recipe, views and seed, without the teacher's terms."""

from __future__ import annotations

import torch

from edgedistill.distill.loop import Term
from edgedistill.distill.losses import label_loss
from edgedistill.models.weights import model_from_weights
from edgedistill.pipeline import StageContext
from edgedistill.run_folder import Result
from edgedistill.training_stage import Images, device_of, open_images, train_and_save


def run(context: StageContext) -> Result:
    device = device_of(context.recipe.run)
    images = open_images(context)
    model = new_student(context, images)
    distill, student = context.recipe.distill, context.recipe.student
    return train_and_save(
        context, images, student.model, student.weights, model, distill,
        {"label": label_term(images, weight=1.0)}, distill.views, device,
    )  # fmt: skip


def new_student(context: StageContext, images: Images):
    """The student before training: equal bits in `baseline` and `distill` for equal seeds."""
    student = context.recipe.student
    torch.manual_seed(context.recipe.distill.seed)
    return model_from_weights(student.model, student.weights, images.classes, will_train=True)


def label_term(images: Images, weight: float) -> Term:
    _, class_weights = images.balance()
    return Term(lambda logits, _, batch: label_loss(logits, batch.labels, class_weights), weight)
