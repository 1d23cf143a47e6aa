"""Draw the precision-recall curve of a class with a promise, and its operating point."""

from __future__ import annotations

from markupsafe import Markup

from edgedistill.records.decision import DecisionFigures, OperatingPoint, PointFigures
from edgedistill.reporting.chart import INK, LINE, MUTED, STUDENT, STYLED, new_figure, svg_of, within_percent
from edgedistill.reporting.formats import short


def point_figures_of(decisions: DecisionFigures | None) -> list[Markup | None]:
    """Draw each class with a promise."""
    return [point_figure(point, number) for number, point in enumerate(decisions.points if decisions else [])]


@STYLED
def point_figure(point: OperatingPoint, number: int) -> Markup | None:
    """Draw one class on the test images; None where none of them is of the class.

    Args:
        number: of the point, for the ids in the page.
    """
    if not point.curve:
        return None
    figure, axes = new_figure(2.8)
    recalls, precisions = zip(*point.curve, strict=True)
    axes.plot([100 * value for value in recalls], [100 * value for value in precisions], color=STUDENT, zorder=2)
    plain = "the most likely class" if point.best_f1_threshold is None else "the best F1"
    _mark(axes, point.by_probability, MUTED, "s", plain)
    if point.threshold is not None:
        _mark(axes, point.by_threshold, INK, "o", "the threshold")
    asked = 100 * point.asked
    line = axes.axvline if point.promise == "recall" else axes.axhline
    line(asked, color=MUTED, linestyle=(0, (3, 3)), linewidth=1.2, label=f"asked: {point.promise} {asked:.4g} %")
    axes.set_xlabel("recall, %")
    axes.set_ylabel("precision, %")
    for axis in (axes.xaxis, axes.yaxis):
        within_percent(axis)
    axes.legend(loc="lower left")
    title = f"Precision and recall of {short(point.class_name)}"
    return svg_of(figure, f"point{number}", title)


def _mark(axes, figures: PointFigures, colour: str, marker: str, label: str) -> None:
    """A point with its exact 95 % intervals, where both figures are known."""
    if figures.recall is None or figures.precision is None:
        return
    x, y = 100 * figures.recall, 100 * figures.precision
    axes.plot([100 * end for end in figures.recall_interval], [y, y], color=colour, linewidth=1, zorder=3)
    axes.plot([x, x], [100 * end for end in figures.precision_interval], color=colour, linewidth=1, zorder=3)
    axes.plot([x], [y], marker, color=colour, markersize=7, markeredgecolor=LINE, label=label, zorder=4)
