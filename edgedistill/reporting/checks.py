"""What textbooks only warn about, found in a run's figures, each with the command that mends it."""

from __future__ import annotations

import math

from edgedistill.config.methods import logit_loss_row
from edgedistill.config.recipe import Recipe
from edgedistill.records.stages import StageRecords
from edgedistill.records.training import BaselineRecord, DistillRecord, TeacherRecord, TrainedNetwork
from edgedistill.reporting.commands import Command

MISCALIBRATED = 0.1  # expected calibration error of the teacher
WEAK_RECALL = 0.5  # of the teacher on one class
FAR = 100  # teacher over student, parameters
SURE, FLAT = 0.99, 1.15  # top soft label: as good as a hard label; times chance: says nothing
DOMINATING = 0.5  # share of the feature term in the loss of the last epoch
FALLEN = 0.05  # validation metric below its own best
RISING = 0.03  # validation metric of the last fifth of the epochs above the fifth before it
GUESSING = 0.95  # validation loss over ln(classes), with an accuracy near chance
SECTIONS = {"teacher": "teacher", "baseline": "distill", "student": "distill"}  # of the recipe, with the schedule


def guards_of(
    stages: StageRecords,
    recipe: Recipe,
    command: Command = Command(),  # noqa: B008 - frozen
) -> list[str]:
    """One sentence for each fault.

    Args:
        stages: those before `report`.
        recipe: of the run.
        command: that made the run.
    """
    teacher, student = stages.teacher, stages.distill
    return [
        *_about_steps(stages, recipe, command),
        *_about_teacher(teacher, stages.baseline, recipe, command),
        *_about_distance(teacher, student, recipe, command),
        *_about_temperature(student, recipe, command),
        *_about_features(student, recipe, command),
        *_about_overfitting(student, recipe, command),
    ]


