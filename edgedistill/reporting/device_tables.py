"""Make the tables of a timed host: its slowest layers and the sensor readings during each loop."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from edgedistill.records.report_speed import ReportDevice, Trace

MOST_LAYERS = 15  # in the page; report.json holds all
MOST_LETTERS = 90  # of a layer's name; a fused layer has the names of all its parts
LOOPS = {"host": "network alone", "end_to_end": "from the image file", "pipelined": "pipelined"}

_Column = list[float | None]


def layer_rows(device: ReportDevice) -> dict[str, Any] | None:
    """Return the slowest layers and the sum of the others; None when no layer was profiled.

    Args:
        device: of the report's `devices`.

    Returns:
        rows of name, kind, ms, share (of all layers' time) and bar (relative to the slowest layer); rest: name,
        ms and share of all others together, or None; sum_ms; runs.
    """
    layer_times = device.layer_times
    if not layer_times:
        return None
    ordered = sorted(layer_times.layers, key=lambda layer: -layer.median_ms)
    most = ordered[0].median_ms
    rows = [
        {
            "name": _clipped(layer.name),
            "kind": layer.kind or "not known",
            "ms": layer.median_ms,
            "share": layer.share,
            "bar": layer.median_ms / most if most else 0.0,
        }
        for layer in ordered[:MOST_LAYERS]
    ]
    others = ordered[MOST_LAYERS:]
    rest = (
        {
            "name": f"{len(others)} more layers",
            "ms": sum(layer.median_ms for layer in others),
            "share": sum(layer.share for layer in others),
        }
        if others
        else None
    )
    return {"rows": rows, "rest": rest, "sum_ms": layer_times.sum_ms, "runs": layer_times.runs}


def columns_of(trace: Trace) -> dict[str, _Column]:
    """Return sensor readings over time by name with unit; a missing reading is None, an absent sensor has no entry."""
    columns = {
        "hottest zone, \N{DEGREE SIGN}C": _hottest(trace.temperatures_c.values()),
        "GPU, MHz": trace.gpu_mhz,
        "CPU, MHz": trace.cpu_mhz,
        "input, W": trace.input_mw and [None if mw is None else mw / 1e3 for mw in trace.input_mw],
        "available, MiB": trace.available_mib,
    }
    return {name: values for name, values in columns.items() if values}


def loop_rows(device: ReportDevice) -> dict[str, Any] | None:
    """Return the lowest and highest reading during each loop; None when there is no trace.

    Returns:
        loops, their names; rows, a quantity and a text for each loop; unread, names of the sensors that this machine
        lacks.
    """
    trace = device.trace
    if not trace:
        return None
    columns = columns_of(trace)
    inside = [
        [place for place, at in enumerate(trace.at_s) if loop.start_s <= at <= loop.end_s] for loop in trace.loops
    ]
    rows = [
        ["seconds", *(f"{loop.end_s - loop.start_s:.1f}" for loop in trace.loops)],
        ["readings", *(str(len(places)) for places in inside)],
        *([name, *(_span([values[at] for at in places]) for places in inside)] for name, values in columns.items()),
    ]
    names = {
        "hottest zone, \N{DEGREE SIGN}C": "temperature",
        "GPU, MHz": "GPU clock",
        "CPU, MHz": "CPU clock",
        "input, W": "input power",
        "available, MiB": "memory",
    }
    unread = [word for name, word in names.items() if name not in columns]
    return {"loops": [LOOPS.get(loop.scope, loop.scope) for loop in trace.loops], "rows": rows, "unread": unread}


def _hottest(zones: Iterable[_Column | None]) -> _Column:
    at_once = zip(*[zone for zone in zones if zone], strict=True)
    return [max((c for c in degrees if c is not None), default=None) for degrees in at_once]


def _span(values: _Column) -> str:
    readings = [value for value in values if value is not None]
    if not readings:
        return "no reading"
    low, high = (f"{value:.0f}" if value >= 100 else f"{value:.1f}" for value in (min(readings), max(readings)))
    return low if low == high else f"{low} to {high}"


def _clipped(name: str) -> str:
    return name if len(name) <= MOST_LETTERS else name[: MOST_LETTERS - 1] + "\N{HORIZONTAL ELLIPSIS}"
