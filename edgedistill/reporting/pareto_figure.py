"""Draw accuracy against size or time."""

from __future__ import annotations

from typing import Any

from markupsafe import Markup

from edgedistill.core.pareto import pareto_front
from edgedistill.records.report_speed import Swept
from edgedistill.reporting.chart import (
    INK,
    LINE,
    MUTED,
    NETS,
    STYLED,
    new_figure,
    plain_decades,
    svg_of,
    within_percent,
)
from edgedistill.reporting.formats import short

NAMED = 8  # most networks for which every name is drawn
ROLES = {**NETS, "trial": (MUTED, "."), "pruned": (MUTED, "x")}


@STYLED
def pareto_figure(
    points: list[dict[str, Any]], metric: str, size: str, images: str = "test", name: str = "pareto"
) -> Markup | None:
    """Draw one point for each network over a logarithmic axis of size, and the Pareto front.

    Args:
        points: rows of name (empty: not drawn), role (a key of ROLES, or another), size, value (a fraction);
            optionally low and high, the interval of the size, and front, False to exclude a point from it.
        metric: of the values, in words.
        size: what `size` is, in words, with its unit.
        images: split that the values are from.
        name: prefix of the ids in the figure.

    Returns:
        None when there are fewer than two points.
    """
    if len(points) < 2:
        return None
    figure, axes = new_figure(3.2)
    able = [point for point in points if point.get("front", True)]
    front = pareto_front(able, lambda point: point["size"], lambda point: point["value"])
    end = {"size": max(point["size"] for point in points), "value": front[-1]["value"]}
    line = [*front, end]
    axes.step(
        [p["size"] for p in line], [100 * p["value"] for p in line], where="post", color=LINE, linewidth=3, zorder=1
    )
    for number, point in enumerate(points):
        colour, marker = ROLES.get(point["role"], (MUTED, "o"))
        place = point["size"], 100 * point["value"]
        if "low" in point:
            axes.plot([point["low"], point["high"]], [place[1]] * 2, color=colour, linewidth=0.8, alpha=0.5)
        axes.plot(*place, marker, color=colour, markersize=8, zorder=3 if point["role"] in NETS else 2)
        if point["name"]:
            axes.annotate(
                short(point["name"]),
                place,
                xytext=(0, 9 if number % 2 else -16),
                ha="center",
                color=INK,
                fontsize=8.5,
                textcoords="offset points",
            )
    axes.set_xscale("log")
    plain_decades(axes.xaxis)
    axes.margins(x=0.25, y=0.3)
    within_percent(axes.yaxis)
    axes.set_xlabel(size)
    axes.set_ylabel(f"{metric}, {images} images, %")
    return svg_of(figure, name, f"Accuracy against {size}")


def students_figure(swept: Swept | None, metric: str) -> Markup | None:
    """Draw accuracy against cost of a sweep's students and the run's own student; None without students.

    Args:
        swept: of the report.
        metric: in words.
    """
    if swept is None or not swept.students:
        return None
    timed = swept.cost == "latency_ms"
    points: list[dict[str, Any]] = []
    named: set[str] = set()  # the best point of each network carries the name
    few = len({student.model for student in swept.students}) <= NAMED
    for student in swept.students:
        role = "student" if student.own else "trial" if student.state == "complete" else "pruned"
        point: dict[str, Any] = {"role": role, "name": "", "value": student.value, "front": student.state == "complete"}
        if student.model not in named and (few or student.front or student.own):
            named.add(student.model)
            point["name"] = student.model
        if timed:
            point |= {"size": student.latency_ms, "low": student.latency_ms_low, "high": student.latency_ms_high}
        else:
            point["size"] = student.parameters / 1e6
        points.append(point)
    size = "predicted ms for one image" if timed else "parameters, million"
    return pareto_figure(points, metric, size, "validation", "students")
