"""Draw accuracy against size or time."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from markupsafe import Markup
from matplotlib.transforms import Bbox

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

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

NAME_SIZE, LETTER = 8.5, 0.6  # of a name, in points; width of a letter by its size, at most about this
MARK = 8  # side of a point's mark, in points
PLACES = {  # of a name about its point: offset in points, and which side of the text it is
    "above": (0, 9, "center"),
    "below": (0, -16, "center"),
    "right": (9, -3, "left"),
    "left": (-9, -3, "right"),
}
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
    for point in points:
        colour, marker = ROLES.get(point["role"], (MUTED, "o"))
        place = point["size"], 100 * point["value"]
        if "low" in point:
            axes.plot([point["low"], point["high"]], [place[1]] * 2, color=colour, linewidth=0.8, alpha=0.5)
        axes.plot(*place, marker, color=colour, markersize=MARK, zorder=3 if point["role"] in NETS else 2)
    axes.set_xscale("log")
    axes.margins(x=0.25, y=0.3)
    plain_decades(axes.xaxis)
    within_percent(axes.yaxis)
    axes.set_xlabel(size)
    axes.set_ylabel(f"{metric}, {images} images, %")
    _name_points(figure, axes, points)
    return svg_of(figure, name, f"Accuracy against {size}")


def _name_points(figure: Figure, axes: Axes, points: list[dict[str, Any]]) -> None:
    """Write each name beside its own point: above, below, right or left, where it meets the fewest others."""
    figure.draw_without_rendering()  # gives the axes their size
    per_point = figure.dpi / 72
    marks = [axes.transData.transform((point["size"], 100 * point["value"])) / per_point for point in points]
    frame = Bbox(axes.bbox.get_points() / per_point)
    taken = [_box_around(x, y) for x, y in marks]
    for number in sorted(range(len(points)), key=lambda number: -points[number]["value"]):
        name, (x, y) = short(points[number]["name"]), marks[number]
        if not name:
            continue
        width = LETTER * NAME_SIZE * len(name)
        boxes = {place: _box_of(x, y, width, place) for place in PLACES}
        place = min(PLACES, key=lambda place: _hits(boxes[place], taken, frame))  # the first of equals
        taken.append(boxes[place])
        across, up, side = PLACES[place]
        axes.annotate(
            name,
            (points[number]["size"], 100 * points[number]["value"]),
            xytext=(across, up),
            ha=side,
            color=INK,
            fontsize=NAME_SIZE,
            textcoords="offset points",
        )


def _box_around(x: float, y: float) -> Bbox:
    """The place of a mark, in points."""
    return Bbox.from_bounds(x - MARK / 2, y - MARK / 2, MARK, MARK)


def _box_of(x: float, y: float, width: float, place: str) -> Bbox:
    across, up, side = PLACES[place]
    left = x + across - {"center": width / 2, "left": 0, "right": width}[side]
    return Bbox.from_bounds(left, y + up, width, NAME_SIZE)


def _hits(box: Bbox, taken: list[Bbox], frame: Bbox) -> int:
    """How many marks and names a name would lie on; leaving the axes counts as one more than all."""
    inside = frame.x0 <= box.x0 and box.x1 <= frame.x1 and frame.y0 <= box.y0 and box.y1 <= frame.y1
    return sum(box.overlaps(other) for other in taken) + (0 if inside else len(taken) + 1)


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
