"""Pictures of what was timed on a host: how the times are spread, and how they went over the run."""

from __future__ import annotations

from typing import Any

import numpy as np
from matplotlib.ticker import FuncFormatter, LogLocator, NullFormatter

from edgedistill.report.chart import BASELINE, STUDENT, STYLED, TEACHER, new_figure, svg_of

_SCOPES = (
    ("compute_ms", BASELINE, "computing"),
    ("host_ms", STUDENT, "network alone"),
    ("end_to_end_ms", TEACHER, "from the image file"),
)
_BINS_PER_DECADE = 60


@STYLED
def histogram_figure(device: dict[str, Any], number: int) -> str | None:
    """Images by the time they took, in bins of equal ratio; None without raw samples.

    Args:
        device: of the report's `devices`.
        number: its position there, for the ids.
    """
    scopes = _scopes(device)
    if not scopes:
        return None
    figure, axes = new_figure(2.9)
    low = np.log10(min(min(values) for values, _, _ in scopes))
    high = np.log10(max(max(values) for values, _, _ in scopes))
    count = max(12, min(90, int((high - low) * _BINS_PER_DECADE)))
    edges = np.logspace(low - 1e-3, high + 1e-3, count + 1)
    for values, colour, name in scopes:
        shares = 100 * np.histogram(values, edges)[0] / len(values)
        axes.stairs(shares, edges, color=colour, label=name, fill=True, alpha=0.3)
        axes.stairs(shares, edges, color=colour)
        axes.axvline(float(np.median(values)), color=colour, linestyle=(0, (3, 3)), linewidth=1)
    axes.set_xscale("log")
    axes.xaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
    axes.xaxis.set_major_formatter(_plain())
    axes.xaxis.set_minor_formatter(NullFormatter())
    axes.xaxis.set_tick_params(which="minor", size=0)
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
    axes.set_yscale("log")
    axes.yaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
    axes.yaxis.set_major_formatter(_plain())
    axes.yaxis.set_minor_formatter(NullFormatter())
    axes.yaxis.set_tick_params(which="minor", size=0)
    axes.set_xlabel("timed call, each scope in a loop of its own")
    axes.set_ylabel("ms for one image")
    axes.legend(loc="lower center", ncols=3, bbox_to_anchor=(0.5, 1))
    return svg_of(figure, f"trace{number}", f"Latency of every timed call, {device['host']}")


def _scopes(device: dict[str, Any]) -> list[tuple[list[float], str, str]]:
    samples = device["samples_ms"] or {}
    return [(samples[scope], colour, name) for scope, colour, name in _SCOPES if samples.get(scope)]


def _plain() -> FuncFormatter:
    return FuncFormatter(lambda value, _: f"{value:g}")
