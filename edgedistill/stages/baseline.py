"""Stage `baseline`: the same student, recipe, views and seeds, without the teacher's terms."""

from __future__ import annotations

from edgedistill.distill.terms import label_term
from edgedistill.images import open_images
from edgedistill.pipeline import StageContext
from edgedistill.run_folder import Result
from edgedistill.training_stage import device_of, train_student_seeds


def run(context: StageContext) -> Result:
    device = device_of(context.recipe.run)
    images = open_images(context)
    terms = {"label": label_term(images.balance()[1], 1.0, device)}
    return train_student_seeds(context, images, device, lambda model, seed: (terms, None))
