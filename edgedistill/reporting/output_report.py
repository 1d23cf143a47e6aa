"""Assemble the report of a run whose student answers with figures, and say it in short."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from edgedistill.config.recipe import Recipe
from edgedistill.config.task import MULTILABEL, labels_task, task_of
from edgedistill.core.text import plural
from edgedistill.records.export import ExportedNetwork
from edgedistill.records.output_report import OutputReportFigures, OutputReportNetwork, OutputReportRecord
from edgedistill.records.outputs import Figure, OutputFigures, OutputNetwork
from edgedistill.records.provenance import Kind, Provenance
from edgedistill.records.report import VERSION, Status, Verdict, VerdictRow
from edgedistill.records.report_speed import Predicted
from edgedistill.reporting.assemble import figures_of_every_task
from edgedistill.reporting.findings import (
    Finding,
    gain_not_shown,
    gain_shown,
    image_warnings,
    images_not_apart,
    missed_limits,
    rare_warnings,
)
from edgedistill.reporting.formats import kind, networks
from edgedistill.reporting.gain import gain_over_output_seeds
from edgedistill.reporting.label_words import (
    label_doubts,
    label_facts,
    label_gain_sentence,
    label_ladder,
    label_rows,
    no_better_than_alike,
)
from edgedistill.reporting.target_speed import boards_of
from edgedistill.reporting.verdict import Measure, absent_of, on_boards, verdict_from_rows, verdict_row

_TEST = Provenance(Kind.MEASURED, "PyTorch on this computer, test images")
LEAST_BOOTSTRAP = 10  # test images; of fewer, the draws hardly differ and their interval covers too little
_IN_UNITS = ("mae", "rmse", "bias")  # figures that have the unit of their value, and their changes


def output_report(stages: Any, recipe: Recipe, predicted: Predicted | None, run: str) -> OutputReportRecord:
    """Gather the figures of the stages; arguments as of `assemble.report_from_stages`."""
    evaluated, exported = stages.evaluate, stages.export
    figures = OutputReportFigures.from_json(
        {
            "version": VERSION,
            "task": task_of(recipe).name,
            "teacher": _net(stages.teacher, evaluated.teacher, exported.teacher),
            "baseline": _net(stages.baseline, evaluated.baseline, exported.student),
            "student": _net(stages.distill, evaluated.student, exported.student),
            "constant": evaluated.constant,
            "test_images": evaluated.images,
            "gain": evaluated.gain,
            "over_constant": evaluated.over_constant,
            "seeds": evaluated.seeds,
            **({"decisions": stages.decide.figures} if task_of(recipe).decides else {}),
            **figures_of_every_task(stages, recipe, predicted, run),
        },
        "the figures of the report",
    )
    rows = [*_int8_row(figures, task_of(recipe).points), *on_boards(figures)]
    verdict = verdict_from_rows(rows, figures.target, ("target.fps", "target.memory_mib"))
    return OutputReportRecord(
        **figures.given(),
        status=_status(figures, verdict),
        verdict=verdict,
        absent=absent_of(figures),
        warnings=list(_warnings(figures)),
    )


def _net(trained: OutputNetwork, measured: OutputFigures, exported: ExportedNetwork) -> OutputReportNetwork:
    return OutputReportNetwork(
        **measured.given(),
        model=trained.model,
        weights=Path(trained.weights).name,  # a path would reveal this computer's folders
        parameters=trained.parameters,
        macs=exported.macs,
        file_bytes=exported.file_bytes,
        provenance=_TEST,
    )


def _int8_row(report: OutputReportFigures, points: str) -> list[VerdictRow]:
    gate = report.int8_gate
    if gate.max_drop_points is None or gate.passed is None:
        return []
    lost = gate.deciding_step(None)
    return [
        verdict_row(
            "lost by INT8",
            ("at most", gate.max_drop_points, f" {points}"),
            lost.drop_points,
            gate.passed,
            Measure(2),
            "simulated: ONNX Runtime on this computer, validation images",
        )
    ]


def _status(report: OutputReportFigures, verdict: Verdict) -> Status:
    """Judge a run; the gravest finding gives the word, as `status.status_of` does for classes."""
    sentence, seeds = _over_baseline(report), gain_over_output_seeds(report.seeds, labels_task(report.task))
    no_gain = gain_not_shown(report.gain.interval_points, sentence, seeds)
    findings = [*_unusable(report), *_doubts(report), *missed_limits(verdict), *no_gain]
    told = findings or [gain_shown(sentence, seeds)]
    word, cause, _ = told[0]
    sentences = [each for *_, each in told]
    if not findings and not boards_of(report):
        sentences.append(f"Speed and memory on {report.target.title} were not measured.")
    return Status(word=word, line=f"{word}: {cause}" if cause else word, sentences=sentences)


def _unusable(report: OutputReportFigures) -> Iterator[Finding]:
    executed = report.target.executed
    measured: dict[str, OutputFigures] = {"": report.student}
    if executed in report.accuracy_ladder:
        step = report.accuracy_ladder[executed]
        if not step.finite:
            yield "not usable", f"{executed.upper()} gives NaN or infinity", f"{report.target.title} executes it."
        measured[f"{executed.upper()} "] = step
    for precision, figures in measured.items():
        finding = (no_better_than_alike if _has_labels(report) else _no_better_than_mean)(report, precision, figures)
        if finding is not None:
            yield finding
            return


def _has_labels(report: OutputReportFigures) -> bool:
    return report.task == MULTILABEL.name


def _no_better_than_mean(report: OutputReportFigures, precision: str, figures: OutputFigures) -> Finding | None:
    if figures.metric("r2") > 0 and figures.metric("mae") < report.constant.metric("mae"):
        return None
    return (
        "not usable",
        f"{precision}no better than the mean",
        f"The student's {precision}R2 is {figures.metric('r2'):.3f} and its mean absolute error "
        f"{figures.metric('mae'):.3f} standard deviations; always answering the training mean gives "
        f"{report.constant.metric('mae'):.3f}.",
    )


def _doubts(report: OutputReportFigures) -> Iterator[Finding]:
    yield from label_doubts(report) if _has_labels(report) else _value_doubts(report)
    yield from images_not_apart(report.data)
    if report.test_images < LEAST_BOOTSTRAP:
        yield (
            "in doubt",
            "too few test images",
            f"{plural(report.test_images, 'test image')}: a bootstrap interval of fewer than {LEAST_BOOTSTRAP} images "
            "is too narrow.",
        )


def _value_doubts(report: OutputReportFigures) -> Iterator[Finding]:
    low, high = report.over_constant.interval_points
    if low <= 0 < report.over_constant.points:
        yield (
            "in doubt",
            "not shown to be better than the mean",
            f"The 95 % interval of what it gains over always answering the training mean, {low:+.1f} to {high:+.1f} "
            "hundredths of a standard deviation, holds zero.",
        )
    for one in report.student.figures:
        if len(report.data.quantities) > 1 and one.name == "r2" and one.output is not None and one.value <= 0:
            yield "in doubt", f"{one.output} is not learnt", f"The R2 of {one.output} is {one.value:.3f}."


def _over_baseline(report: OutputReportFigures) -> str:
    if _has_labels(report):
        return label_gain_sentence(report)
    return f"With the teacher the mean absolute error changes by {_change(report)}."


def _warnings(report: OutputReportFigures) -> Iterator[str]:
    yield from image_warnings(report.data, report.test_images)
    if _has_labels(report):
        images = {name: report.data.counts["test"].get(name, 0) for name in report.data.classes}
        yield from rare_warnings(images, "Average precision", "label", "labels")
    if report.int8_gate.kept_float:
        yield f"Under INT8 {plural(len(report.int8_gate.kept_float), 'layer')} stay in float."
    for file in report.typed:
        if not file.passed:
            yield f"The {file.precision.upper()} file is not in the bundle: {file.why}."


def with_unit(figure: Figure, signed: bool = False) -> str:
    """`0.137 mm`, or `+0.002 mm`."""
    return f"{format(figure.value, _spec(figure, signed))} {figure.unit}".rstrip()


def interval_of(figure: Figure, signed: bool = False) -> str:
    """`0.12 to 0.15`."""
    return " to ".join(format(end, _spec(figure, signed)) for end in figure.interval)


def _spec(figure: Figure, signed: bool) -> str:
    if figure.name.partition("_")[0] not in _IN_UNITS:  # has no unit: three decimals say what there is to say
        return ".3f"
    return "+.3g" if signed else ".4g"


def _change(report: OutputReportFigures) -> str:
    """The student's error minus the baseline's, for each value: below zero is a gain."""
    turned = [
        one.model_copy(update={"value": 0 - one.value, "interval": [0 - end for end in reversed(one.interval)]})
        for one in report.gain.by_output
    ]
    return ", ".join(
        f"{with_unit(one, True)} of {one.output} (95 % interval {interval_of(one, True)})" for one in turned
    )


def output_summary(report: OutputReportRecord) -> tuple[list[tuple[str, ...]], list[tuple[str, str]]]:
    """The rows of the table at the end of a run, and the facts below it."""
    rows = label_rows(report) if _has_labels(report) else _value_rows(report)
    gain = ("gain", f"mean absolute error {_change(report)} against the baseline (measured)")
    return rows, [
        ("status", f"{report.status.line}. {report.status.sentences[0]}"),
        ("networks", networks(report)),
        *(label_facts(report) if _has_labels(report) else [gain]),
        (
            "smaller",
            f"file {report.size_ratio:.1f} x, MACs {report.macs_ratio:.1f} x, teacher over student (counted)",
        ),
        ("precision", label_ladder(report) if _has_labels(report) else _ladder(report)),
        *([("int8", report.int8.sentence)] if report.int8 else []),
    ]


def _value_rows(report: OutputReportRecord) -> list[tuple[str, ...]]:
    rows: list[tuple[str, ...]] = [("", "value", "mean absolute error", "95 % interval", "R2", "parameters")]
    for name in ("teacher", "baseline", "student"):
        net = report.network(name)
        rows += [
            (
                name,
                value.name,
                with_unit(net.figure("mae", value.name)),
                interval_of(net.figure("mae", value.name)),
                f"{net.figure('r2', value.name).value:.3f}",
                f"{net.parameters / 1e6:.2f} M",
            )
            for value in report.data.quantities
        ]
    constant = [
        ("training mean", value.name, with_unit(report.constant.figure("mae", value.name)), "", "", "")
        for value in report.data.quantities
    ]
    return rows + constant


def _ladder(report: OutputReportRecord) -> str:
    steps = [
        f"{name} {', '.join(with_unit(step.figure('mae', value.name)) for value in report.data.quantities)} "
        f"({kind(step.provenance)})"
        for name, step in report.accuracy_ladder.items()
    ]
    changes = [f"{name} {step.change}" for name, step in report.accuracy_ladder.items() if name == "int8"]
    return f"mean absolute error: {'; '.join([*steps, *changes])}"
