"""Draw the accuracy of each network."""

from __future__ import annotations

import numpy as np
from markupsafe import Markup

from edgedistill.evaluation.intervals import metric_interval
from edgedistill.records.evaluation import METRICS
from edgedistill.records.report import ReportRecord
from edgedistill.reporting.chart import INK, LINE, MUTED, NETS, STYLED, new_figure, svg_of, within_percent
from edgedistill.reporting.formats import begun, short, words

WORST = 30  # classes in the recall figure


@STYLED
def accuracy_figure(report: ReportRecord) -> Markup:
    """Draw the metric that judges the run with its 95 % interval and its chance; hollow, the other metric."""
    metric, other = report.metric, other_metric(report)
    figure, axes = new_figure(2.5)
    for y, (name, (colour, marker)) in enumerate(NETS.items()):
        network = report.network(name)
        low, high = (100 * value for value in metric_interval(network, metric))
        value = 100 * network.metric(metric)
        axes.plot([low, high], [y, y], color=colour, linewidth=3, solid_capstyle="round")
        axes.plot([value], [y], marker, color=colour, markersize=9)
        axes.plot([100 * network.metric(other)], [y + 0.26], marker, color=colour, markersize=6, fillstyle="none")
        axes.annotate(
            f"{value:.1f} %",
            (value, y),
            xytext=(0, 9),
            ha="center",
            color=colour,
            fontweight="bold",
            textcoords="offset points",
        )
    chance = 100 * report.chance.metric(metric)
    axes.axvline(chance, color=MUTED, linestyle=(0, (3, 3)), linewidth=1.2)
    axes.annotate(
        "always the majority class", (chance, 2.62), xytext=(4, 0), color=MUTED, fontsize=9, textcoords="offset points"
    )
    axes.set_yticks(range(3), list(NETS), color=INK)
    axes.set_ylim(2.75, -0.6)
    axes.grid(visible=False, axis="y")
    within_percent(axes.xaxis)
    axes.set_xlabel(f"filled: {words(metric)}, hollow: {words(other)}, %")
    return svg_of(figure, "accuracy", f"{begun(words(metric))} of teacher, baseline and student")


def other_metric(report: ReportRecord) -> str:
    """The metric of the two that does not judge the run."""
    return next(name for name in METRICS if name != report.metric)


@STYLED
def recall_figure(report: ReportRecord) -> Markup:
    """Draw the recall of the three networks for the WORST classes with the student's lowest recall."""
    recalls = {name: value for name, value in report.student.per_class_recall.items() if value is not None}
    worst = sorted(recalls, key=recalls.__getitem__)[:WORST]
    shown = {net: 100 * np.array([report.network(net).per_class_recall[name] for name in worst], float) for net in NETS}
    figure, axes = new_figure(1.1 + 0.3 * len(worst))
    for y, values in enumerate(zip(*shown.values(), strict=True)):
        axes.plot([min(values), max(values)], [y, y], color=LINE, linewidth=3, zorder=1)
    for net, (colour, marker) in NETS.items():
        axes.plot(shown[net], range(len(worst)), marker, color=colour, label=net, markersize=7)
    axes.set_yticks(range(len(worst)), [short(name) for name in worst], color=INK)
    axes.set_ylim(len(worst) - 0.5, -0.5)
    axes.set_xlim(-3, 103)
    axes.grid(visible=False, axis="y")
    axes.set_xlabel("recall on the test images, %")
    axes.legend(loc="lower center", ncols=3, bbox_to_anchor=(0.5, 1))
    return svg_of(figure, "recall", "Recall of each class")
