"""From the stages' records to report.json: every figure with where it comes from."""

from __future__ import annotations

from pathlib import Path

from edgedistill.config.recipe import Recipe
from edgedistill.records.evaluation import NetworkFigures
from edgedistill.records.export import ExportedNetwork
from edgedistill.records.provenance import Kind, Provenance
from edgedistill.records.report import (
    VERSION,
    Disagreement,
    ReportFigures,
    ReportNetwork,
    ReportRecord,
    SynthesisedImages,
    Taught,
)
from edgedistill.records.report_speed import Predicted, ReportDevice, Swept
from edgedistill.records.stages import StageRecords
from edgedistill.records.training import TrainedNetwork
from edgedistill.reporting.advice import advice_of, warnings_of
from edgedistill.reporting.checks import guards_of
from edgedistill.reporting.commands import Command
from edgedistill.reporting.devices import devices_of, published_of, speedup_of, target_of
from edgedistill.reporting.gain import gain_of
from edgedistill.reporting.provenance import provenance_of
from edgedistill.reporting.running_cost import running_cost_of
from edgedistill.reporting.verdict import absent_of, verdict_of

_TEST = Provenance(Kind.MEASURED, "PyTorch on this computer, test images")
# What is taken over as it is: of the student's export, of stage `data`.
_PROOF = ("max_abs_difference", "max_relative_difference", "top1_agreement_fraction", "opset", "ir")
_DATA = (
    "classes",
    "images",
    "counts",
    "majority_fraction",
    "exact_duplicates",
    "near_duplicate_groups",
    "images_in_groups",
    "leak_count",
    "leaks",
    "unreadable_count",
)
_DATA_IF_GIVEN = ("groups", "copies_left_out", "torn_groups")


def report_from_stages(
    stages: StageRecords,
    recipe: Recipe,
    disagreements: list[Disagreement] | None = None,
    predicted: Predicted | None = None,
    swept: Swept | None = None,
    command: Command = Command(),  # noqa: B008 - frozen
) -> ReportRecord:
    """Gather and compare.

    Args:
        stages: all stages before `report`.
        recipe: of the run.
        disagreements: of `disagreements.disagreement`, a pair of networks each.
        predicted: of `devices.predicted_of`.
        swept: of `swept.swept_of`.
        command: that made the run.

    Returns:
        `devices` is what was timed, boards first, `device` the first of them, `target` what it is for. A figure that is
        not known is None, with a `reason` beside it or a row in `absent`.
    """
    metric = recipe.data.metric
    evaluated, exported, quantized, deployed = stages.evaluate, stages.export, stages.quantize, stages.deploy
    nets = {
        "teacher": _net(stages.teacher, evaluated.teacher, exported.teacher),
        "baseline": _net(stages.baseline, evaluated.baseline, exported.student),
        "student": _net(stages.distill, evaluated.student, exported.student),
    }
    teacher, student, gain = nets["teacher"], nets["student"], gain_of(evaluated, metric)
    student_score, teacher_score = student.metric(metric), teacher.metric(metric)
    devices = devices_of(deployed, quantized, recipe)
    values = {
        "version": VERSION,
        **nets,
        "metric": metric,
        "test_images": evaluated.images,
        "chance": evaluated.chance,
        "retention_fraction": student_score / teacher_score if teacher_score else None,
        "gain_over_baseline_points": gain.points,
        "gain": gain,
        "method": recipe.distill.method,
        "links": evaluated.links,
        "disagreements": disagreements or [],
        "taught": _taught(stages),
        "teacher_agreement_fraction": evaluated.teacher_agreement_fraction,
        "size_ratio": teacher.file_bytes / student.file_bytes,
        "macs_ratio": teacher.macs / student.macs,
        "speedup": speedup_of(deployed),
        "accuracy_ladder": quantized.ladder,
        "int8_gate": quantized.int8_gate,
        "qad": quantized.qad,
        "fp16_findings": quantized.fp16_findings,
        "target": target_of(quantized, recipe),
        "devices": devices,
        "device": _without_samples(devices[0]) if devices else None,
        "published": published_of(recipe, quantized.executed),
        "predicted": predicted,
        "swept": swept,
        "preflight": exported.preflight,
        "proof": {key: getattr(exported.student, key) for key in _PROOF},
        "histories": {name: trained.history for name, trained in _trained(stages)},
        "data": {key: getattr(stages.data, key) for key in _DATA}
        | {key: getattr(stages.data, key) for key in _DATA_IF_GIVEN if key in stages.data.model_fields_set},
        "cost": {"unit": "seconds", **{name: stamp.seconds for name, stamp in stages.stamps().items()}},
        "running_cost": running_cost_of(recipe.cost, devices),
        "provenance": provenance_of(stages, recipe),
    }
    return _judged(ReportFigures.from_json(values, "the figures of the report"), stages, recipe, command)


def _judged(figures: ReportFigures, stages: StageRecords, recipe: Recipe, command: Command) -> ReportRecord:
    """With what follows from the figures."""
    gates = {name: getattr(recipe.teacher, f"min_{name}") for name in ("top1_fraction", "balanced_accuracy_fraction")}
    return ReportRecord(
        **figures.given(),
        verdict=verdict_of(figures, stages.teacher, gates),
        absent=absent_of(figures),
        warnings=[*warnings_of(figures), *guards_of(stages, recipe, command)],
        advice=advice_of(figures, recipe, stages.distill, command),
    )


def _net(trained: TrainedNetwork, evaluated: NetworkFigures, exported: ExportedNetwork) -> ReportNetwork:
    """`exported` of the baseline is the student's: it is the same network with other weights."""
    keys = ("top1_fraction", "top1_interval", "balanced_accuracy_fraction", "per_class_recall", "confusion")
    return ReportNetwork(
        model=trained.model,
        weights=Path(trained.weights).name,  # a path would tell of this computer
        **{key: getattr(evaluated, key) for key in keys},
        parameters=trained.parameters,
        macs=exported.macs,
        file_bytes=exported.file_bytes,
        provenance=_TEST,
    )


def _without_samples(device: ReportDevice) -> ReportDevice:
    """They stand once, in `devices`."""
    left_out = ("samples_ms", "samples_start_s", "trace")
    return ReportDevice(**{key: value for key, value in device.given().items() if key not in left_out})


def _trained(stages: StageRecords) -> tuple[tuple[str, TrainedNetwork], ...]:
    """The three networks of a report and their trainings."""
    return (("teacher", stages.teacher), ("baseline", stages.baseline), ("student", stages.distill))


def _best_epochs(stages: StageRecords) -> dict[str, list[int]] | None:
    """Network -> the epoch whose weights it has, and of how many; None where the last one's are kept."""
    best = {name: [trained.best.epoch, trained.epochs] for name, trained in _trained(stages) if trained.best}
    return best or None


def _taught(stages: StageRecords) -> Taught:
    """On how many images student and baseline were trained, and where the student's came from."""
    made = stages.synthesise
    return Taught(
        student_images=stages.distill.training_images,
        baseline_images=stages.baseline.training_images,
        pool_images=stages.data.pool_images,
        class_weights=stages.distill.class_weights,
        best_epochs=_best_epochs(stages),
        synthesised=None
        if made is None
        else SynthesisedImages(images=made.images, wanted_fraction=made.wanted_fraction),
    )
