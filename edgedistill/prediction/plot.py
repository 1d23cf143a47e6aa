"""The picture of `choose`: accuracy over speed, the front of those that nothing beats, the budget."""

from __future__ import annotations

import io
from pathlib import Path
from typing import TYPE_CHECKING

from edgedistill.core.files import write_bytes
from edgedistill.prediction.choose import Candidate, pareto

if TYPE_CHECKING:
    from matplotlib.axes import Axes

# Candidate.tier -> colour, label.
_TIERS = {0: ("#1a7f4b", "fits"), 1: ("#b7791f", "fits in the middle"), 2: ("#8a8f98", "does not fit")}


def plot_candidates(candidates: list[Candidate], fps: float | None, path: Path) -> int:
    """Write an SVG.

    Returns:
        Points in it: students whose accuracy is published for images of their size.
    """
    from matplotlib import rc_context
    from matplotlib.figure import Figure
    from matplotlib.ticker import FuncFormatter, LogLocator, NullFormatter

    shown = [c for c in candidates if c.comparable_top1 is not None and c.preflight != "does not fit"]
    with rc_context({"svg.fonttype": "none", "svg.hashsalt": "edgedistill", "font.size": 9}):
        figure = Figure(figsize=(8, 5), layout="constrained")
        axes = figure.add_subplot()
        for tier, (colour, label) in _TIERS.items():
            _plot_group(axes, [c for c in shown if c.tier == tier], colour, label)
        _plot_front(axes, pareto(shown))
        if fps:
            axes.axvline(fps, color="#333333", linestyle=":", linewidth=1.2, label=f"{fps:g} FPS wanted")
        axes.set_xscale("log")
        axes.margins(x=0.12)  # room for the names
        axes.xaxis.set_major_locator(LogLocator(subs=(1, 2, 3, 5)))
        axes.xaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
        axes.xaxis.set_minor_formatter(NullFormatter())
        axes.set_xlabel(f"predicted FPS on {candidates[0].prediction.target}, with its interval")
        axes.set_ylabel("published ImageNet top-1, %")
        axes.grid(visible=True, color="#dddddd", linewidth=0.6)
        axes.legend(loc="lower left")
        picture = io.BytesIO()
        figure.savefig(picture, format="svg", metadata={"Date": None})
    write_bytes(path, picture.getvalue())
    return len(shown)


def _plot_group(axes: Axes, group: list[Candidate], colour: str, label: str) -> None:
    """A point each, with the interval of its predicted speed."""
    spread = [
        [c.prediction.fps - c.prediction.fps_low for c in group],
        [c.prediction.fps_high - c.prediction.fps for c in group],
    ]
    axes.errorbar(
        [c.prediction.fps for c in group],
        _heights(group),
        xerr=spread,
        fmt="o",
        color=colour,
        ecolor=colour,
        elinewidth=0.6,
        markersize=5,
        label=label,
    )


def _heights(shown: list[Candidate]) -> list[float]:
    """Their published accuracies, %; those without one are not shown."""
    return [c.comparable_top1 for c in shown if c.comparable_top1 is not None]


def _plot_front(axes: Axes, front: list[Candidate]) -> None:
    """A line through those that nothing beats, each with its name."""
    axes.plot(
        [c.prediction.fps for c in front],
        _heights(front),
        color="#333333",
        linewidth=1,
        zorder=0,
        label="nothing is better in both",
    )
    for candidate in front:
        axes.annotate(
            f"{candidate.prediction.model} {candidate.prediction.image_px}",
            (candidate.prediction.fps, candidate.comparable_top1),
            xytext=(4, 5),
            textcoords="offset points",
            fontsize=8,
        )
