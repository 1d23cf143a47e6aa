"""Collect warnings about a report's figures, and advice on what to try next."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from edgedistill.config.loading import apply_override, recipe_from_table
from edgedistill.config.methods import logit_loss_row
from edgedistill.config.recipe import Recipe
from edgedistill.core.text import beside_limit, limit_text, plural
from edgedistill.errors import RecipeError
from edgedistill.models.families import ADVISED
from edgedistill.prediction.choose import accuracies
from edgedistill.records.report import Advice, ReportFigures
from edgedistill.records.training import DistillRecord
from edgedistill.reporting.checks import more_steps, other_temperature, why_untrained
from edgedistill.reporting.commands import Command
from edgedistill.reporting.devices import is_stand_in, spot_of
from edgedistill.reporting.findings import image_warnings, rare_warnings
from edgedistill.reporting.formats import percent
from edgedistill.training.schedule import STUDENT_STEPS

WELL_RETAINED = 0.9  # student over teacher; below it the report advises


def warnings_of(report: ReportFigures) -> list[str]:
    """Return one sentence for each reason to doubt a figure."""
    data = report.data
    warnings = [
        *image_warnings(data, report.test_images),
        *rare_warnings(data.counts["test"], "Recall", "class", "classes"),
        *_about_networks(report),
    ]
    target, device = report.target, report.device
    if target.reason:
        warnings.append(f"{target.reason}.")
    if device is None:
        warnings.append("Nothing was timed: deploy.hosts is empty.")
    elif is_stand_in(device):
        warnings.append(f"Speed and memory were not measured on a board ({device.provenance}).")
    several = len(report.devices) > 1
    for host in report.devices:
        where = f" ({spot_of(host)})" if several else ""
        warnings += [f"{line[0].upper()}{line[1:]}{where}." for line in host.warnings]
    warnings += _about_precision(report)
    preflight = report.preflight
    if preflight.findings:
        first = preflight.findings[0]
        warnings.append(
            f"{plural(len(preflight.findings), 'pre-flight finding')} for TensorRT "
            f"{preflight.tensorrt}, first {first.node}: {first.why}; {first.mend}."
        )
    return warnings


def _about_precision(report: ReportFigures) -> list[str]:
    gate, fp16, warnings = report.int8_gate, report.accuracy_ladder["fp16"], []
    most = gate.max_drop_points
    if most is not None and gate.passed is False:
        lost = gate.deciding_step(report.qad)
        retrained = report.qad is not None and report.qad.kept
        tried = "quantization-aware distillation" if retrained else "leaving layers in float"
        loses = f"{beside_limit(lost.drop_points, most, False, 2)} points of {lost.figure_name}"
        warnings.append(
            f"INT8 misses the gate: it loses {loses} on validation images, {limit_text(most)} are allowed; "
            f"{tried} did not close the gap."
        )
    if not fp16.finite:
        warnings.append("The FP16 model gives NaN or infinity.")
    for finding in report.fp16_findings[:1]:
        warnings.append(
            f"{plural(len(report.fp16_findings), 'FP16 range finding')}, first {finding.layer}: {finding.why}; "
            f"{finding.mend}."
        )
    return warnings


def _about_networks(report: ReportFigures) -> list[str]:
    chance, metric, warnings = report.chance, report.metric, []
    for name in ("teacher", "student"):
        if chance.reaches(report.network(name), metric):
            warnings.append(
                f"The {name} is no better than always predicting {chance.majority_class!r} "
                f"({percent(chance.metric(metric))})."
            )
    if report.teacher.metric(metric) < report.baseline.metric(metric):
        warnings.append("The teacher is worse than the student trained without it and can teach it little.")
    return warnings


def advice_of(
    report: ReportFigures,
    recipe: Recipe,
    trained: DistillRecord,
    command: Command = Command(),  # noqa: B008 - frozen
) -> list[Advice]:
    """Return what to try when the student retains less than WELL_RETAINED of the teacher, best first.

    Advice that the recipe already follows, or that makes it invalid, is left out.

    Args:
        trained: the record of the student's training.
    """
    retained = report.retention_fraction
    if retained is not None and retained >= WELL_RETAINED:
        return []
    return [
        Advice(idea=what, command=command.with_settings(settings))
        for what, *settings in _ideas(recipe, trained)
        if _changes(recipe, settings)
    ]


def _ideas(recipe: Recipe, trained: DistillRecord) -> Iterator[tuple[str, ...]]:
    """Yield a sentence with its settings for each idea, best first."""
    distill = recipe.distill
    steps = trained.steps
    if recipe.student.weights == "scratch":
        yield (
            "Pretrained weights for the student, from the hub or a file: this student started from random weights",
            "student.weights=hub",
        )
    if steps and (steps < STUDENT_STEPS or why_untrained(trained, recipe.data.metric) is not None):
        yield f"More steps: it was trained for {steps}", *more_steps(recipe, "distill", steps)
    bigger = _bigger_student(recipe.student.model)
    if bigger:
        yield "A bigger student", f"student.model={bigger}"
    if logit_loss_row(distill.loss).has_temperature:
        temperature = other_temperature(distill.temperature)
        yield f"Another temperature (it was {distill.temperature:g})", f"distill.temperature={temperature:g}"
    if distill.feature_weight == 0:
        yield "Feature matching", "distill.feature_weight=0.1"
    if not recipe.data.has_pool and distill.method != "data_free":
        yield "More teacher-labelled data: images without labels", "data.unlabelled=DIR"
    else:
        yield (
            "More teacher-labelled data: more views of each image",
            f"distill.views={2 * distill.views}",
            *(f"distill.{setting}" for setting in distill.doubled()),
        )
    if distill.method != "progressive":
        yield ("An assistant between teacher and student", "distill.method=progressive", "distill.feature_weight=0")


def _changes(recipe: Recipe, settings: Iterable[str]) -> bool:
    """Return whether the recipe stays valid with these settings and differs from before."""
    table = recipe.model_dump(mode="json")
    for setting in settings:
        apply_override(table, setting)
    try:
        return recipe_from_table(table, source="advice") != Recipe.model_validate(recipe.model_dump(mode="json"))
    except RecipeError:
        return False


def _bigger_student(model: str) -> str | None:
    """Return the next advised student by reference accuracy; the second best for a network that is not advised."""
    reference = accuracies()
    ladder = sorted(ADVISED, key=lambda name: reference[name].top1_percent)
    name = model.partition(".")[0]
    if name not in ladder:
        return ladder[-2]
    following = ladder[ladder.index(name) + 1 :]
    return following[0] if following else None
