"""What textbooks only warn about, found in a run's figures, each with the command that mends it."""

from __future__ import annotations

from typing import Any

from edgedistill.config import Recipe

MISCALIBRATED = 0.1  # expected calibration error of the teacher
WEAK_RECALL = 0.5  # of the teacher on one class
FAR = 100  # teacher over student, parameters
SURE, FLAT = 0.99, 1.15  # top soft label: as good as a hard label; times chance: says nothing
DOMINATING = 0.5  # share of the feature term in the loss of the last epoch
FALLEN = 0.05  # validation metric below its own best
RUN = "edgedistill run RECIPE.toml --set"


def guards_of(stages: dict[str, dict[str, Any]], recipe: Recipe) -> list[str]:
    """One sentence for each fault.

    Args:
        stages: stage name -> its JSON, those before `report`.
        recipe: of the run.
    """
    teacher, student = stages["teacher"], stages["distill"]
    return [
        *_about_teacher(teacher, stages["baseline"], recipe),
        *_about_distance(teacher, student, recipe),
        *_about_temperature(student, recipe),
        *_about_features(student, recipe),
        *_about_overfitting(student, recipe),
    ]


def _about_teacher(teacher: dict, baseline: dict, recipe: Recipe) -> list[str]:
    found, metric = [], recipe.data.metric
    ours, theirs = teacher["validation"], baseline["validation"]
    if ours[metric] <= theirs[metric] and recipe.distill.method != "self":
        found.append(
            f"On validation images the teacher ({ours[metric]:.1%}) is not better than the student "
            f"trained without it ({theirs[metric]:.1%}): train it longer, {RUN} teacher.epochs="
            f"{2 * max(1, teacher['epochs'])}, or take a bigger one."
        )
    error = ours.get("calibration_error", 0.0)
    if error > MISCALIBRATED:
        found.append(
            f"The teacher is poorly calibrated (expected calibration error {error:.2f} on validation "
            f"images): its soft labels mislead; tune the temperature, edgedistill sweep RECIPE.toml "
            "--over distill.temperature=1,2,4,8."
        )
    weak = {name: recall for name, recall in ours["per_class_recall"].items()
            if recall is not None and recall < WEAK_RECALL}  # fmt: skip
    if weak:
        worst = min(weak, key=weak.__getitem__)
        found.append(
            f"The teacher finds fewer than half of {len(weak)} class(es) (validation recall of "
            f"{worst}: {weak[worst]:.2f}): the student cannot learn them from it; {RUN} "
            "data.balance=loss, or label more of them."
        )
    return found


def _about_distance(teacher: dict, student: dict, recipe: Recipe) -> list[str]:
    ratio = teacher["parameters"] / student["parameters"]
    if ratio < FAR or recipe.distill.method == "progressive":
        return []
    return [
        f"The student has {ratio:.0f} times fewer parameters than the teacher: an assistant between "
        f"them may help, {RUN} distill.method=progressive."
    ]


def _about_temperature(student: dict, recipe: Recipe) -> list[str]:
    top = student.get("teacher_top_probability")
    if top is None or recipe.distill.loss == "mse":
        return []
    chance = 1 / len(student["validation"]["per_class_recall"])
    temperature = recipe.distill.temperature
    advice = "edgedistill sweep RECIPE.toml --over distill.temperature="
    if top > SURE:
        return [
            f"At temperature {temperature:g} the teacher gives its first class {top:.3f} on average: "
            f"soft labels as hard as the labels; {advice}{2 * temperature:g},{4 * temperature:g}."
        ]
    if top < FLAT * chance:
        return [
            f"At temperature {temperature:g} the teacher gives its first class {top:.2f} on average, "
            f"chance is {chance:.2f}: the soft labels say little; "
            f"{advice}{temperature / 4:g},{temperature / 2:g}."
        ]
    return []


def _about_features(student: dict, recipe: Recipe) -> list[str]:
    distill, last = recipe.distill, student["history"][-1]
    if distill.feature_weight == 0 or "feature" not in last["terms"] or last["train_loss"] <= 0:
        return []
    share = distill.feature_weight * last["terms"]["feature"] / last["train_loss"]
    if share < DOMINATING:
        return []
    return [
        f"Feature matching makes {share:.0%} of the loss of the last epoch; that hurts MobileNets: "
        f"{RUN} distill.feature_weight={distill.feature_weight / 10:g}."
    ]


def _about_overfitting(student: dict, recipe: Recipe) -> list[str]:
    key = f"eval_{recipe.data.metric}"
    curve = [row[key] for row in student["history"]]
    best = max(curve)
    if best - curve[-1] < FALLEN:
        return []
    epoch = curve.index(best) + 1
    return [
        f"On validation images the student fell from {best:.1%} (epoch {epoch}) to {curve[-1]:.1%}: "
        f"overfitting or noise; {RUN} distill.views={2 * recipe.distill.views}, or fewer epochs, "
        f"{RUN} distill.epochs={epoch}."
    ]
