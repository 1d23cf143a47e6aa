"""The benchmark's JSON, version 2: what the board prints and the workstation reads.

Scopes: compute_ms (the device's own timing, None where the backend gives none), host_ms (with copies),
end_to_end_ms (from the image file); fps of host and end_to_end are 1 / p50 of one image at a time,
pipelined is throughput with the next image prepared meanwhile. `state` says whether to believe them.
"""

import json

from jetson.errors import BenchError

VERSION = 2
STATES = ("locked", "unlocked", "throttled", "unknown")
KEYS = (
    "version", "verb", "model", "backend", "provenance", "requested", "executed", "machine",
    "compute_ms", "host_ms", "end_to_end_ms", "fps", "memory", "power", "state", "clocks_mhz",
    "power_mode", "temperatures_c", "throttle", "absent", "trtexec", "warmup", "samples_file",
    "warnings",
)  # fmt: skip


def line_from_report(report):
    """One line of JSON; ends by reading it back."""
    line = json.dumps(report, sort_keys=True)
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
    if set(report) != set(KEYS):
        raise BenchError("benchmark report: keys differ: %s" % (sorted(set(report) ^ set(KEYS)),))
    if report["state"] not in STATES:
        raise BenchError(
            "benchmark report: expected state %s, got %r" % (STATES, report["state"])
        )
    return report
