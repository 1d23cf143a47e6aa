"""Compare several finished runs: a table of students, a table of hosts and a figure."""

from __future__ import annotations

import json
import re
from collections.abc import Collection, Iterable
from pathlib import Path
from typing import Any

from edgedistill.core.files import read_json
from edgedistill.core.pareto import pareto_front
from edgedistill.core.text import printable
from edgedistill.core.text_table import table_lines
from edgedistill.errors import RunFolderError
from edgedistill.records.output_report import OutputReportRecord
from edgedistill.records.report import VERSION as REPORT_VERSION
from edgedistill.records.report import ReportRecord
from edgedistill.records.report_speed import ReportDevice
from edgedistill.records.sweep import SweepRecord
from edgedistill.reporting.devices import board_mib, place_of
from edgedistill.reporting.formats import kind
from edgedistill.reporting.status import status_of
from edgedistill.reporting.sweep_results import load_sweep

VERSION = 1  # of the comparison's JSON
_TEXTS = {
    "name",
    "model",
    "teacher_model",
    "method",
    "target",
    "executed_on_target",
    "metric",
    "status",
    "budget",
    "date",
    "provenance",
    "host",
    "place",
    "executed",
    "state",
}
_TRIAL = ("settings", "value", "state", "epochs")
_RECTANGLE = re.compile(r"[0-9]{1,6}x[0-9]{1,6}")  # of `image_px` where it is no square
_MAYBE = {"budget", "retention_fraction", "end_to_end_p99_ms", "memory_mib", "energy_mj"}


def load_report(path: Path) -> ReportRecord | OutputReportRecord:
    """Read report.json of a run folder, or the given file.

    Raises:
        RunFolderError: there is no report, it has another version, or a value is missing or of the wrong type.
    """
    file = path / "report" / "report.json" if path.is_dir() else path
    try:
        report = read_json(file)
    except FileNotFoundError:
        raise RunFolderError(f"{file} is missing; finish the run with `edgedistill run RECIPE.toml`") from None
    except (OSError, ValueError, RecursionError) as error:
        raise RunFolderError(f"{file} is not a report ({error}); name a run folder or a report.json") from None
    version = report.get("version") if isinstance(report, dict) else None
    if version != REPORT_VERSION:
        raise RunFolderError(
            f"{file} is a report of version {version}, this edgedistill reads {REPORT_VERSION}; "
            "make it again with `edgedistill report RECIPE.toml`"
        )
    return report_of(report, f"{file}, which `edgedistill report RECIPE.toml` makes again")


def report_of(values: dict[str, Any], place: str) -> ReportRecord | OutputReportRecord:
    """The record of a report's JSON, by its task; `place` begins the message of a fault."""
    kind = OutputReportRecord if "task" in values else ReportRecord
    return kind.from_json(values, place)


def comparison_of(paths: Iterable[Path]) -> dict[str, Any]:
    """Compare run folders or report.json files; each is named after its folder.

    Raises:
        RunFolderError: a report is missing or of another version, or a sweep is damaged.
    """
    named = _names(paths)
    return compared(
        {name: _of_classes(name, load_report(path)) for name, path in named.items()},
        {name: load_sweep(path) if path.is_dir() else None for name, path in named.items()},
    )


def _of_classes(name: str, report: ReportRecord | OutputReportRecord) -> ReportRecord:
    if isinstance(report, OutputReportRecord):
        raise RunFolderError(
            f"{name} is a run of {report.task}, whose figures compare cannot set beside top-1; read its own report"
        )
    if report.nearest is not None:
        raise RunFolderError(
            f"{name} is a run whose student answers with the nearest enrolled image, which compare cannot set beside "
            "top-1; read its own report"
        )
    return report


