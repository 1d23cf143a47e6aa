"""Stage `teacher`: fine-tune and validate on held-out images; gates.py refuses a weak one."""

from __future__ import annotations

import torch

from edgedistill.distill.loop import Term
from edgedistill.distill.losses import label_loss
from edgedistill.models.weights import model_from_weights
from edgedistill.pipeline import StageContext
from edgedistill.run_folder import Result
from edgedistill.training_stage import device_of, open_images, train_and_save


def run(context: StageContext) -> Result:
    teacher = context.recipe.teacher
    device = device_of(context.recipe.run)
    images = open_images(context)
    torch.manual_seed(teacher.seed)  # the new head's weights
    model = model_from_weights(teacher.model, teacher.weights, images.classes, teacher.epochs > 0)
    _, class_weights = images.balance()
    terms = {
        "label": Term(
            lambda logits, _, batch: label_loss(
                logits, batch.labels, class_weights, teacher.label_smoothing
            ),
            weight=1.0,
        )
    }
    return train_and_save(
        context, images, teacher.model, teacher.weights, model, teacher, terms, None, device
    )
