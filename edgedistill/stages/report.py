"""Stage `report`: report.json and one self-contained page."""

from __future__ import annotations

from typing import Any

import numpy as np

from edgedistill.config.task import task_of
from edgedistill.core.files import write_bytes
from edgedistill.data.prepared import PreparedImages, open_prepared
from edgedistill.pipeline.context import StageContext
from edgedistill.pipeline.sweep import artifacts_of
from edgedistill.pipeline.table import stage_named, stages_read
from edgedistill.records.artifacts import ARTIFACTS, artifact_kind
from edgedistill.records.decision import DecisionRecord
from edgedistill.records.layout import STUDENT, SYNTHESISED_SHEET, TEST_LOGITS
from edgedistill.records.look_closer import LookCloser, LookedAt
from edgedistill.records.report import Disagreement, ShownImage
from edgedistill.records.result import Result
from edgedistill.records.stages import StageRecords
from edgedistill.reporting import disagreements, look_closer
from edgedistill.reporting.assemble import report_from_stages
from edgedistill.reporting.commands import Command
from edgedistill.reporting.devices import predicted_of
from edgedistill.reporting.disagreements import disagreement
from edgedistill.reporting.look_closer import shown_names
from edgedistill.reporting.output_page import html_from_labels, html_from_values
from edgedistill.reporting.output_report import output_report
from edgedistill.reporting.page import html_from_report
from edgedistill.reporting.sweep_results import load_sweep, swept_of
from edgedistill.reporting.thumbnails import thumbnail, thumbnails
from edgedistill_device.inference.values import in_units

_STUDENT = "student"  # array of stage evaluate's TEST_LOGITS


def run(context: StageContext) -> Result:
    stages = _records(context)
    images = open_prepared(context.run.folder("data"), context.recipe, stages.data.resize_px, stages.data.quantities)
    if task_of(context.recipe).vectors:
        return _of_figures(context, stages, images)
    rows = {split: images.rows(split) for split in ("train", "test")}

    def frame(image: ShownImage | LookedAt) -> np.ndarray:
        return images.pixels.frame(int(rows[getattr(image, "split", "test")][image.position]))

    chosen: LookCloser | None = None
    heat: dict[str, np.ndarray] = {}
    parted: list[Disagreement] = []
    if task_of(context.recipe).ranks:
        chosen, heat = look_closer.with_heat(
            _look_closer(context, images), context.file("export", STUDENT), frame, images.classes
        )
        parted = _disagreements(context, images)
    predicted = predicted_of(context.file("export", STUDENT), context.recipe)
    taught_by = artifacts_of(context.run, context.recipe)
    swept = swept_of(load_sweep(context.run.path), taught_by, stages, context.recipe)
    command, name = Command(context.command) if context.command else Command(), _name(context)
    report = report_from_stages(stages, context.recipe, parted, predicted, swept, command, name, chosen)
    sheet = context.file("synthesise", SYNTHESISED_SHEET).read_bytes() if stages.synthesise else None
    pictures = thumbnails([pair.shown for pair in parted], frame, disagreements.MOST_BYTES)
    if chosen is not None:
        pictures |= thumbnails(look_closer.lists_of(chosen), frame, look_closer.MOST_BYTES)
    hot = {sha256: thumbnail(pixels) for sha256, pixels in heat.items()}
    write_bytes(context.out / "report.html", html_from_report(report, sheet, pictures, hot).encode())
    return Result(report, ("report.html",))


def _look_closer(context: StageContext, images: PreparedImages) -> LookCloser:
    nets = np.load(context.file("evaluate", TEST_LOGITS), allow_pickle=False)
    temperature = context.read(DecisionRecord).board["fp32"].temperature
    return look_closer.look_closer(
        look_closer.answers_on_test(images, nets, temperature),
        look_closer.answers_on_train(images, context.run.folder("logits")),
        images.classes,
        temperature,
    )


def _name(context: StageContext) -> str:
    return context.run.path.resolve().name


def _of_figures(context: StageContext, stages: Any, images: PreparedImages) -> Result:
    predicted = predicted_of(context.file("export", STUDENT), context.recipe)
    report = output_report(stages, context.recipe, predicted, _name(context))
    if task_of(context.recipe).multiple:
        page = html_from_labels(report)
    else:
        student = np.load(context.file("evaluate", TEST_LOGITS), allow_pickle=False)[_STUDENT]
        page = html_from_values(report, images.targets("test"), in_units(student, images.values))
    write_bytes(context.out / "report.html", page.encode())
    return Result(report, ("report.html",))


def _records(context: StageContext) -> StageRecords:
    present, task = stages_read(stage_named("report"), context.recipe), task_of(context.recipe)
    records: dict[str, Any] = {
        name: context.read(artifact_kind(name, task)) if name in present else None
        for name in ARTIFACTS
        if name != "report"
    }
    return StageRecords(**records)


def _disagreements(context: StageContext, images: PreparedImages) -> list[Disagreement]:
    """Student and teacher, INT8 and float, on the same test images."""
    nets = np.load(context.file("evaluate", TEST_LOGITS), allow_pickle=False)
    steps = np.load(context.file("quantize", TEST_LOGITS), allow_pickle=False)
    rows = images.rows("test")
    hashes = [images.table.sha256[row] for row in rows]
    names = shown_names([images.table.paths[row] for row in rows])
    pairs = [
        (("teacher", nets["teacher"]), ("student", nets["student"])),
        (("float", steps["float"]), ("int8", steps["int8"])),
    ]
    return [disagreement(first, second, nets["labels"], images.classes, hashes, names) for first, second in pairs]
