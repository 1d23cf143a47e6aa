"""The benchmark's JSON, version 1: what the board prints and the workstation reads."""

import json

from jetson.errors import BenchError

VERSION = 1
KEYS = (
    "version", "verb", "model", "backend", "provenance", "requested", "executed", "machine",
    "host_ms", "end_to_end_ms", "fps", "memory", "warmup", "samples_file", "warnings",
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
    except ValueError as error:
        raise BenchError("benchmark report: not JSON: %s" % (error,))
    if not isinstance(report, dict) or report.get("version") != VERSION:
        raise BenchError("benchmark report: expected version %d, got %.60r" % (VERSION, line))
    if set(report) != set(KEYS):
        raise BenchError("benchmark report: keys differ: %s" % (sorted(set(report) ^ set(KEYS)),))
    return report
