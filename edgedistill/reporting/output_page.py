"""Render the report of a student that answers with figures as one self-contained HTML page."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from markupsafe import Markup

from edgedistill.config.task import labels_task
from edgedistill.records.output_report import OutputReportRecord
from edgedistill.reporting.chart import INK, MUTED, NETS, STUDENT, STYLED, new_figure, svg_of
from edgedistill.reporting.decision_figures import point_figures_of
from edgedistill.reporting.formats import short
from edgedistill.reporting.gain import gain_over_output_seeds
from edgedistill.reporting.output_report import interval_of, with_unit
from edgedistill.reporting.page import PAGE_FILTERS, host_rows
from edgedistill.reporting.provenance import toml_from_recipe
from edgedistill.reporting.rendering import json_in_html, rendered
from edgedistill.reporting.target_speed import boards_of, target_speed
from edgedistill.reporting.training_figures import draw_epochs, terms_figure

LABELS_DRAWN = 24
POINTS = 2000  # test images in a drawing, evenly taken
_FILTERS: dict[str, Callable[..., Any]] = {**PAGE_FILTERS, "with_unit": with_unit, "interval": interval_of}
_SECTIONS = (
    ("budget", "Budget"),
    ("errors", "Figures"),
    ("decisions", "Thresholds"),
    ("ladder", "Precision"),
    ("training", "Training"),
    ("speed", "Speed and memory"),
    ("cost", "Cost"),
    ("data", "Data"),
    ("provenance", "Provenance"),
    ("labels", "Labels"),
)


def html_from_values(report: OutputReportRecord, targets: np.ndarray, answers: np.ndarray) -> str:
    """Render the page of figures; as `page.html_from_report`.

    Args:
        targets, answers: (N, K) of the test images, the labels and the student's in float, in their units.
    """
    scatters = [
        _scatter(number, value.name, value.unit, targets[:, number], answers[:, number])
        for number, value in enumerate(report.data.quantities)
    ]
    return _html(report, "value", scatters, _curves(report, "r2", "R2"))


def html_from_labels(report: OutputReportRecord) -> str:
    """Render the page of any number of labels an image; as `page.html_from_report`."""
    return _html(report, "label", [_label_figure(report)], _curves(report, "map", "mean average precision"))


def _html(report: OutputReportRecord, kind: str, drawings: list[Markup], curves: Markup) -> str:
    """
    Args:
        kind: `value` or `label`, with which the names of the page's own parts begin.
        drawings: beside the figures of the networks.
    """
    absent = {"cost"} if report.running_cost is None else set()
    absent |= {"decisions"} if report.decisions is None else set()
    return rendered(
        "values.html.j2",
        _FILTERS,
        report=report,
        boards=boards_of(report),
        on_target=target_speed(report),
        kind=kind,
        over_seeds=gain_over_output_seeds(report.seeds, labels_task(report.task)),
        scatters=drawings,
        figures={"curves": curves, "terms": terms_figure(report)},
        curve_words={"value": "R2", "label": "Mean average precision"}[kind],
        point_figures=point_figures_of(report.decisions),
        hosts=[host_rows(device, number) for number, device in enumerate(report.devices)],
        sections=[one for one in _SECTIONS if one[0] not in absent],
        raw=json_in_html(report.to_json()),
        recipe_toml=toml_from_recipe(report.provenance.recipe),
        synthesised=None,
    )


@STYLED
def _scatter(number: int, name: str, unit: str, truth: np.ndarray, answer: np.ndarray) -> Markup:
    """Draw the student's answer over the label, with the line on which both are equal."""
    chosen = np.linspace(0, len(truth) - 1, min(len(truth), POINTS)).astype(int)
    figure, axes = new_figure(3.6)
    ends = [min(truth.min(), answer.min()), max(truth.max(), answer.max())]
    axes.plot(ends, ends, color=MUTED, linestyle=(0, (3, 3)), linewidth=1.2)
    axes.plot(truth[chosen], answer[chosen], "o", color=STUDENT, markersize=3.5, alpha=0.45, markeredgewidth=0)
    shown = f"{name}, {unit}" if unit else name
    axes.set_xlabel(f"label: {shown}")
    axes.set_ylabel("the student's answer", color=INK)
    return svg_of(figure, f"scatter{number}", f"Answers over labels: {name}")


@STYLED
def _label_figure(report: OutputReportRecord) -> Markup:
    """Draw the average precision of the three networks for the labels with the student's lowest one."""
    weakest = sorted(report.student.named("ap"), key=lambda one: one.value)[:LABELS_DRAWN]
    names = [one.output for one in weakest]
    figure, axes = new_figure(1.1 + 0.3 * len(names))
    for net, (colour, marker) in NETS.items():
        found = [report.network(net).figure("ap", name).value for name in names]
        axes.plot(found, range(len(names)), marker, color=colour, label=net, markersize=7)
    alike = [report.constant.figure("ap", name).value for name in names]
    axes.plot(alike, range(len(names)), "|", color=MUTED, markersize=11, markeredgewidth=2)
    axes.set_yticks(range(len(names)), [short(name or "") for name in names], color=INK)
    axes.set_ylim(len(names) - 0.5, -0.5)
    axes.set_xlim(-0.03, 1.03)
    axes.grid(visible=False, axis="y")
    axes.set_xlabel("average precision on the test images")
    axes.legend(loc="lower center", ncols=3, bbox_to_anchor=(0.5, 1))
    return svg_of(figure, "labels", "Average precision of each label")


@STYLED
def _curves(report: OutputReportRecord, metric: str, words: str) -> Markup:
    """Draw the metric on the validation images after each epoch; below -1 it is cut."""
    figure, axes = new_figure(2.9)
    histories = {name: getattr(report.histories, name) for name in NETS}
    curves = {
        name: [(row.epoch, max(-1.0, row.metric(metric))) for row in history or []]
        for name, history in histories.items()
    }
    draw_epochs(axes, curves, words)
    return svg_of(figure, "curves", f"{words} on validation images after each epoch")
