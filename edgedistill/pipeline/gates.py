"""Minimum requirements of an artifact before later stages use it.

Apart from the stages, so that a gate can be changed without making the artifact again, and is checked
again of an artifact that is up to date.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from edgedistill.errors import QuantizeError, TeacherError

if TYPE_CHECKING:
    from edgedistill.config.recipe import Recipe
    from edgedistill.records.quantization import QuantizationRecord
    from edgedistill.records.training import TeacherRecord

OTHER_ORDER = 0.2  # share of validation images that another class order would make right


def teacher_is_good_enough(recipe: Recipe, trained: TeacherRecord) -> None:
    """
    Args:
        recipe: its [teacher] holds the minima.
        trained: of stage `teacher`, with figures on the validation images.

    Raises:
        TeacherError: a value is below its minimum, or the head stands in another class order; a student
            of this teacher would learn errors.
    """
    if trained.epochs == 0 and trained.probe is None:
        _refuse_another_order(trained)
    teacher, validation = recipe.teacher, trained.validation
    for metric in ("top1_fraction", "balanced_accuracy_fraction"):
        value, minimum = validation.metric(metric), getattr(teacher, f"min_{metric}")
        if value < minimum:
            recalls = {k: v for k, v in validation.per_class_recall.items() if v is not None}
            weakest = min(recalls, key=recalls.__getitem__)
            raise TeacherError(
                f"{teacher.model} reached {metric} {value:.3f} on {validation.images} validation "
                f"images, teacher.min_{metric} asks for {minimum:.3f} (weakest class: {weakest}, "
                f"recall {recalls[weakest]:.2f}); {better_teacher(trained, teacher.epochs)}, take a bigger teacher, "
                "or lower the gate"
            )


def better_teacher(trained: TeacherRecord, epochs: int) -> str:
    """What to try first for more of this network; `epochs` are the recipe's."""
    if trained.mode == "probe" and trained.tried is None:
        return "fine-tune it too (--set teacher.mode=auto)"
    return f"train it longer (--set teacher.epochs={max(1, 2 * epochs)})"


def _refuse_another_order(trained: TeacherRecord) -> None:
    """Check a head that was not trained here: validation images show whether its class order is the data's."""
    import numpy as np
    from scipy.optimize import linear_sum_assignment

    validation = trained.validation
    confusion, names = np.array(validation.confusion), list(validation.per_class_recall)
    rows, columns = linear_sum_assignment(confusion, maximize=True)
    right, best = confusion.trace() / confusion.sum(), confusion[rows, columns].sum() / confusion.sum()
    if best - right < OTHER_ORDER:
        return
    order = [names[position] for position in rows[np.argsort(columns)]]
    raise TeacherError(
        f"{trained.model} is right on {right:.1%} of the validation images, and on {best:.1%} if its outputs are "
        f"read as [{', '.join(order[:6])}{', ...' if len(order) > 6 else ''}]: its head stands in another class order; "
        "write teacher.classes, a file of class names in the order of the head"
    )


def int8_is_good_enough(recipe: Recipe, quantized: QuantizationRecord) -> None:
    """
    Args:
        recipe: its [quantize] holds the gate.
        quantized: of stage `quantize`; the drop is that on the validation images.

    Raises:
        QuantizeError: INT8 costs too much even with layers in float, and the target would execute
            it. A target that executes something else gets a warning in the report.
    """
    limit, gate = recipe.quantize.max_int8_drop_points, quantized.int8_gate
    if limit is None or gate.passed or quantized.executed != "int8":
        return
    least = min(gate.curve, key=lambda step: step.drop_points)
    raise QuantizeError(
        f"INT8 costs {least.drop_points:.2f} points of top-1 on validation images with "
        f"{least.float_layers} layers in float, quantize.max_int8_drop_points allows {limit:g}; "
        "set target.precision to fp16, raise the gate, or take another quantize.threshold"
    )
