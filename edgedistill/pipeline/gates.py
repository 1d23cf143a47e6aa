"""Minimum requirements of an artifact before later stages use it.

Apart from the stages, so that a gate can be changed without making the artifact again, and is checked
again of an artifact that is up to date.
"""

from __future__ import annotations

import difflib
from typing import TYPE_CHECKING, Any

from edgedistill.core.text import beside_limit, limit_text, plural
from edgedistill.errors import DataError, QuantizeError, RecipeError, StudentError, TeacherError

if TYPE_CHECKING:
    from edgedistill.config.recipe import Recipe
    from edgedistill.records.data import DataRecord
    from edgedistill.records.outputs import OutputEvaluationRecord
    from edgedistill.records.quantization import QuantizationRecord
    from edgedistill.records.training import TeacherRecord

OTHER_ORDER = 0.2  # share of validation images that another class order would make right


def recipe_suits_the_classes(recipe: Recipe, data: DataRecord) -> None:
    """
    Args:
        data: of stage `data`.

    Raises:
        RecipeError: as of `promised_classes_exist`, or `distill.loss` says nothing about so many classes.
        DataError: as of `embeddings_can_be_measured`.
    """
    from edgedistill.config.methods import logit_loss_row
    from edgedistill.config.task import task_of

    promised_classes_exist(recipe, data)
    task, distill = task_of(recipe), recipe.distill
    least = 3 if distill.standardise else logit_loss_row(distill.loss).min_classes
    if task.learns_outputs and not task.vectors and len(data.classes) < least:
        from edgedistill.distillation.objectives import refuse_loss_without_information  # which imports PyTorch

        refuse_loss_without_information(distill, len(data.classes))
    if task.enrols:
        embeddings_can_be_measured(data)


def embeddings_can_be_measured(data: DataRecord) -> None:
    """
    Args:
        data: of stage `data`; exact copies are not counted in its validation and test images.

    Raises:
        DataError: no class has two images in the validation images, or in the test images, so that the nearest other
            image is never of the same class: recall at 1 would be 0 on validation images and undefined on test images.
    """
    for split, name in (("val", "validation"), ("test", "test")):
        counts = data.counts[split]
        if max(counts.values()) < 2:
            raise DataError(
                f"student.output = 'embedding' is measured by the nearest other {name} image of the same class, which "
                f"needs at least 2 {name} images of a class; each of {plural(len(counts), 'class', 'classes')} has at "
                f"most {max(counts.values())}: add images, or raise data.{split}_fraction where this split is made "
                "from data.train"
            )


def promised_classes_exist(recipe: Recipe, data: DataRecord) -> None:
    """
    Args:
        recipe: its [decide] names classes.
        data: of stage `data`.

    Raises:
        RecipeError: one of them is no class, no class is left for images that reach no threshold, or a class has the
            name of the answer `unknown`.
    """
    from edgedistill.config.task import task_of

    promises, classes = recipe.decide.promises, data.classes
    key = "recall" if recipe.decide.recall else "precision"
    if recipe.decide.unknown_coverage is not None and "unknown" in classes:
        raise RecipeError(
            "decide.unknown_coverage answers 'unknown', which is the name of a class too; rename the class"
        )
    for name in promises:
        if name not in classes:
            near = difflib.get_close_matches(name, classes, n=1)
            meant = f"did you mean {near[0]!r}? " if near else ""
            shown = ", ".join(classes[:12]) + (", ..." if len(classes) > 12 else "")
            raise RecipeError(f"decide.{key} names {name!r}, which is no class; {meant}classes: {shown}")
    if len(promises) == len(classes) and not task_of(recipe).multiple:
        raise RecipeError(
            f"decide.{key} names every class; leave one out, which is answered where no threshold is reached"
        )


def teacher_is_good_enough(recipe: Recipe, trained: TeacherRecord) -> None:
    """
    Args:
        recipe: its [teacher] holds the minima.
        trained: of stage `teacher`, with figures on the validation images.

    Raises:
        TeacherError: a value is below its minimum, or the head stands in another class order; a student
            of this teacher would learn errors.
    """
    from edgedistill.config.task import task_of

    if task_of(recipe).vectors:
        return
    if trained.epochs == 0 and trained.probe is None:
        _refuse_another_order(trained)
    teacher, validation = recipe.teacher, trained.validation
    for metric in ("top1_fraction", "balanced_accuracy_fraction"):
        value, minimum = validation.metric(metric), getattr(teacher, f"min_{metric}")
        if value < minimum:
            recalls = {k: v for k, v in validation.per_class_recall.items() if v is not None}
            weakest = min(recalls, key=recalls.__getitem__)
            raise TeacherError(
                f"{teacher.model} reached {metric} {beside_limit(value, minimum, False, 3)} on {validation.images} "
                f"validation images, teacher.min_{metric} asks for {limit_text(minimum, 3)} (weakest class: {weakest}, "
                f"recall {recalls[weakest]:.2f}); {better_teacher(trained, recipe)}, take a bigger teacher, "
                "or lower the gate"
            )


