"""Draw the training curves of the networks."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from markupsafe import Markup
from matplotlib.axes import Axes
from matplotlib.ticker import MaxNLocator

from edgedistill.records.output_report import AnyReport
from edgedistill.records.report import ReportRecord
from edgedistill.reporting.chart import NETS, STYLED, TERMS, new_figure, svg_of, within_percent


@STYLED
def curves_figure(report: ReportRecord) -> Markup:
    """Draw the recipe's metric on the validation images after each epoch."""
    metric = report.metric
    figure, axes = new_figure(2.9)
    histories = {name: report.histories.of(name) for name in NETS}
    curves = {
        name: [(entry.epoch, 100 * entry.metric(metric)) for entry in history or []]
        for name, history in histories.items()
    }
    draw_epochs(axes, curves, "validation images, %")
    within_percent(axes.yaxis)
    return svg_of(figure, "curves", "Validation accuracy after each epoch")


@STYLED
def terms_figure(report: AnyReport) -> Markup | None:
    """Draw each unweighted loss term of the student's training; None without a history."""
    history = report.histories.student
    if not history:
        return None
    figure, axes = new_figure(2.9)
    for (name, _), colour in zip(history[0].terms.items(), TERMS, strict=False):
        axes.plot(
            [entry.epoch for entry in history], [entry.terms[name] for entry in history], color=colour, label=name
        )
    axes.xaxis.set_major_locator(MaxNLocator(integer=True))
    axes.set_ylim(bottom=0)
    axes.set_xlabel("epoch")
    axes.set_ylabel("loss, before its weight")
    axes.legend(loc="lower center", ncols=4, bbox_to_anchor=(0.5, 1))
    return svg_of(figure, "terms", "Loss terms of the student")


def draw_epochs(axes: Axes, curves: Mapping[str, Sequence[tuple[int, float]]], label: str) -> None:
    """A line for each network that was trained.

    Args:
        curves: network -> epoch and value; empty of one that was not trained.
        label: of the axis of the values.
    """
    for name, (colour, marker) in NETS.items():
        if curves[name]:
            epochs, values = zip(*curves[name], strict=True)
            axes.plot(
                epochs,
                values,
                color=colour,
                label=name,
                marker=marker if len(epochs) < 15 else "",
                markersize=5,
            )
    axes.xaxis.set_major_locator(MaxNLocator(integer=True))
    axes.set_xlabel("epoch")
    axes.set_ylabel(label)
    if axes.lines:
        axes.legend(loc="lower center", ncols=3, bbox_to_anchor=(0.5, 1))
