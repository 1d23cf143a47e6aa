"""Stage `teacher`: fine-tune and validate on held-out images; gates.py refuses a weak one."""

from __future__ import annotations

import torch

from edgedistill.distill.terms import label_term
from edgedistill.images import Images, open_images
from edgedistill.models.weights import model_from_weights
from edgedistill.pipeline import StageContext
from edgedistill.run_folder import Result
from edgedistill.sections import TeacherConfig
from edgedistill.training_stage import Lesson, Subject, device_of, train_and_save


def run(context: StageContext) -> Result:
    images = open_images(context)
    device = device_of(context.recipe.run)
    return train_teacher(context, images, context.recipe.first_teacher, device)


def train_teacher(
    context: StageContext, images: Images, teacher: TeacherConfig, device: torch.device,
    number: int = 0,
) -> Result:  # fmt: skip
    """Fine-tune one teacher; `number` tells the further ones of an ensemble apart."""
    torch.manual_seed(teacher.seed)  # the new head's weights
    model = model_from_weights(teacher.model, teacher.weights, images.classes, teacher.epochs > 0,
                               class_names=teacher.classes, say=context.talk.say)  # fmt: skip
    terms = {"label": label_term(images.class_weights(), 1.0, device, teacher.label_smoothing)}
    title = f"{context.out.name.removesuffix('.partial')} {teacher.model}" if number else ""
    lesson = Lesson(images.training, terms)
    subject = Subject(teacher.model, teacher.weights, model, lesson, number, title)
    return train_and_save(context, images, subject, teacher, None, device)
