"""Picture of accuracy against size: what a bigger network buys."""

from __future__ import annotations

from typing import Any

from edgedistill.report.chart import (
    INK,
    LINE,
    MUTED,
    NETS,
    STYLED,
    new_figure,
    plain_decades,
    short,
    svg_of,
)


def pareto_front(points: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Points that no other one beats in `size` and `value` alike, smallest first."""
    front: list[dict[str, Any]] = []
    for point in sorted(points, key=lambda p: (p["size"], -p["value"])):
        if not front or point["value"] > front[-1]["value"]:
            front.append(point)
    return front


@STYLED
def pareto_figure(points: list[dict[str, Any]], metric: str, size: str) -> str | None:
    """A point a network over a logarithmic axis of its size, and the front.

    Args:
        points: rows of name, role (`teacher`, `baseline`, `student` or another), size in millions,
            value (a fraction).
        metric: of the values, in words.
        size: what `size` is, in words.

    Returns:
        None when there are fewer than two points.
    """
    if len(points) < 2:
        return None
    figure, axes = new_figure(3.2)
    front = pareto_front(points)
    end = {"size": max(point["size"] for point in points), "value": front[-1]["value"]}
    line = [*front, end]
    axes.step([p["size"] for p in line], [100 * p["value"] for p in line], where="post",
              color=LINE, linewidth=3, zorder=1)  # fmt: skip
    for number, point in enumerate(points):
        colour, marker = NETS.get(point["role"], (MUTED, "o"))
        place = point["size"], 100 * point["value"]
        axes.plot(*place, marker, color=colour, markersize=8)
        axes.annotate(short(point["name"]), place, xytext=(0, 9 if number % 2 else -16), ha="center",
                      color=INK, fontsize=8.5, textcoords="offset points")  # fmt: skip
    axes.set_xscale("log")
    plain_decades(axes.xaxis)
    axes.margins(x=0.25, y=0.3)
    axes.set_xlabel(f"{size}, million")
    axes.set_ylabel(f"{metric}, test images, %")
    return svg_of(figure, "pareto", f"Accuracy against {size}")
