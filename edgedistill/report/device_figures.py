"""Pictures of what was timed on a host: how the times are spread, and how they went over the run."""

from __future__ import annotations

from typing import Any

import numpy as np

from edgedistill.report.chart import (
    BASELINE,
    STUDENT,
    STYLED,
    TEACHER,
    new_figure,
    plain_decades,
    svg_of,
)

_SCOPES = (
    ("compute_ms", BASELINE, "computing"),
    ("host_ms", STUDENT, "network alone"),
    ("end_to_end_ms", TEACHER, "from the image file"),
)
_BINS = 60
_WIDE = 8  # longest over shortest time from which the axis is logarithmic


@STYLED
def histogram_figure(device: dict[str, Any], number: int) -> str | None:
    """Images by the time they took; None without raw samples.

    Args:
        device: of the report's `devices`.
        number: its position there, for the ids.
    """
    scopes = _scopes(device)
    if not scopes:
        return None
    figure, axes = new_figure(2.9)
    low, high = (find(find(values) for values, _, _ in scopes) for find in (min, max))
    space = np.geomspace if high > _WIDE * low else np.linspace
    edges = space(0.999 * low, 1.001 * high, _BINS + 1)
    for values, colour, name in scopes:
        shares = 100 * np.histogram(values, edges)[0] / len(values)
        axes.stairs(shares, edges, color=colour, label=name, fill=True, alpha=0.3)
        axes.stairs(shares, edges, color=colour)
        axes.axvline(float(np.median(values)), color=colour, linestyle=(0, (3, 3)), linewidth=1)
    if high > _WIDE * low:
        axes.set_xscale("log")
        plain_decades(axes.xaxis)
    axes.set_xlabel("ms for one image; dashed: median")
    axes.set_ylabel("images, %")
    axes.legend(loc="lower center", ncols=3, bbox_to_anchor=(0.5, 1))
    return svg_of(figure, f"histogram{number}", f"Latency histogram, {device['host']}")


@STYLED
def trace_figure(device: dict[str, Any], number: int) -> str | None:
    """Every timed call in its order: a drift is heat or a neighbour, a spike is the system.

    Args:
        device: of the report's `devices`.
        number: its position there, for the ids.
    """
    scopes = _scopes(device)
    if not scopes:
        return None
    figure, axes = new_figure(2.9)
    for values, colour, name in scopes:
        axes.plot(range(1, len(values) + 1), values, color=colour, label=name, linewidth=1)
    low, high = (find(find(values) for values, _, _ in scopes) for find in (min, max))
    if high > _WIDE * low:
        axes.set_yscale("log")
        plain_decades(axes.yaxis)
    else:
        axes.set_ylim(bottom=0)
    axes.set_xlabel("timed call, each scope in a loop of its own")
    axes.set_ylabel("ms for one image")
    axes.legend(loc="lower center", ncols=3, bbox_to_anchor=(0.5, 1))
    return svg_of(figure, f"trace{number}", f"Latency of every timed call, {device['host']}")


def _scopes(device: dict[str, Any]) -> list[tuple[list[float], str, str]]:
    samples = device["samples_ms"] or {}
    return [(samples[scope], colour, name) for scope, colour, name in _SCOPES if samples.get(scope)]
