"""Draw the training curves of the networks."""

from __future__ import annotations

from markupsafe import Markup
from matplotlib.ticker import MaxNLocator

from edgedistill.records.output_report import AnyReport
from edgedistill.records.report import ReportRecord
from edgedistill.reporting.chart import NETS, STYLED, TERMS, new_figure, svg_of, within_percent


@STYLED
def curves_figure(report: ReportRecord) -> Markup:
    """Draw the recipe's metric on the validation images after each epoch."""
    metric = report.metric
    figure, axes = new_figure(2.9)
    for name, (colour, marker) in NETS.items():
        history = report.histories.of(name)
        if history:
            axes.plot(
                [entry.epoch for entry in history],
                [100 * entry.metric(metric) for entry in history],
                color=colour,
                label=name,
                marker=marker if len(history) < 15 else "",
                markersize=5,
            )
    axes.xaxis.set_major_locator(MaxNLocator(integer=True))
    axes.set_xlabel("epoch")
    axes.set_ylabel("validation images, %")
    within_percent(axes.yaxis)
    if axes.lines:
        axes.legend(loc="lower center", ncols=3, bbox_to_anchor=(0.5, 1))
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
