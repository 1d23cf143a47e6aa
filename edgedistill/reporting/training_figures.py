"""Pictures of how the networks learnt."""

from __future__ import annotations

from markupsafe import Markup
from matplotlib.ticker import MaxNLocator

from edgedistill.records.report import ReportRecord
from edgedistill.reporting.chart import NETS, STYLED, TERMS, new_figure, svg_of


@STYLED
def curves_figure(report: ReportRecord) -> Markup:
    """The recipe's metric on the validation images after each epoch."""
    metric = report.metric
    figure, axes = new_figure(2.9)
    for name, (colour, marker) in NETS.items():
        rows = report.histories.of(name)
        if rows:
            axes.plot(
                [row.epoch for row in rows],
                [100 * row.metric(metric) for row in rows],
                color=colour,
                label=name,
                marker=marker if len(rows) < 15 else "",
                markersize=5,
            )
    axes.xaxis.set_major_locator(MaxNLocator(integer=True))
    axes.set_xlabel("epoch")
    axes.set_ylabel("validation images, %")
    if axes.lines:
        axes.legend(loc="lower center", ncols=3, bbox_to_anchor=(0.5, 1))
    return svg_of(figure, "curves", "Validation accuracy after each epoch")


@STYLED
def terms_figure(report: ReportRecord) -> Markup | None:
    """Each loss term of the student's training, unweighted; None when it has no history."""
    rows = report.histories.student
    if not rows:
        return None
    figure, axes = new_figure(2.9)
    for (name, _), colour in zip(rows[0].terms.items(), TERMS, strict=False):
        axes.plot([row.epoch for row in rows], [row.terms[name] for row in rows], color=colour, label=name)
    axes.xaxis.set_major_locator(MaxNLocator(integer=True))
    axes.set_ylim(bottom=0)
    axes.set_xlabel("epoch")
    axes.set_ylabel("loss, before its weight")
    axes.legend(loc="lower center", ncols=4, bbox_to_anchor=(0.5, 1))
    return svg_of(figure, "terms", "Loss terms of the student")
