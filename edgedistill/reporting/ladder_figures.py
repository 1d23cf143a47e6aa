"""Draw the accuracy loss of each precision, in the style of `chart`."""

from __future__ import annotations

from markupsafe import Markup

from edgedistill.records.quantization import GateStep
from edgedistill.records.report import ReportRecord
from edgedistill.reporting.chart import STUDENT, STYLED, TEACHER, new_figure, svg_of, within_percent
from edgedistill.reporting.formats import kind


@STYLED
def ladder_figure(report: ReportRecord) -> Markup:
    """Draw top-1 and balanced accuracy at each precision; the band is the float student's 95 % interval."""
    ladder = report.accuracy_ladder
    reference = next(iter(ladder.values()))  # float
    low, high = (100 * value for value in reference.top1_interval)
    figure, axes = new_figure(2.9)
    axes.axhspan(low, high, color=STUDENT, alpha=0.12, linewidth=0)
    shown = [low, high]
    series = [
        ("top1_fraction", STUDENT, "o", reference.figure_name),
        ("balanced_accuracy_fraction", TEACHER, "s", "balanced accuracy"),
    ]
    series.sort(key=lambda one: sum(step.metric(one[0]) for step in ladder.values()))
    for (key, colour, marker, name), drop in zip(series, (-15, 8), strict=True):
        heights = [100 * step.metric(key) for step in ladder.values()]
        shown += heights
        axes.plot(range(len(ladder)), heights, marker=marker, color=colour, label=name)
        for place, height in enumerate(heights):
            axes.annotate(
                f"{height:.1f}",
                (place, height),
                xytext=(0, drop),
                ha="center",
                color=colour,
                textcoords="offset points",
            )
    margin = max(1.5, 0.18 * (max(shown) - min(shown)))
    axes.set_ylim(min(shown) - margin, max(shown) + margin)
    within_percent(axes.yaxis)
    axes.set_xlim(-0.4, len(ladder) - 0.6)
    axes.set_xticks(range(len(ladder)), [f"{name}\n{kind(step.provenance)}" for name, step in ladder.items()])
    axes.grid(visible=False, axis="x")
    axes.set_ylabel("test images, %")
    axes.legend(loc="lower center", ncols=2, bbox_to_anchor=(0.5, 1))
    return svg_of(figure, "ladder", "Accuracy of the student at each precision")


@STYLED
def rescue_figure(report: ReportRecord) -> Markup | None:
    """Draw the change in top-1 by INT8 with k layers left in float; None when no layer was left in float."""
    gate = report.int8_gate
    if len(gate.curve) < 2:
        return None
    figure, axes = new_figure(2.9)
    places = range(len(gate.curve))
    changes = [step.change_points for step in gate.curve]
    axes.errorbar(places, changes, _bars(gate.curve), color=STUDENT, marker="o", capsize=3)
    if gate.max_drop_points is not None:
        axes.axhline(-gate.max_drop_points, color=TEACHER, linestyle=(0, (3, 3)))
        axes.annotate("gate", (0, -gate.max_drop_points), xytext=(0, 4), color=TEACHER, textcoords="offset points")
    axes.set_xticks(places, [str(step.float_layers) for step in gate.curve])
    axes.set_xlabel("most sensitive layers left in float")
    name = report.int8_gate.curve[0].figure_name
    axes.set_ylabel(f"{name}, points, validation")
    return svg_of(figure, "rescue", f"Change in {name} by INT8 with layers left in float")


def _bars(curve: list[GateStep]) -> list[list[float]]:
    """Return error bars below and above each change, to the ends of its 95 % interval; older runs have an error."""
    ends = [
        step.drop_interval_points or [step.drop_points + sign * step.drop_standard_error_points for sign in (-1, 1)]
        for step in curve
    ]
    # The centre of Bonett and Price's interval differs from the drop; an error bar must not be negative.
    return [
        [max(0.0, high - step.drop_points) for step, (_, high) in zip(curve, ends, strict=True)],
        [max(0.0, step.drop_points - low) for step, (low, _) in zip(curve, ends, strict=True)],
    ]
