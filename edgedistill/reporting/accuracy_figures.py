"""Draw the accuracy of each network."""

from __future__ import annotations

import numpy as np
from markupsafe import Markup

from edgedistill.records.report import ReportRecord
from edgedistill.reporting.chart import INK, LINE, MUTED, NETS, STYLED, new_figure, svg_of, within_percent
from edgedistill.reporting.formats import short

WORST = 30  # classes in the recall figure


@STYLED
def accuracy_figure(report: ReportRecord) -> Markup:
    """Draw top-1 with its 95 % interval, balanced accuracy, and the accuracy of the majority class."""
    figure, axes = new_figure(2.5)
    for y, (name, (colour, marker)) in enumerate(NETS.items()):
        low, high = (100 * value for value in report.network(name).top1_interval)
        top1 = 100 * report.network(name).top1_fraction
        balanced = 100 * report.network(name).balanced_accuracy_fraction
        axes.plot([low, high], [y, y], color=colour, linewidth=3, solid_capstyle="round")
        axes.plot([top1], [y], marker, color=colour, markersize=9)
        axes.plot([balanced], [y + 0.26], marker, color=colour, markersize=6, fillstyle="none")
        axes.annotate(
            f"{top1:.1f} %",
            (top1, y),
            xytext=(0, 9),
            ha="center",
            color=colour,
            fontweight="bold",
            textcoords="offset points",
        )
    chance = 100 * report.chance.top1_fraction
    axes.axvline(chance, color=MUTED, linestyle=(0, (3, 3)), linewidth=1.2)
    axes.annotate(
        "always the majority class", (chance, 2.62), xytext=(4, 0), color=MUTED, fontsize=9, textcoords="offset points"
    )
    axes.set_yticks(range(3), list(NETS), color=INK)
    axes.set_ylim(2.75, -0.6)
    axes.grid(visible=False, axis="y")
    within_percent(axes.xaxis)
    axes.set_xlabel("test images, %")
    return svg_of(figure, "accuracy", "Accuracy of teacher, baseline and student")


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
