"""The benchmark's JSON, version 2: what the board prints and the workstation reads.

Scopes: compute_ms (the device's own timing, None where the backend gives none), host_ms (with copies),
end_to_end_ms (from the image file); fps of host and end_to_end are 1 / p50 of one image at a time,
pipelined is throughput with the next image prepared meanwhile. `state` says whether to believe them.
layer_times: of layer_times.layer_times, None with a reason in `absent`; trace: of trace.trace; execution: of
execution.Execution, how the engine was run, and tuning: [tune.trial], why; both absent where there is no engine.
"""

import json
import math

from edgedistill_device.errors import BenchError
from edgedistill_device.json_text import json_text

VERSION = 2
# Timed calls of a bench. Its raw samples are one line of up to 80 bytes a call, of which the workstation reads 4 MiB.
FEWEST_RUNS, MOST_RUNS = 10, 50000
STATES = ("locked", "unlocked", "throttled", "unknown")
KEYS = (
    "version",
    "verb",
    "model",
    "backend",
    "provenance",
    "requested",
    "executed",
    "machine",
    "compute_ms",
    "host_ms",
    "end_to_end_ms",
    "fps",
    "memory",
    "power",
    "state",
    "clocks_mhz",
    "power_mode",
    "temperatures_c",
    "throttle",
    "absent",
    "trtexec",
    "warmup",
    "samples_file",
    "warnings",
)
LATER = ("layer_times", "trace")  # keys that a report of this version may lack: older ones do
_OF_ENGINES = ("execution", "tuning")  # and those that backends without engines lack, too


def require_runs(runs):
    """Refuse a number of timed calls that the workstation refuses too.

    Raises:
        BenchError: fewer than FEWEST_RUNS or more than MOST_RUNS.
    """
    if not FEWEST_RUNS <= runs <= MOST_RUNS:
        raise BenchError("--runs %d: expected %d to %d" % (runs, FEWEST_RUNS, MOST_RUNS))


def line_from_report(report):
    """One line of JSON; ends by reading it back."""
    line = json_text(report)
    report_from_line(line)
    return line


def report_from_line(line):
    """The report as a dict.

    Raises:
        BenchError: another version, a missing or unknown key, or no JSON.
    """
    try:
        report = json.loads(line)
    except (ValueError, RecursionError) as error:
        raise BenchError("benchmark report: not JSON: %s" % (error,))
    if not isinstance(report, dict) or report.get("version") != VERSION:
        raise BenchError("benchmark report: expected version %d, got %.60r" % (VERSION, line))
    differ = set(report).difference(LATER + _OF_ENGINES) ^ set(KEYS)
    if differ:
        raise BenchError("benchmark report: keys differ: %s" % (sorted(differ),))
    if report["state"] not in STATES:
        raise BenchError("benchmark report: expected state %s, got %r" % (STATES, report["state"]))
    for name, has_form in _FORMS:
        try:
            good = report.get(name) is None or has_form(report[name])
        except (TypeError, KeyError, AttributeError, OverflowError):
            good = False
        if not good:
            raise BenchError("benchmark report: %s has another form: %.80r" % (name, report[name]))
    return report


def _are_layer_times(times):
    rows = times["layers"]
    return (
        set(times) == {"layers", "sum_ms", "runs"}
        and bool(rows)
        and all(
            set(layer) == {"name", "kind", "median_ms", "share"}
            and isinstance(layer["name"], str)
            and isinstance(layer["kind"], (str, type(None)))
            for layer in rows
        )
        and _are_numbers([layer[key] for layer in rows for key in ("median_ms", "share")])
        and _are_numbers([times["sum_ms"], times["runs"]])
    )


def _is_trace(trace):
    columns = [trace[name] for name in ("gpu_mhz", "cpu_mhz", "input_mw", "available_mib")]
    columns = [column for column in columns + list(trace["temperatures_c"].values()) if column is not None]
    return (
        len(trace) == 7
        and _are_numbers(trace["at_s"])
        and all(len(column) == len(trace["at_s"]) for column in columns)
        and _are_numbers([value for column in columns for value in column if value is not None])
        and all(isinstance(loop["scope"], str) and len(loop) == 3 for loop in trace["loops"])
        and _are_numbers([loop[end] for loop in trace["loops"] for end in ("start_s", "end_s")])
    )


def _is_execution(execution):
    return set(execution) == {"cuda_graph", "mapped_memory"} and all(type(on) is bool for on in execution.values())


def _are_trials(trials):
    return all(
        set(row) == {"tried", "kept", "reason", "ratio"}
        and isinstance(row["tried"], str)
        and type(row["kept"]) is bool
        and isinstance(row["reason"], (str, type(None)))
        and (row["ratio"] is None or _are_numbers([row["ratio"][key] for key in ("a_over_b", "low", "high")]))
        for row in trials
    )


def _are_numbers(values):
    return all(type(value) in (int, float) and math.isfinite(value) for value in values)


_FORMS = (
    ("layer_times", _are_layer_times),
    ("trace", _is_trace),
    ("execution", _is_execution),
    ("tuning", _are_trials),
)