def better_teacher(trained: TeacherRecord, recipe: Recipe) -> str:
    """What to try first for more of this network."""
    from edgedistill.config.values import IMAGENET_PX, size_setting

    teacher, sides = recipe.first_teacher, recipe.data.size
    what, setting = teacher.more(only_probed=trained.mode == "probe" and trained.tried is None)
    first = f"{what} (--set {setting})"
    if teacher.image_px is not None or teacher.weights == "scratch" or 2 * max(sides) > IMAGENET_PX:
        return first
    setting = size_setting("teacher.image_px", (2 * sides[0], 2 * sides[1]))
    return f"{first}, let it see the images enlarged (--set {setting})"


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


def student_beats_chance(recipe: Recipe, evaluated: Any) -> None:
    """
    Args:
        recipe: its deploy.allow_below_chance lets any student through.
        evaluated: of stage `evaluate`, on the test images. Of an embedding, which is not bundled, nothing is asked.

    Raises:
        StudentError: always naming the largest class is as good in the recipe's metric.
    """
    from edgedistill.config.task import task_of

    metric, task = recipe.data.metric, task_of(recipe)
    if recipe.deploy.allow_below_chance or not task.deploys:
        return
    if task.vectors:
        (_beats_the_frequencies if task.multiple else _beats_the_mean)(recipe, evaluated)
        return
    student, chance = evaluated.student, evaluated.chance
    if chance.reaches(student, metric):
        raise StudentError(
            f"the student is not usable: it reached {metric} {student.metric(metric):.3f} on {evaluated.images} test "
            f"images, always naming the largest class, {chance.majority_class!r}, gives {chance.metric(metric):.3f}; "
            f"{_mend(recipe)}"
        )


def _beats_the_mean(recipe: Recipe, evaluated: OutputEvaluationRecord) -> None:
    """
    Raises:
        StudentError: always answering the mean of the training images is as good.
    """
    student, constant, r2 = evaluated.student, evaluated.constant, evaluated.student.metric("r2")
    if evaluated.over_constant.points > 0 and r2 > 0:
        return
    raise StudentError(
        f"the student is not usable: on {evaluated.images} test images its R2 is {r2:.3f} and its mean absolute error "
        f"{student.metric('mae'):.3f} standard deviations, always answering the training mean gives "
        f"{constant.metric('mae'):.3f}; {_mend(recipe)}"
    )


def _beats_the_frequencies(recipe: Recipe, evaluated: OutputEvaluationRecord) -> None:
    """
    Raises:
        StudentError: always answering the labels' frequencies is as good.
    """
    if evaluated.over_constant.points > 0:
        return
    raise StudentError(
        f"the student is not usable: on {evaluated.images} test images its mean average precision is "
        f"{evaluated.student.metric('map'):.3f}, always answering the labels' frequencies gives "
        f"{evaluated.constant.metric('map'):.3f}; {_mend(recipe)}"
    )


def _mend(recipe: Recipe) -> str:
    return (
        f"it is not bundled; train it longer (--set distill.epochs={max(1, 2 * recipe.distill.epochs)}), take a better "
        "teacher or more images, or have bundle and report all the same (--set deploy.allow_below_chance=true)"
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
    from edgedistill.config.task import task_of

    limit, gate = recipe.quantize.max_int8_drop_points, quantized.int8_gate
    if limit is None or gate.passed or quantized.executed != "int8":
        return
    lost, qad = gate.deciding_step(quantized.qad), quantized.qad
    retrained = "after quantization-aware distillation, " if qad is not None and qad.kept else ""
    raise QuantizeError(
        f"INT8 costs {beside_limit(lost.drop_points, limit, False, 2)} {task_of(recipe).points} on validation images "
        f"{retrained}with {plural(lost.float_layers, 'layer')} in float, quantize.max_int8_drop_points allows "
        f"{limit_text(limit)}; "
        "set target.precision to fp16, raise the gate, or take another quantize.threshold"
    )
