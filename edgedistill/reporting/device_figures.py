"""Draw the times of a host: their histogram and their course over the run."""

from __future__ import annotations

from typing import Any

import numpy as np
from markupsafe import Markup

from edgedistill.records.report_speed import ReportDevice, TracedLoop
from edgedistill.reporting.chart import (
    BASELINE,
    INK,
    LINE,
    MUTED,
    STUDENT,
    STYLED,
    TEACHER,
    new_figure,
    new_panels,
    plain_decades,
    svg_of,
    within_percent,
)
from edgedistill.reporting.device_tables import columns_of

_Scope = tuple[list[float], str, str, str]  # ms, colour, name, loop of the measurement
_SCOPES = (
    ("compute_ms", BASELINE, "computing", "host"),
    ("host_ms", STUDENT, "network alone", "host"),
    ("end_to_end_ms", TEACHER, "from the image file", "end_to_end"),
)
_PANELS = (  # what is read over time, and whether its axis begins at 0
    (("hottest zone, \N{DEGREE SIGN}C",), False),
    (("GPU, MHz", "CPU, MHz"), True),
    (("input, W",), True),
    (("available, MiB",), False),
)
_BINS = 60
_WIDE = 8  # longest over shortest time from which the axis is logarithmic


@STYLED
def histogram_figure(device: ReportDevice, number: int) -> Markup | None:
    """Draw the histogram of times per image; None without raw samples.

    Args:
        device: of the report's `devices`.
        number: its position there, for the ids.
    """
    scopes = _scopes(device)
    if not scopes:
        return None
    figure, axes = new_figure(2.9)
    low, high = _ends(scopes)
    space = np.geomspace if high > _WIDE * low else np.linspace
    edges = space(0.999 * low, 1.001 * high, _BINS + 1)
    for values, colour, name, _ in scopes:
        shares = 100 * np.histogram(values, edges)[0] / len(values)
        axes.stairs(shares, edges, color=colour, label=name, fill=True, alpha=0.3)
        axes.stairs(shares, edges, color=colour)
        axes.axvline(float(np.median(values)), color=colour, linestyle=(0, (3, 3)), linewidth=1)
    if high > _WIDE * low:
        axes.set_xscale("log")
        plain_decades(axes.xaxis)
    axes.set_xlabel("ms for one image; dashed: median")
    axes.set_ylabel("images, %")
    within_percent(axes.yaxis)
    axes.legend(loc="lower center", ncols=3, bbox_to_anchor=(0.5, 1))
    return svg_of(figure, f"histogram{number}", f"Latency histogram, {device.host}")


@STYLED
def trace_figure(device: ReportDevice, number: int) -> Markup | None:
    """Draw every timed call in order. A drift shows heat or other load, a spike shows the system.

    Where start times are recorded, the calls are drawn over time, with the board's sensor readings below.

    Args:
        device: of the report's `devices`.
        number: its position there, for the ids.
    """
    scopes, starts, trace = _scopes(device), device.samples_start_s or {}, device.trace
    if not scopes:
        return None
    timed = all(len(starts.get(loop, ())) == len(values) for values, _, _, loop in scopes)
    over_time = trace if timed else None
    read = columns_of(over_time) if over_time else {}
    shown = [(lines, from_zero) for lines, from_zero in _PANELS if set(lines) & set(read)]
    figure, panels = new_panels([2.6, *[1.1] * len(shown)])
    axes = panels[0]
    for values, colour, name, loop in scopes:
        places = starts[loop] if timed else range(1, len(values) + 1)
        axes.plot(places, values, color=colour, label=name, linewidth=1)
    low, high = _ends(scopes)
    if high > _WIDE * low:
        axes.set_yscale("log")
        plain_decades(axes.yaxis)
    else:
        axes.set_ylim(bottom=0)
    axes.set_ylabel("ms for one image")
    axes.legend(loc="lower center", ncols=3, bbox_to_anchor=(0.5, 1))
    if over_time:
        for panel, (names, from_zero) in zip(panels[1:], shown, strict=True):
            _draw_readings(panel, over_time.at_s, {name: read[name] for name in names if name in read}, from_zero)
        _draw_loops(panels, over_time.loops)
    panels[-1].set_xlabel(
        "seconds since the benchmark began" if timed else "timed call, each scope in a loop of its own"
    )
    return svg_of(figure, f"trace{number}", f"Latency of every timed call, {device.host}")


def _draw_readings(axes: Any, at_s: list[float], lines: dict[str, Any], from_zero: bool) -> None:
    """Draw one point for each reading; the second of two lines is dashed."""
    for values, style in zip(lines.values(), ("-", (0, (3, 2))), strict=False):
        readings = [(at, value) for at, value in zip(at_s, values, strict=True) if value is not None]
        axes.plot(*zip(*readings, strict=True), color=INK, linewidth=1, linestyle=style, marker="o", markersize=2.5)
    if from_zero:
        axes.set_ylim(bottom=0)
    axes.locator_params(axis="y", nbins=3)
    title = "; ".join(lines) + (" (dashed)" if len(lines) > 1 else "")
    axes.set_title(title, loc="left", fontsize=9.5, color=MUTED)


def _draw_loops(panels: list[Any], loops: list[TracedLoop]) -> None:
    """Mark where each loop begins; the pipelined loop has no latency of single calls."""
    for loop in loops:
        for axes in panels:
            axes.axvline(loop.start_s, color=LINE, linewidth=1.5, zorder=0)
        if loop.scope == "pipelined":
            panels[0].annotate(
                "pipelined",
                (loop.start_s, 1),
                (4, -4),
                color=MUTED,
                fontsize=9,
                xycoords=("data", "axes fraction"),
                textcoords="offset points",
                va="top",
            )
            panels[0].set_xlim(0, loop.end_s)


def _scopes(device: ReportDevice) -> list[_Scope]:
    samples = device.samples_ms or {}
    return [(samples[scope], colour, name, loop) for scope, colour, name, loop in _SCOPES if samples.get(scope)]


def _ends(scopes: list[_Scope]) -> tuple[float, float]:
    """Return the shortest and the longest time."""
    return min(min(values) for values, *_ in scopes), max(max(values) for values, *_ in scopes)
