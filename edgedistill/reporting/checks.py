"""Check a run's figures for common faults of distillation; name the command that fixes each."""

from __future__ import annotations

import math

from edgedistill.config.methods import logit_loss_row
from edgedistill.config.recipe import Recipe
from edgedistill.config.task import task_of
from edgedistill.config.training import TrainingConfig
from edgedistill.core.text import plural
from edgedistill.records.stages import StageRecords
from edgedistill.records.training import BaselineRecord, DistillRecord, TeacherRecord, TrainedNetwork
from edgedistill.reporting.class_recall import WEAK_RECALL
from edgedistill.reporting.commands import Command

MISCALIBRATED = 0.1  # expected calibration error of the teacher
FAR = 100  # teacher over student, parameters
SURE, FLAT = 0.99, 1.15  # mean top soft label: almost a hard label; almost uniform (times chance)
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
    """Return one sentence for each fault, with its commands between backticks.

    Args:
        stages: those before `report`.
        recipe: of the run.
        command: the command that made the run.
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
    """Return why a network is not fully trained, or None.

    Args:
        trained: record of a network; one that was never trained gives None.
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
    epochs = "epoch" if part == 1 else f"{part} epochs"
    return f"its validation curve still rises at the end, from {before:.1%} to {last:.1%} in the last {epochs}"


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
            more = command.with_settings(more_steps(recipe, section, steps))
            sentences.append(f"The {name} is not trained yet: after {steps} steps {why}; `{more}`.")
    return sentences


def more_steps(recipe: Recipe, section: str, steps: int) -> list[str]:
    """Return the settings that give the networks of a recipe's section twice the `steps` that they took."""
    config: TrainingConfig = getattr(recipe, section)
    told = config.steps or getattr(config, "minutes", 0)
    return [f"{section}.{setting}" for setting in (config.doubled() if told else [f"min_steps={2 * steps}"])]


def _more_of_it(teacher: TeacherRecord, recipe: Recipe, command: Command) -> str:
    what, setting = recipe.teacher.more(only_probed=teacher.mode == "probe" and teacher.tried is None)
    return f"{what}, `{command.with_settings([setting])}`"


def _about_teacher(teacher: TeacherRecord, baseline: BaselineRecord, recipe: Recipe, command: Command) -> list[str]:
    sentences, metric = [], recipe.data.metric
    ours, theirs = teacher.validation, baseline.validation
    if ours.metric(metric) <= theirs.metric(metric) and recipe.distill.method != "self":
        sentences.append(
            f"On validation images the teacher ({ours.metric(metric):.1%}) is not better than the student "
            f"trained without it ({theirs.metric(metric):.1%}): {_more_of_it(teacher, recipe, command)}, or take a "
            "bigger one."
        )
    error = ours.calibration_error or 0.0
    if error > MISCALIBRATED:
        sentences.append(
            f"The teacher is poorly calibrated (expected calibration error {error:.2f} on validation "
            "images), so its soft labels mislead; tune the temperature, "
            f"`{command.trying('distill.temperature', (1, 2, 4, 8), other_temperature(recipe.distill.temperature))}`."
        )
    weak = {
        name: recall for name, recall in ours.per_class_recall.items() if recall is not None and recall < WEAK_RECALL
    }
    if weak:
        worst = min(weak, key=weak.__getitem__)
        balance = "" if recipe.data.balance != "none" else f"`{command.setting(data__balance='loss')}`, or "
        sentences.append(
            f"The teacher recognises less than half of the images of {plural(len(weak), 'class', 'classes')} "
            f"(validation recall of {worst}: {weak[worst]:.2f}): the student cannot learn them from it; {balance}label "
            "more images of them."
        )
    return sentences


def _about_distance(teacher: TeacherRecord, student: DistillRecord, recipe: Recipe, command: Command) -> list[str]:
    ratio = teacher.parameters / student.parameters
    if ratio < FAR or recipe.distill.method != "kd":
        return []
    features = {"distill__feature_weight": 0} if recipe.distill.feature_weight else {}  # takes one teacher only
    return [
        f"The student has {ratio:.0f} times fewer parameters than the teacher: an assistant between "
        f"them may help, `{command.setting(distill__method='progressive', **features)}`."
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
            f"the soft labels are almost hard labels; "
            f"`{command.trying(key, (2 * temperature, 4 * temperature), 2 * temperature)}`."
        ]
    if top < FLAT * chance:
        return [
            f"At temperature {temperature:g} the teacher gives its first class {top:.2f} on average, "
            f"chance is {chance:.2f}: the soft labels carry little information; "
            f"`{command.trying(key, (temperature / 2, temperature / 4), temperature / 2)}`."
        ]
    return []


def other_temperature(temperature: float) -> float:
    """The one temperature to try first beside that of a run."""
    return 2.0 if temperature > 2 else 4.0


def _about_features(student: DistillRecord, recipe: Recipe, command: Command) -> list[str]:
    distill, last = recipe.distill, student.history[-1]
    if (
        not task_of(recipe).learns_outputs
        or distill.feature_weight == 0
        or "feature" not in last.terms
        or last.train_loss <= 0
    ):
        return []
    share = distill.feature_weight * last.terms["feature"] / last.train_loss
    if share < DOMINATING:
        return []
    return [
        f"Feature matching is {share:.0%} of the loss of the last epoch, which lowers the accuracy of MobileNets: "
        f"`{command.setting(distill__feature_weight=distill.feature_weight / 10)}`."
    ]


def _about_overfitting(student: DistillRecord, recipe: Recipe, command: Command) -> list[str]:
    if recipe.distill.keep == "best" or not student.history:  # the weights are from the best epoch
        return []
    curve = [epoch_figures.metric(recipe.data.metric) for epoch_figures in student.history]
    best = max(curve)
    if best - curve[-1] < FALLEN:
        return []
    epoch, views = curve.index(best) + 1, 2 * recipe.distill.views
    return [
        f"On validation images the student fell from {best:.1%} (epoch {epoch}) to {curve[-1]:.1%}: "
        f"overfitting or noise; use more views, `{command.setting(distill__views=views)}`, or the weights of the best "
        f"epoch, `{command.setting(distill__keep='best')}`."
    ]