def why_untrained(trained: TrainedNetwork, metric: str) -> str | None:
    """Why a network is not trained to its end yet, or None.

    Args:
        trained: a network; one without a training is as it is.
        metric: of the recipe.
    """
    history, validation = trained.history, trained.validation
    if not history:
        return None
    classes = len(validation.per_class_recall)
    loss, chance = history[-1].eval_loss, 1 / max(2, classes)
    near_chance = validation.balanced_accuracy_fraction < chance + 0.1 * (1 - chance)
    if loss is not None and near_chance and loss >= GUESSING * math.log(max(2, classes)):
        return f"its validation loss is {loss:.2f}, that of a guess is {math.log(classes):.2f}"
    curve, part = [epoch.metric(metric) for epoch in history], max(1, len(history) // 5)
    if len(curve) < 2:
        return None
    last, before = sum(curve[-part:]) / part, sum(curve[-2 * part : -part]) / part
    noise = 2 * math.sqrt(2 * last * (1 - last) / (part * validation.images))
    if last - before < max(RISING, noise):
        return None
    return f"its validation curve still rises at the end, from {before:.1%} to {last:.1%} in the last {part} epoch(s)"


def _about_steps(stages: StageRecords, recipe: Recipe, command: Command) -> list[str]:
    sentences = []
    networks: dict[str, TrainedNetwork] = {
        "teacher": stages.teacher,
        "baseline": stages.baseline,
        "student": stages.distill,
    }
    for name, trained in networks.items():
        why, steps, section = why_untrained(trained, recipe.data.metric), trained.steps, SECTIONS[name]
        if why is not None and steps:
            more = command.with_settings([f"{section}.min_steps={2 * steps}"])
            sentences.append(f"The {name} is not trained yet: after {steps} steps {why}; {more}.")
    return sentences


def _more_of_it(teacher: TeacherRecord, command: Command) -> str:
    if teacher.mode == "probe" and teacher.tried is None:
        return f"fine-tune it too, {command.setting(teacher__mode='auto')}"
    return f"train it longer, {command.setting(teacher__epochs=2 * max(1, teacher.epochs))}"


def _about_teacher(teacher: TeacherRecord, baseline: BaselineRecord, recipe: Recipe, command: Command) -> list[str]:
    sentences, metric = [], recipe.data.metric
    ours, theirs = teacher.validation, baseline.validation
    if ours.metric(metric) <= theirs.metric(metric) and recipe.distill.method != "self":
        sentences.append(
            f"On validation images the teacher ({ours.metric(metric):.1%}) is not better than the student "
            f"trained without it ({theirs.metric(metric):.1%}): {_more_of_it(teacher, command)}, or take a bigger one."
        )
    error = ours.calibration_error or 0.0
    if error > MISCALIBRATED:
        sentences.append(
            f"The teacher is poorly calibrated (expected calibration error {error:.2f} on validation "
            f"images): its soft labels mislead; tune the temperature, "
            f"{command.trying('distill.temperature', (1, 2, 4, 8))}."
        )
    weak = {
        name: recall for name, recall in ours.per_class_recall.items() if recall is not None and recall < WEAK_RECALL
    }
    if weak:
        worst = min(weak, key=weak.__getitem__)
        balance = "" if recipe.data.balance != "none" else f"{command.setting(data__balance='loss')}, or "
        sentences.append(
            f"The teacher finds fewer than half of {len(weak)} class(es) (validation recall of "
            f"{worst}: {weak[worst]:.2f}): the student cannot learn them from it; {balance}label more of them."
        )
    return sentences


def _about_distance(teacher: TeacherRecord, student: DistillRecord, recipe: Recipe, command: Command) -> list[str]:
    ratio = teacher.parameters / student.parameters
    if ratio < FAR or recipe.distill.method != "kd":
        return []
    features = {"distill__feature_weight": 0} if recipe.distill.feature_weight else {}  # of one teacher only
    return [
        f"The student has {ratio:.0f} times fewer parameters than the teacher: an assistant between "
        f"them may help, {command.setting(distill__method='progressive', **features)}."
    ]


def _about_temperature(student: DistillRecord, recipe: Recipe, command: Command) -> list[str]:
    top = student.teacher_top_probability
    if top is None or not logit_loss_row(recipe.distill.loss).has_temperature:
        return []
    chance = 1 / len(student.validation.per_class_recall)
    temperature = recipe.distill.temperature
    key = "distill.temperature"
    if top > SURE:
        return [
            f"At temperature {temperature:g} the teacher gives its first class {top:.3f} on average: "
            f"soft labels as hard as the labels; "
            f"{command.trying(key, (2 * temperature, 4 * temperature))}."
        ]
    if top < FLAT * chance:
        return [
            f"At temperature {temperature:g} the teacher gives its first class {top:.2f} on average, "
            f"chance is {chance:.2f}: the soft labels say little; "
            f"{command.trying(key, (temperature / 2, temperature / 4))}."
        ]
    return []


def _about_features(student: DistillRecord, recipe: Recipe, command: Command) -> list[str]:
    distill, last = recipe.distill, student.history[-1]
    if distill.feature_weight == 0 or "feature" not in last.terms or last.train_loss <= 0:
        return []
    share = distill.feature_weight * last.terms["feature"] / last.train_loss
    if share < DOMINATING:
        return []
    return [
        f"Feature matching makes {share:.0%} of the loss of the last epoch; that hurts MobileNets: "
        f"{command.setting(distill__feature_weight=distill.feature_weight / 10)}."
    ]


def _about_overfitting(student: DistillRecord, recipe: Recipe, command: Command) -> list[str]:
    if recipe.distill.keep == "best" or not student.history:  # the weights are those from before it fell
        return []
    curve = [epoch_figures.metric(recipe.data.metric) for epoch_figures in student.history]
    best = max(curve)
    if best - curve[-1] < FALLEN:
        return []
    epoch, views = curve.index(best) + 1, 2 * recipe.distill.views
    return [
        f"On validation images the student fell from {best:.1%} (epoch {epoch}) to {curve[-1]:.1%}: "
        f"overfitting or noise; more views, {command.setting(distill__views=views)}, or the weights of the best "
        f"epoch, {command.setting(distill__keep='best')}."
    ]