def compared(reports: dict[str, ReportRecord], sweeps: dict[str, SweepRecord | None]) -> dict[str, Any]:
    """Compare reports and sweeps.

    Args:
        reports: name -> report, in display order.
        sweeps: name -> sweep.json or None.

    Returns:
        A JSON-serialisable dict: version; caveats, sentences on what cannot be compared; comparable, of `comparable`;
        runs, a row each; hosts, a row for each run and host; front, names of the runs on the Pareto front of
        multiply-adds and accuracy, empty where they are not comparable; trials of the sweeps, on validation images.

    Raises:
        RunFolderError: a value that is read here is missing from a report or sweep, or has the wrong type.
    """
    try:
        runs = [_run(name, report) for name, report in reports.items()]
        hosts = [_host(name, device) for name, report in reports.items() for device in report.devices]
        trials = [
            {"name": name, "metric": sweep.metric, **{key: getattr(trial, key) for key in _TRIAL}}
            for name, sweep in sweeps.items()
            if sweep is not None
            for trial in sweep.trials
        ]
        caveats = _caveats(reports)
    except (LookupError, TypeError, AttributeError, ValueError) as error:
        raise RunFolderError(
            f"a report or a sweep of {', '.join(reports)} has unexpected content ({type(error).__name__}: {error}); "
            "make it again with `edgedistill report RECIPE.toml`"
        ) from None
    for row in [*runs, *hosts, *trials]:
        _refuse_unusable_values(row)
    ranked = comparable(reports.values())
    front = pareto_front(runs if ranked else [], lambda row: row["macs"], lambda row: row["student_fraction"])
    return {
        "version": VERSION,
        "caveats": caveats,
        "comparable": ranked,
        "runs": runs,
        "hosts": hosts,
        "front": [row["name"] for row in front],
        "trials": trials,
    }


def comparable(reports: Collection[ReportRecord]) -> bool:
    """Whether the students' figures can be ranked: one metric, and the same test images."""
    return len({report.metric for report in reports}) <= 1 and _same_test_images(reports) is not False


def _same_test_images(reports: Collection[ReportRecord]) -> bool | None:
    """None: they are as many in each class, and a report of an older release does not say which.

    The sizes that images are kept in may differ, as those of two students.
    """
    if len({tuple(sorted(report.data.counts.get("test", {}).items())) for report in reports}) > 1:
        return False
    contents = {report.data.test_sha256 for report in reports}
    if len(contents - {""}) > 1:
        return False
    return None if "" in contents and len({_data_of(report) for report in reports}) > 1 else True


def _data_of(report: ReportRecord) -> str:
    """Digest of the images, their splits and the sizes that they are kept in."""
    return report.provenance.artifacts["data"]


def text_from_comparison(comparison: dict[str, Any], width: int | None = None) -> str:
    """Format the tables of runs and hosts as plain text, followed by the caveats.

    Args:
        width: columns of the terminal; None: any.
    """
    rows = [
        (
            "run",
            "model",
            "target",
            "teacher",
            "baseline",
            "student",
            "kept",
            "gain, 95 %",
            "int8 top-1",
            "MACs",
            "file",
        )
    ]
    statuses = []
    for run in comparison["runs"]:
        statuses.append(f"status of {run['name']}: {run['status']}")
        low, high = run["gain_interval_points"]
        retention = run["retention_fraction"]
        rows.append(
            (
                run["name"],
                run["model"],
                run["target"],
                *(f"{run[f'{net}_fraction']:.1%}" for net in ("teacher", "baseline", "student")),
                "unknown" if retention is None else f"{retention:.1%}",
                f"{run['gain_points']:+.1f} ({low:+.1f} to {high:+.1f})",
                f"{run['int8_top1_fraction']:.1%}",
                f"{run['macs'] / 1e6:.1f} M",
                f"{run['file_bytes'] / 1e6:.1f} MB",
            )
        )
    hosts = [("run", "host", "executed", "network p50", "from file p50", "FPS", "memory", "how")]
    for host in comparison["hosts"]:
        memory = "unknown" if host["memory_mib"] is None else f"{host['memory_mib']:.0f} MiB"
        hosts.append(
            (
                host["name"],
                host["place"],
                host["executed"],
                f"{host['host_p50_ms']:.2f} ms",
                f"{host['end_to_end_p50_ms']:.2f} ms",
                f"{host['fps']:.1f}",
                memory,
                kind(host["provenance"]),
            )
        )
    notes = [f"note: {line}" for line in comparison["caveats"]]
    tables = table_lines(rows, range(3, 11), width), table_lines(hosts, range(3, 7), width)
    return "\n".join([*tables[0], "", *tables[1], "", *statuses, *notes])


def _names(paths: Iterable[Path]) -> dict[str, Path]:
    """Name each path after its folder, with a number where two names would be equal."""
    named: dict[str, Path] = {}
    for path in paths:
        name = printable(path.resolve().name if path.is_dir() else path.resolve().stem)
        unique, number = name, 2
        while unique in named:
            unique, number = f"{name} ({number})", number + 1
        named[unique] = path
    return named


