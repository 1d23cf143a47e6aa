"""Stage `teacher`: fine-tune, validate on held-out images, refuse one that is too weak."""

from __future__ import annotations

import torch

from edgedistill.config import TeacherConfig
from edgedistill.distill.loop import Term
from edgedistill.distill.losses import label_loss
from edgedistill.errors import TeacherError
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
    result = train_and_save(
        context, images, teacher.model, teacher.weights, model, teacher, terms, None, device
    )
    result.values["gate"] = gate(result.values["validation"], teacher)
    return result


def gate(validation: dict, teacher: TeacherConfig) -> dict[str, list[float]]:
    """Metric -> [value, minimum].

    Raises:
        TeacherError: a value is below its minimum; a student of this teacher would learn errors.
    """
    gates = {
        metric: [validation[metric], getattr(teacher, f"min_{metric}")]
        for metric in ("top1_fraction", "balanced_accuracy_fraction")
    }
    for metric, (value, minimum) in gates.items():
        if value < minimum:
            recalls = {k: v for k, v in validation["per_class_recall"].items() if v is not None}
            weakest = min(recalls, key=recalls.__getitem__)
            raise TeacherError(
                f"{teacher.model} reached {metric} {value:.3f} on {validation['images']} validation "
                f"images, teacher.min_{metric} asks for {minimum:.3f} (weakest class: {weakest}, "
                f"recall {recalls[weakest]:.2f}); train it longer (--set teacher.epochs="
                f"{max(1, 2 * teacher.epochs)}), take a bigger teacher, or lower the gate"
            )
    return gates
