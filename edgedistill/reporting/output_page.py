"""Render the report of a student that answers with figures as one self-contained HTML page."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from markupsafe import Markup

from edgedistill.records.output_report import OutputReportRecord
from edgedistill.reporting.chart import INK, MUTED, NETS, STUDENT, STYLED, new_figure, svg_of
from edgedistill.reporting.output_report import interval_of, with_unit
from edgedistill.reporting.page import PAGE_FILTERS, host_rows
from edgedistill.reporting.provenance import toml_from_recipe
from edgedistill.reporting.rendering import json_in_html, rendered
from edgedistill.reporting.target_speed import boards_of, target_speed
from edgedistill.reporting.training_figures import draw_epochs, terms_figure

POINTS = 2000  # test images in a drawing, evenly taken
_FILTERS: dict[str, Callable[..., Any]] = {**PAGE_FILTERS, "with_unit": with_unit, "interval": interval_of}
_SECTIONS = (
    ("budget", "Budget"),
    ("errors", "Errors"),
    ("ladder", "Precision"),
    ("training", "Training"),
    ("speed", "Speed and memory"),
    ("cost", "Cost"),
    ("data", "Data"),
    ("provenance", "Provenance"),
    ("labels", "Labels"),
)


def html_from_values(report: OutputReportRecord, targets: np.ndarray, answers: np.ndarray) -> str:
    """Render the page; as `page.html_from_report`.

    Args:
        targets, answers: (N, K) of the test images, the labels and the student's in float, in their units.
    """
    absent = {"cost"} if report.running_cost is None else set()
    return rendered(
        "values.html.j2",
        _FILTERS,
        report=report,
        boards=boards_of(report),
        on_target=target_speed(report),
        scatters=[
            _scatter(number, value.name, value.unit, targets[:, number], answers[:, number])
            for number, value in enumerate(report.data.quantities)
        ],
        figures={"curves": _curves(report), "terms": terms_figure(report)},
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
def _curves(report: OutputReportRecord) -> Markup:
    """Draw R2 on the validation images after each epoch; below -1 it is cut."""
    figure, axes = new_figure(2.9)
    histories = {name: getattr(report.histories, name) for name in NETS}
    curves = {
        name: [(row.epoch, max(-1.0, row.eval_r2)) for row in history or []] for name, history in histories.items()
    }
    draw_epochs(axes, curves, "R2, validation images")
    return svg_of(figure, "curves", "Validation R2 after each epoch")