def _run(name: str, report: ReportRecord) -> dict[str, Any]:
    metric, gain, student, ladder = report.metric, report.gain, report.student, report.accuracy_ladder
    px = report.provenance.recipe["data"]["image_px"]
    return {
        "name": name,
        "model": student.model,
        "teacher_model": report.teacher.model,
        "method": report.method,
        "image_px": "x".join(map(str, px)) if isinstance(px, list) else px,
        "target": report.target.title,
        "executed_on_target": report.target.executed,
        "metric": metric,
        "test_images": report.test_images,
        **{f"{net}_fraction": report.network(net).metric(metric) for net in ("teacher", "baseline", "student")},
        "retention_fraction": report.retention_fraction,
        "gain_points": gain.points,
        "gain_interval_points": gain.interval_points,
        "seeds": gain.seeds,
        "fp16_top1_fraction": ladder["fp16"].top1_fraction,
        "int8_top1_fraction": ladder["int8"].top1_fraction,
        "int8_drop_points": ladder["int8"].drop_points,
        "parameters": student.parameters,
        "macs": student.macs,
        "file_bytes": student.file_bytes,
        "status": status_of(report, report.verdict).line,
        "budget": report.verdict.outcome,
        "date": report.provenance.date,
        "provenance": str(student.provenance),
    }


def _host(name: str, device: ReportDevice) -> dict[str, Any]:
    return {
        "name": name,
        "host": device.host,
        "place": place_of(device),
        "executed": device.executed,
        "host_p50_ms": device.latency_ms.host.p50_ms,
        "end_to_end_p50_ms": device.latency_ms.end_to_end.p50_ms,
        "end_to_end_p99_ms": device.latency_ms.end_to_end.p99_ms,
        "fps": device.fps.end_to_end,
        "memory_mib": board_mib(device),
        "energy_mj": device.power.energy_mj,
        "state": device.conditions.state,
        "provenance": str(device.provenance),
    }


def _refuse_unusable_values(row: dict[str, Any]) -> None:
    """Raise RunFolderError for a value that cannot be shown in a page or a table."""
    for key, value in row.items():
        if key == "settings":
            fits = isinstance(value, dict) and "Infinity" not in json.dumps(value)
        elif key == "gain_interval_points":
            fits = isinstance(value, list) and len(value) == 2 and all(map(_is_number, value))
        elif key == "image_px":
            fits = _is_number(value) or (isinstance(value, str) and _RECTANGLE.fullmatch(value) is not None)
        else:
            fits = isinstance(value, str) if key in _TEXTS else _is_number(value)
        if not fits and not (value is None and key in _MAYBE):
            raise RunFolderError(
                f"{row['name']}: {key} is {str(value)[:80]!r}, which no report of edgedistill contains; "
                "make it again with `edgedistill report RECIPE.toml`"
            )


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and abs(value) < 1e300


def _caveats(reports: dict[str, ReportRecord]) -> list[str]:
    """Return what differs between the runs in a way that makes their figures incomparable."""
    caveats = []
    same_images = _same_test_images(reports.values())
    if same_images is False:
        caveats.append("The runs have different test images: no run is ranked.")
    elif same_images is None:
        caveats.append(
            "The runs have different images, splits or image sizes: the classes have as many test images, which may be "
            "others all the same."
        )
    elif len({_data_of(report) for report in reports.values()}) > 1:
        caveats.append("The runs have different training images, splits or image sizes, and the same test images.")
    for what, values in (
        ("metrics", [r.metric for r in reports.values()]),
        ("boards", [r.target.name for r in reports.values()]),
    ):
        if len(set(values)) > 1:
            caveats.append(f"The runs have different {what}: {_CONSEQUENCE[what]}.")
    machines = {str(d.machine) for r in reports.values() for d in r.devices if d.host == "local"}
    if len(machines) > 1:
        caveats.append("The stand-in times were taken on different computers: they cannot be compared.")
    return caveats


_CONSEQUENCE = {
    "metrics": "no run is ranked, since their accuracy, retention and gain are of different metrics",
    "boards": "pre-flight and executed precision apply to one board only",
}
