"""Assemble report.json from the records of the stages, each figure with its provenance."""

from __future__ import annotations

from pathlib import Path, PurePath
from typing import Any

from edgedistill.config.recipe import Recipe
from edgedistill.evaluation.intervals import metric_interval
from edgedistill.records.decision import DecisionRecord
from edgedistill.records.evaluation import EmbeddingEvaluationRecord, NetworkFigures
from edgedistill.records.export import ExportedNetwork
from edgedistill.records.gallery import GalleryFigures, GalleryRecord
from edgedistill.records.look_closer import LookCloser
from edgedistill.records.pool_curve import PoolCurve
from edgedistill.records.provenance import Kind, Provenance
from edgedistill.records.quantization import QuantizationRecord
from edgedistill.records.report import (
    VERSION,
    Disagreement,
    NearestReport,
    PlannedSteps,
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
from edgedistill.reporting.class_recall import class_warnings
from edgedistill.reporting.commands import Command
from edgedistill.reporting.devices import devices_of, int8_of, published_of, speedup_of, target_of
from edgedistill.reporting.gain import gain_of
from edgedistill.reporting.provenance import provenance_of
from edgedistill.reporting.running_cost import running_cost_of
from edgedistill.reporting.status import status_of
from edgedistill.reporting.verdict import absent_of, verdict_of

_TEST = Provenance(Kind.MEASURED, "PyTorch on this computer, test images")
# Keys that are copied unchanged from the student's export and from the stages `quantize` and `data`.
_PROOF = ("max_abs_difference", "max_relative_difference", "top1_agreement_fraction", "opset", "ir")
_QUANTIZED = ("int8_gate", "ptq", "fp16_findings")
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
_DATA_IF_GIVEN = ("test_sha256", "quantities", "labels_per_image", "groups", "copies_left_out", "torn_groups")


def report_from_stages(
    stages: StageRecords,
    recipe: Recipe,
    disagreements: list[Disagreement] | None = None,
    predicted: Predicted | None = None,
    swept: Swept | None = None,
    command: Command = Command(),  # noqa: B008 - frozen
    run: str = "",
    look_closer: LookCloser | None = None,
) -> ReportRecord:
    """Gather the figures of the stages and compare the networks.

    Args:
        stages: all stages before `report`.
        recipe, run: of the run, and the name of its folder.
        disagreements: results of `disagreements.disagreement`, one for each pair of networks.
        predicted, swept: of `devices.predicted_of` and `swept.swept_of`.
        command: the command that made the run.
        look_closer: of `look_closer.with_heat`.

    Returns:
        `devices` are the timed hosts, boards first; `device` is the first of them, `target` the board of the recipe.
        An unknown figure is None, with a `reason` beside it or a row in `absent`.
    """
    metric = recipe.data.metric
    evaluated, exported, quantized = stages.evaluate, stages.export, stages.quantize
    nets = {
        "teacher": _net(stages.teacher, evaluated.teacher, exported.teacher),
        "baseline": _net(stages.baseline, evaluated.baseline, exported.student),
        "student": _net(stages.distill, evaluated.student, exported.student),
    }
    student, gain = nets["student"], gain_of(evaluated, metric)
    student_score, teacher_score = student.metric(metric), nets["teacher"].metric(metric)
    values = {
        "version": VERSION,
        **nets,
        "metric": metric,
        "test_images": evaluated.images,
        "chance": evaluated.chance,
        "student_interval": list(metric_interval(student, metric)),
        "retention_fraction": student_score / teacher_score if teacher_score else None,
        "gain_over_baseline_points": gain.points,
        "gain": gain,
        "links": evaluated.links,
        "disagreements": disagreements or [],
        "teacher_agreement_fraction": evaluated.teacher_agreement_fraction,
        "qad": quantized.qad,
        "decisions": stages.decide.figures if isinstance(stages.decide, DecisionRecord) else None,
        **_nearest(stages),
        "look_closer": look_closer,
        "swept": swept,
        **figures_of_every_task(stages, recipe, predicted, run),
    }
    return _judged(ReportFigures.from_json(values, "the figures of the report"), stages, recipe, command)


def figures_of_every_task(
    stages: StageRecords, recipe: Recipe, predicted: Predicted | None, run: str
) -> dict[str, Any]:
    """What a report says whatever its student answers with; arguments as of `report_from_stages`."""
    exported, quantized, deployed = stages.export, stages.quantize, stages.deploy
    teacher, student, devices = exported.teacher, exported.student, devices_of(deployed, quantized, recipe)
    return {
        "method": recipe.distill.method,
        "taught": _taught(stages),
        "size_ratio": teacher.file_bytes / student.file_bytes,
        "macs_ratio": teacher.macs / student.macs,
        "speedup": speedup_of(deployed),
        "accuracy_ladder": quantized.ladder,
        **{key: getattr(quantized, key) for key in _QUANTIZED},
        **_of_target(quantized, recipe, predicted),
        "devices": devices,
        "device": _without_samples(devices[0]) if devices else None,
        "preflight": exported.preflight,
        "typed": quantized.typed,
        "proof": {key: getattr(student, key) for key in _PROOF},
        "histories": {name: trained.history for name, trained in trained_of(stages)},
        "data": {"name": PurePath(recipe.data.train).name}
        | {key: getattr(stages.data, key) for key in _DATA}
        | {key: getattr(stages.data, key) for key in _DATA_IF_GIVEN if key in stages.data.model_fields_set},
        "cost": {"unit": "seconds", **{name: stamp.seconds for name, stamp in stages.stamps().items()}},
        "trained_before": _trained_before(stages),
        "running_cost": running_cost_of(recipe.cost, devices),
        "provenance": provenance_of(stages, recipe, run),
    }


def _trained_before(stages: StageRecords) -> dict[str, float]:
    """Stage -> seconds of its first training, where that took longer than the stage itself."""
    trainings = {name: round(stamp.cost.get("training_seconds", 0), 2) for name, stamp in stages.stamps().items()}
    return {name: taken for name, taken in trainings.items() if taken > stages.stamps()[name].seconds}


def _nearest(stages: StageRecords) -> dict[str, NearestReport]:
    """Of a student without classes, how its neighbours and its gallery do."""
    if not isinstance(stages.decide, GalleryRecord) or not isinstance(stages.evaluate, EmbeddingEvaluationRecord):
        return {}
    nets = {name: stages.evaluate.network(name) for name in ("teacher", "baseline", "student")}
    return {
        "nearest": NearestReport(
            neighbours=stages.evaluate.student.neighbours,
            recall_at_1={name: net.recall_at_1 for name, net in nets.items()},
            gallery=GalleryFigures(**{name: getattr(stages.decide, name) for name in GalleryFigures.model_fields}),
        )
    }


def _judged(figures: ReportFigures, stages: StageRecords, recipe: Recipe, command: Command) -> ReportRecord:
    """Add the status, verdict, warnings and advice that follow from the figures."""
    gates = {name: getattr(recipe.teacher, f"min_{name}") for name in ("top1_fraction", "balanced_accuracy_fraction")}
    verdict = verdict_of(figures, stages.teacher, gates)
    of_classes = class_warnings(stages.evaluate, stages.data.classes, recipe)
    return ReportRecord(
        **figures.given(),
        status=status_of(figures, verdict),
        verdict=verdict,
        absent=absent_of(figures),
        warnings=[*of_classes, *warnings_of(figures), *guards_of(stages, recipe, command)],
        advice=advice_of(figures, recipe, stages.distill, command),
    )


def _of_target(quantized: QuantizationRecord, recipe: Recipe, predicted: Predicted | None) -> dict[str, object]:
    """What is known of the board without asking it."""
    return {
        "target": target_of(quantized, recipe),
        "published": published_of(recipe, quantized.executed),
        "predicted": predicted,
        "int8": int8_of(predicted, quantized, recipe),
    }


def _net(trained: TrainedNetwork, evaluated: NetworkFigures, exported: ExportedNetwork) -> ReportNetwork:
    """Join one network's figures. The baseline takes the student's `exported`: same network, other weights."""
    keys = ("top1_fraction", "top1_interval", "balanced_accuracy_fraction", "per_class_recall", "confusion")
    return ReportNetwork(
        model=trained.model,
        weights=Path(trained.weights).name,  # a path would reveal this computer's folders
        **{key: getattr(evaluated, key) for key in keys},
        parameters=trained.parameters,
        macs=exported.macs,
        file_bytes=exported.file_bytes,
        provenance=_TEST,
    )


def _without_samples(device: ReportDevice) -> ReportDevice:
    """Leave out the samples, which `devices` already holds."""
    left_out = ("samples_ms", "samples_start_s", "trace")
    return ReportDevice(**{key: value for key, value in device.given().items() if key not in left_out})


def trained_of(stages: StageRecords) -> tuple[tuple[str, TrainedNetwork], ...]:
    """Return the three networks of a report with their training records."""
    return (("teacher", stages.teacher), ("baseline", stages.baseline), ("student", stages.distill))


def _best_epochs(stages: StageRecords) -> dict[str, list[int]] | None:
    """Return, by network, the epoch of its weights and the number of epochs; None if all are of the last epoch."""
    best = {name: [trained.best.epoch, trained.epochs] for name, trained in trained_of(stages) if trained.best}
    return best or None


def _taught(stages: StageRecords) -> Taught:
    """Describe the training images of student and baseline: how many, and from which source."""
    made, planned = stages.synthesise, stages.schedule
    return Taught(
        student_images=stages.distill.training_images,
        baseline_images=stages.baseline.training_images,
        pool_images=stages.data.pool_images,
        pool_of_train=stages.data.pool_of_train,
        class_weights=stages.distill.class_weights,
        best_epochs=_best_epochs(stages),
        synthesised=None
        if made is None
        else SynthesisedImages(images=made.images, wanted_fraction=made.wanted_fraction),
        pool=stages.distill.pool,
        pool_curve=None
        if stages.curve is None
        else PoolCurve(**{name: getattr(stages.curve, name) for name in PoolCurve.model_fields}),
        planned=None
        if planned is None
        else PlannedSteps(minutes=planned.minutes, steps=planned.steps, asked_steps=planned.asked_steps),
    )
